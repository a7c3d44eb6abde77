//! The schedules that an enemy would choose, driven message by message. Each is a counterexample to a
//! weaker rule, kept by name.

mod audits;
mod catching_up;
mod closing;
mod counting;
mod gossiping;
mod identities;
mod levels;
mod limits;
mod retries;
mod returning;
mod returns;
mod stable;
mod support;
mod timing;
mod tombstones;

use support::{Bench, Flight};

const A: u32 = 1;
const B: u32 = 2;
const C: u32 = 3;
const D: u32 = 4;
const E: u32 = 5;

/// B wrote v to k and only A has joined it; the listing to C is late and returned. A has deleted k and,
/// with the promises of all, forgotten the tombstone. Nobody else knows of the delete.
fn a_forgotten_delete(bench: &mut Bench) -> Flight {
    bench.write_one(B, "k", Some("v"));
    let late = bench.take(|f| f.goes(B, C)).remove(0);
    bench.run(|f| f.goes(B, A));
    bench.write_one(A, "k", None);
    bench.lose_all();
    bench.nudge(B, 50);
    bench.nudge(C, 50);
    bench.collect_promises(A);
    assert_eq!(bench.live(A, "k"), None, "the tombstone is forgotten");
    assert_eq!(bench.shows(B, "k"), Some("v"));
    late
}

#[test]
fn a_late_write_after_a_cut_answer() {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    let late = a_forgotten_delete(&mut bench);
    while bench
        .take(|f| f.goes(C, A) && f.kind() == "sync request")
        .is_empty()
    {
        bench.lose_all();
        bench.tick(C);
    }
    for _ in 0..6 {
        bench.tick(C);
    }
    bench.deliver(|f| f.goes(C, A));
    bench
        .take(|f| f.goes(A, C))
        .into_iter()
        .take(1)
        .for_each(|part| bench.arrive(part));
    assert!(
        bench.node(A).counters().cut_answers > 0,
        "the answer was cut"
    );
    bench.arrive(late);
    assert_eq!(
        bench.shows(C, "k"),
        None,
        "C knows the delete, if nothing else"
    );
    assert_eq!(bench.settled("k"), None);
}

#[test]
fn a_late_write_between_two_chunks() {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    for key in ["a", "z"] {
        bench.write_one(A, key, Some("other"));
    }
    bench.run(|_| true);
    let late = a_forgotten_delete(&mut bench);
    bench.lose_data(C);
    let mut chunks = 0;
    while !bench.is_up(C) {
        bench.tick(C);
        while let Some(at) = bench.bag.iter().position(|f| f.from == C || f.to == C) {
            let flight = bench.bag.remove(at);
            let is_chunk = flight.kind() == "transfer answer";
            bench.arrive(flight);
            if is_chunk {
                chunks += 1;
                bench.arrive(late.clone());
            }
        }
    }
    assert!(chunks > 1, "the transfer came in parts");
    assert_eq!(bench.shows(C, "k"), None, "C covers what A knows");
    assert_eq!(bench.settled("k"), None);
}

#[test]
fn a_late_write_between_a_read_repair_and_the_next_sync() {
    // A's absence comes to C as the repair after a read of A's, or as the answer to a read of C's.
    for reader in [A, C] {
        let mut bench = Bench::new(3, |_| ());
        // C still holds what v replaced: two that both hold nothing have nothing to repair.
        bench.write_one(C, "k", Some("u"));
        bench.run(|_| true);
        let late = a_forgotten_delete(&mut bench);
        let v = bench.live(B, "k").expect("B has seen no delete");
        assert_eq!(bench.shows(C, "k"), Some("u"));
        let read = bench.get(reader, "k");
        bench.run(|f| f.among(&[A, C]));
        bench.lose_all();
        assert_eq!(bench.read(read), None);
        assert_eq!(bench.live(C, "k"), None, "repaired");
        assert!(
            !bench.node(C).replica().knowledge().base().contains(v),
            "C has heard of v for this key alone"
        );
        bench.arrive(late);
        assert_eq!(
            bench.shows(C, "k"),
            None,
            "the absence covers v, read by {reader}"
        );
        assert!(bench.node(C).replica().knowledge().exception_count() > 0);
        assert_eq!(bench.settled("k"), None);
        for node in [A, B, C] {
            let knowledge = bench.node(node).replica().knowledge();
            assert_eq!(knowledge.exception_count(), 0, "at {node}");
        }
    }
}

#[test]
fn an_absence_that_was_read_stays_absent() {
    let mut bench = Bench::new(3, |_| ());
    let late = a_forgotten_delete(&mut bench);
    bench.arrive(late);
    assert_eq!(bench.shows(C, "k"), Some("v"));
    let read = bench.get(C, "k");
    bench.run(|f| f.among(&[A, C]));
    assert_eq!(bench.read(read), None, "A knows that v is obsolete");
    bench.lose_data(A);
    bench.talk(&[A, B, C]);
    for (node, other) in [(A, B), (B, C), (C, A)] {
        let read = bench.get(node, "k");
        bench.run(|f| f.among(&[node, other]));
        assert_eq!(bench.read(read), None, "{node} with {other}");
        bench.lose_all();
    }
    assert_eq!(bench.settled("k"), None);
}

/// The same absence, where nobody asks for it: the only ones who know that v is obsolete know it of this key alone,
/// and pass it on with what they answer.
#[test]
fn an_absence_that_one_node_knows_by_an_exception_reaches_the_others() {
    let mut bench = Bench::new(3, |_| ());
    let late = a_forgotten_delete(&mut bench);
    bench.arrive(late);
    let read = bench.get(C, "k");
    bench.run(|f| f.among(&[A, C]));
    assert_eq!(bench.read(read), None);
    assert_eq!(bench.node(C).status().exceptions, 1);
    bench.lose_all();
    bench.lose_data(A);
    assert_eq!(bench.shows(B, "k"), Some("v"));
    bench.talk(&[B, C]);
    assert_eq!(bench.shows(B, "k"), None, "C has said so");
    assert_eq!(bench.settled("k"), None);
}

#[test]
fn recovering_nodes_vouch_for_each_other() {
    let mut bench = Bench::new(5, |_| ());
    let write = bench.put(A, "k", "w");
    bench.run(|f| f.among(&[A, B, C]));
    assert!(bench.is_written(write));
    bench.lose_all();
    bench.lose_data(B);
    bench.lose_data(C);
    // A, D and E give both an identity, and then nothing of A reaches them.
    bench.run(|f| f.kind().starts_with("hello"));
    for node in [B, C] {
        assert!(bench.node(node).incarnation().is_some());
    }
    bench.lose_all();
    bench.talk(&[B, C, D, E]);
    let read = bench.get(D, "k");
    bench.run(|f| f.among(&[B, C, D]));
    assert_eq!(
        bench.reply(read),
        None,
        "nobody who has lost w answers the read"
    );
    assert!(
        !bench.is_up(B) && !bench.is_up(C),
        "two reconciled sources are too few"
    );
    for node in [B, C] {
        assert_eq!(
            bench.node(node).status().recovery,
            Some((2, 3)),
            "D and E were heard"
        );
    }
    bench.talk(&[A, B, C, D, E]);
    assert!(bench.is_up(B) && bench.is_up(C));
    let read = bench.get(D, "k");
    bench.run(|f| f.among(&[B, C, D]));
    assert_eq!(bench.read(read), Some("w"));
}

#[test]
fn one_source_is_not_enough() {
    // The only surviving copy of an acknowledged write may be on either peer.
    let mut bench = Bench::new(3, |_| ());
    let write = bench.put(A, "k", "w");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&[B, C]);
    assert!(!bench.is_up(B), "C alone has nothing to say of w");
    bench.talk(&[A, B, C]);
    let read = bench.get(B, "k");
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.read(read), Some("w"));
}

#[test]
fn an_unreconciled_acknowledgement() {
    let mut bench = Bench::new(3, |_| ());
    bench.nudge(A, 9);
    let first = bench.put(A, "k", "w1");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(first));
    bench.lose_all();
    bench.lose_data(B);
    // B takes an identity, and what it asks the others for w1 is lost.
    bench.run(|f| f.kind().starts_with("hello"));
    assert!(bench.node(B).incarnation().is_some());
    bench.lose_all();
    let second = bench.put(C, "k", "w2");
    bench.deliver(|f| f.goes(C, B));
    assert!(!bench.is_up(B));
    assert_eq!(bench.shows(B, "k"), Some("w2"), "joined");
    assert!(
        !bench.bag.iter().any(|f| f.from == B),
        "and nothing is said of it"
    );
    bench.run(|f| f.among(&[B, C]) && !f.kind().starts_with("sync"));
    assert!(
        !bench.is_written(second),
        "the new B has lost w1 and must not acknowledge w2"
    );
    bench.lose_all();
    bench.talk(&[A, B, C]);
    assert_eq!(bench.shows(C, "k"), Some("w1"), "w2 was minted below it");
    bench.talk(&[A, B, C]);
    let third = bench.put(C, "k", "w3");
    bench.run(|_| true);
    assert!(bench.is_written(third));
    assert!(
        bench.is_written(second),
        "a later write of C answers the earlier one"
    );
    assert_eq!(bench.settled("k"), Some("w3"));
}

#[test]
fn the_promise_of_the_dead() {
    let x = E;
    let others = [A, B, C, D];
    let mut bench = Bench::new(5, |_| ());
    bench.nudge(x, 49);
    bench.write_one(x, "k", None);
    let late = bench.take(|f| f.goes(x, D));
    bench.lose_all();
    bench.nudge(B, 100);
    // B's promise is known to X alone.
    bench.collect_promises_of(x, &[B]);
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&others);
    assert!(bench.is_up(B), "A, C and D suffice");
    // D learns of the delete, and X does not learn of the new B by it.
    late.into_iter().for_each(|f| bench.arrive(f));
    assert!(bench.live(D, "k").is_some());
    for node in [A, C, D] {
        bench.nudge(node, 100);
    }
    bench.collect_promises_of(x, &[A, C, D]);
    assert!(
        bench.live(x, "k").is_some(),
        "the new B has promised nothing, X may not forget"
    );
    bench.lose_all();
    let low = bench.put(B, "k", "low");
    bench.run(|f| f.among(&[A, B, C]));
    assert!(bench.is_written(low));
    bench.settle();
}

/// A dead incarnation is retired only after a complete answer of every owner, given once that owner
/// refuses the dead: until then one of them may still take over an event of the dead that is older than a
/// tombstone.
#[test]
fn an_event_of_the_dead_that_one_owner_still_takes() {
    let (dead, x) = (D, E);
    let others = [A, B, C];
    let mut bench = Bench::new(5, |_| ());
    // An event of D at a low time is under way to E alone.
    bench.write_one(dead, "k", Some("low"));
    let late = bench.take(|f| f.goes(dead, x));
    bench.lose_all();
    bench.nudge(A, 49);
    bench.write_one(A, "k", None);
    bench.run(|f| f.among(&others));
    bench.lose_all();
    for node in [B, C, x] {
        bench.nudge(node, 100);
    }
    bench.collect_promises_of(A, &[B, C, x]);
    bench.lose_data(dead);
    bench.talk(&[A, B, C, dead]);
    assert!(bench.is_up(dead), "A, B and C suffice");
    bench.nudge(dead, 100);
    // E has not heard of the new D: it takes the old one's event.
    late.into_iter().for_each(|f| bench.arrive(f));
    assert_eq!(bench.shows(x, "k"), Some("low"));
    for _ in 0..3 {
        bench.collect_promises_of(A, &[B, C, dead]);
    }
    assert_eq!(bench.node(A).counters().incarnations_retired, 0);
    assert!(bench.live(A, "k").is_some(), "the tombstone stays");
    bench.lose_all();
    // Everybody talks: E refuses the dead, says what it has of it, and only then the tombstone goes.
    for _ in 0..4 {
        bench.settle();
    }
    assert!(bench.node(A).counters().incarnations_retired > 0);
    for node in [A, B, C, dead, x] {
        assert_eq!(bench.shows(node, "k"), None, "at {node}");
    }
}

#[test]
fn acknowledged_then_overwritten_through_a_lagging_node() {
    let mut bench = Bench::new(3, |_| ());
    let first = bench.put(A, "k", "b");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(first));
    // The larger value loses the tie.
    let second = bench.put(B, "k", "z");
    bench.run(|f| f.goes(B, C) || f.goes(C, B));
    assert!(bench.is_written(second));
    assert!(bench.node(B).counters().writes_minted_again > 0);
    bench.run(|_| true);
    assert_eq!(bench.settled("k"), Some("z"));
}

#[test]
fn acknowledged_then_deleted_through_a_lagging_node() {
    let mut bench = Bench::new(3, |_| ());
    let first = bench.put(A, "k", "b");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(first));
    let second = bench.delete(B, "k");
    bench.run(|f| f.goes(B, C) || f.goes(C, B));
    assert!(bench.is_written(second));
    bench.run(|_| true);
    assert_eq!(
        bench.settled("k"),
        None,
        "a delete that ties with a value would lose"
    );
}

#[test]
fn acknowledged_then_written_again_with_the_same_value_through_a_lagging_node() {
    // A tie of time and value: the smaller dot wins, and the other is superseded.
    let mut bench = Bench::new(3, |_| ());
    let first = bench.put(A, "k", "same");
    bench.run(|f| f.among(&[A, C]));
    let second = bench.put(B, "k", "same");
    bench.run(|f| f.goes(B, C) || f.goes(C, B));
    assert!(bench.is_written(first) && bench.is_written(second));
    assert!(bench.node(B).counters().writes_minted_again > 0);
    bench.run(|_| true);
    assert_eq!(bench.settled("k"), Some("same"));
}

#[test]
fn equal_time_and_equal_value_under_two_dots_delivered_crosswise() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(A, "k", Some("same"));
    bench.write_one(B, "k", Some("same"));
    bench.deliver(|f| f.among(&[A, B]));
    assert_eq!(bench.live(A, "k"), bench.live(B, "k"));
    bench.lose_all();
    assert_eq!(bench.settled("k"), Some("same"));
}

/// C has lost its data; A and B hold keys a to d, which come in chunks of one key.
fn a_transfer() -> Bench {
    let mut bench = Bench::new(3, |config| config.chunk_keys = 1);
    for key in ["a", "b", "c", "d"] {
        let write = bench.put(A, key, "old");
        bench.run(|_| true);
        assert!(bench.is_written(write));
    }
    bench.lose_data(C);
    bench
}

/// Lets C take up to `limit` chunks, and nothing of A's and B's talk.
fn take_chunks(bench: &mut Bench, limit: usize) -> Vec<Flight> {
    let mut seen = Vec::new();
    for _ in 0..20 {
        bench.tick(C);
        while let Some(at) = bench.bag.iter().position(|f| f.from == C || f.to == C) {
            if seen.len() == limit {
                return seen;
            }
            let flight = bench.bag.remove(at);
            if flight.kind() == "transfer answer" {
                seen.push(flight.clone());
            }
            bench.arrive(flight);
        }
    }
    seen
}

#[test]
fn a_transfer_resumed_from_another_sender() {
    let mut bench = a_transfer();
    take_chunks(&mut bench, 2);
    let write = bench.put(A, "a", "new");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.take(|f| f.among(&[A, C]));
    take_chunks(&mut bench, 20);
    assert!(bench.is_up(C));
    assert_eq!(bench.settled("a"), Some("new"));
}

/// A alone has an event of d. The first chunk, of a, comes from A and says so; the others come from B, which does
/// not have it: C knows it of a, and of nothing else.
#[test]
fn a_transfer_begun_at_a_sender_that_knows_more() {
    let mut bench = a_transfer();
    bench.write_one(A, "d", Some("new"));
    bench.take(|f| f.from == A);
    let event = bench.live(A, "d").expect("it was written");
    let mut sender = A;
    let mut chunks = Vec::new();
    for _ in 0..40 {
        bench.tick(C);
        while let Some(at) = bench.bag.iter().position(|f| f.from == C || f.to == C) {
            let flight = bench.bag.remove(at);
            let is_chunk = flight.kind() == "transfer answer";
            if flight.kind().starts_with("transfer") && !flight.among(&[sender, C]) {
                continue;
            }
            let from = flight.from;
            bench.arrive(flight);
            if is_chunk {
                chunks.push(from);
                sender = B;
            }
        }
        bench.take(|f| f.among(&[A, B]));
        if chunks.len() >= 4 {
            break;
        }
    }
    assert_eq!(chunks.first(), Some(&A), "{chunks:?}");
    assert!(chunks[1..].contains(&B), "{chunks:?}");
    let knows = |bench: &Bench| bench.node(C).replica().knowledge().base().contains(event);
    assert_eq!(bench.shows(C, "d") == Some("new"), knows(&bench));
    assert_eq!(bench.settled("d"), Some("new"));
    assert!(knows(&bench));
}

#[test]
fn a_transfer_after_a_crash_of_the_receiver() {
    let mut bench = a_transfer();
    take_chunks(&mut bench, 2);
    bench.lose_data(C);
    let write = bench.put(A, "a", "new");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    take_chunks(&mut bench, 20);
    let read = bench.get(C, "a");
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.read(read), Some("new"));
    assert_eq!(bench.settled("a"), Some("new"));
}

#[test]
fn a_transfer_crossed_by_a_delayed_chunk() {
    let mut bench = a_transfer();
    let delayed = take_chunks(&mut bench, 3);
    bench.lose_data(C);
    let write = bench.put(A, "a", "new");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.tick(C);
    bench.run(|f| (f.from == C || f.to == C) && !f.kind().starts_with("transfer"));
    // The old chunks come first, and in the place of those that are asked for.
    for chunk in delayed {
        bench.arrive(chunk);
    }
    take_chunks(&mut bench, 20);
    assert!(bench.is_up(C));
    let read = bench.get(C, "a");
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.read(read), Some("new"));
    assert_eq!(bench.settled("a"), Some("new"));
}

#[test]
fn a_duplicate_after_the_purge() {
    let mut bench = Bench::new(3, |_| ());
    bench.nudge(A, 9);
    let delete = bench.delete(A, "k");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(delete));
    bench.lose_all();
    let write = bench.put(C, "k", "w");
    let copy = bench
        .bag
        .iter()
        .find(|f| f.goes(C, B))
        .cloned()
        .expect("a write");
    bench.deliver(|f| f.goes(C, B));
    assert_eq!(
        bench.take(|f| f.kind() == "superseded").len(),
        1,
        "and the answer is lost"
    );
    bench.lose_all();
    for node in [A, B, C] {
        bench.nudge(node, 50);
    }
    for node in [A, C, B] {
        bench.collect_promises(node);
    }
    bench.collect_promises(B);
    assert_eq!(bench.live(B, "k"), None, "B has purged");
    bench.lose_all();
    bench.arrive(copy);
    assert_eq!(
        bench.take(|f| f.kind() == "superseded").len(),
        1,
        "not acknowledged"
    );
    assert!(!bench.is_written(write));
}

#[test]
fn an_acknowledgement_given_before_a_loss_of_data_is_not_counted_beside_one_given_after() {
    let mut bench = Bench::new(5, |_| ());
    let write = bench.put(A, "k", "w");
    bench.deliver(|f| f.goes(A, B));
    bench.deliver(|f| f.goes(B, A));
    let held = bench.take(|f| f.goes(A, D));
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert!(bench.is_up(B), "reconciled without w");
    held.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(D, A));
    assert!(!bench.is_written(write), "w is on A and D alone");
    assert_eq!(bench.node(A).counters().acknowledgements_dropped, 1);
    let read = bench.get(B, "k");
    bench.run(|f| f.among(&[B, C, E]));
    assert_eq!(bench.read(read), None);
}

#[test]
fn acknowledgements_of_two_events_are_not_added_up() {
    let mut bench = Bench::new(5, |_| ());
    bench.nudge(B, 9);
    let c = bench.put(B, "k", "c");
    bench.run(|f| f.among(&[B, C, D]));
    assert!(bench.is_written(c));
    bench.lose_all();
    let d = bench.put(A, "k", "d");
    bench.run(|f| f.among(&[A, E]));
    bench.lose_all();
    bench.nudge(A, 11);
    let later = bench.put(A, "k", "d2");
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    assert!(
        !bench.is_written(d),
        "A and E hold d, A and B the later one: no event is held by three"
    );
    assert!(!bench.is_written(later));
    let read = bench.get(C, "k");
    bench.run(|f| f.among(&[C, D, E]));
    assert_eq!(bench.read(read), Some("c"));
}

/// A write that was minted again must not be answered by the event that lost: a write that starts after
/// the answer could tie with the new event, which is nowhere yet, and lose to it.
#[test]
fn a_write_that_was_minted_again_is_answered_by_its_new_event_only() {
    let mut bench = Bench::new(3, |_| ());
    bench.nudge(B, 8);
    bench.put(B, "k", "w");
    bench.lose_all();
    let a = bench.put(A, "k", "a");
    let first = bench.take(|f| f.goes(A, C));
    bench.deliver(|f| f.goes(A, B));
    bench.deliver(|f| f.goes(B, A));
    let again = bench.take(|f| f.from == A);
    assert!(!again.is_empty(), "the write is minted again");
    first.into_iter().for_each(|f| bench.arrive(f));
    bench.deliver(|f| f.goes(C, A));
    assert!(
        !bench.is_written(a),
        "A and C hold the event that lost, only A the new one"
    );
    let z = bench.put(C, "k", "z");
    bench.run(|f| f.among(&[B, C]));
    assert!(bench.is_written(z));
    bench.lose_all();
    again.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|_| true);
    assert!(bench.is_written(a));
    assert_eq!(
        bench.settled("k"),
        Some("a"),
        "it was concurrent with z all along"
    );
}

#[test]
fn a_set_and_a_delete_sent_together_keep_their_order_though_the_set_is_superseded() {
    for first in [B, C] {
        let mut bench = Bench::new(3, |_| ());
        bench.nudge(B, 9);
        let held = bench.put(B, "k", "held");
        bench.run(|f| f.among(&[B, C]));
        assert!(bench.is_written(held));
        bench.lose_all();
        let set = bench.put(A, "k", "v");
        let delete = bench.delete(A, "k");
        // One owner answers the first, the other the second, and then everything in turn.
        bench.deliver(|f| f.goes(A, first));
        bench.deliver(|f| f.to == A);
        bench.run(|_| true);
        assert!(bench.is_written(set) && bench.is_written(delete));
        assert_eq!(bench.settled("k"), None);
    }
}

#[test]
fn a_stale_answer_to_a_read_of_a_former_life() {
    let mut bench = Bench::new(3, |_| ());
    bench.get(C, "k");
    bench.deliver(|f| f.goes(C, A));
    let stale = bench.take(|f| f.kind() == "read answer");
    bench.lose_all();
    bench.lose_data(C);
    bench.talk(&[A, B, C]);
    let write = bench.put(A, "k", "w");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.lose_all();
    let read = bench.get(C, "k");
    stale.into_iter().for_each(|f| bench.arrive(f));
    assert_eq!(bench.reply(read), None, "the answer was to another read");
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.read(read), Some("w"));
}

#[test]
fn the_dead_are_refused_and_what_they_wrote_is_taken_from_the_living() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(C, "k", Some("v"));
    let late = bench.take(|f| f.goes(C, B));
    bench.deliver(|f| f.goes(C, A));
    bench.lose_all();
    bench.lose_data(C);
    bench.run(|f| f.among(&[B, C]));
    bench.tick(C);
    bench.run(|f| f.from == C || f.to == C);
    let fenced = bench.node(B).counters().fenced_messages;
    late.into_iter().for_each(|f| bench.arrive(f));
    assert_eq!(bench.node(B).counters().fenced_messages, fenced + 1);
    assert_eq!(bench.shows(B, "k"), None);
    bench.talk(&[A, B]);
    assert_eq!(
        bench.shows(B, "k"),
        Some("v"),
        "A's listing names an event of the dead"
    );
    assert_eq!(bench.settled("k"), Some("v"));
}

#[test]
fn a_rolled_back_disk_is_noticed_at_the_first_contact() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    let first = bench.put(C, "k", "first");
    bench.run(|_| true);
    let old = bench.disk(C);
    let second = bench.put(C, "j", "second");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(first) && bench.is_written(second));
    bench.lose_all();
    let before = bench.node(C).incarnation();
    bench.restart_with(C, old);
    bench.talk(&[A, B, C]);
    assert_ne!(bench.node(C).incarnation(), before, "it has noticed");
    let third = bench.put(C, "k", "third");
    bench.run(|_| true);
    assert!(bench.is_written(third));
    for node in [A, B, C] {
        let read = bench.get(node, "j");
        bench.run(|_| true);
        assert_eq!(bench.read(read), Some("second"));
    }
    bench.settle();
}

#[test]
fn what_was_asked_under_an_identity_that_was_given_up_proves_nothing() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    let first = bench.put(C, "k", "first");
    bench.run(|_| true);
    let old = bench.disk(C);
    bench.write_one(C, "j", Some("second"));
    bench.deliver(|f| f.goes(C, A));
    bench.lose_all();
    assert!(bench.is_written(first));
    bench.restart_with(C, old);
    for _ in 0..4 {
        bench.tick(C);
    }
    bench.run(|f| f.among(&[A, C]) && f.kind() != "hello");
    assert_eq!(
        bench.node(C).incarnation(),
        None,
        "it waits for A and B before it takes another"
    );
    assert!(!bench.is_up(C));
    assert_eq!(bench.settled("j"), Some("second"));
}

#[test]
fn nodes_without_enough_sources_do_not_flood_the_network() {
    for nodes in [3, 5] {
        let mut bench = Bench::new(nodes, |_| ());
        for node in 3..=nodes {
            bench.lose_data(node);
        }
        bench.lose_data(B);
        let delivered = bench.run(|_| true);
        let bound = 4 * (nodes * nodes) as usize;
        assert!(
            delivered < bound,
            "{nodes} nodes, {delivered} messages before the first timeout"
        );
    }
}

#[test]
fn copies_of_answers_do_not_multiply() {
    // Every message arrives twice, and the answer comes in 40 parts, or chunks.
    for max_log_events in [0, 1000] {
        let mut bench = Bench::new(3, |config| {
            (config.chunk_keys, config.max_log_events) = (1, max_log_events);
        });
        let keys: Vec<&'static str> = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"
            .split("")
            .filter(|key| !key.is_empty())
            .collect();
        for key in &keys {
            bench.write_one(A, key, Some("v"));
        }
        bench.lose_all();
        let mut delivered = 0;
        for _ in 0..40 {
            for node in [A, C] {
                bench.tick(node);
            }
            while let Some(at) = bench.bag.iter().position(|f| f.among(&[A, C])) {
                let flight = bench.bag.remove(at);
                bench.arrive(flight.clone());
                bench.arrive(flight);
                delivered += 2;
                assert!(delivered < 2_000, "copies are followed up and multiply");
            }
        }
        assert!(keys.iter().all(|key| bench.shows(C, key) == Some("v")));
    }
}

#[test]
fn a_restarted_node_writes_above_what_it_has_forgotten() {
    use replica::ClockKind;
    let mut bench = Bench::new(3, |config| {
        config.durable = true;
        config.clock = ClockKind::Lamport;
    });
    bench.nudge(A, 9);
    bench.write_one(A, "k", None);
    bench.run(|_| true);
    for node in [B, C] {
        bench.nudge(node, 50);
    }
    bench.collect_promises(A);
    assert_eq!(bench.live(A, "k"), None, "forgotten");
    let disk = bench.disk(A);
    bench.lose_all();
    bench.restart_with(A, disk);
    bench.talk(&[A, B, C]);
    let write = bench.put(A, "k", "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    assert_eq!(bench.settled("k"), Some("v"));
}
