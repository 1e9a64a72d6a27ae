//! What calls read: the vectors, the last processed mutation, and the graph where there is one.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use bowline_vectors::{Graph, pack};

use crate::config::Config;
use crate::database::Step;
use crate::error::VectorizeError;
use crate::filter::Filter;
use crate::rows::{Hit, Row, Rows};
use crate::store::{Match, Mutation, Origin, Query, ReturnMetadata, Vector};

/// Candidates that are asked of the graph at most, before all vectors are scanned instead.
const LARGEST_EFFORT: usize = 4096;

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) rows: Rows,
    /// Absent before the first change.
    pub(crate) processed: Option<Mutation>,
    pub(crate) graph: Option<Indexed>,
}

/// A graph, and what it does not know of the vectors.
#[derive(Debug)]
pub(crate) struct Indexed {
    pub(crate) graph: Arc<Graph>,
    /// Slots whose vectors are not in the graph. They are scanned.
    pub(crate) loose: BTreeSet<usize>,
    /// Copies in the graph of vectors that are gone.
    pub(crate) stale: usize,
}

impl Indexed {
    fn appeared(&mut self, slot: usize) {
        self.loose.insert(slot);
    }

    fn gone(&mut self, slot: usize) {
        if !self.loose.remove(&slot) {
            self.stale += 1;
        }
    }
}

impl State {
    /// Makes the steps seen.
    pub(crate) fn apply(&mut self, steps: &[Step<'_>], mutation: Mutation) {
        for step in steps {
            let id = match step {
                Step::Put { vector, .. } => vector.id.as_str(),
                Step::Remove { id } => id,
            };
            if let (Some(slot), Some(indexed)) = (self.rows.remove(id), &mut self.graph) {
                indexed.gone(slot);
            }
            if let Step::Put {
                slot,
                vector,
                written,
            } = step
            {
                self.rows.put(*slot, vector, *written);
                if let Some(indexed) = &mut self.graph {
                    indexed.appeared(*slot);
                }
            }
        }
        self.processed = Some(mutation);
    }

    pub(crate) fn get(&self, ids: &[String]) -> Vec<Vector> {
        let found = ids.iter().filter_map(|id| self.rows.position(id));
        let vector = |slot| {
            let row = self.rows.row(slot)?;
            Some(Vector {
                id: row.id.to_string(),
                values: self.rows.values(slot),
                namespace: row.namespace.as_deref().map(str::to_owned),
                metadata: row.metadata(),
            })
        };
        found.filter_map(vector).collect()
    }

    pub(crate) fn query(&self, config: &Config, query: &Query) -> Result<Vec<Match>, VectorizeError> {
        let rows = &self.rows;
        let of_id;
        let values = match &query.origin {
            Origin::Values(values) => values,
            Origin::Id(id) => {
                let slot = rows
                    .position(id)
                    .ok_or_else(|| VectorizeError::NoVector(id.clone()))?;
                of_id = rows.values(slot);
                &of_id
            }
        };
        let found = self.search(
            config,
            values,
            query.top_k,
            query.namespace.as_deref(),
            query.filter.as_ref(),
        );
        let matches = found.into_iter().filter_map(|hit| {
            let row = rows.row(hit.slot)?;
            Some(Match {
                id: row.id.to_string(),
                score: hit.score,
                values: query.return_values.then(|| rows.values(hit.slot)),
                namespace: row.namespace.as_deref().map(str::to_owned),
                metadata: match query.return_metadata {
                    ReturnMetadata::None => None,
                    ReturnMetadata::Indexed => rows.indexed_metadata(hit.slot),
                    ReturnMetadata::All => row.metadata(),
                },
            })
        });
        Ok(matches.collect())
    }

    /// The closest vectors. Exact but where there is a graph and more vectors than the configured threshold to search.
    pub(crate) fn search(
        &self,
        config: &Config,
        values: &[f32],
        top_k: usize,
        namespace: Option<&str>,
        filter: Option<&Filter>,
    ) -> Vec<Hit> {
        let rows = &self.rows;
        let space = match namespace.map(|name| rows.namespace(name)) {
            Some(None) => return Vec::new(),
            Some(Some(space)) => Some(space),
            None => None,
        };
        let bound = match filter.map(|filter| filter.over(rows.columns())) {
            Some(None) => return Vec::new(),
            Some(Some(bound)) => Some(bound),
            None => None,
        };
        let keep = |slot: usize, row: &Row| {
            // Rows of a namespace share its text.
            space.is_none_or(|space| row.namespace.as_ref().is_some_and(|own| Arc::ptr_eq(own, space)))
                && bound.as_ref().is_none_or(|bound| bound.matches(slot))
        };
        let (Some(indexed), Some(ann)) = (&self.graph, config.ann) else {
            return rows.search(values, top_k, keep);
        };
        if space.is_some() || bound.is_some() {
            let slots: Vec<usize> = rows
                .live()
                .filter(|(slot, row)| keep(*slot, row))
                .map(|(slot, _)| slot)
                .collect();
            if slots.len() < ann.threshold {
                return rows.search_among(values, top_k, slots.into_iter());
            }
        }
        let packed = pack(values, config.lanes());
        let kept = |slot: &usize| rows.row(*slot).is_some_and(|row| keep(*slot, row));
        let mut effort = ann.effort.max(2 * top_k);
        while effort <= LARGEST_EFFORT {
            let found = indexed.graph.search(&packed, effort, effort);
            // A slot comes twice where it was used again, and is not in the graph where it is loose.
            let mut candidates: HashSet<usize> = found
                .into_iter()
                .filter(|slot| kept(slot) && !indexed.loose.contains(slot))
                .collect();
            if candidates.len() >= top_k {
                candidates.extend(indexed.loose.iter().copied().filter(kept));
                return rows.search_among(values, top_k, candidates.into_iter());
            }
            effort *= 4;
        }
        rows.search(values, top_k, keep)
    }
}
