//! Requests at their limits: what just fits is carried out, and what does not is refused by name.

use bytes::Bytes;
use crdt::Timestamp;
use replica::{
    ClockKind, Command, Config, Envelope, Floor, Gossip, Level, LwwWrite, Message, NodeId, Request,
    RequestError,
};

use crate::support::{Bench, put};
use crate::{A, B};

const K: &str = "k";

fn bench(change: impl FnOnce(&mut Config)) -> Bench {
    Bench::new(3, change)
}

fn write(key: &'static [u8], value: &'static [u8]) -> Request {
    let command = Command::put(Bytes::from_static(key), Bytes::from_static(value));
    Request::new(command, Level::One)
}

fn since(time: u64) -> Floor {
    Floor {
        time: Timestamp(time),
        ..Floor::default()
    }
}

#[test]
fn keys_and_values_are_as_long_as_their_limits_and_no_longer() {
    let mut bench = bench(|config| (config.max_key_bytes, config.max_value_bytes) = (3, 5));
    let fits = bench.ask(A, write(b"key", b"value"));
    assert!(bench.is_written(fits));
    let (size, limit) = (4, 3);
    let long_key = RequestError::KeyTooLarge { size, limit };
    let get = Request::new(Command::get(Bytes::from_static(b"long")), Level::One);
    for request in [write(b"long", b""), get] {
        let refused = bench.ask(A, request);
        assert_eq!(bench.failure(refused), &long_key);
    }
    let (size, limit) = (6, 5);
    let long_value = RequestError::ValueTooLarge { size, limit };
    let refused = bench.ask(A, write(b"key", b"values"));
    assert_eq!(bench.failure(refused), &long_value);
}

#[test]
fn a_token_leads_a_lamport_clock_by_so_much_and_no_more() {
    let mut bench = bench(|config| config.max_token_lead = 10);
    bench.nudge(A, 100);
    let refused = bench.ask(A, write(b"k", b"v").after(since(111)));
    let (lead, limit) = (11, 10);
    let ahead = RequestError::TokenAhead { lead, limit };
    assert_eq!(bench.failure(refused), &ahead);
    let taken = bench.ask(A, write(b"k", b"v").after(since(110)));
    assert!(bench.is_written(taken));
}

#[test]
fn a_hybrid_clock_bounds_tokens_by_physical_time_instead() {
    let mut bench = bench(|config| {
        config.clock = ClockKind::Hybrid {
            drift_bound_ms: 60_000,
        };
        config.max_token_lead = 0;
    });
    let taken = bench.ask(A, write(b"k", b"v").after(since(110)));
    assert!(bench.is_written(taken));
    let refused = bench.ask(A, write(b"k", b"w").after(since(u64::MAX)));
    let error = bench.failure(refused);
    assert!(
        matches!(error, RequestError::TimestampAhead { bound_ms: 60_000, ahead_ms, .. } if *ahead_ms > 60_000),
        "{error}"
    );
    assert!(!error.may_take_effect(), "nothing was minted");
    assert_eq!(bench.shows(A, "k"), Some("v"));
    // It was minted, has lost at B, and what has won there is too far ahead to go above it.
    let begun = bench.ask(A, Request::new(put(K, "x"), Level::Quorum));
    bench.lose_all();
    let sender = bench.node(B);
    let superseded = Envelope {
        from: sender.incarnation(),
        view: sender.view().clone().into(),
        clock: Timestamp::default(),
        message: Message::Superseded {
            dot: bench.live(A, K).expect("A has it"),
            time: Timestamp(u64::MAX),
        },
    };
    bench.feed(A, |p, now| {
        p.handle_message(NodeId(B), superseded, now);
    });
    let error = bench.failure(begun);
    assert!(
        matches!(error, RequestError::TimestampAhead { .. }) && error.may_take_effect(),
        "{error}"
    );
    assert_eq!(bench.shows(A, "k"), Some("x"));
}

#[test]
fn the_callers_timestamp_may_be_what_the_session_has_seen_but_not_below() {
    let mut bench = bench(|config| config.clock = ClockKind::Caller);
    let mut at = |time: u64, session| {
        let request = Request::new(put(K, "v").at(Timestamp(time)), Level::One);
        let id = bench.ask(A, request.after(since(session)));
        bench.reply(id).map(|reply| reply.clone().map(|_| ()))
    };
    assert_eq!(at(0, 0), Some(Ok(())), "no horizon was set");
    assert_eq!(at(6, 6), Some(Ok(())));
    assert_eq!(at(8, 6), Some(Ok(())));
    let (timestamp, session) = (Timestamp(5), Timestamp(6));
    let below = RequestError::TimestampBelowSession { timestamp, session };
    assert_eq!(at(5, 6), Some(Err(below)));
}

#[test]
fn timestamps_are_brought_where_they_are_taken_and_nowhere_else() {
    let mut own = bench(|_| ());
    let refused = own.ask(A, Request::new(put(K, "v").at(Timestamp(5)), Level::One));
    assert_eq!(own.failure(refused), &RequestError::TimestampNotTaken);
    let mut callers = bench(|config| config.clock = ClockKind::Caller);
    let refused = callers.ask(A, write(b"k", b"v"));
    assert_eq!(callers.failure(refused), &RequestError::TimestampNeeded);
}

#[test]
fn a_store_that_gossips_answers_at_level_one_only() {
    let mut bench = bench(|config| {
        let (fanout, peers) = (1, Vec::new());
        config.gossip = Some(Gossip { fanout, peers });
    });
    for level in [Level::Quorum, Level::All, Level::Linearizable] {
        let refused = bench.get_at(A, K, level);
        assert_eq!(bench.failure(refused), &RequestError::GossipsOnly { level });
    }
    let read = bench.get_at(A, K, Level::One);
    assert_eq!(bench.read(read), None);
}

#[test]
fn the_linearizable_level_needs_both_quorums_to_meet() {
    let k = 3;
    for (w, r, is_offered) in [(2, 1, false), (1, 3, false), (2, 2, true), (3, 1, true)] {
        let mut bench = bench(|config| (config.write_quorum, config.read_quorum) = (w, r));
        let linearizable = bench.put_at(A, K, "v", Level::Linearizable);
        let quorum = bench.put_at(A, K, "v", Level::Quorum);
        bench.run(|_| true);
        assert!(bench.is_written(quorum), "W = {w}, R = {r}");
        match is_offered {
            true => assert!(bench.is_written(linearizable), "W = {w}, R = {r}"),
            false => {
                let error = RequestError::LevelNotOffered { k, w, r };
                assert_eq!(bench.failure(linearizable), &error);
            }
        }
    }
}

#[test]
fn writes_and_reads_that_wait_count_towards_one_limit() {
    let mut bench = bench(|config| config.max_pending = 3);
    let mut pending = vec![bench.put(A, K, "v"), bench.get(A, K), bench.get(A, "other")];
    assert_eq!(bench.node(A).status().pending, 3);
    let refused = bench.put(A, K, "w");
    let (count, limit) = (3, 3);
    let overloaded = RequestError::Overloaded {
        pending: count,
        limit,
    };
    assert_eq!(bench.failure(refused), &overloaded);
    bench.run(|f| f.among(&[A, B]));
    for done in pending.drain(..) {
        assert!(matches!(bench.reply(done), Some(Ok(_))));
    }
    assert_eq!(bench.node(A).status().pending, 0);
    let taken = bench.put(A, K, "w");
    assert_eq!(bench.reply(taken), None);
    assert_eq!(bench.node(A).status().pending, 1);
}

/// The value of a delete is empty, whatever the limit.
#[test]
fn a_delete_needs_no_room_for_a_value() {
    let mut bench = bench(|config| config.max_value_bytes = 0);
    let delete = LwwWrite {
        value: None,
        timestamp: None,
    };
    let command = Command::write(Bytes::from_static(b"k"), delete);
    let deleted = bench.ask(A, Request::new(command, Level::One));
    assert!(bench.is_written(deleted));
}
