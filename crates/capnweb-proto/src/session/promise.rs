//! Results that may not be there yet.

use std::collections::VecDeque;

use super::capability::{Capability, PromiseId};
use super::operation::{Operation, WaitId};
use super::table::Table;
use crate::Value;

pub(super) type Outcome<T> = Result<Value<Capability<T>>, Value<Capability<T>>>;

/// Who is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependent {
    Wait(WaitId),
    /// An entry of the export table.
    Export(i64),
    /// The application pulled it.
    Application,
}

#[derive(Debug)]
pub(super) struct Promise<T> {
    /// Values, table entries and handles of the application that name it.
    pub(super) refs: u32,
    pub(super) outcome: Option<Outcome<T>>,
    /// The import that will settle it: then calls on it are sent there.
    pub(super) backing: Option<i64>,
    /// Calls on a result that is not there yet, in the order they came.
    pub(super) queue: VecDeque<Operation<T>>,
    pub(super) dependents: Vec<Dependent>,
}

impl<T> Promise<T> {
    fn is_unwanted(&self) -> bool {
        self.refs == 0 && self.queue.is_empty() && self.dependents.is_empty()
    }
}

#[derive(Debug)]
pub(super) struct Promises<T> {
    entries: Table<Promise<T>>,
    next: u64,
    unsettled: usize,
}

impl<T> Default for Promises<T> {
    fn default() -> Self {
        Self {
            entries: Table::default(),
            next: 0,
            unsettled: 0,
        }
    }
}

impl<T> Promises<T> {
    /// A new promise, with one reference.
    pub(super) fn pending(&mut self) -> PromiseId {
        let id = PromiseId(self.next);
        self.next += 1;
        self.unsettled += 1;
        self.entries.insert(
            id.0,
            Promise {
                refs: 1,
                outcome: None,
                backing: None,
                queue: VecDeque::new(),
                dependents: Vec::new(),
            },
        );
        id
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    pub(super) fn get(&self, id: PromiseId) -> Option<&Promise<T>> {
        self.entries.get(id.0)
    }

    pub(super) fn get_mut(&mut self, id: PromiseId) -> Option<&mut Promise<T>> {
        self.entries.get_mut(id.0)
    }

    pub(super) fn acquire(&mut self, id: PromiseId) {
        if let Some(promise) = self.entries.get_mut(id.0) {
            promise.refs += 1;
        }
    }

    pub(super) fn is_pending(&self, id: PromiseId) -> bool {
        self.entries
            .get(id.0)
            .is_some_and(|promise| promise.outcome.is_none())
    }

    /// Stores the outcome. It comes back when the promise is gone or settled already.
    pub(super) fn settle(&mut self, id: PromiseId, outcome: Outcome<T>) -> Result<(), Outcome<T>> {
        match self.entries.get_mut(id.0) {
            Some(promise) if promise.outcome.is_none() => {
                promise.outcome = Some(outcome);
                promise.backing = None;
                self.unsettled -= 1;
                Ok(())
            }
            _ => Err(outcome),
        }
    }

    /// Takes the outcome out for a while; [`put_back`](Self::put_back) is to follow.
    pub(super) fn borrow(&mut self, id: PromiseId) -> Option<Outcome<T>> {
        self.entries.get_mut(id.0)?.outcome.take()
    }

    pub(super) fn put_back(&mut self, id: PromiseId, outcome: Outcome<T>) {
        if let Some(promise) = self.entries.get_mut(id.0) {
            promise.outcome = Some(outcome);
        }
    }

    /// Gives up one reference. `true` when nobody is left who could want the result.
    pub(super) fn unref(&mut self, id: PromiseId) -> bool {
        let Some(promise) = self.entries.get_mut(id.0) else {
            return false;
        };
        promise.refs = promise.refs.saturating_sub(1);
        promise.is_unwanted()
    }

    pub(super) fn is_unwanted(&self, id: PromiseId) -> bool {
        self.entries.get(id.0).is_some_and(Promise::is_unwanted)
    }

    /// Removes an entry that is settled; one that is not has somebody at work for it.
    pub(super) fn remove_settled(&mut self, id: PromiseId) -> Option<Outcome<T>> {
        if self.is_pending(id) {
            None
        } else {
            self.entries.remove(id.0)?.outcome
        }
    }

    /// Removes an entry that will never be settled.
    pub(super) fn remove_pending(&mut self, id: PromiseId) {
        if self.is_pending(id) {
            self.entries.remove(id.0);
            self.unsettled -= 1;
        }
    }

    /// Everything, at the end of the session.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.unsettled = 0;
    }
}
