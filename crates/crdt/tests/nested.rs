//! Stores inside stores: reset-remove at every depth, and large maps joined by small deltas.

use crdt::{
    AddWinsSet, Causal, CausalReplica, DisableWinsFlag, DotStore, Edit, EnableWinsFlag,
    IdentityReused, MvCell, ObjectId, OrMap, RemoveWinsSet, ReplicaId, ResettableCounter, Siblings,
};
use proptest::prelude::*;
use std::fmt::Debug;

fn replica<S: DotStore>(id: u64) -> CausalReplica<S> {
    CausalReplica::new(ObjectId(1), ReplicaId(id))
}

/// Both have seen `before`; then one removes key 7 while the other changes what is under it. Returns the
/// value that is left, after checking that deltas and states, in both directions, agree.
fn removed_while<S: DotStore + Debug>(
    before: impl Fn(&mut Edit<'_, S>),
    update: impl Fn(&mut Edit<'_, S>),
) -> Result<Option<S>, IdentityReused> {
    let [mut a, mut b] = [1, 2].map(replica::<OrMap<u8, S>>);
    b.join(&a.change(|map| map.update(7, &before)))?;
    let removed = a.change(|map| map.remove(&7));
    assert!(
        !a.contains_key(&7),
        "nothing is left of what the author had seen"
    );
    let updated = b.change(|map| map.update(7, &update));
    let (mut by_state, mut by_delta) = (a.state().clone(), a.state().clone());
    crdt::Lattice::join(&mut by_state, b.state());
    crdt::Lattice::join(&mut by_delta, &updated);
    b.join(&removed)?;
    assert_eq!(by_state, *b.state());
    assert_eq!(by_delta, *b.state());
    Ok(b.get(&7).cloned())
}

#[test]
fn a_removed_key_keeps_exactly_the_concurrent_change_of_each_type() -> Result<(), IdentityReused> {
    let set = removed_while::<AddWinsSet<u8>>(|set| set.extend([1, 2]), |set| set.add(3))?;
    assert_eq!(set.expect("an add").iter().collect::<Vec<_>>(), [&3]);

    let set = removed_while::<RemoveWinsSet<u8>>(
        |set| set.extend([1, 2]),
        |set| {
            set.add(3);
            set.remove(1);
        },
    )?;
    let set = set.expect("an add and a remove");
    assert_eq!(set.iter().collect::<Vec<_>>(), [&3]);
    assert_eq!(set.tombstone_count(), 1);

    let flag = removed_while::<EnableWinsFlag>(|flag| flag.enable(), |flag| flag.enable())?;
    assert!(flag.expect("an enable").is_enabled());
    let flag = removed_while::<EnableWinsFlag>(|flag| flag.enable(), |flag| flag.disable())?;
    assert_eq!(flag, None);

    let flag = removed_while::<DisableWinsFlag>(|flag| flag.disable(), |flag| flag.enable())?;
    assert!(
        flag.expect("an enable").is_enabled(),
        "the disable was removed with its key"
    );
    let flag = removed_while::<DisableWinsFlag>(|flag| flag.enable(), |flag| flag.disable())?;
    assert!(!flag.expect("a disable").is_enabled());

    let count = removed_while::<ResettableCounter>(|count| count.add(4), |count| count.add(1))?;
    assert_eq!(count.expect("an increment").value(), 1);
    let count = removed_while::<ResettableCounter>(|count| count.add(4), |count| count.reset())?;
    assert_eq!(count, None);

    let cell = removed_while::<MvCell<u8>>(|cell| cell.set(1), |cell| cell.set(2))?;
    assert_eq!(cell.expect("a write").values().collect::<Vec<_>>(), [&2]);
    Ok(())
}

/// What one replica does to a map of counters.
#[derive(Debug, Clone)]
enum Op {
    Add(u8, i64),
    Remove(u8),
    Clear,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0_u8..60, 1_i64..3).prop_map(|(key, amount)| Op::Add(key, amount)),
        4 => (0_u8..60).prop_map(Op::Remove),
        1 => Just(Op::Clear),
    ]
}

type Counters = OrMap<u8, ResettableCounter>;

fn change(map: &mut Edit<'_, Counters>, op: &Op) {
    match *op {
        Op::Add(key, amount) => map.update(key, |count| count.add(amount)),
        Op::Remove(key) => map.remove(&key),
        Op::Clear => map.clear(),
    }
}

fn decoded<S: DotStore + serde::Serialize + serde::de::DeserializeOwned>(
    state: &Causal<S>,
) -> Causal<S> {
    let bytes = postcard::to_stdvec(state).expect("states encode");
    postcard::from_bytes(&bytes).expect("states decode")
}

proptest! {
    /// Two replicas change a map of many keys and hear each other's deltas late; a third hears all deltas.
    /// The deltas go through the index of live dots, the states do not.
    #[test]
    fn many_keys_joined_by_deltas_are_the_join_of_the_states(
        ops in proptest::collection::vec((0_usize..2, op(), any::<bool>()), 0..120),
    ) {
        let mut writers = [1, 2].map(replica::<Counters>);
        let mut listener = replica::<Counters>(3);
        let filled = writers[0].change(|map| (0..50).for_each(|key| map.update(key, |c| c.add(1))));
        for other in [&mut writers[1], &mut listener] {
            prop_assert!(other.join(&filled).is_ok());
        }
        let mut late = [Vec::new(), Vec::new()];
        for (at, op, deliver) in ops {
            let delta = writers[at].change(|map| change(map, &op));
            prop_assert!(listener.join(&delta).is_ok());
            late[1 - at].push(delta);
            if deliver {
                for delta in late[at].drain(..) {
                    prop_assert!(writers[at].join(&delta).is_ok());
                }
            }
            // Decoding computes the digest of live dots anew.
            prop_assert_eq!(&decoded(writers[at].state()), writers[at].state());
        }
        prop_assert_eq!(&decoded(listener.state()), listener.state());
        let mut all = replica::<Counters>(4);
        for writer in &writers {
            prop_assert!(all.join(writer.state()).is_ok());
        }
        prop_assert_eq!(all.state(), listener.state());
    }
}

type Tags = OrMap<String, AddWinsSet<u8>>;
type Albums = OrMap<String, Tags>;

/// A removal at each of three depths, concurrent with changes beside and under what is removed.
#[test]
fn reset_remove_reaches_exactly_what_was_seen_at_every_depth() -> Result<(), IdentityReused> {
    let tag = |album: &'static str, photo: &'static str, tag: u8| {
        move |albums: &mut Edit<'_, Albums>| {
            albums.update(album.into(), |photos| {
                photos.update(photo.into(), |tags| tags.add(tag));
            });
        }
    };
    type Remove = fn(&mut Edit<'_, Albums>);
    let removals: [(Remove, &str); 3] = [
        (
            |albums| albums.remove("sea"),
            "{hut: {door: {1}}, sea: {boat: {3}, sand: {2}}}",
        ),
        (
            |albums| albums.update("sea".into(), |photos| photos.remove("boat")),
            "{hut: {door: {1}}, sea: {boat: {3}, sand: {1, 2}}}",
        ),
        (
            |albums| {
                albums.update("sea".into(), |photos| {
                    photos.update("boat".into(), |tags| tags.remove(&1));
                });
            },
            "{hut: {door: {1}}, sea: {boat: {2, 3}, sand: {1, 2}}}",
        ),
    ];
    for (removal, left) in removals {
        let [mut a, mut b] = [1, 2].map(replica::<Albums>);
        for tagged in [
            ("hut", "door", 1),
            ("sea", "boat", 1),
            ("sea", "boat", 2),
            ("sea", "sand", 1),
        ] {
            b.join(&a.change(tag(tagged.0, tagged.1, tagged.2)))?;
        }
        let removed = a.change(removal);
        let mut updated = vec![b.change(tag("sea", "boat", 3))];
        updated.push(b.change(tag("sea", "sand", 2)));
        for delta in updated.iter().rev() {
            a.join(delta)?;
        }
        b.join(&removed)?;
        assert_eq!(a.state(), b.state());
        assert_eq!(a.state().store().to_string(), left);
        assert_eq!(decoded(a.state()), *a.state());
        let text = serde_json::to_string(a.state()).expect("states encode");
        assert_eq!(
            serde_json::from_str::<Causal<Albums>>(&text).expect("decodes"),
            *a.state()
        );
    }
    Ok(())
}

/// Counters, flags, registers and whole sets under two keys: what a concurrent change leaves after the
/// outer key was removed.
#[test]
fn every_type_is_reset_under_two_keys() -> Result<(), IdentityReused> {
    fn left<S: DotStore>(
        before: impl Fn(&mut Edit<'_, S>),
        update: impl Fn(&mut Edit<'_, S>),
    ) -> Result<Option<S>, IdentityReused> {
        let left = removed_while::<OrMap<u8, S>>(
            |map| [1, 2].into_iter().for_each(|key| map.update(key, &before)),
            |map| map.update(1, &update),
        )?;
        Ok(left.and_then(|map| {
            assert!(!map.contains_key(&2), "nobody changed it");
            map.get(&1).cloned()
        }))
    }
    let count = left::<ResettableCounter>(|count| count.add(4), |count| count.add(-1))?;
    assert_eq!(count.map(|count| count.value()), Some(-1));
    let flag = left::<DisableWinsFlag>(|flag| flag.disable(), |flag| flag.enable())?;
    assert_eq!(flag.map(|flag| flag.is_enabled()), Some(true));
    let set = left::<RemoveWinsSet<u8>>(|set| set.add(1), |set| set.remove(1))?;
    assert_eq!(
        set.map(|set| (set.is_empty(), set.tombstone_count())),
        Some((true, 1))
    );
    let cell = left::<MvCell<u8>>(|cell| cell.set(1), |cell| cell.set(2))?;
    assert_eq!(
        cell.map(|cell| cell.values().copied().collect()),
        Some(vec![2])
    );
    let siblings = left::<Siblings<u8>>(
        |siblings| siblings.put(1, 3).expect("few"),
        |siblings| siblings.put(2, 3).expect("few"),
    )?;
    assert_eq!(
        siblings.map(|siblings| siblings.values().copied().collect()),
        Some(vec![2])
    );
    Ok(())
}

#[test]
fn many_keys_are_changed_in_one_delta() -> Result<(), IdentityReused> {
    let [mut a, mut b] = [1, 2].map(replica::<Counters>);
    let delta = a.change(|map| map.extend([(1, 5), (2, 7), (1, 1)], |count, n| count.add(n)));
    assert_eq!(delta.context().event_count(), 3);
    b.join(&delta)?;
    assert_eq!(b.to_string(), "2@1 {1: 6, 2: 7} <1:3>");
    Ok(())
}
