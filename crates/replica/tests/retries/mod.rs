//! The schedules of an enemy against writes with names: a retry must find what an earlier attempt did, and
//! must not do it again.

mod campaign;

use bytes::Bytes;
use crdt::{Dot, Edit, ResettableCounter, Timestamp};
use replica::{
    CausalValue, CausalWrite, ClockKind, Command, Config, Extent, Level, Message, OperationId,
    Outcome, Policy, Request, RequestError, SyncAnswer,
};
use serde::{Deserialize, Serialize};

use crate::support::{Bench, put};
use crate::{A, B, C};

const K: &str = "k";
const ONE: OperationId = OperationId::new(1);

/// Adds to the counter of a key: what must not happen twice.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Add(i64);

impl CausalWrite for Add {
    type Store = ResettableCounter;

    fn apply(&self, edit: &mut Edit<'_, ResettableCounter>) -> bool {
        edit.add(self.0);
        true
    }

    fn size(&self) -> usize {
        8
    }
}

type Counters = CausalValue<Add>;

/// Counters; what is not answered is asked again. All have heard of each other.
fn counters(nodes: u32, change: impl FnOnce(&mut Config)) -> Bench<Counters> {
    let mut bench = Bench::with_policy(nodes, |config| {
        (config.resend_ms, config.request_timeout_ms) = (100, 10_000);
        change(config);
    });
    bench.settle();
    bench
}

fn add(more: i64) -> Request<Add> {
    let key = Bytes::from_static(K.as_bytes());
    Request::new(Command::write(key, Add(more)), Level::Quorum)
}

/// What a node shows for the key.
fn count<P: Policy<Cell = ResettableCounter>>(bench: &Bench<P>, node: u32) -> i128 {
    let cell = bench.node(node).replica().map().get(K.as_bytes());
    cell.map_or(0, ResettableCounter::value)
}

fn event<P: Policy>(bench: &Bench<P>, request: u64) -> Option<Dot> {
    match bench.reply(request) {
        Some(Ok(Outcome::Written { event, .. })) => *event,
        other => panic!("the write returned {other:?}"),
    }
}

fn is_unknown<P: Policy>(bench: &Bench<P>, request: u64) -> bool {
    matches!(
        bench.reply(request),
        Some(Err(RequestError::OutcomeUnknown { .. }))
    )
}

#[test]
fn a_retry_through_another_owner_is_answered_with_the_event_of_the_first_attempt() {
    let mut bench = counters(3, |_| ());
    let first = bench.ask(A, add(5).named(ONE));
    // Its reply is lost on the way to the client; C has not heard of it, and A falls silent.
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    let again = bench.ask(C, add(5).retry_of(ONE));
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(event(&bench, again), event(&bench, first));
    assert_eq!([count(&bench, B), count(&bench, C)], [5, 5]);
    assert_eq!(bench.node(C).counters().operations_found, 1);
    bench.settle();
    assert_eq!(count(&bench, A), 5);
}

#[test]
fn a_retry_that_nobody_reached_knows_waits_for_the_silent_owner() {
    let mut bench = counters(3, |_| ());
    bench.ask(A, add(5).named(ONE));
    bench.lose_all();
    // B and C are a quorum, and the event is with A alone.
    let again = bench.ask(B, add(5).retry_of(ONE));
    for _ in 0..5 {
        bench.run(|f| f.among(&[B, C]));
        bench.pass(B, 200);
    }
    assert_eq!(bench.reply(again), None);
    bench.pass(B, 10_000);
    assert!(is_unknown(&bench, again));
    assert!(bench.failure(again).may_take_effect());
    assert_eq!([count(&bench, B), count(&bench, C)], [0, 0]);
    bench.lose_all();
    // A can be reached again, and says what it did.
    let third = bench.ask(C, add(5).retry_of(ONE));
    bench.run(|_| true);
    assert!(bench.is_written(third));
    bench.settle();
    assert_eq!(count(&bench, C), 5);
}

#[test]
fn a_write_that_no_owner_has_carried_out_is_carried_out_by_its_retry() {
    let mut bench = counters(3, |_| ());
    let first = bench.ask(B, add(5).retry_of(ONE));
    bench.run(|f| f.kind().starts_with("read"));
    bench.lose_all();
    // Minted, and known to B alone: a further retry through another owner finds that.
    let second = bench.ask(C, add(5).retry_of(ONE));
    bench.run(|_| true);
    assert!(bench.is_written(second));
    bench.settle();
    assert!(bench.is_written(first));
    assert_eq!(count(&bench, A), 5);
    assert_eq!(bench.node(B).counters().operations_begun, 1);
    assert_eq!(bench.node(C).counters().operations_begun, 0);
}

#[test]
fn a_first_attempt_that_arrives_after_its_retry_is_not_carried_out_beside_it() {
    let mut bench = counters(3, |_| ());
    let again = bench.ask(B, add(5).retry_of(ONE));
    // All have said that they do not know it; what B has minted is still on its way.
    bench.run(|f| f.kind().starts_with("read"));
    let late = bench.ask(A, add(5).named(ONE));
    bench.run(|_| true);
    assert!(bench.is_written(again));
    assert_eq!(event(&bench, late), event(&bench, again));
    bench.settle();
    assert_eq!(count(&bench, A), 5);
}

#[test]
fn of_two_retries_at_once_one_is_carried_out() {
    let mut bench = counters(3, |_| ());
    let both = [B, C].map(|node| bench.ask(node, add(5).retry_of(ONE)));
    bench.run(|_| true);
    for node in [B, C] {
        bench.pass(node, 200);
    }
    bench.run(|_| true);
    assert!(bench.is_written(both[0]), "B comes first");
    assert!(is_unknown(&bench, both[1]), "C gives way");
    bench.settle();
    assert_eq!(count(&bench, A), 5);
}

#[test]
fn a_linearizable_write_that_is_still_asking_is_not_carried_out_beside_its_retry() {
    let level = Level::Linearizable;
    let mut bench: Bench = Bench::new(3, |config| {
        (config.resend_ms, config.request_timeout_ms) = (100, 10_000);
    });
    bench.settle();
    let write = || Request::new(put(K, "v"), level);
    let first = bench.ask(A, write().named(ONE));
    bench.deliver(|f| f.goes(A, B));
    let answers = bench.take(|f| f.goes(B, A));
    bench.lose_all();
    let again = bench.ask(C, write().retry_of(ONE));
    bench.run(|_| true);
    let event = bench.live(C, K).expect("it is carried out");
    assert!(bench.is_written(again));
    // Another writes in between; then A goes on.
    let other = bench.ask(B, Request::new(put(K, "w"), level));
    bench.run(|_| true);
    assert!(bench.is_written(other));
    answers.into_iter().for_each(|answer| bench.arrive(answer));
    bench.run(|_| true);
    assert!(bench.is_written(first));
    assert_eq!(bench.settled(K), Some("w"), "and not v again");
    assert_ne!(bench.live(A, K), Some(event));
}

#[test]
fn a_retry_does_not_overwrite_what_was_written_since() {
    for level in [Level::Quorum, Level::Linearizable] {
        let mut bench: Bench = Bench::new(3, |_| ());
        let write = || Request::new(put(K, "v"), level);
        bench.ask(A, write().named(ONE));
        bench.run(|f| f.among(&[A, B]));
        bench.lose_all();
        let since = bench.ask(B, Request::new(put(K, "w"), level));
        bench.run(|f| f.among(&[A, B]));
        assert!(bench.is_written(since));
        bench.lose_all();
        let again = bench.ask(C, write().retry_of(ONE));
        bench.run(|_| true);
        let Some(Ok(Outcome::Written { took_effect, .. })) = bench.reply(again) else {
            panic!("the retry returned {:?}", bench.reply(again));
        };
        assert!(took_effect, "it has its place before w, at {level:?}");
        assert_eq!(bench.settled(K), Some("w"));
    }
}

#[test]
fn a_retry_says_if_another_owner_holds_something_that_wins() {
    // w is acknowledged at B and C at a time far ahead; v is minted at its caller's time, and D alone hears of it.
    let mut bench: Bench = Bench::new(5, |config| config.clock = ClockKind::Caller);
    let put = |value, time| Request::new(put(K, value).at(Timestamp(time)), Level::Quorum);
    let w = bench.ask(B, put("w", 50));
    bench.run(|f| f.among(&[B, C, 5]));
    assert!(bench.is_written(w));
    bench.lose_all();
    bench.ask(A, put("v", 1).named(ONE));
    bench.run(|f| f.goes(A, 4));
    bench.lose_all();
    let again = bench.ask(4, put("v", 1).retry_of(ONE));
    bench.run(|_| true);
    assert!(
        matches!(
            bench.reply(again),
            Some(Ok(Outcome::Written {
                took_effect: false,
                ..
            }))
        ),
        "{:?}",
        bench.reply(again)
    );
    assert_eq!(bench.settled(K), Some("w"));
}

#[test]
fn an_attempt_that_still_waits_writes_nothing_again_above_what_came_after_its_retry() {
    for level in [Level::Quorum, Level::All] {
        let mut bench: Bench = Bench::new(3, |_| ());
        let write = || Request::new(put(K, "v"), Level::Quorum);
        // C's clock is far ahead, and nobody has heard of that.
        bench.nudge(C, 50);
        let first = bench.ask(A, Request { level, ..write() }.named(ONE));
        bench.run(|f| f.among(&[A, B]) && f.kind().starts_with("read"));
        let late = bench
            .take(|f| f.goes(A, C) && f.kind() == "write")
            .remove(0);
        bench.deliver(|f| f.goes(A, B));
        bench.lose_all();
        let again = bench.ask(B, write().retry_of(ONE));
        bench.run(|f| f.among(&[A, B]));
        assert!(bench.is_written(again));
        bench.lose_all();
        let since = bench.put(C, K, "z");
        bench.run(|f| f.among(&[B, C]));
        assert!(bench.is_written(since));
        bench.lose_all();
        // The first attempt goes on, and hears at C that it has lost.
        bench.arrive(late);
        bench.run(|f| f.goes(C, A));
        assert_eq!(bench.node(A).counters().writes_minted_again, 0);
        assert_eq!(bench.is_written(first), level == Level::Quorum);
        assert_eq!(bench.settled(K), Some("z"), "at {level:?}");
    }
}

#[test]
fn where_quorums_do_not_meet_a_retry_says_that_something_else_has_won() {
    let mut bench: Bench = Bench::new(3, |config| {
        (config.write_quorum, config.read_quorum) = (1, 2);
    });
    let write = || Request::new(put(K, "v"), Level::Quorum);
    let first = bench.ask(A, write().named(ONE));
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(first));
    bench.lose_all();
    // C has heard of nothing, and its clock is ahead: whether w came first, the questions could not tell.
    bench.nudge(C, 50);
    bench.write_one(C, K, Some("w"));
    bench.run(|f| f.goes(C, A));
    let again = bench.ask(A, write().retry_of(ONE));
    bench.run(|f| f.among(&[A, B]));
    let Some(Ok(Outcome::Written { took_effect, .. })) = bench.reply(again) else {
        panic!("the retry returned {:?}", bench.reply(again));
    };
    assert!(!took_effect);
}

/// Writes of one key through A: one without a name, and one with a name that is minted after it. Something
/// that C alone holds wins over both. What is returned first is the one without a name.
fn beside_a_write_without_a_name(plain_comes_first: bool) -> (Bench, u64, u64) {
    let mut bench: Bench = Bench::new(3, |_| ());
    bench.nudge(C, 50);
    bench.write_one(C, K, Some("w"));
    bench.lose_all();
    let plain = |bench: &mut Bench| {
        let plain = bench.put(A, K, "plain");
        bench.take(|f| f.kind() == "write");
        plain
    };
    let named = Request::new(put(K, "named"), Level::Quorum).named(ONE);
    let (unnamed, named) = match plain_comes_first {
        true => (plain(&mut bench), bench.ask(A, named)),
        false => {
            let named = bench.ask(A, named);
            (plain(&mut bench), named)
        }
    };
    bench.run(|f| f.among(&[A, B]) && f.kind().starts_with("read"));
    bench.run(|f| f.among(&[A, C]) && !f.kind().starts_with("read"));
    (bench, unnamed, named)
}

#[test]
fn a_write_with_a_name_answers_one_without_that_came_before_its_questions_also_where_it_has_lost() {
    let (bench, unnamed, named) = beside_a_write_without_a_name(true);
    assert!(bench.is_written(named), "C holds what is concurrent to it");
    assert!(bench.is_written(unnamed), "and concurrent to this as well");
}

#[test]
fn a_write_with_a_name_that_has_lost_does_not_answer_one_without_that_came_after_its_questions() {
    // What has won may have been complete when the other came.
    let (mut bench, unnamed, named) = beside_a_write_without_a_name(false);
    assert!(bench.is_written(named));
    assert_eq!(bench.reply(unnamed), None);
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(unnamed), "A and B hold the later one");
}

#[test]
fn pipelined_writes_are_each_found_although_one_acknowledgement_has_answered_both() {
    let mut bench = counters(3, |_| ());
    let (two, ids) = (OperationId::new(2), [ONE, OperationId::new(2)]);
    let first = bench.ask(A, add(5).named(ONE));
    // What tells of the first event alone is lost.
    bench.lose_all();
    let second = bench.ask(A, add(70).named(two));
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(first) && bench.is_written(second));
    bench.lose_all();
    for id in ids {
        let again = bench.ask(C, add(1000).retry_of(id));
        bench.run(|f| f.among(&[B, C]));
        assert!(bench.is_written(again), "{id}");
    }
    bench.settle();
    assert_eq!(count(&bench, C), 75);
}

#[test]
fn what_an_owner_remembers_survives_a_restart() {
    let mut bench = counters(3, |config| config.durable = true);
    let first = bench.ask(A, add(5).named(ONE));
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    assert!(bench.is_written(first));
    // That C does not know another is remembered as well.
    let other = OperationId::new(2);
    let unknown = bench.ask(B, add(70).retry_of(other));
    bench.run(|f| f.among(&[B, C]));
    for node in [A, B, C] {
        let disk = bench.disk(node);
        bench.restart_with(node, disk);
    }
    bench.lose_all();
    assert_eq!(bench.reply(unknown), None);
    let again = bench.ask(B, add(5).retry_of(ONE));
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(event(&bench, again), event(&bench, first));
    let late = bench.ask(C, add(70).named(other));
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.reply(late), None, "C asks the others first");
    bench.settle();
    assert_eq!(count(&bench, A) % 70, 5);
}

#[test]
fn who_has_lost_its_data_cannot_say_that_nothing_was_carried_out() {
    let mut bench = counters(3, |config| config.operation_memory = 2);
    // The event is with A, and C has it by synchronisation, without the name.
    bench.ask(A, add(5).named(ONE));
    bench.lose_all();
    bench.tick(A);
    bench.tick(C);
    bench.run(|f| f.among(&[A, C]) && f.kind().starts_with("sync"));
    bench.lose_all();
    assert_eq!(count(&bench, C), 5);
    bench.lose_data(A);
    bench.talk(&[A, B, C]);
    assert!(bench.is_up(A));
    let again = bench.ask(B, add(5).retry_of(ONE));
    for _ in 0..3 {
        bench.run(|_| true);
        bench.pass(B, 1_000);
    }
    assert_eq!(bench.reply(again), None);
    bench.pass(B, 10_000);
    assert!(is_unknown(&bench, again));
    assert_eq!(count(&bench, B), 5);
    // Once more operations have come than are remembered, A can say so of new ones.
    for id in 10..13 {
        bench.ask(A, add(10).named(OperationId::new(id)));
        bench.run(|_| true);
    }
    let new = bench.ask(B, add(100).retry_of(OperationId::new(20)));
    bench.run(|_| true);
    assert!(bench.is_written(new));
    bench.settle();
    assert_eq!(count(&bench, A), 135);
}

#[test]
fn who_has_lost_its_data_begins_no_retry_on_the_word_of_the_others() {
    let mut bench = counters(3, |_| ());
    // The event is with A under its name, and with C by synchronisation, without the name.
    bench.ask(A, add(5).named(ONE));
    bench.lose_all();
    bench.tick(A);
    bench.tick(C);
    bench.run(|f| f.among(&[A, C]) && f.kind().starts_with("sync"));
    bench.lose_all();
    bench.lose_data(A);
    bench.talk(&[A, B, C]);
    assert!(bench.is_up(A));
    // The others say, and it is true, that they do not know the name; only A knew it.
    let again = bench.ask(A, add(5).retry_of(ONE));
    bench.run(|_| true);
    assert_eq!(bench.reply(again), None);
    bench.pass(A, 10_000);
    assert!(is_unknown(&bench, again));
    bench.settle();
    assert_eq!(count(&bench, A), 5);
}

#[test]
fn who_comes_back_without_data_remembers_what_its_sources_remember() {
    let mut bench = counters(3, |_| ());
    let first = bench.ask(A, add(5).named(ONE));
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    assert!(bench.is_written(first));
    // One after the other, those who had acknowledged it lose their data.
    for node in [A, B] {
        bench.lose_data(node);
        bench.talk(&[A, B, C]);
        assert!(bench.is_up(node));
    }
    let again = bench.ask(C, add(5).retry_of(ONE));
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(event(&bench, again), event(&bench, first));
    bench.settle();
    assert_eq!(count(&bench, A), 5);
}

#[test]
fn an_event_that_is_lost_for_good_answers_no_retry() {
    for node in [B, C] {
        let mut bench = counters(3, |config| {
            (config.durable, config.restart_patience_ms) = (true, 1 << 40);
        });
        let disk = bench.disk(B);
        bench.ask(A, add(5).named(ONE));
        bench.lose_all();
        // B comes back and hears of A's names before it hears of A's events; then A loses its data.
        bench.restart_with(B, disk);
        bench.tick(B);
        bench.deliver(|f| f.goes(B, A));
        bench.deliver(|f| {
            let names = |answer: &SyncAnswer<_>| answer.extent == Extent::KnowledgeOnly;
            f.goes(A, B) && matches!(&f.envelope.message, Message::SyncAnswer(a) if names(a))
        });
        bench.lose_all();
        bench.lose_data(A);
        // Once before it is known that nobody has the event, and once after that.
        while !bench.is_up(B) {
            for node in [A, B, C] {
                bench.tick(node);
            }
            bench.run(|_| true);
        }
        let early = bench.ask(node, add(5).retry_of(ONE));
        bench.run(|_| true);
        assert_eq!(bench.reply(early), None, "nobody has the event");
        bench.settle();
        let again = bench.ask(node, add(5).retry_of(ONE));
        bench.run(|_| true);
        assert_eq!(bench.reply(again), None, "it is lost for good");
        // A cannot say that there was no other.
        bench.pass(node, 10_000);
        assert!(is_unknown(&bench, again));
        bench.settle();
        assert_eq!(count(&bench, node), 0);
    }
}

#[test]
fn what_the_dead_have_still_sent_is_not_carried_out_beside_a_retry() {
    // A mints; its message to C is late. A loses its data and B hears of that, not C.
    let mut bench = counters(3, |_| ());
    bench.ask(A, add(5).named(ONE));
    let late = bench.take(|f| f.goes(A, C)).remove(0);
    bench.lose_all();
    let again = bench.ask(B, add(5).retry_of(ONE));
    // C says that it does not know it, before it has heard of the new A.
    bench.deliver(|f| f.goes(B, C));
    bench.deliver(|f| f.goes(C, B));
    bench.take(|f| f.goes(B, A));
    bench.lose_data(A);
    bench.deliver(|f| f.goes(A, B));
    bench.arrive(late);
    assert_eq!(count(&bench, C), 5, "C does not know that A is another");
    bench.settle();
    bench.pass(B, 1_000);
    bench.run(|_| true);
    bench.settle();
    assert_eq!(count(&bench, B), 5, "{:?}", bench.reply(again));
}

#[test]
fn what_an_owner_said_before_it_lost_its_data_does_not_bind_who_comes_after_it() {
    let (d, e) = (4, 5);
    let mut bench = counters(5, |config| config.request_timeout_ms = 1 << 40);
    let again = bench.ask(B, add(5).retry_of(ONE));
    // A does not know it, and undertakes not to begin it; the others are not asked yet.
    bench.deliver(|f| f.goes(B, A));
    bench.deliver(|f| f.goes(A, B));
    bench.lose_all();
    bench.lose_data(A);
    bench.talk(&[A, C, d, e]);
    assert!(bench.is_up(A));
    // The first attempt arrives at the new A, which has heard of nothing, and nobody hears of that.
    let late = bench.ask(A, add(5).named(ONE));
    bench.lose_all();
    assert_eq!(count(&bench, A), 5);
    bench.pass(B, 1_000);
    bench.run(|f| f.among(&[B, C, d, e]));
    assert_eq!(bench.reply(again), None, "the new A has to be asked");
    bench.pass(B, 10_000);
    bench.run(|_| true);
    assert!(bench.is_written(again));
    bench.settle();
    assert_eq!(count(&bench, A), 5, "{:?}", bench.reply(late));
}

#[test]
fn an_id_that_is_used_for_another_key_names_another_write() {
    let mut bench: Bench = Bench::new(3, |_| ());
    for key in ["k", "j"] {
        let write = Request::new(put(key, key), Level::Quorum).named(ONE);
        let written = bench.ask(A, write);
        bench.run(|_| true);
        assert!(bench.is_written(written));
    }
    assert_eq!(
        (bench.shows(B, "k"), bench.shows(B, "j")),
        (Some("k"), Some("j"))
    );
}

#[test]
fn a_store_that_remembers_nothing_refuses_names() {
    let mut bench = counters(3, |config| config.operation_memory = 0);
    for request in [add(5).named(ONE), add(5).retry_of(ONE)] {
        let refused = bench.ask(A, request);
        assert_eq!(bench.failure(refused), &RequestError::OperationsForgotten);
        assert!(!bench.failure(refused).may_take_effect());
    }
}

#[test]
fn the_oldest_operation_is_forgotten_when_there_are_more_than_are_remembered() {
    let mut bench = counters(3, |config| {
        (config.durable, config.operation_memory) = (true, 2);
    });
    for id in 1..=3 {
        let written = bench.ask(A, add(1).named(OperationId::new(id)));
        bench.run(|_| true);
        assert!(bench.is_written(written));
    }
    let disk = bench.disk(B);
    bench.restart_with(B, disk);
    bench.settle();
    let found = bench.ask(B, add(1).retry_of(OperationId::new(2)));
    bench.run(|_| true);
    assert!(bench.is_written(found));
    assert_eq!(count(&bench, B), 3);
    let forgotten = bench.ask(B, add(1).retry_of(ONE));
    bench.run(|_| true);
    assert!(bench.is_written(forgotten));
    assert_eq!(count(&bench, B), 4, "nobody remembers the first any more");
}
