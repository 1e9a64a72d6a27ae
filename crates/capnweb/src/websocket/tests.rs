use std::sync::Arc;
use std::time::Duration;

use capnweb_proto::Value::{Capability as Cap, Number, Undefined};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::*;
use crate::{Answer, Call, Capability, Error, Value};

/// Counts, calls back, hands out itself, and reads streams.
struct Everything;

impl Target for Everything {
    fn call(&self, mut call: Call) -> Answer {
        let last = call.args.pop();
        match (call.method.as_str(), last) {
            ("add", Some(Number(b))) => match call.args.first() {
                Some(Number(a)) => Number(a + b).into(),
                _ => Answer::error(Error::new("RangeError", "two numbers")),
            },
            ("again", None) => Value::object([("it", Stub::new(Self).into())]).into(),
            ("back", Some(Cap(Capability::Stub(stub)))) => {
                Answer::later(stub.invoke(["called".into()]).into_future())
            }
            ("length", Some(Cap(Capability::Readable(stream)))) => {
                Answer::later(async move { Ok(Number(stream.collect(10).await?.len() as f64)) })
            }
            ("ignore", Some(_)) => Undefined.into(),
            ("never", None) => Answer::later(std::future::pending()),
            _ => Answer::error(call.not_a_function()),
        }
    }
}

type Served = JoinHandle<Result<(), SessionError>>;

fn served(options: SessionOptions) -> (DuplexStream, Served) {
    let (near, far) = duplex(64 * 1024);
    (
        near,
        tokio::spawn(serve_upgraded(far, Arc::new(Everything), options)),
    )
}

async fn raw() -> (WebSocketStream<DuplexStream>, Served) {
    let (near, served) = served(SessionOptions::default());
    (
        WebSocketStream::from_raw_socket(near, Role::Client, None).await,
        served,
    )
}

async fn say(socket: &mut WebSocketStream<DuplexStream>, messages: &[&str]) {
    for message in messages {
        socket.send(Message::text(*message)).await.unwrap();
    }
}

async fn hear(socket: &mut WebSocketStream<DuplexStream>) -> String {
    match socket.next().await.unwrap().unwrap() {
        Message::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn both_ends() {
    let (near, served) = served(SessionOptions::default());
    let main = connect_upgraded(near, SessionOptions::default()).await;
    let sum = main.call("add", vec![Number(1.0), Number(2.0)]).await.unwrap();
    assert_eq!(format!("{sum:?}"), "Number(3.0)");
    let again = main.call("again", vec![]).await.unwrap();
    let Some(Cap(Capability::Stub(it))) = again.member("it") else {
        panic!("{again:?}")
    };
    assert!(it.call("add", vec![Number(1.0), Number(2.0)]).await.is_ok());
    let error = main.call("nothing", vec![]).await.unwrap_err();
    assert_eq!(error.to_string(), "TypeError: 'nothing' is not a function.");
    // The peer vanishes while a call waits.
    let waiting = tokio::spawn({
        let main = main.clone();
        async move { main.call("never", vec![]).await }
    });
    assert!(main.call("add", vec![Number(1.0), Number(2.0)]).await.is_ok());
    served.abort();
    assert!(waiting.await.unwrap().unwrap_err().is_disconnected());
}

#[tokio::test]
async fn callbacks_and_streams() {
    let (mut socket, _served) = raw().await;
    say(
        &mut socket,
        &[
            r#"["push",["pipeline",0,["back"],[["export",-1]]]]"#,
            r#"["pull",1]"#,
        ],
    )
    .await;
    assert_eq!(
        hear(&mut socket).await,
        r#"["push",["pipeline",-1,[],["called"]]]"#
    );
    assert_eq!(hear(&mut socket).await, r#"["pull",1]"#);
    say(&mut socket, &[r#"["resolve",1,"yes"]"#]).await;
    assert_eq!(hear(&mut socket).await, r#"["release",1,1]"#);
    let mut then = [hear(&mut socket).await, hear(&mut socket).await];
    then.sort();
    assert_eq!(then, [r#"["release",-1,1]"#, r#"["resolve",1,"yes"]"#]);

    say(
        &mut socket,
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["length"],[["readable",2]]]]"#,
            r#"["pull",3]"#,
            r#"["stream",["pipeline",2,["write"],["abc"]]]"#,
            r#"["stream",["pipeline",2,["close"],[]]]"#,
        ],
    )
    .await;
    for expected in [
        r#"["resolve",4,["undefined"]]"#,
        r#"["resolve",5,["undefined"]]"#,
        r#"["resolve",3,3]"#,
    ] {
        assert_eq!(hear(&mut socket).await, expected);
    }

    // One that the method never looks at, and one that is too long for it.
    say(
        &mut socket,
        &[
            r#"["pipe"]"#,
            r#"["push",["pipeline",0,["ignore"],[["readable",6]]]]"#,
            r#"["stream",["pipeline",6,["write"],["abc"]]]"#,
        ],
    )
    .await;
    let rejected = hear(&mut socket).await;
    assert!(
        rejected.starts_with(r#"["reject",8,["error","Error","ReadableStream RPC stub was disposed"#),
        "{rejected}"
    );
}

#[tokio::test]
async fn a_broken_protocol_is_told_then_closed_with_3000() {
    for bad in [
        Message::text("nonsense"),
        Message::text(""),
        Message::binary(vec![1]),
    ] {
        let (mut socket, served) = raw().await;
        socket.send(bad).await.unwrap();
        assert!(
            hear(&mut socket)
                .await
                .starts_with(r#"["abort",["error","SyntaxError","#)
        );
        let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else {
            panic!("expected a close")
        };
        assert_eq!(u16::from(frame.code), 3000);
        // Reading on is what sends the answering close.
        assert!(socket.next().await.is_none());
        assert!(matches!(served.await.unwrap(), Err(SessionError::Protocol(_))));
    }
}

#[tokio::test]
async fn a_peer_that_vanishes_is_normal() {
    let (mut socket, served) = raw().await;
    say(&mut socket, &[r#"["push",["pipeline",0,["never"],[]]]"#]).await;
    drop(socket);
    served.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up() {
    let (near, served) = served(SessionOptions {
        send_deadline: Duration::from_secs(1),
        ..SessionOptions::default()
    });
    let (mut sink, _source) = WebSocketStream::from_raw_socket(near, Role::Client, None)
        .await
        .split();
    let long = "x".repeat(30_000);
    let flood = tokio::spawn(async move {
        for id in 1.. {
            let messages = [
                format!(r#"["push",{{"x":"{long}"}}]"#),
                format!(r#"["pull",{id}]"#),
            ];
            for message in messages {
                if sink.send(Message::text(message)).await.is_err() {
                    return;
                }
            }
        }
    });
    assert!(matches!(served.await.unwrap(), Err(SessionError::Stalled(_))));
    flood.abort();
}
