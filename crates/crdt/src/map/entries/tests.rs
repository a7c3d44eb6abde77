use super::*;
use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Entry;
use core::ops::Bound;
use proptest::prelude::*;

/// Runs of at most four places: sixty keys split and unite them.
type Small = Entries<String, u8, 4>;
type Model = BTreeMap<String, u8>;

#[derive(Debug, Clone)]
enum Step {
    Alter(u8, u8),
    Insert(u8, u8),
    Remove(u8),
    /// Keys one after the other.
    Ascend(u8, u8),
    Snapshot,
    /// Goes on with a snapshot, and keeps what was gone on with until then.
    Swap,
    SetSeed(u64),
    SetBytes,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..60_u8, 0..4_u8).prop_map(|(k, v)| Step::Alter(k, v)),
        2 => (0..60_u8, 1..4_u8).prop_map(|(k, v)| Step::Insert(k, v)),
        3 => (0..60_u8).prop_map(Step::Remove),
        1 => (0..60_u8, 1..20_u8).prop_map(|(k, n)| Step::Ascend(k, n)),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Swap),
        1 => any::<u64>().prop_map(Step::SetSeed),
        1 => Just(Step::SetBytes),
    ];
    prop::collection::vec(step, 0..120)
}

/// Keys that differ early, late, in the eight bytes that follow, or only behind those; and some that others
/// start with.
fn key(number: u8) -> String {
    let rest = [
        "",
        "\0",
        "\0\0",
        "1",
        "11111111",
        "111111111",
        "1111111112",
        "a long way behind",
    ];
    let start = ["", "key", "key of a family"][usize::from(number) / 8 % 3];
    format!("{start}{}{}", number / 24, rest[usize::from(number) % 8])
}

/// A cell of zero is not kept.
const fn is_kept(cell: &u8) -> bool {
    *cell > 0
}

fn apply(step: &Step, entries: &mut Small, model: &mut Model) {
    match *step {
        Step::Alter(k, v) => {
            let before = entries.alter(&key(k), |cell| core::mem::replace(cell, v), is_kept);
            let held = match v {
                0 => model.remove(&key(k)),
                v => model.insert(key(k), v),
            };
            assert_eq!(before, held.unwrap_or_default());
        }
        Step::Insert(k, v) => {
            entries.insert(key(k), v);
            model.insert(key(k), v);
        }
        Step::Remove(k) => {
            entries.remove(&key(k));
            model.remove(&key(k));
        }
        Step::Ascend(k, n) => {
            let mut keys: Vec<u8> = (k..k + n).collect();
            keys.sort_by_key(|k| key(*k));
            for k in keys {
                if let Entry::Vacant(place) = model.entry(key(k)) {
                    entries.fill(&key(k), |cell| *cell = 9, is_kept);
                    place.insert(9);
                }
            }
        }
        Step::SetSeed(seed) => entries.set_seed(seed),
        Step::SetBytes => entries.set_bytes(String::as_bytes),
        Step::Snapshot | Step::Swap => {}
    }
}

fn assert_same(entries: &Small, model: &Model) {
    assert!(entries.iter().eq(model.iter()));
    assert!(entries.iter().rev().eq(model.iter().rev()));
    assert!(entries.order.is_valid(&entries.slab));
    assert_eq!(
        (entries.len(), entries.is_empty()),
        (model.len(), model.is_empty())
    );
    for k in 0..80 {
        assert_eq!(entries.get(key(k).as_str()), model.get(&key(k)));
    }
    if let Some(index) = &entries.index {
        assert_eq!(index.len(), model.len());
    }
}

fn within<'a>(
    entries: &'a Small,
    range: &(Bound<&str>, Bound<&str>),
) -> impl Iterator<Item = (&'a String, &'a u8)> + use<'a> {
    entries.between(entries.bounds::<str, _>(range))
}

fn assert_same_ranges(entries: &Small, model: &Model, from: u8, to: u8) {
    let (from, to) = (key(from).min(key(to)), key(from).max(key(to)));
    let bounds = |key| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded];
    for start in bounds(from.as_str()) {
        for end in bounds(to.as_str()) {
            let is_panic =
                from == to && (start, end) == (Bound::Excluded(&from), Bound::Excluded(&to));
            if !is_panic {
                let range = (start, end);
                let of_model = model.range::<str, _>(range);
                assert!(within(entries, &range).eq(of_model), "{range:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn entries_and_their_snapshots_hold_what_a_tree_holds(
        steps in steps(),
        (from, to) in (0..60_u8, 0..60_u8),
    ) {
        let (mut entries, mut model) = (Small::default(), Model::new());
        let mut snapshots: Vec<(Small, Model)> = Vec::new();
        for step in &steps {
            apply(step, &mut entries, &mut model);
            match step {
                Step::Snapshot => snapshots.push((entries.clone(), model.clone())),
                Step::Swap => {
                    if let Some((snapshot, of_model)) = snapshots.last_mut() {
                        core::mem::swap(snapshot, &mut entries);
                        core::mem::swap(of_model, &mut model);
                    }
                }
                _ => {}
            }
            assert_same(&entries, &model);
        }
        assert_same_ranges(&entries, &model, from, to);
        for (snapshot, model) in &snapshots {
            assert_same(snapshot, model);
            assert_eq!(*model == Model::from_iter(entries.iter().map(|(k, c)| (k.clone(), *c))), *snapshot == entries);
        }
    }
}

#[test]
fn bounds_that_are_reversed_hold_nothing() {
    let number = |k: u8| format!("key {k:02}");
    let entries: Small = (0..40).map(|k| (number(k), 1)).collect();
    for (from, to) in [(20, 3), (39, 0), (7, 6)] {
        let (from, to) = (number(from), number(to));
        let range = (Bound::Excluded(from.as_str()), Bound::Included(to.as_str()));
        assert_eq!(within(&entries, &range).count(), 0);
        let none = (
            Bound::Excluded(from.as_str()),
            Bound::Excluded(from.as_str()),
        );
        assert_eq!(within(&entries, &none).count(), 0);
    }
}

#[test]
fn many_entries_that_go_give_their_places_back() {
    const MANY: u32 = 20_000;
    let mut entries: Entries<u32, u32> = (0..MANY).map(|k| (k, k)).collect();
    let snapshot = entries.clone();
    let mut places = entries.slab.places();
    for k in 0..MANY {
        if k % 100 != 0 {
            entries.remove(&k);
        }
        let most_free = FREE_TIMES * entries.len() + SPARE;
        let free = entries.slab.places() - entries.len();
        assert!(free <= most_free);
        if places - entries.len() <= most_free {
            assert_eq!(entries.slab.places(), places, "nothing moves too early");
        }
        places = entries.slab.places();
    }
    assert!(entries.iter().map(|(k, _)| *k).eq((0..MANY).step_by(100)));
    assert!((0..MANY).all(|k| entries.get(&k).is_some() == (k % 100 == 0)));
    assert!(snapshot.iter().map(|(k, _)| *k).eq(0..MANY));
}

#[test]
fn keys_in_ascending_order_are_inserted_at_the_finger_and_fill_their_runs() {
    let mut entries: Entries<u32, ()> = Entries::default();
    for k in 0..10_000 {
        entries.insert(k, ());
        assert!(entries.order.is_at_finger(&entries.slab, &(k + 1)));
    }
    assert!(entries.order.has_full_runs());
    // Between two keys in the first half of a full run, and in the second.
    for start in [35_000, 200_000] {
        let mut entries: Entries<u32, ()> = (0..RUN as u32).map(|k| (k * 1_000, ())).collect();
        for k in start + 1..start + 999 {
            entries.insert(k, ());
            assert!(k < start + 2 || entries.order.is_at_finger(&entries.slab, &(k + 1)));
        }
        assert!(entries.order.is_valid(&entries.slab));
    }
}

/// A key whose hash is that of all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Alike(u8);

impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u8(0);
    }
}

#[test]
fn keys_with_the_same_hash_are_told_apart() {
    let mut entries: Entries<Alike, u8> = (0..100).map(|k| (Alike(k), k)).collect();
    for k in (0..100).step_by(3) {
        entries.remove(&Alike(k));
    }
    let held = |k: u8| (!k.is_multiple_of(3)).then_some(k);
    assert!((0..100).all(|k| entries.get(&Alike(k)).copied() == held(k)));
    assert!(
        entries
            .iter()
            .map(|(_, k)| *k)
            .eq((0..100).filter_map(held))
    );
}

#[test]
fn a_seed_and_an_order_of_bytes_are_taken_and_stay() {
    let key = |k: u32| k.to_be_bytes();
    let filled = || (0..2_000).map(|k| (key(k), k)).collect();
    let (mut entries, before): (Entries<[u8; 4], u32>, Entries<[u8; 4], u32>) =
        (filled(), filled());
    entries.set_seed(7);
    entries.set_bytes(|key| key.as_slice());
    // So many go that the rest moves together.
    for k in (0..2_000).filter(|k| k % 100 != 0) {
        entries.remove(&key(k));
    }
    assert!(entries.slab.places() < 1_500);
    assert_ne!(entries.hash(&key(1)), before.hash(&key(1)));
    assert!(entries.order.bytes().is_some() && before.order.bytes().is_none());
    assert!((0..2_000).all(|k| entries.get(&key(k)).is_some() == (k % 100 == 0)));
    assert!(entries.order.is_valid(&entries.slab));
}

thread_local! {
    static ASKED: core::cell::Cell<usize> = const { core::cell::Cell::new(0) };
}

/// A key that counts how often its hash or its bytes are asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Counted(String);

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ASKED.set(ASKED.get() + 1);
        self.0.hash(state);
    }
}

#[test]
fn a_replica_hands_the_seed_and_the_order_of_bytes_on() {
    let mut replica = crate::MapReplica::<Counted, crate::MvCell<u8>>::new(crate::ReplicaId(1));
    for key in ["a", "b", "c"] {
        let _written = replica.write(Counted(key.into()), |cell, dot| cell.write(dot, 7));
    }
    ASKED.set(0);
    replica.set_hash_seed(7);
    assert!(ASKED.replace(0) >= 3, "each key is hashed anew");
    replica.order_by_bytes(|key| {
        ASKED.set(ASKED.get() + 1);
        key.0.as_bytes()
    });
    assert!(ASKED.get() >= 3, "each key says its bytes");
}

#[test]
fn places_that_are_free_are_used_again_and_small_runs_are_united() {
    let mut entries: Entries<u8, u8, 4> = (0..40).map(|k| (k, k)).collect();
    assert_eq!(entries.order.run_lengths(), [4; 10]);
    for k in (0..40).rev().filter(|k| k % 4 != 0) {
        entries.remove(&k);
    }
    // One entry of each run is left: two of them fill half a run.
    assert_eq!(entries.order.run_lengths(), [2; 5]);
    let places = entries.slab.places();
    (100..130).for_each(|k| entries.insert(k, k));
    assert_eq!((entries.len(), entries.slab.places()), (40, places));
    let two: Entries<u8, char> = [(2, 'b'), (1, 'a')].into_iter().collect();
    assert_eq!(format!("{two:?}"), "{1: 'a', 2: 'b'}");
}
