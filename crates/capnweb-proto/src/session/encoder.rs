//! How capabilities are written: what the peer has goes home, everything else is exported.

use super::capability::{Capability, Event, ImportId, Subject};
use super::promise::Dependent;
use super::{PlainError, Session};
use crate::expression::{Encode, Unwritable, write_path};
use crate::{Blob, ErrorValue, Value};

pub(super) struct Encoder<'a, T> {
    session: &'a mut Session<T>,
    /// Stubs in something thrown have no owner and are left out.
    thrown: bool,
    /// Exports made, to be taken back.
    made: Vec<i64>,
}

impl<T: Clone> Session<T> {
    pub(super) fn encoder(&mut self, thrown: bool) -> Encoder<'_, T> {
        Encoder {
            session: self,
            thrown,
            made: Vec::new(),
        }
    }

    /// What follows a message that was sent: promises in it that are settled already are answered.
    pub(super) fn after_sending(&mut self) {
        while let Some(id) = self.answer_next.pop() {
            self.answer_if_pulled(id);
        }
        for (pipe, bytes) in std::mem::take(&mut self.blobs_to_send) {
            self.send_blob(pipe, bytes);
        }
    }
}

impl<T: Clone> Encode<Capability<T>> for Encoder<'_, T> {
    fn capability(&mut self, out: &mut String, slot: &Capability<T>) -> Result<(), Unwritable> {
        use std::fmt::Write;
        if self.thrown {
            return Err(Unwritable::new("Can't serialize RPC stubs in this context."));
        }
        // Writing to a String cannot fail.
        let _ = match slot {
            Capability::Target(target) => {
                let id = self.session.exports.target(target.clone(), false);
                self.made.push(id);
                write!(out, "[\"export\",{id}]")
            }
            Capability::Sink(target) => {
                let id = self.session.exports.target(target.clone(), true);
                self.made.push(id);
                write!(out, "[\"writable\",{id}]")
            }
            Capability::Stub(id) | Capability::Writable(id) => {
                write!(out, "[\"import\",{}]", id.0)
            }
            Capability::Source(source) => {
                let id = self.session.open_pipe();
                self.session.events.push_back(Event::Opened(id, source.clone()));
                write!(out, "[\"readable\",{}]", id.0)
            }
            Capability::Pipe(id) => write!(out, "[\"readable\",{}]", id.0),
            Capability::Property(property) => {
                let (subject, path) = &**property;
                let id = match subject {
                    Subject::Stub(id) => Some(id.0),
                    Subject::Promise(id) => self.session.promises.get(*id).and_then(|entry| entry.backing),
                };
                let Some(id) = id else {
                    return Err(Unwritable::new("the result this is a property of is gone"));
                };
                let written = write!(out, "[\"pipeline\",{id},");
                write_path(out, path);
                out.push(']');
                written
            }
            Capability::Promise(promise) => {
                let promise = *promise;
                let entry = self.session.promises.get_mut(promise);
                let backing = entry.as_ref().and_then(|entry| entry.backing);
                if let Some(import) = backing {
                    write!(out, "[\"pipeline\",{import}]")
                } else {
                    self.session.promises.acquire(promise);
                    let id = self.session.exports.promise(promise);
                    self.made.push(id);
                    match self.session.promises.get_mut(promise) {
                        Some(entry) if entry.outcome.is_none() => {
                            entry.dependents.push(Dependent::Export(id));
                        }
                        _ => self.session.answer_next.push(id),
                    }
                    write!(out, "[\"promise\",{id}]")
                }
            }
            // A stream that is being read goes nowhere else.
            Capability::Readable(_) => {
                return Err(Unwritable::kind(
                    "Cannot serialize value: a stream that the peer sends; read it and send another",
                ));
            }
        };
        Ok(())
    }

    fn blob(&mut self, out: &mut String, blob: &Blob) -> Result<(), Unwritable> {
        let pipe: ImportId = self.session.open_pipe();
        out.push_str("[\"blob\",");
        crate::json::write_string(out, &blob.media_type);
        out.push_str(&format!(",[\"readable\",{}]]", pipe.0));
        self.session.blobs_to_send.push((pipe, blob.bytes.clone()));
        Ok(())
    }

    fn rewrite(&mut self, error: &ErrorValue<Capability<T>>) -> Option<ErrorValue<Capability<T>>> {
        let hook = self.session.on_send_error.as_ref()?;
        let plain: PlainError = error.clone().map(&mut |_| Value::Undefined);
        Some(hook(&plain)?.map(&mut |never| match never {}))
    }

    fn mark(&self) -> usize {
        self.made.len()
    }

    fn undo(&mut self, mark: usize) {
        for id in self.made.drain(mark..) {
            if let Some(super::Export::Result { promise, .. }) = self.session.exports.remove(id) {
                self.session.drop_promise(promise);
            }
            self.session.answer_next.retain(|waiting| *waiting != id);
        }
    }
}
