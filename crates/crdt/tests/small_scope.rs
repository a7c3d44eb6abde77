//! All interleavings of a few operations on three replicas, by breadth-first search over reachable states.
//!
//! A state holds three replicas and the write deltas made so far, each of which can arrive anywhere, any
//! number of times, at any time: loss, repetition and reordering need no steps of their own.

use crdt::laws::check_lattice;
use crdt::{
    Budget, CausalMap, Cut, Dot, DotStore as _, Knows as _, Listing, MapReplica, ReplicaId,
    Timestamp,
};
use crdt_model::{Content, Event, Key, Kind, Lww, Mv, Value, copy_of};
use std::collections::{BTreeSet, VecDeque};

/// Two keys that are touched; the space around them is listed as well.
const KEYS: [Key; 2] = [10, 20];
/// One key or event at a time: every answer that can be cut is cut.
const ONE: Budget = Budget {
    events: 1,
    bytes: usize::MAX,
};

/// A key, when it is written, and what: `None` deletes.
type Write = (Key, Timestamp, Option<Value>);

/// What replicas say to each other beside the deltas of their writes.
#[derive(Clone, Copy)]
enum Talk {
    /// Read repairs of the first key, and answers to a synchronisation, one event each.
    RepairsAndAnswers,
    /// Chunks of transfers.
    Chunks,
}

/// What is explored.
struct Scope<'a> {
    talk: Talk,
    /// How many of the replicas write; the others only hear and hand on.
    writers: usize,
    /// What any writer can write at any time.
    writes: &'a [Write],
    /// Writes in one history.
    limit: usize,
}

struct State<K: Kind> {
    replicas: [MapReplica<Key, K::Cell>; 3],
    events: Vec<Event>,
    deltas: Vec<Listing<Key, K::Cell>>,
}

impl<K: Kind> State<K> {
    /// The same state, to go on from in another way.
    fn copy(&self) -> Self {
        Self {
            replicas: self.replicas.each_ref().map(copy_of),
            events: self.events.clone(),
            deltas: self.deltas.clone(),
        }
    }

    fn start() -> Self {
        Self {
            replicas: std::array::from_fn(|i| MapReplica::new(ReplicaId(i as u64 + 1))),
            events: Vec::new(),
            deltas: Vec::new(),
        }
    }

    /// What tells two states apart.
    fn fingerprint(&self) -> Vec<u8> {
        let of_replica = |r: &MapReplica<Key, K::Cell>| {
            let log: Vec<(Dot, Key)> = r.log().iter().map(|(dot, key)| (dot, *key)).collect();
            (r.map().clone(), log)
        };
        let replicas = self.replicas.each_ref().map(of_replica);
        postcard::to_stdvec(&(replicas, &self.deltas)).expect("states encode")
    }

    fn written(&self, at: usize, (key, timestamp, value): Write) -> Self {
        let mut next = self.copy();
        let cell = self.replicas[at].map().get(&key);
        let superseded = cell.map(|c| c.dots().collect()).unwrap_or_default();
        let change = |cell: &mut K::Cell, dot| K::write(cell, dot, timestamp, value);
        let written = next.replicas[at].write(key, change);
        next.events.push(Event {
            dot: written.dot,
            key,
            timestamp,
            value,
            superseded,
        });
        next.deltas.push(written.listing);
        next
    }

    /// The state after a listing has arrived; `None` if it changes nothing.
    fn joined(&self, at: usize, listing: &Listing<Key, K::Cell>) -> Option<Self> {
        let mut replica = copy_of(&self.replicas[at]);
        let joined = replica.join(listing).expect("identities are unique");
        if replica.map() == self.replicas[at].map() {
            assert!(joined.changed.is_empty() && !joined.knowledge_grew);
            return None;
        }
        let mut next = self.copy();
        next.replicas[at] = replica;
        Some(next)
    }

    /// All that one replica can say to another in one message.
    fn sayings(&self, talk: Talk, from: usize, to: usize) -> Vec<Listing<Key, K::Cell>> {
        let (from, to) = (&self.replicas[from], &self.replicas[to]);
        match talk {
            Talk::RepairsAndAnswers => {
                let delta = from.delta_since(to.knowledge(), ONE, |_, _| 1);
                let answered = delta.into_iter().flat_map(|d| d.listings);
                answered.chain([from.list_key(KEYS[0])]).collect()
            }
            Talk::Chunks => {
                let starts = [Cut::BelowAll, Cut::After(KEYS[0])];
                let chunks = starts.map(|start| from.transfer_chunk(&start, ONE, |_, _| 1));
                chunks.into_iter().flat_map(|c| c.listings).collect()
            }
        }
    }

    fn successors(&self, scope: &Scope<'_>) -> Vec<Self> {
        let mut all = Vec::new();
        for at in 0..self.replicas.len() {
            if at < scope.writers && self.events.len() < scope.limit {
                all.extend(scope.writes.iter().map(|write| self.written(at, *write)));
            }
            all.extend(
                self.deltas
                    .iter()
                    .filter_map(|delta| self.joined(at, delta)),
            );
            for from in (0..self.replicas.len()).filter(|from| *from != at) {
                let sayings = self.sayings(scope.talk, from, at);
                all.extend(
                    sayings
                        .iter()
                        .filter_map(|listing| self.joined(at, listing)),
                );
            }
        }
        all
    }

    /// I1 and I4 by the replica's own check, I5 against the model, and the laws between the three maps.
    fn check(&self) -> Result<(), String> {
        for replica in &self.replicas {
            replica.check_invariants()?;
            for key in KEYS {
                let known = replica.knowledge().of_key(&key);
                let events = self.events.iter();
                let events: Vec<&Event> = events
                    .filter(|e| e.key == key && known.knows(e.dot))
                    .collect();
                let held: Content = replica.map().get(&key).map(K::content).unwrap_or_default();
                let want = K::resolve(&events);
                if held != want {
                    return Err(format!(
                        "I5: {key} holds {held:?}, not {want:?}: {replica:?}"
                    ));
                }
            }
        }
        let [a, b, c] = self.replicas.each_ref().map(MapReplica::map);
        check_lattice(a, b, c).map_err(|e| e.to_string())?;
        let [a, b, c] = [a, b, c].map(CausalMap::knowledge);
        check_lattice(a, b, c).map_err(|e| e.to_string())
    }
}

/// Visits every reachable state; returns how many there are.
fn explore<K: Kind>(scope: &Scope<'_>) -> usize {
    let start = State::<K>::start();
    let mut seen = BTreeSet::from([start.fingerprint()]);
    let mut frontier = VecDeque::from([start]);
    while let Some(state) = frontier.pop_front() {
        if let Err(violation) = state.check() {
            panic!("{violation}\nafter {:#?}", state.events);
        }
        for next in state.successors(scope) {
            if seen.insert(next.fingerprint()) {
                frontier.push_back(next);
            }
        }
    }
    seen.len()
}

const LWW_WRITES: [Write; 4] = [
    (KEYS[0], Timestamp(1), Some(1)),
    (KEYS[0], Timestamp(2), Some(1)),
    (KEYS[0], Timestamp(2), None),
    (KEYS[1], Timestamp(1), Some(1)),
];

const MV_WRITES: [Write; 3] = [
    (KEYS[0], Timestamp(0), Some(1)),
    (KEYS[0], Timestamp(0), None),
    (KEYS[1], Timestamp(0), Some(1)),
];

/// I1, I4, I5 and the lattice laws in every reachable state of two last-writer-wins writes, ties, lagging
/// clocks and deletes included, with read repairs and answers cut after one event.
#[test]
fn last_writer_wins_with_repairs_and_cut_answers_in_every_order() {
    let states = explore::<Lww>(&Scope {
        talk: Talk::RepairsAndAnswers,
        writers: 3,
        writes: &LWW_WRITES,
        limit: 2,
    });
    assert!(states > 2_000, "vacuous: {states} states");
}

/// The same with transfers in chunks, from any sender, in any order, and one key that is written.
#[test]
fn last_writer_wins_with_chunks_in_every_order() {
    let states = explore::<Lww>(&Scope {
        talk: Talk::Chunks,
        writers: 2,
        writes: &[LWW_WRITES[0], LWW_WRITES[2]],
        limit: 2,
    });
    assert!(states > 5_000, "vacuous: {states} states");
}

/// I1, I4, I5 and the lattice laws in every reachable state of two multi-value writes or removals, with
/// read repairs and answers cut after one event.
#[test]
fn multi_value_with_repairs_and_cut_answers_in_every_order() {
    let states = explore::<Mv>(&Scope {
        talk: Talk::RepairsAndAnswers,
        writers: 3,
        writes: &MV_WRITES,
        limit: 2,
    });
    assert!(states > 5_000, "vacuous: {states} states");
}

/// The same with transfers in chunks, from any sender, in any order, and one key that is written.
#[test]
fn multi_value_with_chunks_in_every_order() {
    let states = explore::<Mv>(&Scope {
        talk: Talk::Chunks,
        writers: 2,
        writes: &MV_WRITES[..2],
        limit: 2,
    });
    assert!(states > 5_000, "vacuous: {states} states");
}
