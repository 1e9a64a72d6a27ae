//! Ends of sessions.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use capnweb::{Answer, Call, Error, NoMain, Session, SessionOptions, Stub, Target, Value, interface, pair};
use tokio::sync::Notify;

#[interface]
trait Slow {
    async fn answer(&self) -> u32;
}

struct Waits(Arc<Notify>, Arc<Notify>);

impl Slow for Waits {
    async fn answer(&self) -> u32 {
        self.0.notify_one();
        self.1.notified().await;
        42
    }
}

/// A server that serves one session over `io`, and its handle to that.
async fn serve(io: tokio::io::DuplexStream, main: Arc<dyn Target>) -> Session {
    let taken = Arc::new(Mutex::new(None));
    let give = Arc::clone(&taken);
    let serving = capnweb::serve_upgraded_with(io, SessionOptions::default(), move |session| {
        *give.lock().expect("no holder panics") = Some(session.clone());
        main
    });
    let mut serving = Box::pin(serving);
    // The main object is asked for at the first poll.
    let _ = futures_util::poll!(serving.as_mut());
    tokio::spawn(serving);
    let session = taken.lock().expect("no holder panics").take();
    session.expect("the main object was asked for")
}

#[tokio::test]
async fn a_server_that_closes_gives_its_answers_first() -> Result<(), Error> {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (near, far) = tokio::io::duplex(1 << 16);
    let session = serve(
        far,
        SlowStub::target(Waits(Arc::clone(&started), Arc::clone(&go))),
    )
    .await;
    let slow = SlowStub::from(capnweb::connect_upgraded(near, SessionOptions::default()).await);
    let answer = tokio::spawn(slow.answer().into_future());
    started.notified().await;
    let closing = tokio::spawn(async move { session.close(Duration::from_secs(10)).await });
    go.notify_one();
    assert!(closing.await.expect("it does not panic"));
    assert_eq!(answer.await.expect("it does not panic")?, 42);
    assert!(slow.answer().await.unwrap_err().is_disconnected());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_close_has_a_deadline() {
    let (started, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (near, far) = tokio::io::duplex(1 << 16);
    let session = serve(far, SlowStub::target(Waits(Arc::clone(&started), go))).await;
    let slow = SlowStub::from(capnweb::connect_upgraded(near, SessionOptions::default()).await);
    let answer = tokio::spawn(slow.answer().into_future());
    started.notified().await;
    assert!(!session.close(Duration::from_secs(10)).await);
    let error = answer.await.expect("it does not panic").unwrap_err();
    assert!(error.is_disconnected());
}

/// Answers with itself.
struct Endless;

impl Target for Endless {
    fn call(&self, _: Call) -> Answer {
        Value::from(Stub::new(Self)).into()
    }
}

#[tokio::test]
async fn on_broken_is_taken_back_from_stubs_and_promises() -> Result<(), Error> {
    let main = pair(Arc::new(NoMain), Arc::new(Endless), SessionOptions::default());
    let session = main.session().expect("it is the peer's");
    let called = Arc::new(AtomicU32::new(0));
    let count = || {
        let called = Arc::clone(&called);
        move |_: &Error| {
            called.fetch_add(1, Ordering::SeqCst);
        }
    };
    let promise = main.call("self", []);
    let kept = [main.on_broken(count()), promise.on_broken(count())];
    drop([main.on_broken(count()), promise.on_broken(count())]);
    // Also once the promise has settled, and its registration has moved on.
    let stub = promise.clone().await?;
    drop(promise.on_broken(count()));
    session.shut_down();
    session.broken().await;
    assert!(stub != Value::Null);
    assert_eq!(called.load(Ordering::SeqCst), 2);
    drop(kept);
    Ok(())
}
