//! The main object of a session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use capnweb::{
    Answer, Call, Capability, Error, Promise, Registration, Session, Stub, Target, Value, WritableStream,
};

use crate::counter::Counter;
use crate::kinds::{self, as_stub, tag};
use crate::streams::{self, Failing, Noting, SinkState};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counters of the whole process, by the callers' labels.
#[derive(Default)]
pub(crate) struct Shared {
    disposed: Mutex<HashMap<String, u32>>,
    broken: Mutex<HashMap<String, (u32, String)>>,
}

impl Shared {
    fn disposed(&self, label: &str) {
        *lock(&self.disposed).entry(label.to_owned()).or_default() += 1;
    }
}

/// What one session keeps.
#[derive(Default)]
struct Kept {
    log: Vec<Value>,
    held: HashMap<String, Stub>,
    subscribers: Vec<Stub>,
    sinks: HashMap<String, Arc<Mutex<SinkState>>>,
    watched: Vec<(Stub, Registration)>,
    progress: u32,
}

pub(crate) struct Main {
    shared: Arc<Shared>,
    session: Option<Session>,
    kept: Arc<Mutex<Kept>>,
}

impl Main {
    pub(crate) fn new(shared: Arc<Shared>, session: Option<Session>) -> Self {
        Self {
            shared,
            session,
            kept: Arc::default(),
        }
    }
}

/// Counts its end.
struct Disposable(Arc<Shared>, String);

impl Drop for Disposable {
    fn drop(&mut self) {
        self.0.disposed(&self.1);
    }
}

impl Target for Disposable {
    fn call(&self, call: Call) -> Answer {
        match call.method.as_str() {
            "getValue" => Value::from(42).into(),
            "hang" => Answer::later(std::future::pending()),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn methods(&self) -> &[&str] {
        &["getValue", "hang"]
    }
}

/// An object with one like it inside.
struct Nested;

impl Target for Nested {
    fn call(&self, mut call: Call) -> Answer {
        let who = call.take(0);
        match call.method.as_str() {
            "greet" => Value::from(format!("hello {}", who.as_str().unwrap_or("undefined"))).into(),
            _ => Answer::error(call.not_a_function()),
        }
    }

    fn get(&self, name: &str) -> Answer {
        match name {
            "name" => Value::from("nested").into(),
            "self" => Value::from(Stub::new(Self)).into(),
            _ => Value::Undefined.into(),
        }
    }

    fn methods(&self) -> &[&str] {
        &["greet"]
    }
}

/// What JavaScript's arithmetic makes of a value.
fn number(value: &Value) -> f64 {
    match value {
        Value::Number(number) => *number,
        Value::Null => 0.0,
        Value::Bool(value) => f64::from(*value),
        Value::String(text) if text.trim().is_empty() => 0.0,
        Value::String(text) => text.trim().parse().unwrap_or(f64::NAN),
        _ => f64::NAN,
    }
}

fn count(value: &Value) -> usize {
    number(value) as usize
}

fn label(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn milliseconds(value: &Value) -> Duration {
    Duration::from_secs_f64((number(value) / 1000.0).clamp(0.0, 60.0))
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn plus_one() -> Stub {
    Stub::function(|args| Value::from(args.first().map_or(f64::NAN, number) + 1.0))
}

fn counter(start: f64) -> Value {
    Stub::new(Counter::new(start)).into()
}

fn fibonacci(count: usize) -> Value {
    let mut next = (0.0, 1.0);
    let numbers = std::iter::repeat_with(|| {
        let number = next.0;
        next = (next.1, next.0 + next.1);
        Value::from(number)
    });
    Value::Array(numbers.take(count).collect())
}

const METHODS: &[&str] = &[
    "square",
    "callSquare",
    "callFunction",
    "throwError",
    "makeCounter",
    "incrementCounter",
    "generateFibonacci",
    "returnNull",
    "returnUndefined",
    "returnNumber",
    "echoBlob",
    "stats",
    "callClientMain",
    "shutdown",
    "echo",
    "describe",
    "argCount",
    "make",
    "makeErrorValue",
    "throwKind",
    "rejectKind",
    "bigString",
    "strLength",
    "byteLength",
    "getObject",
    "list",
    "makeNotCallable",
    "makeFunction",
    "listCounters",
    "delay",
    "never",
    "makeDelayedCounter",
    "failLater",
    "record",
    "recordWith",
    "getLog",
    "clearLog",
    "makeRecorder",
    "embeddedSlow",
    "embeddedFail",
    "embeddedFromPeer",
    "makeDisposable",
    "makeDisposableSlow",
    "makeDisposables",
    "makeTwice",
    "disposeCount",
    "holdStub",
    "callHeld",
    "callHeldMethod",
    "getHeld",
    "releaseHeld",
    "echoStub",
    "callMethod",
    "callMethodPipelined",
    "readProperty",
    "callMany",
    "callConcurrent",
    "callNoAwait",
    "catchFrom",
    "subscribe",
    "emit",
    "unsubscribe",
    "watchBroken",
    "brokenCount",
    "note",
    "readableOf",
    "readableValues",
    "readableError",
    "readableCounter",
    "readableTracked",
    "sumReadable",
    "collect",
    "collectDescribe",
    "collectThenError",
    "readOne",
    "countLength",
    "ignoreStream",
    "writeTo",
    "writeMany",
    "writeProgress",
    "writeAndAbort",
    "writeAndDrop",
    "makeSink",
    "sinkState",
    "makeFailingSink",
    "makeTransform",
];

impl Target for Main {
    fn call(&self, call: Call) -> Answer {
        let groups = [Self::values, Self::order, Self::stubs, Self::streams];
        let mut call = call;
        for group in groups {
            match group(self, call) {
                Ok(answer) => return answer,
                Err(not_here) => call = not_here,
            }
        }
        Answer::error(call.not_a_function())
    }

    fn get(&self, name: &str) -> Answer {
        match name {
            "version" => Value::from("capnweb-testserver/1").into(),
            "nested" => Value::from(Stub::new(Nested)).into(),
            _ => Value::Undefined.into(),
        }
    }

    fn methods(&self) -> &[&str] {
        METHODS
    }
}

/// A group of methods either answers a call or gives it back.
type Grouped = Result<Answer, Call>;

impl Main {
    fn values(&self, mut call: Call) -> Grouped {
        let method = call.method.clone();
        let first = call.args.first().cloned().unwrap_or(Value::Undefined);
        Ok(match method.as_str() {
            "square" => Value::from(number(&first) * number(&first)).into(),
            "callSquare" => {
                let result = as_stub(&first).map(|stub| stub.call("square", [call.take(1)]));
                result
                    .map(|result| Value::object([("result", result.into())]))
                    .into()
            }
            "callFunction" => {
                let function = as_stub(&first);
                let argument = call.take(1);
                Answer::later(async move {
                    let result = function?.invoke([argument]).await?;
                    Ok(Value::object([("result", result)]))
                })
            }
            "throwError" => Answer::error(Error::new("RangeError", "test error")),
            "makeCounter" => counter(number(&first)).into(),
            "incrementCounter" => {
                let amount = match call.take(1) {
                    Value::Undefined => Value::from(1),
                    amount => amount,
                };
                match as_stub(&first) {
                    Ok(stub) => Answer::later(stub.call("increment", [amount]).into_future()),
                    Err(error) => error.into(),
                }
            }
            "generateFibonacci" => fibonacci(count(&first)).into(),
            "returnNull" => Value::Null.into(),
            "returnUndefined" => Value::Undefined.into(),
            "returnNumber" | "echo" | "echoBlob" => call.take(0).into(),
            "stats" => match &self.session {
                None => Value::Null.into(),
                Some(session) => {
                    let stats = session.stats();
                    Value::object([
                        ("imports", (stats.imports as f64).into()),
                        ("exports", (stats.exports as f64).into()),
                    ])
                    .into()
                }
            },
            "callClientMain" => match &self.session {
                None => Answer::error(Error::new("Error", "a batch has no client to call")),
                Some(session) => {
                    let result = session.remote_main().call(&label(&first), items(call.take(1)));
                    Answer::later(result.into_future())
                }
            },
            "shutdown" => {
                if let Some(session) = self.session.clone() {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        session.shut_down();
                    });
                }
                Value::from("bye").into()
            }
            "describe" => Answer::later(async move {
                match call.args.as_slice() {
                    [one] => tag(one).await,
                    _ => tag(&Value::Array(call.args)).await,
                }
            }),
            "argCount" => Value::from(call.args.len() as f64).into(),
            "make" => match kinds::make(&label(&first)) {
                Some(value) => value.into(),
                None => Answer::error(Error::new("Error", format!("unknown kind {}", label(&first)))),
            },
            "makeErrorValue" => match kinds::make_error(&label(&first), || Stub::new(Counter::new(0.0))) {
                Some(error) => Value::Error(Box::new(error)).into(),
                None => Answer::error(Error::new("Error", format!("unknown kind {}", label(&first)))),
            },
            "throwKind" => kinds::throw(&label(&first), || Stub::new(Counter::new(0.0))).into(),
            "rejectKind" => Answer::later(async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Err(kinds::throw(&label(&first), || Stub::new(Counter::new(0.0))))
            }),
            "bigString" => Value::from("x".repeat(count(&first))).into(),
            "strLength" => {
                let length = first.as_str().map_or(0, |text| text.encode_utf16().count());
                Value::from(length as f64).into()
            }
            "byteLength" => {
                let length = match &first {
                    Value::Bytes(bytes, _) => bytes.len(),
                    _ => 0,
                };
                Value::from(length as f64).into()
            }
            "getObject" => Value::object([
                ("n", 5.into()),
                ("s", "str".into()),
                (
                    "arr",
                    Value::Array(vec![10.into(), 20.into(), Value::Array(vec![30.into()])]),
                ),
                ("nul", Value::Null),
                ("undef", Value::Undefined),
                (
                    "nested",
                    Value::object([("fn", plus_one().into()), ("counter", counter(100.0))]),
                ),
            ])
            .into(),
            "list" => {
                let entry = |id: i32, name: &str| Value::object([("id", id.into()), ("name", name.into())]);
                Value::Array(vec![entry(1, "a"), entry(2, "b"), entry(3, "c")]).into()
            }
            "makeNotCallable" => Value::object([("f", 5.into())]).into(),
            "makeFunction" => Value::from(plus_one()).into(),
            "listCounters" => {
                Value::Array((0..count(&first)).map(|start| counter(start as f64)).collect()).into()
            }
            _ => return Err(call),
        })
    }

    fn order(&self, mut call: Call) -> Grouped {
        let method = call.method.clone();
        let first = call.args.first().cloned().unwrap_or(Value::Undefined);
        Ok(match method.as_str() {
            "delay" => {
                let (pause, value) = (milliseconds(&first), call.take(1));
                Answer::later(async move {
                    tokio::time::sleep(pause).await;
                    Ok(value)
                })
            }
            "never" => Answer::later(std::future::pending()),
            "makeDelayedCounter" => {
                let start = number(&call.take(1));
                Answer::later(async move {
                    tokio::time::sleep(milliseconds(&first)).await;
                    Ok(counter(start))
                })
            }
            "failLater" => Answer::later(async move {
                tokio::time::sleep(milliseconds(&first)).await;
                Err(Error::new("Error", "failed later"))
            }),
            "record" | "recordWith" => {
                lock(&self.kept).log.push(first.clone());
                first.into()
            }
            "getLog" => Value::Array(lock(&self.kept).log.clone()).into(),
            "clearLog" => {
                lock(&self.kept).log.clear();
                Value::Undefined.into()
            }
            "makeRecorder" => {
                let recorder = || {
                    let kept = Arc::clone(&self.kept);
                    Value::from(Stub::function(move |args| {
                        let value = args.first().cloned().unwrap_or(Value::Undefined);
                        lock(&kept).log.push(value.clone());
                        value
                    }))
                };
                Value::object([("a", recorder()), ("b", recorder())]).into()
            }
            "embeddedSlow" => {
                let (pause, value) = (milliseconds(&first), call.take(1));
                let slow = Promise::spawn(async move {
                    tokio::time::sleep(pause).await;
                    Ok(value)
                });
                Value::object([("before", 1.into()), ("slow", slow.into()), ("after", 2.into())]).into()
            }
            "embeddedFail" => {
                let bad = Promise::spawn(async move {
                    tokio::time::sleep(milliseconds(&first)).await;
                    Err(Error::new("Error", "embedded failed"))
                });
                Value::object([("bad", bad.into())]).into()
            }
            "embeddedFromPeer" => {
                let method = label(&call.take(1));
                let promise = as_stub(&first).map(|stub| stub.call(&method, []));
                promise
                    .map(|promise| Value::object([("p", promise.into())]))
                    .into()
            }
            _ => return Err(call),
        })
    }

    fn stubs(&self, mut call: Call) -> Grouped {
        let method = call.method.clone();
        let first = call.args.first().cloned().unwrap_or(Value::Undefined);
        let disposable = |label: String| Value::from(Stub::new(Disposable(Arc::clone(&self.shared), label)));
        let held = |name: &str| {
            lock(&self.kept)
                .held
                .get(name)
                .cloned()
                .ok_or_else(|| Error::new("Error", format!("nothing is held as {name}")))
        };
        Ok(match method.as_str() {
            "makeDisposable" => disposable(label(&first)).into(),
            "makeDisposableSlow" => {
                let (shared, pause) = (Arc::clone(&self.shared), milliseconds(&call.take(1)));
                Answer::later(async move {
                    tokio::time::sleep(pause).await;
                    Ok(Stub::new(Disposable(shared, label(&first))).into())
                })
            }
            "makeDisposables" => {
                let all = (0..count(&call.take(1))).map(|_| disposable(label(&first)));
                Value::Array(all.collect()).into()
            }
            "makeTwice" => {
                let one = disposable(label(&first));
                Value::object([("a", one.clone()), ("b", one)]).into()
            }
            "disposeCount" => {
                let count = lock(&self.shared.disposed).get(&label(&first)).copied();
                Value::from(count.unwrap_or(0)).into()
            }
            "holdStub" => match as_stub(&call.take(1)) {
                Ok(stub) => {
                    let replaced = lock(&self.kept).held.insert(label(&first), stub);
                    drop(replaced);
                    Value::Undefined.into()
                }
                Err(error) => error.into(),
            },
            "callHeld" => match held(&label(&first)) {
                Ok(stub) => Answer::later(stub.invoke(call.args.into_iter().skip(1)).into_future()),
                Err(error) => error.into(),
            },
            "callHeldMethod" => match held(&label(&first)) {
                Ok(stub) => {
                    let method = label(&call.take(1));
                    Answer::later(stub.call(&method, call.args.into_iter().skip(2)).into_future())
                }
                Err(error) => error.into(),
            },
            "getHeld" => held(&label(&first))
                .map(|stub| Value::object([("stub", stub.into())]))
                .into(),
            "releaseHeld" => {
                let released = lock(&self.kept).held.remove(&label(&first));
                drop(released);
                Value::Undefined.into()
            }
            "echoStub" => Value::object([("stub", call.take(0))]).into(),
            "callMethod" | "callMethodPipelined" => {
                // An object of functions will do as well as a stub.
                let (name, args) = (label(&call.take(1)), items(call.take(2)));
                let result = Promise::resolved(first).call(&name, args);
                if method == "callMethod" {
                    Answer::later(result.into_future())
                } else {
                    Value::from(result).into()
                }
            }
            "readProperty" => match as_stub(&first) {
                Ok(stub) => Answer::later(stub.get(&label(&call.take(1))).into_future()),
                Err(error) => error.into(),
            },
            "callMany" => {
                let (function, times) = (as_stub(&first), count(&call.take(1)));
                Answer::later(async move {
                    let (function, mut results) = (function?, Vec::new());
                    for index in 0..times {
                        results.push(function.invoke([(index as f64).into()]).await?);
                    }
                    Ok(Value::Array(results))
                })
            }
            "callConcurrent" => {
                let (function, times) = (as_stub(&first), count(&call.take(1)));
                Answer::later(async move {
                    let function = function?;
                    let calls: Vec<_> = (0..times)
                        .map(|index| function.invoke([(index as f64).into()]).into_future())
                        .collect();
                    Ok(Value::Array(futures_util::future::try_join_all(calls).await?))
                })
            }
            "callNoAwait" => match as_stub(&first) {
                Ok(function) => {
                    for index in 0..count(&call.take(1)) {
                        drop(function.invoke([(index as f64).into()]));
                    }
                    Value::from("sent").into()
                }
                Err(error) => error.into(),
            },
            "catchFrom" => {
                let function = as_stub(&first);
                Answer::later(async move {
                    let Err(error) = function?.invoke([]).await else {
                        return Ok(Value::object([("caught", false.into())]));
                    };
                    let Some(caught) = error.as_error() else {
                        let thrown = tag(error.value()).await?;
                        return Ok(Value::object([("caught", true.into()), ("thrown", thrown)]));
                    };
                    let code = caught.props.iter().find(|(name, _)| name == "code");
                    Ok(Value::object([
                        ("caught", true.into()),
                        ("name", kinds::class(&caught.name).into()),
                        ("message", caught.message.as_str().into()),
                        ("code", code.map_or(Value::Null, |(_, code)| code.clone())),
                    ]))
                })
            }
            "subscribe" => match as_stub(&first) {
                Ok(stub) => {
                    let mut kept = lock(&self.kept);
                    kept.subscribers.push(stub);
                    Value::from(kept.subscribers.len() as f64).into()
                }
                Err(error) => error.into(),
            },
            "emit" => {
                let subscribers = lock(&self.kept).subscribers.clone();
                Answer::later(async move {
                    for subscriber in &subscribers {
                        subscriber.invoke([first.clone()]).await?;
                    }
                    Ok(Value::from(subscribers.len() as f64))
                })
            }
            "unsubscribe" => {
                let subscribers = std::mem::take(&mut lock(&self.kept).subscribers);
                drop(subscribers);
                Value::Undefined.into()
            }
            "watchBroken" => match as_stub(&call.take(1)) {
                Ok(stub) => {
                    let (shared, name) = (Arc::clone(&self.shared), label(&first));
                    let registration = stub.on_broken(move |error| {
                        let mut broken = lock(&shared.broken);
                        let entry = broken.entry(name).or_default();
                        *entry = (entry.0 + 1, error.message());
                    });
                    // Kept by the process: the session is gone when it is needed.
                    lock(&self.kept).watched.push((stub, registration));
                    Value::Undefined.into()
                }
                Err(error) => error.into(),
            },
            "brokenCount" => {
                let broken = lock(&self.shared.broken);
                Value::from(broken.get(&label(&first)).map_or(0, |(count, _)| *count)).into()
            }
            "note" => {
                let broken = lock(&self.shared.broken);
                let note = broken.get(&label(&first));
                note.map_or(Value::Null, |(_, note)| note.as_str().into()).into()
            }
            _ => return Err(call),
        })
    }

    fn streams(&self, mut call: Call) -> Grouped {
        let method = call.method.clone();
        let first = call.args.first().cloned().unwrap_or(Value::Undefined);
        Ok(match method.as_str() {
            "readableOf" => streams::readable_of(count(&first), count(&call.take(1))).into(),
            "readableValues" => streams::readable_values().into(),
            "readableError" => streams::readable_error(count(&first) as u32).into(),
            "readableCounter" => streams::readable_counter().into(),
            "readableTracked" => {
                let (shared, label) = (Arc::clone(&self.shared), label(&first));
                streams::readable_tracked(move || shared.disposed(&label)).into()
            }
            "sumReadable" => Answer::later(async move {
                let (chunks, error) = read_all(&first).await?;
                match error {
                    Some(error) => Err(error),
                    None => Ok(chunks.iter().map(number).sum::<f64>().into()),
                }
            }),
            "collect" | "collectDescribe" => Answer::later(async move {
                let (chunks, error) = read_all(&first).await?;
                if let Some(error) = error {
                    return Err(error);
                }
                if method == "collect" {
                    return Ok(Value::Array(chunks));
                }
                let mut tags = Vec::new();
                for chunk in &chunks {
                    tags.push(tag(chunk).await?);
                }
                Ok(Value::Array(tags))
            }),
            "collectThenError" => Answer::later(async move {
                let (chunks, error) = read_all(&first).await?;
                Ok(Value::object([
                    ("chunks", Value::Array(chunks)),
                    ("error", error.map_or(Value::Null, |error| error.message().into())),
                ]))
            }),
            "readOne" => Answer::later(async move {
                let stream = as_readable(&first)?;
                let chunk = stream.next().await?;
                stream.cancel(Value::Undefined).await;
                Ok(chunk.unwrap_or_default())
            }),
            "countLength" => Answer::later(async move {
                let stream = as_readable(&first)?;
                let (mut chunks, mut length) = (0, 0);
                while let Some(chunk) = stream.next().await? {
                    chunks += 1;
                    length += match &chunk {
                        Value::String(text) => text.encode_utf16().count(),
                        Value::Bytes(bytes, _) => bytes.len(),
                        _ => 0,
                    };
                }
                Ok(Value::object([
                    ("n", chunks.into()),
                    ("len", (length as f64).into()),
                ]))
            }),
            "ignoreStream" => Value::from("ignored").into(),
            "writeTo" => {
                let chunks = items(call.take(1));
                Answer::later(async move {
                    let (stream, number) = (as_writable(&first)?, chunks.len());
                    for chunk in chunks {
                        stream.write(chunk).await?;
                    }
                    stream.close().await?;
                    Ok(Value::from(number as f64))
                })
            }
            "writeMany" => {
                let (times, size) = (count(&call.take(1)), count(&call.take(2)));
                let kept = Arc::clone(&self.kept);
                lock(&kept).progress = 0;
                Answer::later(async move {
                    let stream = as_writable(&first)?;
                    for _ in 0..times {
                        stream.write("x".repeat(size).into()).await?;
                        lock(&kept).progress += 1;
                    }
                    stream.close().await?;
                    Ok(Value::from(times as f64))
                })
            }
            "writeProgress" => Value::from(lock(&self.kept).progress).into(),
            "writeAndAbort" => {
                let (chunk, reason) = (call.take(1), call.take(2));
                Answer::later(async move {
                    let stream = as_writable(&first)?;
                    stream.write(chunk).await?;
                    stream.abort(Error::thrown(reason)).await;
                    Ok("aborted".into())
                })
            }
            "writeAndDrop" => {
                let chunk = call.take(1);
                Answer::later(async move {
                    as_writable(&first)?.write(chunk).await?;
                    Ok("dropped".into())
                })
            }
            "makeSink" => {
                let state = Arc::<Mutex<SinkState>>::default();
                lock(&self.kept).sinks.insert(label(&first), Arc::clone(&state));
                Value::from(WritableStream::new(Noting(state))).into()
            }
            "sinkState" => {
                let state = lock(&self.kept).sinks.get(&label(&first)).cloned();
                let state = state.unwrap_or_default();
                let state = lock(&state);
                Value::object([
                    ("chunks", Value::Array(state.chunks.clone())),
                    ("closed", state.closed.into()),
                    ("aborted", state.aborted.clone()),
                ])
                .into()
            }
            "makeFailingSink" => Value::from(WritableStream::new(Failing(number(&first)))).into(),
            "makeTransform" => streams::transform().into(),
            _ => return Err(call),
        })
    }
}

fn as_readable(value: &Value) -> Result<&capnweb::ReadableStream, Error> {
    match value {
        Value::Capability(Capability::Readable(stream)) => Ok(stream),
        other => Err(Error::new(
            "TypeError",
            format!("a stream was expected, not {other:?}"),
        )),
    }
}

fn as_writable(value: &Value) -> Result<&WritableStream, Error> {
    match value {
        Value::Capability(Capability::Writable(stream)) => Ok(stream),
        other => Err(Error::new(
            "TypeError",
            format!("a writable stream was expected, not {other:?}"),
        )),
    }
}

/// All chunks up to the end or an error.
async fn read_all(value: &Value) -> Result<(Vec<Value>, Option<Error>), Error> {
    let stream = as_readable(value)?;
    let mut chunks = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(chunk)) => chunks.push(chunk),
            Ok(None) => return Ok((chunks, None)),
            Err(error) => return Ok((chunks, Some(error))),
        }
    }
}
