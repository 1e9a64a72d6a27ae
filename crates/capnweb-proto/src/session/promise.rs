//! Results that may not be there yet.

use std::collections::{HashMap, VecDeque};

use super::capability::{ImportId, Slot};
use super::operation::{Operation, WaitId};
use crate::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PromiseId(u64);

/// Who wants a promise's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Part of a value that is being put together: goes when its result was taken.
    Anonymous,
    /// An entry of the export table: stays until the peer releases it.
    Export(i64),
    /// Our own call.
    Call(ImportId),
    /// An export that is gone: goes as soon as it is settled and those who wait have it.
    Nobody,
}

pub(super) type Outcome<T> = Result<Value<Slot<T>>, Value<Slot<T>>>;

#[derive(Debug)]
struct Promise<T> {
    origin: Origin,
    outcome: Option<Outcome<T>>,
    /// Calls on a result that is not there yet, in the order they came.
    queue: VecDeque<Operation<T>>,
    dependents: Vec<WaitId>,
}

#[derive(Debug)]
pub(super) struct Promises<T> {
    entries: HashMap<PromiseId, Promise<T>>,
    next: u64,
    unsettled: usize,
}

impl<T> Default for Promises<T> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            next: 0,
            unsettled: 0,
        }
    }
}

impl<T> Promises<T> {
    pub(super) fn pending(&mut self, origin: Origin) -> PromiseId {
        let id = PromiseId(self.next);
        self.next += 1;
        self.unsettled += 1;
        self.entries.insert(
            id,
            Promise {
                origin,
                outcome: None,
                queue: VecDeque::new(),
                dependents: Vec::new(),
            },
        );
        id
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub(super) fn origin(&self, id: PromiseId) -> Option<Origin> {
        self.entries.get(&id).map(|promise| promise.origin)
    }

    pub(super) fn is_anonymous(&self, id: PromiseId) -> bool {
        self.origin(id) == Some(Origin::Anonymous)
    }

    pub(super) fn set_origin(&mut self, id: PromiseId, origin: Origin) {
        if let Some(promise) = self.entries.get_mut(&id) {
            promise.origin = origin;
        }
    }

    pub(super) fn result(&self, id: PromiseId) -> Option<&Outcome<T>> {
        self.entries.get(&id)?.outcome.as_ref()
    }

    pub(super) fn is_pending(&self, id: PromiseId) -> bool {
        self.entries
            .get(&id)
            .is_some_and(|promise| promise.outcome.is_none())
    }

    pub(super) fn enqueue(&mut self, id: PromiseId, operation: Operation<T>) {
        if let Some(promise) = self.entries.get_mut(&id) {
            promise.queue.push_back(operation);
        }
    }

    pub(super) fn depend(&mut self, id: PromiseId, wait: WaitId) {
        if let Some(promise) = self.entries.get_mut(&id) {
            promise.dependents.push(wait);
        }
    }

    /// Stores the outcome. `None` when the promise is gone or settled already: then the outcome comes back.
    pub(super) fn settle(&mut self, id: PromiseId, outcome: Outcome<T>) -> Result<(), Outcome<T>> {
        match self.entries.get_mut(&id) {
            Some(promise) if promise.outcome.is_none() => {
                promise.outcome = Some(outcome);
                self.unsettled -= 1;
                Ok(())
            }
            _ => Err(outcome),
        }
    }

    pub(super) fn next_queued(&mut self, id: PromiseId) -> Option<Operation<T>> {
        self.entries.get_mut(&id)?.queue.pop_front()
    }

    pub(super) fn take_dependents(&mut self, id: PromiseId) -> Vec<WaitId> {
        self.entries
            .get_mut(&id)
            .map(|promise| std::mem::take(&mut promise.dependents))
            .unwrap_or_default()
    }

    /// Removes a settled promise that nobody names any more.
    pub(super) fn take_if_unwanted(&mut self, id: PromiseId) -> Option<Outcome<T>> {
        let promise = self.entries.get(&id)?;
        let unwanted =
            promise.origin == Origin::Nobody && promise.outcome.is_some() && promise.dependents.is_empty();
        if unwanted { self.take(id) } else { None }
    }

    /// Removes a settled promise.
    pub(super) fn take(&mut self, id: PromiseId) -> Option<Outcome<T>> {
        if self.is_pending(id) {
            None
        } else {
            self.entries.remove(&id)?.outcome
        }
    }
}
