use super::*;
use crate::{
    AddWinsSet, CausalReplica, DeltaBuffer, DisableWinsFlag, Edit, Lattice as _, LwwCell, LwwEntry,
    LwwMap, LwwSet, MvCell, ObjectId, OrMap, RemoveWinsSet, ResettableCounter, TwoPhaseSet,
};

fn edited<S: DotStore>(change: impl FnOnce(&mut Edit<'_, S>)) -> Causal<S> {
    let mut replica = CausalReplica::<S>::new(ObjectId(1), ReplicaId(1));
    replica.change(change)
}

/// Live, tombstones.
fn counts(used: MemoryUse) -> (usize, usize) {
    (used.live, used.tombstones)
}

#[test]
fn what_a_map_replica_holds_is_counted() {
    let mut replica = MapReplica::<u8, LwwCell<u8>>::new(ReplicaId(1));
    let empty = replica.memory_use(|_, _| 9);
    assert_eq!(empty, MemoryUse::default());
    for (key, value) in [(1, Some(7)), (2, None), (1, Some(8))] {
        let _written = replica.write(key, |cell: &mut LwwCell<u8>, dot| {
            let timestamp = Timestamp(dot.counter);
            cell.write(LwwEntry {
                dot,
                timestamp,
                value,
            });
        });
    }
    let used = replica.memory_use(|_, _| 0);
    assert_eq!((counts(used), used.ranges, used.log), ((1, 1), 1, 3));
    assert_eq!(replica.memory_use(|_, _| 500).bytes, used.bytes + 1_000);
    let map = replica.map().memory_use(|_, _| 0);
    assert_eq!((counts(map), map.ranges, map.log), ((1, 1), 1, 0));
    assert!(
        map.bytes < used.bytes,
        "the log and the tombstones are beside the map"
    );
}

#[test]
fn marks_are_no_live_events() {
    let set = edited::<RemoveWinsSet<u8>>(|set| {
        set.extend(0..7);
        (5..105).for_each(|e| set.remove(e));
    });
    assert_eq!(counts(set.memory_use(|_| 0)), (5, 100));
    // An add that a remove beats goes with it.
    let (mut a, mut b) = (
        CausalReplica::<RemoveWinsSet<u8>>::new(ObjectId(1), ReplicaId(1)),
        CausalReplica::<RemoveWinsSet<u8>>::new(ObjectId(1), ReplicaId(2)),
    );
    let _removed = a.change(|set| set.remove(1));
    let added = b.change(|set| set.add(1));
    a.join(&added).expect("identities are unique");
    assert_eq!(counts(a.state().memory_use(|_| 0)), (0, 2));
    let flag = edited::<DisableWinsFlag>(|flag| flag.disable());
    assert_eq!(counts(flag.memory_use(|_| 0)), (0, 1));
    type Nested = OrMap<u8, (LwwCell<u8>, AddWinsSet<u8>)>;
    let nested = edited::<Nested>(|map| {
        map.update(1, |pair| assert!(pair.first().write(Timestamp(1), None)));
        map.update(2, |pair| pair.second().add(1));
        map.update(3, |pair| assert!(pair.first().write(Timestamp(1), Some(1))));
    });
    assert_eq!(counts(nested.memory_use(|_| 0)), (2, 1));
}

#[test]
fn bytes_are_those_of_elements_values_and_indices() {
    let bytes = |set: &Causal<AddWinsSet<[u64; 4]>>| set.memory_use(|_| 0).bytes;
    let set = edited::<AddWinsSet<[u64; 4]>>(|set| set.extend((0..1_000).map(|n| [n; 4])));
    let received = edited::<AddWinsSet<[u64; 4]>>(|_| {}).joined(&set);
    assert!(
        bytes(&received) >= 32_000,
        "the elements: {}",
        bytes(&received)
    );
    assert!(
        bytes(&received) < 48_000,
        "little else: {}",
        bytes(&received)
    );
    assert!(received.contains(&[1; 4]));
    assert_eq!(received.store().len(), 1_000);
    let indexed = bytes(&received);
    assert!(indexed >= 32_000 + 8_000, "and the index: {indexed}");
    assert_eq!(
        received.memory_use(|set| 100 * set.len()).bytes,
        indexed + 100_000
    );

    let map = edited::<OrMap<u64, MvCell<[u64; 4]>>>(|map| {
        map.extend((0..1_000).map(|n| (n, [n; 4])), |cell, value| {
            cell.set(value);
        });
    });
    let whole = map.memory_use(|_| 0).bytes;
    assert!(
        whole >= 1_000 * (8 + 32 + 16),
        "key, value and dot: {whole}"
    );

    let mut keys = CausalReplica::<OrMap<u64, MvCell<[u64; 4]>>>::new(ObjectId(1), ReplicaId(2));
    keys.join(&map).expect("identities are unique");
    let before = keys.state().memory_use(|_| 0).bytes;
    let mut other: CausalReplica<OrMap<u64, MvCell<[u64; 4]>>> =
        CausalReplica::new(ObjectId(1), ReplicaId(3));
    other.join(&map).expect("identities are unique");
    let removed = other.change(|map| map.remove(&7));
    keys.join(&removed).expect("identities are unique");
    let after = keys.state().memory_use(|_| 0).bytes;
    assert!(
        after >= before + 1_000 * 24,
        "dots to keys: {before} {after}"
    );
    // However far a counter counts, it takes what its runs take.
    let counted = |by: u64| {
        let counter = edited::<ResettableCounter>(|counter| (0..by).for_each(|_| counter.add(1)));
        counter.memory_use(|_| 0)
    };
    assert_eq!(counted(1).bytes, counted(1_000).bytes);
    assert_eq!(counted(1_000).live, 1_000);
}

#[test]
fn plain_maps_and_sets_count_what_they_remember_of_the_removed() {
    let (mut map, mut set, mut phases) =
        (LwwMap::default(), LwwSet::default(), TwoPhaseSet::default());
    for n in 0..100_u64 {
        let _delta = map.insert(n, n, Timestamp(1));
        let _delta = set.insert(n, Timestamp(1));
        let _delta = phases.insert(n);
    }
    for n in 90..120_u64 {
        let _delta = map.remove(n, Timestamp(2));
        let _delta = set.remove(n, Timestamp(2));
        let _delta = phases.remove(n);
    }
    let of_map = |heap: usize| map.memory_use(|_, value| heap + 10 * usize::from(value.is_some()));
    assert_eq!(of_map(1).bytes, of_map(0).bytes + 120);
    assert!(of_map(0).bytes >= 900 + 120 * 32);
    for used in [of_map(0), set.memory_use(|_| 0), phases.memory_use(|_| 0)] {
        assert_eq!(counts(used), (90, 30));
        assert!(used.bytes >= 120 * 8, "{used:?}");
    }
    assert_eq!(
        set.memory_use(|_| 3).bytes,
        set.memory_use(|_| 0).bytes + 360
    );
    assert_eq!(
        phases.memory_use(|_| 3).bytes,
        phases.memory_use(|_| 0).bytes + 360
    );
}

#[test]
fn a_buffer_counts_its_deltas() {
    let mut buffer = DeltaBuffer::new(&crate::GSet::<u64>::default(), 10);
    assert_eq!(buffer.memory_use(|_| 1), MemoryUse::default());
    for n in 0..5 {
        buffer.push([n].into_iter().collect());
    }
    buffer.add_peer(ReplicaId(7));
    let used = buffer.memory_use(|_| 0);
    assert_eq!((used.log, counts(used)), (5, (0, 0)));
    assert_eq!(buffer.memory_use(|delta| delta.len()).bytes, used.bytes + 5);
    buffer.forget_peer(ReplicaId(7));
    assert!(buffer.memory_use(|_| 0).bytes < used.bytes);
}
