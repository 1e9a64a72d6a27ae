//! The receiving end of a stream: what came and was not read.

use std::collections::VecDeque;

use super::capability::{Capability, PromiseId};
use crate::{ErrorValue, Value};

#[derive(Debug)]
pub(super) enum Item<T> {
    Chunk(Value<Capability<T>>),
    End,
    Failed(Value<Capability<T>>),
}

#[derive(Debug)]
struct Queued<T> {
    item: Item<T>,
    size: usize,
    /// Settled when the item is read: that is the acknowledgement the peer's window waits for.
    acknowledge: Option<PromiseId>,
}

#[derive(Debug)]
pub(super) struct Pipe<T> {
    queue: VecDeque<Queued<T>>,
    claimed: bool,
    /// The writer has closed or aborted.
    finished: bool,
    cancelled: Option<String>,
    /// Read by the session itself, for a blob.
    pub(super) blob: Option<Collected>,
}

/// A blob that is on its way.
#[derive(Debug)]
pub(super) struct Collected {
    pub(super) promise: PromiseId,
    pub(super) blob: crate::Blob,
}

impl<T> Default for Pipe<T> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            claimed: false,
            finished: false,
            cancelled: None,
            blob: None,
        }
    }
}

impl<T> Pipe<T> {
    /// Hands out the readable end, once.
    pub(super) fn claim(&mut self) -> bool {
        !std::mem::replace(&mut self.claimed, true)
    }

    /// Takes a write, close or abort. An error is for the writer.
    pub(super) fn accept(
        &mut self,
        item: Item<T>,
        size: usize,
        acknowledge: PromiseId,
    ) -> Result<(), ErrorValue<Capability<T>>> {
        if let Some(reason) = &self.cancelled {
            return Err(ErrorValue::new("Error", reason.clone()));
        }
        if self.finished {
            return Err(ErrorValue::new(
                "TypeError",
                "This WritableStream has been closed.",
            ));
        }
        self.finished = !matches!(item, Item::Chunk(_));
        self.queue.push_back(Queued {
            item,
            size,
            acknowledge: Some(acknowledge),
        });
        Ok(())
    }

    pub(super) fn take(&mut self) -> Option<(Item<T>, usize, Option<PromiseId>)> {
        let queued = self.queue.pop_front()?;
        Some((queued.item, queued.size, queued.acknowledge))
    }

    /// Stops reading: bytes given up, and the writes to reject.
    pub(super) fn cancel(&mut self, reason: &str) -> (usize, Vec<PromiseId>) {
        self.cancelled.get_or_insert_with(|| reason.to_owned());
        self.claimed = true;
        let size = self.queue.iter().map(|queued| queued.size).sum();
        (
            size,
            self.queue
                .drain(..)
                .filter_map(|queued| queued.acknowledge)
                .collect(),
        )
    }

    /// The writer is gone without a word: what came stays readable, then the stream breaks off.
    pub(super) fn fail_if_open(&mut self, reason: &str) {
        if !self.finished && self.cancelled.is_none() {
            self.finished = true;
            let item = Item::Failed(Value::error("Error", reason));
            self.queue.push_back(Queued {
                item,
                size: 0,
                acknowledge: None,
            });
        }
    }

    /// Nobody will read from it again.
    pub(super) fn is_done(&self) -> bool {
        self.cancelled.is_some() || (self.finished && !self.claimed && self.queue.is_empty())
    }
}
