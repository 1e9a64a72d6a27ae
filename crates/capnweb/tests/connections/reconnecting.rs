//! A client that comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use capnweb::{
    Answer, Call, Error, NoMain, ReconnectOptions, Reconnecting, SessionOptions, Stub, Target, Value, pair,
};
use futures_util::FutureExt;
use tokio::sync::mpsc;

struct Echo;

impl Target for Echo {
    fn call(&self, mut call: Call) -> Answer {
        match call.method.as_str() {
            "hang" => Answer::later(std::future::pending()),
            _ => call.take(0).into(),
        }
    }
}

fn open() -> Stub {
    pair(Arc::new(NoMain), Arc::new(Echo), SessionOptions::default())
}

#[tokio::test(start_paused = true)]
async fn it_comes_back_at_once_and_says_what_was_in_flight() -> Result<(), Error> {
    let opened = Arc::new(AtomicU32::new(0));
    let opens = Arc::clone(&opened);
    let (breaks, mut broke) = mpsc::unbounded_channel();
    let client = Reconnecting::new(
        ReconnectOptions::default(),
        move || {
            opens.fetch_add(1, Ordering::SeqCst);
            async { Ok(open()) }.boxed()
        },
        |main| async { Ok(main) }.boxed(),
        move |broken| drop(breaks.send(broken)),
    );
    let first = client.get().await;
    let hanging = first.call("hang", []);
    first.session().expect("it is the peer's").shut_down();
    let broken = broke.recv().await.expect("it is told");
    assert_eq!(broken.in_flight, 1);
    assert!(hanging.await.is_err());
    let before = tokio::time::Instant::now();
    let second = client.get().await;
    assert!(
        before.elapsed() < Duration::from_millis(50),
        "{:?}",
        before.elapsed()
    );
    assert_eq!(second.call("echo", ["x".into()]).await?, Value::from("x"));
    assert_eq!(opened.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn it_says_why_it_is_not_connected() {
    let (attempts, up) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (counts, is_up) = (Arc::clone(&attempts), Arc::clone(&up));
    let mut client = Reconnecting::new(
        ReconnectOptions::default(),
        move || {
            counts.fetch_add(1, Ordering::SeqCst);
            let up = is_up.load(Ordering::SeqCst);
            async move {
                match up {
                    true => Ok(open()),
                    false => Err(Error::new("Error", "nobody listens")),
                }
            }
            .boxed()
        },
        |main| async { Ok(main) }.boxed(),
        |_| {},
    );
    assert!(client.try_get().is_none());
    client.changed().await;
    assert_eq!(
        client.last_error().expect("an attempt failed").message(),
        "nobody listens"
    );
    let missed = client.get_within(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(missed.to_string(), "no connection within 60 s");
    assert_eq!(
        missed.last_error.expect("attempts failed").message(),
        "nobody listens"
    );
    // 0, 0.1, 0.2 … 6.4, then every 10 s.
    let tried = attempts.load(Ordering::SeqCst);
    assert!((10..=16).contains(&tried), "{tried}");
    up.store(true, Ordering::SeqCst);
    assert!(client.get_within(Duration::from_secs(11)).await.is_ok());
    assert!(client.last_error().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_has_a_deadline() {
    let client = Reconnecting::<Stub>::new(
        ReconnectOptions {
            attempt_deadline: Duration::from_secs(5),
            ..ReconnectOptions::default()
        },
        || async { Ok(open()) }.boxed(),
        |main| async move { main.call("hang", []).await.map(|_| main) }.boxed(),
        |_| {},
    );
    let missed = client.get_within(Duration::from_secs(6)).await.unwrap_err();
    let error = missed.last_error.expect("the attempt was given up");
    assert_eq!(error.message(), "no session within 5 s");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_only_hangs_up_is_not_hammered() {
    let opened = Arc::new(AtomicU32::new(0));
    let opens = Arc::clone(&opened);
    let client = Reconnecting::new(
        ReconnectOptions::default(),
        move || {
            opens.fetch_add(1, Ordering::SeqCst);
            async {
                let main = open();
                main.session().expect("it is the peer's").shut_down();
                Ok(main)
            }
            .boxed()
        },
        |main| async { Ok(main) }.boxed(),
        |_| {},
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    let opened = opened.load(Ordering::SeqCst);
    assert!((10..=16).contains(&opened), "{opened}");
    drop(client);
}
