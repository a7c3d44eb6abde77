//! How nodes catch up: whom they ask for how much, what an answer leads to, and when they may serve.

use bytes::Bytes;
use crdt::{Knowledge, Timestamp};
use replica::{
    Command, Envelope, Extent, Level, Message, MultiValue, Partition, Policy, Request, SiblingWrite,
};
use std::sync::Arc;

use crate::support::{Bench, Flight};
use crate::{A, B, C, D, E};

const K: &str = "k";

/// To whom messages of a kind are under way.
fn receivers<P: Policy>(bench: &Bench<P>, kind: &str) -> Vec<u32> {
    let sent = bench.bag.iter().filter(|f| f.kind() == kind);
    sent.map(|f| f.to).collect()
}

const NOBODY: [u32; 0] = [];

/// A question of one node to another, which shows what the asker knows.
fn question<P: Policy>(bench: &Bench<P>, from: u32, want_entries: bool) -> Envelope<P::Cell> {
    let node = bench.node(from);
    Envelope {
        from: node.incarnation(),
        view: node.view().clone().into(),
        clock: Timestamp::default(),
        message: Message::SyncRequest {
            knowledge: Arc::new(node.replica().knowledge().clone()),
            want_entries,
        },
    }
}

fn ask<P: Policy>(bench: &mut Bench<P>, from: u32, to: u32, want_entries: bool) {
    let envelope = question(bench, from, want_entries);
    bench.arrive(Flight { from, to, envelope });
}

/// The extent of the answer under way to a node, and whether it brings promises.
fn answer(bench: &mut Bench, to: u32) -> (Extent, bool) {
    let mut answers = bench.take(|f| f.to == to && f.kind() == "sync answer");
    match answers.remove(0).envelope.message {
        Message::SyncAnswer(answer) => (answer.extent, answer.promises.is_some()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_complete_answer_of_one_who_serves_brings_promises() {
    let mut bench = Bench::new(3, |config| {
        (config.chunk_keys, config.max_log_events) = (1, 2);
    });
    for key in ["a", "b"] {
        bench.write_one(A, key, Some("v"));
    }
    bench.lose_all();
    ask(&mut bench, C, A, true);
    assert_eq!(answer(&mut bench, C), (Extent::Part, false));
    ask(&mut bench, C, A, false);
    assert_eq!(answer(&mut bench, C), (Extent::KnowledgeOnly, false));
    bench.write_one(A, "c", Some("v"));
    bench.tick(A);
    bench.lose_all();
    let truncated = bench.node(A).counters().truncated_answers;
    ask(&mut bench, C, A, true);
    assert_eq!(answer(&mut bench, C), (Extent::Truncated, false));
    assert_eq!(bench.node(A).counters().truncated_answers, truncated + 1);
    bench.settle();
    ask(&mut bench, C, A, true);
    assert_eq!(answer(&mut bench, C), (Extent::Complete, true));
    bench.lose_data(B);
    bench.run(|f| f.kind().starts_with("hello"));
    assert!(!bench.is_up(B) && bench.node(B).incarnation().is_some());
    bench.lose_all();
    let mut nothing = question(&bench, B, true);
    nothing.message = Message::SyncRequest {
        knowledge: Arc::new(Knowledge::default()),
        want_entries: true,
    };
    nothing.from = bench.node(C).incarnation();
    bench.arrive(Flight {
        from: C,
        to: B,
        envelope: nothing,
    });
    assert_eq!(answer(&mut bench, C), (Extent::Complete, false));
}

#[test]
fn whoever_is_asked_by_one_who_knows_more_asks_in_turn() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(B, K, Some("v"));
    bench.lose_all();
    let mut asks = |from, to, want_entries| {
        ask(&mut bench, from, to, want_entries);
        let asked = receivers(&bench, "sync request");
        bench.lose_all();
        asked
    };
    assert_eq!(asks(B, A, false), NOBODY, "B wants no entries");
    assert_eq!(asks(A, B, true), NOBODY, "A knows nothing");
    assert_eq!(asks(C, A, true), NOBODY, "C knows the same");
    assert_eq!(asks(B, A, true), [B]);
    bench.lose_data(C);
    bench.run(|f| f.kind().starts_with("hello"));
    bench.lose_all();
    assert!(bench.node(C).incarnation().is_some());
    ask(&mut bench, B, C, true);
    assert_eq!(
        receivers(&bench, "sync request"),
        NOBODY,
        "C recovers first"
    );
}

#[test]
fn an_answer_in_parts_is_followed_up_at_once() {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        bench.write_one(A, key, Some("v"));
    }
    bench.lose_all();
    bench.hint(B, A, false);
    bench.hint(B, A, true);
    bench.run(|f| f.among(&[A, B]));
    assert_eq!(keys.map(|key| bench.shows(B, key)), [Some("v"); 4]);
    assert_eq!(bench.node(A).counters().cut_answers, 3);
}

#[test]
fn a_rolled_back_node_notices_when_it_is_asked() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    bench.write_one(C, "first", Some("v"));
    bench.run(|_| true);
    let old = bench.disk(C);
    bench.write_one(C, K, Some("lost"));
    bench.run(|f| f.goes(C, B));
    bench.lose_all();
    bench.restart_with(C, old);
    ask(&mut bench, A, C, false);
    assert!(bench.is_up(C), "A knows no more of C than C itself");
    ask(&mut bench, B, C, false);
    assert!(!bench.is_up(C) && bench.node(C).incarnation().is_none());
    bench.lose_all();
    assert_eq!(bench.settled(K), Some("lost"));
    let counters = bench.node(C).counters();
    assert_eq!(counters.transfer_chunks, 0, "what it has is its head start");
    assert_eq!(counters.incarnations, 1, "one since its restart");
}

/// C has lost its data, and A alone has an entry.
fn c_recovers_from(answers: &[u32]) -> Bench {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    bench.lose_data(C);
    bench.run(|f| f.kind().starts_with("hello"));
    for node in answers {
        bench.run(|f| f.among(&[*node, C]) && f.kind().starts_with("sync"));
    }
    bench
}

#[test]
fn a_transfer_starts_with_the_first_source_and_goes_on_with_one_that_knows_more() {
    for (first, asked) in [(A, [A]), (B, [B])] {
        let bench = c_recovers_from(&[first]);
        assert_eq!(receivers(&bench, "transfer request"), asked);
    }
    let mut bench = c_recovers_from(&[A, B]);
    assert_eq!(receivers(&bench, "transfer request"), [A], "once");
    for _ in 0..4 {
        bench.lose_all();
        // Twice as long as an interval: the request was lost.
        bench.tick(C);
        bench.tick(C);
        let asked = receivers(&bench, "transfer request");
        assert_eq!(asked, [A], "B knows nothing that C does not");
    }
    bench.run(|_| true);
    assert!(bench.is_up(C));
    assert!(bench.node(C).counters().transfer_chunks > 0);
}

#[test]
fn a_lost_chunk_is_asked_for_again_after_two_intervals() {
    for (pauses, is_asked) in [
        (&[510, 489][..], false),
        (&[500, 500], true),
        (&[510, 500], true),
    ] {
        let mut bench = c_recovers_from(&[A, B]);
        bench.lose_all();
        let mut asked = Vec::new();
        for pause in pauses {
            assert_eq!(asked, NOBODY, "{pauses:?}");
            bench.pass(C, *pause);
            asked = receivers(&bench, "transfer request");
        }
        assert_eq!(!asked.is_empty(), is_asked, "{pauses:?}");
    }
}

#[test]
fn where_loss_is_accepted_all_that_can_be_reached_are_heard_first() {
    let mut bench = Bench::new(5, |_| ());
    let write = bench.put(A, K, "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    for node in [B, C, D] {
        bench.lose_data(node);
    }
    bench.talk(&[A, B, C, D, E]);
    assert!([B, C, D].iter().all(|node| !bench.is_up(*node)));
    let recovery = bench.node(B).status().recovery;
    assert_eq!(
        recovery,
        Some((0, 3)),
        "A and E have said hello, and are too few"
    );
    bench.feed(B, Partition::handle_accept_loss);
    assert!(!bench.is_up(B), "who said what before is asked again");
    let hellos = receivers(&bench, "hello");
    assert!([A, C, D, E].iter().all(|node| hellos.contains(node)));
    bench.run(|f| f.among(&[A, B]));
    bench.run(|f| f.among(&[B, C]));
    assert!(!bench.is_up(B), "D and E have not said anything");
    bench.talk(&[A, B, C, D, E]);
    assert!(bench.is_up(B), "A and E are all the sources there are");
    assert_eq!(bench.shows(B, K), Some("v"));
    bench.talk(&[A, B, C, D, E]);
    assert!(bench.is_up(C) && bench.is_up(D), "with B there are three");
    assert_eq!(bench.settled(K), Some("v"));
}

/// Each write of siblings that reaches A tells it of one before that does not, and leaves an exception.
fn exceptions(bench: &mut Bench<MultiValue>, keys: &[&'static str]) {
    for key in keys {
        for (key, is_delivered) in [("unheard", false), (*key, true)] {
            let value = SiblingWrite::Put(Bytes::from_static(b"v"));
            let key = Bytes::from_static(key.as_bytes());
            bench.ask(C, Request::new(Command::write(key, value), Level::One));
            if is_delivered {
                bench.run(|f| f.goes(C, A));
            }
            bench.lose_all();
        }
    }
}

fn with_exceptions(nodes: u32, keys: &[&'static str]) -> Bench<MultiValue> {
    let mut bench = Bench::<MultiValue>::with_policy(nodes, |config| config.max_exceptions = 1);
    exceptions(&mut bench, keys);
    assert_eq!(bench.node(A).status().exceptions, keys.len());
    bench
}

#[test]
fn too_many_exceptions_are_mended_by_a_transfer_from_who_can_mend_them() {
    let mut bench = with_exceptions(4, &["a"]);
    bench.tick(A);
    assert_eq!(
        receivers(&bench, "transfer request"),
        NOBODY,
        "not too many"
    );
    bench.lose_all();
    exceptions(&mut bench, &["b"]);
    ask(&mut bench, C, A, false);
    ask(&mut bench, D, A, false);
    bench.lose_all();
    bench.tick(A);
    assert_eq!(receivers(&bench, "transfer request"), [C]);
    bench.run(|f| f.among(&[A, C]));
    assert_eq!(bench.node(A).status().exceptions, 0);
    assert!(bench.node(A).counters().transfer_chunks > 0);
}

#[test]
fn few_exceptions_that_take_many_bytes_are_mended_by_a_transfer_too() {
    let long: &'static str = "a".repeat(200).leak();
    for (max_exception_bytes, asked) in [(1_000, &[][..]), (400, &[C])] {
        let mut bench = Bench::<MultiValue>::with_policy(4, |config| {
            config.max_exception_bytes = max_exception_bytes;
        });
        exceptions(&mut bench, &[long]);
        assert_eq!(bench.node(A).status().exceptions, 1);
        ask(&mut bench, C, A, false);
        bench.lose_all();
        bench.tick(A);
        assert_eq!(receivers(&bench, "transfer request"), asked);
        bench.run(|f| f.among(&[A, C]) && f.kind().starts_with("transfer"));
        assert_eq!(bench.node(A).status().exceptions, 1 - asked.len());
    }
}

#[test]
fn who_cannot_be_reached_is_not_asked_for_a_transfer() {
    let mut bench = with_exceptions(4, &["a", "b"]);
    ask(&mut bench, C, A, false);
    bench.hint(A, C, false);
    bench.lose_all();
    let mut asked = Vec::new();
    for _ in 0..4 {
        bench.pass(A, 2_000);
        asked.extend(receivers(&bench, "transfer request"));
        bench.lose_all();
    }
    assert_eq!(asked.len(), 4);
    assert!(!asked.contains(&C), "{asked:?}");
}

#[test]
fn a_transfer_that_nobody_is_known_to_help_with_goes_round() {
    let mut bench = with_exceptions(4, &["a", "b"]);
    for node in [B, D] {
        ask(&mut bench, node, A, false);
    }
    bench.lose_all();
    let mut asked = Vec::new();
    for _ in 0..6 {
        bench.pass(A, 2_000);
        asked.extend(receivers(&bench, "transfer request"));
        bench.lose_all();
    }
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked, [B, C, D]);
}

#[test]
fn one_transfer_is_under_way_at_a_time_and_is_given_up_after_four_intervals() {
    for (pauses, is_asked) in [
        (&[510, 1_489][..], false),
        (&[500, 500, 500, 500], true),
        (&[510, 1_500], true),
    ] {
        let mut bench = with_exceptions(3, &["a", "b"]);
        bench.tick(A);
        assert_eq!(receivers(&bench, "transfer request").len(), 1);
        bench.lose_all();
        let mut asked = Vec::new();
        for pause in pauses {
            assert_eq!(asked, NOBODY, "{pauses:?}");
            bench.pass(A, *pause);
            asked = receivers(&bench, "transfer request");
        }
        assert_eq!(!asked.is_empty(), is_asked, "{pauses:?}");
    }
}

#[test]
fn what_is_forgotten_and_who_is_retired_is_counted() {
    let mut bench = Bench::new(3, |_| ());
    bench.settle();
    assert_eq!(bench.node(A).counters().incarnations, 1);
    for node in [A, B, C] {
        let counters = bench.node(node).counters();
        assert_eq!(counters.incarnations_retired, 0, "nobody has died");
    }
    crate::a_forgotten_delete(&mut bench);
    assert_eq!(bench.node(A).counters().tombstones_purged, 1);
    bench.settle();
    bench.lose_data(C);
    bench.settle();
    for node in [A, B] {
        let counters = bench.node(node).counters();
        assert!(counters.incarnations_retired > 0, "at {node}");
    }
    // One of them closes it, and the others may hear of that before they would themselves.
    let closed = [A, B, C].map(|node| bench.node(node).counters().incarnations_closed);
    assert!(closed.iter().sum::<u64>() > 0);
    // What a living writer has written is waited for, though others have died.
    let write = bench.put_at(B, K, "w", Level::One);
    let seen = bench.seen(write);
    bench.lose_all();
    let get = Command::get(Bytes::from_static(b"k"));
    let read = bench.ask(A, Request::new(get, Level::One).after(seen));
    assert_eq!(bench.reply(read), None);
    bench.run(|_| true);
    assert_eq!(bench.read(read), Some("w"));
}

/// The last word on a key is a write at level `One`, which answers for the one before it: if it loses, it is
/// minted again.
#[test]
fn a_write_that_nobody_waits_for_is_minted_again_if_it_answers_for_another() {
    let mut bench = Bench::new(3, |config| config.resend_ms = 100);
    bench.nudge(B, 9);
    bench.write_one(B, K, Some("newer"));
    bench.lose_all();
    let quorum = bench.put(A, K, "x");
    bench.write_one(A, K, Some("y"));
    bench.lose_all();
    bench.pass(A, 100);
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(quorum));
    assert_eq!(bench.node(A).counters().writes_minted_again, 1);
    assert_eq!(bench.settled(K), Some("y"));
}

#[test]
fn a_drop_of_acknowledgements_counts_no_answers_that_stay() {
    let mut bench = Bench::new(5, |config| {
        (config.write_quorum, config.read_quorum) = (5, 1);
    });
    bench.nudge(E, 9);
    bench.write_one(E, K, Some("newer"));
    bench.lose_all();
    let write = bench.put_at(A, K, "v", Level::Linearizable);
    bench.run(|f| f.among(&[A, B]) || f.among(&[A, E]));
    bench.lose_all();
    assert_eq!(bench.reply(write), None, "C and D have not answered");
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert_eq!(bench.node(A).counters().acknowledgements_dropped, 0);
    let envelope = question(&bench, C, false);
    let (from, to) = (C, A);
    bench.arrive(Flight { from, to, envelope });
    assert_eq!(bench.node(A).counters().acknowledgements_dropped, 1);
}
