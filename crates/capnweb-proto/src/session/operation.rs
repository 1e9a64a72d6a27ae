//! Calls, reads and maps: waiting for what they need, walking to what they name, and settling their results.

use super::capability::{CallId, Capability, Event, PipeId, PromiseId};
use super::imports::Import;
use super::map::Body;
use super::pipe::Accepted;
use super::promise::{Dependent, Outcome};
use super::{Session, pipe};
use crate::value::{Reached, is_prototype_name, show_path};
use crate::{PathKey, Text, Value};

/// Why writes to a stream that nobody reads are rejected.
const UNREAD: &str = "ReadableStream RPC stub was disposed without being consumed";

/// What to do with what a path leads to.
#[derive(Debug)]
pub(super) enum Action<T> {
    Get,
    Call(Vec<Value<Capability<T>>>),
    Map(Body<T>),
}

#[derive(Debug)]
pub(super) struct Operation<T> {
    /// Settled with the result.
    pub(super) result: PromiseId,
    pub(super) path: Vec<PathKey>,
    /// What of the path has been followed, for error texts.
    pub(super) followed: Vec<PathKey>,
    pub(super) action: Action<T>,
    /// Bytes of the message it came in: what a stream keeps until it is read.
    pub(super) size: usize,
}

/// What an operation starts from.
#[derive(Debug)]
pub(super) enum From<T> {
    Target(T),
    Sink(T),
    Promise(PromiseId),
    Import(i64),
    Pipe(PipeId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WaitId(u64);

impl WaitId {
    pub(super) fn next(counter: &mut u64) -> Self {
        *counter += 1;
        Self(*counter)
    }
}

/// Something that needs promises to settle first.
#[derive(Debug)]
pub(super) struct Wait<T> {
    missing: usize,
    then: Then<T>,
}

#[derive(Debug)]
pub(super) enum Then<T> {
    /// Arguments with promises in them.
    Deliver(From<T>, Operation<T>),
    /// A result with promises in it.
    Settle(PromiseId, Outcome<T>),
}

impl<T: Clone> Session<T> {
    /// Starts an operation now, or queues it behind the promise it is made on.
    pub(super) fn start(&mut self, from: From<T>, operation: Operation<T>) {
        let promise = match from {
            From::Promise(promise) => promise,
            From::Import(id) => return self.forward(id, operation),
            From::Pipe(_) => return self.with_arguments(from, operation),
            From::Target(target) => return self.on_target(target, operation),
            From::Sink(target) => return self.on_sink(target, operation),
        };
        let Some(entry) = self.promises.get_mut(promise) else {
            return self.fail(
                operation,
                Value::error("Error", "the result this call was made on is gone"),
            );
        };
        match (&entry.outcome, entry.backing) {
            (None, Some(import)) if !matches!(operation.action, Action::Map(_)) => {
                self.forward(import, operation);
            }
            (None, _) => {
                entry.queue.push_back(operation);
                self.want(promise);
            }
            (Some(Ok(_)), _) => {
                let Some(outcome) = self.promises.borrow(promise) else {
                    return;
                };
                let value = outcome.as_ref().unwrap_or(&Value::Undefined);
                let found = self.reach(value, &operation.path, &operation.action);
                self.promises.put_back(promise, outcome);
                self.on_found(found, operation);
            }
            (Some(Err(_)), _) => {
                let error = self.error_of(promise);
                self.fail(operation, error);
            }
        }
    }

    /// Starts an operation on a value.
    pub(super) fn on_value(&mut self, value: &Value<Capability<T>>, operation: Operation<T>) {
        let found = self.reach(value, &operation.path, &operation.action);
        self.on_found(found, operation);
    }

    fn error_of(&mut self, promise: PromiseId) -> Value<Capability<T>> {
        let outcome = self.promises.borrow(promise);
        let error = match &outcome {
            Some(Err(error)) => self.copy(error),
            _ => Value::Undefined,
        };
        if let Some(outcome) = outcome {
            self.promises.put_back(promise, outcome);
        }
        error
    }

    fn reach(&mut self, value: &Value<Capability<T>>, path: &[PathKey], action: &Action<T>) -> Found<T> {
        match value.walk(path) {
            // Settled values hold no promise but inside a map.
            Reached::Capability(Capability::Promise(promise), rest) => Found::Promise(*promise, rest.len()),
            // There is nothing to see in a stream.
            Reached::Capability(
                Capability::Sink(_)
                | Capability::Writable(_)
                | Capability::Readable(_)
                | Capability::Source(_),
                [_, rest @ ..],
            ) => match rest.first() {
                Some(key) => Found::Nowhere(key.to_string()),
                None => Found::Undefined,
            },
            Reached::Capability(capability, rest) => {
                let whole = rest.is_empty() && !matches!(capability, Capability::Promise(_));
                if whole && !capability.is_callable() && matches!(action, Action::Call(_)) {
                    return Found::NotCallable;
                }
                if whole && (matches!(action, Action::Get) || !capability.is_callable()) {
                    let value = Value::Capability(capability.clone());
                    return Found::Value(self.copy(&value));
                }
                Found::Capability(capability.clone(), rest.len())
            }
            Reached::Nowhere(key) => Found::Nowhere(key.to_string()),
            Reached::Undefined => Found::Undefined,
            Reached::Value(_) if matches!(action, Action::Call(_)) => Found::NotCallable,
            Reached::Value(value) => Found::Value(self.copy(value)),
        }
    }

    fn on_found(&mut self, found: Found<T>, mut operation: Operation<T>) {
        let from = match found {
            Found::Nowhere(key) => {
                let text = format!("Cannot read properties of undefined (reading '{key}')");
                return self.fail(operation, Value::error("TypeError", text));
            }
            Found::NotCallable => {
                let error = not_a_function(&operation);
                return self.fail(operation, error);
            }
            Found::Undefined => match operation.action {
                Action::Call(_) => {
                    let error = not_a_function(&operation);
                    return self.fail(operation, error);
                }
                Action::Get => return self.settle(operation.result, Ok(Value::Undefined)),
                Action::Map(body) => return self.run_map(operation.result, Value::Undefined, body),
            },
            Found::Value(value) => match operation.action {
                Action::Map(body) => return self.run_map(operation.result, value, body),
                _ => return self.settle(operation.result, Ok(value)),
            },
            Found::Promise(promise, rest) => {
                operation.keep(rest);
                From::Promise(promise)
            }
            Found::Capability(capability, rest) => {
                operation.keep(rest);
                match capability {
                    Capability::Target(target) => From::Target(target),
                    Capability::Stub(id) => From::Import(id.0),
                    _ => {
                        let error = not_a_function(&operation);
                        return self.fail(operation, error);
                    }
                }
            }
        };
        self.start(from, operation);
    }

    /// Steps along properties of a target, one at a time: each may be answered later.
    fn on_target(&mut self, target: T, mut operation: Operation<T>) {
        let refused = |key: &PathKey| match key {
            PathKey::Name(name) => is_prototype_name(name),
            PathKey::Index(_) => true,
        };
        match (operation.path.as_slice(), &operation.action) {
            ([], Action::Call(_)) => self.with_arguments(From::Target(target), operation),
            ([], Action::Map(_)) => {
                let value = Value::Capability(Capability::Target(target));
                if let Action::Map(body) = operation.action {
                    self.run_map(operation.result, value, body);
                }
            }
            ([], Action::Get) => {
                let value = Value::Capability(Capability::Target(target));
                self.settle(operation.result, Ok(value));
            }
            ([key], Action::Call(_)) if refused(key) => {
                let error = not_a_function(&operation);
                self.fail(operation, error);
            }
            ([_], Action::Call(_)) => self.with_arguments(From::Target(target), operation),
            ([key], Action::Get) if refused(key) => self.settle(operation.result, Ok(Value::Undefined)),
            ([PathKey::Name(_)], Action::Get) => self.deliver(From::Target(target), operation),
            _ => {
                let step = self.promises.pending();
                let key = operation.path.remove(0);
                operation.followed.push(key.clone());
                let get = Operation {
                    result: step,
                    path: vec![key],
                    followed: Vec::new(),
                    action: Action::Get,
                    size: 0,
                };
                self.on_target(target, get);
                self.start(From::Promise(step), operation);
                self.drop_promise(step);
            }
        }
    }

    fn on_sink(&mut self, target: T, operation: Operation<T>) {
        let refusal = match (operation.path.as_slice(), &operation.action) {
            ([], Action::Get) => {
                let value = Value::Capability(Capability::Sink(target));
                return self.settle(operation.result, Ok(value));
            }
            (path, action) => sink_refusal(path, action),
        };
        match refusal {
            Some(text) => self.fail(operation, Value::error("Error", text)),
            None => self.with_arguments(From::Target(target), operation),
        }
    }

    /// Delivers an operation once its arguments hold no promise.
    fn with_arguments(&mut self, from: From<T>, mut operation: Operation<T>) {
        let Action::Call(args) = &mut operation.action else {
            return self.deliver(from, operation);
        };
        let mut pending = Vec::new();
        match self.fill(Value::Array(std::mem::take(args)), &mut pending) {
            Ok(Value::Array(filled)) => operation.action = Action::Call(filled),
            Ok(_) => {}
            Err(error) => return self.fail(operation, error),
        }
        if pending.is_empty() {
            self.deliver(from, operation);
        } else {
            self.wait(&pending, Then::Deliver(from, operation));
        }
    }

    fn deliver(&mut self, from: From<T>, operation: Operation<T>) {
        match from {
            From::Target(target) => {
                let call = CallId(operation.result);
                let followed = operation.followed;
                let name = match operation.path.into_iter().next() {
                    Some(PathKey::Name(name)) => name,
                    _ => Text::default(),
                };
                self.events.push_back(match operation.action {
                    Action::Call(args) => Event::Call {
                        call,
                        target,
                        followed,
                        method: name,
                        args,
                    },
                    _ => Event::Get { call, target, name },
                });
            }
            From::Pipe(id) => self.on_pipe(id, operation),
            // `start` has walked these to what they lead to.
            From::Sink(_) | From::Promise(_) | From::Import(_) => {}
        }
    }

    /// `write`, `close` and `abort` on the writable end of a stream.
    fn on_pipe(&mut self, id: PipeId, operation: Operation<T>) {
        if let Some(text) = sink_refusal(&operation.path, &operation.action) {
            return self.fail(operation, Value::error("Error", text));
        }
        let Action::Call(args) = operation.action else {
            return;
        };
        let mut args = args.into_iter();
        let argument = args.next().unwrap_or(Value::Undefined);
        self.discard(Value::Array(args.collect()));
        let item = match operation.path.first() {
            Some(PathKey::Name(name)) if name == "write" => pipe::Item::Chunk(argument),
            Some(PathKey::Name(name)) if name == "abort" => pipe::Item::Failed(argument),
            _ => pipe::Item::End,
        };
        let Some(pipe) = self.pipes.get_mut(&id) else {
            self.discard(item.into_value());
            return self.settle(operation.result, Err(Value::error("Error", UNREAD)));
        };
        match pipe.accept(item, operation.size, operation.result) {
            Accepted::Queued => {
                self.queued_bytes += operation.size;
                self.pipe_readable(id);
            }
            Accepted::Acknowledged => {
                self.queued_bytes += operation.size;
                self.settle(operation.result, Ok(Value::Undefined));
                self.pipe_readable(id);
            }
            Accepted::Ignored(item) => {
                self.discard(item.into_value());
                self.settle(operation.result, Ok(Value::Undefined));
            }
            Accepted::Rejected(item, reason) => {
                self.discard(item.into_value());
                self.settle(operation.result, Err(reason));
            }
        }
    }

    pub(super) fn fail(&mut self, operation: Operation<T>, error: Value<Capability<T>>) {
        match operation.action {
            Action::Get => {}
            Action::Call(args) => self.discard(Value::Array(args)),
            Action::Map(body) => self.discard(Value::Array(body.captures)),
        }
        self.settle(operation.result, Err(error));
    }

    /// Settles a promise, once what it is settled with holds no promise itself.
    ///
    /// Whoever waits is told from one loop and not by recursion: a peer may chain as many calls as the limits allow,
    /// and the stack must not feel it.
    pub(super) fn settle(&mut self, promise: PromiseId, outcome: Outcome<T>) {
        let wanted = self.promises.get(promise).is_some() && !self.promises.is_unwanted(promise);
        if !wanted {
            // Nobody waits, so neither is waited for what is inside.
            self.promises.remove_pending(promise);
            return self.discard(outcome.unwrap_or_else(|error| error));
        }
        let mut pending = Vec::new();
        let outcome = match outcome {
            Ok(value) => self.fill(value, &mut pending),
            rejected => rejected,
        };
        if !pending.is_empty() {
            if let Some(entry) = self.promises.get_mut(promise) {
                // The import has settled; what is left to wait for is inside its value.
                entry.backing = None;
            }
            return self.wait(&pending, Then::Settle(promise, outcome));
        }
        if let Err(outcome) = self.promises.settle(promise, outcome) {
            return self.discard(outcome.unwrap_or_else(|error| error));
        }
        self.settled.push_back(promise);
        if std::mem::replace(&mut self.telling, true) {
            return;
        }
        while let Some(promise) = self.settled.pop_front() {
            self.tell(promise);
        }
        self.telling = false;
    }

    fn tell(&mut self, promise: PromiseId) {
        while let Some(operation) = self
            .promises
            .get_mut(promise)
            .and_then(|entry| entry.queue.pop_front())
        {
            self.start(From::Promise(promise), operation);
        }
        let dependents = self
            .promises
            .get_mut(promise)
            .map(|entry| std::mem::take(&mut entry.dependents));
        for dependent in dependents.unwrap_or_default() {
            match dependent {
                Dependent::Export(id) => self.answer_if_pulled(id),
                Dependent::Application => self.tell_application(promise),
                Dependent::Wait(id) => {
                    let Some(wait) = self.waits.get_mut(&id) else {
                        continue;
                    };
                    wait.missing -= 1;
                    if wait.missing > 0 {
                        continue;
                    }
                    match self.waits.remove(&id).map(|wait| wait.then) {
                        Some(Then::Deliver(from, operation)) => self.with_arguments(from, operation),
                        Some(Then::Settle(promise, outcome)) => self.settle(promise, outcome),
                        None => {}
                    }
                }
            }
        }
        if self.promises.is_unwanted(promise)
            && let Some(outcome) = self.promises.remove_settled(promise)
        {
            self.discard(outcome.unwrap_or_else(|error| error));
        }
    }

    /// Hands a settled promise to the application, whose reference goes with it.
    pub(super) fn tell_application(&mut self, promise: PromiseId) {
        let alone = self.promises.get(promise).is_some_and(|entry| entry.refs <= 1);
        let outcome = if alone {
            self.promises.remove_settled(promise)
        } else {
            let outcome = self.promises.borrow(promise);
            let copied = outcome.as_ref().map(|outcome| match outcome {
                Ok(value) => Ok(self.copy(value)),
                Err(error) => Err(self.copy(error)),
            });
            if let Some(outcome) = outcome {
                self.promises.put_back(promise, outcome);
            }
            self.drop_promise(promise);
            copied
        };
        if let Some(outcome) = outcome {
            self.events.push_back(Event::Settled {
                promise,
                result: outcome,
            });
        }
    }

    pub(super) fn wait(&mut self, pending: &[PromiseId], then: Then<T>) {
        let id = WaitId::next(&mut self.next_wait);
        let mut missing = 0;
        for promise in pending {
            if let Some(entry) = self.promises.get_mut(*promise) {
                entry.dependents.push(Dependent::Wait(id));
                missing += 1;
            }
        }
        self.waits.insert(id, Wait { missing, then });
        for promise in pending {
            self.want(*promise);
        }
    }

    /// Somebody here needs the result: asks the peer for it, if it is the peer's.
    pub(super) fn want(&mut self, promise: PromiseId) {
        let Some(import) = self.promises.get(promise).and_then(|entry| entry.backing) else {
            return;
        };
        if self.imports.pull(import) {
            let mut out = super::message("pull", import);
            out.push(']');
            self.send(out);
        }
    }

    /// Puts results in the place of settled promises; names those that are not settled. One that was rejected rejects
    /// the whole.
    pub(super) fn fill(&mut self, value: Value<Capability<T>>, pending: &mut Vec<PromiseId>) -> Outcome<T> {
        let mut promises = Vec::new();
        value.for_each_capability(&mut |slot| {
            if let Capability::Promise(id) = slot {
                promises.push(*id);
            }
        });
        if promises.is_empty() {
            return Ok(value);
        }
        let rejected = promises.iter().copied().find(|id| {
            self.promises
                .get(*id)
                .is_some_and(|entry| matches!(entry.outcome, Some(Err(_))))
        });
        if let Some(rejected) = rejected {
            let error = self.error_of(rejected);
            self.discard(value);
            return Err(error);
        }
        Ok(value.map(&mut |slot| {
            let Capability::Promise(id) = slot else {
                return Value::Capability(slot);
            };
            if self.promises.is_pending(id) {
                pending.push(id);
                return Value::Capability(slot);
            }
            self.take_value(id)
        }))
    }

    /// The value of a settled promise, for the reference that is given up with it.
    fn take_value(&mut self, id: PromiseId) -> Value<Capability<T>> {
        let last = self
            .promises
            .get(id)
            .is_some_and(|entry| entry.refs <= 1 && entry.dependents.is_empty() && entry.queue.is_empty());
        if last {
            return self
                .promises
                .remove_settled(id)
                .and_then(Result::ok)
                .unwrap_or(Value::Undefined);
        }
        let outcome = self.promises.borrow(id);
        let copy = match &outcome {
            Some(Ok(value)) => self.copy(value),
            _ => Value::Undefined,
        };
        if let Some(outcome) = outcome {
            self.promises.put_back(id, outcome);
        }
        self.drop_promise(id);
        copy
    }

    /// A copy of a value, with references of its own.
    pub(super) fn copy(&mut self, value: &Value<Capability<T>>) -> Value<Capability<T>> {
        value.for_each_capability(&mut |slot| match slot {
            Capability::Stub(id) | Capability::Writable(id) => self.imports.dup(id.0),
            Capability::Promise(id) => self.promises.acquire(*id),
            _ => {}
        });
        value.clone()
    }

    /// Gives up a reference to a promise; the last one also gives up its result, there or not.
    pub(super) fn drop_promise(&mut self, id: PromiseId) {
        if !self.promises.unref(id) {
            return;
        }
        if let Some(outcome) = self.promises.remove_settled(id) {
            return self.discard(outcome.unwrap_or_else(|error| error));
        }
        let backing = self.promises.get(id).and_then(|entry| entry.backing);
        if let Some(import) = backing
            && matches!(
                self.imports.get(import),
                Some(Import::Call { .. } | Import::Promise { .. })
            )
        {
            // A call or promise dropped before its answer is released at once.
            self.imports.settle(import);
            self.promises.remove_pending(id);
            self.release_call(import);
        }
    }

    /// Accounts for the capabilities in a value that nobody will see.
    pub(super) fn discard(&mut self, value: Value<Capability<T>>) {
        let mut slots = Vec::new();
        value.for_each_capability(&mut |slot| {
            if !matches!(
                slot,
                Capability::Target(_) | Capability::Sink(_) | Capability::Source(_)
            ) {
                slots.push(slot.clone());
            }
        });
        for slot in slots {
            match slot {
                Capability::Promise(id) => self.drop_promise(id),
                Capability::Stub(id) | Capability::Writable(id) => self.release(id),
                Capability::Readable(id) => self.cancel_pipe(id, &Value::error("Error", UNREAD)),
                _ => {}
            }
        }
    }
}

impl<T> Operation<T> {
    /// Keeps the last `rest` keys of the path: the others have been followed.
    fn keep(&mut self, rest: usize) {
        self.followed.extend(self.path.drain(..self.path.len() - rest));
    }
}

/// Where a path led.
enum Found<T> {
    Value(Value<Capability<T>>),
    /// With the number of keys that are left.
    Capability(Capability<T>, usize),
    Promise(PromiseId, usize),
    Undefined,
    NotCallable,
    Nowhere(String),
}

fn not_a_function<T>(operation: &Operation<T>) -> Value<Capability<T>> {
    let path = [operation.followed.as_slice(), &operation.path].concat();
    Value::error("TypeError", format!("'{}' is not a function.", show_path(&path)))
}

/// Why an operation means nothing on a writable stream.
fn sink_refusal<T>(path: &[PathKey], action: &Action<T>) -> Option<String> {
    match (path, action) {
        (_, Action::Get) => Some("Cannot access properties on a WritableStream stub".into()),
        (_, Action::Map(_)) => Some("Cannot use map() on a WritableStream".into()),
        ([PathKey::Name(name)], _) if ["write", "close", "abort"].contains(&name.as_str()) => None,
        ([PathKey::Name(name)], _) => Some(format!("Unknown WritableStream method: {name}")),
        _ => Some("WritableStream stub only supports direct method calls".into()),
    }
}
