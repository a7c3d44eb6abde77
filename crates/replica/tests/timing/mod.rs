//! When a node asks again, whom, how often, and what it gives up when.

use bytes::Bytes;
use crdt::Timestamp;
use replica::{
    Command, Floor, Level, Message, NodeId, Output, Request, RequestError, RequestId, State,
    StorageError,
};
use std::collections::BTreeMap;

use crate::support::{Bench, Flight, put};
use crate::{A, B, C, D, E};

const K: &str = "k";

const NOBODY: [u32; 0] = [];

/// Three nodes that send again after 100 ms, and compare what they know after 10 s.
fn resending() -> Bench {
    Bench::new(3, |config| {
        (config.resend_ms, config.sync_interval_ms) = (100, 10_000);
        config.request_timeout_ms = 5_000;
    })
}

/// To whom messages of a kind are under way.
fn receivers(bench: &Bench, kind: &str) -> Vec<u32> {
    let sent = bench.bag.iter().filter(|f| f.kind() == kind);
    sent.map(|f| f.to).collect()
}

const fn no_majority(acknowledged: usize, needed: usize, may_take_effect: bool) -> RequestError {
    RequestError::NoMajority {
        acknowledged,
        needed,
        may_take_effect,
    }
}

const fn late(answered: usize, needed: usize, may_take_effect: bool) -> RequestError {
    RequestError::Deadline {
        answered,
        needed,
        may_take_effect,
    }
}

#[test]
fn nodes_that_start_together_take_turns_and_are_due_when_something_is() {
    let mut bench = Bench::new(3, |config| {
        (config.resend_ms, config.request_timeout_ms) = (60, 1_000);
    });
    let due = |bench: &Bench, node| bench.node(node).deadline();
    assert_eq!(
        [A, B, C].map(|node| due(&bench, node)),
        [Some(166), Some(333), Some(500)]
    );
    bench.pass(A, 165);
    assert!(bench.bag.is_empty(), "it is not its turn yet");
    bench.pass(A, 1);
    assert_eq!(receivers(&bench, "sync request").len(), 1);
    assert_eq!(due(&bench, A), Some(666), "half a second later");
    bench.put(A, K, "v");
    assert_eq!(due(&bench, A), Some(226), "when the write is sent again");
    bench.get(B, K);
    assert_eq!(due(&bench, B), Some(226));
    let within = Request::new(Command::get(Bytes::from_static(b"k")), Level::All).within(20);
    bench.ask(B, within);
    assert_eq!(
        due(&bench, B),
        Some(186),
        "when the second read is given up"
    );
}

#[test]
fn a_write_is_sent_again_to_those_that_are_silent_ever_more_rarely() {
    let mut bench = resending();
    let write = bench.put_at(A, K, "v", Level::All);
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    bench.pass(A, 99);
    assert!(bench.bag.is_empty());
    for pause in [1, 200, 400] {
        bench.pass(A, pause - 1);
        assert!(bench.bag.is_empty(), "after less than {pause} ms");
        bench.pass(A, 1);
        assert_eq!(receivers(&bench, "write"), [C], "after {pause} ms");
        bench.lose_all();
    }
    assert_eq!(bench.node(A).status().pending, 1);
    bench.pass(A, 4_299);
    bench.lose_all();
    assert_eq!(bench.reply(write), None);
    bench.pass(A, 1);
    assert_eq!(bench.failure(write), &late(2, 3, true));
    assert_eq!(bench.node(A).status().pending, 0);
}

#[test]
fn only_what_is_due_is_sent_again_and_only_what_is_late_is_given_up() {
    let mut bench = resending();
    bench.put(A, "first", "v");
    bench.get(A, "first");
    bench.lose_all();
    bench.pass(A, 50);
    let patient = [bench.put(A, "second", "v"), bench.get(A, "second")];
    let hasty = Request::new(put("third", "v"), Level::Quorum).within(20);
    let hasty = [
        bench.ask(A, hasty),
        bench.ask(
            A,
            Request::new(Command::get(Bytes::from_static(b"third")), Level::Quorum).within(20),
        ),
    ];
    bench.lose_all();
    assert_eq!(bench.node(A).status().pending, 6);
    bench.pass(A, 25);
    assert_eq!(bench.failure(hasty[0]), &late(1, 2, true));
    assert_eq!(bench.failure(hasty[1]), &late(1, 2, false));
    assert_eq!(bench.node(A).status().pending, 4);
    assert!(bench.bag.is_empty());
    bench.pass(A, 25);
    assert_eq!(receivers(&bench, "write"), [B, C], "the first alone");
    assert_eq!(receivers(&bench, "read"), [B, C]);
    bench.lose_all();
    bench.pass(A, 50);
    assert_eq!(receivers(&bench, "write"), [B, C], "now the second");
    assert_eq!(receivers(&bench, "read"), [B, C]);
    bench.run(|_| true);
    for request in patient {
        assert!(matches!(bench.reply(request), Some(Ok(_))));
    }
}

#[test]
fn a_read_asks_the_silent_again_and_everybody_if_a_session_waits() {
    let mut bench = resending();
    let event = bench.put_at(C, "other", "x", Level::One);
    let unmet = bench.seen(event);
    bench.lose_all();
    for (floor, asked) in [(Floor::default(), vec![C]), (unmet, vec![B, C])] {
        let get = Command::get(Bytes::from_static(b"k"));
        let read = bench.ask(A, Request::new(get, Level::All).after(floor));
        bench.run(|f| f.among(&[A, B]));
        bench.lose_all();
        bench.pass(A, 99);
        assert!(bench.bag.is_empty());
        bench.pass(A, 1);
        assert_eq!(receivers(&bench, "read"), asked);
        assert_eq!(bench.reply(read), None);
        bench.pass(A, 6_000);
        bench.lose_all();
        assert_eq!(bench.failure(read), &late(2, 3, false));
    }
}

#[test]
fn a_write_back_is_sent_again_to_those_that_have_not_confirmed() {
    let mut bench = Bench::new(5, |config| {
        (config.resend_ms, config.sync_interval_ms) = (100, 10_000);
    });
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let read = bench.get_at(A, K, Level::Linearizable);
    bench.run(|f| f.among(&[A, D, E]) && f.kind().starts_with("read"));
    assert_eq!(receivers(&bench, "write back"), [B, C, D, E]);
    bench.run(|f| f.among(&[A, D]));
    bench.lose_all();
    bench.pass(A, 99);
    assert!(bench.bag.is_empty(), "nothing is due");
    // Another read is due at another time.
    bench.get(A, "other");
    bench.lose_all();
    bench.pass(A, 1);
    assert_eq!(receivers(&bench, "write back"), [B, C, E]);
    assert_eq!(receivers(&bench, "read"), NOBODY);
    bench.lose_all();
    bench.pass(A, 99);
    assert_eq!(receivers(&bench, "write back"), NOBODY);
    assert_eq!(receivers(&bench, "read"), [B, C, D, E]);
    assert_eq!(bench.node(A).counters().write_backs, 0);
    bench.pass(A, 101);
    bench.run(|f| f.among(&[A, E]));
    assert_eq!(bench.read(read), Some("v"));
    assert_eq!(bench.node(A).counters().write_backs, 1);
    assert_eq!(bench.node(A).status().pending, 1, "the other read");
}

#[test]
fn what_cannot_succeed_fails_as_soon_as_it_is_known() {
    let mut bench = Bench::new(3, |_| ());
    let all = [
        bench.put_at(A, "all", "v", Level::All),
        bench.get_at(A, "all", Level::All),
    ];
    let quorum = [bench.put(A, K, "v"), bench.get(A, K)];
    let linearizable = bench.get_at(A, "other", Level::Linearizable);
    bench.lose_all();
    bench.hint(A, C, false);
    assert_eq!(bench.failure(all[0]), &no_majority(1, 3, true));
    assert_eq!(bench.failure(all[1]), &no_majority(1, 3, false));
    for request in quorum.into_iter().chain([linearizable]) {
        assert_eq!(bench.reply(request), None, "B is left");
    }
    assert_eq!(bench.node(A).status().pending, 3);
    bench.hint(A, B, false);
    assert_eq!(bench.failure(quorum[0]), &no_majority(1, 2, true));
    assert_eq!(bench.failure(quorum[1]), &no_majority(1, 2, false));
    assert_eq!(bench.failure(linearizable), &no_majority(1, 2, false));
    assert_eq!(bench.node(A).status().pending, 0);
    assert!(bench.bag.is_empty(), "and nobody is told");
}

#[test]
fn a_hint_is_acted_on_once() {
    let mut bench = Bench::new(3, |_| ());
    bench.hint(A, C, true);
    assert!(bench.bag.is_empty(), "it was taken for reachable all along");
    bench.hint(A, C, false);
    bench.hint(A, C, true);
    assert_eq!(receivers(&bench, "sync request"), [C], "it is greeted");
    bench.lose_all();
    bench.hint(A, C, true);
    assert!(bench.bag.is_empty());
}

#[test]
fn nobody_is_asked_in_turn_who_cannot_be_reached_while_another_can() {
    let mut bench = Bench::new(4, |_| ());
    let four = |bench: &mut Bench| {
        let asked = (0..4).flat_map(|_| {
            bench.tick(A);
            let asked = receivers(bench, "sync request");
            bench.lose_all();
            asked
        });
        asked.collect::<Vec<u32>>()
    };
    assert_eq!(four(&mut bench), [B, C, D, B]);
    bench.hint(A, C, false);
    assert_eq!(four(&mut bench), [D, B, D, B]);
    bench.hint(A, B, false);
    bench.hint(A, D, false);
    assert_eq!(four(&mut bench), [C, D, B, C], "hints may be wrong");
}

#[test]
fn who_was_just_asked_is_not_asked_again() {
    for (resend_ms, patience) in [(1 << 40, 500), (200, 200)] {
        let mut bench = Bench::new(3, |config| config.resend_ms = resend_ms);
        bench.write_one(B, K, Some("v"));
        bench.lose_all();
        bench.tick(A);
        assert_eq!(receivers(&bench, "sync request"), [B]);
        bench.lose_all();
        let asks_back = |bench: &mut Bench, question: &Flight| {
            bench.arrive(question.clone());
            let asked = receivers(bench, "sync request");
            bench.lose_all();
            asked
        };
        // B knows something that A does not.
        bench.hint(B, A, false);
        bench.hint(B, A, true);
        let question = bench.take(|f| f.goes(B, A)).remove(0);
        assert_eq!(
            asks_back(&mut bench, &question),
            NOBODY,
            "an answer is on its way"
        );
        bench.pass(C, patience - 1);
        bench.lose_all();
        assert_eq!(asks_back(&mut bench, &question), NOBODY);
        bench.pass(C, 1);
        bench.lose_all();
        assert_eq!(asks_back(&mut bench, &question), [B], "it was lost");
        assert_eq!(asks_back(&mut bench, &question), NOBODY);
    }
}

#[test]
fn an_owner_that_holds_the_same_says_so_in_a_few_bytes() {
    let mut bench = Bench::new(3, |_| ());
    let write = bench.put(A, K, "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let floor = bench.seen(write);
    let get = |level, floor: &Floor| {
        let get = Command::get(Bytes::from_static(b"k"));
        Request::new(get, level).after(floor.clone())
    };
    let none = Floor::default();
    let since = Floor {
        time: Timestamp(1),
        ..Floor::default()
    };
    for (level, floor, is_known) in [
        (Level::Quorum, &none, false),
        (Level::Quorum, &floor, true),
        (Level::Quorum, &since, true),
        (Level::Linearizable, &none, true),
    ] {
        bench.ask(A, get(level, floor));
        let asks_for_knowledge = bench.bag.iter().all(|f| match &f.envelope.message {
            Message::Read { with_knowledge, .. } => *with_knowledge,
            other => panic!("{other:?}"),
        });
        assert_eq!(asks_for_knowledge, is_known);
        bench.deliver(|f| f.goes(A, B));
        let answers = bench.take(|f| f.goes(B, A));
        let listings = answers[0].envelope.message.listings().len();
        assert_eq!(listings, usize::from(is_known), "{level:?} {floor:?}");
        bench.lose_all();
    }
    assert_eq!(bench.node(A).counters().read_repairs, 0);
}

#[test]
fn who_differs_is_repaired_once() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let read = bench.get(A, K);
    bench.run(|_| true);
    assert_eq!(bench.read(read), Some("v"));
    assert_eq!(bench.node(A).counters().read_repairs, 2);
    assert_eq!([B, C].map(|node| bench.shows(node, K)), [Some("v"); 2]);
}

#[test]
fn an_answer_about_another_key_is_no_answer() {
    let mut bench = Bench::new(3, |_| ());
    for key in ["a", "b"] {
        bench.write_one(B, key, Some("v"));
    }
    bench.lose_all();
    let reads = ["a", "b"].map(|key| bench.get(A, key));
    bench.deliver(|f| f.goes(A, B));
    let mut answers = bench.take(|f| f.goes(B, A));
    bench.lose_all();
    let numbers: Vec<u64> = answers
        .iter()
        .map(|f| match f.envelope.message {
            Message::ReadAnswer { read, .. } => read,
            _ => panic!("{}", f.kind()),
        })
        .collect();
    for (flight, other) in answers.iter_mut().zip(numbers.iter().rev()) {
        if let Message::ReadAnswer { read, .. } = &mut flight.envelope.message {
            *read = *other;
        }
    }
    answers.into_iter().for_each(|f| bench.arrive(f));
    assert_eq!(reads.map(|read| bench.reply(read)), [None; 2]);
}

#[test]
fn a_linearizable_write_waits_once_for_answers_and_once_for_owners() {
    let mut bench = Bench::new(3, |_| ());
    let write = bench.put_at(A, K, "v", Level::Linearizable);
    assert_eq!(bench.node(A).status().pending, 1);
    bench.run(|f| f.among(&[A, B]) && f.kind().starts_with("read"));
    assert_eq!(receivers(&bench, "write"), [B, C]);
    assert_eq!(bench.node(A).status().pending, 1);
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    assert_eq!(bench.node(A).status().pending, 0);
}

#[test]
fn a_node_whose_storage_fails_tells_everybody_and_does_nothing_more() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    let pending = [
        bench.put(A, K, "v"),
        bench.get(A, K),
        bench.get_at(A, "other", Level::Linearizable),
    ];
    bench.lose_all();
    let error = StorageError::new("writing", "no room");
    let mut told = Vec::new();
    bench.feed(A, |p, now| {
        let write = || Request::new(put("late", "v"), Level::One);
        p.handle_request(RequestId(98), write(), now);
        let dropped = p.take_ready().outputs;
        p.handle_request(RequestId(99), write(), now);
        p.handle_storage_failure(&error, &dropped);
        let ready = p.take_ready();
        assert_eq!(ready.persist, None, "what failed is not tried again");
        told.extend(ready.outputs);
    });
    let failed = RequestError::StorageFailed {
        node: NodeId(A),
        cause: error.to_string(),
    };
    let told = told.into_iter().map(|output| match output {
        Output::Reply { request, result } => (request.0, result.err()),
        other => panic!("{other:?}"),
    });
    let told: BTreeMap<u64, _> = told.collect();
    let everybody = pending.into_iter().chain([98, 99]);
    let expected = everybody.map(|id| (id, Some(failed.clone())));
    assert_eq!(told, expected.collect());
    let node = bench.node(A);
    assert_eq!(
        (node.state(), node.deadline()),
        (State::StorageFailed, None)
    );
    assert_eq!(node.status().pending, 0);
    bench.write_one(B, K, Some("other"));
    bench.run(|_| true);
    bench.tick(A);
    bench.hint(A, B, false);
    bench.hint(A, B, true);
    assert_ne!(bench.shows(A, K), Some("other"), "it joins nothing");
    assert!(bench.take(|f| f.from == A).is_empty());
    let refused = bench.get_at(A, K, Level::One);
    assert_eq!(bench.failure(refused), &failed);
}
