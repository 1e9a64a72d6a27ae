//! Drives one session: the only place that touches it, so that order is what the messages say.

use std::collections::HashMap;
use std::sync::Arc;

use capnweb_proto::{CallId, Capability as Wire, Event, ImportId, PathKey, PipeId, PipeItem, Session};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use crate::stream::Next;
use crate::stub::Rejection;
use crate::{Call, CallError, Capability, Error, Limits, ReadableStream, StreamError, Stub, Target, Value};

/// What handles ask of the driver. The channel is not bounded, but what fills it is: handles come from the session's
/// tables, which are.
pub(crate) enum Command {
    Call {
        import: ImportId,
        path: Vec<PathKey>,
        args: Vec<Value>,
        answer: oneshot::Sender<Result<Value, CallError>>,
    },
    Release(ImportId),
    Read(PipeId, oneshot::Sender<Next>),
    Cancel(PipeId),
}

type WireValue = capnweb_proto::Value<Wire<Local>>;

/// A target that compares by identity.
#[derive(Clone)]
pub(crate) struct Local(pub(crate) Arc<dyn Target>);

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

impl PartialEq for Local {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Session, calls under way, and who waits for what.
pub(crate) struct Driver {
    session: Session<Local>,
    running: FuturesUnordered<BoxFuture<'static, (CallId, Result<Value, Error>)>>,
    calls: HashMap<ImportId, oneshot::Sender<Result<Value, CallError>>>,
    readers: HashMap<PipeId, oneshot::Sender<Next>>,
    commands: mpsc::UnboundedReceiver<Command>,
    /// For the handles this driver makes. Weak, so that a client's driver sees when the last handle is gone.
    handles: mpsc::WeakUnboundedSender<Command>,
}

impl Driver {
    pub(crate) fn new(main: Arc<dyn Target>, limits: Limits) -> (Self, mpsc::UnboundedSender<Command>) {
        let (sender, commands) = mpsc::unbounded_channel();
        let driver = Self {
            session: Session::new(Local(main), limits),
            running: FuturesUnordered::new(),
            calls: HashMap::new(),
            readers: HashMap::new(),
            commands,
            handles: sender.downgrade(),
        };
        (driver, sender)
    }

    pub(crate) fn remote_main(&self) -> ImportId {
        self.session.remote_main()
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.session.is_ended()
    }

    /// Takes one message and delivers what it causes.
    pub(crate) fn handle_message(&mut self, text: &str) -> Result<(), capnweb_proto::ProtocolError> {
        let handled = self.session.handle_message(text);
        self.deliver();
        handled
    }

    /// The next message to send.
    pub(crate) fn poll_message(&mut self) -> Option<String> {
        self.session.poll_message()
    }

    /// Waits for the next thing the application does: an answer or a command. `false` when every handle is gone and no
    /// call runs. Cancel safe.
    pub(crate) async fn step(&mut self) -> bool {
        tokio::select! {
            Some((call, result)) = self.running.next() => {
                let result = result.map(to_wire).map_err(to_wire);
                self.session.answer(call, result);
            }
            command = self.commands.recv() => match command {
                Some(command) => self.command(command),
                None => return false,
            },
        }
        self.deliver();
        true
    }

    /// Ends the session: whoever waits is told why.
    pub(crate) fn fail(&mut self, why: &str) {
        for (_, answer) in self.calls.drain() {
            let _ = answer.send(Err(CallError::Disconnected(why.to_owned())));
        }
        for (_, reader) in self.readers.drain() {
            let _ = reader.send(Err(StreamError::Disconnected));
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Call {
                import,
                path,
                args,
                answer,
            } => {
                let args: Vec<WireValue> = args.into_iter().map(to_wire).collect();
                match self.session.call(import, &path, Some(&args)) {
                    Ok(call) => {
                        self.calls.insert(call, answer);
                    }
                    Err(error) => {
                        let error = self.to_local(capnweb_proto::Value::Error(Box::new(error)));
                        let _ = answer.send(Err(CallError::Rejected(Rejection(error))));
                    }
                }
            }
            Command::Release(import) => self.session.release(import),
            Command::Read(pipe, answer) => {
                self.readers.insert(pipe, answer);
                self.feed_reader(pipe);
            }
            Command::Cancel(pipe) => {
                self.session.cancel_pipe(
                    pipe,
                    "ReadableStream RPC stub was disposed without being consumed",
                );
            }
        }
    }

    /// Hands on everything the session has for the application, in order.
    fn deliver(&mut self) {
        while let Some(event) = self.session.poll_event() {
            match event {
                Event::Call {
                    call,
                    target,
                    path,
                    args,
                } => {
                    // The call is entered here, before anything else is looked at; only its future runs on.
                    let answer = match args {
                        Some(args) => {
                            let args = args.into_iter().map(|arg| self.to_local(arg)).collect();
                            target.0.call(Call { path, args })
                        }
                        None => target.0.get(&path),
                    };
                    self.running.push(Box::pin(async move { (call, answer.await) }));
                }
                Event::Settled { import, result } => {
                    let result = match result {
                        Ok(value) => Ok(self.to_local(value)),
                        Err(error) => Err(CallError::Rejected(Rejection(self.to_local(error)))),
                    };
                    if let Some(answer) = self.calls.remove(&import) {
                        // A dropped caller drops the value, which releases what is in it.
                        let _ = answer.send(result);
                    }
                }
                Event::PipeReadable(pipe) => self.feed_reader(pipe),
                Event::Aborted(reason) => {
                    let reason = self.to_local(reason);
                    for (_, answer) in self.calls.drain() {
                        let _ = answer.send(Err(CallError::Rejected(Rejection(reason.clone()))));
                    }
                    self.fail("the peer aborted it");
                }
            }
        }
    }

    fn feed_reader(&mut self, pipe: PipeId) {
        if !self.readers.contains_key(&pipe) {
            return;
        }
        let Some(item) = self.session.read_pipe(pipe) else {
            return;
        };
        let next = match item {
            PipeItem::Chunk(value) => Ok(Some(self.to_local(value))),
            PipeItem::End => Ok(None),
            PipeItem::Failed(value) => Err(StreamError::Aborted(Box::new(self.to_local(value)))),
        };
        if let Some(reader) = self.readers.remove(&pipe) {
            let _ = reader.send(next);
        }
    }

    /// Wraps ids into handles, which give them back when they are dropped.
    fn to_local(&self, value: WireValue) -> Value {
        let handles = self.handles.upgrade();
        let local = value.try_map::<_, std::convert::Infallible>(&mut |capability| {
            Ok(match (capability, &handles) {
                (Wire::Target(target), _) => Value::Capability(Capability::Target(target.0)),
                (Wire::Stub(id), Some(handles)) => {
                    Value::Capability(Capability::Stub(Stub::new(id, handles.clone())))
                }
                (Wire::Readable(id), Some(handles)) => {
                    Value::Capability(Capability::Readable(ReadableStream::new(id, handles.clone())))
                }
                // Nobody is left who could use or release it; the session is about to end.
                (_, None) => Value::Undefined,
            })
        });
        match local {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }
}

/// Handles to ids. The session takes its own reference of a stub when it encodes one, so the handle may go.
fn to_wire(value: Value) -> WireValue {
    let wire = value.try_map::<_, std::convert::Infallible>(&mut |capability| {
        Ok(capnweb_proto::Value::Capability(match capability {
            Capability::Target(target) => Wire::Target(Local(target)),
            Capability::Stub(stub) => Wire::Stub(stub.import()),
            Capability::Readable(stream) => Wire::Readable(stream.pipe()),
        }))
    });
    match wire {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
