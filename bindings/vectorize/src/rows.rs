//! The vectors in memory, by slot, and the scan over them.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bowline_vectors::{
    Block, Lane, Metric, WIDTH, dot, inverse_norm, pack, pack_into, square, squared_distance,
};
use serde_json::{Map, Value};

use crate::column::{Column, Scalar, indexed_only};
use crate::store::Vector;

/// Slots of one block of memory. Blocks are never moved, so that growth copies nothing.
const BLOCK: usize = if cfg!(test) { 16 } else { 16 * 1024 };

/// What a row holds beside its values.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: Arc<str>,
    pub(crate) namespace: Option<Arc<str>>,
    /// JSON. As text, it takes a tenth of the memory.
    pub(crate) metadata: Option<Box<str>>,
    /// Never given twice: tells whether a slot still holds what it held.
    pub(crate) stamp: u64,
}

impl Row {
    pub(crate) fn metadata(&self) -> Option<Map<String, Value>> {
        // Written by ourselves from a map.
        serde_json::from_str(self.metadata.as_deref()?).ok()
    }
}

/// All vectors of an index. A vector keeps its slot for life; slots are used again.
#[derive(Debug)]
pub(crate) struct Rows {
    metric: Metric,
    dimensions: usize,
    lanes_per_row: usize,
    blocks: Vec<Block>,
    /// 1 / length by slot, or 0 for a vector without direction.
    inverse_norms: Vec<f32>,
    /// By slot; none where nothing lives.
    rows: Vec<Option<Row>>,
    free: BTreeSet<usize>,
    by_id: HashMap<Arc<str>, usize>,
    namespaces: HashMap<Arc<str>, usize>,
    columns: Vec<Column>,
    stamps: u64,
}

/// A slot and how close its vector is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    pub(crate) slot: usize,
    pub(crate) score: f64,
}

impl Rows {
    pub(crate) fn new(metric: Metric, dimensions: usize, columns: Vec<Column>) -> Self {
        Self {
            metric,
            dimensions,
            lanes_per_row: dimensions.div_ceil(WIDTH),
            blocks: Vec::new(),
            inverse_norms: Vec::new(),
            rows: Vec::new(),
            free: BTreeSet::new(),
            by_id: HashMap::new(),
            namespaces: HashMap::new(),
            columns,
            stamps: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// One past the highest slot ever used.
    pub(crate) fn slots(&self) -> usize {
        self.rows.len()
    }

    /// Slots below [`Rows::slots`] in which nothing lives, lowest first.
    pub(crate) fn free(&self) -> impl Iterator<Item = usize> {
        self.free.iter().copied()
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    /// What lives in `slot`.
    pub(crate) fn row(&self, slot: usize) -> Option<&Row> {
        self.rows.get(slot)?.as_ref()
    }

    /// The slots in which something lives, with it.
    pub(crate) fn live(&self) -> impl Iterator<Item = (usize, &Row)> {
        let rows = self.rows.iter().enumerate();
        rows.filter_map(|(slot, row)| Some((slot, row.as_ref()?)))
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn namespace_count(&self) -> usize {
        self.namespaces.len()
    }

    /// The namespace as its rows hold it: rows of one namespace share one text.
    pub(crate) fn namespace(&self, name: &str) -> Option<&Arc<str>> {
        self.namespaces.get_key_value(name).map(|(name, _)| name)
    }

    pub(crate) fn values(&self, slot: usize) -> Vec<f32> {
        let flat = self.lanes(slot).iter().flat_map(|lane| lane.0);
        flat.take(self.dimensions).collect()
    }

    /// Puts a vector into a free slot; the one with its id, elsewhere, is removed. `written` is the number of the
    /// mutation that wrote it.
    pub(crate) fn put(&mut self, slot: usize, vector: &Vector, written: u64) {
        self.remove(&vector.id);
        self.reserve(slot + 1);
        let lanes = self.lanes_per_row;
        let block = &mut self.blocks[slot / BLOCK][slot % BLOCK * lanes..][..lanes];
        pack_into(&vector.values, block);
        self.inverse_norms[slot] = inverse_norm(block);
        let namespace = vector.namespace.as_deref().map(|name| {
            let name = self.namespace(name).cloned().unwrap_or_else(|| name.into());
            *self.namespaces.entry(Arc::clone(&name)).or_default() += 1;
            name
        });
        for column in &mut self.columns {
            let covered = written > column.since;
            column.values[slot] = covered.then(|| Scalar::of(vector.metadata.as_ref(), &column.index));
        }
        let id: Arc<str> = vector.id.as_str().into();
        self.by_id.insert(Arc::clone(&id), slot);
        self.free.remove(&slot);
        self.stamps += 1;
        self.rows[slot] = Some(Row {
            id,
            namespace,
            metadata: vector.metadata.as_ref().map(|map| json(map).into()),
            stamp: self.stamps,
        });
    }

    /// Makes room for slots below `slots`; new ones are free.
    fn reserve(&mut self, slots: usize) {
        if slots <= self.rows.len() {
            return;
        }
        self.free.extend(self.rows.len()..slots);
        self.rows.resize_with(slots, || None);
        self.inverse_norms.resize(slots, 0.0);
        for column in &mut self.columns {
            column.values.resize(slots, None);
        }
        let lanes = self.lanes_per_row;
        self.blocks
            .resize_with(slots.div_ceil(BLOCK), || Block::zeroed(BLOCK * lanes));
    }

    /// Removes the vector of `id`, and says where it was.
    pub(crate) fn remove(&mut self, id: &str) -> Option<usize> {
        let slot = self.by_id.remove(id)?;
        let removed = self.rows[slot].take();
        self.free.insert(slot);
        for column in &mut self.columns {
            column.values[slot] = None;
        }
        if let Some(name) = removed.and_then(|row| row.namespace)
            && let Some(count) = self.namespaces.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                self.namespaces.remove(&name);
            }
        }
        Some(slot)
    }

    /// The `top_k` closest rows among those that `keep` lets through, best first; equal scores by id.
    ///
    /// The scan compares in f32; the hits are then scored and ordered in f64.
    pub(crate) fn search(
        &self,
        values: &[f32],
        top_k: usize,
        keep: impl Fn(usize, &Row) -> bool,
    ) -> Vec<Hit> {
        let query = pack(values, self.lanes_per_row);
        let mut best = Best::new(self, top_k);
        for (number, (block, rows)) in self.blocks.iter().zip(self.rows.chunks(BLOCK)).enumerate() {
            let vectors = block.chunks_exact(self.lanes_per_row);
            for (slot, (lanes, row)) in (number * BLOCK..).zip(vectors.zip(rows)) {
                if row.as_ref().is_some_and(|row| keep(slot, row)) {
                    best.offer(self.distance(&query, lanes, slot), slot);
                }
            }
        }
        self.rank(&query, best.slots())
    }

    /// As [`Rows::search`], over some slots only.
    pub(crate) fn search_among(
        &self,
        values: &[f32],
        top_k: usize,
        slots: impl Iterator<Item = usize>,
    ) -> Vec<Hit> {
        let query = pack(values, self.lanes_per_row);
        let mut best = Best::new(self, top_k);
        for slot in slots {
            if self.row(slot).is_some() {
                best.offer(self.distance(&query, self.lanes(slot), slot), slot);
            }
        }
        self.rank(&query, best.slots())
    }

    /// Scores slots in f64 and orders them, best first.
    fn rank(&self, query: &[Lane], slots: impl Iterator<Item = usize>) -> Vec<Hit> {
        let mut hits: Vec<_> = slots
            .map(|slot| Hit {
                slot,
                score: self.score(query, slot),
            })
            .collect();
        let distance = |hit: &Hit| {
            if self.metric == Metric::Cosine {
                -hit.score
            } else {
                hit.score
            }
        };
        hits.sort_by(|one, two| self.order(distance(one), one.slot, distance(two), two.slot));
        hits
    }

    fn distance(&self, query: &[Lane], lanes: &[Lane], slot: usize) -> f32 {
        let distance = match self.metric {
            Metric::Cosine => -dot(query, lanes) * self.inverse_norms[slot],
            Metric::Euclidean => squared_distance(query, lanes),
            Metric::DotProduct => -dot(query, lanes),
        };
        // Adding 0.0 makes -0.0 equal to 0.0. Only values near the end of f32's range give what is no number; they
        // cannot be compared, so they come last.
        if distance.is_nan() {
            f32::INFINITY
        } else {
            distance + 0.0
        }
    }

    fn order(&self, one: f64, one_slot: usize, two: f64, two_slot: usize) -> Ordering {
        let id = |slot| self.row(slot).map(|row| &row.id);
        one.total_cmp(&two).then_with(|| id(one_slot).cmp(&id(two_slot)))
    }

    fn score(&self, query: &[Lane], slot: usize) -> f64 {
        let lanes = self.lanes(slot);
        let pairs = || {
            let both = query.iter().zip(lanes);
            both.flat_map(|(one, two)| one.0.into_iter().zip(two.0))
                .map(|(one, two)| (f64::from(one), f64::from(two)))
        };
        let dot = || pairs().map(|(one, two)| one * two).sum::<f64>();
        // Adding 0.0 turns -0.0 into 0.0.
        match self.metric {
            Metric::Cosine => {
                let length = square(query).sqrt() * square(lanes).sqrt();
                if length > 0.0 {
                    (dot() / length).clamp(-1.0, 1.0) + 0.0
                } else {
                    0.0
                }
            }
            Metric::Euclidean => pairs()
                .map(|(one, two)| (one - two) * (one - two))
                .sum::<f64>()
                .sqrt(),
            Metric::DotProduct => -dot() + 0.0,
        }
    }

    /// The values in `slot`, which must be one of [`Rows::slots`].
    pub(crate) fn lanes(&self, slot: usize) -> &[Lane] {
        let lanes = self.lanes_per_row;
        &self.blocks[slot / BLOCK][slot % BLOCK * lanes..][..lanes]
    }

    /// The indexed properties of what lives in `slot`, nested as in its metadata, texts cut as the index cuts them.
    pub(crate) fn indexed_metadata(&self, slot: usize) -> Option<Map<String, Value>> {
        let metadata = self.row(slot)?.metadata()?;
        let covering = self.columns.iter().filter(|column| column.values[slot].is_some());
        Some(indexed_only(&metadata, covering.map(|column| &column.index)))
    }
}

/// Metadata as it is stored.
pub(crate) fn json(map: &Map<String, Value>) -> String {
    serde_json::to_string(map).expect("maps keyed by texts are always JSON")
}

/// The closest slots so far.
struct Best<'a> {
    rows: &'a Rows,
    top_k: usize,
    found: Vec<(f32, usize)>,
}

impl<'a> Best<'a> {
    fn new(rows: &'a Rows, top_k: usize) -> Self {
        Self {
            rows,
            top_k,
            found: Vec::with_capacity(top_k + 1),
        }
    }

    fn offer(&mut self, distance: f32, slot: usize) {
        let closer = |other: &(f32, usize)| {
            self.rows
                .order(f64::from(other.0), other.1, f64::from(distance), slot)
                == Ordering::Less
        };
        if self.found.len() == self.top_k && self.found.last().is_some_and(closer) {
            return;
        }
        let place = self.found.partition_point(closer);
        self.found.insert(place, (distance, slot));
        self.found.truncate(self.top_k);
    }

    fn slots(self) -> impl Iterator<Item = usize> {
        self.found.into_iter().map(|(_, slot)| slot)
    }
}
