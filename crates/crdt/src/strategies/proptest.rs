//! Strategies for proptest.

use ::proptest::arbitrary::Arbitrary;
use ::proptest::collection::{SizeRange, vec};
use ::proptest::prelude::{BoxedStrategy, Strategy, any, prop_oneof};

use crate::laws::{Script, Step};
use crate::strategies::{COUNTERS, ENTRIES, REPLICAS, SCRIPT_REPLICAS, STEPS};
use crate::{CausalContext, Dot, ReplicaId, Timestamp, VersionVector};

impl Script {
    /// Scripts of three to five replicas with this many steps.
    ///
    /// ```
    /// use crdt::laws::Script;
    /// use proptest::strategy::{Strategy, ValueTree};
    /// use proptest::test_runner::TestRunner;
    ///
    /// let mut runner = TestRunner::deterministic();
    /// let script = Script::strategy(10..20).new_tree(&mut runner)?.current();
    /// assert!((10..20).contains(&script.steps.len()));
    /// # Ok::<(), proptest::test_runner::Reason>(())
    /// ```
    pub fn strategy(steps: impl Into<SizeRange>) -> BoxedStrategy<Self> {
        let steps = vec(any::<Step>(), steps);
        let script = (SCRIPT_REPLICAS, steps);
        script
            .prop_map(|(replicas, steps)| Self { replicas, steps })
            .boxed()
    }
}

impl Arbitrary for Script {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        Self::strategy(0..=STEPS)
    }
}

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let replica = || 0..*SCRIPT_REPLICAS.end();
        prop_oneof![
            4 => (replica(), any::<u8>(), any::<u8>())
                .prop_map(|(at, what, which)| Self::change(at, what, which)),
            3 => (replica(), replica()).prop_map(|(from, to)| Self::join(from, to)),
            3 => (any::<u8>(), replica()).prop_map(|(delta, to)| Self::deliver(delta, to)),
        ]
        .boxed()
    }
}

impl Arbitrary for ReplicaId {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![9 => 1..=REPLICAS, 1 => any::<u64>()]
            .prop_map(Self)
            .boxed()
    }
}

impl Arbitrary for Timestamp {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        prop_oneof![9 => 0..=COUNTERS, 1 => any::<u64>()]
            .prop_map(Self)
            .boxed()
    }
}

impl Arbitrary for Dot {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let dot = (any::<ReplicaId>(), 1..=COUNTERS);
        dot.prop_map(|(replica, counter)| Self::new(replica, counter))
            .boxed()
    }
}

impl Arbitrary for VersionVector {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let entries = vec((any::<ReplicaId>(), 1..=COUNTERS), 0..=ENTRIES);
        entries.prop_map(Self::from_iter).boxed()
    }
}

impl Arbitrary for CausalContext {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        let dots = vec(any::<Dot>(), 0..=ENTRIES);
        dots.prop_map(Self::from_iter).boxed()
    }
}
