//! The receiving end of a stream: what came and was not read.

use std::collections::VecDeque;

use super::capability::{Capability, PromiseId};
use crate::Value;

#[derive(Debug)]
pub(super) enum Item<T> {
    Chunk(Value<Capability<T>>),
    End,
    Failed(Value<Capability<T>>),
}

impl<T> Item<T> {
    pub(super) fn into_value(self) -> Value<Capability<T>> {
        match self {
            Self::Chunk(value) | Self::Failed(value) => value,
            Self::End => Value::Undefined,
        }
    }
}

#[derive(Debug)]
struct Queued<T> {
    item: Item<T>,
    size: usize,
    /// Settled when the item is read: that is the acknowledgement the peer's window waits for.
    acknowledge: Option<PromiseId>,
}

/// How the writing side ended.
#[derive(Debug)]
enum Ended<T> {
    Closed,
    /// Aborted by the writer or cancelled by the reader, with the reason.
    Errored(Value<Capability<T>>),
}

#[derive(Debug)]
pub(super) struct Pipe<T> {
    queue: VecDeque<Queued<T>>,
    claimed: bool,
    ended: Option<Ended<T>>,
    /// Nobody reads any more.
    cancelled: bool,
    /// Read by the session itself, for a blob.
    pub(super) blob: Option<Collected>,
}

/// A blob that is on its way.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) promise: PromiseId,
    pub(super) blob: crate::Blob,
}

/// What was not read when the reading ended.
pub(super) struct Unread<T> {
    pub(super) size: usize,
    /// Writes to reject.
    pub(super) waiting: Vec<PromiseId>,
    pub(super) items: Vec<Item<T>>,
}

/// What an operation of the writer comes to.
pub(super) enum Accepted<T> {
    /// Kept, to be acknowledged when it is read.
    Queued,
    /// Kept, and acknowledged at once: nothing unread is before it.
    Acknowledged,
    /// Means nothing any more, which is no error.
    Ignored(Item<T>),
    Rejected(Item<T>, Value<Capability<T>>),
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            claimed: false,
            ended: None,
            cancelled: false,
            blob: None,
        }
    }
}

impl<T: Clone> Pipe<T> {
    /// Hands out the readable end, once.
    pub(super) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.claimed, true)
    }

    pub(super) fn is_claimed(&self) -> bool {
        self.claimed
    }

    /// Takes a write, close or abort.
    pub(super) fn accept(&mut self, item: Item<T>, size: usize, acknowledge: PromiseId) -> Accepted<T> {
        match (&self.ended, &item) {
            (None, Item::Chunk(_)) => {}
            (None, Item::End) => self.ended = Some(Ended::Closed),
            (None, Item::Failed(reason)) => self.ended = Some(Ended::Errored(without_capabilities(reason))),
            (Some(_), Item::Failed(_)) => return Accepted::Ignored(item),
            (Some(Ended::Errored(reason)), Item::Chunk(_)) => {
                let reason = reason.clone();
                return Accepted::Rejected(item, reason);
            }
            (Some(_), _) => {
                let closed = Value::error("TypeError", "This WritableStream has been closed.");
                return Accepted::Rejected(item, closed);
            }
        }
        let last_of_none = self.queue.is_empty() && !matches!(item, Item::Chunk(_));
        self.queue.push_back(Queued {
            item,
            size,
            acknowledge: (!last_of_none).then_some(acknowledge),
        });
        if last_of_none {
            Accepted::Acknowledged
        } else {
            Accepted::Queued
        }
    }

    /// The next item, its size, and what is acknowledged by taking it: the end too, once nothing is before it.
    pub(super) fn take(&mut self) -> Option<(Item<T>, usize, [Option<PromiseId>; 2])> {
        let queued = self.queue.pop_front()?;
        let end = match self.queue.front_mut() {
            Some(next) if !matches!(next.item, Item::Chunk(_)) => next.acknowledge.take(),
            _ => None,
        };
        Some((queued.item, queued.size, [queued.acknowledge, end]))
    }

    /// Stops reading.
    pub(super) fn cancel(&mut self, reason: &Value<Capability<T>>) -> Unread<T> {
        self.ended
            .get_or_insert_with(|| Ended::Errored(without_capabilities(reason)));
        self.cancelled = true;
        self.claimed = true;
        let mut unread = Unread {
            size: 0,
            waiting: Vec::new(),
            items: Vec::new(),
        };
        for queued in self.queue.drain(..) {
            unread.size += queued.size;
            unread.waiting.extend(queued.acknowledge);
            unread.items.push(queued.item);
        }
        unread
    }

    /// The writer is gone without a word: what came stays readable, then the stream breaks off.
    pub(super) fn fail_if_open(&mut self, reason: &str) {
        if self.ended.is_none() {
            let reason = Value::error("Error", reason);
            self.ended = Some(Ended::Errored(reason.clone()));
            self.queue.push_back(Queued {
                item: Item::Failed(reason),
                size: 0,
                acknowledge: None,
            });
        }
    }

    /// Nobody will read from it again.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled
    }
}

/// A reason to be told again and again; capabilities in it have one owner only.
fn without_capabilities<T: Clone>(value: &Value<Capability<T>>) -> Value<Capability<T>> {
    value.clone().map(&mut |_| Value::Undefined)
}
