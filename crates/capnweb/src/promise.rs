//! Results that may not be there yet.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use capnweb_proto::{PathKey, PromiseId, Reached, Subject, show_path};

use crate::core::{Core, Dropped, Registration, Slot};
use crate::map::{self, Variable};
use crate::stub::Stub;
use crate::{Answer, Capability, Error, Value};

type Outcome = Result<Value, Error>;
type Callback = Box<dyn FnOnce(&Outcome) + Send>;

/// The result of a call or read, there or not.
///
/// Awaiting it asks the peer for the value. Not awaiting it costs no answer: calls and reads on it are *pipelined*, sent
/// at once and carried out where the result is, and it may be passed as an argument. Clones share the result. Dropping the
/// last one before it was answered releases the result at the peer; the call itself is not cancelled.
///
/// A property read ([`get`](Self::get)) sends nothing by itself either.
#[derive(Clone)]
pub struct Promise {
    pub(crate) base: Base,
    pub(crate) path: Vec<PathKey>,
}

#[derive(Clone)]
pub(crate) enum Base {
    Cell(Arc<Cell>),
    /// A property of a stub that was not read yet.
    Stub(Stub),
    /// The placeholder of a map that is being recorded.
    Variable(Variable),
}

impl std::fmt::Debug for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Promise")
    }
}

/// Where the result will be.
pub(crate) struct Cell {
    origin: Option<(Arc<Core>, PromiseId)>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<Outcome>,
    pulled: bool,
    wakers: Vec<Waker>,
    callbacks: Vec<Callback>,
}

/// Who is to be told, once no lock is held.
#[must_use]
pub(crate) struct Settled(Arc<Cell>, Vec<Waker>, Vec<Callback>);

impl Settled {
    pub(crate) fn tell(self) {
        let Self(cell, wakers, callbacks) = self;
        wakers.into_iter().for_each(Waker::wake);
        if !callbacks.is_empty()
            && let Some(outcome) = cell.outcome()
        {
            for callback in callbacks {
                callback(&outcome);
            }
        }
    }
}

impl Cell {
    pub(crate) fn remote(core: Arc<Core>, id: PromiseId) -> Arc<Self> {
        Arc::new(Self {
            origin: Some((core, id)),
            state: Mutex::default(),
        })
    }

    fn local() -> Arc<Self> {
        Arc::new(Self {
            origin: None,
            state: Mutex::default(),
        })
    }

    pub(crate) fn settled(outcome: Outcome) -> Arc<Self> {
        let cell = Self::local();
        cell.lock().outcome = Some(outcome);
        cell
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn id(&self) -> PromiseId {
        // Asked only of cells that are pending in a session.
        self.origin.as_ref().map_or(PromiseId::NONE, |(_, id)| *id)
    }

    pub(crate) fn is_pending_in(&self, core: &Arc<Core>) -> bool {
        let here = self
            .origin
            .as_ref()
            .is_some_and(|(origin, _)| Arc::ptr_eq(origin, core));
        here && self.lock().outcome.is_none()
    }

    pub(crate) fn outcome(&self) -> Option<Outcome> {
        self.lock().outcome.clone()
    }

    pub(crate) fn value(&self) -> Option<Value> {
        match &self.lock().outcome {
            Some(Ok(value)) => Some(value.clone()),
            _ => None,
        }
    }

    /// Stores the outcome. What this returns is to be told without a lock.
    pub(crate) fn set(self: Arc<Self>, outcome: Outcome) -> Settled {
        let mut state = self.lock();
        state.outcome.get_or_insert(outcome);
        let (wakers, callbacks) = (
            std::mem::take(&mut state.wakers),
            std::mem::take(&mut state.callbacks),
        );
        drop(state);
        Settled(self, wakers, callbacks)
    }

    pub(crate) fn settle(self: Arc<Self>, outcome: Outcome) {
        self.set(outcome).tell();
    }

    /// Runs a callback once the result is there, and asks for it.
    pub(crate) fn when_settled(self: &Arc<Self>, callback: impl FnOnce(&Outcome) + Send + 'static) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.callbacks.push(Box::new(callback));
            drop(state);
            return self.pull();
        }
        drop(state);
        if let Some(outcome) = self.outcome() {
            callback(&outcome);
        }
    }

    fn pull(&self) {
        let Some((core, id)) = &self.origin else { return };
        let first = {
            let mut state = self.lock();
            state.outcome.is_none() && !std::mem::replace(&mut state.pulled, true)
        };
        if first {
            core.with(|state| state.session.pull(*id));
        }
    }

    /// A call or read on the result.
    fn operate(self: &Arc<Self>, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Promise {
        if let Some(outcome) = self.outcome() {
            return on_outcome(outcome, path, args);
        }
        let Some((core, id)) = &self.origin else {
            let cell = Arc::clone(self);
            return Promise::spawn(async move {
                let outcome = Wait(cell).await;
                on_outcome(outcome, path, args).await
            });
        };
        // It may have been settled meanwhile; the session has forgotten it then.
        let mut given = Some(args);
        let sent = core.operate_if(
            |_| self.lock().outcome.is_none(),
            Subject::Promise(*id),
            &path,
            &mut given,
        );
        sent.unwrap_or_else(|| {
            let outcome = self
                .outcome()
                .unwrap_or_else(|| Err(Error::new("Error", "the result is gone")));
            on_outcome(outcome, path, given.flatten())
        })
    }

    fn map(self: &Arc<Self>, path: &[PathKey], captures: Vec<Value>, instructions: Vec<String>) -> Promise {
        if let Some((core, id)) = &self.origin
            && self.is_pending_in(core)
        {
            return core.map(Subject::Promise(*id), path, captures, &instructions);
        }
        let (cell, path) = (Arc::clone(self), path.to_vec());
        Promise::spawn(async move {
            let value = on_outcome(Wait(cell).await, path, None).await?;
            crate::driver::map_here(value, captures, &instructions).await
        })
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        if let Some((core, id)) = &self.origin
            && self.lock().outcome.is_none()
        {
            core.give_back(Dropped::Promise(*id));
        }
    }
}

/// Carries on where a result led.
fn on_outcome(outcome: Outcome, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Promise {
    let value = match outcome {
        Ok(value) => value,
        Err(error) => return Promise::settled(Err(error)),
    };
    let failed = |text: String| Promise::settled(Err(Error::new("TypeError", text)));
    match (value.walk(&path), args) {
        (Reached::Capability(found, []), None) => Promise::settled(Ok(Value::Capability(found.clone()))),
        (Reached::Capability(Capability::Stub(stub), rest), args) => stub.operate(rest.to_vec(), args),
        (Reached::Capability(Capability::Promise(promise), rest), args) => {
            let mut path = promise.path.clone();
            path.extend_from_slice(rest);
            promise.operate(path, args)
        }
        (Reached::Value(value), None) => Promise::settled(Ok(value.clone())),
        (Reached::Undefined, None) | (Reached::Capability(..), None) => {
            Promise::settled(Ok(Value::Undefined))
        }
        (Reached::Nowhere(key), _) => {
            failed(format!("Cannot read properties of undefined (reading '{key}')"))
        }
        (_, Some(_)) => failed(format!("'{}' is not a function.", show_path(&path))),
    }
}

impl Promise {
    pub(crate) fn of(cell: Arc<Cell>) -> Self {
        Self {
            base: Base::Cell(cell),
            path: Vec::new(),
        }
    }

    pub(crate) fn variable(variable: Variable) -> Self {
        Self {
            base: Base::Variable(variable),
            path: Vec::new(),
        }
    }

    pub(crate) fn settled(outcome: Outcome) -> Self {
        Self::of(Cell::settled(outcome))
    }

    /// A promise that has resolved. A value can be called like a result: what its members are, stubs or data, decides.
    pub fn resolved(value: impl Into<Value>) -> Self {
        Self::settled(Ok(value.into()))
    }

    /// A promise for a future of your own, which runs as a task of the current tokio runtime. It can be put into arguments
    /// and results before it is done.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn spawn(future: impl Future<Output = Outcome> + Send + 'static) -> Self {
        let cell = Cell::local();
        let settled = Arc::clone(&cell);
        tokio::spawn(async move { settled.settle(future.await) });
        Self::of(cell)
    }

    pub(crate) fn answer(answer: Answer) -> Self {
        match answer {
            Answer::Ready(outcome) => Self::settled(outcome),
            Answer::Later(future) => Self::spawn(future),
        }
    }

    /// Calls a method of the result.
    pub fn call(&self, method: &str, args: impl IntoIterator<Item = Value>) -> Self {
        let mut path = self.path.clone();
        path.push(PathKey::Name(method.into()));
        self.operate(path, Some(args.into_iter().collect()))
    }

    /// Calls the result itself, as a function.
    pub fn invoke(&self, args: impl IntoIterator<Item = Value>) -> Self {
        self.operate(self.path.clone(), Some(args.into_iter().collect()))
    }

    /// A property of the result. Nothing is sent until it is used.
    #[must_use]
    pub fn get(&self, name: &str) -> Self {
        let mut path = self.path.clone();
        path.push(PathKey::Name(name.into()));
        Self {
            base: self.base.clone(),
            path,
        }
    }

    /// Maps the result where it is: once for each element of an array, once for anything else but null and undefined.
    /// See [the page on maps](crate::guide::map).
    pub fn map<R: Into<Value>>(&self, mapper: impl FnOnce(Self) -> R) -> Self {
        if map::is_recording() || matches!(self.base, Base::Variable(_)) {
            return map::record_nested(self, |input| mapper(input).into());
        }
        match map::record(|input| mapper(input).into()) {
            Err(error) => Self::settled(Err(error)),
            Ok((captures, instructions)) => match &self.base {
                Base::Cell(cell) => cell.map(&self.path, captures, instructions),
                Base::Stub(stub) => stub.map_path(&self.path, captures, instructions),
                Base::Variable(_) => Self::settled(Err(map::outside())),
            },
        }
    }

    /// Calls back when the session breaks or the promise is rejected, at once if either has happened.
    ///
    /// It asks for the result, as awaiting does.
    pub fn on_broken(&self, callback: impl FnOnce(&Error) + Send + 'static) -> Registration {
        let slot = Slot::new(Box::new(callback));
        let waits = Arc::clone(&slot);
        self.read_here().when_settled(move |outcome| match outcome {
            Err(error) => {
                if let Some(callback) = waits.take() {
                    callback(error);
                }
            }
            Ok(Value::Capability(Capability::Stub(stub))) => {
                let then = move |error: &Error| {
                    if let Some(callback) = waits.take() {
                        callback(error);
                    }
                };
                stub.on_broken(then).forget();
            }
            Ok(_) => {}
        });
        Registration::of_promise(slot)
    }

    pub(crate) fn operate(&self, path: Vec<PathKey>, args: Option<Vec<Value>>) -> Self {
        if map::is_recording() {
            return map::record_operation(self, path, args);
        }
        match &self.base {
            Base::Cell(cell) => cell.operate(path, args),
            Base::Stub(stub) => stub.operate(path, args),
            Base::Variable(_) => Self::settled(Err(map::outside())),
        }
    }

    /// Reads what the path leads to.
    pub(crate) fn read_here(&self) -> Arc<Cell> {
        let promise = match &self.base {
            Base::Cell(cell) if self.path.is_empty() => return Arc::clone(cell),
            Base::Cell(cell) => cell.operate(self.path.clone(), None),
            Base::Stub(stub) => stub.operate(self.path.clone(), None),
            Base::Variable(_) => return Cell::settled(Err(map::outside())),
        };
        match promise.base {
            Base::Cell(cell) => cell,
            _ => Cell::settled(Err(map::outside())),
        }
    }
}

impl IntoFuture for Promise {
    type Output = Outcome;
    type IntoFuture = Wait;

    fn into_future(self) -> Wait {
        match self.base {
            // By value, so that the last one to wait takes the result and copies nothing.
            Base::Cell(cell) if self.path.is_empty() => Wait(cell),
            _ => Wait(self.read_here()),
        }
    }
}

/// Waits for a [`Promise`]. Cancel safe: the result stays with the promise's other clones, and goes with the last.
#[must_use = "futures do nothing unless awaited"]
pub struct Wait(Arc<Cell>);

impl std::fmt::Debug for Wait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wait")
    }
}

impl Future for Wait {
    type Output = Outcome;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let alone = Arc::strong_count(&self.0) == 1;
        let mut state = self.0.lock();
        match &state.outcome {
            Some(_) if alone => {
                let outcome = state.outcome.replace(Ok(Value::Undefined));
                Poll::Ready(outcome.unwrap_or(Ok(Value::Undefined)))
            }
            Some(outcome) => Poll::Ready(outcome.clone()),
            None => {
                if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                drop(state);
                self.0.pull();
                Poll::Pending
            }
        }
    }
}
