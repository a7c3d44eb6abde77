//! Directed schedules: each is a counterexample to a weaker rule, kept by name.

use crdt::{
    Budget, CausalMap, Cell, Cut, Delta, Dot, Knows as _, Lattice as _, Listing, LwwCell, LwwEntry,
    MapReplica, MvCell, OwnerView, Promise, Promises, ReplicaId, Timestamp, Truncated,
};
use crdt_model::copy_of;

type Key = &'static str;
type Lww = MapReplica<Key, LwwCell<&'static str>>;
type Mv = MapReplica<Key, MvCell<u32>>;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(2);
const C: ReplicaId = ReplicaId(3);
const ALL: usize = usize::MAX;

fn lww<const N: usize>() -> [Lww; N] {
    std::array::from_fn(|i| MapReplica::new(ReplicaId(i as u64 + 1)))
}

fn mv<const N: usize>() -> [Mv; N] {
    std::array::from_fn(|i| MapReplica::new(ReplicaId(i as u64 + 1)))
}

type LwwListing = Listing<Key, LwwCell<&'static str>>;

fn put(at: &mut Lww, key: Key, time: u64, value: Option<&'static str>) -> LwwListing {
    let written = at.write(key, |cell, dot| {
        let timestamp = Timestamp(time);
        cell.write(LwwEntry {
            dot,
            timestamp,
            value,
        });
    });
    written.listing
}

fn add(at: &mut Mv, key: Key, value: u32) -> Listing<Key, MvCell<u32>> {
    at.write(key, |cell, dot| cell.write(dot, value)).listing
}

fn clear(at: &mut Mv, key: Key) -> Listing<Key, MvCell<u32>> {
    at.write(key, |cell, _| cell.clear()).listing
}

fn value(of: &Lww, key: Key) -> Option<&'static str> {
    of.map().get(key).and_then(|cell| cell.value()).copied()
}

fn values(of: &Mv, key: Key) -> Vec<u32> {
    let cell = of.map().get(key);
    cell.map(|c| c.values().copied().collect())
        .unwrap_or_default()
}

fn answer<C: Cell>(
    of: &MapReplica<Key, C>,
    to: &MapReplica<Key, C>,
    events: usize,
) -> Result<Delta<Key, C>, Truncated> {
    let bytes = usize::MAX;
    of.delta_since(to.knowledge(), Budget { events, bytes }, |_, _| 1)
}

/// One synchronisation; true if the answer was complete.
fn pull<C: Cell>(to: &mut MapReplica<Key, C>, from: &MapReplica<Key, C>, events: usize) -> bool {
    let delta = answer(from, to, events).expect("nothing has been trimmed");
    for listing in &delta.listings {
        to.join(listing).expect("identities are unique");
    }
    delta.complete
}

fn pull_all<C: Cell>(to: &mut MapReplica<Key, C>, from: &MapReplica<Key, C>) {
    assert!(pull(to, from, ALL), "an answer without limits is complete");
}

/// One chunk of a transfer that holds one key; returns where the next starts.
fn pull_chunk<C: Cell>(
    to: &mut MapReplica<Key, C>,
    from: &MapReplica<Key, C>,
    start: &Cut<Key>,
) -> Option<Cut<Key>> {
    let budget = Budget {
        events: 1,
        bytes: usize::MAX,
    };
    let chunk = from.transfer_chunk(start, budget, |_, _| 1);
    for listing in &chunk.listings {
        to.join(listing).expect("identities are unique");
    }
    chunk.next
}

fn agree<C: Cell>(replicas: &[&MapReplica<Key, C>]) {
    for replica in replicas {
        assert_eq!(replica.check_invariants(), Ok(()));
        assert_eq!(replica.map(), replicas[0].map());
    }
}

/// Forgets tombstones at A by promises of B and C, who have written as often as said.
fn purge_at_a(a: &mut Lww, b_counter: u64, c_counter: u64) {
    let (mut promises, mut view) = (Promises::default(), OwnerView::default());
    for (position, id) in [A, B, C].into_iter().enumerate() {
        view.record(position as u32, id);
    }
    let time = Timestamp(100);
    for (id, counter) in [(B, b_counter), (C, c_counter)] {
        promises.record(id, Promise { time, counter });
    }
    let horizon = promises.horizon(&view, 3, A, a.knowledge().base(), time);
    let purged = a.purge(horizon.expect("A has all that B and C had written"));
    assert!(!purged.is_empty(), "a tombstone goes");
}

/// B writes v, late for C; A has v, deletes it and forgets the tombstone.
fn v_is_deleted_and_forgotten_at_a() -> (Lww, Lww, LwwListing) {
    let [mut a, mut b, c] = lww();
    let late = put(&mut b, "k", 1, Some("v"));
    a.join(&late).expect("identities are unique");
    put(&mut a, "j", 2, Some("before k"));
    put(&mut a, "k", 3, None);
    put(&mut a, "z", 4, Some("behind k"));
    purge_at_a(&mut a, 1, 0);
    assert!(a.map().get("k").is_none(), "not even a tombstone is left");
    (a, c, late)
}

/// I2 with exceptions: a cut answer makes an older event obsolete for its key at once, not only when the
/// base has caught up.
#[test]
fn late_write_after_a_cut_answer() {
    for late_after in 0..4 {
        let (a, mut c, late) = v_is_deleted_and_forgotten_at_a();
        // Three events of A and one of B, which the late listing may bring first.
        for round in 0..4 {
            let complete = pull(&mut c, &a, 1);
            let knows_delete = c.knowledge().of_key(&"k").knows(Dot::new(A, 2));
            if round == late_after {
                c.join(&late).expect("identities are unique");
            }
            assert_eq!(complete, round == 3 || (round == 2 && late_after < 2));
            let shown = value(&c, "k");
            assert!(shown.is_none() || !knows_delete, "v shows after its delete");
        }
        agree(&[&a, &c]);
    }
}

/// I2 with exceptions: a chunk makes older events of its keys obsolete, also those still on their way.
#[test]
fn late_write_between_two_chunks_of_a_transfer() {
    for late_after in 0..3 {
        let (a, mut c, late) = v_is_deleted_and_forgotten_at_a();
        let mut from = Some(Cut::BelowAll);
        for round in 0..3 {
            let start = from.take().expect("chunks: up to j, up to z, the rest");
            from = pull_chunk(&mut c, &a, &start);
            if round == late_after {
                c.join(&late).expect("identities are unique");
            }
            // The first chunk ends at j: C cannot know of the delete before the second.
            assert_eq!(value(&c, "k").is_some(), (round, late_after) == (0, 0));
        }
        assert_eq!(from, None);
        agree(&[&a, &c]);
    }
}

/// I2 with exceptions: what a read repair said of one key holds before the base knows of it.
#[test]
fn late_write_between_a_read_repair_and_the_next_sync() {
    let (a, mut c, late) = v_is_deleted_and_forgotten_at_a();
    c.join(&a.list_key("k")).expect("identities are unique");
    c.join(&late).expect("identities are unique");
    assert_eq!(value(&c, "k"), None);
    assert!(
        !c.knowledge().base().contains(Dot::new(A, 2)),
        "an exception"
    );
    pull_all(&mut c, &a);
    agree(&[&a, &c]);
}

/// I2, I5: the listing of the third write tells that the first two are obsolete.
#[test]
fn three_writes_middle_lost() {
    let [mut a, mut b] = mv();
    let first = add(&mut a, "k", 1);
    let _lost = add(&mut a, "k", 2);
    let third = add(&mut a, "k", 3);
    b.join(&third).expect("identities are unique");
    b.join(&first).expect("identities are unique");
    assert_eq!(values(&b, "k"), [3]);
    assert!(
        !b.knowledge().base().contains(Dot::new(A, 2)),
        "still to be asked for"
    );
    pull_all(&mut b, &a);
    assert_eq!(values(&b, "k"), [3]);
    agree(&[&a, &b]);
}

/// Exceptions are answers too: the absence of v, known only as an exception of C, reaches the replica
/// that reconciles, and B.
#[test]
fn a_hole_in_the_answer() {
    let [mut a, mut b, mut c] = mv();
    let v = add(&mut a, "k", 1);
    b.join(&v).expect("identities are unique");
    let _only_here = clear(&mut a, "k");
    c.join(&a.list_key("k")).expect("identities are unique");
    assert!(c.knowledge().base().is_empty() && c.knowledge().exception_count() == 1);
    for order in [[0, 1], [1, 0]] {
        // A has lost its data.
        let (mut new_a, mut b, c) = (Mv::new(ReplicaId(11)), copy_of(&b), copy_of(&c));
        for from in order {
            pull_all(&mut new_a, [&b, &c][from]);
        }
        assert_eq!(values(&new_a, "k"), [0; 0]);
        pull_all(&mut b, &new_a);
        assert_eq!(values(&b, "k"), [0; 0], "the absence reaches B");
        pull_all(&mut new_a, &b);
        assert_eq!(new_a.check_invariants(), Ok(()));
    }
    pull_all(&mut b, &c);
    assert_eq!(values(&b, "k"), [0; 0]);
}

/// The other half of the hole: what a read has returned lives on in exceptions alone when its writer has
/// lost its data, and is found there.
#[test]
fn a_write_that_lives_only_in_exceptions_is_handed_on() {
    let [mut a, mut b, mut c] = mv();
    let _lost = add(&mut c, "k", 1);
    a.join(&c.list_key("k")).expect("identities are unique");
    assert!(a.knowledge().base().is_empty(), "by exception only");
    let mut new_c = Mv::new(ReplicaId(13));
    pull_all(&mut b, &a);
    pull_all(&mut new_c, &b);
    for replica in [&a, &b, &new_c] {
        assert_eq!(values(replica, "k"), [1]);
    }
    agree(&[&a, &b, &new_c]);
}

/// There is no transfer state: a transfer that goes on from another sender, and one that is crossed by a
/// delayed chunk, claim for the base only what every chunk knew.
#[test]
fn a_transfer_resumed_from_another_sender() {
    let [mut a, mut b, mut c] = lww();
    for (key, time) in [("j", 1), ("k", 2), ("l", 3)] {
        let listing = put(&mut a, key, time, Some("old"));
        b.join(&listing).expect("identities are unique");
    }
    let delayed = a.transfer_chunk(
        &Cut::BelowAll,
        Budget {
            events: 1,
            bytes: ALL,
        },
        |_, _| 1,
    );
    let next = pull_chunk(&mut c, &a, &Cut::BelowAll).expect("more to come");
    // Acknowledged at A and B, under a key that C has been told of already.
    let acknowledged = put(&mut b, "j", 4, Some("new"));
    a.join(&acknowledged).expect("identities are unique");
    let mut from = Some(next);
    while let Some(start) = from {
        from = pull_chunk(&mut c, &b, &start);
        delayed.listings.iter().for_each(|l| {
            c.join(l).expect("identities are unique");
        });
    }
    assert!(
        !c.knowledge().base().contains(Dot::new(B, 1)),
        "C has not got the new j"
    );
    assert!(
        c.knowledge().base().includes_prefix(A, 3),
        "all chunks knew what A wrote"
    );
    assert_eq!(value(&c, "j"), Some("old"));
    pull_all(&mut c, &b);
    assert_eq!(value(&c, "j"), Some("new"));
    agree(&[&a, &b, &c]);
}

/// The same when the receiver crashed half way, and keeps what it had stored.
#[test]
fn a_transfer_resumed_after_a_crash_of_the_receiver() {
    let [mut a, mut b, mut c] = mv();
    for (key, value) in [("j", 1), ("k", 2), ("l", 3)] {
        let listing = add(&mut a, key, value);
        b.join(&listing).expect("identities are unique");
    }
    let next = pull_chunk(&mut c, &a, &Cut::BelowAll).expect("more to come");
    let newer = add(&mut a, "j", 4);
    b.join(&newer).expect("identities are unique");
    let entries = c.map().entries().map(|(k, cell)| (*k, cell.clone()));
    let entries: Vec<_> = entries.collect();
    let mut restarted = Mv::restore(C, entries, c.knowledge().clone(), []).expect("a valid state");
    let mut from = Some(next);
    while let Some(start) = from {
        from = pull_chunk(&mut restarted, &b, &start);
    }
    assert_eq!(values(&restarted, "j"), [1]);
    assert_ne!(restarted.knowledge().base(), b.knowledge().base());
    pull_all(&mut restarted, &b);
    agree(&[&a, &b, &restarted]);
}

/// What is left of a commit of which the log became durable and the knowledge did not.
#[test]
fn a_log_that_names_an_event_outside_the_knowledge_is_refused() {
    let [mut a] = mv();
    add(&mut a, "j", 1);
    let entries: Vec<_> = (a.map().entries())
        .map(|(k, cell)| (*k, cell.clone()))
        .collect();
    let log: Vec<_> = a.log().iter().map(|(dot, key)| (dot, *key)).collect();
    let knowledge = a.knowledge().clone();
    let restore = |log: &[_]| {
        let log = log.iter().copied();
        Mv::restore(A, entries.clone(), knowledge.clone(), log).map(|_| ())
    };
    assert_eq!(restore(&log), Ok(()));
    let unknown = (Dot::new(A, 2), "k");
    let refused = restore(&[log, vec![unknown]].concat());
    assert_eq!(refused, Err(crdt::InvalidBytes::LoggedDotUnknown));
}

/// The order of last-writer-wins is total on events: otherwise each side keeps its own copy, sees the
/// other's as obsolete at the next exchange, and both lose the value.
#[test]
fn equal_time_and_equal_value_under_two_dots_delivered_crosswise() {
    let [mut a, mut b] = lww();
    let from_a = put(&mut a, "k", 5, Some("v"));
    let from_b = put(&mut b, "k", 5, Some("v"));
    a.join(&from_b).expect("identities are unique");
    b.join(&from_a).expect("identities are unique");
    for _ in 0..2 {
        pull_all(&mut a, &b);
        pull_all(&mut b, &a);
        b.join(&a.list_key("k")).expect("identities are unique");
        a.join(&b.list_key("k")).expect("identities are unique");
        // A full transfer carries all knowledge, so that an obsolete copy would go now.
        assert_eq!(a.map().clone().joined(b.map()), *a.map());
        assert_eq!((value(&a, "k"), value(&b, "k")), (Some("v"), Some("v")));
    }
    agree(&[&a, &b]);
}

/// The order of last-writer-wins decides equal times by value, not by who comes first.
#[test]
fn equal_timestamps_and_different_values_end_with_the_same_one() {
    let [mut a, mut b] = lww();
    let from_a = put(&mut a, "k", 5, Some("z"));
    let from_b = put(&mut b, "k", 5, Some("a"));
    a.join(&from_b).expect("identities are unique");
    b.join(&from_a).expect("identities are unique");
    assert_eq!((value(&a, "k"), value(&b, "k")), (Some("a"), Some("a")));
    agree(&[&a, &b]);
}

/// The order of last-writer-wins holds for the local replica too: a write that loses never shows.
#[test]
fn a_local_write_that_loses_on_a_tie_never_shows() {
    let [mut a, mut b] = lww();
    let first = put(&mut a, "k", 5, Some("a"));
    b.join(&first).expect("identities are unique");
    let loser = put(&mut b, "k", 5, Some("b"));
    assert_eq!(value(&b, "k"), Some("a"));
    a.join(&loser).expect("identities are unique");
    agree(&[&a, &b]);
}

/// Contexts know gaps: event 2 before event 1 loses neither.
#[test]
fn events_two_then_one_leave_both_live() {
    let [mut a, mut b] = mv();
    let one = add(&mut a, "j", 1);
    let two = add(&mut a, "k", 2);
    b.join(&two).expect("identities are unique");
    b.join(&one).expect("identities are unique");
    assert_eq!((values(&b, "j"), values(&b, "k")), (vec![1], vec![2]));
    pull_all(&mut a, &b);
    assert_eq!((values(&a, "j"), values(&a, "k")), (vec![1], vec![2]));
    agree(&[&a, &b]);
}

/// Join is associative where removal and writing meet: whatever the order of joins, b reads {8}.
#[test]
fn a_map_of_multi_value_registers_reads_the_same_in_every_order() {
    let [mut r0, mut r1, mut r2] = mv();
    let _removes_nothing = clear(&mut r0, "b");
    let a_is_five = add(&mut r1, "a", 5);
    r2.join(&a_is_five).expect("identities are unique");
    let _two = add(&mut r2, "b", 2);
    pull_all(&mut r0, &r2);
    let _eight = add(&mut r0, "b", 8);
    let _a_is_two = add(&mut r0, "a", 2);
    let maps = [r0.map(), r1.map(), r2.map()];
    for [x, y, z] in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let left = maps[x].clone().joined(maps[y]).joined(maps[z]);
        let right = maps[x].clone().joined(&maps[y].clone().joined(maps[z]));
        for map in [&left, &right] {
            assert_eq!(
                map.get("b").map(|c| c.values().copied().collect()),
                Some(vec![8])
            );
        }
        assert_eq!(left, right);
    }
}

/// What has been forgotten stays known (I2): a duplicate of a write older than a forgotten tombstone is
/// obsolete, now as before.
#[test]
fn a_duplicate_after_the_purge_stays_obsolete() {
    let [mut a, mut b, mut c] = lww();
    let deleted = put(&mut b, "k", 10, None);
    a.join(&deleted).expect("identities are unique");
    let w = put(&mut c, "k", 1, Some("w"));
    let before = a.join(&w).expect("identities are unique");
    assert!(
        before.changed.is_empty() && value(&a, "k").is_none(),
        "superseded"
    );
    pull_all(&mut b, &c);
    pull_all(&mut c, &a);
    purge_at_a(&mut a, 1, 1);
    let again = a.join(&w).expect("identities are unique");
    assert!(again.changed.is_empty() && !again.knowledge_grew);
    assert!(a.knowledge().of_key(&"k").knows(Dot::new(C, 1)));
    assert!(a.map().get("k").is_none(), "superseded again");
    pull_all(&mut b, &a);
    assert_eq!(value(&b, "k"), None);
}

/// Age is never a reason to forget: without promises of all owners there is no horizon, and the order of
/// joins does not decide whether y exists.
#[test]
fn deletes_are_not_forgotten_by_age() {
    let [mut r0, mut r1, mut r2] = lww();
    pull_all(&mut r2, &r0);
    let listings = [
        put(&mut r2, "x", 7_200, None),
        put(&mut r1, "y", 1, None),
        put(&mut r2, "y", 7_201, None),
    ];
    pull_all(&mut r0, &r2);
    let _again = put(&mut r2, "x", 14_401, None);
    let mut view = OwnerView::default();
    for (position, id) in [A, B, C].into_iter().enumerate() {
        view.record(position as u32, id);
    }
    let base = r2.knowledge().base();
    let horizon = Promises::default().horizon(&view, 3, C, base, Timestamp(14_401));
    assert_eq!(horizon, None, "nobody has promised anything");
    let _insert = put(&mut r1, "y", 2, Some("y"));
    let maps: [&CausalMap<_, _>; 3] = [r0.map(), r1.map(), r2.map()];
    let ends: Vec<_> = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 2, 0],
        [2, 1, 0],
        [1, 0, 2],
        [2, 0, 1],
    ]
    .map(|[x, y, z]| maps[x].clone().joined(maps[y]).joined(maps[z]))
    .into();
    assert!(ends.windows(2).all(|w| w[0] == w[1]));
    assert_eq!(
        ends[0].get("y").and_then(|c| c.value()),
        None,
        "deleted at 7201, written at 2"
    );
    listings.iter().for_each(|l| {
        r0.join(l).expect("identities are unique");
    });
    assert_eq!(r0.check_invariants(), Ok(()));
}

/// A promise counts only with the owner view that came with it: once X has heard of the new B, the
/// promise of the dead one no longer suffices.
#[test]
fn the_promise_of_the_dead_does_not_stand_for_the_newcomer() {
    let [mut x, _, _] = lww();
    let new_b = ReplicaId(12);
    let (mut view, mut promises) = (OwnerView::default(), Promises::default());
    view.record(0, A);
    view.record(1, B);
    let high = Promise {
        time: Timestamp(50),
        counter: 0,
    };
    promises.record(B, high);
    let _tombstone = put(&mut x, "k", 40, None);
    let horizon = |view: &OwnerView, promises: &Promises, x: &Lww| {
        promises.horizon(view, 2, A, x.knowledge().base(), Timestamp(60))
    };
    assert!(horizon(&view, &promises, &x).is_some(), "before B died");
    // Whoever answered the new B has recorded it first, and its answers carry that view.
    let mut heard = view.clone();
    heard.record(1, new_b);
    assert!(view.join(&heard));
    assert!(view.is_fenced(1, B));
    assert_eq!(
        horizon(&view, &promises, &x),
        None,
        "the new B may write at 10"
    );
    let mut low = Lww::new(new_b);
    let write = put(&mut low, "k", 10, Some("low"));
    x.join(&write).expect("identities are unique");
    low.join(&x.list_key("k")).expect("identities are unique");
    assert_eq!((value(&x, "k"), value(&low, "k")), (None, None));
    agree(&[&x, &low]);
}

/// I4: what the log no longer names is never guessed; the answer is a transfer, and that suffices.
#[test]
fn a_trimmed_log_answers_truncated_and_a_transfer_repairs_it() {
    let [mut a, mut b] = mv();
    for (key, value) in [("j", 1), ("k", 2), ("l", 3)] {
        let _unsent = add(&mut a, key, value);
    }
    let trimmed = [Dot::new(A, 2)].into_iter().collect();
    a.log_mut().trim(&trimmed);
    assert!(answer(&a, &b, ALL).is_err());
    assert!(!pull(&mut b, &a, 1), "up to the hole the log answers");
    assert!(answer(&a, &b, ALL).is_err());
    let mut from = Some(Cut::BelowAll);
    while let Some(start) = from {
        from = pull_chunk(&mut b, &a, &start);
    }
    agree(&[&a, &b]);
}
