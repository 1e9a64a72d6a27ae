//! Where the perspective is flipped: ids in what the peer wrote are the peer's.

use super::capability::{Capability, ImportId, PipeId, Slot};
use super::exports::Export;
use super::operation::{Operation, Subject};
use super::promise::Origin;
use super::{Session, Value};
use crate::expression::Decode;
use crate::{PathKey, ProtocolError};

pub(super) struct Decoder<'a, T> {
    pub(super) session: &'a mut Session<T>,
    /// Bytes of the message, as the measure of what a stream keeps.
    pub(super) size: usize,
}

impl<T: Clone> Decode<Slot<T>> for Decoder<'_, T> {
    fn stub(&mut self, id: i64) -> Result<Value<Slot<T>>, ProtocolError> {
        self.room()?;
        if !self.session.imports.stub(ImportId(id)) {
            return Err(ProtocolError::BadMessage(format!("[\"export\",{id}]")));
        }
        Ok(Value::Capability(Slot::Given(Capability::Stub(ImportId(id)))))
    }

    fn promise(&mut self, id: i64) -> Result<Value<Slot<T>>, ProtocolError> {
        self.room()?;
        let promise = self.session.promises.pending(Origin::Anonymous);
        if !self.session.imports.promise(ImportId(id), promise) {
            let text = "Bug in RPC system: The peer sent a promise reusing an existing export ID.";
            self.session.settle(promise, Err(Value::error("Error", text)));
        }
        Ok(Value::Capability(Slot::Promise(promise)))
    }

    fn readable(&mut self, id: i64) -> Result<Value<Slot<T>>, ProtocolError> {
        let pipe = PipeId(id);
        let claimed = self.session.exports.holds_pipe(pipe)
            && self.session.pipes.get_mut(&pipe).is_some_and(|pipe| pipe.claim());
        if claimed {
            Ok(Value::Capability(Slot::Given(Capability::Readable(pipe))))
        } else {
            Err(ProtocolError::NotAPipe(id))
        }
    }

    fn own(
        &mut self,
        id: i64,
        path: Vec<PathKey>,
        args: Option<Vec<Value<Slot<T>>>>,
    ) -> Result<Value<Slot<T>>, ProtocolError> {
        let subject = match self
            .session
            .exports
            .get(id)
            .ok_or(ProtocolError::NoSuchEntry(id))?
        {
            Export::Target { target, .. } => Subject::Target(target.clone()),
            Export::Result { promise, .. } => Subject::Promise(*promise),
            Export::Pipe(pipe) => Subject::Pipe(*pipe, self.size),
        };
        if path.is_empty() && args.is_none() {
            // A reference, not a read.
            match subject {
                Subject::Target(target) => {
                    return Ok(Value::Capability(Slot::Given(Capability::Target(target))));
                }
                Subject::Promise(promise) => return Ok(Value::Capability(Slot::Promise(promise))),
                Subject::Pipe(..) => {}
            }
        }
        let limit = self.session.limits.max_operations;
        if self.session.promises.unsettled() >= limit {
            return Err(ProtocolError::TooMany {
                what: "operations under way",
                limit,
            });
        }
        let limit = self.session.limits.max_queued_bytes;
        if matches!(subject, Subject::Pipe(..)) && self.session.queued_bytes.saturating_add(self.size) > limit
        {
            return Err(ProtocolError::TooMany {
                what: "bytes of unread stream data",
                limit,
            });
        }
        let result = self.session.promises.pending(Origin::Anonymous);
        self.session.start(subject, Operation { result, path, args });
        Ok(Value::Capability(Slot::Promise(result)))
    }

    fn discard(&mut self, value: Value<Slot<T>>) {
        self.session.discard(value);
    }
}

impl<T: Clone> Decoder<'_, T> {
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
}
