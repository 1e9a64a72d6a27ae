//! Streams that we send: to a pipe of ours, or to a writable of the peer.

use super::Session;
use super::capability::{Capability, Event, ImportId};
use super::flow::{Flow, Sent};
use super::imports::Import;
use super::promise::Outcome;
use crate::Value;
use crate::expression::{Encode, encode};

#[derive(Debug, Default)]
pub(super) struct Writer {
    flow: Flow,
    /// The application waits for room.
    blocked: bool,
    /// The application waits until everything is acknowledged.
    draining: bool,
    failed: bool,
    /// The message that closes or aborts it is on its way, or answered.
    ending: bool,
    /// A pipe of ours: released when its end is acknowledged.
    pipe: bool,
}

impl<T: Clone> Session<T> {
    /// Opens a stream to be sent. Its readable end goes into a value as [`Capability::Pipe`], in a later message.
    pub fn open_pipe(&mut self) -> ImportId {
        self.send("[\"pipe\"]".into());
        let id = ImportId(self.imports.add(Import::Stub { remote: 1, local: 1 }));
        let writer = Writer {
            pipe: true,
            ..Writer::default()
        };
        self.writers.insert(id, writer);
        id
    }

    /// Writes one chunk. It is sent whether there is [room](Self::has_room) or not.
    ///
    /// An error is of this value alone: nothing was sent.
    pub fn write(&mut self, id: ImportId, chunk: Value<Capability<T>>) -> Result<(), Value<Capability<T>>> {
        self.stream_message(id, "write", Some(chunk))
    }

    /// Whether a stream's window has room. When it has none, [`Event::WriterReady`] tells when it has.
    pub fn has_room(&mut self, id: ImportId) -> bool {
        let Some(writer) = self.writers.get_mut(&id) else {
            return true;
        };
        writer.blocked = !writer.flow.has_room() && !writer.failed;
        !writer.blocked
    }

    /// Whether everything written was acknowledged. When not, [`Event::WriterReady`] tells when it is.
    pub fn is_drained(&mut self, id: ImportId) -> bool {
        let Some(writer) = self.writers.get_mut(&id) else {
            return true;
        };
        writer.draining = !writer.flow.is_empty() && !writer.failed;
        !writer.draining
    }

    /// Ends a stream well. [`Event::WriterClosed`] tells when the peer has taken all of it.
    pub fn close_writer(&mut self, id: ImportId) {
        let _ = self.stream_message(id, "close", None);
    }

    /// Breaks a stream off.
    pub fn abort_writer(&mut self, id: ImportId, reason: Value<Capability<T>>) {
        if self.stream_message(id, "abort", Some(reason)).is_err() {
            let _ = self.stream_message(id, "abort", Some(Value::Undefined));
        }
    }

    fn stream_message(
        &mut self,
        id: ImportId,
        method: &str,
        argument: Option<Value<Capability<T>>>,
    ) -> Result<(), Value<Capability<T>>> {
        let Some(writer) = self.writers.get_mut(&id) else {
            return Ok(());
        };
        if writer.ending || writer.failed || self.ended {
            return Ok(());
        }
        let mut out = format!("[\"stream\",[\"pipeline\",{},[\"{method}\"],[", id.0);
        let argument = argument.map(|argument| self.take_in(argument));
        if let Some(argument) = &argument {
            let mut encoder = self.encoder(false);
            let mark = encoder.mark();
            let written = encode(argument, 1, &mut out, &mut encoder);
            if written.is_err() {
                encoder.undo(mark);
            }
            if let Err(error) = written {
                self.discard(argument.clone());
                return Err(error.to_error());
            }
        }
        out.push_str("]]]");
        let (size, now) = (out.len(), self.now);
        let Some(writer) = self.writers.get_mut(&id) else {
            self.discard(argument.unwrap_or(Value::Undefined));
            return Ok(());
        };
        writer.ending = method != "write";
        let mut sent = writer.flow.send(size, now);
        sent.ends = writer.ending;
        self.imports.add(Import::Stream { writer: id.0, sent });
        self.send(out);
        self.after_sending();
        // Not before the message that names what is in it.
        if let Some(argument) = argument {
            self.discard(argument);
        }
        Ok(())
    }

    /// The peer has taken, or refused, one message of a stream.
    pub(super) fn acknowledged(&mut self, id: ImportId, sent: Sent, outcome: Outcome<T>) {
        let now = self.now;
        let Some(writer) = self.writers.get_mut(&id) else {
            return self.discard(outcome.unwrap_or_else(|error| error));
        };
        if outcome.is_ok() {
            writer.flow.acknowledged(sent, now);
        } else {
            writer.flow.failed(sent);
        }
        let first_failure = outcome.is_err() && !writer.failed;
        writer.failed |= outcome.is_err();
        if writer.blocked && (writer.flow.has_room() || writer.failed) {
            writer.blocked = false;
            self.events.push_back(Event::WriterReady(id));
        }
        if writer.draining && (writer.flow.is_empty() || writer.failed) {
            writer.draining = false;
            self.events.push_back(Event::WriterReady(id));
        }
        let (pipe, failed) = (writer.pipe, writer.failed);
        let ended = writer.ending && sent.ends;
        match outcome {
            Err(error) => {
                if first_failure {
                    self.events.push_back(Event::WriterFailed(id, error));
                    if pipe {
                        self.release(id);
                    }
                } else {
                    self.discard(error);
                }
            }
            Ok(value) => {
                self.discard(value);
                if ended && !failed {
                    self.events.push_back(Event::WriterClosed(id, Ok(())));
                    if pipe {
                        self.release(id);
                    }
                }
            }
        }
    }

    pub(super) fn send_blob(&mut self, pipe: ImportId, bytes: Vec<u8>) {
        /// One chunk of a blob. Blobs are in memory already, so they are sent without regard to the window.
        const CHUNK: usize = 64 * 1024;
        for chunk in bytes.chunks(CHUNK) {
            let _ = self.write(pipe, Value::from(chunk.to_vec()));
        }
        self.close_writer(pipe);
    }
}
