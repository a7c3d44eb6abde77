//! What a replica answers within a budget, and what its checks find.

use alloc::vec::Vec;

use super::MapReplica;
use crate::map::map_replica::Budget;
use crate::{
    CausalContext, Dot, Knowledge, Lattice as _, Listing, LwwCell, MvCell, ReplicaId, Timestamp,
};

type Map = MapReplica<&'static str, MvCell<u8>>;

const A: ReplicaId = ReplicaId(1);
const B: ReplicaId = ReplicaId(2);
const KEYS: [&str; 3] = ["a", "b", "c"];

/// A replica that has written each key once.
fn writer() -> Map {
    let mut map = Map::new(A);
    for key in KEYS {
        let _told = map.write(key, |cell, dot| cell.write(dot, 1));
    }
    map
}

/// One that has been told of some keys alone, so that it has an exception for each.
fn told_of(keys: &[&'static str]) -> Map {
    let (writer, mut map) = (writer(), Map::new(B));
    for key in keys {
        map.join(&writer.list_key(key)).expect("another writer");
    }
    assert_eq!(map.knowledge().exception_count(), keys.len());
    map
}

/// How many listings are in the answer to one who knows nothing, and whether that is all. Each key weighs 1.
fn answer(map: &Map, events: usize, bytes: usize) -> (usize, bool) {
    let budget = Budget { events, bytes };
    let delta = map.delta_since(&Knowledge::default(), budget, |_, _| 1);
    let delta = delta.expect("nothing was trimmed");
    (delta.listings.len(), delta.complete)
}

#[test]
fn an_answer_ends_with_its_budget_and_is_never_empty() {
    let map = writer();
    assert_eq!(answer(&map, usize::MAX, usize::MAX), (3, true));
    assert_eq!(answer(&map, 2, usize::MAX), (2, false));
    assert_eq!(answer(&map, usize::MAX, 2), (2, false));
    assert_eq!(answer(&map, 0, 0), (1, false), "it makes progress");
}

#[test]
fn an_answer_with_exceptions_ends_with_its_budget_and_is_never_empty() {
    let map = told_of(&["a", "c"]);
    assert_eq!(answer(&map, usize::MAX, usize::MAX), (2, true));
    assert_eq!(answer(&map, 2, usize::MAX), (2, true));
    assert_eq!(answer(&map, 1, usize::MAX), (1, false));
    assert_eq!(answer(&map, usize::MAX, 1), (1, false));
    assert_eq!(answer(&map, 0, 0), (1, false), "it makes progress");
    let one = told_of(&["b"]);
    assert_eq!(answer(&one, 1, 1), (1, true), "nothing is behind its key");
}

#[test]
fn a_write_covers_its_own_events_alone() {
    let mut map = writer();
    let written = map.write("d", |cell, dot| cell.write(dot, 1));
    let Listing::Key(listing) = written.listing else {
        panic!("a write touches one key");
    };
    assert_eq!(listing.covered(), [Dot::new(A, 4)]);
    let logged: Vec<_> = map.log().iter().map(|(_, key)| *key).collect();
    assert_eq!(logged, ["a", "b", "c", "d"]);
}

#[test]
fn what_is_lacking_is_what_a_peer_has_beyond_the_base() {
    let (all, some) = (writer(), told_of(&["a"]));
    let base = all.knowledge().base();
    assert!(all.lacking(base).is_empty());
    assert_eq!(&some.lacking(base), base, "known of one key is not enough");
    let more: CausalContext = [Dot::new(A, 3), Dot::new(A, 4)].into_iter().collect();
    let fourth: CausalContext = core::iter::once(Dot::new(A, 4)).collect();
    assert_eq!(all.lacking(&more.joined(base)), fourth);
}

#[test]
fn checks_find_what_does_not_belong_together() {
    let mut map = MapReplica::<&str, LwwCell<u8>>::new(A);
    for (time, value) in [(1, Some(1)), (2, None)] {
        let written = map.edit("a", None, |cell| cell.write(Timestamp(time), value));
        assert!(written.is_some());
    }
    assert_eq!((map.tombstone_count(), map.check_invariants()), (1, Ok(())));
    let index = core::mem::take(&mut map.tombstones);
    let found = map.check_invariants().expect_err("no index");
    assert!(found.contains("tombstones"), "{found}");
    map.tombstones = index;
    map.log_mut().note(Dot::new(B, 7), "z");
    let found = map.check_invariants().expect_err("an unknown event");
    assert!(found.starts_with("I4"), "{found}");
}

#[test]
fn a_replica_shows_its_id_and_its_map() {
    let shown = format!("{:?}", writer());
    assert!(shown.contains("id: ") && shown.contains("map: "), "{shown}");
}
