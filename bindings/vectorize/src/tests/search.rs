//! The scan against a naive model.

use std::collections::BTreeMap;

use bowline_vectors::Metric;
use proptest::prelude::*;

use crate::rows::Rows;
use crate::store::Vector;

#[derive(Debug, Clone)]
enum Change {
    Put(u8, Vec<f32>),
    Remove(u8),
}

/// Closeness by the textbook, in f64; lower is closer.
fn distance(metric: Metric, one: &[f32], two: &[f32]) -> f64 {
    let dot = |one: &[f32], two: &[f32]| -> f64 {
        one.iter()
            .zip(two)
            .map(|(one, two)| f64::from(*one) * f64::from(*two))
            .sum()
    };
    match metric {
        Metric::DotProduct => 0.0 - dot(one, two),
        Metric::Euclidean => {
            let difference: Vec<_> = one.iter().zip(two).map(|(one, two)| one - two).collect();
            dot(&difference, &difference).sqrt()
        }
        Metric::Cosine => {
            let lengths = dot(one, one).sqrt() * dot(two, two).sqrt();
            if lengths == 0.0 {
                0.0
            } else {
                -dot(one, two) / lengths
            }
        }
    }
}

// Whole numbers, so that f32 sums are exact and ties are real. 1 to 20 dimensions cover part and whole lanes.
fn cases() -> impl Strategy<Value = (Metric, Vec<Change>, Vec<f32>, usize, u8)> {
    (1usize..20).prop_flat_map(|dimensions| {
        let values = || prop::collection::vec((-9i8..10).prop_map(f32::from), dimensions);
        let change = prop_oneof![
            4 => (0u8..40, values()).prop_map(|(id, values)| Change::Put(id, values)),
            1 => (0u8..40).prop_map(Change::Remove),
        ];
        let metric = prop_oneof![
            Just(Metric::Cosine),
            Just(Metric::Euclidean),
            Just(Metric::DotProduct)
        ];
        (
            metric,
            prop::collection::vec(change, 0..80),
            values(),
            1usize..12,
            1u8..4,
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn finds_what_the_model_finds((metric, changes, query, top_k, modulus) in cases()) {
        let mut rows = Rows::new(metric, query.len(), Vec::new());
        let mut model = BTreeMap::new();
        for (number, change) in (1..).zip(changes) {
            match change {
                Change::Put(id, values) => {
                    let namespace = (id % modulus == 0).then(|| "kept".to_owned());
                    let name = format!("{id:02}");
                    let slot = rows.free().next().unwrap_or(rows.slots());
                    rows.put(slot, &Vector { id: name.clone(), values: values.clone(), namespace, metadata: None }, number);
                    model.insert(name, (id, values));
                }
                Change::Remove(id) => {
                    let name = format!("{id:02}");
                    rows.remove(&name);
                    model.remove(&name);
                }
            }
        }
        prop_assert_eq!(rows.len(), model.len());
        for (id, (_, values)) in &model {
            prop_assert_eq!(&rows.values(rows.position(id).unwrap()), values);
        }

        let hits = rows.search(&query, top_k, |_, row| row.namespace.as_deref() == Some("kept"));
        let mut expected: Vec<_> = model
            .iter()
            .filter(|(_, (id, _))| id % modulus == 0)
            .map(|(id, (_, values))| (distance(metric, &query, values), id.clone()))
            .collect();
        expected.sort_by(|one, two| one.0.total_cmp(&two.0).then_with(|| one.1.cmp(&two.1)));
        expected.truncate(top_k);

        prop_assert_eq!(hits.len(), expected.len());
        for (hit, (distance_expected, id_expected)) in hits.iter().zip(&expected) {
            let found = if metric == Metric::Cosine { -hit.score } else { hit.score };
            prop_assert!((found - distance_expected).abs() < 1e-5, "{found} {distance_expected}");
            let id = &*rows.row(hit.slot).unwrap().id;
            let own = distance(metric, &query, &model[id].1);
            prop_assert!((found - own).abs() < 1e-9, "{id} has {own}, not {found}");
            // Cosines of parallel vectors differ by rounding, so only the other metrics have exact ties.
            if metric != Metric::Cosine {
                prop_assert_eq!(id, id_expected);
            }
        }
    }
}

/// A dot product of -0.0 once ranked below one of 0.0.
#[test]
fn the_sign_of_zero_ranks_nothing() {
    let mut rows = Rows::new(Metric::DotProduct, 1, Vec::new());
    for (id, value) in [("b", -1.0), ("a", 0.0), ("c", 1.0)] {
        rows.put(
            rows.slots(),
            &Vector {
                id: id.to_owned(),
                values: vec![value],
                namespace: None,
                metadata: None,
            },
            1,
        );
    }
    let hits = rows.search(&[0.0], 3, |_, _| true);
    let ids: Vec<_> = hits.iter().map(|hit| &*rows.row(hit.slot).unwrap().id).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert!(hits.iter().all(|hit| hit.score.is_sign_positive()));
}
