//! One handle, one incarnation: what a replica of a map or of an object refuses so that no dot ever names two
//! events.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crdt::{
    Budget, CausalContext, CausalMap, CausalReplica, Cell, Claim, Cut, Dot, DotConflict, DotRange,
    IdentityReused, Interval, IntervalListing, InvalidBytes, JoinError, KeyListing, Listing,
    LwwCell, MapReplica, MvCell, ObjectId, OrMap, ReplicaId, Timestamp,
};

type Mv = MvCell<u8>;
type Lww = LwwCell<u8>;
type Replica = MapReplica<u8, Mv>;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(2);

fn set(replica: &mut Replica, key: u8, value: u8) -> Listing<u8, Mv> {
    let written = replica.write(key, |cell, dot| cell.write(dot, value));
    written.listing
}

/// All that a replica holds and knows.
fn whole<C: Cell>(replica: &MapReplica<u8, C>) -> Vec<Listing<u8, C>> {
    let (events, bytes) = (usize::MAX, usize::MAX);
    let chunk = replica.transfer_chunk(&Cut::BelowAll, Budget { events, bytes }, |_, _| 1);
    assert_eq!(chunk.next, None);
    chunk.listings
}

fn context(dots: &[(ReplicaId, u64)]) -> Arc<CausalContext> {
    let dots = dots.iter().map(|(id, counter)| Dot::new(*id, *counter));
    Arc::new(dots.collect())
}

fn values(map: &CausalMap<u8, Mv>, key: u8) -> Vec<u8> {
    let cell = map.get(&key);
    cell.map(|cell| cell.values().copied().collect())
        .unwrap_or_default()
}

fn reused(minted: u64, counter: u64) -> IdentityReused {
    let replica = A;
    IdentityReused {
        replica,
        minted,
        counter,
    }
}

/// The failing case of a replica that has lost its data and goes on under its identity, for maps.
#[test]
fn an_identity_of_a_map_that_lost_its_data_is_noticed() -> Result<(), IdentityReused> {
    let (mut a, mut b) = (Replica::new(A), Replica::new(B));
    for (key, value) in [(1, 10), (2, 20)] {
        b.join(&set(&mut a, key, value))?;
    }
    let mut a = Replica::new(A);
    let minted_twice = set(&mut a, 1, 30);
    let mut other = Replica::new(ReplicaId(9));
    for listing in whole(&b) {
        other.join(&listing)?;
    }
    other.join(&minted_twice)?;
    assert_eq!(values(other.map(), 1), [10], "dropped, as already seen");
    let before = a.snapshot();
    for listing in [b.list_known(2)].iter().chain(&whole(&b)) {
        assert_eq!(a.check_identity(listing), Err(reused(1, 2)));
        assert_eq!(a.join(listing), Err(reused(1, 2)));
        let shown = a.join_and_see(listing, |_, _, _| panic!("nothing is joined"));
        assert_eq!(shown, Err(reused(1, 2)));
        let checked = a.join_checked(listing);
        assert_eq!(checked, Err(JoinError::IdentityReused(reused(1, 2))));
    }
    assert_eq!(*a.map(), before, "nothing was joined");

    let mut a = Replica::new(ReplicaId(3));
    b.join(&set(&mut a, 1, 30))?;
    for listing in whole(&b) {
        a.join(&listing)?;
    }
    assert_eq!(a.map(), b.map());
    assert_eq!(values(a.map(), 1), [10, 30]);
    Ok(())
}

/// A cell that proves itself comes without a context: its own event, and those that it covers, count.
#[test]
fn an_event_of_the_own_identity_is_noticed_without_a_context() {
    let mut a = MapReplica::<u8, Lww>::new(A);
    for (live, covered, counter) in [((A, 1), (B, 2), 1), ((B, 1), (A, 7), 7)] {
        let cell = LwwCell::entry(Dot::new(live.0, live.1), Timestamp(1), Some(7));
        let covered = [Dot::new(covered.0, covered.1)];
        let listing = KeyListing::new(10, cell, Claim::Itself, covered).expect("it is valid");
        assert_eq!(a.join(&Listing::Key(listing)), Err(reused(0, counter)));
    }
    assert_eq!(*a.map(), CausalMap::default());
}

/// Who is told that its last possible event exists goes on writing as if it had not been told.
#[test]
fn a_replica_writes_on_after_a_listing_of_all_that_it_could_ever_write() {
    let mut a = Replica::new(A);
    let _first = set(&mut a, 1, 10);
    let all = DotRange {
        replica: A,
        first: 1,
        last: u64::MAX,
    };
    let known: Arc<CausalContext> = Arc::new([all].into_iter().collect());
    let covered = [Dot::new(A, u64::MAX)];
    let claim = Claim::Context(Arc::clone(&known));
    let of_key = KeyListing::new(2, Mv::default(), claim, covered).expect("it is valid");
    let of_all = IntervalListing::new(Interval::all(), Vec::new(), known).expect("it is valid");
    for listing in [Listing::Key(of_key), Listing::Interval(of_all)] {
        assert_eq!(a.join(&listing), Err(reused(1, u64::MAX)));
    }
    let second = a.write(1, |cell, dot| cell.write(dot, 11));
    assert_eq!((second.dot, a.own_counter()), (Dot::new(A, 2), 2));
    assert!(!a.close(A), "who writes is not dead");
    assert_eq!(set(&mut a, 1, 12), a.list_written(1, Dot::new(A, 3)));
}

#[test]
fn a_state_that_leaves_no_event_to_mint_is_not_restored() {
    let mut b = Replica::new(B);
    assert!(b.close(A));
    let restore = |id| Replica::restore(id, [], b.knowledge().clone(), []).map(|r| r.own_counter());
    assert_eq!(restore(A), Err(InvalidBytes::CounterOverflow));
    assert_eq!(restore(B), Ok(0));
}

/// An event that is known for one key only is minted all the same.
#[test]
fn events_known_for_some_keys_count_as_minted() -> Result<(), IdentityReused> {
    let mut other = Replica::new(B);
    let cell = Mv::default();
    let claim = Claim::Context(context(&[(A, 4)]));
    let listing = KeyListing::new(10, cell, claim, []).expect("it is valid");
    other.join(&Listing::Key(listing))?;
    assert_eq!(other.knowledge().base().last_counter(A), 0);

    let mut restored = Replica::restore(A, [], other.knowledge().clone(), []).expect("it is valid");
    other.set_id(A);
    for replica in [&mut restored, &mut other] {
        assert_eq!(replica.own_counter(), 4);
        let written = replica.write(10, |cell, dot| cell.write(dot, 1));
        assert_eq!(written.dot, Dot::new(A, 5));
        assert_eq!(values(replica.map(), 10), [1]);
    }
    other.set_id(ReplicaId(7));
    assert_eq!(other.own_counter(), 0);
    Ok(())
}

/// The message of a panic, if there was one.
fn panics(change: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(change)).err()?;
    panic.downcast::<String>().map(|message| *message).ok()
}

/// I1: a change that stores another dot than its own is a mistake that must not go unnoticed.
#[test]
fn a_change_that_makes_another_event_live_panics() {
    let mut a = Replica::new(A);
    let _first = set(&mut a, 10, 1);
    for strange in [
        Dot::new(A, 1),
        Dot::new(A, 3),
        Dot::new(B, 2),
        Dot::new(B, 1),
    ] {
        let message = panics(|| {
            let mut a = Replica::new(A);
            let _first = set(&mut a, 20, 1);
            let _written = a.write(10, |cell, _| cell.write(strange, 2));
        });
        let message = message.expect("another event is live");
        assert!(message.starts_with("I1: ") && message.contains(&strange.to_string()));
        let message = panics(|| {
            let mut a = Replica::new(A);
            let _first = set(&mut a, 20, 1);
            let _written = a.edit(10, None, |cell| {
                cell.parts().0.write(strange, 2);
                false
            });
        });
        assert!(message.is_some_and(|message| message.starts_with("I1: ")));
    }
    // What was live may stay, and the own event may lose.
    let kept = a.write(10, |_, _| ());
    assert_eq!(values(a.map(), 10), [1]);
    assert_eq!(kept.dot, Dot::new(A, 2));
    let edited = a.edit(10, None, |cell| {
        cell.set(5);
        cell.set(6);
        true
    });
    assert_eq!(edited.map(|written| written.dot), Some(Dot::new(A, 4)));
    assert_eq!(values(a.map(), 10), [6]);
    assert_eq!(a.check_invariants(), Ok(()));
}

/// Two replicas that write as one: the maps that they make of their first event.
fn twins() -> [Replica; 3] {
    [(10, 1), (10, 2), (20, 1)].map(|(key, value)| {
        let mut replica = Replica::new(A);
        let _written = set(&mut replica, key, value);
        replica
    })
}

#[test]
fn the_same_dot_with_two_values_or_under_two_keys_of_a_map_is_noticed() -> Result<(), JoinError> {
    let dot = Dot::new(A, 1);
    let conflict = DotConflict { dot };
    let [held, other_value, other_key] = twins();
    for other in [&other_value, &other_key] {
        let mut map = held.snapshot();
        assert_eq!(map.join_checked(other.map()), Err(conflict));
        assert_eq!(map, held.snapshot(), "nothing was changed");
        let key = if values(other.map(), 10).is_empty() {
            20
        } else {
            10
        };
        let listings = [vec![other.list_key(key)], whole(other)].concat();
        let mut peer = Replica::new(B);
        peer.join(&held.list_written(10, dot))?;
        let noticed = |peer: &mut Replica| {
            let before = peer.snapshot();
            let refused = listings.iter().filter(|listing| {
                peer.join_checked(listing) == Err(JoinError::DotConflict(conflict))
            });
            assert_eq!(refused.count(), 2, "one of each kind");
            assert_eq!(*peer.map(), before);
        };
        noticed(&mut peer);
        // The log need not name the event, as long as it is live.
        assert_eq!(peer.log_mut().trim_to(0), [dot]);
        noticed(&mut peer);
    }
    let mut map = held.snapshot();
    assert_eq!(map.join_checked(held.map()), Ok(false));
    let mut peer = Replica::new(B);
    assert!(peer.join_checked(&held.list_key(10))?.knowledge_grew);
    assert!(!peer.join_checked(&held.list_key(10))?.knowledge_grew);
    Ok(())
}

/// What is obsolete under one key cannot be live under another either: the log knows its key.
#[test]
fn an_event_that_is_obsolete_under_another_key_is_noticed() -> Result<(), JoinError> {
    let [held, _, other_key] = twins();
    let mut peer = Replica::new(B);
    peer.join(&held.list_written(10, Dot::new(A, 1)))?;
    let _removed = peer.write(10, |cell, _| cell.clear());
    let dot = Dot::new(A, 1);
    let refused = peer.join_checked(&other_key.list_key(20));
    assert_eq!(refused, Err(JoinError::DotConflict(DotConflict { dot })));
    // A late copy of what was removed is no conflict, whether the log names it or not.
    assert!(peer.join_checked(&held.list_key(10))?.changed.is_empty());
    assert_eq!(peer.log_mut().trim_to(0).len(), 2);
    assert!(peer.join_checked(&held.list_key(10))?.changed.is_empty());
    Ok(())
}

/// A listing can contradict itself, and name runs of very many events.
#[test]
fn a_listing_with_one_dot_under_two_keys_is_refused() {
    let cell = || {
        let mut cell = Mv::default();
        cell.write(Dot::new(A, 1), 7);
        cell
    };
    let known = context(&[(A, 1)]);
    let cells = vec![(10, cell()), (20, cell())];
    let listing = IntervalListing::new(Interval::all(), cells, known).expect("it is valid");
    let mut peer = Replica::new(B);
    let refused = peer.join_checked(&Listing::Interval(listing));
    let dot = Dot::new(A, 1);
    assert_eq!(refused, Err(JoinError::DotConflict(DotConflict { dot })));
    assert_eq!(*peer.map(), CausalMap::default());
}

/// Of a closed writer all events are known, and none has to be counted out.
#[test]
fn a_closer_look_at_very_many_events_counts_none_out() {
    use crdt::ResettableCounter;
    let mut peer = MapReplica::<u8, ResettableCounter>::new(B);
    assert!(peer.close(A));
    let all = Arc::new(peer.knowledge().base().clone());
    let listing = IntervalListing::new(Interval::all(), Vec::new(), all).expect("it is valid");
    let joined = peer.join_checked(&Listing::Interval(listing));
    assert_eq!(joined.map(|joined| joined.knowledge_grew), Ok(false));
}

#[test]
fn a_handle_of_an_object_looks_closer_too() {
    type Registers = OrMap<u8, Mv>;
    let write = |id: ReplicaId, key, value| {
        let mut replica = CausalReplica::<Registers>::new(ObjectId(1), id);
        let _delta = replica.change(|map| map.update(key, |cell| cell.set(value)));
        replica
    };
    let held = write(A, 1, 1);
    let mut peer = CausalReplica::<Registers>::new(ObjectId(1), B);
    assert_eq!(peer.join_checked(held.state()), Ok(true));
    assert_eq!(peer.join_checked(held.state()), Ok(false));
    let before = peer.state().clone();
    let conflict = JoinError::DotConflict(DotConflict {
        dot: Dot::new(A, 1),
    });
    for other in [write(A, 1, 2), write(A, 2, 1)] {
        assert_eq!(peer.join_checked(other.state()), Err(conflict.clone()));
        assert_eq!(*peer.state(), before, "nothing was changed");
    }
    let refused = CausalReplica::<Registers>::new(ObjectId(1), A).join_checked(held.state());
    assert_eq!(refused, Err(JoinError::IdentityReused(reused(0, 1))));
}
