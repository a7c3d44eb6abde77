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

/// Causal types: what counts, what is removed, and who may mint events.
mod counters {
    use crdt::{
        AddWinsSet, Causal, CausalReplica, DotConflict, DotStore, IdentityReused, Lattice, MvCell,
        ObjectId, OrMap, ReplicaId, ResettableCounter,
    };

    type Counters = OrMap<&'static str, ResettableCounter>;
    type Registers = OrMap<&'static str, MvCell<u8>>;

    fn replica<S: DotStore>(id: u64) -> CausalReplica<S> {
        CausalReplica::new(ObjectId(1), ReplicaId(id))
    }

    /// The join of some states, or deltas, in every order.
    fn in_every_order<S: DotStore>(parts: &[Causal<S>]) -> Vec<Causal<S>> {
        if parts.is_empty() {
            return vec![Causal::default()];
        }
        let mut joined = Vec::new();
        for i in 0..parts.len() {
            let mut rest = parts.to_vec();
            let last = rest.remove(i);
            joined.extend(
                in_every_order(&rest)
                    .into_iter()
                    .map(|state| state.joined(&last)),
            );
        }
        joined
    }

    /// Replica 0 counts four and all of it is removed by 2, while 1 counts one: one is left, whatever
    /// the order, as states and as deltas.
    #[test]
    fn a_removed_counter_keeps_only_the_concurrent_increment() -> Result<(), IdentityReused> {
        let [mut a, mut b, mut c] = [10, 1, 2].map(replica::<Counters>);
        let four = a.change(|map| map.update("k", |count| count.add(4)));
        c.join(a.state())?;
        let removed = c.change(|map| map.remove("k"));
        let one = b.change(|map| map.update("k", |count| count.add(1)));
        let states = [&a, &b, &c].map(|replica| replica.state().clone());
        let by_states = in_every_order(&states);
        let by_deltas = in_every_order(&[four, removed, one]);
        for joined in by_states.iter().chain(&by_deltas) {
            let value = joined.get("k").map(ResettableCounter::value);
            assert_eq!(value, Some(1), "{joined}");
            assert_eq!(joined, &by_states[0]);
        }
        Ok(())
    }

    /// A key that was removed while absent, and written again after another value was seen, holds the
    /// last write alone.
    #[test]
    fn a_removed_register_does_not_bring_back_what_was_overwritten() -> Result<(), IdentityReused> {
        let [mut a, mut b, mut c] = [10, 1, 2].map(replica::<Registers>);
        let mut deltas = vec![a.change(|map| map.remove("b"))];
        deltas.push(b.change(|map| map.update("a", |cell| cell.set(5))));
        c.join(b.state())?;
        deltas.push(c.change(|map| map.update("b", |cell| cell.set(2))));
        a.join(c.state())?;
        deltas.push(a.change(|map| map.update("b", |cell| cell.set(8))));
        deltas.push(a.change(|map| map.update("a", |cell| cell.set(2))));
        let states = [&a, &b, &c].map(|replica| replica.state().clone());
        for joined in in_every_order(&states)
            .iter()
            .chain(&in_every_order(&deltas))
        {
            let values = |key| joined.get(key).map(|cell| cell.values().copied().collect());
            assert_eq!(values("b"), Some(vec![8]), "{joined}");
            assert_eq!(values("a"), Some(vec![2]), "{joined}");
        }
        Ok(())
    }

    /// Events 1 and 2 of one replica arrive as 2, then 1: both elements live, and joining back loses
    /// nothing at the good replica.
    #[test]
    fn a_gap_loses_nothing() -> Result<(), IdentityReused> {
        let [mut a, mut b] = [1, 2].map(replica::<AddWinsSet<&str>>);
        let first = a.change(|set| set.add("first"));
        let second = a.change(|set| set.add("second"));
        b.join(&second)?;
        assert!(b.contains("second") && !b.contains("first"));
        let good = a.state().clone();
        a.join(b.state())?;
        assert_eq!(
            *a.state(),
            good,
            "one who has seen the second alone removes nothing"
        );
        b.join(&first)?;
        assert_eq!(a.state(), b.state());
        assert_eq!(b.iter().collect::<Vec<_>>(), [&"first", &"second"]);
        Ok(())
    }

    /// A replica that lost its data and goes on under its identity would give a dot to two events, and
    /// others would drop its writes. It is told, and a new incarnation loses nothing.
    #[test]
    fn an_identity_that_lost_its_data_is_noticed() -> Result<(), IdentityReused> {
        let [mut a, mut b] = [1, 2].map(replica::<AddWinsSet<&str>>);
        let lost = a.change(|set| set.extend(["old", "older"]));
        b.join(&lost)?;
        let mut a = replica::<AddWinsSet<&str>>(1);
        let minted_twice = a.change(|set| set.add("new"));
        let mut other = replica::<AddWinsSet<&str>>(9);
        other.join(b.state())?;
        other.join(&minted_twice)?;
        assert!(!other.contains("new"), "dropped, as already seen");
        let reused = IdentityReused {
            replica: ReplicaId(1),
            minted: 1,
            counter: 2,
        };
        assert_eq!(a.join(b.state()), Err(reused));
        assert!(
            a.contains("new") && !a.contains("old"),
            "nothing was joined"
        );

        let mut a = replica::<AddWinsSet<&str>>(1).into_incarnation(ReplicaId(3));
        b.join(&a.change(|set| set.add("new")))?;
        a.join(b.state())?;
        assert_eq!(a.state(), b.state());
        assert!(a.len() == 3 && ["new", "old", "older"].iter().all(|e| a.contains(e)));
        Ok(())
    }

    /// The same dot with two values, or under two keys: refused by the checking join, which changes
    /// nothing.
    #[test]
    fn the_same_dot_with_two_values_is_noticed() {
        let write = |key, value| {
            let mut writer = replica::<Registers>(1);
            let _ = writer.change(|map| map.update(key, |cell| cell.set(value)));
            writer.state().clone()
        };
        let held = write("a", 1);
        let dot = crdt::Dot::new(ReplicaId(1), 1);
        for other in [write("a", 2), write("b", 1)] {
            let mut state = held.clone();
            assert_eq!(state.join_checked(&other), Err(DotConflict { dot }));
            assert_eq!(state, held);
        }
        assert_eq!(held.clone().join_checked(&held), Ok(false));
    }
}
