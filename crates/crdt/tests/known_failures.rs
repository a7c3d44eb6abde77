//! Histories on which well-known libraries go wrong, kept by name.

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
        assert_eq!(a.iter().collect::<Vec<_>>(), [&"new", &"old", &"older"]);
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
