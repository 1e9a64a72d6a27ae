//! Where the perspective is flipped: ids in what the peer wrote are the peer's.

use std::sync::Arc;

use super::Session;
use super::capability::{Capability, ImportId, PipeId};
use super::exports::Export;
use super::map::Body;
use super::operation::{Action, From, Operation};
use super::pipe::Collected;
use crate::expression::Decode;
use crate::json::Node;
use crate::{Blob, PathKey, ProtocolError, Value};

pub(super) struct Decoder<'a, T> {
    pub(super) session: &'a mut Session<T>,
    /// Bytes of the message, as the measure of what a stream keeps.
    pub(super) size: usize,
}

impl<T: Clone> Decode<Capability<T>> for Decoder<'_, T> {
    fn knows(&self, id: i64) -> bool {
        self.session.exports.get(id).is_some()
    }

    fn stub(&mut self, id: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        self.import(id).map(|id| Value::Capability(Capability::Stub(id)))
    }

    fn writable(&mut self, id: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        let import = self.import(id)?;
        self.session.writers.entry(import).or_default();
        Ok(Value::Capability(Capability::Writable(import)))
    }

    fn promise(&mut self, id: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        self.room()?;
        let promise = self.session.promises.pending();
        if self.session.imports.promise(id, promise) {
            if let Some(entry) = self.session.promises.get_mut(promise) {
                entry.backing = Some(id);
            }
        } else {
            let text = "Bug in RPC system: The peer sent a promise reusing an existing export ID.";
            self.session.settle(promise, Err(Value::error("Error", text)));
        }
        Ok(Value::Capability(Capability::Promise(promise)))
    }

    fn readable(&mut self, id: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        let pipe = PipeId(id);
        let claimed = self.session.exports.holds_pipe(pipe)
            && self.session.pipes.get_mut(&pipe).is_some_and(|pipe| pipe.claim());
        if claimed {
            Ok(Value::Capability(Capability::Readable(pipe)))
        } else {
            Err(ProtocolError::NotAPipe(id))
        }
    }

    fn own(
        &mut self,
        stub: bool,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<Capability<T>>>>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        if path.is_empty() && args.is_none() {
            self.reference(stub, id)
        } else {
            self.run(id, path, args.map_or(Action::Get, Action::Call))
        }
    }

    fn remap(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        captures: Vec<Value<Capability<T>>>,
        instructions: Node<'_>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        self.run(
            id,
            path,
            Action::Map(Body {
                captures,
                instructions: Arc::new(instructions.to_tape()),
            }),
        )
    }

    fn blob(
        &mut self,
        media_type: String,
        content: Value<Capability<T>>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        let promise = self.session.promises.pending();
        if let Value::Capability(Capability::Readable(id)) = content
            && let Some(pipe) = self.session.pipes.get_mut(&id)
        {
            let blob = Blob {
                media_type,
                bytes: Vec::new(),
            };
            pipe.blob = Some(Collected { promise, blob });
            // What came before the blob itself is waiting.
            self.session.pipe_readable(id);
        }
        Ok(Value::Capability(Capability::Promise(promise)))
    }

    fn is_stream(&self, value: &Value<Capability<T>>) -> bool {
        matches!(value, Value::Capability(Capability::Readable(_)))
    }

    fn discard(&mut self, value: Value<Capability<T>>) {
        self.session.discard(value);
    }
}

impl<T: Clone> Decoder<'_, T> {
    fn import(&mut self, id: i64) -> Result<ImportId, ProtocolError> {
        self.room()?;
        if self.session.imports.stub(id) {
            Ok(ImportId(id))
        } else {
            Err(ProtocolError::BadMessage(format!("[\"export\",{id}]")))
        }
    }

    fn room(&self) -> Result<(), ProtocolError> {
        let limit = self.session.limits.max_imports;
        if self.session.imports.len() >= limit {
            Err(ProtocolError::TooMany {
                what: "imports",
                limit,
            })
        } else {
            Ok(())
        }
    }

    /// What an id names, itself. Honest peers name targets as stubs and results as promises; the other way around, texts
    /// are JavaScript's.
    fn reference(&mut self, stub: bool, id: i64) -> Result<Value<Capability<T>>, ProtocolError> {
        let export = self.session.exports.get(id);
        let refusal = match export.ok_or_else(|| ProtocolError::NoSuchEntry(id.to_string()))? {
            Export::Target {
                target, sink: false, ..
            } if stub || id == 0 => {
                return Ok(Value::Capability(Capability::Target(target.clone())));
            }
            Export::Target {
                target, sink: true, ..
            } if stub => {
                return Ok(Value::Capability(Capability::Sink(target.clone())));
            }
            Export::Result { promise, .. } => {
                let promise = *promise;
                self.session.promises.acquire(promise);
                return Ok(Value::Capability(Capability::Promise(promise)));
            }
            Export::Target { sink: false, .. } => "Can't dup an RpcTarget stub as a promise.",
            Export::Target { .. } | Export::Pipe(_) => "Cannot access properties on a WritableStream stub",
        };
        let refused = self.session.promises.pending();
        self.session.settle(refused, Err(Value::error("Error", refusal)));
        Ok(Value::Capability(Capability::Promise(refused)))
    }

    fn run(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        action: Action<T>,
    ) -> Result<Value<Capability<T>>, ProtocolError> {
        let export = self.session.exports.get(id);
        let from = match export.ok_or_else(|| ProtocolError::NoSuchEntry(id.to_string()))? {
            Export::Target {
                target, sink: false, ..
            } => From::Target(target.clone()),
            Export::Target { target, .. } => From::Sink(target.clone()),
            Export::Result { promise, .. } => From::Promise(*promise),
            Export::Pipe(pipe) => From::Pipe(*pipe),
        };
        let limit = self.session.limits.max_operations;
        if self.session.promises.unsettled() >= limit {
            return Err(ProtocolError::TooMany {
                what: "operations under way",
                limit,
            });
        }
        let limit = self.session.limits.max_queued_bytes;
        if matches!(from, From::Pipe(_)) && self.session.queued_bytes.saturating_add(self.size) > limit {
            return Err(ProtocolError::TooMany {
                what: "bytes of unread stream data",
                limit,
            });
        }
        let result = self.session.promises.pending();
        let operation = Operation {
            result,
            path,
            followed: Vec::new(),
            action,
            size: self.size,
        };
        self.session.start(from, operation);
        Ok(Value::Capability(Capability::Promise(result)))
    }
}
