//! Maps and listings of any origin.

use crdt::{
    Budget, CausalMap, Cut, Dot, Interval, Knows as _, Lattice as _, Listing, MapReplica, ReplicaId,
};
use postcard::take_from_bytes;
use std::collections::BTreeSet;

use super::{orders, round_trip};
use crate::kind::{Key, Kind, Lww, Mv};

/// Maps decoded from one input, at most.
const MAX_MAPS: u8 = 3;
/// Listings decoded from one input, at most: all their orders are tried.
const MAX_LISTINGS: usize = 3;

/// Decodes maps and listings from the bytes, as a peer could have sent them, and joins what decodes.
///
/// The first byte chooses the kind of cells and the number of maps; then come the maps, then listings.
/// States that no run reaches may disagree about winners, but nothing may panic, live dots are known
/// (I1), two states join to the same whichever comes first, and what is encoded decodes to the same.
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
        let Ok((map, rest)) = take_from_bytes(bytes) else {
            return;
        };
        states.push(map);
        bytes = rest;
    }
    let mut listings: Vec<Listing<Key, K::Cell>> = Vec::new();
    while listings.len() < MAX_LISTINGS {
        let Ok((listing, rest)) = take_from_bytes(bytes) else {
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
    listings: impl Iterator<Item = &'a Listing<Key, K::Cell>>,
) {
    let entries = map.entries().map(|(k, c)| (*k, c.clone()));
    let knowledge = map.knowledge().clone();
    let restored = MapReplica::restore(ReplicaId(1), entries, knowledge, []);
    let mut replica = restored.expect("a map that decodes can be restored");
    for listing in listings {
        replica.join(listing);
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

/// I1, and the round trip. Hostile states can make one dot live under two keys; such a map is the one
/// kind that decoding refuses.
fn check_map<C>(map: &CausalMap<Key, C>)
where
    C: crdt::Cell + serde::Serialize + serde::de::DeserializeOwned,
{
    let mut live: BTreeSet<Dot> = BTreeSet::new();
    let mut twice = false;
    for (key, cell) in map.within(&Interval::all()) {
        let known = map.knowledge().of_key(key);
        for dot in cell.dots() {
            assert!(known.knows(dot), "I1: {dot} of {key} in {map:?}");
            twice |= !live.insert(dot);
        }
        assert!(!cell.is_bottom(), "an empty cell is kept: {map:?}");
    }
    if !twice {
        round_trip(map);
    }
}
