//! One session: tables, messages in and out.

mod capability;
mod decoder;
mod encoder;
mod exports;
mod flow;
mod imports;
mod map;
mod operation;
mod pipe;
mod promise;
mod promise_map;
mod table;
mod writer;

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

pub use capability::{CallId, Capability, Event, ImportId, PipeId, PipeItem, PromiseId, Subject};
use exports::{Export, Exports};
use imports::{Import, Imports};
use operation::{Action, From, Operation, Wait, WaitId};
use pipe::Pipe;
use promise::{Dependent, Promises};
pub use promise_map::PromiseMap;
use writer::Writer;

use crate::expression::{decode, encode, write_path};
use crate::json::{Node, ReadError, Tape, write_integer};
use crate::message::Message;
use crate::{BytesKind, ErrorValue, Limits, PathKey, ProtocolError, Value};

/// An error without capabilities, as the hook on sent errors sees it.
pub type PlainError = ErrorValue<std::convert::Infallible>;

/// Asked for every error before it is sent; what it returns is sent instead.
pub type OnSendError = Box<dyn Fn(&PlainError) -> Option<PlainError> + Send + Sync>;

/// A session with one peer. `T` is whatever the application uses for local targets; clones of it name the same target.
///
/// Methods come in three families: [`handle_message`](Self::handle_message) for what arrives, commands of the
/// application (`call`, `answer`, `release`, `read_pipe`, …), and the two polls for what must leave. After every use of
/// the first two, drain both polls.
pub struct Session<T> {
    limits: Limits,
    exports: Exports<T>,
    imports: Imports,
    promises: Promises<T>,
    pipes: HashMap<PipeId, Pipe<T>>,
    writers: HashMap<ImportId, Writer>,
    waits: HashMap<WaitId, Wait<T>>,
    next_wait: u64,
    messages: VecDeque<String>,
    message_bytes: usize,
    events: VecDeque<Event<T>>,
    /// Bytes of stream data queued over all pipes.
    queued_bytes: usize,
    /// Promises whose waiters are still to be told, and whether the loop that tells them runs.
    settled: VecDeque<PromiseId>,
    telling: bool,
    ended: bool,
    /// Milliseconds, on any clock.
    now: f64,
    on_send_error: Option<OnSendError>,
    /// Steps of maps that the command at hand may still run.
    map_steps: usize,
    map_depth: usize,
    /// Exported promises that were settled already: their answers follow the message that names them.
    answer_next: Vec<i64>,
    /// Blobs whose pipes are named in the message being written.
    blobs_to_send: Vec<(ImportId, Vec<u8>)>,
}

impl<T> std::fmt::Debug for Session<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("exports", &self.exports.len())
            .field("imports", &self.imports.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// Sizes of the tables. An idle session has one export (main) and one import (the peer's main).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Entries of the export table.
    pub exports: usize,
    /// Entries of the import table.
    pub imports: usize,
    /// Promises that something still names.
    pub promises: usize,
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
            writers: HashMap::new(),
            waits: HashMap::new(),
            next_wait: 0,
            messages: VecDeque::new(),
            message_bytes: 0,
            events: VecDeque::new(),
            queued_bytes: 0,
            settled: VecDeque::new(),
            telling: false,
            ended: false,
            now: 0.0,
            on_send_error: None,
            map_steps: 0,
            map_depth: 0,
            answer_next: Vec::new(),
            blobs_to_send: Vec::new(),
        }
    }

    /// Replaces the main object. To be done before the first message.
    pub fn set_main(&mut self, main: T) {
        if let Some(Export::Result { promise, .. }) = self.exports.set_main(main) {
            self.drop_promise(promise);
        }
    }

    /// Offers no main object: every use of it fails with this error. To be done before the first message.
    pub fn refuse_main(&mut self, error: Value<Capability<T>>) {
        let promise = self.promises.pending();
        self.settle(promise, Err(error));
        self.exports.result(0, promise, false);
    }

    /// Sets the hook that is asked for every error before it is sent, thrown or inside a value, outer ones first.
    pub fn on_send_error(&mut self, hook: OnSendError) {
        self.on_send_error = Some(hook);
    }

    /// Tells the time, in milliseconds on any clock that does not go back. Only the windows of streams look at it.
    pub fn set_time(&mut self, now: f64) {
        self.now = now;
    }

    /// Whether the time matters now: a stream is being sent.
    pub fn needs_time(&self) -> bool {
        !self.writers.is_empty()
    }

    /// Takes one message. An error ends the session: an abort message is queued, and the transport is to be closed
    /// (3000 on a WebSocket) once [`poll_message`](Self::poll_message) is drained.
    pub fn handle_message(&mut self, text: &str) -> Result<(), ProtocolError> {
        if self.ended {
            return Err(ProtocolError::Ended);
        }
        self.map_steps = self.limits.max_map_steps;
        let handled = self.try_handle(text);
        if let Err(error) = &handled {
            self.abort(&Value::error(error.class(), error.to_string()));
        }
        handled
    }

    /// Takes note of a message that the transport did not take whole because of its length: it ends the session as one
    /// over [`Limits::max_message_size`] does.
    pub fn handle_too_long(&mut self) -> Result<(), ProtocolError> {
        let error = ProtocolError::MessageTooLong(self.limits.max_message_size);
        self.abort(&Value::error(error.class(), error.to_string()));
        Err(error)
    }

    /// The next message for the peer.
    pub fn poll_message(&mut self) -> Option<String> {
        let message = self.messages.pop_front()?;
        self.message_bytes -= message.len();
        Some(message)
    }

    /// Bytes of messages that wait to be sent.
    pub fn message_bytes(&self) -> usize {
        self.message_bytes
    }

    /// Whether either poll has something.
    pub fn has_output(&self) -> bool {
        !self.messages.is_empty() || !self.events.is_empty()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event<T>> {
        self.events.pop_front()
    }

    /// Whether the session is over, by either side's doing.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Table sizes.
    pub fn stats(&self) -> Stats {
        // What stands for a main object that is refused is nothing that could be given back.
        let refused = matches!(self.exports.get(0), Some(Export::Result { .. }));
        Stats {
            exports: self.exports.len(),
            imports: self.imports.len(),
            promises: self.promises.len() - usize::from(refused),
        }
    }

    /// Answers that the peer waits for.
    pub fn unanswered(&self) -> usize {
        self.exports.unanswered()
    }

    /// The peer's main object.
    pub fn remote_main(&self) -> ImportId {
        ImportId(0)
    }

    /// Calls a stub or result, or, without `args`, reads a property. The result is the caller's: to be
    /// [pulled](Self::pull), or [dropped](Self::drop_result), once. Arguments that cannot be sent reject it.
    pub fn call(
        &mut self,
        subject: Subject,
        path: &[PathKey],
        args: Option<Vec<Value<Capability<T>>>>,
    ) -> PromiseId {
        self.map_steps = self.limits.max_map_steps;
        let action = match args {
            None => Action::Get,
            Some(args) => Action::Call(args.into_iter().map(|arg| self.take_in(arg)).collect()),
        };
        self.operate(subject, path, action)
    }

    /// Maps what a path leads to. `instructions` are expressions as JSON texts, in the ids of a map.
    pub fn map(
        &mut self,
        subject: Subject,
        path: &[PathKey],
        captures: Vec<Value<Capability<T>>>,
        instructions: &[String],
    ) -> PromiseId {
        self.map_steps = self.limits.max_map_steps;
        let captures: Vec<_> = captures
            .into_iter()
            .map(|capture| self.take_in(capture))
            .collect();
        let import = match subject {
            Subject::Stub(id) => Some(id.0),
            Subject::Promise(promise) => self.promises.get(promise).and_then(|entry| entry.backing),
        };
        if let Some(import) = import {
            let result = self.promises.pending();
            self.send_map(import, path, captures, instructions, result);
            return result;
        }
        let Ok(instructions) = Tape::read(format!("[{}]", instructions.join(",")), usize::MAX) else {
            // They are the recorder's, which writes JSON.
            self.discard(Value::Array(captures));
            let result = self.promises.pending();
            self.settle(
                result,
                Err(Value::error(
                    "TypeError",
                    "the instructions of a map are not JSON",
                )),
            );
            return result;
        };
        let body = map::Body {
            captures,
            instructions: Arc::new(instructions),
        };
        self.operate(subject, path, Action::Map(body))
    }

    fn operate(&mut self, subject: Subject, path: &[PathKey], action: Action<T>) -> PromiseId {
        let result = self.promises.pending();
        let operation = Operation {
            result,
            path: path.to_vec(),
            followed: Vec::new(),
            action,
            size: 0,
        };
        if self.ended {
            let error = Value::error("Error", ProtocolError::Ended.to_string());
            self.fail(operation, error);
            return result;
        }
        let from = match subject {
            Subject::Stub(id) => From::Import(id.0),
            Subject::Promise(id) => From::Promise(id),
        };
        self.start(from, operation);
        result
    }

    /// Asks for a result: [`Event::Settled`] will bring it, and takes the caller's reference with it.
    pub fn pull(&mut self, promise: PromiseId) {
        match self.promises.get_mut(promise) {
            Some(entry) if entry.outcome.is_some() => self.tell_application(promise),
            Some(entry) => {
                entry.dependents.push(Dependent::Application);
                self.want(promise);
            }
            None => {}
        }
    }

    /// Gives up a result. A call of ours whose answer nobody waits for is released at the peer.
    pub fn drop_result(&mut self, promise: PromiseId) {
        if let Some(entry) = self.promises.get_mut(promise) {
            entry
                .dependents
                .retain(|dependent| *dependent != Dependent::Application);
        }
        self.drop_promise(promise);
    }

    /// A result that the application will settle. The reference is the caller's.
    pub fn new_promise(&mut self) -> PromiseId {
        self.promises.pending()
    }

    /// Settles a promise made by [`new_promise`](Self::new_promise).
    pub fn settle_promise(
        &mut self,
        promise: PromiseId,
        result: Result<Value<Capability<T>>, Value<Capability<T>>>,
    ) {
        self.map_steps = self.limits.max_map_steps;
        let outcome = match result {
            Ok(value) => Ok(self.take_in(value)),
            Err(error) => Err(self.take_in(error)),
        };
        self.settle(promise, outcome);
    }

    /// Answers a call that [`Event::Call`] or [`Event::Get`] announced. A second answer, or one after the session's end,
    /// is ignored.
    pub fn answer(&mut self, call: CallId, result: Result<Value<Capability<T>>, Value<Capability<T>>>) {
        if !self.ended {
            self.settle_promise(call.0, result);
        }
    }

    /// Gives up one handle of a stub or writable of the peer. The last one sends the release.
    pub fn release(&mut self, import: ImportId) {
        if let Some(count) = self.imports.release(import.0) {
            self.writers.remove(&import);
            let mut out = message("release", import.0);
            out.push(',');
            write_integer(&mut out, count);
            out.push(']');
            self.send(out);
        }
    }

    /// Takes the next item of a stream the peer sends. Taking it is what acknowledges it, so a reader that stops
    /// stops the peer. `None` when nothing is there yet: [`Event::PipeReadable`] tells when.
    pub fn read_pipe(&mut self, id: PipeId) -> Option<PipeItem<T>> {
        let item = self.take_from_pipe(id)?;
        Some(match item {
            pipe::Item::Chunk(value) => PipeItem::Chunk(value),
            pipe::Item::End => PipeItem::End,
            pipe::Item::Failed(value) => PipeItem::Failed(value),
        })
    }

    fn take_from_pipe(&mut self, id: PipeId) -> Option<pipe::Item<T>> {
        let pipe = self.pipes.get_mut(&id)?;
        let (item, size, acknowledge) = pipe.take()?;
        self.queued_bytes = self.queued_bytes.saturating_sub(size);
        for promise in acknowledge.into_iter().flatten() {
            self.settle(promise, Ok(Value::Undefined));
        }
        Some(item)
    }

    /// Something came for a stream: for the application to read, or for a blob that the session collects.
    fn pipe_readable(&mut self, id: PipeId) {
        if self.pipes.get(&id).is_none_or(|pipe| pipe.blob.is_none()) {
            self.events.push_back(Event::PipeReadable(id));
            return;
        }
        while let Some(item) = self.take_from_pipe(id) {
            let Some(collected) = self.pipes.get_mut(&id).and_then(|pipe| pipe.blob.as_mut()) else {
                return;
            };
            let bytes = &mut collected.blob.bytes;
            let problem = match item {
                pipe::Item::Chunk(Value::Bytes(chunk, BytesKind::Uint8Array))
                    if bytes.len() + chunk.len() <= self.limits.max_blob_size =>
                {
                    bytes.extend_from_slice(&chunk);
                    continue;
                }
                pipe::Item::Chunk(Value::Bytes(_, BytesKind::Uint8Array)) => {
                    let text = format!("the blob is larger than {} bytes", self.limits.max_blob_size);
                    Some(Value::error("RangeError", text))
                }
                pipe::Item::Chunk(other) => {
                    self.discard(other);
                    Some(Value::error("TypeError", "Received non-Uint8Array chunk"))
                }
                pipe::Item::Failed(error) => Some(error),
                pipe::Item::End => None,
            };
            let Some(collected) = self.pipes.get_mut(&id).and_then(|pipe| pipe.blob.take()) else {
                return;
            };
            let outcome = match problem {
                Some(error) => Err(error),
                None => Ok(Value::Blob(Box::new(collected.blob))),
            };
            self.cancel_pipe(id, &Value::error("Error", "the blob is not read any further"));
            self.settle(collected.promise, outcome);
            return;
        }
    }

    /// Stops reading: writes that wait and all later ones are rejected with `reason`. To be called once for every
    /// readable that was delivered; after the stream's end it only frees the entry.
    pub fn cancel_pipe(&mut self, id: PipeId, reason: &Value<Capability<T>>) {
        let Some(pipe) = self.pipes.get_mut(&id) else {
            return;
        };
        let unread = pipe.cancel(reason);
        self.queued_bytes = self.queued_bytes.saturating_sub(unread.size);
        if !self.exports.holds_pipe(id) {
            self.pipes.remove(&id);
        }
        for item in unread.items {
            self.discard(item.into_value());
        }
        for promise in unread.waiting {
            let reason = reason.clone().map(&mut |_| Value::Undefined);
            self.settle(promise, Err(reason));
        }
    }

    /// Ends the session with an abort message. What is pending is the caller's to fail; local targets stay until
    /// [`shut_down`](Self::shut_down).
    pub fn abort(&mut self, reason: &Value<Capability<T>>) {
        if self.ended {
            return;
        }
        // Stubs in an abort have no owner; an error keeps its text.
        let value = reason.clone().map(&mut |_| Value::Undefined);
        let mut out = String::from("[\"abort\",");
        let length = out.len();
        if encode(&value, 0, &mut out, &mut self.encoder(true)).is_err() {
            out.truncate(length);
            out.push_str("null");
        }
        out.push(']');
        self.send(out);
        self.ended = true;
    }

    /// Ends the session without a word: all local targets go, everything pending is the caller's to fail.
    pub fn shut_down(&mut self) {
        self.ended = true;
        self.exports.clear();
        self.imports.clear();
        self.promises.clear();
        self.pipes.clear();
        self.writers.clear();
        self.waits.clear();
    }

    /// Gives up the result of a call of ours.
    fn release_call(&mut self, import: i64) {
        let mut out = message("release", import);
        out.push_str(",1]");
        self.send(out);
    }

    fn send(&mut self, message: String) {
        if !self.ended {
            self.message_bytes += message.len();
            self.messages.push_back(message);
        }
    }

    fn try_handle(&mut self, text: &str) -> Result<(), ProtocolError> {
        let limit = self.limits.max_message_size;
        // UTF-16 units are never more than bytes, so most messages need no count.
        if text.len() > limit && text.encode_utf16().count() > limit {
            return Err(ProtocolError::MessageTooLong(limit));
        }
        // One level of an expression takes at most a few of JSON: an escaped array two, a call's arguments three.
        let json_depth = self.limits.max_depth.saturating_mul(4).saturating_add(8);
        let tape = Tape::read(text, json_depth).map_err(|error| match error {
            ReadError::TooDeep { .. } => ProtocolError::TooDeep(self.limits.max_depth),
            syntax @ ReadError::Syntax { .. } => ProtocolError::NotJson(syntax),
        })?;
        match Message::read(tape.root())? {
            Message::Push(expression) => self.push(expression, false, text.len()),
            Message::Stream(expression) => self.push(expression, true, text.len()),
            Message::Pipe => {
                self.room_for_exports()?;
                let id = self.exports.pipe();
                self.pipes.insert(id, Pipe::default());
                Ok(())
            }
            Message::Pull(id) => self.pulled(id),
            Message::Release(id, count) => self.peer_released(id, count),
            Message::Resolve(id, expression) => self.settled_by_peer(id, expression, true),
            Message::Reject(id, expression) => self.settled_by_peer(id, expression, false),
            Message::Abort(expression) => {
                let reason = match expression {
                    Some(expression) => self.decode(expression, 0)?,
                    None => Value::Undefined,
                };
                // Stubs in it are of a session that is over.
                let reason = reason.map(&mut |_| Value::Undefined);
                self.ended = true;
                self.events.push_back(Event::Aborted(reason));
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

    fn map_step(&mut self) -> Result<(), ProtocolError> {
        match self.map_steps.checked_sub(1) {
            Some(left) => {
                self.map_steps = left;
                Ok(())
            }
            None => Err(ProtocolError::TooMany {
                what: "steps of maps",
                limit: self.limits.max_map_steps,
            }),
        }
    }

    fn decode(&mut self, expression: Node<'_>, size: usize) -> Result<Value<Capability<T>>, ProtocolError> {
        let limits = self.limits;
        decode(
            expression,
            0,
            &limits,
            &mut decoder::Decoder { session: self, size },
        )
    }

    /// A value of the application, with references of the session's own.
    fn take_in(&mut self, value: Value<Capability<T>>) -> Value<Capability<T>> {
        let mut value = value;
        value.for_each_capability_mut(&mut |capability| {
            let property = match capability {
                Capability::Promise(id) => return self.promises.acquire(*id),
                Capability::Stub(id) | Capability::Writable(id) => return self.imports.dup(id.0),
                Capability::Property(property) if self.backing(property.0).is_none() => property,
                _ => return,
            };
            let (subject, path) = (property.0, std::mem::take(&mut property.1));
            *capability = Capability::Promise(self.operate(subject, &path, Action::Get));
        });
        value
    }

    /// Where the peer knows a subject.
    fn backing(&self, subject: Subject) -> Option<i64> {
        match subject {
            Subject::Stub(id) => Some(id.0),
            Subject::Promise(id) => self.promises.get(id)?.backing,
        }
    }

    /// Sends an operation to where its subject lives.
    fn forward(&mut self, import: i64, operation: Operation<T>) {
        let Operation {
            result, path, action, ..
        } = operation;
        if self.imports.len() >= self.limits.max_imports {
            let error = ProtocolError::TooMany {
                what: "imports",
                limit: self.limits.max_imports,
            };
            let error = Value::error("Error", error.to_string());
            let operation = Operation {
                result,
                path,
                followed: Vec::new(),
                action,
                size: 0,
            };
            return self.fail(operation, error);
        }
        let args = match action {
            Action::Get if path.is_empty() => {
                // Reading nothing of a stub is the stub.
                self.imports.dup(import);
                let stub = Value::Capability(Capability::Stub(ImportId(import)));
                return self.settle(result, Ok(stub));
            }
            Action::Get => None,
            Action::Call(args) => Some(args),
            Action::Map(body) if path.is_empty() => {
                self.imports.dup(import);
                let stub = Value::Capability(Capability::Stub(ImportId(import)));
                return self.run_map(result, stub, body);
            }
            Action::Map(body) => {
                // A map of the peer's over something that lives there: what it leads to is fetched, the map runs here.
                let step = self.promises.pending();
                let get = Operation {
                    result: step,
                    path,
                    followed: Vec::new(),
                    action: Action::Get,
                    size: 0,
                };
                self.forward(import, get);
                let map = Operation {
                    result,
                    path: Vec::new(),
                    followed: Vec::new(),
                    action: Action::Map(body),
                    size: 0,
                };
                self.start(From::Promise(step), map);
                return self.drop_promise(step);
            }
        };
        let mut out = String::with_capacity(MESSAGE);
        out.push_str("[\"push\",[\"pipeline\",");
        write_integer(&mut out, import);
        out.push(',');
        write_path(&mut out, &path);
        let mut written = Ok(());
        if let Some(args) = &args {
            out.push(',');
            written = self.write_args(args, &mut out);
        }
        match written {
            Ok(()) => {
                out.push_str("]]");
                self.send_push(out, result);
            }
            Err(error) => self.settle(result, Err(error.to_error())),
        }
        // Not before: what the message names must not be released by one that goes ahead of it.
        if let Some(args) = args {
            self.discard(Value::Array(args));
        }
    }

    /// Appends arguments, continuing at the level of the call.
    fn write_args(
        &mut self,
        args: &[Value<Capability<T>>],
        out: &mut String,
    ) -> Result<(), crate::Unwritable> {
        let mut encoder = self.encoder(false);
        let mark = crate::expression::Encode::mark(&encoder);
        out.push('[');
        for (index, arg) in args.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Err(error) = encode(arg, 1, out, &mut encoder) {
                crate::expression::Encode::undo(&mut encoder, mark);
                return Err(error);
            }
        }
        out.push(']');
        Ok(())
    }

    fn send_map(
        &mut self,
        import: i64,
        path: &[PathKey],
        captures: Vec<Value<Capability<T>>>,
        instructions: &[String],
        result: PromiseId,
    ) {
        let mut out = format!("[\"push\",[\"remap\",{import},");
        write_path(&mut out, path);
        out.push_str(",[");
        let mut failed = None;
        for (index, capture) in captures.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            if let Err(error) = encode(capture, 0, &mut out, &mut self.encoder(false)) {
                failed = Some(error);
            }
        }
        if let Some(error) = failed {
            self.discard(Value::Array(captures));
            return self.settle(result, Err(error.to_error()));
        }
        out.push_str("],[");
        out.push_str(&instructions.join(","));
        out.push_str("]]]");
        self.send_push(out, result);
        self.discard(Value::Array(captures));
    }

    fn send_push(&mut self, message: String, result: PromiseId) {
        // Nobody may want the result any more: then it is released with the push itself.
        let id = self.imports.add(Import::Call {
            promise: result,
            pulled: false,
        });
        self.send(message);
        self.after_sending();
        let Some(entry) = self.promises.get_mut(result) else {
            return;
        };
        entry.backing = Some(id);
        let queue = std::mem::take(&mut entry.queue);
        let wanted = !entry.dependents.is_empty();
        for operation in queue {
            self.start(From::Promise(result), operation);
        }
        if wanted {
            self.want(result);
        }
        if self.promises.is_unwanted(result) {
            self.promises.acquire(result);
            self.drop_promise(result);
        }
    }

    fn push(&mut self, expression: Node<'_>, stream: bool, size: usize) -> Result<(), ProtocolError> {
        self.room_for_exports()?;
        let value = self.decode(expression, size)?;
        let id = self.exports.reserve();
        // The pushed expression is nearly always one call, whose promise then is the export's own.
        let promise = match value {
            Value::Capability(Capability::Promise(promise)) => promise,
            other => {
                let promise = self.promises.pending();
                self.settle(promise, Ok(other));
                promise
            }
        };
        self.exports.result(id, promise, stream);
        if stream {
            self.answer_when_settled(id, promise);
        }
        Ok(())
    }

    fn answer_when_settled(&mut self, id: i64, promise: PromiseId) {
        match self.promises.get_mut(promise) {
            Some(entry) if entry.outcome.is_none() => {
                entry.dependents.push(Dependent::Export(id));
                self.want(promise);
            }
            _ => self.answer_if_pulled(id),
        }
    }

    fn pulled(&mut self, id: i64) -> Result<(), ProtocolError> {
        let export = self.exports.get(id);
        let refusal = match export.ok_or_else(|| ProtocolError::NoSuchExport(id.to_string()))? {
            Export::Result { promise, .. } => {
                let promise = *promise;
                if self.exports.pull(id) {
                    self.answer_when_settled(id, promise);
                }
                return Ok(());
            }
            Export::Target { target, .. } if id == 0 => {
                let main = target.clone();
                if self.exports.pull_target(id) {
                    let export = self.exports.target(main, false);
                    self.send(format!("[\"resolve\",0,[\"export\",{export}]]"));
                }
                return Ok(());
            }
            Export::Target { sink: false, .. } => "Tried to resolve a non-promise stub.",
            Export::Target { .. } | Export::Pipe(_) => "Cannot pull a WritableStream stub",
        };
        if self.exports.pull_target(id) {
            let mut out = format!("[\"reject\",{id},");
            let error: Value<Capability<T>> = Value::error("Error", refusal);
            // An error always gets through.
            let _ = encode(&error, 0, &mut out, &mut self.encoder(true));
            out.push(']');
            self.send(out);
        }
        Ok(())
    }

    /// Sends the answer of an export whose promise is settled, if it is asked for.
    fn answer_if_pulled(&mut self, id: i64) {
        let Some((promise, stream)) = self.exports.answer(id) else {
            return;
        };
        let Some(outcome) = self.promises.borrow(promise) else {
            return;
        };
        let (word, value) = match &outcome {
            Ok(value) => ("resolve", value),
            Err(value) => ("reject", value),
        };
        let mut out = message(word, id);
        out.push(',');
        let length = out.len();
        let thrown = outcome.is_err();
        let mut encoder = self.encoder(thrown);
        let mark = crate::expression::Encode::mark(&encoder);
        if let Err(error) = encode(value, 0, &mut out, &mut encoder) {
            crate::expression::Encode::undo(&mut encoder, mark);
            out.truncate(length);
            let error: Value<Capability<T>> = error.to_error();
            out = format!("[\"reject\",{id},");
            // An error always gets through.
            let _ = encode(&error, 0, &mut out, &mut self.encoder(true));
        }
        out.push(']');
        self.promises.put_back(promise, outcome);
        self.send(out);
        self.after_sending();
        if stream {
            // Never pulled and never released by the peer: the answer ends it.
            self.exports.remove(id);
            self.drop_promise(promise);
        }
    }

    fn peer_released(&mut self, id: i64, count: u64) -> Result<(), ProtocolError> {
        match self.exports.release(id, count)? {
            None | Some(Export::Target { .. }) => {}
            Some(Export::Result { promise, .. }) => {
                if let Some(entry) = self.promises.get_mut(promise) {
                    entry
                        .dependents
                        .retain(|dependent| *dependent != Dependent::Export(id));
                }
                self.drop_promise(promise);
            }
            Some(Export::Pipe(id)) => {
                let text = "WritableStream RPC stub was disposed without calling close()";
                let Some(pipe) = self.pipes.get_mut(&id) else {
                    return Ok(());
                };
                if pipe.is_cancelled() {
                    self.pipes.remove(&id);
                } else if pipe.is_claimed() {
                    pipe.fail_if_open(text);
                    self.pipe_readable(id);
                } else {
                    // Its readable end can be named no more.
                    self.cancel_pipe(id, &Value::error("Error", text));
                }
            }
        }
        Ok(())
    }

    /// A resolve or reject of one of our imports. One for an unknown id crossed our release, which is normal.
    fn settled_by_peer(
        &mut self,
        id: Option<i64>,
        expression: Node<'_>,
        resolved: bool,
    ) -> Result<(), ProtocolError> {
        let known = id.filter(|id| self.imports.get(*id).is_some());
        let Some(id) = known else {
            if resolved {
                let value = self.decode(expression, 0)?;
                self.discard(value);
            }
            return Ok(());
        };
        let value = self.decode(expression, 0)?;
        let outcome = if resolved { Ok(value) } else { Err(value) };
        match self.imports.settle(id) {
            Some(Import::Call { promise, .. } | Import::Promise { promise }) => {
                self.release_call(id);
                self.settle(promise, outcome);
            }
            Some(Import::Stream { writer, sent }) => self.acknowledged(ImportId(writer), sent, outcome),
            Some(Import::Stub { .. }) | None => self.discard(outcome.unwrap_or_else(|error| error)),
        }
        Ok(())
    }
}

/// Bytes that most messages take.
const MESSAGE: usize = 64;

/// The start of a message about one entry of a table.
fn message(word: &str, id: i64) -> String {
    let mut out = String::with_capacity(MESSAGE);
    out.push_str("[\"");
    out.push_str(word);
    out.push_str("\",");
    write_integer(&mut out, id);
    out
}

#[cfg(test)]
mod tests;
