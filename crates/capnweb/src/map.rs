//! Recording `map()`.
//!
//! The mapper runs once, with a placeholder. While it runs, calls made on this thread are not sent but written down.

use std::cell::RefCell;

use capnweb_proto::{Blob, Encode, ErrorValue, PathKey, Unwritable, encode};

use crate::promise::Base;
use crate::{Capability, Error, Promise, Stub, Value};

/// A placeholder: the input of a map, or the result of one of its instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Variable {
    map: u64,
    index: i64,
}

struct Recorder {
    map: u64,
    /// Of the outermost map: things from outside. Of a nested one: ids of the map around it.
    captures: Vec<Captured>,
    instructions: Vec<String>,
    fault: Option<&'static str>,
}

enum Captured {
    Value(Value),
    Outer(i64),
}

thread_local! {
    static RECORDERS: RefCell<Vec<Recorder>> = const { RefCell::new(Vec::new()) };
    static MAPS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

pub(crate) fn is_recording() -> bool {
    RECORDERS.with_borrow(|recorders| !recorders.is_empty())
}

pub(crate) fn outside() -> Error {
    Error::new("Error", "A map's placeholder was used outside of its map.")
}

/// Takes the recorder off the stack again, also if the mapper panics.
struct Recording;

impl Recording {
    fn start() -> (Self, Variable) {
        let map = MAPS.get();
        MAPS.set(map + 1);
        RECORDERS.with_borrow_mut(|recorders| {
            recorders.push(Recorder {
                map,
                captures: Vec::new(),
                instructions: Vec::new(),
                fault: None,
            });
        });
        (Self, Variable { map, index: 0 })
    }

    fn run(mapper: impl FnOnce(Promise) -> Value) -> Result<Recorder, Error> {
        let (recording, input) = Self::start();
        let result = mapper(Promise::variable(input));
        let written = RECORDERS.with_borrow_mut(|recorders| {
            let mut out = String::new();
            encode(&result, 0, &mut out, &mut Writer(recorders)).map(|()| out)
        });
        let recorder = RECORDERS.with_borrow_mut(Vec::pop);
        std::mem::forget(recording);
        let mut recorder = recorder.ok_or_else(outside)?;
        if let Some(text) = recorder.fault {
            return Err(Error::new("Error", text));
        }
        match written {
            Ok(last) => recorder.instructions.push(last),
            Err(error) => return Err(Error::thrown(error.to_error())),
        }
        Ok(recorder)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        RECORDERS.with_borrow_mut(Vec::pop);
    }
}

/// Runs a mapper: what it captured, and its instructions.
pub(crate) fn record(mapper: impl FnOnce(Promise) -> Value) -> Result<(Vec<Value>, Vec<String>), Error> {
    let recorder = Recording::run(mapper)?;
    let captures = recorder
        .captures
        .into_iter()
        .map(|captured| match captured {
            Captured::Value(value) => value,
            // The outermost map has nothing around it.
            Captured::Outer(_) => Value::Undefined,
        })
        .collect();
    Ok((captures, recorder.instructions))
}

/// Runs a mapper inside another: the whole becomes one instruction of that.
pub(crate) fn record_nested(subject: &Promise, mapper: impl FnOnce(Promise) -> Value) -> Promise {
    let recorder = match Recording::run(mapper) {
        Ok(recorder) => recorder,
        Err(error) => return Promise::settled(Err(error)),
    };
    RECORDERS.with_borrow_mut(|recorders| {
        let Some(id) = subject_id(recorders, subject) else {
            return Promise::settled(Err(outside()));
        };
        let mut out = format!("[\"remap\",{id},");
        write_path(&mut out, &subject.path);
        out.push_str(",[");
        for (index, captured) in recorder.captures.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Captured::Outer(id) = captured {
                out.push_str(&format!("[\"import\",{id}]"));
            }
        }
        out.push_str("],[");
        out.push_str(&recorder.instructions.join(","));
        out.push_str("]]");
        add_instruction(recorders, out)
    })
}

/// Writes a call or read down.
pub(crate) fn record_operation(subject: &Promise, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Promise {
    RECORDERS.with_borrow_mut(|recorders| {
        let Some(id) = subject_id(recorders, subject) else {
            return Promise::settled(Err(outside()));
        };
        let mut out = format!("[\"pipeline\",{id},");
        write_path(&mut out, &path);
        if let Some(args) = args {
            out.push_str(",[");
            for (index, arg) in args.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                if let Err(error) = encode(arg, 1, &mut out, &mut Writer(recorders)) {
                    if let Some(recorder) = recorders.last_mut() {
                        recorder.fault.get_or_insert(error.text());
                    }
                    return Promise::settled(Err(Error::thrown(error.to_error())));
                }
            }
            out.push(']');
        }
        out.push(']');
        add_instruction(recorders, out)
    })
}

fn add_instruction(recorders: &mut [Recorder], instruction: String) -> Promise {
    let Some(recorder) = recorders.last_mut() else {
        return Promise::settled(Err(outside()));
    };
    recorder.instructions.push(instruction);
    Promise::variable(Variable {
        map: recorder.map,
        index: i64::try_from(recorder.instructions.len()).unwrap_or(i64::MAX),
    })
}

fn write_path(out: &mut String, path: &[PathKey]) {
    let names: Vec<String> = path
        .iter()
        .map(|key| match key {
            PathKey::Name(name) => {
                capnweb_proto::json::to_text(&capnweb_proto::json::Json::from(name.as_str()))
            }
            PathKey::Index(index) => capnweb_proto::json::to_text(&capnweb_proto::json::Json::Number(*index)),
        })
        .collect();
    out.push('[');
    out.push_str(&names.join(","));
    out.push(']');
}

/// The id of what a promise starts from, in the innermost map.
fn subject_id(recorders: &mut [Recorder], subject: &Promise) -> Option<i64> {
    match &subject.base {
        Base::Variable(variable) => variable_id(recorders, *variable),
        Base::Stub(stub) => capture(recorders, stub.clone().into()),
        Base::Cell(cell) => capture(recorders, Promise::of(std::sync::Arc::clone(cell)).into()),
    }
}

/// A placeholder's id: its own in its map, a capture in the maps inside.
fn variable_id(recorders: &mut [Recorder], variable: Variable) -> Option<i64> {
    let (innermost, outer) = recorders.split_last_mut()?;
    if innermost.map == variable.map {
        return Some(variable.index);
    }
    let id = variable_id(outer, variable)?;
    innermost.captures.push(Captured::Outer(id));
    Some(-i64::try_from(innermost.captures.len()).ok()?)
}

/// Something from outside of all maps. Each use is a capture of its own.
fn capture(recorders: &mut [Recorder], value: Value) -> Option<i64> {
    let (innermost, outer) = recorders.split_last_mut()?;
    let captured = if outer.is_empty() {
        Captured::Value(value)
    } else {
        Captured::Outer(capture(outer, value)?)
    };
    innermost.captures.push(captured);
    Some(-i64::try_from(innermost.captures.len()).ok()?)
}

/// Writes values in the ids of the innermost map.
struct Writer<'a>(&'a mut Vec<Recorder>);

impl Encode<Capability> for Writer<'_> {
    fn capability(&mut self, out: &mut String, capability: &Capability) -> Result<(), Unwritable> {
        let promise = match capability {
            Capability::Stub(stub) => {
                let stub: Stub = stub.clone();
                let id = capture(self.0, stub.into()).ok_or(Unwritable::new("no map is being recorded"))?;
                out.push_str(&format!("[\"import\",{id}]"));
                return Ok(());
            }
            Capability::Promise(promise) => promise,
            Capability::Readable(_) => {
                return Err(Unwritable::new(
                    "Cannot send ReadableStream inside a mapper function.",
                ));
            }
            Capability::Writable(_) => {
                return Err(Unwritable::new(
                    "Cannot send WritableStream inside a mapper function.",
                ));
            }
        };
        let id = subject_id(self.0, promise).ok_or(Unwritable::new(
            "A map's placeholder was used outside of its map.",
        ))?;
        out.push_str(&format!("[\"pipeline\",{id}"));
        if !promise.path.is_empty() {
            out.push(',');
            write_path(out, &promise.path);
        }
        out.push(']');
        Ok(())
    }

    fn blob(&mut self, _: &mut String, _: &Blob) -> Result<(), Unwritable> {
        Err(Unwritable::new("Cannot send Blob inside a mapper function."))
    }

    fn rewrite(&mut self, _: &ErrorValue<Capability>) -> Option<ErrorValue<Capability>> {
        None
    }

    fn mark(&self) -> usize {
        0
    }

    fn undo(&mut self, _: usize) {}
}
