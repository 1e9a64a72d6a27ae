//! What the application keeps for its promises.

use super::capability::PromiseId;
use super::table::Table;

/// Something of the application's for each of some promises. It is as quick as the session's own tables, which know that ids are
/// counted up.
#[derive(Debug)]
pub struct PromiseMap<V>(Table<V>);

impl<V> Default for PromiseMap<V> {
    fn default() -> Self {
        Self(Table::default())
    }
}

impl<V> PromiseMap<V> {
    /// Gives back what was there.
    pub fn insert(&mut self, id: PromiseId, value: V) -> Option<V> {
        self.0.insert(id.0, value)
    }

    /// Gives back what was there.
    pub fn remove(&mut self, id: PromiseId) -> Option<V> {
        self.0.remove(id.0)
    }

    /// In no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.values()
    }

    /// In the order in which the promises were made.
    pub fn into_values(self) -> impl Iterator<Item = V> {
        self.0.into_values()
    }
}
