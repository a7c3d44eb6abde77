use super::super::Version;
use super::*;
use crdt::{Dot, ReplicaId, Timestamp};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// A history in which everything happens one after another.
#[derive(Default)]
struct Story {
    history: History,
    now: u64,
}

fn version(time: u64, replica: u64) -> Option<Version> {
    Some(Version {
        timestamp: Timestamp(time),
        dot: Dot::new(ReplicaId(replica), time),
    })
}

fn text(value: &str) -> Option<Bytes> {
    (value != "-").then(|| Bytes::copy_from_slice(value.as_bytes()))
}

impl Story {
    fn happens(mut self, session: u64, key: &'static str, call: Call, is_known: bool) -> Self {
        let at = self.now;
        let id = self
            .history
            .invoke(SessionId(session), None, key, call.clone(), at);
        if is_known {
            self.history.complete(id, at + 1, call);
        }
        self.now += 2;
        self
    }

    /// A write; "-" deletes. Its version is (time, replica).
    fn writes(self, session: u64, key: &'static str, value: &str, at: (u64, u64)) -> Self {
        let (value, version) = (text(value), version(at.0, at.1));
        self.happens(session, key, Call::Write { value, version }, true)
    }

    fn writes_unknown(self, session: u64, key: &'static str, value: &str) -> Self {
        let (value, version) = (text(value), None);
        self.happens(session, key, Call::Write { value, version }, false)
    }

    fn reads(self, session: u64, key: &'static str, value: &str, at: (u64, u64)) -> Self {
        let (value, version) = (text(value), version(at.0, at.1));
        self.happens(session, key, Call::Read { value, version }, true)
    }

    fn reads_nothing(self, session: u64, key: &'static str) -> Self {
        let (value, version) = (None, None);
        self.happens(session, key, Call::Read { value, version }, true)
    }

    fn hands_over(mut self, from: u64, to: u64) -> Self {
        self.history.hand_over(HandOver {
            from: SessionId(from),
            given: self.now,
            to: SessionId(to),
            taken: self.now + 1,
        });
        self.now += 2;
        self
    }

    fn found(&self) -> Vec<Violation> {
        check(&self.history)
            .err()
            .map_or(Vec::new(), |found| found.0)
    }

    #[track_caller]
    fn is_right(&self) {
        assert_eq!(self.found(), []);
    }

    /// Exactly one violation, of this guarantee and by these operations.
    #[track_caller]
    fn breaks(&self, guarantee: Guarantee, earlier: u64, later: u64) {
        let found = self.found();
        let [
            Violation::Broken {
                guarantee: broken,
                earlier: e,
                later: l,
            },
        ] = &found[..]
        else {
            panic!("{found:?}");
        };
        assert_eq!((*broken, e.id.0, l.id.0), (guarantee, earlier, later));
        let others = Guarantee::ALL.map(|g| if g == guarantee { Guarantee::ALL[0] } else { g });
        if guarantee != Guarantee::ALL[0] {
            assert_eq!(check_only(&self.history, &others), Ok(()));
        }
    }
}

#[test]
fn a_session_reads_its_writes() {
    let story = || {
        Story::default()
            .writes(1, "x", "old", (1, 1))
            .writes(2, "x", "new", (2, 1))
    };
    story()
        .reads(2, "x", "new", (2, 1))
        .reads(1, "x", "old", (1, 1))
        .is_right();
    story()
        .reads(2, "x", "old", (1, 1))
        .breaks(Guarantee::ReadYourWrites, 1, 2);
    story()
        .reads_nothing(2, "x")
        .breaks(Guarantee::ReadYourWrites, 1, 2);
    story().reads_nothing(3, "x").is_right();
    let deleted = story().writes(2, "x", "-", (3, 1));
    deleted
        .reads(2, "x", "new", (2, 1))
        .breaks(Guarantee::ReadYourWrites, 2, 3);
}

#[test]
fn reads_of_a_session_never_go_back() {
    let story = || {
        Story::default()
            .writes(1, "x", "old", (1, 1))
            .writes(1, "x", "new", (2, 1))
    };
    let read = || story().reads(2, "x", "new", (2, 1));
    read()
        .reads(2, "x", "new", (2, 1))
        .reads(3, "x", "old", (1, 1))
        .is_right();
    read()
        .reads(2, "x", "old", (1, 1))
        .breaks(Guarantee::MonotonicReads, 2, 3);
    read()
        .reads_nothing(2, "x")
        .breaks(Guarantee::MonotonicReads, 2, 3);
}

#[test]
fn a_session_that_overwrites_wins() {
    let story = || Story::default().writes(1, "x", "a", (5, 1));
    story().writes(1, "x", "b", (6, 2)).is_right();
    story().writes(2, "x", "b", (4, 2)).is_right();
    story()
        .writes(1, "x", "b", (4, 2))
        .breaks(Guarantee::MonotonicWrites, 0, 1);
    story()
        .reads(2, "x", "a", (5, 1))
        .writes(2, "x", "b", (6, 2))
        .is_right();
    let lost = story()
        .reads(2, "x", "a", (5, 1))
        .writes(2, "x", "b", (4, 2));
    lost.breaks(Guarantee::WritesFollowReads, 1, 2);
}

#[test]
fn equal_times_compare_as_the_store_does() {
    // A value beats a delete, the smaller value the larger.
    let story = |second: &'static str| {
        Story::default()
            .writes(1, "x", "m", (5, 1))
            .writes(1, "x", second, (5, 2))
    };
    story("a").is_right();
    story("z").breaks(Guarantee::MonotonicWrites, 0, 1);
    story("-").breaks(Guarantee::MonotonicWrites, 0, 1);
}

#[test]
fn who_sees_a_write_sees_what_its_writer_had_seen() {
    let story = || {
        let written = Story::default()
            .writes(1, "x", "old", (1, 1))
            .writes(1, "x", "new", (2, 1));
        let read = written.reads(2, "x", "new", (2, 1));
        read.writes(2, "y", "after", (3, 2))
            .reads(3, "y", "after", (3, 2))
    };
    story().reads(3, "x", "new", (2, 1)).is_right();
    story().reads(4, "x", "old", (1, 1)).is_right();
    story()
        .reads(3, "x", "old", (1, 1))
        .breaks(Guarantee::Causality, 2, 5);
    story()
        .reads_nothing(3, "x")
        .breaks(Guarantee::Causality, 2, 5);
    story().writes(3, "x", "late", (2, 0)).is_right();
    story()
        .writes(3, "x", "z", (2, 3))
        .breaks(Guarantee::Causality, 2, 5);
    // Over two steps.
    let further = || {
        story()
            .writes(3, "z", "more", (4, 3))
            .reads(4, "z", "more", (4, 3))
    };
    further()
        .reads(4, "x", "old", (1, 1))
        .breaks(Guarantee::Causality, 2, 7);
    // What the writer did afterwards is not part of it.
    let later = story().writes(2, "x", "newer", (5, 2));
    later.reads(3, "x", "new", (2, 1)).is_right();
}

#[test]
fn a_token_carries_everything_to_another_session_and_not_back() {
    let story = || {
        let own = Story::default()
            .writes(1, "x", "a", (1, 1))
            .writes(2, "y", "b", (2, 2));
        own.reads(1, "y", "b", (2, 2)).hands_over(1, 3)
    };
    story()
        .reads(3, "x", "a", (1, 1))
        .reads(3, "y", "b", (2, 2))
        .is_right();
    story()
        .reads_nothing(3, "x")
        .breaks(Guarantee::ReadYourWrites, 0, 3);
    story()
        .reads_nothing(3, "y")
        .breaks(Guarantee::MonotonicReads, 2, 3);
    story()
        .writes(3, "x", "z", (0, 3))
        .breaks(Guarantee::MonotonicWrites, 0, 3);
    story()
        .writes(3, "z", "c", (3, 3))
        .reads_nothing(1, "z")
        .is_right();
    // What its giver does later is not in the token.
    story()
        .writes(1, "x", "later", (4, 1))
        .reads(3, "x", "a", (1, 1))
        .is_right();
}

#[test]
fn absent_is_right_where_a_delete_may_explain_it() {
    let story = || {
        Story::default()
            .writes(1, "x", "a", (1, 1))
            .reads(1, "x", "a", (1, 1))
    };
    story()
        .writes(2, "x", "-", (2, 2))
        .reads_nothing(1, "x")
        .is_right();
    story()
        .writes_unknown(2, "x", "-")
        .reads_nothing(1, "x")
        .is_right();
    let too_early = Story::default().writes(2, "x", "-", (1, 2));
    let too_early = too_early.writes(1, "x", "a", (2, 1)).reads_nothing(1, "x");
    too_early.breaks(Guarantee::ReadYourWrites, 1, 2);
    let found = story()
        .reads_nothing(1, "x")
        .writes(2, "x", "-", (2, 2))
        .found();
    assert_eq!(found.len(), 2, "the delete came later: {found:?}");
}

#[test]
fn writes_of_unknown_outcome_and_writes_minted_again_may_be_read() {
    let unknown = || {
        Story::default()
            .writes(1, "x", "a", (1, 1))
            .writes_unknown(1, "x", "b")
    };
    unknown()
        .reads(1, "x", "a", (1, 1))
        .reads(1, "x", "b", (7, 2))
        .is_right();
    unknown()
        .reads(2, "x", "b", (7, 2))
        .reads(2, "x", "a", (1, 1))
        .breaks(Guarantee::MonotonicReads, 2, 3);
    // Its dependences are known all the same.
    let seen = Story::default()
        .writes(1, "y", "a", (1, 1))
        .writes_unknown(1, "x", "b");
    seen.reads(2, "x", "b", (7, 2))
        .reads_nothing(2, "y")
        .breaks(Guarantee::Causality, 0, 3);
    // Where it may have been one of two, neither's.
    let seen = Story::default()
        .writes(1, "y", "a", (1, 1))
        .writes_unknown(1, "x", "b")
        .writes_unknown(2, "x", "b");
    seen.reads(3, "x", "b", (7, 2))
        .reads_nothing(3, "y")
        .is_right();
    let minted_again = Story::default().writes(1, "x", "a", (5, 1));
    minted_again
        .reads(2, "x", "a", (3, 1))
        .reads(2, "x", "a", (5, 1))
        .is_right();
}

#[test]
fn what_comes_from_nowhere_is_found() {
    let story = || Story::default().writes(1, "x", "a", (1, 1));
    let from_nowhere = [
        story().reads(2, "x", "b", (1, 1)),
        story().reads(2, "x", "b", (2, 1)),
        story().reads(2, "y", "a", (1, 1)),
        story().reads(2, "x", "a", (2, 1)),
        story().reads(2, "x", "-", (1, 1)),
        story().happens(
            2,
            "x",
            Call::Read {
                value: text("b"),
                version: None,
            },
            true,
        ),
        Story::default()
            .reads(2, "x", "a", (1, 1))
            .writes(1, "x", "a", (1, 1)),
    ];
    for story in from_nowhere {
        let found = story.found();
        assert!(
            matches!(&found[..], [Violation::NeverWritten { .. }]),
            "{found:?}"
        );
    }
    let twice = story().writes(2, "x", "b", (1, 1)).found();
    assert!(
        matches!(&twice[..], [Violation::SameVersion { .. }]),
        "{twice:?}"
    );
    story()
        .happens(
            2,
            "x",
            Call::Read {
                value: text("a"),
                version: None,
            },
            true,
        )
        .is_right();
}

#[test]
fn what_overlaps_in_time_binds_nobody() {
    let mut history = Story::default().writes(1, "x", "a", (1, 1)).history;
    let write = Call::Write {
        value: text("b"),
        version: version(2, 1),
    };
    let read = Call::Read {
        value: text("a"),
        version: version(1, 1),
    };
    let writing = history.invoke(SessionId(1), None, "x", write.clone(), 10);
    let reading = history.invoke(SessionId(1), None, "x", read.clone(), 12);
    history.complete(writing, 13, write);
    history.complete(reading, 15, read);
    assert_eq!(check(&history), Ok(()));
}

#[test]
fn violations_read_well() {
    let story = Story::default()
        .writes(1, "x", "a", (1, 1))
        .reads_nothing(1, "x");
    let found = check(&story.history).expect_err("it did not read its write");
    assert_eq!(
        found.to_string(),
        "read your writes: session 1 read x = absent at 2..3 (operation 1) although before it \
         session 1 wrote x = \"a\" @1 by 1.1 at 0..1 (operation 0)"
    );
}

/// What is wrong with the store of a random history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// Sessions move to other replicas without waiting for them to catch up.
    MovesBlindly,
    /// Replicas send single keys.
    SendsSingleKeys,
    /// Replicas do not move their clocks when they hear of later times.
    IgnoresClocks,
    /// A replica loses its state.
    Forgets,
}

#[derive(Debug, Clone, Default)]
struct Replica {
    entries: BTreeMap<Bytes, Entry>,
    clock: u64,
    counter: u64,
}

impl Replica {
    fn join(&mut self, key: &Bytes, entry: &Entry, bug: Bug) {
        if bug != Bug::IgnoresClocks {
            self.clock = self.clock.max(entry.timestamp.0);
        }
        if self
            .entries
            .get(key)
            .is_none_or(|held| entry.wins_over(held))
        {
            self.entries.insert(key.clone(), entry.clone());
        }
    }

    fn join_all(&mut self, other: &Self, bug: Bug) {
        for (key, entry) in &other.entries {
            self.join(key, entry, bug);
        }
    }
}

/// Three replicas that are joined now and then, and sessions that move between them.
fn run_store(seed: u64, bug: Bug) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut replicas = vec![Replica::default(); 3];
    let mut at: BTreeMap<u64, usize> = (1..=4)
        .map(|session| (session, session as usize % 3))
        .collect();
    let mut story = Story::default();
    for n in 0..150 {
        let (session, other) = (rng.random_range(1..=4), rng.random_range(0..3));
        let here = at[&session];
        let key = ["x", "y", "z"][rng.random_range(0..3)];
        let step = match bug {
            // Whole states would bring what single keys have left out.
            Bug::SendsSingleKeys => rng.random_range(0..10).min(7),
            _ => rng.random_range(0..10),
        };
        match step {
            0..3 => {
                let replica = &mut replicas[here];
                (replica.clock, replica.counter) = (replica.clock + 1, replica.counter + 1);
                let value = (rng.random_range(0..4) > 0).then(|| Bytes::from(n.to_string()));
                let dot = Dot::new(ReplicaId(here as u64 + 1), replica.counter);
                let timestamp = Timestamp(replica.clock);
                let entry = Entry {
                    dot,
                    timestamp,
                    value: value.clone(),
                };
                replica.join(&Bytes::from(key), &entry, bug);
                let version = Some(Version { timestamp, dot });
                story = story.happens(session, key, Call::Write { value, version }, true);
            }
            3..7 => {
                let held = replicas[here].entries.get(key.as_bytes());
                let value = held.and_then(|entry| entry.value.clone());
                let version = held.map(|e| Version {
                    timestamp: e.timestamp,
                    dot: e.dot,
                });
                story = story.happens(session, key, Call::Read { value, version }, true);
            }
            7 => {
                let source = replicas[other].clone();
                match (bug, source.entries.get(key.as_bytes())) {
                    (Bug::SendsSingleKeys, Some(entry)) => {
                        replicas[here].join(&Bytes::from(key), entry, bug);
                    }
                    (Bug::Forgets, _) if rng.random_range(0..4) == 0 => {
                        replicas[here].entries.clear();
                    }
                    _ => replicas[here].join_all(&source, bug),
                }
            }
            8 => {
                if bug != Bug::MovesBlindly {
                    let source = replicas[here].clone();
                    replicas[other].join_all(&source, bug);
                }
                at.insert(session, other);
            }
            _ => {
                let to = rng.random_range(1..=4);
                let source = replicas[here].clone();
                replicas[at[&to]].join_all(&source, bug);
                story = story.hands_over(session, to);
            }
        }
    }
    story.history
}

#[test]
fn histories_of_a_causal_store_are_right() {
    for seed in 0..150 {
        assert_eq!(check(&run_store(seed, Bug::None)), Ok(()), "seed {seed}");
    }
}

#[test]
fn histories_of_broken_stores_are_caught_by_what_they_break() {
    let expected = [
        (
            Bug::MovesBlindly,
            [Guarantee::ReadYourWrites, Guarantee::MonotonicReads],
        ),
        (Bug::SendsSingleKeys, [Guarantee::Causality; 2]),
        (
            Bug::IgnoresClocks,
            [Guarantee::MonotonicWrites, Guarantee::WritesFollowReads],
        ),
        (
            Bug::Forgets,
            [Guarantee::ReadYourWrites, Guarantee::MonotonicReads],
        ),
    ];
    for (bug, guarantees) in expected {
        let histories: Vec<History> = (0..60).map(|seed| run_store(seed, bug)).collect();
        let caught = histories
            .iter()
            .filter(|history| check(history).is_err())
            .count();
        assert!(caught > 20, "{bug:?}: only {caught} of 60 histories");
        for guarantee in guarantees {
            let broken = |history: &&History| check_only(history, &[guarantee]).is_err();
            assert!(
                histories.iter().filter(broken).count() > 10,
                "{bug:?}: {guarantee}"
            );
        }
    }
}
