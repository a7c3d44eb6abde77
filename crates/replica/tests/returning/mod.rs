//! Nodes that come back with a head start, or with nothing: each answer leads to the next question at once,
//! and no answer leads to one twice.

use crdt::Timestamp;
use replica::{Envelope, Extent, Level, Message, NodeId, RequestError, incarnation};
use std::sync::Arc;

use crate::support::{Bench, Flight};
use crate::{A, B, C};

const K: &str = "k";

fn is_kind(kind: &'static str) -> impl Fn(&Flight) -> bool {
    move |f| f.kind() == kind
}

/// C comes back with a disk that lacks one write; the logs of the others hold this many events.
fn with_a_head_start(max_log_events: usize) -> Bench {
    let mut bench = Bench::new(3, |config| {
        config.durable = true;
        config.max_log_events = max_log_events;
    });
    for key in ["a", "b", "c"] {
        bench.write_one(A, key, Some("v"));
    }
    bench.run(|_| true);
    let disk = bench.disk(C);
    let write = bench.put(A, K, "missed");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.lose_all();
    for node in [A, B] {
        bench.tick(node);
        bench.lose_all();
    }
    bench.come_back_with(C, disk);
    bench
}

/// Of five owners of which four hold each write, two others show what a node must know.
#[test]
fn who_has_come_back_says_how_many_have_to_confirm_it() {
    let mut bench = Bench::new(5, |config| {
        config.durable = true;
        config.restart_patience_ms = 1 << 40;
        (config.write_quorum, config.read_quorum) = (4, 2);
    });
    bench.write_one(A, K, Some("v"));
    let disk = bench.disk(A);
    bench.restart_with(A, disk);
    assert_eq!(bench.node(A).status().recovery, Some((0, 2)));
    let refused = bench.get_at(A, K, Level::One);
    assert!(matches!(
        bench.failure(refused),
        RequestError::Recovering { needed: 2, .. }
    ));
    bench.talk(&[A, B, C]);
    assert!(bench.is_up(A), "B and C suffice");
}

#[test]
fn what_is_missing_beside_a_head_start_comes_at_once() {
    for (max_log_events, transfers) in [(1 << 20, false), (0, true)] {
        let mut bench = with_a_head_start(max_log_events);
        assert!(!bench.is_up(C));
        bench.run(|_| true);
        assert!(bench.is_up(C), "no interval has passed");
        assert_eq!(bench.shows(C, K), Some("missed"));
        let chunks = bench.node(C).counters().transfer_chunks;
        assert_eq!(chunks > 0, transfers, "{chunks} chunks");
        bench.settle();
    }
}

/// The old B is closed everywhere when C comes back with a disk from before that: it lacks no event, and still
/// does not know all.
#[test]
fn who_lacks_a_closing_alone_asks_for_a_transfer_at_once() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    let write = bench.put(B, K, "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let dead = bench.node(B).incarnation().expect("it has one");
    let disk = bench.disk(C);
    bench.lose_data(B);
    bench.settle();
    let has_closed = |bench: &Bench, node| bench.node(node).replica().closed().contains(dead);
    assert!(has_closed(&bench, A) && has_closed(&bench, C));
    bench.come_back_with(C, disk);
    assert!(!has_closed(&bench, C));
    bench.run(|_| true);
    assert!(bench.is_up(C), "no interval has passed");
    assert!(has_closed(&bench, C));
    bench.settle();
}

/// C has lost its data and is in the middle of a transfer from A, one key at a time.
fn in_a_transfer() -> (Bench, Flight) {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    for key in ["a", "b", "c", "d"] {
        bench.write_one(A, key, Some("v"));
    }
    bench.run(|_| true);
    bench.lose_data(C);
    bench.run(|f| f.kind().starts_with("hello"));
    bench.deliver(|f| f.goes(C, A));
    let known = bench.bag.iter().find(|f| f.goes(A, C)).cloned();
    let known = known.expect("what A knows");
    assert_eq!(known.kind(), "sync answer");
    bench.run(|f| f.among(&[A, C]) && f.kind() == "sync answer");
    let asks_for_entries = bench.bag.iter().any(|f| {
        let wanted = &f.envelope.message;
        matches!(wanted, Message::SyncRequest { want_entries, .. } if *want_entries)
    });
    assert!(!asks_for_entries, "the transfer brings them");
    for kind in ["transfer request", "transfer answer"] {
        assert_eq!(bench.deliver(is_kind(kind)), 1);
    }
    bench.take(|f| f.kind() != "transfer request");
    assert_eq!(bench.bag.len(), 1, "the next chunk is asked for");
    (bench, known)
}

#[test]
fn a_transfer_under_way_is_not_begun_again() {
    let chunks = {
        let (mut bench, _) = in_a_transfer();
        bench.run(|f| f.among(&[A, C]));
        bench.node(C).counters().transfer_chunks
    };
    for extent in [Extent::Truncated, Extent::Complete, Extent::KnowledgeOnly] {
        let (mut bench, mut late) = in_a_transfer();
        match &mut late.envelope.message {
            Message::SyncAnswer(answer) => answer.extent = extent,
            other => panic!("{other:?}"),
        }
        bench.arrive(late);
        assert_eq!(bench.bag.len(), 1, "{extent:?} leads to nothing more");
        bench.run(|f| f.among(&[A, C]));
        assert_eq!(bench.node(C).counters().transfer_chunks, chunks);
        assert_eq!(bench.settled("d"), Some("v"));
    }
}

/// A and C have retired the old C, and B, which gets no entries, has not: it might still lack something.
#[test]
fn the_dead_are_closed_only_once_every_owner_has_retired_them() {
    let mut bench = Bench::new(3, |_| ());
    let write = bench.put(C, K, "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let dead = bench.node(C).incarnation().expect("it has one");
    bench.lose_data(C);
    for _ in 0..12 {
        for node in [A, B, C] {
            bench.tick(node);
        }
        bench.run(|f| f.to != B || f.kind() != "sync answer");
        bench.lose_all();
    }
    let retired = |bench: &Bench, node| bench.node(node).counters().incarnations_retired;
    assert!(retired(&bench, A) > 0 && retired(&bench, B) == 0);
    let is_closed = |bench: &Bench| bench.node(A).replica().closed().contains(dead);
    assert!(!is_closed(&bench));
    bench.settle();
    assert!(is_closed(&bench));
}

/// What a source knew before it lost its data may be nowhere any more.
#[test]
fn a_source_that_loses_its_data_is_one_no_longer() {
    let mut bench = Bench::new(3, |_| ());
    bench.lose_data(C);
    bench.run(|f| f.kind().starts_with("hello"));
    bench.run(|f| f.among(&[A, C]));
    bench.lose_all();
    assert_eq!(bench.node(C).status().recovery, Some((1, 2)));
    let after = incarnation(NodeId(A), 1, 7);
    let envelope = Envelope {
        from: Some(after),
        view: Arc::default(),
        clock: Timestamp::default(),
        message: Message::WrittenBack { read: 0 },
    };
    let (from, to) = (A, C);
    bench.arrive(Flight { from, to, envelope });
    assert_eq!(bench.node(C).status().recovery, Some((0, 2)));
}
