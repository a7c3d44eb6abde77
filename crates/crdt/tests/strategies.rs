//! The generators behind the features: what they make is valid, varied, and shrinks to something valid.

use crdt::laws::{Script, Step, check_lattice, check_least_difference};
use crdt::{CausalContext, Dot, ReplicaId, Timestamp, VersionVector};
use std::collections::BTreeSet;

/// Scripts are for three to five replicas and use every kind of step.
fn check_scripts(scripts: &[Script]) {
    let counts: BTreeSet<usize> = scripts.iter().map(Script::replica_count).collect();
    assert_eq!(counts, BTreeSet::from([3, 4, 5]));
    let steps = || scripts.iter().flat_map(|script| &script.steps);
    let kinds = [
        steps().any(|s| matches!(s, Step::Change { .. })),
        steps().any(|s| matches!(s, Step::Join { .. })),
        steps().any(|s| matches!(s, Step::Deliver { .. })),
    ];
    assert_eq!(kinds, [true; 3]);
}

/// Generated contexts meet: some overlap, some have gaps, and few are equal.
fn check_contexts(contexts: &[CausalContext]) {
    let pairs = || contexts.iter().zip(&contexts[1..]);
    assert!(pairs().any(|(a, b)| a.intersects(b)), "contexts meet");
    assert!(pairs().any(|(a, b)| a.partial_cmp(b).is_none()));
    assert!(
        contexts
            .iter()
            .any(|c| *c != CausalContext::from(&c.prefix()))
    );
}

mod by_proptest {
    use super::*;
    use proptest::prelude::*;
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    fn many<T: Arbitrary>() -> Vec<T> {
        let mut runner = TestRunner::deterministic();
        let values = (0..60).map(|_| any::<T>().new_tree(&mut runner).expect("values").current());
        values.collect()
    }

    #[test]
    fn what_it_makes_is_varied() {
        check_scripts(&many());
        check_contexts(&many());
        assert!(
            many::<Timestamp>()
                .iter()
                .any(|time| time.0 > u64::from(u32::MAX))
        );
    }

    proptest! {
        #[test]
        fn vectors_and_contexts_obey_the_laws(
            vectors: [VersionVector; 3],
            contexts: [CausalContext; 3],
            dot: Dot,
        ) {
            let [a, b, c] = &vectors;
            prop_assert_eq!(check_lattice(a, b, c), Ok(()));
            prop_assert_eq!(check_least_difference(a, b), Ok(()));
            let [a, b, c] = &contexts;
            prop_assert_eq!(check_lattice(a, b, c), Ok(()));
            prop_assert_eq!(check_least_difference(a, b), Ok(()));
            prop_assert!([dot].into_iter().collect::<CausalContext>().contains(dot));
        }
    }
}

mod by_quickcheck {
    use super::*;
    use quickcheck::{Arbitrary, Gen};

    fn many<T: Arbitrary>() -> Vec<T> {
        let mut generator = Gen::from_size_and_seed(30, 7);
        (0..60).map(|_| T::arbitrary(&mut generator)).collect()
    }

    #[test]
    fn what_it_makes_is_varied() {
        check_scripts(&many());
        check_contexts(&many());
        assert!(
            many::<Timestamp>()
                .iter()
                .any(|time| time.0 > u64::from(u32::MAX))
        );
    }

    #[test]
    fn vectors_obey_the_laws() {
        let vectors = many::<VersionVector>();
        for window in vectors.windows(3) {
            assert_eq!(check_lattice(&window[0], &window[1], &window[2]), Ok(()));
        }
    }

    #[test]
    fn what_shrinks_stays_valid() {
        for dot in many::<Dot>() {
            assert!(dot.shrink().all(|d| d.counter > 0 && d != dot));
        }
        for script in many::<Script>() {
            let counts = script.shrink().map(|s| s.replica_count());
            assert!(counts.into_iter().all(|count| (3..=5).contains(&count)));
            assert!(script.shrink().all(|smaller| smaller != script));
        }
        for context in many::<CausalContext>() {
            assert!(
                context
                    .shrink()
                    .all(|smaller| smaller < context
                        || smaller.event_count() <= context.event_count())
            );
        }
    }

    /// Shrinking finds the smallest script: here the smallest in which a delta arrives after a change.
    #[test]
    fn scripts_shrink_to_the_smallest() {
        let fails = |script: &Script| {
            let steps = &script.steps;
            let change = steps.iter().position(|s| matches!(s, Step::Change { .. }));
            let deliver = steps
                .iter()
                .rposition(|s| matches!(s, Step::Deliver { .. }));
            change.is_some() && change < deliver
        };
        let mut script = many::<Script>().into_iter().find(fails).expect("one fails");
        while let Some(smaller) = script.shrink().find(fails) {
            script = smaller;
        }
        let smallest = [Step::change(0, 0, 0), Step::deliver(0, 0)];
        assert_eq!(script, Script::new(3, smallest));
    }
}

mod by_arbitrary {
    use super::*;
    use arbitrary::{Arbitrary, Unstructured};

    /// Bytes that look like a fuzzer's: a multiplicative sequence for each seed.
    fn bytes(seed: u64) -> Vec<u8> {
        let next = |x: &u64| Some(x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        let numbers = std::iter::successors(Some(seed), next);
        numbers.skip(1).take(400).map(|x| (x >> 56) as u8).collect()
    }

    fn many<T: for<'a> Arbitrary<'a>>() -> Vec<T> {
        let values = (0..60).map(|seed| T::arbitrary(&mut Unstructured::new(&bytes(seed))));
        values.map(|value| value.expect("enough bytes")).collect()
    }

    #[test]
    fn what_it_makes_is_varied() {
        check_scripts(&many());
        check_contexts(&many());
        assert!(
            many::<Timestamp>()
                .iter()
                .any(|time| time.0 > u64::from(u32::MAX))
        );
        assert!(many::<ReplicaId>().iter().collect::<BTreeSet<_>>().len() > 4);
        assert!(
            many::<VersionVector>()
                .iter()
                .any(|v| v.replica_count() > 2)
        );
    }

    #[test]
    fn few_bytes_make_a_small_script() {
        let script = Script::arbitrary(&mut Unstructured::new(&[])).expect("no bytes, no steps");
        assert_eq!(script, Script::new(3, []));
    }
}
