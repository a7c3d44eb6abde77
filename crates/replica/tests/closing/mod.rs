//! Closing of dead incarnations: what is lost for good is said, nothing else is lost by it, and nothing
//! waits for ever.

use std::collections::BTreeSet;

use bytes::Bytes;
use crdt::{Dot, ReplicaId};
use replica::{Command, Floor, Level, MultiValue, Policy, Request, RequestError, SiblingWrite};

use crate::support::{Bench, put};
use crate::{A, B, C, D, E};

fn get<W>(floor: &Floor) -> Request<W> {
    let get = Command::get(Bytes::from_static(b"k"));
    Request::new(get, Level::One).after(floor.clone())
}

/// Whether a node has closed the writer.
fn has_closed<P: Policy>(bench: &Bench<P>, node: u32, writer: ReplicaId) -> bool {
    bench.node(node).replica().closed().contains(writer)
}

#[test]
fn a_session_that_has_seen_a_lost_event_is_told_so() {
    let mut bench = Bench::new(3, |_| ());
    let first = bench.put(C, "k", "kept");
    bench.run(|_| true);
    let kept = bench.seen(first);
    let second = bench.ask(C, Request::new(put("k", "lost"), Level::One));
    let lost = bench.seen(second);
    let event = bench.live(C, "k").expect("C has it");
    bench.lose_all();
    bench.lose_data(C);
    // Until all have said that they know what is left, the event might still be somewhere.
    let early = bench.ask(A, get(&lost).within(10));
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    bench.pass(A, 10);
    bench.lose_all();
    assert!(matches!(
        bench.failure(early),
        RequestError::SessionUnmet { missing: 1, .. }
    ));
    let patient = bench.ask(B, get(&lost));
    bench.settle();
    for node in [A, B, C] {
        assert!(has_closed(&bench, node, event.replica), "at {node}");
        let read = bench.ask(node, get(&lost));
        assert_eq!(
            bench.failure(read),
            &RequestError::SessionLost {
                partition: replica::PartitionId(0),
                lost: Box::new([event].into_iter().collect()),
            },
            "at once, at {node}"
        );
        let read = bench.ask(node, get(&kept));
        assert_eq!(bench.read(read), Some("kept"), "at {node}");
    }
    assert!(
        matches!(bench.failure(patient), RequestError::SessionLost { .. }),
        "what waited is told too"
    );
    // What a read has seen now asks for nothing that is lost.
    let read = bench.ask(A, get(&kept));
    let seen = bench.seen(read);
    let read = bench.ask(B, get(&seen));
    assert_eq!(bench.read(read), Some("kept"));
}

/// A write of siblings names what its author knew. So A has an exception: an event of C's that A knows of
/// one key, and that is lost with C.
#[test]
fn exceptions_of_the_dead_are_settled() {
    let mut bench = Bench::<MultiValue>::with_policy(3, |_| ());
    let write = |key: &'static [u8]| {
        let value = SiblingWrite::Put(Bytes::from_static(b"v"));
        Request::new(Command::write(Bytes::from_static(key), value), Level::One)
    };
    bench.ask(C, write(b"other"));
    bench.lose_all();
    let second = bench.ask(C, write(b"k"));
    let seen = bench.seen(second);
    bench.run(|f| f.goes(C, A));
    bench.lose_all();
    assert_eq!(bench.node(A).replica().knowledge().exception_count(), 1);
    bench.lose_data(C);
    bench.settle();
    for node in [A, B, C] {
        let knowledge = bench.node(node).replica().knowledge();
        assert_eq!(knowledge.exception_count(), 0, "at {node}");
        let cell = bench.node(node).replica().map().get(&b"k"[..]);
        assert_eq!(cell.map(|cell| cell.values().count()), Some(1));
        // The session has seen the first write too, for all that anyone knows.
        let read = bench.ask(node, get(&seen));
        assert!(matches!(
            bench.failure(read),
            RequestError::SessionLost { lost, .. } if lost.event_count() == 1
        ));
    }
}

/// An event of D's is at E alone, which has not heard that D is dead. Nobody may count it as known
/// before E has told of it.
#[test]
fn an_event_of_the_dead_that_one_owner_has_is_not_closed_away() {
    let mut bench = Bench::new(5, |_| ());
    bench.write_one(D, "other", Some("heard of"));
    bench.run(|_| true);
    bench.write_one(D, "k", Some("v"));
    let event = bench.live(D, "k").expect("D has it");
    bench.run(|f| f.goes(D, E));
    bench.lose_all();
    bench.lose_data(D);
    bench.talk(&[A, B, C, D]);
    assert!(bench.is_up(D), "A, B and C suffice");
    for node in [A, B, C, D] {
        assert!(!has_closed(&bench, node, event.replica), "at {node}");
    }
    assert_eq!(bench.settled("k"), Some("v"));
    for node in [A, B, C, D, E] {
        assert_eq!(bench.live(node, "k"), Some(event), "at {node}");
        assert!(has_closed(&bench, node, event.replica), "at {node}");
    }
}

/// E has said that it has retired the dead, and loses its own data: what it said no longer counts.
#[test]
fn what_a_dead_owner_had_retired_does_not_count() {
    let mut bench = Bench::new(3, |_| ());
    let first = bench.put(C, "k", "v");
    bench.run(|_| true);
    assert!(bench.is_written(first));
    let event = bench.live(A, "k").expect("A has it");
    bench.lose_data(C);
    // B retires the old C, and A hears of it; A itself gets no entries, and has retired nobody.
    for _ in 0..12 {
        for node in [A, B, C] {
            bench.tick(node);
        }
        bench.run(|f| f.to != A || f.kind() != "sync answer");
        bench.lose_all();
    }
    assert!(bench.node(B).counters().incarnations_retired > 0);
    assert_eq!(bench.node(A).counters().incarnations_retired, 0);
    bench.lose_data(B);
    bench.talk(&[A, C]);
    for node in [A, C] {
        let node = bench.node(node);
        assert!(
            !node.replica().closed().contains(event.replica)
                || node.replica().knowledge().base().contains(event),
        );
    }
    assert_eq!(bench.settled("k"), Some("v"));
    for node in [A, B, C] {
        assert!(has_closed(&bench, node, event.replica), "at {node}");
    }
}

/// A node that comes back learns that a writer is closed together with the entries that it has left,
/// never before them.
#[test]
fn who_comes_back_learns_of_the_closing_with_the_entries() {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    let keys = ["a", "b", "c", "d"];
    for key in keys {
        let write = bench.put(C, key, "left by the dead");
        bench.run(|_| true);
        assert!(bench.is_written(write));
    }
    let dead = bench.node(C).incarnation().expect("it has one");
    bench.lose_data(C);
    bench.settle();
    assert!(has_closed(&bench, A, dead));
    bench.lose_data(B);
    let mut partly = false;
    for _ in 0..100 {
        if bench.is_up(B) {
            break;
        }
        bench.tick(B);
        while let Some(at) = bench.bag.iter().position(|f| f.from == B || f.to == B) {
            let flight = bench.bag.remove(at);
            bench.arrive(flight);
            let held: BTreeSet<&str> = keys
                .into_iter()
                .filter(|k| bench.shows(B, k).is_some())
                .collect();
            let base = bench.node(B).replica().knowledge().base();
            partly |= !held.is_empty() && held.len() < keys.len();
            assert!(
                held.len() == keys.len() || !base.contains(Dot::new(dead, u64::MAX)),
                "closed with {held:?} alone"
            );
        }
        bench.lose_all();
    }
    assert!(partly && bench.is_up(B), "the entries came one by one");
    bench.settle();
    for key in keys {
        assert_eq!(bench.shows(B, key), Some("left by the dead"));
    }
}

/// What an owner lacks of a closed writer it still gets: all that is left counts, though all that could
/// have been written counts as known.
#[test]
fn an_owner_with_an_older_disk_still_gets_what_the_closed_have_left() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    let before = bench.disk(B);
    let write = bench.put(C, "k", "v");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(write));
    let dead = bench.node(C).incarnation().expect("it has one");
    bench.lose_data(C);
    bench.settle();
    bench.restart_with(B, before);
    assert_eq!(bench.shows(B, "k"), None);
    assert_eq!(bench.settled("k"), Some("v"));
    assert!(has_closed(&bench, B, dead));
}

/// Closing survives a restart. Who the dead one was need not have been heard of by anyone: its place says
/// enough, once all have been asked again.
#[test]
fn a_restarted_node_still_knows_what_is_lost() {
    for is_heard_of in [true, false] {
        let mut bench = Bench::new(3, |config| config.durable = true);
        if is_heard_of {
            bench.put(C, "k", "kept");
            bench.run(|_| true);
        }
        let write = bench.ask(C, Request::new(put("k", "lost"), Level::One));
        let lost = bench.seen(write);
        bench.lose_all();
        bench.lose_data(C);
        bench.settle();
        let disk = bench.disk(A);
        bench.restart_with(A, disk);
        if !is_heard_of {
            bench.settle();
        }
        let read = bench.ask(A, get(&lost));
        assert!(matches!(
            bench.failure(read),
            RequestError::SessionLost { .. }
        ));
        bench.settle();
    }
}
