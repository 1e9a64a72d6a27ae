//! The vectors in memory and the scan over them.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::Metric;
use crate::store::Vector;

/// Values of one vector that are added up side by side.
const WIDTH: usize = 8;

/// Eight values, aligned so that the compiler can keep them in one vector register.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(align(32))]
pub(crate) struct Lane([f32; WIDTH]);

/// What a row holds beside its values.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) id: Arc<str>,
    pub(crate) namespace: Option<Arc<str>>,
    pub(crate) metadata: Option<Map<String, Value>>,
    /// The number of the mutation that wrote it.
    pub(crate) written: u64,
}

/// All vectors of an index: values in one flat block, padded with zeros to whole lanes, everything else beside it.
#[derive(Debug)]
pub(crate) struct Rows {
    metric: Metric,
    dimensions: usize,
    lanes_per_row: usize,
    lanes: Vec<Lane>,
    /// 1 / length, or 0 for a vector without direction.
    inverse_norms: Vec<f32>,
    rows: Vec<Row>,
    by_id: HashMap<Arc<str>, usize>,
    namespaces: HashMap<Arc<str>, usize>,
}

/// A row and how close it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Hit {
    pub(crate) row: usize,
    pub(crate) score: f64,
}

impl Rows {
    pub(crate) fn new(metric: Metric, dimensions: usize) -> Self {
        Self {
            metric,
            dimensions,
            lanes_per_row: dimensions.div_ceil(WIDTH),
            lanes: Vec::new(),
            inverse_norms: Vec::new(),
            rows: Vec::new(),
            by_id: HashMap::new(),
            namespaces: HashMap::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn position(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn row(&self, row: usize) -> &Row {
        &self.rows[row]
    }

    pub(crate) fn namespace_count(&self) -> usize {
        self.namespaces.len()
    }

    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains_key(namespace)
    }

    pub(crate) fn values(&self, row: usize) -> Vec<f32> {
        let flat = self.lanes_of(row).iter().flat_map(|lane| lane.0);
        flat.take(self.dimensions).collect()
    }

    /// Adds `vector`, replacing the one with its id.
    pub(crate) fn put(&mut self, vector: Vector, written: u64) {
        self.remove(&vector.id);
        let id: Arc<str> = vector.id.into();
        let namespace = vector.namespace.map(|name| {
            let name: Arc<str> = match self.namespaces.get_key_value(name.as_str()) {
                Some((name, _)) => Arc::clone(name),
                None => name.into(),
            };
            *self.namespaces.entry(Arc::clone(&name)).or_default() += 1;
            name
        });
        let lanes = self.pack(&vector.values);
        self.inverse_norms.push(inverse_norm(&lanes));
        self.lanes.extend_from_slice(&lanes);
        self.by_id.insert(Arc::clone(&id), self.rows.len());
        self.rows.push(Row {
            id,
            namespace,
            metadata: vector.metadata,
            written,
        });
    }

    /// Removes the vector of `id`; the last row takes its place.
    pub(crate) fn remove(&mut self, id: &str) {
        let Some(row) = self.by_id.remove(id) else {
            return;
        };
        let last = self.rows.len() - 1;
        let width = self.lanes_per_row;
        self.lanes.copy_within(last * width.., row * width);
        self.lanes.truncate(last * width);
        self.inverse_norms.swap_remove(row);
        let removed = self.rows.swap_remove(row);
        if let Some(moved) = self.rows.get(row) {
            self.by_id.insert(Arc::clone(&moved.id), row);
        }
        if let Some(name) = removed.namespace
            && let Some(count) = self.namespaces.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                self.namespaces.remove(&name);
            }
        }
    }

    /// The `top_k` closest rows among those that `keep` lets through, best first; equal scores by id.
    ///
    /// The scan compares in f32; the hits are then scored and ordered in f64.
    pub(crate) fn search(&self, values: &[f32], top_k: usize, keep: impl Fn(&Row) -> bool) -> Vec<Hit> {
        let query = self.pack(values);
        let mut best: Vec<(f32, usize)> = Vec::with_capacity(top_k + 1);
        for (row, (lanes, facts)) in self
            .lanes
            .chunks_exact(self.lanes_per_row)
            .zip(&self.rows)
            .enumerate()
        {
            if !keep(facts) {
                continue;
            }
            let distance = match self.metric {
                Metric::Cosine => -dot(&query, lanes) * self.inverse_norms[row],
                Metric::Euclidean => squared_distance(&query, lanes),
                Metric::DotProduct => -dot(&query, lanes),
            };
            // Only values near the end of f32's range get here; they cannot be compared, so they come last.
            let distance = if distance.is_nan() {
                f32::INFINITY
            } else {
                distance
            };
            let closer = |other: &(f32, usize)| {
                self.order(f64::from(other.0), other.1, f64::from(distance), row) == Ordering::Less
            };
            if best.len() == top_k && best.last().is_some_and(closer) {
                continue;
            }
            best.insert(best.partition_point(closer), (distance, row));
            best.truncate(top_k);
        }
        let mut hits: Vec<_> = best
            .into_iter()
            .map(|(_, row)| Hit {
                row,
                score: self.score(&query, row),
            })
            .collect();
        let distance = |hit: &Hit| {
            if self.metric == Metric::Cosine {
                -hit.score
            } else {
                hit.score
            }
        };
        hits.sort_by(|one, two| self.order(distance(one), one.row, distance(two), two.row));
        hits
    }

    fn order(&self, one: f64, one_row: usize, two: f64, two_row: usize) -> Ordering {
        one.total_cmp(&two)
            .then_with(|| self.rows[one_row].id.cmp(&self.rows[two_row].id))
    }

    fn score(&self, query: &[Lane], row: usize) -> f64 {
        let pairs = || {
            let both = query.iter().zip(self.lanes_of(row));
            both.flat_map(|(one, two)| one.0.into_iter().zip(two.0))
                .map(|(one, two)| (f64::from(one), f64::from(two)))
        };
        let dot = || pairs().map(|(one, two)| one * two).sum::<f64>();
        // Adding 0.0 turns -0.0 into 0.0.
        match self.metric {
            Metric::Cosine => {
                let (one, two) = pairs().fold((0.0, 0.0), |sums, (one, two)| {
                    (sums.0 + one * one, sums.1 + two * two)
                });
                let length = f64::sqrt(one) * f64::sqrt(two);
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

    fn lanes_of(&self, row: usize) -> &[Lane] {
        &self.lanes[row * self.lanes_per_row..][..self.lanes_per_row]
    }

    fn pack(&self, values: &[f32]) -> Vec<Lane> {
        let mut lanes = vec![Lane([0.0; WIDTH]); self.lanes_per_row];
        for (lane, values) in lanes.iter_mut().zip(values.chunks(WIDTH)) {
            lane.0[..values.len()].copy_from_slice(values);
        }
        lanes
    }
}

fn inverse_norm(lanes: &[Lane]) -> f32 {
    let square: f64 = lanes
        .iter()
        .flat_map(|lane| lane.0)
        .map(|value| f64::from(value).powi(2))
        .sum();
    if square > 0.0 {
        (1.0 / square.sqrt()) as f32
    } else {
        0.0
    }
}

fn dot(one: &[Lane], two: &[Lane]) -> f32 {
    let mut sums = [0.0; WIDTH];
    for (one, two) in one.iter().zip(two) {
        for (sum, (one, two)) in sums.iter_mut().zip(one.0.iter().zip(&two.0)) {
            *sum += one * two;
        }
    }
    sums.iter().sum()
}

fn squared_distance(one: &[Lane], two: &[Lane]) -> f32 {
    let mut sums = [0.0; WIDTH];
    for (one, two) in one.iter().zip(two) {
        for (sum, (one, two)) in sums.iter_mut().zip(one.0.iter().zip(&two.0)) {
            *sum += (one - two) * (one - two);
        }
    }
    sums.iter().sum()
}
