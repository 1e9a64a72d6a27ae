//! What the fuzzers call: each takes any bytes and panics only when the implementation is wrong.

use capnweb_proto::json::{parse, to_text};
use capnweb_proto::{Capability, Event, Limits, PathKey, PipeItem, Session, Subject, Value};

use super::Rig;

type V = Value<Capability<u32>>;

/// What is read is written so that it reads back the same.
pub(crate) fn json(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(json) = parse(text, 300) {
        let written = to_text(&json);
        let again = parse(&written, 300).map(|json| to_text(&json));
        assert_eq!(again.as_deref(), Ok(written.as_str()));
    }
}

fn limits() -> Limits {
    Limits {
        max_depth: 64,
        max_exports: 200,
        max_imports: 200,
        max_operations: 200,
        max_queued_bytes: 10_000,
        max_blob_size: 1_000,
        max_map_steps: 1_000,
        ..Limits::default()
    }
}

/// Answers what a peer calls, reads what it streams, and uses what it gives.
fn respond(session: &mut Session<u32>) {
    while let Some(event) = session.poll_event() {
        match event {
            Event::Call {
                call,
                target,
                method,
                args,
                ..
            } => {
                let result = match method.as_str() {
                    "fail" => Err(V::error("Error", "failed").into_error_with(args.first())),
                    "target" => Ok(V::Capability(Capability::Target(target + 1))),
                    "sink" => Ok(V::Capability(Capability::Sink(target + 1))),
                    "source" => Ok(V::Capability(Capability::Source(target + 1))),
                    "call" => match args.first() {
                        Some(V::Capability(Capability::Stub(stub))) => {
                            let path = [PathKey::Name("x".into())];
                            let promise = session.call(Subject::Stub(*stub), &path, Some(args[1..].to_vec()));
                            let result = Ok(V::Capability(Capability::Promise(promise)));
                            session.answer(call, result);
                            session.drop_result(promise);
                            give_back(session, &V::Array(args));
                            continue;
                        }
                        _ => Ok(V::Null),
                    },
                    // Never answered.
                    "hang" => {
                        give_back(session, &V::Array(args));
                        continue;
                    }
                    _ => Ok(V::object([("v", V::Array(args.clone()))])),
                };
                session.answer(call, result);
                give_back(session, &V::Array(args));
            }
            Event::Get { call, target, .. } => {
                session.answer(call, Ok(V::Capability(Capability::Target(target + 1))));
            }
            Event::PipeReadable(pipe) => {
                while let Some(item) = session.read_pipe(pipe) {
                    if let PipeItem::Chunk(value) | PipeItem::Failed(value) = item {
                        give_back(session, &value);
                    }
                }
            }
            Event::Opened(writer, _) => {
                let _ = session.write(writer, V::Number(1.0));
                session.close_writer(writer);
            }
            Event::Settled { result, .. } => {
                give_back(session, &result.unwrap_or_else(|error| error));
            }
            Event::WriterFailed(_, error) => give_back(session, &error),
            Event::WriterReady(_) | Event::WriterClosed(..) | Event::Aborted(_) => {}
        }
    }
}

trait WithProp {
    fn into_error_with(self, prop: Option<&V>) -> V;
}

impl WithProp for V {
    fn into_error_with(mut self, prop: Option<&V>) -> V {
        if let (Self::Error(error), Some(prop)) = (&mut self, prop) {
            error.props.push(("prop".into(), prop.clone()));
        }
        self
    }
}

fn give_back(session: &mut Session<u32>, value: &V) {
    value.for_each_capability(&mut |capability| match capability {
        Capability::Stub(id) | Capability::Writable(id) => session.release(*id),
        Capability::Readable(pipe) => session.cancel_pipe(*pipe, &V::error("Error", "unread")),
        _ => {}
    });
}

/// Lines as messages of a peer: no panic, no growth past the limits, and the session's end leaves nothing.
pub(crate) fn messages(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut session = Session::new(0, limits());
    // Something of ours for the peer to answer.
    let main = Subject::Stub(session.remote_main());
    for name in ["a", "b"] {
        let promise = session.call(main, &[PathKey::Name(name.into())], Some(Vec::new()));
        session.pull(promise);
    }
    let mut sent = 0;
    for line in text.split('\n') {
        if session.handle_message(line).is_err() {
            break;
        }
        respond(&mut session);
        while let Some(message) = session.poll_message() {
            sent += message.len();
            assert!(parse(&message, 10_000).is_ok(), "{message}");
        }
        let stats = session.stats();
        assert!(stats.exports <= 2_000 && stats.imports <= 2_000, "{stats:?}");
    }
    assert!(sent < 50_000_000);
    session.shut_down();
    let stats = session.stats();
    assert_eq!((stats.exports, stats.imports, stats.promises), (0, 0, 0));
}

/// What one session reads and writes again, another reads.
pub(crate) fn expression(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.contains('\n') {
        return;
    }
    let mut near = Session::new(0, limits());
    let push = format!(r#"["push",["pipeline",0,["echo"],[{text}]]]"#);
    if near.handle_message(&push).is_err() || near.handle_message(r#"["pull",1]"#).is_err() {
        return;
    }
    respond(&mut near);
    let mut far = Session::new(0, limits());
    let main = Subject::Stub(far.remote_main());
    let promise = far.call(main, &[PathKey::Name("echo".into())], Some(Vec::new()));
    far.pull(promise);
    while let Some(message) = near.poll_message() {
        // What goes home is the first peer's.
        if message.starts_with(r#"["resolve",1,"#)
            && !["\"import\"", "\"pipeline\"", "\"readable\"", "\"promise\""]
                .iter()
                .any(|home| message.contains(home))
        {
            let read = far.handle_message(&message);
            // One level more than came in, and errors carry what they did not.
            assert!(
                read.as_ref().is_ok()
                    || read
                        .as_ref()
                        .is_err_and(|error| error.to_string().contains("depth")),
                "{message}: {read:?}"
            );
        }
    }
}

/// Two ends that do what the bytes say.
pub(crate) fn pair(data: &[u8]) {
    Rig::new(&data[..data.len().min(2_000)]).play();
}
