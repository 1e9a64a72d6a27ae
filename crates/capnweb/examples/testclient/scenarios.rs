//! The scenarios.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use capnweb::{
    Answer, Blob, Call, Capability, Error, ErrorValue, NoMain, Promise, ReadableStream, SessionOptions, Sink,
    Stub, Target, Value, WritableStream, batch_over_http, connect,
};
use futures_util::future::BoxFuture;
use futures_util::stream;
use serde_json::{Map, Value as Json, json};

use crate::Urls;
use crate::counter::Counter;
use crate::kind_lists::{ERROR_KINDS, KINDS, THROWN_KINDS};
use crate::kinds::{self, as_stub};
use crate::shown::{failure, outcome, plain, stub_in, tagged};

/// All names, in the order of the definition.
pub(crate) const NAMES: &[&str] = &[
    "square",
    "decode",
    "encode",
    "echo-big",
    "throw-kinds",
    "encode-errors",
    "property",
    "pipeline-method",
    "pipeline-arg",
    "pipeline-deep",
    "pipeline-error",
    "unknown-method",
    "callback",
    "callback-error",
    "callback-many",
    "client-object",
    "client-property",
    "client-main",
    "client-no-main",
    "stub-home",
    "hold-release",
    "dispose",
    "dispose-dup",
    "dispose-array",
    "dispose-pending",
    "drop-unawaited",
    "order",
    "embedded-promise",
    "embedded-failure",
    "promise-arg",
    "promise-arg-reject",
    "map",
    "map-object",
    "map-nested",
    "map-null",
    "map-callback",
    "read-stream",
    "read-stream-values",
    "read-stream-large",
    "read-stream-error",
    "read-stream-unread",
    "send-stream",
    "send-stream-error",
    "send-stream-flow",
    "sink-write",
    "sink-abort",
    "sink-fail",
    "client-writable",
    "client-writable-error",
    "client-writable-drop",
    "blob",
    "batch",
    "batch-error",
    "batch-after",
    "batch-status",
    "batch-empty",
    "batch-garbage",
    "on-broken",
    "dispose-main",
    "stats-clean",
    "connect-refused",
    "peer-abort-on-pull",
    "peer-abort-string",
    "peer-garbage-on-pull",
    "peer-unknown-message",
    "peer-bad-expression",
    "peer-unknown-export",
    "peer-close-1011",
    "peer-close-1000",
    "peer-stray-resolve",
    "peer-deep-nesting",
    "peer-legacy-error",
    "peer-reject-nonerror",
    "peer-proto-keys",
    "peer-padded-bytes",
    "peer-promise-chain",
];

type Shown = Result<Json, Error>;

/// Runs a scenario; `None` when there is none of that name.
pub(crate) async fn run(name: String, urls: Urls) -> Option<Shown> {
    if !NAMES.contains(&name.as_str()) {
        return None;
    }
    Some(match name.as_str() {
        "batch" | "batch-error" | "batch-after" | "batch-status" | "batch-empty" | "batch-garbage" => {
            batches(&name, &urls).await
        }
        "client-main" | "client-no-main" | "connect-refused" | "on-broken" | "dispose-main"
        | "stats-clean" => sessions(&name, &urls).await,
        "send-stream-flow" => flow(&urls).await,
        "blob" => blob(&urls).await,
        name if name.starts_with("peer-") => scripted(&urls, &name["peer-".len()..]).await,
        name if name.contains("stream") || name.contains("sink") || name.contains("writable") => {
            streams(name, &urls).await
        }
        name if name.contains("dispose") || name.contains("stub") || name.contains("hold") => {
            ownership(name, &urls).await
        }
        name => calls(name, &urls).await,
    })
}

async fn open_at(url: &str, main: impl Target) -> Result<Stub, Error> {
    let connected = connect(url, &[], Arc::new(main), SessionOptions::default()).await;
    connected.map_err(|error| Error::new("Error", format!("{error}")))
}

async fn open(urls: &Urls) -> Result<Stub, Error> {
    open_at(&urls.ws, NoMain).await
}

fn wait(milliseconds: u64) -> tokio::time::Sleep {
    tokio::time::sleep(Duration::from_millis(milliseconds))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn first(args: &[Value]) -> Value {
    args.first().cloned().unwrap_or_default()
}

fn readable(items: Vec<Result<Value, Error>>) -> Value {
    ReadableStream::new(stream::iter(items)).into()
}

/// Asks until the answer is the one waited for; the last answer otherwise.
async fn until(expected: &Json, ask: impl AsyncFn() -> Shown) -> Shown {
    for _ in 0..100 {
        let answer = ask().await?;
        if answer == *expected {
            return Ok(answer);
        }
        wait(20).await;
    }
    ask().await
}

async fn calls(name: &str, urls: &Urls) -> Shown {
    let main = open(urls).await?;
    Ok(match name {
        "square" => plain(&main.call("square", [5.into()]).await?),
        "decode" => {
            let mut tags = Map::new();
            for kind in KINDS {
                let value = main.call("make", [(*kind).into()]).await?;
                tags.insert((*kind).into(), tagged(&value).await?);
            }
            tags.into()
        }
        "encode" => {
            let mut answers = Map::new();
            for kind in KINDS {
                let value = kinds::make(kind).unwrap_or_default();
                answers.insert((*kind).into(), plain(&main.call("describe", [value]).await?));
            }
            answers.into()
        }
        "echo-big" => {
            let length = main.call("strLength", ["x".repeat(3_000_000).into()]).await?;
            let text = main.call("bigString", [2_000_000.into()]).await?;
            json!([plain(&length), text.as_str().map_or(0, str::len)])
        }
        "throw-kinds" => {
            let mut errors = Map::new();
            for kind in ERROR_KINDS.iter().chain(THROWN_KINDS) {
                if let Err(error) = main.call("throwKind", [(*kind).into()]).await {
                    errors.insert((*kind).into(), failure(&error).await?);
                }
            }
            errors.into()
        }
        "encode-errors" => {
            let mut answers = Map::new();
            for kind in ["error", "type", "props", "cause", "aggregate"] {
                let error = kinds::make_error(kind, || Stub::new(Counter::new(0.0)));
                let value = error.map_or(Value::Null, |error| Value::Error(Box::new(error)));
                answers.insert(kind.into(), plain(&main.call("describe", [value]).await?));
            }
            answers.into()
        }
        "property" => {
            let version = main.get("version").await?;
            let name = main.get("nested").get("self").get("name").await?;
            let nope = main.get("nope").await?;
            json!([plain(&version), plain(&name), tagged(&nope).await?])
        }
        "pipeline-method" => {
            let counter = main.call("makeCounter", [4.into()]);
            let one = counter.call("increment", []);
            let four = counter.call("increment", [4.into()]);
            json!([plain(&one.await?), plain(&four.await?)])
        }
        "pipeline-arg" => {
            let four = main.call("square", [2.into()]);
            plain(&main.call("square", [four.into()]).await?)
        }
        "pipeline-deep" => {
            let object = main.call("getObject", []);
            let two = object.get("nested").call("fn", [1.into()]);
            let n = object.get("n");
            let counted = object.get("nested").get("counter").call("increment", [2.into()]);
            json!([plain(&two.await?), plain(&n.await?), plain(&counted.await?)])
        }
        "pipeline-error" => {
            let failed = main.call("throwError", []);
            let called = outcome(failed.call("foo", [])).await?;
            json!([called, outcome(main.call("square", [failed.into()])).await?])
        }
        "unknown-method" => outcome(main.call("noSuch", [])).await?,
        "callback" => {
            let triple = Stub::function(|args: Vec<Value>| Value::from(number(&first(&args)) * 3.0));
            let answer = main.call("callFunction", [triple.into(), 5.into()]).await?;
            plain(answer.member("result").unwrap_or(&Value::Null))
        }
        "callback-error" => {
            let failing = Stub::function(|_: Vec<Value>| {
                Error::from(ErrorValue::new("RangeError", "cb").with("code", "E_CB".into()))
            });
            plain(&main.call("catchFrom", [failing.into()]).await?)
        }
        "callback-many" => {
            let slow = Stub::function(|args: Vec<Value>| {
                Answer::later(async move {
                    wait(5).await;
                    Ok(first(&args))
                })
            });
            plain(&main.call("callConcurrent", [slow.into(), 8.into()]).await?)
        }
        "client-object" => {
            let counter = Stub::new(Counter::new(4.0));
            plain(&main.call("incrementCounter", [counter.into(), 9.into()]).await?)
        }
        "client-property" => {
            let counter = Stub::new(Counter::new(77.0));
            plain(
                &main
                    .call("readProperty", [counter.into(), "value".into()])
                    .await?,
            )
        }
        "drop-unawaited" => {
            let recorded = main.call("record", ["x".into()]);
            let log = main.call("getLog", []).await?;
            drop(recorded);
            plain(&log)
        }
        "order" => {
            let records: Vec<_> = (0..50).map(|x| main.call("record", [x.into()])).collect();
            for record in records {
                record.await?;
            }
            plain(&main.call("getLog", []).await?)
        }
        "embedded-promise" => plain(&main.call("embeddedSlow", [40.into(), "v".into()]).await?),
        "embedded-failure" => outcome(main.call("embeddedFail", [20.into()])).await?,
        "promise-arg" => {
            let six = Promise::spawn(async {
                wait(30).await;
                Ok(6.into())
            });
            plain(&main.call("square", [six.into()]).await?)
        }
        "promise-arg-reject" => {
            let late = Promise::spawn(async {
                wait(10).await;
                Err(Error::new("TypeError", "late"))
            });
            outcome(main.call("square", [late.into()])).await?
        }
        "map" => {
            let numbers = main.call("generateFibonacci", [6.into()]);
            plain(&numbers.map(|i| main.call("square", [i.into()])).await?)
        }
        "map-object" => {
            let names = main
                .call("list", [])
                .map(|x| Value::object([("n", x.get("name").into()), ("k", 1.into())]));
            plain(&names.await?)
        }
        "map-nested" => {
            let outer = main.call("generateFibonacci", [4.into()]);
            let pairs = outer.map(|i| {
                main.call("generateFibonacci", [3.into()])
                    .map(|j| Value::object([("i", i.clone().into()), ("j", j.into())]))
            });
            plain(&pairs.await?)
        }
        "map-null" => plain(
            &main
                .call("returnNull", [])
                .map(|i| main.call("square", [i.into()]))
                .await?,
        ),
        "map-callback" => {
            let notes = Arc::new(Mutex::new(Vec::new()));
            let noting = Arc::clone(&notes);
            let function = Stub::function(move |args: Vec<Value>| {
                let x = first(&args);
                let result = Value::from(number(&x) * 10.0);
                noting
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(plain(&x));
                result
            });
            let numbers = main.call("generateFibonacci", [4.into()]);
            let result = numbers.map(|i| function.invoke([i.into()])).await?;
            let notes = notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
            json!([plain(&result), notes])
        }
        other => return Err(Error::new("Error", format!("{other} is nowhere"))),
    })
}

/// Answers `getValue` and counts its end.
struct Counted(Arc<AtomicU32>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Target for Counted {
    fn call(&self, call: Call) -> Answer {
        match call.method.as_str() {
            "getValue" => Value::from(7).into(),
            _ => Answer::error(call.not_a_function()),
        }
    }
}

async fn ownership(name: &str, urls: &Urls) -> Shown {
    let main = open(urls).await?;
    let label = urls.label(name);
    let count = async || Ok::<_, Error>(plain(&main.call("disposeCount", [label.clone()]).await?));
    let drops = Arc::new(AtomicU32::new(0));
    let dropped = || drops.load(Ordering::SeqCst);
    Ok(match name {
        "stub-home" => {
            let answer = main
                .call("echoStub", [Stub::new(Counted(Arc::clone(&drops))).into()])
                .await?;
            let value = stub_in(&answer, "stub")?.call("getValue", []).await?;
            drop(answer);
            main.call("returnNull", []).await?;
            wait_for(|| dropped() > 0).await;
            json!([plain(&value), dropped()])
        }
        "hold-release" => {
            let target = Stub::new(Counted(Arc::clone(&drops)));
            main.call("holdStub", [label.clone(), target.into()]).await?;
            let before = dropped();
            let value = main
                .call("callHeldMethod", [label.clone(), "getValue".into()])
                .await?;
            main.call("releaseHeld", [label.clone()]).await?;
            wait_for(|| dropped() > 0).await;
            json!([before, plain(&value), dropped()])
        }
        "dispose" => {
            let stub = as_stub(&main.call("makeDisposable", [label.clone()]).await?)?;
            let value = plain(&stub.call("getValue", []).await?);
            let before = count().await?;
            drop(stub);
            json!([value, before, until(&json!(1), count).await?])
        }
        "dispose-dup" => {
            let stub = as_stub(&main.call("makeDisposable", [label.clone()]).await?)?;
            let dup = stub.clone();
            drop(stub);
            let before = count().await?;
            let value = plain(&dup.call("getValue", []).await?);
            drop(dup);
            json!([before, value, until(&json!(1), count).await?])
        }
        "dispose-array" => {
            let all = main.call("makeDisposables", [label.clone(), 5.into()]).await?;
            drop(all);
            until(&json!(5), count).await?
        }
        "dispose-pending" => {
            let pending = main.call("makeDisposableSlow", [label.clone(), 60.into()]);
            main.call("returnNull", []).await?;
            drop(pending);
            until(&json!(1), count).await?
        }
        other => return Err(Error::new("Error", format!("{other} is nowhere"))),
    })
}

async fn wait_for(condition: impl Fn() -> bool) {
    for _ in 0..100 {
        if condition() {
            return;
        }
        wait(10).await;
    }
}

/// Keeps what is written to it.
#[derive(Default)]
struct Kept {
    chunks: Vec<Value>,
    closed: bool,
    aborted: Option<String>,
}

struct Keeping {
    kept: Arc<Mutex<Kept>>,
    /// The write that fails, counted from one.
    fails_at: usize,
}

impl Keeping {
    fn note(&self, note: impl FnOnce(&mut Kept)) {
        note(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Sink for Keeping {
    fn write(&mut self, chunk: Value) -> BoxFuture<'_, Result<(), Error>> {
        let mut written = 0;
        self.note(|kept| {
            kept.chunks.push(chunk);
            written = kept.chunks.len();
        });
        let result = if written >= self.fails_at {
            Err(Error::new("Error", "sink full"))
        } else {
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }

    fn close(&mut self) -> BoxFuture<'_, Result<(), Error>> {
        self.note(|kept| kept.closed = true);
        Box::pin(std::future::ready(Ok(())))
    }

    fn abort(&mut self, reason: Error) {
        self.note(|kept| kept.aborted = Some(reason.message()));
    }
}

fn keeping(fails_at: usize) -> (Value, Arc<Mutex<Kept>>) {
    let kept = Arc::new(Mutex::new(Kept::default()));
    let sink = Keeping {
        kept: Arc::clone(&kept),
        fails_at,
    };
    (WritableStream::new(sink).into(), kept)
}

fn as_readable(value: &Value) -> Result<&ReadableStream, Error> {
    match value {
        Value::Capability(Capability::Readable(stream)) => Ok(stream),
        other => Err(Error::new("TypeError", format!("no stream but {other:?}"))),
    }
}

fn as_writable(value: &Value) -> Result<&WritableStream, Error> {
    match value {
        Value::Capability(Capability::Writable(stream)) => Ok(stream),
        other => Err(Error::new("TypeError", format!("no stream but {other:?}"))),
    }
}

async fn streams(name: &str, urls: &Urls) -> Shown {
    let main = open(urls).await?;
    Ok(match name {
        "read-stream" | "read-stream-values" | "read-stream-large" | "read-stream-error" => {
            let answer = match name {
                "read-stream" => main.call("readableOf", [5.into(), 3.into()]),
                "read-stream-values" => main.call("readableValues", []),
                "read-stream-large" => main.call("readableOf", [60.into(), 20_000.into()]),
                _ => main.call("readableError", [2.into()]),
            };
            let answer = answer.await?;
            let stream = as_readable(&answer)?;
            let (mut chunks, mut failed) = (Vec::new(), None);
            loop {
                match stream.next().await {
                    Ok(Some(chunk)) => chunks.push(chunk),
                    Ok(None) => break,
                    Err(error) => {
                        failed = Some(error.message());
                        break;
                    }
                }
            }
            match (name, failed) {
                ("read-stream-error", failed) => json!(failed),
                (_, Some(message)) => return Err(Error::new("Error", message)),
                ("read-stream", None) => chunks.iter().map(plain).collect(),
                ("read-stream-large", None) => {
                    let length: usize = chunks.iter().filter_map(Value::as_str).map(str::len).sum();
                    json!([chunks.len(), length])
                }
                _ => {
                    let mut tags = Vec::new();
                    for chunk in &chunks {
                        tags.push(tagged(chunk).await?);
                    }
                    tags.into()
                }
            }
        }
        "read-stream-unread" => {
            let label = urls.label(name);
            drop(main.call("readableTracked", [label.clone()]).await?);
            let count = async || Ok(plain(&main.call("disposeCount", [label.clone()]).await?));
            until(&json!(1), count).await?
        }
        "send-stream" => {
            let numbers = (0..100).map(|n| Ok(n.into())).collect();
            plain(&main.call("sumReadable", [readable(numbers)]).await?)
        }
        "send-stream-error" => {
            let items = vec![
                Ok(1.into()),
                Ok(2.into()),
                Err(Error::new("Error", "source broke")),
            ];
            let answer = main.call("collectThenError", [readable(items)]).await?;
            plain(answer.member("error").unwrap_or(&Value::Null))
        }
        "sink-write" => {
            let answer = main.call("makeSink", ["a".into()]).await?;
            let sink = as_writable(&answer)?;
            sink.write(Value::object([("a", 1.into())])).await?;
            sink.write(Value::Undefined).await?;
            sink.close().await?;
            plain(&main.call("sinkState", ["a".into()]).await?)
        }
        "sink-abort" => {
            let answer = main.call("makeSink", ["a".into()]).await?;
            let sink = as_writable(&answer)?;
            sink.write(1.into()).await?;
            sink.abort(Error::new("Error", "stop it")).await;
            let aborted = async || {
                let state = main.call("sinkState", ["a".into()]).await?;
                Ok(plain(state.member("aborted").unwrap_or(&Value::Null)))
            };
            until(&json!("stop it"), aborted).await?
        }
        "sink-fail" => {
            let answer = main.call("makeFailingSink", [1.into()]).await?;
            let sink = as_writable(&answer)?;
            let failed = async {
                for _ in 0..50 {
                    sink.write("x".into()).await?;
                    wait(2).await;
                }
                sink.close().await
            };
            match failed.await {
                Ok(()) => Json::Null,
                Err(error) => json!(error.message()),
            }
        }
        "client-writable" => {
            let (sink, kept) = keeping(usize::MAX);
            let chunks = Value::Array(vec!["a".into(), 1.into(), Value::Null, Value::Date(Some(9.0))]);
            let n = main.call("writeTo", [sink, chunks]).await?;
            let (chunks, closed) = {
                let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                (kept.chunks.clone(), kept.closed)
            };
            let mut got = Vec::new();
            for chunk in &chunks {
                got.push(tagged(chunk).await?);
            }
            json!({"n": plain(&n), "got": got, "closed": closed})
        }
        "client-writable-error" => {
            let (sink, _) = keeping(3);
            let chunks = Value::Array(["a", "b", "c", "d"].map(Value::from).into());
            outcome(main.call("writeTo", [sink, chunks])).await?
        }
        "client-writable-drop" => {
            let (sink, kept) = keeping(usize::MAX);
            main.call("writeAndDrop", [sink, "x".into()]).await?;
            let aborted = || {
                kept.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .aborted
                    .clone()
            };
            wait_for(|| aborted().is_some()).await;
            json!(aborted())
        }
        other => return Err(Error::new("Error", format!("{other} is nowhere"))),
    })
}

async fn flow(urls: &Urls) -> Shown {
    let main = open_at(&urls.ws_at("/script/hold-acks"), NoMain).await?;
    let chunks = (0..40).map(|_| Ok("x".repeat(40_000).into())).collect();
    Ok(plain(&main.call("anything", [readable(chunks)]).await?))
}

async fn blob(urls: &Urls) -> Shown {
    let main = open(urls).await?;
    let blob = Value::Blob(Box::new(Blob {
        media_type: "text/plain".into(),
        bytes: b"hello blob".to_vec(),
    }));
    match main.call("echoBlob", [blob]).await? {
        Value::Blob(blob) => Ok(json!([blob.media_type, String::from_utf8_lossy(&blob.bytes)])),
        other => Err(Error::new("TypeError", format!("no blob but {other:?}"))),
    }
}

async fn batches(name: &str, urls: &Urls) -> Shown {
    let url = match name {
        "batch-status" => urls.http_at("/batch-500"),
        "batch-empty" => urls.http_at("/batch-empty"),
        "batch-garbage" => urls.http_at("/batch-garbage"),
        _ => urls.http.clone(),
    };
    let options = SessionOptions::default();
    match name {
        "batch" => {
            let results = batch_over_http(&url, &[], options, async |main| {
                let counter = main.call("makeCounter", [2.into()]);
                let (square, five, nine) = (
                    main.call("square", [6.into()]),
                    counter.call("increment", [3.into()]),
                    main.call("incrementCounter", [counter.clone().into(), 4.into()]),
                );
                tokio::join!(square.into_future(), five.into_future(), nine.into_future())
            })
            .await;
            Ok(json!([
                plain(&results.0?),
                plain(&results.1?),
                plain(&results.2?)
            ]))
        }
        "batch-error" => {
            let (one, two) = batch_over_http(&url, &[], options, async |main| {
                let (failing, square) = (main.call("throwError", []), main.call("square", [2.into()]));
                tokio::join!(outcome(failing), outcome(square))
            })
            .await;
            Ok(json!([one?, two?]))
        }
        "batch-after" => {
            let counter = batch_over_http(&url, &[], options, async |main| {
                let counter = main.call("makeCounter", [1.into()]).await?;
                let counter = as_stub(&counter)?;
                counter.call("increment", []).await
            })
            .await;
            Ok(counter.map_or_else(|error| json!(error.message()), |_| Json::Null))
        }
        _ => {
            let result = batch_over_http(&url, &[], options, async |main| {
                main.call("square", [1.into()]).await
            })
            .await;
            Ok(match (name, result) {
                ("batch-garbage", result) => json!(result.is_err()),
                (_, Err(error)) => json!(error.message()),
                (_, Ok(_)) => Json::Null,
            })
        }
    }
}

/// A main object with something to call.
struct Offering;

impl Target for Offering {
    fn call(&self, mut call: Call) -> Answer {
        match call.method.as_str() {
            "echo" => call.take(0).into(),
            "fail" => Answer::error(Error::new("RangeError", "client says no")),
            _ => Answer::error(call.not_a_function()),
        }
    }
}

async fn sessions(name: &str, urls: &Urls) -> Shown {
    match name {
        "client-main" => {
            let main = open_at(&urls.ws, Offering).await?;
            let args = Value::Array(vec!["hi".into()]);
            let echoed = main.call("callClientMain", ["echo".into(), args]).await?;
            let failed = main.call("callClientMain", ["fail".into(), Value::Array(Vec::new())]);
            Ok(json!([plain(&echoed), outcome(failed).await?]))
        }
        "client-no-main" => {
            let main = open(urls).await?;
            outcome(main.call("callClientMain", ["echo".into(), Value::Array(Vec::new())])).await
        }
        "connect-refused" => {
            // A port that was just free.
            let listener = std::net::TcpListener::bind("127.0.0.1:0");
            let port = listener.and_then(|listener| listener.local_addr());
            let port = port
                .map_err(|error| Error::new("Error", error.to_string()))?
                .port();
            let failed = match open_at(&format!("ws://127.0.0.1:{port}/ws"), NoMain).await {
                Ok(main) => main.call("square", [1.into()]).await.is_err(),
                Err(_) => true,
            };
            Ok(json!(failed))
        }
        "on-broken" => {
            let main = open(urls).await?;
            let counter = as_stub(&main.call("makeCounter", [1.into()]).await?)?;
            let heard = Arc::new(Mutex::new(Vec::new()));
            let note = |who: &'static str| {
                let heard = Arc::clone(&heard);
                move |error: &Error| {
                    let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                    heard.push(format!("{who}:{}", error.message()));
                }
            };
            let _main = main.on_broken(note("main"));
            let _counter = counter.on_broken(note("counter"));
            main.call("shutdown", []).await?;
            let count = || heard.lock().unwrap_or_else(PoisonError::into_inner).len();
            wait_for(|| count() >= 2).await;
            let heard = heard.lock().unwrap_or_else(PoisonError::into_inner).clone();
            Ok(json!(heard))
        }
        "dispose-main" => {
            let main = open(urls).await?;
            let counter = as_stub(&main.call("makeCounter", [1.into()]).await?)?;
            let never = tokio::spawn(outcome(main.call("never", [])));
            main.call("square", [1.into()]).await?;
            drop(main);
            let never = never
                .await
                .map_err(|error| Error::new("Error", error.to_string()))??;
            Ok(json!([
                never,
                outcome(counter.call("increment", [1.into()])).await?
            ]))
        }
        _ => {
            let main = open(urls).await?;
            let before = plain(&main.call("stats", []).await?);
            for n in 0..50 {
                main.call("square", [n.into()]).await?;
            }
            let counter = as_stub(&main.call("makeCounter", [1.into()]).await?)?;
            counter.call("increment", []).await?;
            drop(counter);
            let object = main.call("getObject", []);
            object.get("nested").call("fn", [1.into()]).await?;
            drop(object.await?);
            let _ = main.call("throwError", []).await;
            let double = Stub::function(|args: Vec<Value>| Value::from(number(&first(&args)) * 2.0));
            main.call("callFunction", [double.into(), 5.into()]).await?;
            let answer = main.call("readableOf", [5.into(), 3.into()]).await?;
            let stream = as_readable(&answer)?;
            while stream.next().await?.is_some() {}
            drop(answer);
            let numbers = (0..5).map(|n| Ok(n.into())).collect();
            main.call("sumReadable", [readable(numbers)]).await?;
            let after = async || Ok(plain(&main.call("stats", []).await?));
            let after = until(&before, after).await?;
            let session = main.session().ok_or_else(|| Error::new("Error", "no session"))?;
            wait_for(|| session.stats().imports == 1 && session.stats().exports == 1).await;
            let local = session.stats();
            Ok(json!({
                "before": before,
                "after": after,
                "local": {"imports": local.imports, "exports": local.exports},
            }))
        }
    }
}

async fn scripted(urls: &Urls, script: &str) -> Shown {
    let main = open_at(&urls.ws_at(&format!("/script/{script}")), NoMain).await?;
    let outcome = outcome(main.call("anything", [])).await;
    wait(80).await;
    outcome
}
