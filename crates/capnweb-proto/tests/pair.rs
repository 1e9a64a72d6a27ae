//! Two ends of a session, joined by queues, against a model.

mod rig;

use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever both ends do, in whatever order messages arrive: results are the model's, calls keep their order, and
    /// in the end nothing is left in a table.
    #[test]
    fn both_ends_agree(input in prop::collection::vec(any::<u8>(), 0..600)) {
        rig::Rig::new(&input).play();
    }
}
