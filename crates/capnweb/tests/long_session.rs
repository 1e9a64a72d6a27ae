//! A session that lives long: its tables are empty in the end, and its memory is flat.
#![expect(clippy::unwrap_used, reason = "a test may fail where a value is missing")]

use std::sync::Arc;

use capnweb::{
    Answer, Call, Capability, Error, Session, SessionOptions, Stub, Target, Value, connect_upgraded,
    serve_upgraded_with,
};

struct Main(Session);

struct Counter;

impl Target for Counter {
    fn call(&self, mut call: Call) -> Answer {
        call.take(0).into()
    }
}

impl Target for Main {
    fn call(&self, mut call: Call) -> Answer {
        match call.method.as_str() {
            "echo" => call.take(0).into(),
            "fail" => Answer::error(Error::new("RangeError", "no")),
            "make" => Value::from(Stub::new(Counter)).into(),
            "callback" => match call.take(0) {
                Value::Capability(Capability::Stub(stub)) => {
                    Answer::later(stub.invoke([1.into()]).into_future())
                }
                other => other.into(),
            },
            "stats" => {
                let stats = self.0.stats();
                Value::Array(vec![
                    (stats.exports as f64).into(),
                    (stats.imports as f64).into(),
                    (stats.promises as f64).into(),
                ])
                .into()
            }
            _ => Answer::error(call.not_a_function()),
        }
    }
}

/// Resident memory, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Calls of every kind, several under way at a time; five in each round.
async fn round(main: &Stub, function: &Stub) {
    let echo = main.call("echo", ["some text to be echoed".into()]);
    let failed = main.call("fail", []);
    let counter = main.call("make", []);
    let pipelined = counter.call("increment", [1.into()]);
    let called_back = main.call("callback", [function.clone().into()]);
    assert_eq!(echo.await.unwrap().as_str(), Some("some text to be echoed"));
    assert_eq!(failed.await.unwrap_err().name(), "RangeError");
    assert_eq!(pipelined.await.unwrap().as_f64(), Some(1.0));
    assert_eq!(called_back.await.unwrap().as_f64(), Some(2.0));
}

async fn live(calls: usize) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let options = SessionOptions::default();
    let server = tokio::spawn(serve_upgraded_with(far, options.clone(), |session| {
        Arc::new(Main(session.clone()))
    }));
    let main = connect_upgraded(near, options).await;
    let function = Stub::function(|_| Value::from(2));
    // What allocators and tables take once.
    for _ in 0..calls / 50 {
        round(&main, &function).await;
    }
    let before = resident();
    for _ in 0..calls / 5 {
        round(&main, &function).await;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more after {calls} calls");
    // The releases of the last round are on their way.
    main.call("echo", []).await.unwrap();
    let Value::Array(theirs) = main.call("stats", []).await.unwrap() else {
        panic!("three numbers")
    };
    let theirs: Vec<_> = theirs.iter().filter_map(Value::as_f64).collect();
    // The call that asked is under way itself.
    assert_eq!(theirs, [2.0, 1.0, 1.0]);
    let ours = main.session().unwrap().stats();
    assert_eq!((ours.exports, ours.imports, ours.promises), (1, 1, 0));
    drop(main);
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_million_calls_leave_nothing() {
    live(1_000_000).await;
}
