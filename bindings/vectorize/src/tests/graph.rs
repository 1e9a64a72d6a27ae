//! The approximate index: how much it finds, and that it forgets what is gone.

use std::collections::HashSet;

use bowline_vectors::Metric;

use crate::config::{Ann, Config, Mutations};
use crate::embedded::Embedded;
use crate::rows::Rows;
use crate::store::{Existing, Origin, Query, ReturnMetadata, Store as _, Vector};

const DIMENSIONS: usize = 48;
const VECTORS: usize = 3000;

/// A stream of numbers that is the same in every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f32 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        (bits >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// Around one of 40 centres, as embeddings are: not evenly spread.
    fn vector(&mut self, of: usize) -> Vec<f32> {
        let mut centre = Self(of as u64 % 40);
        (0..DIMENSIONS)
            .map(|_| centre.next() + 0.4 * self.next())
            .collect()
    }
}

fn config(metric: Metric) -> Config {
    Config {
        index_name: "x".to_owned(),
        dimensions: DIMENSIONS,
        metric,
        metadata_indexes: Vec::new(),
        ann: Some(Ann {
            threshold: 1000,
            effort: 64,
        }),
        mutations: Mutations::Synchronous,
    }
}

async fn write(index: &Embedded, vectors: &[Vector]) {
    for chunk in vectors.chunks(1000) {
        index.write(chunk.to_vec(), Existing::Replace).await.unwrap();
    }
}

async fn indexed(index: &Embedded) {
    let asked = async {
        while !index.indexed() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(120), asked)
        .await
        .unwrap();
}

fn query(values: Vec<f32>, namespace: Option<&str>) -> Query {
    Query {
        origin: Origin::Values(values),
        top_k: 10,
        namespace: namespace.map(str::to_owned),
        filter: None,
        return_values: false,
        return_metadata: ReturnMetadata::None,
    }
}

/// The part of the true closest ten that an index finds, over many queries. Scores must be exact.
async fn recall(index: &Embedded, metric: Metric, vectors: &[Vector]) -> f64 {
    let mut exact = Rows::new(metric, DIMENSIONS, Vec::new());
    for (slot, vector) in vectors.iter().enumerate() {
        exact.put(slot, vector, 1);
    }
    let (mut noise, mut found, mut asked) = (Noise(77), 0, 0);
    for number in 0..100 {
        let values = noise.vector(number);
        let hits = exact.search(&values, 10, |_, _| true);
        let expected: HashSet<(String, u64)> = hits
            .iter()
            .map(|hit| (exact.row(hit.slot).unwrap().id.to_string(), hit.score.to_bits()))
            .collect();
        let matches = index.query(query(values, None)).await.unwrap();
        assert_eq!(matches.len(), 10);
        asked += 10;
        found += matches
            .iter()
            .filter(|one| expected.contains(&(one.id.clone(), one.score.to_bits())))
            .count();
    }
    found as f64 / f64::from(asked)
}

#[tokio::test]
async fn recall_of_the_three_metrics() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::DotProduct] {
        let state = tempfile::tempdir().unwrap();
        let index = Embedded::open(&config(metric), state.path()).unwrap();
        let mut noise = Noise(1);
        let mut vectors: Vec<Vector> = (0..VECTORS)
            .map(|number| Vector {
                id: number.to_string(),
                values: noise.vector(number),
                namespace: (number % 50 == 0).then(|| "few".to_owned()),
                metadata: None,
            })
            .collect();
        write(&index, &vectors).await;
        indexed(&index).await;
        let found = recall(&index, metric, &vectors).await;
        assert!(found >= 0.97, "{metric:?}: {found}");

        // A third is deleted and a third is written anew: what is gone is not found, what is new is.
        let gone: Vec<String> = (0..VECTORS / 3).map(|number| number.to_string()).collect();
        for chunk in gone.chunks(1000) {
            index.delete(chunk.to_vec()).await.unwrap();
        }
        let mut vectors = vectors.split_off(VECTORS / 3);
        for (number, vector) in vectors.iter_mut().take(VECTORS / 3).enumerate() {
            vector.values = noise.vector(number + 7);
        }
        write(&index, &vectors[..VECTORS / 3]).await;
        let found = recall(&index, metric, &vectors).await;
        assert!(found >= 0.97, "{metric:?} while the graph is behind: {found}");
        indexed(&index).await;
        let found = recall(&index, metric, &vectors).await;
        assert!(found >= 0.97, "{metric:?} once the graph is new: {found}");

        // A small namespace is scanned, so that it is exact.
        let few = vectors.iter().filter(|vector| vector.namespace.is_some()).count();
        let mut asked = query(noise.vector(3), Some("few"));
        asked.top_k = 100;
        assert_eq!(index.query(asked).await.unwrap().len(), few);
    }
}

/// Vectors at the ends of what f32 holds, and none at all, break nothing.
#[tokio::test]
async fn vectors_that_have_no_distance() {
    for metric in [Metric::Cosine, Metric::Euclidean, Metric::DotProduct] {
        let state = tempfile::tempdir().unwrap();
        let index = Embedded::open(&config(metric), state.path()).unwrap();
        let mut noise = Noise(5);
        let vectors: Vec<Vector> = (0..1500)
            .map(|number| {
                let scale = [0.0, 1e-42, 1.0, 1e30, f32::MAX][number % 5];
                let values = noise
                    .vector(number)
                    .into_iter()
                    .map(|value| (value * scale).clamp(f32::MIN, f32::MAX));
                Vector {
                    id: number.to_string(),
                    values: values.collect(),
                    namespace: None,
                    metadata: None,
                }
            })
            .collect();
        write(&index, &vectors).await;
        indexed(&index).await;
        for vector in &vectors[..20] {
            let found = index.query(query(vector.values.clone(), None)).await.unwrap();
            assert_eq!(found.len(), 10, "{metric:?}");
        }
    }
}
