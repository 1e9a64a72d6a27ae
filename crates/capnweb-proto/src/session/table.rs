//! Entries under ids that are counted up.

use std::collections::VecDeque;

use hashbrown::HashMap;

/// Entries by an id that somebody counts up: most are young, side by side, and gone soon. Those are kept in a window over
/// the last ids, where finding one is arithmetic and neighbours share memory; the few that stay move to a map.
#[derive(Debug)]
pub(super) struct Table<V> {
    window: VecDeque<Option<V>>,
    /// The id of the window's first place.
    first: u64,
    /// Places of the window that are taken.
    taken: usize,
    /// Entries from before the window, and those whose id was not the next.
    old: HashMap<u64, V>,
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            window: VecDeque::new(),
            first: 0,
            taken: 0,
            old: HashMap::new(),
        }
    }
}

impl<V> Table<V> {
    pub(super) fn len(&self) -> usize {
        self.taken + self.old.len()
    }

    fn place(&self, id: u64) -> Option<usize> {
        let place = usize::try_from(id.checked_sub(self.first)?).ok()?;
        (place < self.window.len()).then_some(place)
    }

    pub(super) fn get(&self, id: u64) -> Option<&V> {
        match self.place(id) {
            // One that was not the next may lie in the map all the same.
            Some(place) => self.window[place].as_ref().or_else(|| self.old.get(&id)),
            None => self.old.get(&id),
        }
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut V> {
        match self.place(id) {
            Some(place) if self.window[place].is_some() => self.window[place].as_mut(),
            _ => self.old.get_mut(&id),
        }
    }

    /// Gives back what was there.
    pub(super) fn insert(&mut self, id: u64, value: V) -> Option<V> {
        if !self.old.is_empty()
            && let Some(old) = self.old.get_mut(&id)
        {
            return Some(std::mem::replace(old, value));
        }
        if self.window.is_empty() {
            self.first = id;
        }
        if self.first + self.window.len() as u64 == id {
            self.window.push_back(Some(value));
            self.taken += 1;
            self.spill();
            None
        } else if let Some(place) = self.place(id) {
            let replaced = self.window[place].replace(value);
            self.taken += usize::from(replaced.is_none());
            replaced
        } else {
            self.old.insert(id, value)
        }
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<V> {
        let removed = self.place(id).and_then(|place| self.window[place].take());
        if removed.is_none() {
            return self.old.remove(&id);
        }
        self.taken -= 1;
        self.trim();
        removed
    }

    /// Gives up places at the start that are not taken.
    fn trim(&mut self) {
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first += 1;
        }
        // A burst is over: its memory goes.
        if self.window.capacity() > 1024 && self.window.len() < self.window.capacity() / 8 {
            self.window.shrink_to(self.window.len() * 2);
        }
    }

    /// Moves what has stayed long out of the window, so that it is never mostly empty.
    fn spill(&mut self) {
        const SMALL: usize = 64;
        while self.window.len() > SMALL && self.taken < self.window.len() / 4 {
            if let Some(Some(value)) = self.window.pop_front() {
                self.taken -= 1;
                self.old.insert(self.first, value);
            }
            self.first += 1;
        }
        self.trim();
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.old.values().chain(self.window.iter().flatten())
    }

    /// All of them, in the order of their ids.
    pub(super) fn into_values(self) -> impl Iterator<Item = V> {
        let window = (self.first..)
            .zip(self.window)
            .filter_map(|(id, value)| Some((id, value?)));
        let mut all: Vec<_> = self.old.into_iter().chain(window).collect();
        all.sort_unstable_by_key(|(id, _)| *id);
        all.into_iter().map(|(_, value)| value)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Entries under the ids of one side's counting and the other's: those of one are positive, or zero, the other's
/// negative.
#[derive(Debug)]
pub(super) struct SignedTable<V> {
    counted: Table<V>,
    negative: Table<V>,
}

impl<V> Default for SignedTable<V> {
    fn default() -> Self {
        Self {
            counted: Table::default(),
            negative: Table::default(),
        }
    }
}

impl<V> SignedTable<V> {
    pub(super) fn len(&self) -> usize {
        self.counted.len() + self.negative.len()
    }

    fn side(&mut self, id: i64) -> &mut Table<V> {
        if id < 0 {
            &mut self.negative
        } else {
            &mut self.counted
        }
    }

    pub(super) fn get(&self, id: i64) -> Option<&V> {
        let side = if id < 0 { &self.negative } else { &self.counted };
        side.get(id.unsigned_abs())
    }

    pub(super) fn get_mut(&mut self, id: i64) -> Option<&mut V> {
        self.side(id).get_mut(id.unsigned_abs())
    }

    pub(super) fn insert(&mut self, id: i64, value: V) -> Option<V> {
        self.side(id).insert(id.unsigned_abs(), value)
    }

    pub(super) fn remove(&mut self, id: i64) -> Option<V> {
        self.side(id).remove(id.unsigned_abs())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Next,
        Any(u64),
        Remove(prop::sample::Index),
        Change(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            5 => Just(Step::Next),
            1 => (0..500_u64).prop_map(Step::Any),
            5 => any::<prop::sample::Index>().prop_map(Step::Remove),
            1 => any::<prop::sample::Index>().prop_map(Step::Change),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn as_a_map(steps in prop::collection::vec(step(), 0..600)) {
            let (mut table, mut model, mut next) = (Table::default(), BTreeMap::new(), 0);
            let pick = |model: &BTreeMap<u64, u64>, at: prop::sample::Index| {
                (!model.is_empty()).then(|| *at.get(&model.keys().copied().collect::<Vec<_>>()))
            };
            for (value, step) in (0..).zip(steps) {
                match step {
                    Step::Next => {
                        if let Entry::Vacant(place) = model.entry(next) {
                            table.insert(next, *place.insert(value));
                        }
                        next += 1;
                    }
                    Step::Any(id) => {
                        table.insert(id, value);
                        model.insert(id, value);
                    }
                    Step::Remove(at) => if let Some(id) = pick(&model, at) {
                        prop_assert_eq!(table.remove(id), model.remove(&id));
                        prop_assert_eq!(table.remove(id), None);
                    }
                    Step::Change(at) => if let Some(id) = pick(&model, at) {
                        *table.get_mut(id).unwrap() = value;
                        model.insert(id, value);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for (id, value) in &model {
                prop_assert_eq!(table.get(*id), Some(value));
            }
            prop_assert_eq!(table.values().count(), model.len());
            prop_assert!(table.into_values().eq(model.into_values()));
        }
    }

    #[test]
    fn what_stays_does_not_keep_the_window_open() {
        let mut table = Table::default();
        for id in 0..100_000_u64 {
            table.insert(id, id);
            if id % 1000 != 7 {
                table.remove(id);
            }
            assert!(table.window.len() <= 64 + 1, "{}", table.window.len());
        }
        assert_eq!(table.len(), 100);
        assert_eq!(table.get(5007), Some(&5007));
        for id in (7..100_000).step_by(1000) {
            assert_eq!(table.remove(id), Some(id));
        }
        assert_eq!((table.len(), table.get(5007)), (0, None));
    }
}
