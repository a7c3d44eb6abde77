//! Maps and listings of any origin.

use crdt::{
    Budget, CausalMap, Cut, Dot, Interval, InvalidBytes, Knows as _, Lattice as _, Listing,
    MapReplica, ReplicaId, Timestamp,
};
use std::collections::BTreeSet;

use super::decoding::take;
use super::{orders, round_trip};
use crate::kind::{Key, Kind, Lww, Mv};

/// Maps decoded from one input, at most.
const MAX_MAPS: u8 = 3;
/// Listings decoded from one input, at most: all their orders are tried.
const MAX_LISTINGS: usize = 3;
/// Identities that inputs name often, and one that they hardly ever do.
const WRITERS: [ReplicaId; 3] = [ReplicaId(1), ReplicaId(2), STRANGER];
/// An identity that inputs hardly ever name.
const STRANGER: ReplicaId = ReplicaId(u64::MAX / 3);
/// A key that is written although nothing may be there.
const NEW_KEY: Key = 33;

/// Decodes maps and listings from the bytes, as a peer could have sent them, and joins what decodes.
///
/// The first byte chooses the kind of cells and the number of maps; then come the maps, then listings.
/// States that no run reaches may disagree about winners, but nothing may panic, live dots are known
/// (I1), two states join to the same whichever comes first, what is encoded decodes to the same, and a
/// replica that has joined them can still write.
///
/// # Panics
/// If one of these fails.
pub fn join_decoded(bytes: &[u8]) {
    let Some((&first, rest)) = bytes.split_first() else {
        return;
    };
    match first % 2 {
        0 => join_decoded_as::<Lww>(first / 2 % (MAX_MAPS + 1), rest),
        _ => join_decoded_as::<Mv>(first / 2 % (MAX_MAPS + 1), rest),
    }
}

fn join_decoded_as<K: Kind>(maps: u8, mut bytes: &[u8]) {
    let mut states: Vec<CausalMap<Key, K::Cell>> = Vec::new();
    for _ in 0..maps {
        let Some((map, rest)) = take(bytes) else {
            return;
        };
        states.push(map);
        bytes = rest;
    }
    let mut listings: Vec<Listing<Key, K::Cell>> = Vec::new();
    while listings.len() < MAX_LISTINGS {
        let Some((listing, rest)) = take(bytes) else {
            break;
        };
        round_trip(&listing);
        listings.push(listing);
        bytes = rest;
    }
    states.iter().for_each(round_trip);
    for a in &states {
        assert!(a.clone().joined(a) == *a, "idempotence: {a:?}");
        for b in &states {
            let ab = a.clone().joined(b);
            assert!(ab == b.clone().joined(a), "commutativity: {a:?} {b:?}");
            check_map(&ab);
        }
    }
    for order in orders(states.len()) {
        let joined = order.iter().fold(CausalMap::default(), |joined, &i| {
            CausalMap::joined(joined, &states[i])
        });
        check_map(&joined);
    }
    states.push(CausalMap::default());
    for map in &states {
        for order in orders(listings.len()) {
            join_listings::<K>(map, order.iter().map(|&i| &listings[i]));
        }
    }
}

/// Joins listings into a replica that holds `map`, and makes the replica say all that it can say.
fn join_listings<'a, K: Kind>(
    map: &CausalMap<Key, K::Cell>,
    listings: impl Iterator<Item = &'a Listing<Key, K::Cell>> + Clone,
) {
    for writer in WRITERS {
        write_after::<K>(writer, map, listings.clone());
    }
    // Refuses no more than it must: what names an event of it joins all the same, as one of somebody else.
    let mut replica = restored::<K>(STRANGER, map);
    for listing in listings {
        if replica.join(listing).is_err() {
            replica.set_id(ReplicaId(STRANGER.0 - 1));
        }
        check_map(replica.map());
    }
    let few = Budget {
        events: 1,
        bytes: 1,
    };
    let many = Budget {
        events: 1_000,
        bytes: 1_000,
    };
    for budget in [few, many] {
        for asked in [&CausalMap::default(), map] {
            // A truncated answer is a good one here: decoded maps have no log.
            let answer = replica.delta_since(asked.knowledge(), budget, |_, _| 1);
            for listing in answer.map(|a| a.listings).unwrap_or_default() {
                round_trip(&listing);
            }
        }
        for listing in replica
            .transfer_chunk(&Cut::BelowAll, budget, |_, _| 1)
            .listings
        {
            round_trip(&listing);
        }
    }
    let keys: Vec<Key> = replica.map().entries().map(|(k, _)| *k).collect();
    for key in keys {
        round_trip(&replica.list_key(key));
    }
}

/// A replica that holds `map` and writes as `id`, or as somebody else if that would be out of numbers.
fn restored<K: Kind>(id: ReplicaId, map: &CausalMap<Key, K::Cell>) -> MapReplica<Key, K::Cell> {
    let restore = |id| {
        let entries = map.entries().map(|(k, c)| (*k, c.clone()));
        MapReplica::restore(id, entries, map.knowledge().clone(), [])
    };
    match restore(id) {
        Ok(replica) => replica,
        Err(InvalidBytes::CounterOverflow) => {
            let other = restore(ReplicaId(id.0.wrapping_sub(7)));
            other.expect("a map that decodes can be restored by one of whom it says nothing")
        }
        Err(error) => panic!("a map that decodes can be restored: {error}"),
    }
}

/// Joins listings into a replica whose identity they may name, and writes: whatever came before, no event
/// is minted that was known, and every event is known for its key. What is joined with a closer look never
/// makes one dot live under two keys.
fn write_after<'a, K: Kind>(
    writer: ReplicaId,
    map: &CausalMap<Key, K::Cell>,
    listings: impl Iterator<Item = &'a Listing<Key, K::Cell>>,
) {
    let mut replica = restored::<K>(writer, map);
    let mut careful = restored::<K>(writer, map);
    for listing in listings {
        let before = replica.snapshot();
        let joined = replica.join(listing);
        assert!(joined.is_ok() || *replica.map() == before, "{joined:?}");
        let before = careful.snapshot();
        if careful.join_checked(listing).is_ok() {
            assert!(!has_dot_twice(careful.map()), "{listing:?} to {before:?}");
        } else {
            assert!(*careful.map() == before, "{listing:?} to {before:?}");
        }
    }
    let keys: Vec<Key> = replica.map().entries().map(|(k, _)| *k).collect();
    for key in keys.into_iter().chain([NEW_KEY]) {
        let before = replica.snapshot();
        let write = |cell: &mut K::Cell, dot| K::write(cell, dot, Timestamp(9), Some(7));
        let written = replica.write(key, write);
        for (interval, known) in before.knowledge().within(&Interval::all()) {
            assert!(
                !known.knows(written.dot),
                "{writer} in {interval:?}: {before:?}"
            );
        }
        assert!(replica.knowledge().base().contains(written.dot));
        check_map(replica.map());
        // Beside exceptions, a winner that proves itself may tell of more than its writer knows of all keys.
        let tells_more = before.knowledge().exception_count() > 0;
        let mut peer = before;
        peer.join_listing(&written.listing);
        let is_told =
            peer == *replica.map() || tells_more && peer.get(&key) == replica.map().get(&key);
        assert!(is_told, "{written:?} does not tell others");
    }
}

fn has_dot_twice<C: crdt::Cell>(map: &CausalMap<Key, C>) -> bool {
    let mut live: BTreeSet<Dot> = BTreeSet::new();
    let mut dots = map.entries().flat_map(|(_, cell)| cell.dots());
    dots.any(|dot| !live.insert(dot))
}

/// I1, and the round trip. Hostile states can make one dot live under two keys; such a map is the one
/// kind that decoding refuses.
fn check_map<C>(map: &CausalMap<Key, C>)
where
    C: crdt::Cell + serde::Serialize + serde::de::DeserializeOwned,
{
    for (key, cell) in map.within(&Interval::all()) {
        let known = map.knowledge().of_key(key);
        for dot in cell.dots() {
            assert!(known.knows(dot), "I1: {dot} of {key} in {map:?}");
        }
        assert!(!cell.is_bottom(), "an empty cell is kept: {map:?}");
    }
    if !has_dot_twice(map) {
        round_trip(map);
    }
}
