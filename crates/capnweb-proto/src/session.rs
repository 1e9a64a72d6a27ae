//! One session: tables, messages in and out.

mod capability;
mod decoder;
mod exports;
mod imports;
mod operation;
mod pipe;
mod promise;

use std::collections::{HashMap, VecDeque};

pub use capability::{CallId, Capability, Event, ImportId, PipeId, PipeItem};
use capability::{Slot, expose};
use exports::{Export, Exports};
use imports::Imports;
use operation::{Wait, WaitId};
use pipe::Pipe;
use promise::{Origin, PromiseId, Promises};

use crate::expression::{Unwritable, decode, encode};
use crate::json::{Json, ReadError, array, parse, to_text};
use crate::message::Message;
use crate::{ErrorValue, Limits, PathKey, ProtocolError, Value};

/// A session with one peer. `T` is whatever the application uses for local targets; clones of it name the same target.
///
/// Methods come in three families: [`handle_message`](Self::handle_message) for what arrives, commands of the
/// application (`call`, `answer`, `release`, `read_pipe`, …), and the two polls for what must leave. After every use of
/// the first two, drain both polls.
#[derive(Debug)]
pub struct Session<T> {
    limits: Limits,
    exports: Exports<T>,
    imports: Imports,
    promises: Promises<T>,
    pipes: HashMap<PipeId, Pipe<T>>,
    waits: HashMap<WaitId, Wait<T>>,
    next_wait: u64,
    messages: VecDeque<String>,
    events: VecDeque<Event<T>>,
    /// Bytes of stream data queued over all pipes.
    queued_bytes: usize,
    /// Promises whose waiters are still to be told, and whether the loop that tells them runs.
    settled: VecDeque<PromiseId>,
    telling: bool,
    ended: bool,
}

/// Sizes of the tables. An idle session has one export (main) and one import (the peer's main).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Entries of the export table.
    pub exports: usize,
    /// Entries of the import table.
    pub imports: usize,
}

impl<T: Clone> Session<T> {
    /// A session that exports `main` under id 0.
    pub fn new(main: T, limits: Limits) -> Self {
        Self {
            limits,
            exports: Exports::new(main),
            imports: Imports::new(),
            promises: Promises::default(),
            pipes: HashMap::new(),
            waits: HashMap::new(),
            next_wait: 0,
            messages: VecDeque::new(),
            events: VecDeque::new(),
            queued_bytes: 0,
            settled: VecDeque::new(),
            telling: false,
            ended: false,
        }
    }

    /// Takes one message. An error ends the session: an abort message is queued, and the transport is to be closed
    /// (3000 on a WebSocket) once [`poll_message`](Self::poll_message) is drained.
    pub fn handle_message(&mut self, text: &str) -> Result<(), ProtocolError> {
        if self.ended {
            return Err(ProtocolError::Ended);
        }
        let handled = self.try_handle(text);
        if let Err(error) = &handled {
            self.abort(&Value::error(error.class(), error.to_string()));
        }
        handled
    }

    /// The next message for the peer.
    pub fn poll_message(&mut self) -> Option<String> {
        self.messages.pop_front()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Whether the session is over, by either side's abort.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Table sizes.
    pub fn stats(&self) -> Stats {
        Stats {
            exports: self.exports.len(),
            imports: self.imports.len(),
        }
    }

    /// The peer's main object.
    pub fn remote_main(&self) -> ImportId {
        ImportId(0)
    }

    /// Calls a stub of the peer, or, without `args`, reads a property of it. The result comes as
    /// [`Event::Settled`] under the id returned, which may be called before that: calls on it are pipelined.
    pub fn call(
        &mut self,
        subject: ImportId,
        path: &[PathKey],
        args: Option<&[Value<Capability<T>>]>,
    ) -> Result<ImportId, ErrorValue<Capability<T>>> {
        if self.ended {
            return Err(ErrorValue::new("Error", ProtocolError::Ended.to_string()));
        }
        if self.imports.len() >= self.limits.max_imports {
            let error = ProtocolError::TooMany {
                what: "imports",
                limit: self.limits.max_imports,
            };
            return Err(ErrorValue::new("Error", error.to_string()));
        }
        let path = path.iter().map(|key| match key {
            PathKey::Name(name) => Json::String(name.clone()),
            PathKey::Index(index) => Json::Number(*index),
        });
        let mut expression = vec![
            "pipeline".into(),
            Json::Number(subject.0 as f64),
            Json::Array(path.collect()),
        ];
        if let Some(args) = args {
            let mut written = Vec::with_capacity(args.len());
            for arg in args {
                let arg = arg
                    .clone()
                    .try_map::<Slot<T>, ()>(&mut |capability| Ok(Value::Capability(capability.into())));
                let arg = arg.unwrap_or(Value::Undefined);
                written.push(
                    self.encode(&arg)
                        .map_err(|error| ErrorValue::new("TypeError", error.0))?,
                );
            }
            expression.push(Json::Array(written));
        }
        let promise = self.promises.pending(Origin::Anonymous);
        let id = self.imports.call(promise);
        self.promises.set_origin(promise, Origin::Call(id));
        self.send(array(["push".into(), Json::Array(expression)]));
        self.send(array(["pull".into(), Json::Number(id.0 as f64)]));
        Ok(id)
    }

    /// Answers a call that [`Event::Call`] announced. A second answer, or one after the session's end, is ignored. The
    /// session takes handles of its own for stubs of the peer in the result; the caller's are still to be released.
    pub fn answer(&mut self, call: CallId, result: Result<Value<Capability<T>>, Value<Capability<T>>>) {
        let slots = |value: Value<Capability<T>>| {
            value
                .try_map::<Slot<T>, ()>(&mut |capability| Ok(Value::Capability(capability.into())))
                .unwrap_or(Value::Undefined)
        };
        let result = match result.map(slots).map_err(slots) {
            Ok(value) => Ok(self.copy(&value)),
            Err(error) => Err(self.copy(&error)),
        };
        self.settle(call.0, result);
    }

    /// Gives up one handle of a stub of the peer. The last one sends the release.
    pub fn release(&mut self, import: ImportId) {
        if let Some(count) = self.imports.release(import)
            && !self.ended
        {
            self.send(array([
                "release".into(),
                Json::Number(import.0 as f64),
                Json::Number(count as f64),
            ]));
        }
    }

    /// Takes the next item of a stream the peer sends. Taking it is what acknowledges it, so a reader that stops
    /// stops the peer. `None` when nothing is there yet: [`Event::PipeReadable`] tells when.
    pub fn read_pipe(&mut self, id: PipeId) -> Option<PipeItem<T>> {
        let pipe = self.pipes.get_mut(&id)?;
        let (item, size, acknowledge) = pipe.take()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(size);
        if let Some(promise) = acknowledge {
            self.settle(promise, Ok(Value::Undefined));
        }
        Some(match item {
            pipe::Item::Chunk(value) => PipeItem::Chunk(expose(value)),
            pipe::Item::End => PipeItem::End,
            pipe::Item::Failed(value) => PipeItem::Failed(expose(value)),
        })
    }

    /// Stops reading: writes that wait and all later ones are rejected with `reason`. To be called once for every
    /// readable that was delivered; after the stream's end it only frees the entry.
    pub fn cancel_pipe(&mut self, id: PipeId, reason: &str) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        let (size, waiting) = pipe.cancel(reason);
        self.queued_bytes = self.queued_bytes.saturating_sub(size);
        for promise in waiting {
            self.settle(promise, Err(Value::error("Error", reason)));
        }
        if !self.exports.holds_pipe(id) {
            self.pipes.remove(&id);
        }
    }

    /// Ends the session with an abort message. What is pending is the caller's to fail.
    pub fn abort(&mut self, reason: &Value<Capability<T>>) {
        if self.ended {
            return;
        }
        // Stubs in an abort have no owner; an error keeps its text.
        let expression = encode(reason, 0, &mut |_| Ok(Json::Null)).unwrap_or(Json::Null);
        self.send(array(["abort".into(), expression]));
        self.ended = true;
    }

    fn send(&mut self, message: Json) {
        self.messages.push_back(to_text(&message));
    }

    fn try_handle(&mut self, text: &str) -> Result<(), ProtocolError> {
        let limit = self.limits.max_message_size;
        // UTF-16 units are never more than bytes, so most messages need no count.
        if text.len() > limit && text.encode_utf16().count() > limit {
            return Err(ProtocolError::MessageTooLong(limit));
        }
        // One level of an expression takes at most a few of JSON: an escaped array two, a call's arguments three.
        let json_depth = self.limits.max_depth.saturating_mul(4).saturating_add(8);
        let json = parse(text, json_depth).map_err(|error| match error {
            ReadError::TooDeep { .. } => ProtocolError::TooDeep(self.limits.max_depth),
            syntax @ ReadError::Syntax { .. } => ProtocolError::NotJson(syntax),
        })?;
        match Message::read(json)? {
            Message::Push(expression) => self.push(&expression, false, text.len()),
            Message::Stream(expression) => self.push(&expression, true, text.len()),
            Message::Pipe => {
                self.room_for_exports()?;
                let id = self.exports.pipe();
                self.pipes.insert(id, Pipe::default());
                Ok(())
            }
            Message::Pull(id) => self.pull(id),
            Message::Release(id, count) => self.peer_released(id, count),
            Message::Resolve(id, expression) => self.settled_by_peer(id, &expression, true),
            Message::Reject(id, expression) => self.settled_by_peer(id, &expression, false),
            Message::Abort(expression) => {
                let reason = match expression {
                    Some(expression) => self.decode(&expression, 0)?,
                    None => Value::Undefined,
                };
                self.ended = true;
                self.events.push_back(Event::Aborted(expose(reason)));
                Ok(())
            }
        }
    }

    fn room_for_exports(&self) -> Result<(), ProtocolError> {
        let limit = self.limits.max_exports;
        if self.exports.len() >= limit {
            Err(ProtocolError::TooMany {
                what: "exports",
                limit,
            })
        } else {
            Ok(())
        }
    }

    fn decode(&mut self, expression: &Json, size: usize) -> Result<Value<Slot<T>>, ProtocolError> {
        let limits = self.limits;
        decode(
            expression,
            0,
            &limits,
            &mut decoder::Decoder { session: self, size },
        )
    }

    /// Encodes a value; exports made for it are taken back when that fails half-way.
    fn encode(&mut self, value: &Value<Slot<T>>) -> Result<Json, Unwritable> {
        let mut made = Vec::new();
        let exports = &mut self.exports;
        let encoded = encode(value, 0, &mut |slot| match slot {
            Slot::Given(Capability::Target(target)) => {
                let id = exports.target(target.clone());
                made.push(id);
                Ok(array(["export".into(), Json::Number(id as f64)]))
            }
            Slot::Given(Capability::Stub(id)) => Ok(array(["import".into(), Json::Number(id.0 as f64)])),
            Slot::Given(Capability::Readable(_)) => Err(Unwritable("sending streams is not supported yet")),
            Slot::Promise(_) => Err(Unwritable("a value with an unsettled promise cannot be sent")),
        });
        if encoded.is_err() {
            for id in made {
                self.exports.remove(id);
            }
        }
        encoded
    }

    fn push(&mut self, expression: &Json, stream: bool, size: usize) -> Result<(), ProtocolError> {
        self.room_for_exports()?;
        let value = self.decode(expression, size)?;
        let id = self.exports.reserve();
        // The pushed expression is nearly always one call, whose promise then is the export's own.
        let promise = match value {
            Value::Capability(Slot::Promise(promise)) if self.promises.is_anonymous(promise) => promise,
            other => {
                let promise = self.promises.pending(Origin::Anonymous);
                self.settle(promise, Ok(other));
                promise
            }
        };
        self.promises.set_origin(promise, Origin::Export(id));
        self.exports.insert(id, Export::result(promise, stream));
        self.answer_if_pulled(promise);
        Ok(())
    }

    fn pull(&mut self, id: i64) -> Result<(), ProtocolError> {
        let refusal = match self.exports.get_mut(id).ok_or(ProtocolError::NoSuchExport(id))? {
            Export::Result { promise, pulled, .. } => {
                if std::mem::replace(pulled, true) {
                    return Ok(());
                }
                let promise = *promise;
                self.answer_if_pulled(promise);
                return Ok(());
            }
            Export::Target { target, .. } if id == 0 => {
                let main = target.clone();
                let export = self.exports.target(main);
                let stub = array(["export".into(), Json::Number(export as f64)]);
                self.send(array(["resolve".into(), Json::Number(0.0), stub]));
                return Ok(());
            }
            Export::Target { .. } => "Tried to resolve a non-promise stub.",
            Export::Pipe(_) => "Cannot pull a WritableStream stub",
        };
        let error = array(["error".into(), "Error".into(), refusal.into()]);
        self.send(array(["reject".into(), Json::Number(id as f64), error]));
        Ok(())
    }

    /// Sends the answer of an export's promise, if it is settled and asked for.
    fn answer_if_pulled(&mut self, promise: PromiseId) {
        let Some(Origin::Export(id)) = self.promises.origin(promise) else {
            return;
        };
        let Some(Export::Result {
            pulled: true,
            answered,
            stream,
            ..
        }) = self.exports.get_mut(id)
        else {
            return;
        };
        let stream = *stream;
        let Some(result) = self.promises.result(promise).cloned() else {
            return;
        };
        if std::mem::replace(answered, true) {
            return;
        }
        let (word, value) = match &result {
            Ok(value) => ("resolve", value),
            Err(value) => ("reject", value),
        };
        let (word, expression) = match self.encode(value) {
            Ok(expression) => (word, expression),
            Err(error) => (
                "reject",
                array(["error".into(), "TypeError".into(), error.0.into()]),
            ),
        };
        self.send(array([word.into(), Json::Number(id as f64), expression]));
        if stream {
            // Never pulled and never released by the peer: the answer ends it.
            self.exports.remove(id);
            self.forget(promise);
        }
    }

    fn peer_released(&mut self, id: i64, count: u64) -> Result<(), ProtocolError> {
        match self.exports.release(id, count)? {
            None => {}
            Some(Export::Target { .. }) => {}
            Some(Export::Result { promise, .. }) => self.forget(promise),
            Some(Export::Pipe(pipe)) => {
                let ended = self.pipes.get_mut(&pipe).is_some_and(|pipe| {
                    pipe.fail_if_open("WritableStream RPC stub was disposed without calling close()");
                    pipe.is_done()
                });
                if ended {
                    self.pipes.remove(&pipe);
                } else {
                    self.events.push_back(Event::PipeReadable(pipe));
                }
            }
        }
        Ok(())
    }

    /// A resolve or reject of one of our imports. One for an unknown id crossed our release, which is normal.
    fn settled_by_peer(&mut self, id: i64, expression: &Json, resolved: bool) -> Result<(), ProtocolError> {
        let value = self.decode(expression, 0)?;
        let Some(promise) = self.imports.settle(ImportId(id)) else {
            self.discard(value);
            return Ok(());
        };
        self.send(array([
            "release".into(),
            Json::Number(id as f64),
            Json::Number(1.0),
        ]));
        self.settle(promise, if resolved { Ok(value) } else { Err(value) });
        Ok(())
    }

    /// Drops an export's promise: its value if there is one, or whatever it will be.
    fn forget(&mut self, promise: PromiseId) {
        self.promises.set_origin(promise, Origin::Nobody);
        if let Some(result) = self.promises.take_if_unwanted(promise) {
            self.discard(result.unwrap_or_else(|error| error));
        }
    }

    /// Accounts for the capabilities in a value that nobody will see.
    fn discard(&mut self, value: Value<Slot<T>>) {
        let (mut stubs, mut pipes, mut promises) = (Vec::new(), Vec::new(), Vec::new());
        value.for_each_capability(&mut |slot| match slot {
            Slot::Promise(id) => promises.push(*id),
            Slot::Given(Capability::Stub(id)) => stubs.push(*id),
            Slot::Given(Capability::Readable(id)) => pipes.push(*id),
            Slot::Given(Capability::Target(_)) => {}
        });
        for id in promises
            .into_iter()
            .filter(|id| self.promises.is_anonymous(*id))
            .collect::<Vec<_>>()
        {
            self.forget(id);
        }
        for id in stubs {
            self.release(id);
        }
        for id in pipes {
            self.cancel_pipe(id, "ReadableStream RPC stub was disposed without being consumed");
        }
    }
}

#[cfg(test)]
mod tests;
