//! What came in, kept for whoever wants to check it afterwards.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Entries kept; older ones go.
const MOST: usize = 4096;

/// The last requests, without credentials.
#[derive(Debug, Default)]
pub(crate) struct Journal(Mutex<VecDeque<Value>>);

impl Journal {
    pub(crate) fn note(&self, entry: Value) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == MOST {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    pub(crate) fn entries(&self) -> Vec<Value> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.iter().cloned().collect()
    }

    /// What was kept, which is forgotten with it: nothing falls between looking and forgetting.
    pub(crate) fn take(&self) -> Vec<Value> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.drain(..).collect()
    }
}
