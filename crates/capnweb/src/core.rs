//! One session as its handles and its driver share it.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use capnweb_proto::{
    Capability as Wire, ImportId, PipeId, PipeItem, PromiseId, PromiseMap, Session, Subject,
};
use hashbrown::HashMap;
use tokio::sync::{Notify, oneshot};

use crate::promise::{Base, Cell};
use crate::stream::{Next, Writer, pump};
use crate::target::NoMain;
use crate::{Capability, Error, Limits, Promise, ReadableStream, Stub, Target, Value, WritableStream};

pub(crate) type WireValue = capnweb_proto::Value<Wire<Local>>;

// So that values are turned from one into the other where they lie, without an allocation.
const _: () = assert!(size_of::<WireValue>() == size_of::<Value>());

/// A target that compares by identity.
///
/// Dropping one may run code of the application, which may use this very session. So while a session is locked, those
/// that go are kept aside until it is not.
#[derive(Clone)]
pub(crate) struct Local(Option<Arc<dyn Target>>);

thread_local! {
    /// Targets to drop, while this thread holds a session's lock.
    static ASIDE: RefCell<Option<Vec<Arc<dyn Target>>>> = const { RefCell::new(None) };
}

impl Local {
    pub(crate) fn new(target: Arc<dyn Target>) -> Self {
        Self(Some(target))
    }

    pub(crate) fn into_target(mut self) -> Arc<dyn Target> {
        self.0.take().unwrap_or_else(|| Arc::new(NoMain))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if self.0.is_some() {
            ASIDE.with_borrow_mut(|aside| {
                if let Some(aside) = aside {
                    aside.extend(self.0.take());
                }
            });
        }
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Local")
    }
}

impl PartialEq for Local {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// What a handle that is dropped gives back. Kept in a list of its own: handles are dropped anywhere, also where the
/// session is locked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dropped {
    Promise(PromiseId),
    Import(ImportId),
    Pipe(PipeId),
    /// The client's main stub, and with it the session.
    Main,
}

pub(crate) struct Core {
    state: Mutex<State>,
    dropped: Mutex<Vec<Dropped>>,
    /// Whether that list has anything: most uses of the session find that it has not.
    any_dropped: AtomicBool,
    /// The driver has something to do.
    pub(crate) wake: Notify,
    /// Something was answered, or the session broke.
    pub(crate) changed: Notify,
    clock: Instant,
}

pub(crate) type OnBroken = Box<dyn FnOnce(&Error) + Send>;

pub(crate) struct State {
    pub(crate) session: Session<Local>,
    pub(crate) cells: PromiseMap<Weak<Cell>>,
    pub(crate) readers: HashMap<PipeId, oneshot::Sender<Next>>,
    pub(crate) writers: HashMap<ImportId, Weak<Writer>>,
    pub(crate) broken: Option<Error>,
    pub(crate) in_flight_at_end: usize,
    /// The application ended the session.
    pub(crate) shut_down: bool,
    on_broken: BTreeMap<u64, OnBroken>,
    next_on_broken: u64,
}

impl State {
    pub(crate) fn pending_cells(&self) -> usize {
        self.cells.values().filter(|cell| cell.strong_count() > 0).count()
    }
}

/// What is to be done once the session is unlocked.
#[derive(Default)]
pub(crate) struct Later {
    /// Promises of elsewhere whose results the session needs.
    pulls: Vec<(Promise, PromiseId)>,
    /// References that were needed until the message was written.
    promises: Vec<PromiseId>,
}

impl Later {
    /// Uses the session, and gives up what was needed only until then.
    fn used<R>(state: &mut State, use_it: impl FnOnce(&mut State, &mut Self) -> R) -> (R, Self) {
        let mut later = Self::default();
        let result = use_it(state, &mut later);
        for promise in later.promises.drain(..) {
            state.session.drop_result(promise);
        }
        (result, later)
    }
}

impl Core {
    pub(crate) fn new(
        main: Arc<dyn Target>,
        limits: Limits,
        on_send_error: Option<capnweb_proto::OnSendError>,
    ) -> Arc<Self> {
        let nothing = (&*main as &dyn Any).is::<NoMain>();
        let mut session = Session::new(Local::new(main), limits);
        if nothing {
            session.refuse_main(WireValue::error("Error", NoMain::TEXT));
        }
        if let Some(hook) = on_send_error {
            session.on_send_error(hook);
        }
        Arc::new(Self {
            state: Mutex::new(State {
                session,
                cells: PromiseMap::default(),
                readers: HashMap::new(),
                writers: HashMap::new(),
                broken: None,
                in_flight_at_end: 0,
                shut_down: false,
                on_broken: BTreeMap::new(),
                next_on_broken: 0,
            }),
            dropped: Mutex::new(Vec::new()),
            any_dropped: AtomicBool::new(false),
            wake: Notify::new(),
            changed: Notify::new(),
            clock: Instant::now(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the application's cannot happen in here: none of its code runs under the lock.
        let mut state = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        // What is added after this look wakes the driver, which looks again.
        if !self.any_dropped.swap(false, Ordering::AcqRel) {
            return state;
        }
        let dropped = std::mem::take(
            &mut *self
                .dropped
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        for dropped in dropped {
            match dropped {
                Dropped::Promise(id) => {
                    state.cells.remove(id);
                    state.session.drop_result(id);
                }
                Dropped::Import(id) => {
                    state.writers.remove(&id);
                    state.session.release(id);
                }
                Dropped::Pipe(id) => {
                    let text = "ReadableStream RPC stub was disposed without being consumed";
                    state.session.cancel_pipe(id, &WireValue::error("Error", text));
                }
                Dropped::Main => state.shut_down = true,
            }
        }
        state
    }

    /// Uses the session. Targets that it lets go of are dropped once it is unlocked, and the driver is woken if there is
    /// something to send or deliver.
    pub(crate) fn with<R>(&self, use_it: impl FnOnce(&mut State) -> R) -> R {
        let (result, aside) = self.with_aside(use_it);
        drop(aside);
        result
    }

    fn with_aside<R>(&self, use_it: impl FnOnce(&mut State) -> R) -> (R, Vec<Arc<dyn Target>>) {
        let outer = ASIDE.replace(Some(Vec::new()));
        let mut state = self.lock();
        let result = use_it(&mut state);
        let busy = state.session.has_output() || state.shut_down;
        drop(state);
        let aside = ASIDE.replace(outer);
        if busy {
            self.wake.notify_one();
        }
        (result, aside.unwrap_or_default())
    }

    /// As [`with`](Self::with), by the driver, which needs no waking.
    pub(crate) fn drive<R>(&self, use_it: impl FnOnce(&mut State) -> R) -> R {
        let outer = ASIDE.replace(Some(Vec::new()));
        let mut state = self.lock();
        if state.session.needs_time() {
            state
                .session
                .set_time(self.clock.elapsed().as_secs_f64() * 1000.0);
        }
        let result = use_it(&mut state);
        drop(state);
        drop(ASIDE.replace(outer));
        result
    }

    /// As [`drive`](Self::drive), for whatever puts values into the session.
    pub(crate) fn drive_and_put<R>(self: &Arc<Self>, use_it: impl FnOnce(&mut State, &mut Later) -> R) -> R {
        let (result, later) = self.drive(|state| Later::used(state, use_it));
        self.finish(later);
        result
    }

    /// As [`with`](Self::with), for whatever puts values into the session.
    pub(crate) fn put<R>(self: &Arc<Self>, use_it: impl FnOnce(&mut State, &mut Later) -> R) -> R {
        let (result, later) = self.with(|state| Later::used(state, use_it));
        self.finish(later);
        result
    }

    pub(crate) fn finish(self: &Arc<Self>, later: Later) {
        for (other, promise) in later.pulls {
            let core = Arc::clone(self);
            other.read_here().when_settled(move |result| {
                let result = match result {
                    Ok(value) => Ok(value.clone()),
                    Err(error) => Err(error.value().clone()),
                };
                core.put(|state, later| {
                    let result = match result {
                        Ok(value) => Ok(core.to_wire(state, value, later)),
                        Err(error) => Err(core.to_wire(state, error, later)),
                    };
                    state.session.settle_promise(promise, result);
                });
            });
        }
    }

    /// Gives something back when its handle is dropped.
    pub(crate) fn give_back(&self, dropped: Dropped) {
        self.dropped
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(dropped);
        self.any_dropped.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Calls, reads or (in `instructions`) maps something of the peer's or of this session's.
    pub(crate) fn operate(
        self: &Arc<Self>,
        subject: Subject,
        path: &[crate::PathKey],
        args: Option<Vec<Value>>,
    ) -> Promise {
        let mut args = Some(args);
        self.operate_if(|_| true, subject, path, &mut args)
            .unwrap_or_else(|| Promise::settled(Ok(Value::Undefined)))
    }

    /// As [`operate`](Self::operate), if that is still what to do. `args` are taken only then.
    pub(crate) fn operate_if(
        self: &Arc<Self>,
        condition: impl FnOnce(&State) -> bool,
        subject: Subject,
        path: &[crate::PathKey],
        args: &mut Option<Option<Vec<Value>>>,
    ) -> Option<Promise> {
        self.put(|state, later| {
            if let Some(error) = &state.broken {
                return Some(Promise::settled(Err(error.clone())));
            }
            if !condition(state) {
                return None;
            }
            let args = args.take().flatten().map(|args| {
                args.into_iter()
                    .map(|arg| self.to_wire(state, arg, later))
                    .collect()
            });
            let id = state.session.call(subject, path, args);
            Some(self.promise(state, id))
        })
    }

    pub(crate) fn map(
        self: &Arc<Self>,
        subject: Subject,
        path: &[crate::PathKey],
        captures: Vec<Value>,
        instructions: &[String],
    ) -> Promise {
        self.put(|state, later| {
            if let Some(error) = &state.broken {
                return Promise::settled(Err(error.clone()));
            }
            let captures = captures
                .into_iter()
                .map(|capture| self.to_wire(state, capture, later))
                .collect();
            let id = state.session.map(subject, path, captures, instructions);
            self.promise(state, id)
        })
    }

    fn promise(self: &Arc<Self>, state: &mut State, id: PromiseId) -> Promise {
        let cell = Cell::remote(Arc::clone(self), id);
        state.cells.insert(id, Arc::downgrade(&cell));
        Promise::of(cell)
    }

    pub(crate) fn writer(self: &Arc<Self>, id: ImportId) -> Arc<Writer> {
        self.with(|state| {
            if let Some(writer) = state.writers.get(&id).and_then(Weak::upgrade) {
                return writer;
            }
            let writer = Arc::new(Writer::new(Arc::clone(self), id));
            if let Some(error) = &state.broken {
                writer.fail(error.clone());
            }
            state.writers.insert(id, Arc::downgrade(&writer));
            writer
        })
    }

    /// Wraps ids into handles, which give them back when they are dropped.
    pub(crate) fn to_local(self: &Arc<Self>, value: WireValue) -> Value {
        self.to_local_showing(value, |_| {})
    }

    /// As [`to_local`](Self::to_local); `show` sees every handle.
    pub(crate) fn to_local_showing(
        self: &Arc<Self>,
        value: WireValue,
        mut show: impl FnMut(&Capability),
    ) -> Value {
        value.map(&mut |capability| {
            let local = match capability {
                Wire::Target(target) => Capability::Stub(Stub::local(target.into_target())),
                Wire::Sink(target) => Capability::Writable(WritableStream::home(target.into_target())),
                Wire::Stub(id) => Capability::Stub(Stub::remote(Arc::clone(self), id)),
                Wire::Writable(id) => Capability::Writable(WritableStream::remote(Arc::clone(self), id)),
                Wire::Readable(id) => Capability::Readable(ReadableStream::remote(Arc::clone(self), id)),
                // The session does not hand these out.
                Wire::Source(_) | Wire::Pipe(_) | Wire::Promise(_) | Wire::Property(..) => {
                    return Value::Undefined;
                }
            };
            show(&local);
            Value::Capability(local)
        })
    }

    /// Handles to ids. What is not of this session is exported.
    pub(crate) fn to_wire(self: &Arc<Self>, state: &mut State, value: Value, later: &mut Later) -> WireValue {
        value.map(&mut |capability| match capability {
            Capability::Stub(stub) => WireValue::Capability(match stub.import_of(self) {
                Some(id) => Wire::Stub(id),
                None => Wire::Target(Local::new(stub.into_target())),
            }),
            // One that the peer sends as well: the protocol has no way to send a stream home, so it passes through.
            Capability::Readable(stream) => WireValue::Capability(Wire::Source(Local::new(Arc::new(stream)))),
            Capability::Writable(stream) => WireValue::Capability(match stream.import_of(self) {
                Some(id) => Wire::Writable(id),
                None => Wire::Sink(Local::new(stream.into_target())),
            }),
            Capability::Promise(promise) => self.promise_to_wire(state, *promise, later),
        })
    }

    fn promise_to_wire(
        self: &Arc<Self>,
        state: &mut State,
        promise: Promise,
        later: &mut Later,
    ) -> WireValue {
        match (&promise.base, promise.path.as_slice()) {
            (Base::Stub(stub), path) => {
                if let Some(id) = stub.import_of(self) {
                    return WireValue::Capability(Wire::Property(Box::new((
                        Subject::Stub(id),
                        path.to_vec(),
                    ))));
                }
            }
            (Base::Cell(cell), path) if cell.is_pending_in(self) => {
                return WireValue::Capability(match path {
                    [] => Wire::Promise(cell.id()),
                    path => Wire::Property(Box::new((Subject::Promise(cell.id()), path.to_vec()))),
                });
            }
            (Base::Cell(cell), []) => {
                if let Some(value) = cell.value() {
                    return self.to_wire(state, value, later);
                }
            }
            (Base::Cell(_), _) | (Base::Variable(_), _) => {}
        }
        // Of elsewhere, or to be walked here: exported, and settled once it is known.
        let id = state.session.new_promise();
        later.promises.push(id);
        later.pulls.push((promise, id));
        WireValue::Capability(Wire::Promise(id))
    }

    /// Sends a stream of ours, now that the message that names it is on its way.
    pub(crate) fn send_stream(self: &Arc<Self>, pipe: ImportId, source: Local) {
        let source: Arc<dyn Any + Send + Sync> = source.into_target();
        // Nothing else is made a source.
        if let Ok(stream) = source.downcast::<ReadableStream>() {
            let writer = self.writer(pipe);
            tokio::spawn(pump(ReadableStream::clone(&stream), writer));
        }
    }

    /// Hands a reader what has come, if both are there.
    pub(crate) fn feed_reader(self: &Arc<Self>, state: &mut State, pipe: PipeId) {
        let Some(reader) = state.readers.remove(&pipe) else {
            return;
        };
        if reader.is_closed() {
            // The reader gave up; what has come is for the next one.
            return;
        }
        let next = match state.session.read_pipe(pipe) {
            None => {
                state.readers.insert(pipe, reader);
                return;
            }
            Some(PipeItem::Chunk(value)) => Ok(Some(self.to_local(value))),
            Some(PipeItem::End) => Ok(None),
            Some(PipeItem::Failed(value)) => Err(Error::thrown(self.to_local(value))),
        };
        // Dropped with the value in it if the reader has just gone.
        let _ = reader.send(next);
    }

    /// Ends the session here: callbacks run in the order they were registered, then whoever waits is told, then what was
    /// exported goes.
    pub(crate) fn fail(&self, error: Error) {
        let (taken, aside) = self.with_aside(|state| {
            if state.broken.is_some() {
                return None;
            }
            state.broken = Some(error.clone());
            state.in_flight_at_end = state.pending_cells();
            state.session.shut_down();
            Some((
                std::mem::take(&mut state.on_broken),
                std::mem::take(&mut state.cells),
                std::mem::take(&mut state.readers),
                std::mem::take(&mut state.writers),
            ))
        });
        let Some((callbacks, cells, readers, writers)) = taken else {
            return;
        };
        for callback in callbacks.into_values() {
            // A callback that panics is the application's own affair; the session has to be taken down all the same.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| callback(&error)));
        }
        for cell in cells.into_values() {
            if let Some(cell) = cell.upgrade() {
                cell.settle(Err(error.clone()));
            }
        }
        for (_, reader) in readers {
            let _ = reader.send(Err(error.clone()));
        }
        for (_, writer) in writers {
            if let Some(writer) = writer.upgrade() {
                writer.fail(error.clone());
            }
        }
        drop(aside);
        self.changed.notify_waiters();
    }

    pub(crate) fn on_broken(self: &Arc<Self>, callback: OnBroken) -> Registration {
        let registered = self.with(|state| match &state.broken {
            Some(error) => Err((error.clone(), callback)),
            None => {
                let id = state.next_on_broken;
                state.next_on_broken += 1;
                state.on_broken.insert(id, callback);
                Ok(id)
            }
        });
        match registered {
            Ok(id) => Registration(Registered::Session(Arc::downgrade(self), id)),
            Err((error, callback)) => {
                callback(&error);
                Registration::default()
            }
        }
    }
}

/// An on-broken callback that is registered. Dropping it takes the callback back.
#[derive(Default)]
#[must_use = "the callback is taken back when this is dropped"]
pub struct Registration(Registered);

#[derive(Default)]
enum Registered {
    /// It has run, or is to stay.
    #[default]
    No,
    Session(Weak<Core>, u64),
    Promise(Arc<Slot>),
}

/// A callback that waits for a promise, and then for what that resolved to.
pub(crate) struct Slot(Mutex<Option<OnBroken>>);

impl Slot {
    pub(crate) fn new(callback: OnBroken) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(callback))))
    }

    pub(crate) fn take(&self) -> Option<OnBroken> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
    }
}

impl Registration {
    pub(crate) fn of_promise(slot: Arc<Slot>) -> Self {
        Self(Registered::Promise(slot))
    }

    /// Leaves the callback registered for the life of the session.
    pub fn forget(mut self) {
        self.0 = Registered::No;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        match std::mem::take(&mut self.0) {
            Registered::No => {}
            Registered::Session(core, id) => {
                if let Some(core) = core.upgrade() {
                    // Dropped outside of the lock: it is the application's.
                    let callback = core.with(|state| state.on_broken.remove(&id));
                    drop(callback);
                }
            }
            Registered::Promise(slot) => drop(slot.take()),
        }
    }
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registration")
    }
}
