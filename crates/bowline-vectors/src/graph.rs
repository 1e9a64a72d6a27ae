//! The approximate index: an HNSW graph over coarse copies of the vectors.
//!
//! A copy has one byte a dimension, a quarter of the vector: the walk through the graph is bound by memory. What it
//! finds is scored on the vectors themselves, so scores are exact and only what is found is approximate.

use anndists::dist::distances::Distance;
use hnsw_rs::hnsw::Hnsw;

use crate::lane::{Lane, square};
use crate::metric::Metric;

/// Neighbours of a vector in the graph (twice as many on the ground layer).
const NEIGHBOURS: usize = 20;
/// Candidates for a new vector's neighbours.
const BUILD_EFFORT: usize = 160;
const LAYERS: usize = 16;
/// Bytes of a copy before its coarse values: step, square and slack, each an f32.
const HEAD: usize = 12;

/// A coarse copy.
pub type Coarse = Vec<i8>;

/// The graph. Vectors are added and never taken out: whoever owns it forgets their slots.
pub struct Graph {
    hnsw: Hnsw<'static, i8, Closeness>,
    metric: Metric,
    /// For the dot product: no shorter than the vectors it was built for.
    longest: f32,
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Graph({})", self.len())
    }
}

impl Graph {
    /// An empty graph. `longest` is the length of the longest vector there will be, or not much less.
    pub fn new(metric: Metric, longest: f32, expected: usize) -> Self {
        Self {
            hnsw: Hnsw::new(NEIGHBOURS, expected, LAYERS, BUILD_EFFORT, Closeness),
            metric,
            longest,
        }
    }

    /// Whether none was added.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Vectors that were added.
    pub fn len(&self) -> usize {
        self.hnsw.get_nb_point()
    }

    /// The copy of a vector, to be added.
    pub fn copy(&self, lanes: &[Lane]) -> Coarse {
        coarse(self.metric, Some(self.longest), lanes)
    }

    /// Adds copies with their slots, on all cores.
    pub fn add(&self, copies: &[(Coarse, usize)]) {
        let copies: Vec<_> = copies.iter().map(|(copy, slot)| (copy, *slot)).collect();
        self.hnsw.parallel_insert(&copies);
    }

    /// About the `count` closest slots, closest first; a slot may come more than once. `effort` is the number of
    /// candidates kept on the way.
    pub fn search(&self, query: &[Lane], count: usize, effort: usize) -> Vec<usize> {
        let query = coarse(self.metric, None, query);
        let found = self.hnsw.search(&query, count, effort.max(count));
        found.into_iter().map(|one| one.d_id).collect()
    }
}

/// What the graph needs of a vector.
///
/// The distance of two copies is |a|² + |b|² − 2(a·b + slack·slack). For cosine the vectors have length 1; for Euclid
/// they are as they are; neither has slack. For the dot product every stored vector is made as long as the longest by
/// one more dimension, its slack, that queries do not have: distances to a query then order as dot products do
/// (Bachrach et al. 2014).
fn coarse(metric: Metric, longest: Option<f32>, lanes: &[Lane]) -> Coarse {
    let length = square(lanes).sqrt();
    let factor = match metric {
        Metric::Cosine if length > 0.0 => 1.0 / length,
        _ => 1.0,
    };
    let scaled = || {
        let values = lanes.iter().flat_map(|lane| lane.0);
        values.map(|value| (f64::from(value) * factor) as f32)
    };
    let largest = scaled().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
    let own = ((length * factor) as f32).powi(2);
    let (square, slack) = match (metric, longest) {
        (Metric::DotProduct, Some(longest)) => {
            let square = longest.powi(2).max(own);
            (square, (square - own).sqrt())
        }
        _ => (own, 0.0),
    };
    let mut copy = Vec::with_capacity(HEAD + lanes.len() * crate::lane::WIDTH);
    for number in [step, square, slack] {
        copy.extend(number.to_le_bytes().map(u8::cast_signed));
    }
    copy.extend(scaled().map(|value| (value / step).round() as i8));
    copy
}

/// How close two copies are. Never negative and never no number, which the graph could not order.
struct Closeness;

impl Distance<i8> for Closeness {
    fn eval(&self, one: &[i8], two: &[i8]) -> f32 {
        let (Some((head_one, one)), Some((head_two, two))) =
            (one.split_at_checked(HEAD), two.split_at_checked(HEAD))
        else {
            return f32::MAX;
        };
        let ([step_one, square_one, slack_one], [step_two, square_two, slack_two]) =
            (head(head_one), head(head_two));
        let dot = coarse_dot(one, two) as f32 * (step_one * step_two);
        let distance = square_one + square_two - 2.0 * (dot + slack_one * slack_two);
        if distance.is_nan() {
            f32::MAX
        } else {
            distance.clamp(0.0, f32::MAX)
        }
    }
}

fn head(bytes: &[i8]) -> [f32; 3] {
    let (numbers, _) = bytes.as_chunks::<4>();
    let mut head = [0.0; 3];
    for (number, bytes) in head.iter_mut().zip(numbers) {
        *number = f32::from_le_bytes(bytes.map(i8::cast_unsigned));
    }
    head
}

/// Most of a walk. In blocks of this size the compiler multiplies and adds pairs by one instruction (`pmaddwd`), which takes two
/// fifths of the time that it takes without blocks.
fn coarse_dot(one: &[i8], two: &[i8]) -> i32 {
    const BLOCK: usize = 32;
    let sum = |one: &[i8], two: &[i8]| -> i32 {
        let pairs = one.iter().zip(two);
        pairs.map(|(one, two)| i32::from(*one) * i32::from(*two)).sum()
    };
    let ((ones, one_rest), (twos, two_rest)) = (one.as_chunks::<BLOCK>(), two.as_chunks::<BLOCK>());
    let blocks = ones.iter().zip(twos);
    blocks.map(|(one, two)| sum(one, two)).sum::<i32>() + sum(one_rest, two_rest)
}

#[cfg(test)]
mod tests {
    use super::coarse_dot;

    #[test]
    fn products_of_every_length_add_up() {
        let value = |at: usize, step: usize| (at * step % 255) as u8;
        for length in 0..130 {
            let [one, two] = [37, 91].map(|step| {
                let values = (0..length).map(|at| value(at, step).cast_signed());
                values.collect::<Vec<i8>>()
            });
            let sum: i64 = one
                .iter()
                .zip(&two)
                .map(|(one, two)| i64::from(*one) * i64::from(*two))
                .sum();
            assert_eq!(i64::from(coarse_dot(&one, &two)), sum, "{length}");
        }
        // The largest that there is.
        let lowest = vec![i8::MIN; 1536];
        assert_eq!(coarse_dot(&lowest, &lowest), 1536 * 128 * 128);
    }
}
