//! Streams, both ways.

use std::sync::{Arc, Mutex};

use capnweb::{Error, Readable, ReadableStream, Stub, Value, Writable, WritableStream};
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::over_pair;
use crate::world::{DirectoryStub, Town};

#[tokio::test]
async fn readables_go_both_ways() -> Result<(), Error> {
    let directory: DirectoryStub = over_pair(DirectoryStub::target(Town::default()));
    let numbers: Vec<u32> = directory.count_to(100).await?.try_collect().await?;
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    let ours = Readable::new(stream::iter((1..=100).map(Ok::<_, Error>)));
    assert_eq!(directory.sum(ours).await?, 5050);
    // What fails here fails there.
    let failing = stream::iter([Ok(1), Err(Error::new("RangeError", "enough"))]);
    let error = directory.sum(Readable::new(failing)).await.unwrap_err();
    assert_eq!(error.to_string(), "RangeError: enough");
    // A chunk of another type.
    let wrong = ReadableStream::new(stream::iter([Ok(Value::from("x"))]));
    let error = directory.sum(Readable::from(wrong)).await.unwrap_err();
    assert_eq!(error.message(), "invalid type: string \"x\", expected u32");
    let mixed = stream::iter([Ok(Value::from("x")), Ok(1.into())]);
    let mut mixed: Readable<u32> = Readable::from(ReadableStream::new(mixed));
    assert!(mixed.next().await.is_some_and(|item| item.is_err()));
    assert!(mixed.next().await.is_none());
    // A reader that leaves early.
    let session = directory.untyped().session().expect("it is the peer's");
    let mut endless = directory.count_to(u32::MAX).await?;
    assert_eq!(endless.next().await.transpose()?, Some(0));
    drop(endless);
    assert_eq!(directory.version().await?, "1.0");
    assert_eq!(session.stats().imports, 1);
    Ok(())
}

#[tokio::test]
async fn writables_are_sinks() -> Result<(), Error> {
    let directory: DirectoryStub = over_pair(DirectoryStub::target(Town::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let mut writable: Writable<u32> = directory
        .collector(move |number: u32| sees.lock().expect("no holder panics").push(number))
        .await?;
    let mut numbers = stream::iter((0..50).map(Ok));
    writable.send_all(&mut numbers).await?;
    writable.close().await?;
    assert_eq!(
        *seen.lock().expect("no holder panics"),
        (0..50).collect::<Vec<_>>()
    );
    // A sink that fails.
    let mut writable = directory
        .collector(|number: u32| match number {
            0 => Ok(()),
            _ => Err(Error::new("RangeError", "only zero")),
        })
        .await?;
    writable.send(0).await?;
    writable.send(1).await?;
    let error = writable.close().await.unwrap_err();
    assert_eq!(error.to_string(), "RangeError: only zero");
    Ok(())
}

#[tokio::test]
async fn bytes_are_read_and_written() -> Result<(), Box<dyn std::error::Error>> {
    let echo = Stub::function(|mut args: Vec<Value>| args.pop().unwrap_or_default());
    let main = echo.clone();
    let given: Stub = over_pair(Arc::new(Once(main)));
    let sent: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let readable = ReadableStream::from_async_read(std::io::Cursor::new(sent.clone()));
    let back = given.invoke([readable.into()]).await?;
    let Value::Capability(capnweb::Capability::Readable(back)) = back else {
        panic!("{back:?}");
    };
    let mut received = Vec::new();
    back.into_async_read().read_to_end(&mut received).await?;
    assert!(received == sent);

    let (near, mut far) = tokio::io::duplex(1000);
    let writable = WritableStream::from_async_write(near);
    let writer = given.call("forward", [writable.into()]).await?;
    let Value::Capability(capnweb::Capability::Writable(writer)) = writer else {
        panic!("{writer:?}");
    };
    let mut writer = writer.into_sink();
    let expected = sent.clone();
    let writing = async {
        writer.write_all(&sent).await?;
        writer.shutdown().await
    };
    received.clear();
    let (wrote, read) = tokio::join!(writing, far.read_to_end(&mut received));
    wrote?;
    read?;
    assert!(received == expected);
    Ok(())
}

/// Gives back what it got; `forward` a stream of its own in front of it.
struct Once(Stub);

impl capnweb::Target for Once {
    fn call(&self, mut call: capnweb::Call) -> capnweb::Answer {
        let argument = call.take(0);
        match (call.method.as_str(), argument) {
            ("forward", Value::Capability(capnweb::Capability::Writable(stream))) => {
                Value::from(WritableStream::from_sink(stream.into_sink())).into()
            }
            (_, value) => capnweb::Answer::later(self.0.invoke([value]).into_future()),
        }
    }
}
