//! Calls and reads: waiting for what they need, walking to what they name, and settling their results.

use super::capability::{CallId, Capability, Event, PipeId, Slot, expose};
use super::promise::{Origin, Outcome, PromiseId};
use super::{Session, pipe};
use crate::value::{is_prototype_name, show_path};
use crate::{PathKey, Value};

/// A call, or without arguments a read.
#[derive(Debug)]
pub(super) struct Operation<T> {
    pub(super) result: PromiseId,
    pub(super) path: Vec<PathKey>,
    pub(super) args: Option<Vec<Value<Slot<T>>>>,
}

/// What an operation starts from.
#[derive(Debug)]
pub(super) enum Subject<T> {
    Target(T),
    Promise(PromiseId),
    /// With the size of the message, which the stream keeps until it is read.
    Pipe(PipeId, usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct WaitId(u64);

/// Something that needs promises to settle first.
#[derive(Debug)]
pub(super) struct Wait<T> {
    missing: usize,
    then: Then<T>,
}

#[derive(Debug)]
enum Then<T> {
    /// Arguments with promises in them.
    Deliver(Subject<T>, Operation<T>),
    /// A result with promises in it.
    Settle(PromiseId, Outcome<T>),
}

/// Where a path leads.
enum Reached<'a, T> {
    Value(&'a Value<Slot<T>>),
    Undefined,
    Target(&'a T, &'a [PathKey]),
    PeerStub,
    /// A read of a property of undefined.
    Nowhere(&'a PathKey),
}

impl<T: Clone> Session<T> {
    /// Starts an operation now, or queues it behind the promise it is made on.
    pub(super) fn start(&mut self, subject: Subject<T>, operation: Operation<T>) {
        let Subject::Promise(promise) = subject else {
            return self.with_arguments(subject, operation);
        };
        if self.promises.is_pending(promise) {
            return self.promises.enqueue(promise, operation);
        }
        match self.promises.result(promise).cloned() {
            Some(Ok(value)) => self.on_value(&value, operation),
            Some(Err(error)) => self.fail(operation, error),
            None => self.fail(
                operation,
                Value::error("Error", "the result this call was made on is gone"),
            ),
        }
    }

    fn on_value(&mut self, value: &Value<Slot<T>>, operation: Operation<T>) {
        let path = operation.path.clone();
        let not_a_function =
            || Value::error("TypeError", format!("'{}' is not a function.", show_path(&path)));
        match (walk(value, &path), &operation.args) {
            // The target itself, read: it is the value.
            (Reached::Target(target, []), None) => {
                let target = Value::Capability(Slot::Given(Capability::Target(target.clone())));
                self.settle(operation.result, Ok(target));
            }
            (Reached::Target(target, rest), _) => {
                let (target, path) = (target.clone(), rest.to_vec());
                self.with_arguments(Subject::Target(target), Operation { path, ..operation });
            }
            (Reached::PeerStub, _) => {
                self.fail(
                    operation,
                    Value::error(
                        "Error",
                        "calls through a stub of the caller's own are not supported yet",
                    ),
                );
            }
            (Reached::Nowhere(key), _) => {
                let text = format!("Cannot read properties of undefined (reading '{key}')");
                self.fail(operation, Value::error("TypeError", text));
            }
            (Reached::Value(_) | Reached::Undefined, Some(_)) => self.fail(operation, not_a_function()),
            (Reached::Undefined, None) => self.settle(operation.result, Ok(Value::Undefined)),
            (Reached::Value(value), None) => {
                let copy = self.copy(value);
                self.settle(operation.result, Ok(copy));
            }
        }
    }

    /// Delivers an operation once its arguments hold no promise.
    fn with_arguments(&mut self, subject: Subject<T>, mut operation: Operation<T>) {
        let Some(args) = operation.args.take() else {
            return self.deliver(subject, operation);
        };
        let mut pending = Vec::new();
        match self.fill(Value::Array(args), &mut pending) {
            Ok(Value::Array(args)) => operation.args = Some(args),
            Ok(_) => operation.args = Some(Vec::new()),
            Err(error) => return self.fail(operation, error),
        }
        if pending.is_empty() {
            self.deliver(subject, operation);
        } else {
            self.wait(&pending, Then::Deliver(subject, operation));
        }
    }

    fn deliver(&mut self, subject: Subject<T>, operation: Operation<T>) {
        match subject {
            Subject::Target(target) => {
                let Operation { result, path, args } = operation;
                let undefined = path
                    .iter()
                    .any(|key| matches!(key, PathKey::Name(name) if is_prototype_name(name)));
                if undefined {
                    let outcome = match args {
                        None => Ok(Value::Undefined),
                        Some(_) => Err(Value::error(
                            "TypeError",
                            format!("'{}' is not a function.", show_path(&path)),
                        )),
                    };
                    return self.settle(result, outcome);
                }
                let args = args.map(|args| args.into_iter().map(expose).collect());
                self.events.push_back(Event::Call {
                    call: CallId(result),
                    target,
                    path,
                    args,
                });
            }
            Subject::Pipe(id, size) => self.on_pipe(id, size, operation),
            // `start` has walked promises to what they lead to.
            Subject::Promise(_) => {}
        }
    }

    /// `write`, `close` and `abort` on the writable end of a stream.
    fn on_pipe(&mut self, id: PipeId, size: usize, operation: Operation<T>) {
        let refusal = match (operation.path.as_slice(), &operation.args) {
            (_, None) => Some("Cannot access properties on a WritableStream stub".to_owned()),
            ([PathKey::Name(name)], Some(_)) if ["write", "close", "abort"].contains(&name.as_str()) => None,
            ([PathKey::Name(name)], Some(_)) => Some(format!("Unknown WritableStream method: {name}")),
            _ => Some("WritableStream stub only supports direct method calls".into()),
        };
        if let Some(text) = refusal {
            return self.fail(operation, Value::error("TypeError", text));
        }
        let argument = operation
            .args
            .unwrap_or_default()
            .into_iter()
            .next()
            .unwrap_or(Value::Undefined);
        let item = match operation.path.first() {
            Some(PathKey::Name(name)) if name == "write" => pipe::Item::Chunk(argument),
            Some(PathKey::Name(name)) if name == "abort" => pipe::Item::Failed(argument),
            _ => pipe::Item::End,
        };
        let Some(pipe) = self.pipes.get_mut(&id) else {
            let text = "ReadableStream RPC stub was disposed without being consumed";
            return self.settle(operation.result, Err(Value::error("Error", text)));
        };
        match pipe.accept(item, size, operation.result) {
            Ok(()) => {
                self.queued_bytes += size;
                self.events.push_back(Event::PipeReadable(id));
            }
            Err(error) => self.settle(operation.result, Err(Value::Error(Box::new(error)))),
        }
    }

    fn fail(&mut self, operation: Operation<T>, error: Value<Slot<T>>) {
        self.discard(Value::Array(operation.args.unwrap_or_default()));
        self.settle(operation.result, Err(error));
    }

    /// Settles a promise, once what it is settled with holds no promise itself.
    ///
    /// Whoever waits is told from one loop and not by recursion: a peer may chain as many calls as the limits allow,
    /// and the stack must not feel it.
    pub(super) fn settle(&mut self, promise: PromiseId, outcome: Outcome<T>) {
        let mut pending = Vec::new();
        let outcome = match outcome {
            Ok(value) => self.fill(value, &mut pending),
            rejected => rejected,
        };
        if !pending.is_empty() {
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
        while let Some(operation) = self.promises.next_queued(promise) {
            self.start(Subject::Promise(promise), operation);
        }
        for id in self.promises.take_dependents(promise) {
            let Some(wait) = self.waits.get_mut(&id) else {
                continue;
            };
            wait.missing -= 1;
            if wait.missing > 0 {
                continue;
            }
            match self.waits.remove(&id).map(|wait| wait.then) {
                Some(Then::Deliver(subject, operation)) => self.with_arguments(subject, operation),
                Some(Then::Settle(promise, outcome)) => self.settle(promise, outcome),
                None => {}
            }
        }
        match self.promises.origin(promise) {
            Some(Origin::Export(_)) => self.answer_if_pulled(promise),
            Some(Origin::Call(import)) => {
                if let Some(outcome) = self.promises.take(promise) {
                    self.events.push_back(Event::Settled {
                        import,
                        result: outcome.map(expose).map_err(expose),
                    });
                }
            }
            Some(Origin::Nobody) => self.forget(promise),
            Some(Origin::Anonymous) | None => {}
        }
    }

    fn wait(&mut self, pending: &[PromiseId], then: Then<T>) {
        let id = WaitId(self.next_wait);
        self.next_wait += 1;
        for promise in pending {
            self.promises.depend(*promise, id);
        }
        self.waits.insert(
            id,
            Wait {
                missing: pending.len(),
                then,
            },
        );
    }

    /// Puts results in the place of settled promises; names those that are not settled. One that was rejected rejects
    /// the whole.
    fn fill(&mut self, value: Value<Slot<T>>, pending: &mut Vec<PromiseId>) -> Outcome<T> {
        let mut promises = Vec::new();
        value.for_each_capability(&mut |slot| {
            if let Slot::Promise(id) = slot {
                promises.push(*id);
            }
        });
        if promises.is_empty() {
            return Ok(value);
        }
        let rejected = promises
            .iter()
            .find_map(|id| self.promises.result(*id)?.as_ref().err().cloned());
        if let Some(error) = rejected {
            self.discard(value);
            return Err(self.copy(&error));
        }
        value.try_map(&mut |slot| {
            let Slot::Promise(id) = slot else {
                return Ok(Value::Capability(slot));
            };
            if self.promises.is_pending(id) {
                pending.push(id);
                return Ok(Value::Capability(slot));
            }
            let outcome = if self.promises.is_anonymous(id) {
                self.promises.take(id)
            } else {
                let result = self.promises.result(id).cloned();
                result.map(|outcome| outcome.map(|value| self.copy(&value)))
            };
            Ok(outcome.and_then(Result::ok).unwrap_or(Value::Undefined))
        })
    }

    /// A copy of a value, with a handle of its own for every stub inside.
    pub(super) fn copy(&mut self, value: &Value<Slot<T>>) -> Value<Slot<T>> {
        value.for_each_capability(&mut |slot| {
            if let Slot::Given(Capability::Stub(id)) = slot {
                self.imports.dup(*id);
            }
        });
        value.clone()
    }
}

/// Follows own members of plain data up to the first capability.
fn walk<'a, T>(value: &'a Value<Slot<T>>, path: &'a [PathKey]) -> Reached<'a, T> {
    let mut value = value;
    for (index, key) in path.iter().enumerate() {
        let next = match (value, key) {
            (Value::Capability(Slot::Given(Capability::Target(target))), _) => {
                return Reached::Target(target, &path[index..]);
            }
            (Value::Capability(Slot::Given(Capability::Stub(_))), _) => return Reached::PeerStub,
            (Value::Undefined, key) => return Reached::Nowhere(key),
            (Value::Object(members), PathKey::Name(name)) if !is_prototype_name(name) => members
                .iter()
                .find(|(member, _)| member == name)
                .map(|(_, value)| value),
            // A number that is no index casts to one that is out of range or is told apart by its fraction.
            (Value::Array(items), PathKey::Index(at)) if *at >= 0.0 && at.fract() == 0.0 => {
                items.get(*at as usize)
            }
            _ => None,
        };
        match next {
            Some(next) => value = next,
            None if index + 1 < path.len() => return Reached::Nowhere(&path[index + 1]),
            None => return Reached::Undefined,
        }
    }
    match value {
        Value::Capability(Slot::Given(Capability::Target(target))) => Reached::Target(target, &[]),
        Value::Capability(Slot::Given(Capability::Stub(_))) => Reached::PeerStub,
        other => Reached::Value(other),
    }
}
