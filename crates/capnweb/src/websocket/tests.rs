use std::sync::Arc;
use std::time::Duration;

use capnweb_proto::Value::{Capability as Cap, Number, Undefined};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};

use super::*;
use crate::{Capability, Value};

/// Counts, calls back, hands out itself, and reads streams.
struct Everything;

impl Target for Everything {
    fn call(&self, mut call: Call) -> CallFuture {
        Box::pin(async move {
            let last = call.args.pop();
            match (call.method(), last) {
                (Some("add"), Some(Number(b))) => match call.args.first() {
                    Some(Number(a)) => Ok(Number(a + b)),
                    _ => Err(Value::error("RangeError", "two numbers")),
                },
                (Some("again"), None) => Ok(Value::Object(vec![(
                    "it".into(),
                    Cap(Capability::Target(Arc::new(Self))),
                )])),
                (Some("back"), Some(Cap(Capability::Stub(stub)))) => stub
                    .call_path(vec![], vec!["called".into()])
                    .await
                    .map_err(|error| Value::error("Error", error.to_string())),
                (Some("length"), Some(Cap(Capability::Readable(stream)))) => match stream.collect(10).await {
                    Ok(bytes) => Ok(Number(bytes.len() as f64)),
                    Err(error) => Err(Value::error("Error", error.to_string())),
                },
                (Some("ignore"), Some(_)) => Ok(Undefined),
                (Some("never"), None) => std::future::pending().await,
                _ => Err(call.not_a_function()),
            }
        })
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
    assert!(matches!(
        waiting.await.unwrap(),
        Err(crate::CallError::Disconnected(_))
    ));
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
