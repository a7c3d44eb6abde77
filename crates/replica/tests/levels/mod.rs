//! The schedules of an enemy against levels, sessions, the caller's timestamps and small quorums.

use bytes::Bytes;
use crdt::{CausalContext, Dot, MvCell, Timestamp};
use replica::{
    ClockKind, Command, Config, Floor, Level, MultiValue, Outcome, Request, RequestError,
    SiblingWrite,
};
use std::collections::BTreeSet;

use crate::support::{Bench, Flight, put};
use crate::{A, B, C, D, E, a_forgotten_delete};

const K: &str = "k";

fn key() -> Bytes {
    Bytes::from_static(K.as_bytes())
}

fn is_question<S>(flight: &Flight<S>) -> bool {
    flight.kind().starts_with("read")
}

/// Makes a linearizable write that has asked these nodes what they hold; what it sends stays in flight.
fn write_after_asking(bench: &mut Bench, node: u32, value: &'static str, asked: &[u32]) -> u64 {
    let write = bench.put_at(node, K, value, Level::Linearizable);
    bench.run(|f| f.among(asked) && is_question(f));
    bench.take(is_question);
    assert_eq!(bench.shows(node, K), Some(value), "minted");
    write
}

/// The same, by a node whose clock has run ahead since it asked.
fn write_far_ahead(bench: &mut Bench, node: u32, value: &'static str, asked: &[u32]) {
    bench.put_at(node, K, value, Level::Linearizable);
    bench.deliver(|f| f.among(asked) && is_question(f));
    bench.nudge(node, 9);
    bench.run(|f| f.among(asked) && is_question(f));
    bench.lose_all();
    assert_eq!(bench.shows(node, K), Some(value), "and nobody else has it");
}

/// A linearizable read through `node` while only these can talk. What is still in flight when it is
/// answered is lost, and so is the rest.
fn linearizable<'a>(bench: &'a mut Bench, node: u32, among: &[u32]) -> Option<&'a str> {
    let read = bench.get_at(node, K, Level::Linearizable);
    while bench.reply(read).is_none() {
        let next = bench.bag.iter().position(|f| f.among(among));
        let flight = bench.bag.remove(next.expect("an answer comes"));
        bench.arrive(flight);
    }
    bench.lose_all();
    bench.read(read)
}

/// A store that takes the caller's timestamps.
fn callers(nodes: u32) -> Bench {
    Bench::new(nodes, |config| config.clock = ClockKind::Caller)
}

fn put_when(bench: &mut Bench, node: u32, value: &'static str, time: u64) -> u64 {
    let command = put(K, value).at(Timestamp(time));
    bench.ask(node, Request::new(command, Level::Quorum))
}

fn took_effect(bench: &Bench, write: u64) -> bool {
    match bench.reply(write) {
        Some(Ok(Outcome::Written { took_effect, .. })) => *took_effect,
        other => panic!("the write returned {other:?}"),
    }
}

#[test]
fn linearizable_absent() {
    for other in [B, C] {
        let mut bench = Bench::new(3, |_| ());
        let late = a_forgotten_delete(&mut bench);
        assert_eq!(linearizable(&mut bench, A, &[A, C]), None);
        // B still holds v, and what it sent to C arrives at last.
        bench.arrive(late);
        assert_eq!(bench.shows(B, K), Some("v"));
        assert_eq!(linearizable(&mut bench, other, &[B, C]), None);
        bench.lose_data(A);
        bench.talk(&[A, B, C]);
        assert_eq!(linearizable(&mut bench, A, &[A, B]), None);
        assert_eq!(bench.settled(K), None);
    }
}

#[test]
fn a_linearizable_read_waits_until_what_it_returns_is_held() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let read = bench.get_at(A, K, Level::Linearizable);
    bench.run(|f| f.among(&[A, C]) && f.kind() != "write back");
    assert_eq!(
        bench.reply(read),
        None,
        "C has answered and does not hold it"
    );
    bench.deliver(|f| f.goes(A, C));
    bench.deliver(|f| f.goes(C, A));
    assert_eq!(bench.read(read), Some("v"));
    bench.lose_all();
    assert_eq!(linearizable(&mut bench, B, &[B, C]), Some("v"));
}

#[test]
fn a_linearizable_retry_that_happens_twice() {
    let mut bench = Bench::new(3, |_| ());
    write_far_ahead(&mut bench, B, "z", &[B, C]);
    let x = write_after_asking(&mut bench, A, "x", &[A, C]);
    let copies = bench.bag.clone();
    let to_b = bench.take(|f| f.goes(A, B));
    bench.lose_all();
    assert_eq!(linearizable(&mut bench, C, &[A, C]), Some("x"));
    let w = write_after_asking(&mut bench, C, "w", &[A, C]);
    bench.run(|f| f.among(&[A, C]));
    bench.lose_all();
    assert!(bench.is_written(w));
    assert_eq!(linearizable(&mut bench, A, &[A, C]), Some("w"));
    // The answer that x has lost comes twice, and copies of x arrive everywhere.
    to_b.into_iter().for_each(|f| bench.arrive(f));
    let superseded = bench.take(|f| f.kind() == "superseded");
    assert_eq!(superseded.len(), 1);
    for flight in superseded.iter().chain(&superseded).chain(&copies) {
        bench.arrive(flight.clone());
    }
    bench.run(|f| f.among(&[A, C]) || f.goes(B, A));
    bench.lose_all();
    assert!(bench.is_written(x), "that it has lost is an answer");
    assert_eq!(bench.node(A).counters().writes_minted_again, 0);
    for node in [A, C] {
        assert_eq!(linearizable(&mut bench, node, &[A, C]), Some("w"));
    }
    // z was under way all along, and may take effect now.
    for (node, other) in [(C, B), (A, C), (B, A)] {
        assert_eq!(linearizable(&mut bench, node, &[node, other]), Some("z"));
    }
    assert_eq!(bench.settled(K), Some("z"));
}

#[test]
fn a_value_that_was_read_survives_the_only_node_that_minted_it() {
    let mut bench = Bench::new(3, |_| ());
    let v = write_after_asking(&mut bench, C, "v", &[B, C]);
    bench.lose_all();
    assert_eq!(linearizable(&mut bench, A, &[A, C]), Some("v"));
    bench.lose_data(C);
    bench.talk(&[A, B, C]);
    assert!(bench.is_up(C) && !bench.is_written(v));
    for (node, other) in [(B, C), (C, A), (A, B), (C, B)] {
        assert_eq!(linearizable(&mut bench, node, &[node, other]), Some("v"));
    }
    assert_eq!(bench.settled(K), Some("v"));
}

#[test]
fn a_write_back_confirmed_by_an_owner_that_then_loses_its_data_is_not_counted() {
    let mut bench = Bench::new(5, |_| ());
    write_after_asking(&mut bench, A, "v", &[A, D, E]);
    bench.lose_all();
    let read = bench.get_at(A, K, Level::Linearizable);
    bench.run(|f| f.among(&[A, D, E]) && is_question(f));
    bench.take(is_question);
    bench.deliver(|f| f.goes(A, B));
    bench.deliver(|f| f.goes(B, A));
    let held = [D, E].map(|node| bench.take(|f| f.goes(A, node)));
    bench.lose_all();
    assert_eq!(bench.reply(read), None, "A and B hold v");
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert!(bench.is_up(B), "reconciled without v");
    let [to_d, to_e] = held;
    to_d.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(D, A));
    assert_eq!(bench.reply(read), None, "v is on A and D alone");
    assert_eq!(bench.node(A).counters().acknowledgements_dropped, 1);
    assert_eq!(linearizable(&mut bench, B, &[B, C, E]), None);
    to_e.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(E, A));
    assert_eq!(bench.read(read), Some("v"));
    bench.lose_all();
    assert_eq!(linearizable(&mut bench, B, &[B, C, E]), Some("v"));
}

/// An answer is joined when it comes, so it counts for what it said, whatever becomes of its sender.
#[test]
fn an_answer_of_an_owner_that_then_loses_its_data_has_said_what_it_knew() {
    let mut bench = Bench::new(5, |_| ());
    let v = write_after_asking(&mut bench, A, "v", &[A, D, E]);
    bench.run(|f| f.among(&[A, B, C]));
    bench.lose_all();
    assert!(bench.is_written(v), "A, B and C hold it");
    let read = bench.get_at(D, K, Level::Linearizable);
    let to_e = bench.take(|f| f.goes(D, E));
    bench.run(|f| f.among(&[B, D]));
    bench.lose_all();
    bench.lose_data(B);
    assert_eq!(bench.shows(D, K), Some("v"));
    to_e.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.among(&[D, E]));
    assert_eq!(bench.reply(read), None, "D and E hold it by now");
    bench.run(|f| f.among(&[C, D]));
    assert_eq!(bench.read(read), Some("v"));
}

/// What the coordinator learns while it writes back is on itself and where it came from, no more.
#[test]
fn what_is_learnt_after_the_write_back_is_not_returned() {
    for learns_by_answer in [false, true] {
        let mut bench = Bench::new(5, |_| ());
        let first = write_after_asking(&mut bench, B, "first", &[A, B, C]);
        bench.run(|_| true);
        assert!(bench.is_written(first));
        let read = bench.get_at(A, K, Level::Linearizable);
        let to_c = bench.take(|f| f.goes(A, C));
        bench.run(|f| f.among(&[A, D, E]) && is_question(f));
        let back = bench.take(|f| f.kind() == "write back");
        bench.lose_all();
        write_after_asking(&mut bench, C, "second", &[B, C, E]);
        if learns_by_answer {
            bench.lose_all();
            to_c.into_iter().for_each(|f| bench.arrive(f));
        }
        bench.deliver(|f| f.goes(C, A));
        bench.lose_all();
        assert_eq!(bench.shows(A, K), Some("second"));
        assert_eq!(bench.reply(read), None);
        back.into_iter()
            .filter(|f| [D, E].contains(&f.to))
            .for_each(|f| bench.arrive(f));
        bench.run(|f| f.to == A);
        bench.lose_all();
        let (returned, later) = (
            bench.read(read).map(str::to_owned),
            linearizable(&mut bench, B, &[B, D, E]),
        );
        assert_eq!((returned.as_deref(), later), (Some("first"), Some("first")));
        assert_eq!(bench.settled(K), Some("second"));
    }
}

#[test]
fn a_linearizable_write_counts_no_acknowledgement_of_the_dead() {
    let mut bench = Bench::new(5, |_| ());
    // B holds something later and says so, which counts, and loses it.
    write_far_ahead(&mut bench, B, "z", &[B, C, D]);
    let w = write_after_asking(&mut bench, A, "w", &[A, C, D]);
    bench.deliver(|f| f.goes(A, B));
    assert_eq!(bench.deliver(|f| f.kind() == "superseded"), 1);
    let to_d = bench.take(|f| f.goes(A, D));
    let to_e = bench.take(|f| f.goes(A, E));
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert!(bench.is_up(B));
    to_d.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(D, A));
    assert!(!bench.is_written(w), "w is on A and D alone");
    assert_eq!(linearizable(&mut bench, B, &[B, C, E]), None);
    to_e.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(E, A));
    assert!(bench.is_written(w));
    bench.lose_all();
    assert_eq!(linearizable(&mut bench, B, &[B, C, E]), Some("w"));
}

#[test]
fn a_linearizable_read_fails_by_the_owners_that_hold_what_it_would_return() {
    let mut bench = Bench::new(5, |_| ());
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let get = Request::new(Command::get(key()), Level::Linearizable).within(1_000);
    let read = bench.ask(A, get);
    bench.run(|f| f.among(&[A, D, E]) && is_question(f));
    bench.deliver(|f| f.among(&[A, D]));
    bench.deliver(|f| f.among(&[A, D]));
    bench.lose_all();
    bench.pass(A, 1_000);
    let (answered, needed, may_take_effect) = (2, 3, false);
    let error = RequestError::Deadline {
        answered,
        needed,
        may_take_effect,
    };
    assert_eq!(bench.failure(read), &error, "A and D hold it");
}

#[test]
fn an_ignored_put_counts_no_acknowledgement_of_the_dead() {
    let mut bench = callers(5);
    put_when(&mut bench, B, "newer", 10);
    bench.lose_all();
    let write = put_when(&mut bench, A, "older", 5);
    bench.deliver(|f| f.goes(A, B));
    assert_eq!(bench.deliver(|f| f.kind() == "superseded"), 1);
    let to_d = bench.take(|f| f.goes(A, D));
    let to_e = bench.take(|f| f.goes(A, E));
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert!(bench.is_up(B), "and nobody has the newer value");
    to_d.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(D, A));
    assert!(!bench.is_written(write), "A and D hold it");
    to_e.into_iter().for_each(|f| bench.arrive(f));
    bench.run(|f| f.goes(E, A));
    assert!(bench.is_written(write));
    bench.lose_all();
    let read = bench.get(B, K);
    bench.run(|f| f.among(&[B, C, E]));
    assert_eq!(bench.read(read), Some("older"));
}

#[test]
fn a_put_is_ignored_only_for_what_a_quorum_holds() {
    let mut bench = callers(3);
    put_when(&mut bench, B, "newer", 10);
    bench.deliver(|f| f.goes(B, A));
    bench.lose_all();
    let write = put_when(&mut bench, A, "older", 5);
    assert!(
        !bench.is_written(write),
        "only A and, unheard, B hold the newer"
    );
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(write));
    assert!(!took_effect(&bench, write));
    assert_eq!(
        bench.shows(A, K),
        Some("newer"),
        "an older write changes nothing"
    );
    bench.lose_all();
    bench.lose_data(B);
    bench.talk(&[A, B, C]);
    for (node, other) in [(B, C), (C, A), (A, B)] {
        let read = bench.get(node, K);
        bench.run(|f| f.among(&[node, other]));
        assert_eq!(bench.read(read), Some("newer"));
        bench.lose_all();
    }
}

#[test]
fn at_equal_times_the_same_value_wins_in_every_order() {
    for (first, second) in [("a", "b"), ("b", "a")] {
        let mut bench = callers(3);
        let one = put_when(&mut bench, A, first, 5);
        let two = put_when(&mut bench, B, second, 5);
        bench.run(|_| true);
        assert!(bench.is_written(one) && bench.is_written(two));
        assert_eq!(bench.settled(K), Some("a"));
    }
}

#[test]
fn writes_that_wait_for_events_of_two_writers_are_all_sent_again() {
    let mut bench = Bench::new(3, |config| {
        (config.clock, config.resend_ms) = (ClockKind::Caller, 100);
    });
    let own = put_when(&mut bench, A, "first", 10);
    bench.lose_all();
    put_when(&mut bench, B, "second", 20);
    bench.deliver(|f| f.goes(B, A));
    bench.lose_all();
    let ignored = put_when(&mut bench, A, "between", 15);
    bench.lose_all();
    assert!(!bench.is_written(own) && !bench.is_written(ignored));
    bench.pass(A, 1_000);
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(ignored), "C holds the second");
    assert!(bench.is_written(own), "and something newer than the first");
}

#[test]
fn a_session_widens_and_joins_two_stale_replicas() {
    let mut bench = Bench::new(3, |_| ());
    let writes = [(B, "b"), (C, "c")].map(|(node, value)| bench.put_at(node, K, value, Level::One));
    bench.lose_all();
    let mut floor = bench.seen(writes[0]);
    floor.join(&bench.seen(writes[1]));
    let get = Request::new(Command::get(key()), Level::One).after(floor);
    let read = bench.ask(A, get.clone());
    bench.run(|f| f.among(&[A, B]));
    assert_eq!(bench.reply(read), None, "A and B have not seen c");
    bench.run(|f| f.among(&[A, C]));
    assert_eq!(bench.read(read), Some("b"), "fresh together; equal times");
    let alone = bench.ask(A, get);
    assert_eq!(bench.read(alone), Some("b"), "and A has caught up");
}

#[test]
fn a_session_that_has_read_absent_does_not_read_an_older_value() {
    let mut bench = Bench::new(3, |_| ());
    let late = a_forgotten_delete(&mut bench);
    bench.arrive(late);
    let absent = bench.get_at(A, K, Level::One);
    assert_eq!(bench.read(absent), None);
    let floor = bench.seen(absent);
    let get = |bench: &mut Bench, node| {
        let get = Request::new(Command::get(key()), Level::One);
        bench.ask(node, get.after(floor.clone()).within(1_000))
    };
    assert_eq!(bench.shows(B, K), Some("v"));
    let read = get(&mut bench, B);
    bench.run(|f| f.among(&[B, C]));
    bench.lose_all();
    assert_eq!(bench.reply(read), None, "B and C have not seen the delete");
    bench.pass(B, 1_000);
    assert!(matches!(
        bench.failure(read),
        RequestError::SessionUnmet { missing: 1, .. }
    ));
    bench.lose_all();
    let read = get(&mut bench, C);
    bench.run(|f| f.among(&[A, C]));
    assert_eq!(bench.read(read), None);
}

#[test]
fn a_session_writes_above_what_it_has_read_through_a_lagging_owner() {
    for has_session in [true, false] {
        let mut bench = Bench::new(3, |_| ());
        bench.nudge(B, 9);
        bench.write_one(B, K, Some("read"));
        bench.lose_all();
        let read = bench.get_at(B, K, Level::One);
        assert_eq!(bench.read(read), Some("read"));
        let floor = match has_session {
            true => bench.seen(read),
            false => Floor::default(),
        };
        let write = Request::new(put(K, "written"), Level::One).after(floor);
        let write = bench.ask(A, write);
        assert!(bench.is_written(write));
        let expected = if has_session { "written" } else { "read" };
        assert_eq!(bench.settled(K), Some(expected));
    }
}

fn siblings(bench: &Bench<MultiValue>, node: u32) -> BTreeSet<&[u8]> {
    let cell = bench.node(node).replica().map().get(K.as_bytes());
    let values = cell.into_iter().flat_map(MvCell::values);
    values.map(|value| &value[..]).collect()
}

fn sibling(value: &'static str) -> Command<SiblingWrite> {
    Command::write(
        key(),
        SiblingWrite::Put(Bytes::from_static(value.as_bytes())),
    )
}

#[test]
fn a_session_replaces_the_sibling_it_has_read_through_a_lagging_owner() {
    for has_session in [true, false] {
        let mut bench = Bench::<MultiValue>::with_policy(3, |_| ());
        bench.ask(B, Request::new(sibling("read"), Level::One));
        bench.lose_all();
        let read = bench.get_at(B, K, Level::One);
        let floor = match has_session {
            true => bench.seen(read),
            false => Floor::default(),
        };
        let write = Request::new(sibling("written"), Level::One).after(floor);
        let write = bench.ask(A, write);
        assert_eq!(
            bench.is_written(write),
            !has_session,
            "A has to catch up first"
        );
        bench.run(|f| f.among(&[A, C]));
        assert_eq!(
            bench.is_written(write),
            !has_session,
            "C has not seen it either"
        );
        bench.run(|f| f.among(&[A, B]));
        assert!(bench.is_written(write));
        bench.settle();
        let mut expected: BTreeSet<&[u8]> = [&b"written"[..]].into();
        if !has_session {
            expected.insert(b"read");
        }
        assert_eq!(siblings(&bench, C), expected);
    }
}

/// The first `count` events of a node that it has not minted yet.
fn made_up<P: replica::Policy>(bench: &Bench<P>, node: u32, count: u64) -> CausalContext {
    let id = bench.node(node).incarnation().expect("it has one");
    (1..=count).map(|counter| Dot::new(id, counter)).collect()
}

#[test]
fn a_token_of_a_client_is_never_joined_into_knowledge() {
    let mut bench = Bench::new(3, |_| ());
    let floor = Floor {
        context: made_up(&bench, B, 2),
        time: Timestamp(7),
    };
    let before = bench.node(A).replica().knowledge().clone();
    for level in [Level::One, Level::Quorum, Level::All, Level::Linearizable] {
        let get = Request::new(Command::get(key()), level).after(floor.clone());
        let read = bench.ask(A, get.within(10));
        bench.run(|_| true);
        bench.pass(A, 10);
        bench.run(|_| true);
        assert!(matches!(
            bench.failure(read),
            RequestError::SessionUnmet { missing: 2, .. }
        ));
    }
    assert_eq!(bench.node(A).replica().knowledge(), &before);
    let write = Request::new(put("other", "x"), Level::Quorum).after(floor);
    let write = bench.ask(A, write);
    bench.run(|_| true);
    assert!(bench.is_written(write));
    // The events that the token made up come into being.
    for value in ["first", "second"] {
        let write = bench.put(B, K, value);
        bench.run(|f| f.among(&[B, C]));
        assert!(bench.is_written(write));
        bench.lose_all();
    }
    assert_eq!(bench.settled(K), Some("second"));
}

#[test]
fn the_context_of_a_write_hides_nothing_that_its_coordinator_has_not_seen() {
    let mut bench = Bench::<MultiValue>::with_policy(3, |_| ());
    let mut command = sibling("made up");
    if let Command::Write { context, .. } = &mut command {
        *context = Some(made_up(&bench, B, 2));
    }
    let write = bench.ask(A, Request::new(command, Level::Quorum));
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let later = bench.ask(B, Request::new(sibling("later"), Level::Quorum));
    bench.run(|_| true);
    assert!(bench.is_written(later));
    bench.settle();
    assert_eq!(siblings(&bench, A), [&b"later"[..]].into());
}

#[test]
fn level_all_with_one_owner_down_fails_cleanly() {
    let mut bench = Bench::new(3, |_| ());
    bench.hint(A, C, false);
    let before = bench.node(A).replica().knowledge().clone();
    let refused = [
        bench.put_at(A, K, "v", Level::All),
        bench.get_at(A, K, Level::All),
    ];
    let error = |acknowledged, may_take_effect| RequestError::NoMajority {
        acknowledged,
        needed: 3,
        may_take_effect,
    };
    for request in refused {
        assert_eq!(bench.failure(request), &error(1, false), "B was not asked");
    }
    assert!(bench.bag.is_empty(), "nothing was sent");
    assert_eq!(bench.node(A).replica().knowledge(), &before);
    // Nobody has told B.
    let write = Request::new(put(K, "w"), Level::All).within(1_000);
    let get = Request::new(Command::get(key()), Level::All).within(1_000);
    let pending = [bench.ask(B, write), bench.ask(B, get)];
    bench.run(|f| f.among(&[A, B]));
    assert!(pending.iter().all(|id| bench.reply(*id).is_none()));
    bench.pass(B, 1_000);
    for (request, may_take_effect) in pending.into_iter().zip([true, false]) {
        let late = RequestError::Deadline {
            answered: 2,
            needed: 3,
            may_take_effect,
        };
        assert_eq!(bench.failure(request), &late);
    }
    bench.hint(A, C, true);
    let write = bench.put_at(A, K, "x", Level::All);
    bench.run(|_| true);
    let read = bench.get_at(C, K, Level::All);
    bench.run(|_| true);
    for (request, expected) in [(write, 3), (read, 3)] {
        let owners = match bench.reply(request) {
            Some(Ok(Outcome::Written { acknowledged, .. })) => *acknowledged,
            Some(Ok(Outcome::Read { owners, .. })) => *owners,
            other => panic!("the reply is {other:?}"),
        };
        assert_eq!(owners, expected);
    }
    assert_eq!(bench.read(read), Some("x"));
}

#[test]
fn a_quorum_write_and_a_linearizable_write_of_one_key_at_once() {
    let levels = [Level::Quorum, Level::Linearizable];
    for (first, second) in [(A, A), (A, B)] {
        for swapped in [false, true] {
            let mut bench = Bench::new(3, |_| ());
            // Something newer than either has seen.
            bench.nudge(C, 9);
            bench.write_one(C, K, Some("z"));
            bench.lose_all();
            let (one, two) = (levels[usize::from(swapped)], levels[usize::from(!swapped)]);
            let writes = [
                bench.put_at(first, K, "x", one),
                bench.put_at(second, K, "y", two),
            ];
            bench.run(|f| f.among(&[A, B]) && is_question(f));
            bench.run(|_| true);
            assert!(writes.iter().all(|write| bench.is_written(*write)));
            let read = bench.get(C, K);
            bench.run(|_| true);
            let read = bench.read(read).map(str::to_owned);
            assert!(read.is_some());
            assert_eq!(bench.settled(K), read.as_deref());
        }
    }
}

/// Two owners of three nodes, and these quorums.
fn two_owners(write_quorum: u32, read_quorum: u32) -> (Bench, u32, u32) {
    let bench = Bench::new(3, |config: &mut Config| {
        config.replication_factor = 2;
        (config.write_quorum, config.read_quorum) = (write_quorum, read_quorum);
    });
    let owners = bench.owners();
    (bench, owners[0], owners[1])
}

#[test]
fn one_owner_of_two_that_acknowledges_alone() {
    let (mut bench, x, y) = two_owners(1, 2);
    let write = bench.put(x, K, "v");
    assert!(bench.is_written(write), "W is 1");
    bench.lose_all();
    let refused = bench.get_at(x, K, Level::Linearizable);
    let (k, w, r) = (2, 1, 2);
    assert_eq!(
        bench.failure(refused),
        &RequestError::LevelNotOffered { k, w, r }
    );
    let read = bench.get(y, K);
    assert_eq!(bench.reply(read), None, "R is 2");
    bench.run(|_| true);
    assert_eq!(bench.read(read), Some("v"));
    // The one that acknowledged loses its data: the other is the only source there is.
    bench.lose_data(x);
    bench.talk(&[x, y]);
    assert!(bench.is_up(x));
    let read = bench.get(x, K);
    bench.run(|_| true);
    assert_eq!(bench.read(read), Some("v"));
    bench.settle();
}

#[test]
fn two_owners_of_two_that_acknowledge_together() {
    let (mut bench, x, y) = two_owners(2, 1);
    let write = bench.put(x, K, "v");
    assert!(!bench.is_written(write), "W is 2");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let read = bench.get(y, K);
    assert_eq!(bench.read(read), Some("v"), "R is 1");
    bench.write_one(x, K, Some("w"));
    bench.lose_all();
    let read = bench.get_at(x, K, Level::Linearizable);
    assert_eq!(bench.reply(read), None, "only x holds it");
    bench.run(|_| true);
    assert_eq!(bench.read(read), Some("w"));
    let after = bench.get_at(y, K, Level::Linearizable);
    bench.run(|_| true);
    assert_eq!(bench.read(after), Some("w"));
    // A linearizable read needs both, though it asks one.
    bench.hint(x, y, false);
    let refused = bench.get_at(x, K, Level::Linearizable);
    let (acknowledged, needed, may_take_effect) = (1, 2, false);
    let error = RequestError::NoMajority {
        acknowledged,
        needed,
        may_take_effect,
    };
    assert_eq!(bench.failure(refused), &error);
    bench.hint(x, y, true);
    bench.run(|_| true);
    bench.lose_data(y);
    bench.talk(&[x, y]);
    let read = bench.get(y, K);
    assert_eq!(bench.read(read), Some("w"));
}
