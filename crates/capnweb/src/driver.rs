//! Drives one session: the only place that feeds it messages and delivers calls, so that order is what the messages say.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use capnweb_proto::{CallId, Event, PlainError, ProtocolError, Subject};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::busy_poll::BusyPoll;
use crate::core::Core;
use crate::promise::Settled;
use crate::target::{NoMain, read};
use crate::{Answer, Call, Capability, Error, Limits, SessionError, SessionOptions, Target, Text, Value};

/// Messages and answers handled in a row before what they caused is sent.
const BURST: u32 = 64;
/// How long a peer has to take our last words.
const PARTING: Duration = Duration::from_secs(2);
/// The code both sides close a WebSocket with after an abort, and after disposing the main stub.
const ABORTED: u16 = 3000;

/// What arrived.
pub(crate) enum Received {
    /// A message.
    Text(Utf8Bytes),
    /// Something that is no message.
    Garbage,
    /// A message longer than the limit, of which no more is taken.
    TooLong,
    /// The end, as the application is told of it.
    Closed(String),
}

/// A transport of whole messages.
pub(crate) trait Wire {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Received>;
    /// Whether another message may be fed. `false`: the connection is gone.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<bool>;
    fn feed(&mut self, message: String) -> bool;
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<bool>;
    /// Ends the connection; what was fed goes out before.
    fn close(&mut self, code: u16, reason: &str) -> impl Future<Output = ()> + Send;
}

pub(crate) type Running = FuturesUnordered<BoxFuture<'static, (CallId, Result<Value, Error>)>>;

enum Woke {
    Message(Received),
    Answer(CallId, Result<Value, Error>),
    Command,
    Broken,
    /// What was fed does not go out.
    Stalled,
    /// The application has been answered, and nothing else is ready.
    Answered,
}

/// Runs a session to its end.
pub(crate) async fn drive(
    core: Arc<Core>,
    mut wire: impl Wire,
    options: &SessionOptions,
) -> Result<(), SessionError> {
    let mut guard = FailOnDrop(Some(Arc::clone(&core)));
    let (ended, error, close) = pump(&core, &mut wire, options).await;
    guard.0 = None;
    core.fail(error.disconnected());
    if close.is_none() {
        // The answer to the peer's close frame, if there was one.
        let flush = std::future::poll_fn(|cx| wire.poll_flush(cx));
        let _ = tokio::time::timeout(PARTING, flush).await;
    }
    if let Some(reason) = close {
        let end = reason.floor_char_boundary(123);
        // A peer that does not read may not hold this up.
        let _ = tokio::time::timeout(PARTING, wire.close(ABORTED, &reason[..end])).await;
    }
    ended
}

/// A driver that is dropped takes its session along.
struct FailOnDrop(Option<Arc<Core>>);

impl Drop for FailOnDrop {
    fn drop(&mut self) {
        if let Some(core) = self.0.take() {
            core.fail(Error::new("Error", "RPC session was ended").disconnected());
        }
    }
}

/// How it ended, what those who wait are told, and why the connection is to be closed, if it is not.
async fn pump(
    core: &Arc<Core>,
    wire: &mut impl Wire,
    options: &SessionOptions,
) -> (Result<(), SessionError>, Error, Option<String>) {
    let mut running = Running::new();
    let mut outgoing = VecDeque::new();
    let mut unflushed = false;
    let mut burst = 0;
    let mut wake = Box::pin(core.wake.notified());
    let mut stalled = None;
    let mut busy_poll = BusyPoll::new();
    // Somebody here has got a result.
    let mut answered = false;
    let mut input = Input::Nothing;
    loop {
        let delivered = deliver(
            core,
            std::mem::replace(&mut input, Input::Nothing),
            &mut running,
            &mut answered,
        );
        let queued = match delivered {
            Ok(Delivered { shut_down: true, .. }) => {
                // What was answered before is the peer's.
                feed_rest(core, wire, &mut outgoing);
                let text = "RPC session was shut down by disposing the main stub";
                return (Ok(()), Error::new("Error", text), Some(text.into()));
            }
            Ok(Delivered { queued_bytes, .. }) => queued_bytes,
            Err(Stop::Aborted(error)) => {
                let reason = error.message();
                return (Ok(()), error, Some(reason));
            }
            Err(Stop::Fault(fault)) => {
                // Calls that came before it in the same message are not delivered any more.
                feed_rest(core, wire, &mut outgoing);
                let reason = filtered(options, &fault);
                let error = Error::new(fault.class(), fault.to_string());
                return (Err(fault.into()), error, Some(reason));
            }
        };
        let woke = std::future::poll_fn(|cx| {
            if burst < BURST {
                // A peer that does not read is not read from either, beyond a bound.
                let behind = outgoing.len() > 10_000 || queued > options.limits.max_queued_bytes;
                if !behind && let Poll::Ready(received) = wire.poll_recv(cx) {
                    burst += 1;
                    return Poll::Ready(Woke::Message(received));
                }
                if let Poll::Ready(Some((call, result))) = running.poll_next_unpin(cx) {
                    burst += 1;
                    return Poll::Ready(Woke::Answer(call, result));
                }
                if wake.as_mut().poll(cx).is_ready() {
                    wake.set(core.wake.notified());
                    burst += 1;
                    return Poll::Ready(Woke::Command);
                }
            }
            if std::mem::take(&mut answered) {
                return Poll::Ready(Woke::Answered);
            }
            // Whoever waits for answers that were settled elsewhere looks again.
            core.changed.notify_waiters();
            // Feed all there is, flush once. A flush a message costs five times as much.
            if outgoing.is_empty() {
                core.drive(|state| outgoing.extend(std::iter::from_fn(|| state.session.poll_message())));
            }
            while !outgoing.is_empty() {
                match wire.poll_ready(cx) {
                    Poll::Ready(true) => {}
                    Poll::Ready(false) => return Poll::Ready(Woke::Broken),
                    Poll::Pending => break,
                }
                if let Some(message) = outgoing.pop_front()
                    && !wire.feed(message)
                {
                    return Poll::Ready(Woke::Broken);
                }
                unflushed = true;
            }
            if unflushed {
                match wire.poll_flush(cx) {
                    Poll::Ready(true) => {
                        unflushed = false;
                        stalled = None;
                    }
                    Poll::Ready(false) => return Poll::Ready(Woke::Broken),
                    Poll::Pending => {
                        let deadline = stalled
                            .get_or_insert_with(|| Box::pin(tokio::time::sleep(options.send_deadline)));
                        if deadline.as_mut().poll(cx).is_ready() {
                            return Poll::Ready(Woke::Stalled);
                        }
                    }
                }
            }
            if std::mem::take(&mut burst) >= BURST {
                return Poll::Ready(Woke::Command);
            }
            busy_poll.pause(cx);
            Poll::Pending
        });
        let woke = woke.await;
        busy_poll.end_pause();
        input = match woke {
            Woke::Command => continue,
            // What was just answered is likely to make the application call again, so that runs first, once: then its calls
            // leave together with the releases of what they follow.
            Woke::Answered => {
                tokio::task::yield_now().await;
                continue;
            }
            Woke::Stalled => {
                let error = SessionError::Stalled(options.send_deadline);
                return (Err(error), Error::new("Error", "the peer does not read"), None);
            }
            Woke::Broken => return closed("1006 "),
            Woke::Answer(call, result) => Input::Answer(call, result),
            Woke::Message(Received::Text(text)) => Input::Message(text),
            // No message of this protocol is binary; an empty text is as wrong.
            Woke::Message(Received::Garbage) => Input::Message("".into()),
            Woke::Message(Received::TooLong) => Input::TooLong,
            Woke::Message(Received::Closed(how)) => return closed(&how),
        };
    }
}

/// Feeds all that there is to say, before the connection is closed.
fn feed_rest(core: &Core, wire: &mut impl Wire, outgoing: &mut VecDeque<String>) {
    core.drive(|state| outgoing.extend(std::iter::from_fn(|| state.session.poll_message())));
    for message in outgoing.drain(..) {
        wire.feed(message);
    }
}

fn closed(how: &str) -> (Result<(), SessionError>, Error, Option<String>) {
    let text = format!("Peer closed WebSocket: {how}");
    (Ok(()), Error::new("Error", text), None)
}

/// The close reason, past the hook on errors that are sent: it leaves the process as they do.
fn filtered(options: &SessionOptions, fault: &ProtocolError) -> String {
    let error = PlainError::new(fault.class(), fault.to_string());
    match options.on_send_error.as_ref().and_then(|hook| hook(&error)) {
        Some(replacement) => replacement.message,
        None => error.message,
    }
}

/// What the session is to be told.
pub(crate) enum Input {
    Nothing,
    Message(Utf8Bytes),
    /// A message came that was longer than the limit.
    TooLong,
    Answer(CallId, Result<Value, Error>),
}

/// What is known of the session after everything was handed on.
pub(crate) struct Delivered {
    shut_down: bool,
    /// Bytes that wait to be sent.
    queued_bytes: usize,
}

/// Why nothing more is handed on.
pub(crate) enum Stop {
    /// The peer ended the session.
    Aborted(Error),
    /// The peer broke the protocol.
    Fault(ProtocolError),
}

enum Step {
    /// With the stubs and streams among its arguments, which the peer gets back when the method has finished.
    Call(CallId, Arc<dyn Target>, Call, Vec<Capability>),
    Get(CallId, Arc<dyn Target>, Text),
    Done(Delivered),
}

/// Tells the session something and hands on everything it then has for the application, in order. `answered` becomes true
/// when somebody got a result.
///
/// The session is locked once a call: with the answer to one, the next is taken out.
pub(crate) fn deliver(
    core: &Arc<Core>,
    mut input: Input,
    running: &mut Running,
    answered: &mut bool,
) -> Result<Delivered, Stop> {
    let mut settled: Vec<Settled> = Vec::new();
    // Arguments go back to the peer after the answer, not before.
    let mut holding = Vec::new();
    loop {
        let mut opened = Vec::new();
        let step = core.drive_and_put(|state, later| {
            match std::mem::replace(&mut input, Input::Nothing) {
                Input::Nothing => {}
                Input::Message(text) => state.session.handle_message(&text).map_err(Stop::Fault)?,
                Input::TooLong => state.session.handle_too_long().map_err(Stop::Fault)?,
                Input::Answer(call, result) => {
                    let result = match result {
                        Ok(value) => Ok(core.to_wire(state, value, later)),
                        Err(error) => Err(core.to_wire(state, error.into_value(), later)),
                    };
                    state.session.answer(call, result);
                }
            }
            while let Some(event) = state.session.poll_event() {
                match event {
                    Event::Call {
                        call,
                        target,
                        followed,
                        method,
                        args,
                    } => {
                        let mut held = Vec::new();
                        let args: Vec<Value> = args
                            .into_iter()
                            .map(|arg| core.to_local_showing(arg, |handle| held.push(handle.clone())))
                            .collect();
                        let call_of = Call {
                            followed,
                            method,
                            args,
                        };
                        return Ok(Step::Call(call, target.into_target(), call_of, held));
                    }
                    Event::Get { call, target, name } => {
                        return Ok(Step::Get(call, target.into_target(), name));
                    }
                    Event::Settled { promise, result } => {
                        let outcome = match result {
                            Ok(value) => Ok(core.to_local(value)),
                            Err(error) => Err(Error::thrown(core.to_local(error))),
                        };
                        let cell = state.cells.remove(promise).and_then(|cell| cell.upgrade());
                        // Without one, the value goes, and releases what is in it.
                        settled.extend(cell.map(|cell| cell.set(outcome)));
                    }
                    Event::PipeReadable(pipe) => core.feed_reader(state, pipe),
                    Event::Opened(pipe, source) => opened.push((pipe, source)),
                    Event::WriterReady(id) => {
                        if let Some(writer) = state.writers.get(&id).and_then(std::sync::Weak::upgrade) {
                            writer.ready();
                        }
                    }
                    Event::WriterFailed(id, error) => {
                        if let Some(writer) = state.writers.get(&id).and_then(std::sync::Weak::upgrade) {
                            writer.fail(Error::thrown(core.to_local(error)));
                        }
                    }
                    Event::WriterClosed(id, result) => {
                        if let Some(writer) = state.writers.get(&id).and_then(std::sync::Weak::upgrade) {
                            match result {
                                Ok(()) => writer.close_acknowledged(),
                                Err(error) => writer.fail(Error::thrown(core.to_local(error))),
                            }
                        }
                    }
                    Event::Aborted(reason) => {
                        return Err(Stop::Aborted(Error::thrown(core.to_local(reason))));
                    }
                }
            }
            Ok(Step::Done(Delivered {
                shut_down: state.shut_down,
                queued_bytes: state.session.message_bytes(),
            }))
        });
        holding.clear();
        for (pipe, source) in opened {
            core.send_stream(pipe, source);
        }
        for settled in settled.drain(..) {
            *answered = true;
            settled.tell();
        }
        let (call, reply, held) = match step? {
            Step::Call(call, target, arguments, held) => (call, target.call(arguments), held),
            Step::Get(call, target, name) => (call, read(&target, &name), Vec::new()),
            Step::Done(delivered) => return Ok(delivered),
        };
        match reply {
            Answer::Ready(result) => {
                input = Input::Answer(call, result);
                holding.push(held);
            }
            Answer::Later(future) => {
                // Polled once here, so that what it does before it first waits is done in the order of the calls.
                let mut future: BoxFuture<'static, _> = Box::pin(async move {
                    let result = future.await;
                    drop(held);
                    (call, result)
                });
                match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready((call, result)) => input = Input::Answer(call, result),
                    Poll::Pending => running.push(future),
                }
            }
        }
    }
}

/// Maps a value that is here already.
pub(crate) async fn map_here(
    value: Value,
    captures: Vec<Value>,
    instructions: &[String],
) -> Result<Value, Error> {
    let core = Core::new(Arc::new(NoMain), Limits::default(), None);
    let promise = core.put(|state, later| {
        let promise = state.session.new_promise();
        let value = core.to_wire(state, value, later);
        state.session.settle_promise(promise, Ok(value));
        promise
    });
    let result = core.map(Subject::Promise(promise), &[], captures, instructions);
    core.with(|state| state.session.drop_result(promise));
    let options = SessionOptions::default();
    tokio::select! {
        biased;
        result = result.into_future() => result,
        _ = drive(Arc::clone(&core), Nowhere, &options) => {
            Err(Error::new("Error", "RPC session was ended"))
        }
    }
}

/// A wire that carries nothing.
struct Nowhere;

impl Wire for Nowhere {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<Received> {
        Poll::Pending
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    fn feed(&mut self, _: String) -> bool {
        true
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<bool> {
        Poll::Ready(true)
    }

    async fn close(&mut self, _: u16, _: &str) {}
}
