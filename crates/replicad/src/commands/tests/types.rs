//! Counters, sets, and keys of any type.

use super::*;
use crate::store::{ConflictPolicy, Record};
use crdt::{Dot, ReplicaId, Timestamp};
use replica::Floor;

const WRONG: &str = "WRONGTYPE Operation against a key holding the wrong kind of value: it is ";

fn texts(values: &[&str]) -> Reply {
    Reply::Array(values.iter().map(|value| Reply::text(*value)).collect())
}

fn integers(values: &[i64]) -> Reply {
    Reply::Array(values.iter().map(|value| Reply::Integer(*value)).collect())
}

fn seen() -> Floor {
    Floor {
        context: [Dot::new(ReplicaId(2), 1)].into_iter().collect(),
        time: Timestamp(5),
    }
}

#[test]
fn counters_count() {
    let mut c = Connection::new();
    c.expect("INCR n", &Reply::Integer(1));
    c.expect("INCRBY n 41", &Reply::Integer(42));
    c.expect("DECR n", &Reply::Integer(41));
    c.expect("DECRBY n 50", &Reply::Integer(-9));
    c.expect("INCRBY n -9223372036854775799", &Reply::Integer(i64::MIN));
    c.expect("GET n", &Reply::text("-9223372036854775808"));
    c.expect("STRLEN n", &Reply::Integer(20));
    c.expect(
        "MGET n x",
        &Reply::Array(vec![Reply::text("-9223372036854775808"), Reply::Null]),
    );
    c.expect("TYPE n", &Reply::Simple("string"));
    c.expect("EXISTS n", &Reply::Integer(1));
    c.expect("DEL n", &Reply::Integer(1));
    c.expect("GET n", &Reply::Null);
    c.expect("DECR n", &Reply::Integer(-1));
}

#[test]
fn what_is_no_increment_is_refused() {
    let mut c = Connection::new();
    for word in [
        "x",
        "",
        "1.5",
        "+1",
        "01",
        " 1",
        "9223372036854775808",
        "-0",
    ] {
        let error = c.error(&format!("INCRBY n {word}"));
        assert_eq!(
            error,
            if word.starts_with(' ') {
                // The test splits at spaces: one word too many.
                "ERR wrong number of arguments for 'incrby' command"
            } else {
                "ERR value is not an integer or out of range"
            }
        );
    }
    assert_eq!(
        c.error("DECRBY n -9223372036854775808"),
        "ERR decrement would overflow"
    );
    assert!(c.fake.state().submitted.is_empty());
}

#[test]
fn sets_have_members() {
    let mut c = Connection::new();
    c.expect("SMEMBERS s", &Reply::Set(vec![]));
    c.expect("SADD s b a b", &Reply::Integer(2));
    c.expect("SADD s a c", &Reply::Integer(1));
    let members = ["a", "b", "c"].map(Reply::text).to_vec();
    c.expect("SMEMBERS s", &Reply::Set(members));
    c.expect("SCARD s", &Reply::Integer(3));
    c.expect("SISMEMBER s a", &Reply::Integer(1));
    c.expect("SISMEMBER s x", &Reply::Integer(0));
    c.expect("SMISMEMBER s x c a", &integers(&[0, 1, 1]));
    c.expect("TYPE s", &Reply::Simple("set"));
    c.expect("SREM s a x a", &Reply::Integer(1));
    c.expect("SREM s b c", &Reply::Integer(2));
    c.expect("EXISTS s", &Reply::Integer(0));
    c.expect("TYPE s", &Reply::Simple("none"));
    c.expect("SCARD s", &Reply::Integer(0));
}

#[test]
fn a_key_of_another_type_is_refused_with_what_it_is() {
    let mut c = Connection::new();
    for line in ["SET v 1", "INCR n", "SADD s a"] {
        c.run(line);
    }
    for (line, what) in [
        (
            "INCR v",
            "a string, and only what INCR has made is a counter",
        ),
        ("INCR s", "a set"),
        ("SADD v a", "a string"),
        ("SADD n a", "a counter"),
        ("SREM n a", "a counter"),
        ("SMEMBERS v", "a string"),
        ("SCARD n", "a counter"),
        ("SISMEMBER n a", "a counter"),
        ("GET s", "a set"),
        ("STRLEN s", "a set"),
    ] {
        assert_eq!(c.error(line), format!("{WRONG}{what}"), "{line}");
    }
    c.expect(
        "MGET v s n",
        &Reply::Array(vec![Reply::text("1"), Reply::Null, Reply::text("1")]),
    );
}

#[test]
fn a_string_replaces_what_the_node_shows_of_another_type() {
    let mut c = Connection::new();
    c.run("SADD s a");
    c.run("INCR n");
    c.expect("SET s v", &Reply::OK);
    c.expect("MSET n v m v", &Reply::OK);
    assert!(c.fake.state().records.is_empty());
    c.expect("MGET s n m", &texts(&["v", "v", "v"]));
}

#[test]
fn a_key_in_both_spaces_is_a_string_and_counts_once() {
    let mut c = Connection::new();
    c.run("INCR k");
    c.put("k", "v");
    c.expect("GET k", &Reply::text("v"));
    c.expect("TYPE k", &Reply::Simple("string"));
    c.expect("EXISTS k", &Reply::Integer(1));
    c.expect("UNLINK k", &Reply::Integer(1));
    c.expect("TOUCH k", &Reply::Integer(0));
}

#[test]
fn a_removal_is_made_on_what_the_read_has_seen() {
    for (line, change) in [
        ("DEL s", Operation::Drop),
        (
            "SREM s a",
            Operation::Remove {
                members: vec!["a".into()],
            },
        ),
    ] {
        let mut c = Connection::new();
        c.run("SADD s a");
        c.fake.state().seen = seen();
        c.expect(line, &Reply::Integer(1));
        let state = c.fake.state();
        let last = state.submitted.last().expect("a removal");
        assert_eq!((&last.operation, &last.floor), (&change, &seen()), "{line}");
    }
}

#[test]
fn siblings_are_deleted_as_far_as_the_read_has_seen() {
    let mut c = Connection::new();
    c.put("k", "v");
    {
        let mut state = c.fake.state();
        state.conflict = ConflictPolicy::Siblings;
        state.seen = seen();
    }
    c.expect("DEL k", &Reply::Integer(1));
    let state = c.fake.state();
    let last = state.submitted.last().expect("a removal");
    assert_eq!(
        (&last.operation, &last.floor),
        (&Operation::delete(), &seen())
    );
}

#[test]
fn a_node_that_forwards_asks_again_for_the_sum() {
    let mut c = Connection::new();
    c.fake.state().forwards = true;
    c.expect("INCR n", &Reply::Integer(1));
    c.expect("SADD s a b a", &Reply::Integer(2));
    c.expect("SREM s a x", &Reply::Integer(1));
}

#[test]
fn a_node_that_forwards_lets_no_command_overtake_another_of_the_same_key() {
    let mut c = Connection::new();
    c.fake.state().forwards = true;
    c.fake.state().holding = true;
    let Started::Waiting(mut first) = c.start("SET k v") else {
        panic!("there is nothing to wait for")
    };
    let Started::Waiting(mut other) = c.start("SET other v") else {
        panic!("it may overtake the first")
    };
    let Started::Resumed(mut behind) = c.start("GET k") else {
        panic!("it may not overtake the first")
    };
    assert!(poll(&mut behind).is_none());
    assert_eq!(c.fake.state().submitted.len(), 2);
    for reply in [&mut first, &mut other] {
        assert!(poll(reply).is_none());
        assert!(c.fake.release());
        assert_eq!(poll(reply), Some(Reply::OK));
    }
    let resume = poll(&mut behind).expect("nothing is under way");
    let Started::Waiting(mut read) = resume(&mut c.session) else {
        panic!("it asks now")
    };
    assert!(c.fake.release());
    assert_eq!(poll(&mut read), Some(Reply::Bulk("v".into())));
}

#[test]
fn within_a_session_a_node_that_forwards_does_one_command_at_a_time() {
    let mut c = Connection::new();
    c.fake.state().forwards = true;
    c.expect("R.SESSION ON", &Reply::OK);
    c.fake.state().holding = true;
    let Started::Held(mut held) = c.start("SET k v") else {
        panic!("the next command may overtake it")
    };
    assert!(poll(&mut held).is_none());
    assert!(c.fake.release());
    assert!(matches!(
        poll(&mut held),
        Some(Started::Ready(Reply::Simple("OK")))
    ));
}

#[test]
fn a_string_that_another_node_deleted_does_not_hide_a_counter() {
    let mut c = Connection::new();
    c.put("k", "old");
    c.fake.state().holding = true;
    let Started::Waiting(mut reply) = c.start("GET k") else {
        panic!("a read waits")
    };
    {
        let mut state = c.fake.state();
        let record = Record {
            counter: Some(7),
            members: None,
        };
        state.records.insert("k".into(), record);
        // The answer of a quorum that has the deletion.
        let (_, answer, _) = &mut state.held[0];
        let Ok(crate::store::StoreAnswer::Values { values, .. }) = answer else {
            panic!("a read of strings")
        };
        values.clear();
        state.holding = false;
    }
    assert!(c.fake.release());
    assert_eq!(ready(&mut reply), Reply::text("7"));
}

#[test]
fn a_scan_tells_types_apart() {
    let mut c = Connection::new();
    for line in ["SET v 1", "INCR n", "SADD s a", "SADD both a"] {
        c.run(line);
    }
    c.put("both", "v");
    assert_eq!(scan_all(&mut c, ""), ["both", "n", "s", "v"]);
    assert_eq!(scan_all(&mut c, " TYPE string"), ["both", "n", "v"]);
    assert_eq!(scan_all(&mut c, " TYPE SET"), ["s"]);
    assert!(scan_all(&mut c, " TYPE hash").is_empty());
}

#[test]
fn failures_of_the_node_reach_the_client() {
    let mut c = Connection::new();
    let error = RequestError::NodeFailed(NodeId(1));
    c.fake.state().failures.insert(b'k', error);
    for line in [
        "INCR k",
        "SADD k a",
        "SREM k a",
        "SMEMBERS k",
        "SCARD k",
        "TYPE k",
        "UNLINK k",
        "STRLEN k",
        "R.GET k",
        "R.PUT k v",
        "R.DEL k",
    ] {
        let message = c.error(line);
        assert!(message.starts_with("NODEFAILED "), "{line}: {message}");
    }
}

#[test]
fn a_set_over_the_limit_of_a_reply_is_refused() {
    let mut c = Connection::with(Limits {
        max_reply_bytes: 5,
        ..Limits::default()
    });
    c.run("SADD s abc def");
    assert_eq!(
        c.error("SMEMBERS s"),
        "ERR the members are over the limit of 5 bytes for one reply"
    );
    c.expect("SCARD s", &Reply::Integer(2));
}
