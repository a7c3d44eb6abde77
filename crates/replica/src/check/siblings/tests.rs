use super::super::SessionId;
use super::*;
use crate::NodeId;
use crdt::ReplicaId;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

fn dot(counter: u64) -> Dot {
    Dot::new(ReplicaId(1), counter)
}

fn siblings(shown: &[(&str, u64)]) -> Vec<Sibling> {
    let sibling = |(value, counter): &(&str, u64)| Sibling {
        dot: dot(*counter),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    shown.iter().map(sibling).collect()
}

/// A history in which everything happens one after another.
#[derive(Default)]
struct Story {
    history: History,
    now: u64,
}

impl Story {
    fn happens(mut self, call: Call, is_known: bool) -> Self {
        let id = self
            .history
            .invoke(SessionId(self.now), None, "k", call.clone(), self.now);
        if is_known {
            self.history.complete(id, self.now + 1, call);
        }
        self.now += 2;
        self
    }

    /// A write, or with "-" a delete, by the event with this counter, 0 for none that is known.
    fn write(value: &str, counter: u64, seen: &[u64]) -> Call {
        Call::WriteSibling {
            value: (value != "-").then(|| Bytes::copy_from_slice(value.as_bytes())),
            seen: seen.iter().map(|counter| dot(*counter)).collect(),
            dot: (counter > 0).then(|| dot(counter)),
        }
    }

    fn writes(self, value: &str, counter: u64, seen: &[u64]) -> Self {
        self.happens(Self::write(value, counter, seen), true)
    }

    fn writes_unknown(self, value: &str, seen: &[u64]) -> Self {
        self.happens(Self::write(value, 0, seen), false)
    }

    fn reads(self, shown: &[(&str, u64)]) -> Self {
        let siblings = siblings(shown);
        self.happens(Call::ReadSiblings { siblings }, true)
    }

    fn ends(mut self, node: u32, shown: &[(&str, u64)]) -> Self {
        self.history.push_final(FinalState {
            node: NodeId(node),
            key: Bytes::from_static(b"k"),
            siblings: siblings(shown),
        });
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

    /// Exactly one violation, of this kind.
    #[track_caller]
    fn is_wrong(&self, kind: Kind) {
        let found = self.found();
        assert!(found.len() == 1 && kind(&found[0]), "{found:#?}");
    }
}

type Kind = fn(&Violation) -> bool;

fn vanished(violation: &Violation) -> bool {
    matches!(violation, Violation::Vanished { .. })
}

fn replaced(violation: &Violation) -> bool {
    matches!(violation, Violation::Replaced { .. })
}

fn never_written(violation: &Violation) -> bool {
    matches!(violation, Violation::NeverWritten { .. })
}

fn concurrent() -> Story {
    Story::default().writes("a", 1, &[]).writes("b", 2, &[])
}

#[test]
fn concurrent_writes_are_both_read() {
    concurrent().reads(&[("b", 2), ("a", 1)]).is_right();
    concurrent().reads(&[("a", 1)]).is_wrong(vanished);
    concurrent().reads(&[("b", 2)]).is_wrong(vanished);
    assert_eq!(concurrent().reads(&[]).found().len(), 2);
    concurrent().ends(1, &[("a", 1), ("b", 2)]).is_right();
    concurrent().ends(1, &[("a", 1)]).is_wrong(vanished);
}

#[test]
fn a_write_replaces_what_its_writer_had_seen_and_no_more() {
    let merged = || concurrent().writes("c", 3, &[1, 2]);
    merged().reads(&[("c", 3)]).is_right();
    merged().reads(&[("c", 3), ("a", 1)]).is_wrong(replaced);
    merged().reads(&[]).is_wrong(vanished);
    let partly = || concurrent().writes("c", 3, &[1]);
    partly().reads(&[("c", 3), ("b", 2)]).is_right();
    partly().reads(&[("c", 3)]).is_wrong(vanished);
    // Replaced by something that was replaced in turn.
    let twice = merged().writes("d", 4, &[3]);
    twice.reads(&[("d", 4)]).is_right();
}

#[test]
fn a_delete_takes_away_what_it_has_seen_for_good() {
    let deleted = || concurrent().writes("-", 0, &[1]);
    deleted().reads(&[("b", 2)]).is_right();
    deleted().reads(&[("a", 1), ("b", 2)]).is_wrong(replaced);
    deleted().reads(&[]).is_wrong(vanished);
    deleted()
        .reads(&[("b", 2)])
        .ends(1, &[("a", 1), ("b", 2)])
        .is_wrong(replaced);
}

#[test]
fn writes_of_unknown_outcome_may_be_there_or_not() {
    let unknown = || {
        Story::default()
            .writes("a", 1, &[])
            .writes_unknown("b", &[1])
    };
    unknown().reads(&[("a", 1)]).is_right();
    unknown().reads(&[("b", 2)]).is_right();
    unknown().reads(&[("a", 1)]).reads(&[("b", 2)]).is_right();
    unknown().reads(&[("a", 1), ("b", 2)]).is_wrong(replaced);
    unknown().reads(&[]).is_wrong(vanished);
    let deleting = || {
        Story::default()
            .writes("a", 1, &[])
            .writes_unknown("-", &[1])
    };
    deleting().reads(&[]).is_right();
    deleting().reads(&[("a", 1)]).is_right();
    // Two writes of one value are two events; a third is not.
    let twice = || {
        Story::default()
            .writes_unknown("a", &[])
            .writes_unknown("a", &[])
    };
    twice().reads(&[("a", 1), ("a", 2)]).is_right();
    twice()
        .reads(&[("a", 1), ("a", 2), ("a", 3)])
        .is_wrong(never_written);
}

#[test]
fn what_overlaps_a_read_may_be_in_it_or_not() {
    let mut history = Story::default().writes("a", 1, &[]).history;
    let write = Story::write("b", 2, &[1]);
    let writing = history.invoke(SessionId(1), None, "k", write.clone(), 10);
    for (session, shown) in [(2, [("a", 1)]), (3, [("b", 2)])] {
        let siblings = siblings(&shown);
        let read = Call::ReadSiblings { siblings };
        let id = history.invoke(SessionId(session), None, "k", read.clone(), 11);
        history.complete(id, 12, read);
    }
    history.complete(writing, 13, write);
    assert_eq!(check(&history), Ok(()));
}

#[test]
fn what_comes_from_nowhere_is_found() {
    let from_nowhere = [
        concurrent().reads(&[("a", 1), ("b", 2), ("c", 3)]),
        Story::default().writes("a", 1, &[]).reads(&[("c", 1)]),
        Story::default().reads(&[("a", 1)]).writes("a", 1, &[]),
        Story::default().writes_unknown("a", &[]).reads(&[("b", 1)]),
    ];
    for story in from_nowhere {
        story.is_wrong(never_written);
    }
    let twice = concurrent().reads(&[("a", 1), ("b", 2), ("b", 2)]);
    twice.is_wrong(|violation| matches!(violation, Violation::Repeated { .. }));
    let same = Story::default().writes("a", 1, &[]).writes("b", 1, &[]);
    same.is_wrong(|violation| matches!(violation, Violation::SameDot { .. }));
}

#[test]
fn an_acknowledged_write_without_a_known_event_is_judged_by_its_value() {
    let nameless = || Story::default().writes("a", 0, &[]);
    nameless().reads(&[("a", 1)]).is_right();
    nameless().reads(&[]).is_wrong(vanished);
    nameless().reads(&[("a", 1)]).reads(&[]).is_wrong(vanished);
    nameless()
        .writes("b", 2, &[1])
        .reads(&[("b", 2)])
        .is_right();
}

#[test]
fn contexts_that_name_the_own_event_or_each_other_replace_nothing_by_that() {
    let own = Story::default().writes("a", 1, &[1]);
    own.reads(&[("a", 1)]).is_right();
    let circle = Story::default()
        .writes("a", 1, &[])
        .happens(Story::write("b", 2, &[1, 3]), false)
        .happens(Story::write("c", 3, &[1, 2]), false);
    circle.reads(&[]).is_wrong(vanished);
}

#[test]
fn nodes_that_are_quiet_show_the_same() {
    let both = [("a", 1), ("b", 2)];
    concurrent()
        .ends(1, &both)
        .ends(2, &[("b", 2), ("a", 1)])
        .is_right();
    let unknown = Story::default()
        .writes_unknown("a", &[])
        .ends(1, &[("a", 1)])
        .ends(2, &[]);
    unknown.is_wrong(|violation| matches!(violation, Violation::Diverged { .. }));
}

#[test]
fn violations_read_well() {
    let found = check(
        &concurrent()
            .reads(&[("a", 1)])
            .ends(3, &[("a", 1), ("b", 2), ("z", 9)])
            .history,
    );
    assert_eq!(
        found.expect_err("b has vanished").to_string(),
        "node 3 shows k = {\"a\" by 1.1, \"b\" by 1.2, \"z\" by 1.9} at the end: nobody had written \"z\" by \
         1.9\n\
         a value has vanished: session 2 wrote k = \"b\" by 1.2 having seen <> at 2..3 (operation 1); but \
         session 4 read k = {\"a\" by 1.1} at 4..5 (operation 2)"
    );
}

/// What is wrong with the store of a random history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// A write replaces everything.
    LastWriterWins,
    /// A write replaces nothing.
    IgnoresContexts,
    /// A value is lost now and then.
    Forgets,
    /// What was replaced comes back now and then.
    Resurrects,
}

/// What is still to happen to an operation.
struct Running {
    id: OperationId,
    call: Call,
    has_happened: bool,
}

/// A multi-value register that takes each operation at some moment while it runs.
fn run_register(seed: u64, bug: Bug) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut history = History::default();
    let (mut state, mut past) = (BTreeMap::<Dot, Bytes>::new(), BTreeMap::<Dot, Bytes>::new());
    let mut seen = vec![CausalContext::default(); 4];
    let mut running: BTreeMap<usize, Running> = BTreeMap::new();
    for now in 0..400 {
        let client = rng.random_range(0..seen.len());
        let Some(mut operation) = running.remove(&client) else {
            let call = match rng.random_range(0..6) {
                0..3 => Call::ReadSiblings {
                    siblings: Vec::new(),
                },
                what => Call::WriteSibling {
                    value: (what < 5).then(|| Bytes::from(now.to_string())),
                    seen: seen[client].clone(),
                    dot: None,
                },
            };
            let id = history.invoke(SessionId(client as u64), None, "k", call.clone(), now);
            running.insert(
                client,
                Running {
                    id,
                    call,
                    has_happened: false,
                },
            );
            continue;
        };
        if operation.has_happened {
            history.complete(operation.id, now, operation.call);
            continue;
        }
        let given_up = rng.random_range(0..15) == 0;
        if given_up && rng.random() {
            continue;
        }
        match &mut operation.call {
            Call::WriteSibling { value, seen, dot } => {
                state.retain(|held, _| match bug {
                    Bug::LastWriterWins => false,
                    Bug::IgnoresContexts => true,
                    _ => !seen.contains(*held),
                });
                if let Some(value) = value {
                    let own = self::dot(now + 1);
                    *dot = Some(own);
                    state.insert(own, value.clone());
                    past.insert(own, value.clone());
                }
            }
            Call::ReadSiblings { siblings } => {
                let is_rare = rng.random_range(0..5) == 0;
                match bug {
                    Bug::Forgets if is_rare => drop(state.pop_first()),
                    Bug::Resurrects if is_rare => {
                        state.extend(past.first_key_value().map(|(d, v)| (*d, v.clone())));
                    }
                    _ => {}
                }
                let shown = state.iter().map(|(dot, value)| (*dot, value.clone()));
                *siblings = shown.map(|(dot, value)| Sibling { dot, value }).collect();
                if !given_up {
                    seen[client].extend(siblings.iter().map(|sibling| sibling.dot));
                }
            }
            _ => {}
        }
        if !given_up {
            operation.has_happened = true;
            running.insert(client, operation);
        }
    }
    // Whoever has not completed never will; what it did has happened or not.
    history
}

#[test]
fn histories_of_a_multi_value_register_are_right() {
    for seed in 0..150 {
        assert_eq!(check(&run_register(seed, Bug::None)), Ok(()), "seed {seed}");
    }
}

#[test]
fn histories_of_broken_registers_are_caught_by_what_they_break() {
    let expected: [(Bug, Kind); 4] = [
        (Bug::LastWriterWins, vanished),
        (Bug::IgnoresContexts, replaced),
        (Bug::Forgets, vanished),
        (Bug::Resurrects, replaced),
    ];
    for (bug, kind) in expected {
        let caught = (0..60).filter(|seed| {
            let found = check(&run_register(*seed, bug)).err();
            found.is_some_and(|found| found.0.iter().any(kind))
        });
        let caught = caught.count();
        assert!(caught > 50, "{bug:?}: only {caught} of 60 histories");
    }
}
