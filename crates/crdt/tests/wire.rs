//! What travels: round trips, canonical bytes, golden bytes, and hostile input.

use crdt::{
    Budget, Causal, CausalContext, CausalMap, Claim, Cut, Dot, DotRange, HybridClock, Interval,
    IntervalListing, KeyListing, Knowledge, LamportClock, Listing, LwwCell, LwwEntry, MapReplica,
    MvCell, OwnerView, Promise, Promises, ReplicaId, Timestamp, VersionVector,
};
use crdt_model::{Key, Kind, Lww, Mv, Script, World, copy_of};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, SeqDeserializer};
use std::fmt::Debug;

type Cell = LwwCell<u8>;
type Siblings = MvCell<u8>;

/// An announced length that no input can back up: 2^60 elements.
const HUGE: u64 = 1 << 60;

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("values encode")
}

fn hex<T: Serialize>(value: &T) -> String {
    let digits = bytes(value);
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[track_caller]
fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let decoded: T = postcard::from_bytes(&bytes(value)).expect("bytes decode");
    assert_eq!(decoded, *value, "postcard");
    let json = serde_json::to_string(value).expect("values encode");
    let decoded: T = serde_json::from_str(&json).expect("text decodes");
    assert_eq!(decoded, *value, "JSON: {json}");
}

fn dot(replica: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId(replica), counter)
}

fn context(dots: &[(u64, u64)]) -> CausalContext {
    dots.iter().map(|&(r, c)| dot(r, c)).collect()
}

fn put(key: Key, time: u64, value: u8) -> (MapReplica<Key, Cell>, Listing<Key, Cell>) {
    let mut replica = MapReplica::new(ReplicaId(1));
    let written = replica.write(key, |cell: &mut Cell, dot| {
        let (timestamp, value) = (Timestamp(time), Some(value));
        cell.write(LwwEntry {
            dot,
            timestamp,
            value,
        });
    });
    (replica, written.listing)
}

/// Every public type that has no invariants of its own, or whose states need no map.
#[test]
fn small_values_come_back_as_they_went() {
    round_trip(&ReplicaId(u64::MAX));
    round_trip(&dot(3, 7));
    round_trip(&Timestamp(u64::MAX));
    round_trip(&LamportClock::starting_after(Timestamp(9)));
    let mut clock = HybridClock::new(7, 60_000).expect("a valid slot");
    clock.resume(Timestamp(u64::MAX / 3));
    round_trip(&clock);
    round_trip(
        &[(ReplicaId(1), 2), (ReplicaId(5), u64::MAX)]
            .into_iter()
            .collect::<VersionVector>(),
    );
    let mut all = context(&[(1, 1), (1, 3), (9, u64::MAX)]);
    round_trip(&all);
    all.insert_range(DotRange {
        replica: ReplicaId(2),
        first: 1,
        last: u64::MAX,
    });
    round_trip(&all);
    round_trip(&LwwEntry {
        dot: dot(1, 1),
        timestamp: Timestamp(4),
        value: Some("v".to_owned()),
    });
    for cut in [
        Cut::BelowAll,
        Cut::Before(4_u8),
        Cut::After(4),
        Cut::AboveAll,
    ] {
        round_trip(&cut);
    }
    round_trip(&Interval::of_key(&7_u8));
    round_trip(&Interval::<u8>::all());
    round_trip(&Claim::Itself);
    let mut view = OwnerView::default();
    view.record(0, ReplicaId(1));
    view.record(0, ReplicaId(8));
    view.record(3, ReplicaId(2));
    round_trip(&view);
    let promise = Promise {
        time: Timestamp(7),
        counter: 2,
    };
    round_trip(&promise);
    let mut promises = Promises::default();
    promises.record(ReplicaId(4), promise);
    round_trip(&promises);
}

fn states_of_a_run<K: Kind>(script: &[u8]) -> Vec<MapReplica<Key, K::Cell>> {
    let script = Script::from_bytes(script);
    let mut world = World::<K>::new(&script.setup);
    for op in &script.ops {
        world.step(op).expect("the suite of histories checks this");
    }
    let all = (0..world.replicas()).map(|position| copy_of(world.replica(position)));
    all.collect()
}

fn round_trips_of<K: Kind>(replicas: &[MapReplica<Key, K::Cell>]) {
    let budget = Budget {
        events: 2,
        bytes: 100,
    };
    for replica in replicas {
        round_trip(replica.map());
        round_trip(replica.knowledge());
        replica
            .map()
            .entries()
            .for_each(|(_, cell)| round_trip(cell));
        let delta = replica.delta_since(&Knowledge::default(), budget, |_, _| 1);
        let mut listings = delta.map(|d| d.listings).unwrap_or_default();
        listings.push(replica.list_key(10));
        let chunk = replica.transfer_chunk(&Cut::BelowAll, budget, |_, _| 1);
        listings.extend(chunk.listings);
        for listing in &listings {
            round_trip(listing);
            match listing {
                Listing::Key(key) => round_trip(key),
                Listing::Interval(interval) => round_trip(interval),
            }
        }
    }
}

/// Two routes to one state: all that the replicas of a run know, joined forwards and backwards, and once
/// more by listings alone.
fn equal_bytes_by_any_route<K: Kind>(replicas: &[MapReplica<Key, K::Cell>]) {
    use crdt::Lattice as _;
    let mut forwards = CausalMap::<Key, K::Cell>::default();
    replicas.iter().for_each(|r| {
        forwards.join(r.map());
    });
    let mut backwards = CausalMap::default();
    replicas.iter().rev().for_each(|r| {
        backwards.join(r.map());
    });
    let mut listed = MapReplica::<Key, K::Cell>::new(ReplicaId(99));
    for replica in replicas {
        let budget = Budget {
            events: 1,
            bytes: usize::MAX,
        };
        let mut from = Some(Cut::BelowAll);
        while let Some(start) = from {
            let chunk = replica.transfer_chunk(&start, budget, |_, _| 1);
            for listing in &chunk.listings {
                listed.join(listing).expect("identities are unique");
            }
            from = chunk.next;
        }
    }
    assert_eq!(forwards, backwards);
    assert_eq!(forwards, *listed.map());
    assert_eq!(bytes(&forwards), bytes(&backwards));
    assert_eq!(bytes(&forwards), bytes(listed.map()));
}

proptest! {
    /// Whatever a run reaches survives postcard and JSON.
    #[test]
    fn states_of_a_run_come_back_as_they_went(script in prop::collection::vec(any::<u8>(), 0..300)) {
        round_trips_of::<Lww>(&states_of_a_run::<Lww>(&script));
        round_trips_of::<Mv>(&states_of_a_run::<Mv>(&script));
    }

    /// Equal states have equal bytes, whatever the route.
    #[test]
    fn equal_states_have_equal_bytes(script in prop::collection::vec(any::<u8>(), 0..300)) {
        equal_bytes_by_any_route::<Lww>(&states_of_a_run::<Lww>(&script));
        equal_bytes_by_any_route::<Mv>(&states_of_a_run::<Mv>(&script));
    }

    /// Any bytes decode to an error or to a value that encodes to something that decodes to it.
    #[test]
    fn arbitrary_bytes_never_panic(input in prop::collection::vec(any::<u8>(), 0..64)) {
        crdt_model::join_decoded(&input);
        if let Ok(context) = postcard::from_bytes::<CausalContext>(&input) {
            round_trip(&context);
        }
        if let Ok(vector) = postcard::from_bytes::<VersionVector>(&input) {
            round_trip(&vector);
        }
    }

    /// A listing with one byte changed is refused, or is a listing that can be joined.
    #[test]
    fn listings_with_a_flipped_byte_never_panic(
        script in prop::collection::vec(any::<u8>(), 0..200), at in any::<usize>(), flip in 1_u8..,
    ) {
        for replica in states_of_a_run::<Mv>(&script) {
            let mut input = vec![1];
            input.extend(bytes(&replica.list_key(10)));
            let at = 1 + at % (input.len() - 1);
            input[at] ^= flip;
            crdt_model::join_decoded(&input);
        }
    }
}

/// The shapes of what travels, without their checks: what a hostile peer can encode.
mod unchecked {
    use super::{CausalContext, Claim, Cut, Dot, Key};
    use serde::Serialize;

    #[derive(Clone)]
    pub(super) struct Siblings(pub(super) Vec<(Dot, u8)>);

    impl Serialize for Siblings {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                return self.0.serialize(serializer);
            }
            let coded = coded(self.0.iter().map(|(dot, _)| *dot));
            serializer.collect_seq(coded.zip(self.0.iter().map(|(_, value)| *value)))
        }
    }

    /// Each dot as the gap to the one before.
    fn coded(dots: impl Iterator<Item = Dot>) -> impl Iterator<Item = (u64, u64)> {
        let (mut replica, mut counter) = (0_u64, 0_u64);
        dots.map(move |dot| {
            let gap = dot.replica.0.wrapping_sub(replica);
            let before = if gap == 0 { counter } else { 0 };
            (replica, counter) = (dot.replica.0, dot.counter);
            (gap, counter.wrapping_sub(before))
        })
    }

    fn covered<S: serde::Serializer>(dots: &[Dot], serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => dots.serialize(serializer),
            false => serializer.collect_seq(coded(dots.iter().copied())),
        }
    }

    /// Gap and length of each range, by replica.
    pub(super) struct Ranges(pub(super) Vec<(u64, Vec<(u64, u64)>)>);

    impl Serialize for Ranges {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                return self.0.serialize(serializer);
            }
            let mut before = 0_u64;
            serializer.collect_seq(self.0.iter().map(|(replica, ranges)| {
                let gap = replica.wrapping_sub(before);
                before = *replica;
                (gap, ranges)
            }))
        }
    }

    #[derive(Serialize)]
    pub(super) struct Interval {
        pub(super) start: Cut<Key>,
        pub(super) end: Cut<Key>,
    }

    #[derive(Serialize)]
    pub(super) struct KeyListing<C> {
        pub(super) key: Key,
        pub(super) cell: C,
        pub(super) claim: Claim,
        #[serde(serialize_with = "covered")]
        pub(super) covered: Vec<Dot>,
    }

    #[derive(Serialize)]
    pub(super) struct IntervalListing<C> {
        pub(super) interval: Interval,
        pub(super) cells: Vec<(Key, C)>,
        pub(super) known: CausalContext,
    }

    #[derive(Serialize)]
    pub(super) struct Knowledge {
        pub(super) base: CausalContext,
        pub(super) exceptions: Vec<(Interval, CausalContext)>,
    }

    #[derive(Serialize)]
    pub(super) struct Map<C> {
        pub(super) entries: Vec<(Key, C)>,
        pub(super) knowledge: Knowledge,
    }
}

const BEFORE_ALL: Cut<Key> = Cut::BelowAll;
const BEHIND_ALL: Cut<Key> = Cut::AboveAll;

const fn interval(start: Cut<Key>, end: Cut<Key>) -> unchecked::Interval {
    unchecked::Interval { start, end }
}

/// Siblings as they travel: in binary, each dot as the gap to the one before.
fn siblings(dots: &[(u64, u64)]) -> unchecked::Siblings {
    unchecked::Siblings(dots.iter().map(|&(r, c)| (dot(r, c), 7)).collect())
}

/// A last-writer-wins cell as it travels.
fn live(counter: u64) -> Option<LwwEntry<u8>> {
    Some(LwwEntry {
        dot: dot(1, counter),
        timestamp: Timestamp(1),
        value: Some(7),
    })
}

/// A context as it travels.
fn ranges(replicas: &[(u64, &[(u64, u64)])]) -> unchecked::Ranges {
    let replicas = replicas.iter().map(|(r, pairs)| (*r, pairs.to_vec()));
    unchecked::Ranges(replicas.collect())
}

/// A version vector as it travels.
fn counters(pairs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    pairs.to_vec()
}

fn claim(dots: &[(u64, u64)]) -> Claim {
    Claim::Context(std::sync::Arc::new(context(dots)))
}

fn map<C>(entries: Vec<(Key, C)>, base: &[(u64, u64)]) -> unchecked::Map<C> {
    let knowledge = unchecked::Knowledge {
        base: context(base),
        exceptions: Vec::new(),
    };
    unchecked::Map { entries, knowledge }
}

/// The shapes above are those that travel: otherwise the refusals below would prove nothing.
#[test]
fn the_unchecked_shapes_decode_where_they_keep_the_rules() {
    let two = [(1, 1), (2, 1)];
    let listing = unchecked::KeyListing {
        key: 10,
        cell: siblings(&two),
        claim: claim(&two),
        covered: vec![dot(2, 1)],
    };
    accepted::<KeyListing<Key, Siblings>>(&listing);
    let itself = unchecked::KeyListing {
        key: 10,
        cell: live(1),
        claim: Claim::Itself,
        covered: vec![dot(1, 1)],
    };
    accepted::<KeyListing<Key, Cell>>(&itself);
    let all = unchecked::IntervalListing {
        interval: interval(BEFORE_ALL, BEHIND_ALL),
        cells: vec![(10, live(1))],
        known: context(&[(1, 1)]),
    };
    accepted::<IntervalListing<Key, Cell>>(&all);
    accepted::<CausalMap<Key, Siblings>>(&map(vec![(10, siblings(&two))], &two));
    accepted::<Siblings>(&siblings(&two));
    let exceptions = vec![
        (interval(BEFORE_ALL, Cut::After(10)), context(&[(2, 1)])),
        (interval(Cut::After(10), Cut::After(20)), context(&[(3, 1)])),
    ];
    let base = context(&[(1, 1)]);
    accepted::<Knowledge<Key>>(&unchecked::Knowledge { base, exceptions });
    accepted::<CausalContext>(&ranges(&[(1, &[(0, 0), (1, 0)])]));
    accepted::<CausalContext>(&ranges(&[(0, &[(0, 0)]), (u64::MAX, &[(1, 0)])]));
    accepted::<VersionVector>(&counters(&[(1, 1), (2, 5)]));
}

#[track_caller]
fn accepted<T: DeserializeOwned + Debug>(shape: &impl Serialize) {
    let text = serde_json::to_string(shape).expect("shapes encode");
    let _: T = serde_json::from_str(&text).expect("a shape that keeps the rules");
    let _: T = postcard::from_bytes(&bytes(shape)).expect("a shape that keeps the rules");
}

/// Refused in JSON for the reason given, and in postcard (whose errors carry no text).
#[track_caller]
fn refused<T: DeserializeOwned + Debug>(shape: &impl Serialize, why: &str) {
    let text = serde_json::to_string(shape).expect("shapes encode");
    let error = serde_json::from_str::<T>(&text).expect_err(&text);
    assert!(
        error.to_string().contains(why),
        "{text} is refused for: {error}"
    );
    let decoded = postcard::from_bytes::<T>(&bytes(shape));
    assert!(decoded.is_err(), "{text} decodes as {decoded:?}");
}

/// Contexts and vectors: unsorted, overlapping or touching ranges, counters that overflow or are zero.
#[test]
fn hostile_contexts_are_refused() {
    let one: &[(u64, u64)] = &[(0, 0)];
    refused::<CausalContext>(&ranges(&[(2, one), (1, one)]), "ascending");
    refused::<CausalContext>(&ranges(&[(1, one), (1, one)]), "ascending");
    refused::<CausalContext>(&ranges(&[(1, &[(0, 3), (0, 0)])]), "touch");
    refused::<CausalContext>(&ranges(&[(1, &[])]), "empty");
    let beyond: [&[(u64, u64)]; 5] = [
        &[(u64::MAX, 0)],
        &[(0, u64::MAX)],
        &[(u64::MAX - 1, 1)],
        &[(0, 5), (u64::MAX - 6, 0)],
        &[(u64::MAX, u64::MAX)],
    ];
    for beyond in beyond {
        refused::<CausalContext>(&ranges(&[(1, beyond)]), "too large");
    }
    // Nothing up to the last counter is refused.
    accepted::<CausalContext>(&ranges(&[(1, &[(u64::MAX - 1, 0)])]));
    accepted::<CausalContext>(&ranges(&[(1, &[(0, u64::MAX - 1)])]));
    // Compact formats count replicas from one to the next: neither a gap of zero nor an overflow.
    refused::<VersionVector>(&counters(&[(u64::MAX, 1), (1, 1)]), "ascending");
    refused::<VersionVector>(&counters(&[(1, 1), (0, 2)]), "ascending");
    assert!(serde_json::from_str::<VersionVector>("[[2,1],[2,1]]").is_err());
    refused::<VersionVector>(&counters(&[(1, 0)]), "zero");
}

/// Cells: duplicate or unsorted siblings, and dots that name no event.
#[test]
fn hostile_cells_are_refused() {
    let twice = siblings(&[(1, 1), (1, 1)]);
    let unsorted = siblings(&[(2, 1), (1, 1)]);
    let zero = siblings(&[(1, 0)]);
    for (cell, why) in [
        (twice, "ascending"),
        (unsorted, "ascending"),
        (zero, "zero"),
    ] {
        refused::<Siblings>(&cell, why);
        refused::<CausalMap<Key, Siblings>>(&map(vec![(10, cell.clone())], &[(1, 1), (2, 1)]), why);
        let (key, claim, covered) = (10, claim(&[(1, 1), (2, 1)]), Vec::new());
        let listing = unchecked::KeyListing {
            key,
            cell,
            claim,
            covered,
        };
        refused::<KeyListing<Key, Siblings>>(&listing, why);
    }
    refused::<CausalMap<Key, Cell>>(&map(vec![(10, live(0))], &[(1, 1)]), "zero");
}

/// An object whose store does not look at its dots must not hold one that no context can name.
#[test]
fn objects_with_a_live_dot_of_counter_zero_are_refused() {
    #[derive(Serialize)]
    struct Object<S> {
        store: S,
        context: CausalContext,
    }
    let [zero, one] = [0, 1].map(|counter| Object {
        store: live(counter),
        context: context(&[(1, 1)]),
    });
    refused::<Causal<Cell>>(&zero, "zero");
    assert!(postcard::from_bytes::<Causal<Cell>>(&bytes(&one)).is_ok());
}

/// Listings of one key: knowledge must hold the live and the covered dots, and only a cell that proves
/// itself may do without.
#[test]
fn hostile_listings_of_a_key_are_refused() {
    let listing = |cell: &[(u64, u64)], claim, covered| unchecked::KeyListing {
        key: 10,
        cell: siblings(cell),
        claim,
        covered,
    };
    let mv = |claim, covered| listing(&[(1, 1)], claim, covered);
    type Mv = KeyListing<Key, Siblings>;
    refused::<Mv>(&mv(claim(&[(1, 2)]), vec![]), "live dot");
    refused::<Mv>(&mv(claim(&[(1, 1)]), vec![dot(2, 1)]), "covered dot");
    refused::<Mv>(&mv(claim(&[(1, 1)]), vec![dot(1, 0)]), "zero");
    let (one, two) = (dot(1, 1), dot(1, 2));
    refused::<Mv>(&mv(claim(&[(1, 1), (1, 2)]), vec![two, one]), "ascending");
    refused::<Mv>(&mv(claim(&[(1, 1)]), vec![one, one]), "ascending");
    refused::<Mv>(&mv(Claim::Itself, vec![]), "does not prove itself");
    refused::<Mv>(
        &listing(&[(1, 1), (2, 1)], Claim::Itself, vec![]),
        "does not prove itself",
    );
    refused::<Mv>(
        &listing(&[], Claim::Itself, vec![]),
        "does not prove itself",
    );
    let absent = unchecked::KeyListing {
        key: 10,
        cell: None::<LwwEntry<u8>>,
        claim: Claim::Itself,
        covered: vec![one],
    };
    refused::<KeyListing<Key, Cell>>(&absent, "does not prove itself");
}

/// Listings of an interval: keys inside it, in order, none empty, live dots known, and an interval at all.
#[test]
fn hostile_listings_of_an_interval_are_refused() {
    type Mv = IntervalListing<Key, Siblings>;
    let one = || siblings(&[(1, 1)]);
    let known = || context(&[(1, 1), (1, 2)]);
    let listing = |start, end, cells, known| unchecked::IntervalListing {
        interval: interval(start, end),
        cells,
        known,
    };
    let in_all = |cells, known| listing(BEFORE_ALL, BEHIND_ALL, cells, known);
    refused::<Mv>(&in_all(vec![(10, one())], context(&[(1, 2)])), "live dot");
    refused::<Mv>(
        &in_all(vec![(20, one()), (10, siblings(&[(1, 2)]))], known()),
        "ascending",
    );
    refused::<Mv>(
        &in_all(vec![(10, one()), (10, one())], known()),
        "ascending",
    );
    refused::<Mv>(&in_all(vec![(10, siblings(&[]))], known()), "empty");
    for key in [10, 20] {
        let outside = listing(Cut::After(10), Cut::Before(20), vec![(key, one())], known());
        refused::<Mv>(&outside, "outside its interval");
    }
    for (start, end) in [
        (Cut::After(10), Cut::After(10)),
        (Cut::Before(20), Cut::After(10)),
        (BEHIND_ALL, BEFORE_ALL),
    ] {
        refused::<Mv>(&listing(start, end, vec![], known()), "empty or reversed");
    }
}

/// Maps: I1, no dot live twice, keys in order, no empty cells.
#[test]
fn hostile_maps_are_refused() {
    type Map = CausalMap<Key, Siblings>;
    let one = || siblings(&[(1, 1)]);
    refused::<Map>(&map(vec![(10, one())], &[(1, 2)]), "live dot");
    refused::<Map>(
        &map(vec![(10, one()), (20, one())], &[(1, 1)]),
        "live twice",
    );
    let two = siblings(&[(2, 1)]);
    refused::<Map>(
        &map(vec![(20, one()), (10, two.clone())], &[(1, 1), (2, 1)]),
        "ascending",
    );
    refused::<Map>(
        &map(vec![(10, one()), (10, two)], &[(1, 1), (2, 1)]),
        "ascending",
    );
    refused::<Map>(&map(vec![(10, siblings(&[]))], &[(1, 1)]), "empty");
}

/// Knowledge: exceptions in order and in normal form, beyond the base, and not known of every key.
#[test]
fn hostile_exceptions_are_refused() {
    let exception = |start, end, dots: &[(u64, u64)]| (interval(start, end), context(dots));
    let low = |dots| exception(BEFORE_ALL, Cut::After(10), dots);
    let high = |dots| exception(Cut::After(10), BEHIND_ALL, dots);
    let why = "not in normal form";
    for (exceptions, why) in [
        (vec![low(&[])], why),
        (vec![low(&[(1, 1)])], why),
        (
            vec![
                low(&[(2, 1)]),
                exception(Cut::After(10), Cut::After(20), &[(2, 1)]),
            ],
            why,
        ),
        (vec![low(&[(2, 1)]), high(&[(2, 1), (3, 1)])], why),
        (vec![exception(BEFORE_ALL, BEHIND_ALL, &[(2, 1)])], why),
        (vec![low(&[(2, 1)]), low(&[(3, 1)])], "ascending"),
        (vec![high(&[(2, 1)]), low(&[(3, 1)])], "ascending"),
        (
            vec![
                low(&[(2, 1)]),
                exception(Cut::Before(10), BEHIND_ALL, &[(3, 1)]),
            ],
            "ascending",
        ),
        (
            vec![exception(Cut::After(10), Cut::Before(10), &[(2, 1)])],
            "reversed",
        ),
    ] {
        let base = context(&[(1, 1)]);
        refused::<Knowledge<Key>>(&unchecked::Knowledge { base, exceptions }, why);
    }
}

/// Decodes the first bytes of a value, followed by a length that the input does not back up.
#[track_caller]
fn announced<T: DeserializeOwned + Debug>(start: &[u8]) {
    let mut input = start.to_vec();
    input.extend(bytes(&HUGE));
    input.extend([1; 40]);
    let decoded = postcard::from_bytes::<T>(&input);
    assert!(decoded.is_err(), "{input:02x?} decodes as {decoded:?}");
}

/// A length of 2^60 costs an error, not memory: nothing here could be allocated.
#[test]
fn huge_announced_lengths_are_refused() {
    announced::<VersionVector>(&[]);
    announced::<CausalContext>(&[]);
    announced::<CausalContext>(&[1, 1]);
    announced::<Siblings>(&[]);
    announced::<OwnerView>(&[]);
    announced::<OwnerView>(&[1, 0]);
    announced::<Promises>(&[]);
    announced::<Knowledge<Key>>(&[]);
    announced::<Knowledge<Key>>(&[0]);
    announced::<CausalMap<Key, Siblings>>(&[]);
    announced::<CausalMap<Key, Siblings>>(&[1, 10]);
    // A key listing: the key, the cell, a claim, the covered dots.
    announced::<KeyListing<Key, Siblings>>(&[10]);
    announced::<KeyListing<Key, Siblings>>(&[10, 0, 1]);
    announced::<KeyListing<Key, Siblings>>(&[10, 0, 1, 0]);
    // An interval listing: two cuts, the cells, what is known.
    announced::<IntervalListing<Key, Siblings>>(&[0, 3]);
    announced::<IntervalListing<Key, Siblings>>(&[0, 3, 0]);
    announced::<Listing<Key, Siblings>>(&[1, 0, 3]);
}

/// Elements that announce a huge number of themselves, and are none.
struct Boast;

impl Iterator for Boast {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let announced = usize::try_from(HUGE).unwrap_or(usize::MAX);
        (announced, Some(announced))
    }
}

/// No decoder reserves what a format announces, even where the format believes its input: a decoder that
/// did would fail here, for want of memory, on an empty list.
#[test]
fn decoders_do_not_believe_announced_lengths() {
    fn decode<T: DeserializeOwned>() -> Result<T, ValueError> {
        T::deserialize(SeqDeserializer::new(Boast))
    }
    assert_eq!(decode::<VersionVector>(), Ok(VersionVector::default()));
    assert_eq!(decode::<CausalContext>(), Ok(CausalContext::default()));
    assert_eq!(decode::<Siblings>(), Ok(Siblings::default()));
}

/// Golden bytes: what has once travelled must be read by later versions. A change here is a change of the
/// format.
#[test]
fn golden_bytes_of_contexts_listings_and_maps() {
    let gaps = context(&[(1, 1), (1, 2), (1, 3), (1, 5), (7, 4), (300, 1_000)]);
    assert_eq!(hex(&gaps), "0301020002010006010300a50201e70700");
    // Replicas with the bits of an incarnation are far from zero, and near each other.
    let incarnations = [(5 << 32) | 1, (5 << 32) | 2, (5 << 32) | 3].map(|r| (r, 1));
    assert_eq!(bytes(&context(&incarnations)).len(), 1 + 5 + 3 * 3 + 2);
    let vector: VersionVector = [(ReplicaId(1), 3), (ReplicaId(300), 1_000)]
        .into_iter()
        .collect();
    assert_eq!(hex(&vector), "020103ab02e807");
    let text = serde_json::to_string(&vector).expect("values encode");
    assert_eq!(text, "[[1,3],[300,1000]]");
    let (replica, listing) = put(10, 500, 7);
    assert_eq!(hex(&listing), "000a010101f403010700010101");
    assert_eq!(hex(replica.map()), "010a010101f4030107010101000000");
    let mut siblings = MapReplica::<Key, Siblings>::new(ReplicaId(2));
    let _unsent = siblings.write(10, |cell, dot| cell.write(dot, 1));
    let second = siblings.write(10, |cell, dot| cell.write(dot, 2));
    assert_eq!(hex(&second.listing), "000a01020202010102010001010202");
    let removed = siblings.write(10, |cell, _| cell.clear());
    assert_eq!(hex(&removed.listing), "000a00010102010002010203");
    let mut exceptional = MapReplica::<Key, Siblings>::new(ReplicaId(3));
    let joined = exceptional.join(&second.listing);
    assert!(joined.is_ok());
    assert_eq!(
        hex(exceptional.map()),
        "010a01020202010201010001010a020a0102010000"
    );
    let budget = Budget {
        events: 1,
        bytes: 1,
    };
    let chunk = exceptional.transfer_chunk(&Cut::Before(10), budget, |_, _| 1);
    let chunk: Vec<String> = chunk.listings.iter().map(hex).collect();
    assert_eq!(chunk, ["01010a020a010a010202020102010001"]);
    let view_and_promises = {
        let (mut view, mut promises) = (OwnerView::default(), Promises::default());
        view.record(0, ReplicaId(1));
        view.record(0, ReplicaId(11));
        promises.record(
            ReplicaId(11),
            Promise {
                time: Timestamp(300),
                counter: 2,
            },
        );
        (view, promises)
    };
    assert_eq!(hex(&view_and_promises), "010002010b010bac0202");
}

/// Valid listings can still contradict each other about the key of an event, if a peer lies; joining them
/// is harmless, and so must be every answer that is given afterwards.
#[test]
fn listings_that_contradict_each_other_cannot_make_an_answer_panic() {
    let listing = |key, dots: &[(u64, u64)], known: &[(u64, u64)], covered: &[(u64, u64)]| {
        let shape = unchecked::KeyListing {
            key,
            cell: siblings(dots),
            claim: claim(known),
            covered: covered.iter().map(|&(r, c)| dot(r, c)).collect(),
        };
        let decoded: KeyListing<Key, Siblings> =
            postcard::from_bytes(&bytes(&shape)).expect("each listing keeps the rules");
        Listing::Key(decoded)
    };
    let mut replica = MapReplica::<Key, Siblings>::new(ReplicaId(1));
    let contradicting = [
        listing(20, &[(2, 1)], &[(2, 1)], &[]),
        // The same event, said to have touched another key.
        listing(10, &[], &[(2, 1)], &[(2, 1)]),
        listing(20, &[(2, 1), (3, 1)], &[(2, 1), (3, 1)], &[(3, 1)]),
    ];
    for listing in &contradicting {
        replica.join(listing).expect("they name other writers");
    }
    let budget = Budget {
        events: 10,
        bytes: 10,
    };
    let answer = replica.delta_since(&Knowledge::default(), budget, |_, _| 1);
    let answer = answer.expect("the log names all events");
    let mut peer = MapReplica::<Key, Siblings>::new(ReplicaId(4));
    for listing in &answer.listings {
        peer.join(listing).expect("they name other writers");
    }
    assert_eq!(peer.check_invariants(), Ok(()));
}

/// A position without an incarnation says nothing, and would be a second way to encode the same view.
#[test]
fn views_with_an_empty_position_are_refused() {
    refused::<OwnerView>(&EmptyPosition::default(), "empty");
}

/// An owner view as it travels.
#[derive(Serialize)]
struct EmptyPosition {
    positions: std::collections::BTreeMap<u32, Vec<ReplicaId>>,
}

impl Default for EmptyPosition {
    fn default() -> Self {
        let positions = [(0, Vec::new())].into();
        Self { positions }
    }
}
