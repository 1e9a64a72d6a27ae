//! Building the graph beside the calls.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};

use bowline_vectors::{Graph, Metric, square};

use crate::config::Ann;
use crate::index::Shared;
use crate::state::{Indexed, State};

/// Vectors added at a time, and the fewest loose ones that are worth it.
const CHUNK: usize = 1024;

/// Looks after the graph each time `wake` says that something changed, until its other end is dropped.
pub(crate) fn run(shared: &Shared, ann: Ann, wake: &Receiver<()>) {
    while wake.recv().is_ok() {
        let changes = shared.changes.load(Ordering::Acquire);
        loop {
            if shared.closing.load(Ordering::Relaxed) || !step(shared, ann) {
                break;
            }
        }
        shared.looked.store(changes, Ordering::Release);
    }
}

/// One step, if one is due.
fn step(shared: &Shared, ann: Ann) -> bool {
    enum Due {
        Build,
        Extend,
        Drop,
    }
    let due = {
        let state = shared.read();
        let live = state.rows.len();
        match &state.graph {
            None if live >= ann.threshold => Due::Build,
            None => return false,
            // Half, so that an index at the threshold does not build and drop by turns.
            Some(_) if live < ann.threshold / 2 => Due::Drop,
            Some(indexed) if indexed.stale > CHUNK.max(indexed.graph.len() / 3) => Due::Build,
            Some(indexed) if indexed.loose.len() >= CHUNK => Due::Extend,
            Some(_) => return false,
        }
    };
    match due {
        Due::Build => build(shared),
        Due::Extend => extend(shared),
        Due::Drop => {
            let dropped = write(shared, |state| state.graph.take());
            drop(dropped);
            true
        }
    }
}

fn write<T>(shared: &Shared, change: impl FnOnce(&mut State) -> T) -> T {
    let mut state = shared.state.write().unwrap_or_else(PoisonError::into_inner);
    change(&mut state)
}

/// Builds a graph of all vectors; the one there is serves until it is done.
fn build(shared: &Shared) -> bool {
    let started = std::time::Instant::now();
    let (graph, slots) = {
        let state = shared.read();
        let slots: Vec<(usize, u64)> = state.rows.live().map(|(slot, row)| (slot, row.stamp)).collect();
        let metric = shared.config.metric;
        let longest = match metric {
            Metric::Cosine | Metric::Euclidean => 0.0,
            Metric::DotProduct => {
                let squares = slots.iter().map(|(slot, _)| square(state.rows.lanes(*slot)));
                squares.fold(0.0, f64::max).sqrt() as f32
            }
        };
        (Graph::new(metric, longest, slots.len()), slots)
    };
    let mut added = HashMap::with_capacity(slots.len());
    for chunk in slots.chunks(CHUNK) {
        if shared.closing.load(Ordering::Relaxed) {
            return false;
        }
        add(shared, &graph, chunk);
        added.extend(chunk.iter().copied());
    }
    write(shared, |state| {
        let rows = &state.rows;
        let missing = |(slot, row): (usize, &crate::rows::Row)| {
            let known = added.get(&slot) == Some(&row.stamp);
            (!known).then_some(slot)
        };
        let loose: BTreeSet<usize> = rows.live().filter_map(missing).collect();
        let known = rows.len() - loose.len();
        let stale = graph.len().saturating_sub(known);
        tracing::info!(
            vectors = graph.len(),
            elapsed_ms = started.elapsed().as_millis(),
            "the approximate index was built"
        );
        state.graph = Some(Indexed {
            graph: Arc::new(graph),
            loose,
            stale,
        });
    });
    true
}

/// Adds loose vectors to the graph.
fn extend(shared: &Shared) -> bool {
    let (graph, slots) = {
        let state = shared.read();
        let Some(indexed) = &state.graph else { return false };
        let stamped = |slot: &usize| Some((*slot, state.rows.row(*slot)?.stamp));
        let slots: Vec<(usize, u64)> = indexed.loose.iter().filter_map(stamped).take(CHUNK).collect();
        (Arc::clone(&indexed.graph), slots)
    };
    add(shared, &graph, &slots);
    write(shared, |state| {
        let State { rows, graph, .. } = state;
        let Some(indexed) = graph else { return };
        for (slot, stamp) in slots {
            if rows.row(slot).is_some_and(|row| row.stamp == stamp) {
                indexed.loose.remove(&slot);
            } else {
                indexed.stale += 1;
            }
        }
    });
    true
}

/// Adds those vectors that are still what they were.
fn add(shared: &Shared, graph: &Graph, slots: &[(usize, u64)]) {
    let copies: Vec<_> = {
        let state = shared.read();
        let rows = &state.rows;
        let same = |(slot, stamp): &&(usize, u64)| rows.row(*slot).is_some_and(|row| row.stamp == *stamp);
        let same = slots.iter().filter(same);
        same.map(|(slot, _)| (graph.copy(rows.lanes(*slot)), *slot))
            .collect()
    };
    graph.add(&copies);
}
