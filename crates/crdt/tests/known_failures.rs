//! Cases on which other libraries fail, each by its name.

/// Replica and version counters.
mod clocks {
    use crdt::{Lattice, MvRegister, PnCounter, ReplicaId, VersionVector};

    /// A counter that keeps the net value of each replica, or joins it by its sign, reads 1.
    #[test]
    fn two_decrements_read_minus_2_then_one_increment_reads_minus_1() {
        let mut replicas = vec![PnCounter::default(); 3];
        for i in [0, 1] {
            let delta = replicas[i].decrement(ReplicaId(i as u64), 1);
            replicas[2].join(&delta.expect("a small count"));
        }
        assert_eq!(replicas[2].value(), -2);
        let delta = replicas[2].increment(ReplicaId(2), 1);
        assert_eq!(replicas[2].value(), -1);
        let both = replicas[0].clone().joined(&replicas[1]);
        assert_eq!(both.joined(&delta.expect("a small count")).value(), -1);
    }
    fn clock(counters: [u64; 3]) -> VersionVector {
        let counters = (0..).zip(counters);
        counters
            .map(|(replica, counter)| (ReplicaId(replica), counter))
            .collect()
    }

    /// System D: one counter of a node counts its writes to all keys, and what a write has seen is only
    /// what its key holds. A node-wide clock in its place would dominate writes that were never seen.
    #[test]
    fn system_d_a_later_write_to_another_key_hides_nothing() {
        let (mut x, mut y) = (MvRegister::default(), MvRegister::default());
        let _delta = y.write_at(clock([0, 2, 0]), "y of node 1");
        // Node 0 writes x, its first update. It has seen no version of x.
        let mut seen = x.clock();
        assert_eq!(seen.increment(ReplicaId(0)).counter, 1);
        assert_eq!(seen, clock([1, 0, 0]));
        let local = x.write_at(seen, "x of node 0");
        // Only now the write of x arrives that node 1 made before that of y.
        let _delta = x.write_at(clock([0, 1, 0]), "x of node 1");
        let both = ["x of node 0", "x of node 1"];
        assert_eq!(x.values().copied().collect::<Vec<_>>(), both);
        // The other way round at node 1: the same two versions.
        let mut other = MvRegister::default();
        let _delta = other.write_at(clock([0, 1, 0]), "x of node 1");
        other.join(&local);
        assert_eq!(other, x);
    }
}

/// Last-writer-wins order.
mod timestamps {
    use crdt::{
        CausalContext, Dot, Horizon, Lattice, LwwMap, LwwRegister, OwnerView, Promise, Promises,
        ReplicaId, Timestamp,
    };

    #[test]
    fn equal_timestamps_with_different_values_end_the_same_everywhere() {
        let (mut left, mut right) = (LwwRegister::default(), LwwRegister::default());
        let a = left.write(Timestamp(5), "a");
        let b = right.write(Timestamp(5), "b");
        left.join(&b);
        right.join(&a);
        assert_eq!((left.value(), right.value()), (Some(&"a"), Some(&"a")));
    }

    #[test]
    fn a_local_write_with_an_equal_timestamp_and_a_losing_value_is_never_visible() {
        let mut register = LwwRegister::default();
        let first = register.write(Timestamp(5), "a");
        let second = register.write(Timestamp(5), "b");
        assert_eq!(register.value(), Some(&"a"));
        assert_eq!(second, LwwRegister::default(), "nor does it travel");
        assert_eq!(second.joined(&first), register);
    }

    type Map = LwwMap<&'static str, u8>;

    const HOUR: u64 = 3_600;

    /// What the horizon is of replica 2 in the case below, if replicas 0 and 1 promised as given.
    fn horizon_of_2(promised: &[(u64, u64)], clock: u64) -> Option<Horizon> {
        let (mut view, mut promises) = (OwnerView::default(), Promises::default());
        (0..3).for_each(|position| {
            view.record(position, ReplicaId(position.into()));
        });
        for &(replica, time) in promised {
            let time = Timestamp(time);
            promises.record(ReplicaId(replica), Promise { time, counter: 1 });
        }
        let events = [0, 1].map(|replica| Dot::new(ReplicaId(replica), 1));
        let base: CausalContext = events.into_iter().collect();
        promises.horizon(&view, 3, ReplicaId(2), &base, Timestamp(clock))
    }

    /// The case, with the time of the last insert. Returns the replicas before they are joined.
    fn deletes_by_age(purge: Option<Horizon>, insert_at: u64) -> [Map; 3] {
        let [mut r0, mut r1, mut r2] = <[Map; 3]>::default();
        r2.join(&r0);
        let _delta = r2.remove("x", Timestamp(2 * HOUR));
        let _delta = r1.remove("y", Timestamp(1));
        let _delta = r2.remove("y", Timestamp(2 * HOUR + 1));
        r0.join(&r2);
        let _delta = r2.remove("x", Timestamp(4 * HOUR + 1));
        if let Some(horizon) = purge {
            assert_eq!(r2.purge(&horizon), 1, "the removal of y, and not that of x");
        }
        let _delta = r1.insert("y", 7, Timestamp(insert_at));
        [r0, r1, r2]
    }

    fn in_every_order(replicas: &[Map; 3]) -> Vec<Map> {
        let orders = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        let join = |order: [usize; 3]| {
            let all = order.map(|i| &replicas[i]);
            all.into_iter()
                .fold(Map::default(), |all, one| all.joined(one))
        };
        orders.map(join).into()
    }

    /// Age alone is no reason to forget: without the promises of all there is no certificate. With it, an
    /// insert that keeps its writer's promise is seen whatever the order; and if one breaks the promise,
    /// all orders still agree, and the careful join reports it.
    #[test]
    fn deleting_node_locally_by_age_does_not_depend_on_the_order_of_joins() {
        assert_eq!(
            horizon_of_2(&[(0, 9 * HOUR)], 5 * HOUR),
            None,
            "replica 1 has promised nothing"
        );
        let horizon = horizon_of_2(&[(0, 9 * HOUR), (1, 3 * HOUR)], 5 * HOUR);
        assert_eq!(horizon.map(|h| h.time()), Some(Timestamp(3 * HOUR)));
        for (purge, insert_at, expected) in [
            (None, HOUR, None),
            (None, 3 * HOUR + 1, Some(&7)),
            (horizon, 3 * HOUR + 1, Some(&7)),
            (horizon, HOUR, None),
        ] {
            let replicas = deletes_by_age(purge, insert_at);
            for joined in in_every_order(&replicas) {
                assert_eq!(joined.get("y"), expected, "{joined}");
                assert_eq!(joined.get("x"), None, "{joined}");
            }
            let [_, r1, mut r2] = replicas;
            let is_late = purge.is_some() && insert_at <= 3 * HOUR;
            assert_eq!(r2.join_checked(&r1).is_err(), is_late);
        }
    }
}
