//! The R. family: timestamps, siblings, levels and sessions.

use super::*;
use crate::store::ConflictPolicy;
use crdt::{Dot, ReplicaId, Timestamp};
use replica::{Floor, Level};

fn store(conflict: ConflictPolicy) -> Connection {
    let c = Connection::new();
    c.fake.state().conflict = conflict;
    c
}

fn seen(counter: u64) -> Floor {
    Floor {
        context: [Dot::new(ReplicaId(1), counter)].into_iter().collect(),
        time: Timestamp(counter),
    }
}

/// The fields of the reply to R.GET.
fn fields(c: &mut Connection, line: &str) -> (Vec<Reply>, Reply, String) {
    let Reply::Map(fields) = c.run(line) else {
        panic!("{line} answers a map")
    };
    let [
        (_, Reply::Array(values)),
        (_, timestamp),
        (_, Reply::Bulk(context)),
    ] = &fields[..]
    else {
        panic!("values, timestamp, context: {fields:?}")
    };
    let context = String::from_utf8_lossy(context).into_owned();
    (values.clone(), timestamp.clone(), context)
}

fn last(c: &Connection) -> StoreRequest {
    let state = c.fake.state();
    state.submitted.last().expect("a request").clone()
}

#[test]
fn the_highest_timestamp_of_a_caller_wins() {
    let mut c = store(ConflictPolicy::Caller);
    c.expect("R.PUT k new TIMESTAMP 20", &Reply::Integer(1));
    c.expect("R.PUT k old TIMESTAMP 10", &Reply::Integer(0));
    c.expect("R.DEL k TIMESTAMP 15", &Reply::Integer(0));
    c.expect("GET k", &Reply::text("new"));
    let (values, timestamp, _) = fields(&mut c, "R.GET k");
    assert_eq!(
        (values, timestamp),
        (vec![Reply::text("new")], Reply::text("20"))
    );
    c.expect("R.DEL k TIMESTAMP 30", &Reply::Integer(1));
    let (values, timestamp, _) = fields(&mut c, "R.GET k");
    assert_eq!((values, timestamp), (vec![], Reply::text("30")));
}

#[test]
fn a_store_by_the_callers_time_names_the_command_that_brings_one() {
    let mut c = store(ConflictPolicy::Caller);
    c.put("k", "v");
    for line in ["SET k v", "MSET k v", "DEL k", "UNLINK x k"] {
        let message = c.error(line);
        assert!(
            message.contains("R.PUT") || message.contains("R.DEL"),
            "{line}: {message}"
        );
    }
    for line in ["R.PUT k v", "R.DEL k"] {
        let message = c.error(line);
        assert!(message.contains("the write needs one"), "{line}: {message}");
    }
    c.expect("SADD s a", &Reply::Integer(1));
    c.expect("DEL s x", &Reply::Integer(1));
    assert!(
        c.fake.state().records.is_empty(),
        "types need no timestamps"
    );
}

#[test]
fn other_stores_take_no_timestamps() {
    for conflict in [
        ConflictPolicy::Hybrid,
        ConflictPolicy::Lamport,
        ConflictPolicy::Siblings,
    ] {
        let mut c = store(conflict);
        for line in ["R.PUT k v TIMESTAMP 1", "R.DEL k TIMESTAMP 1"] {
            let message = c.error(line);
            assert!(message.contains("must not bring one"), "{line}: {message}");
        }
        c.expect("R.PUT k v", &Reply::Integer(1));
        c.expect("R.DEL k", &Reply::Integer(1));
    }
}

#[test]
fn siblings_are_shown_and_replaced_by_their_context() {
    let mut c = store(ConflictPolicy::Siblings);
    c.put("k", "a");
    c.fake
        .state()
        .siblings
        .insert("k".into(), vec!["b".into(), "c".into()]);
    c.fake.state().seen = seen(7);
    for line in ["GET k", "MGET x k", "STRLEN k"] {
        let message = c.error(line);
        assert!(
            message.starts_with("SIBLINGS the key holds 3 concurrent values: R.GET"),
            "{message}"
        );
    }
    c.expect("EXISTS k", &Reply::Integer(1));
    let (values, timestamp, context) = fields(&mut c, "R.GET k");
    assert_eq!(values, ["a", "b", "c"].map(Reply::text));
    assert_eq!(timestamp, Reply::Null);
    c.expect(&format!("R.SET k d CONTEXT {context}"), &Reply::Integer(1));
    let request = last(&c);
    assert_eq!(request.context, Some(seen(7).context));
    assert_eq!(
        request.floor,
        seen(7),
        "the coordinator fetches what it lacks"
    );
    c.expect("GET k", &Reply::text("d"));
    c.expect(&format!("R.DEL k CONTEXT {context}"), &Reply::Integer(1));
    assert_eq!(last(&c).context, Some(seen(7).context));
}

#[test]
fn a_write_by_time_comes_above_what_was_read() {
    let mut c = store(ConflictPolicy::Lamport);
    c.fake.state().seen = seen(7);
    let (_, _, context) = fields(&mut c, "R.GET k");
    c.expect(&format!("R.SET k d CONTEXT {context}"), &Reply::Integer(1));
    let floor = last(&c).floor;
    assert_eq!((floor.time, floor.context.is_empty()), (Timestamp(7), true));
}

#[test]
fn a_context_is_what_a_read_has_answered() {
    let mut c = store(ConflictPolicy::Siblings);
    let context = fields(&mut c, "R.GET k").2;
    for line in [
        format!("R.SET k v CONTEXT {context}AAAA"),
        "R.SET k v CONTEXT nonsense".into(),
        "R.SET k v LEVEL ONE".into(),
        "R.PUT k v CONTEXT AAAA".into(),
        format!("R.GET k CONTEXT {context}"),
    ] {
        assert!(c.error(&line).starts_with("ERR "), "{line}");
    }
    assert!(c.fake.state().values.is_empty());
}

#[test]
fn a_level_is_chosen_for_the_connection_or_a_command() {
    let mut c = Connection::new();
    c.expect("R.LEVEL", &Reply::Simple("QUORUM"));
    c.run("GET k");
    assert_eq!(last(&c).level, Level::Quorum);
    c.expect("R.LEVEL one", &Reply::OK);
    for line in [
        "GET k", "SET k v", "DEL k", "INCR n", "SADD s a", "SREM s a", "SCARD s", "TYPE k",
    ] {
        c.fake.state().submitted.clear();
        c.run(line);
        let state = c.fake.state();
        assert!(
            state.submitted.iter().all(|r| r.level == Level::One),
            "{line}"
        );
    }
    c.run("R.GET k LEVEL LINEARIZABLE TIMEOUT 250");
    assert_eq!(
        (last(&c).level, last(&c).timeout_ms),
        (Level::Linearizable, Some(250))
    );
    c.run("R.PUT k v LEVEL ALL");
    assert_eq!(last(&c).level, Level::All);
    c.run("R.DEL k");
    assert_eq!(last(&c).level, Level::One);
    assert_eq!(
        c.error("R.LEVEL TWO"),
        "ERR the levels are ONE, QUORUM, ALL and LINEARIZABLE"
    );
    c.expect("RESET", &Reply::Simple("RESET"));
    c.expect("R.LEVEL", &Reply::Simple("QUORUM"));
}

#[test]
fn a_session_asks_for_what_it_has_seen() {
    let mut c = Connection::new();
    c.expect("R.SESSION", &Reply::Simple("OFF"));
    c.fake.state().seen = seen(3);
    c.run("SET k v");
    c.expect("R.SESSION ON", &Reply::OK);
    c.run("GET k");
    assert!(last(&c).floor.is_bottom(), "a session begins with nothing");
    c.run("SET k v");
    c.fake.state().seen = seen(5);
    c.run("GET k");
    assert_eq!(last(&c).floor.context, seen(3).context);
    c.run("GET k");
    assert!(last(&c).floor.context.includes(&seen(5).context));
    c.run("R.GET k");
    assert!(last(&c).floor.context.includes(&seen(5).context));
    c.run("SCARD k2");
    assert!(
        last(&c).floor.context.is_empty(),
        "spaces do not share events"
    );
    c.expect("R.SESSION OFF", &Reply::OK);
    c.run("GET k");
    assert!(last(&c).floor.is_bottom());
}

#[test]
fn a_token_carries_a_session_to_another_connection() {
    let mut first = Connection::new();
    assert_eq!(
        first.error("R.SESSION TOKEN"),
        "ERR there is no session: R.SESSION ON starts one"
    );
    first.run("R.SESSION ON");
    first.fake.state().seen = seen(9);
    first.run("SET k v");
    first.run("SADD s a");
    let Reply::Bulk(token) = first.run("R.SESSION TOKEN") else {
        panic!("a token")
    };
    let token = String::from_utf8(token.to_vec()).expect("text");
    let mut second = Connection::new();
    second.expect(&format!("R.SESSION TOKEN {token}"), &Reply::OK);
    second.expect("R.SESSION", &Reply::Simple("ON"));
    second.run("GET k");
    assert_eq!(last(&second).floor.context, seen(9).context);
    second.run("SMEMBERS s");
    assert_eq!(last(&second).floor.context, seen(9).context);
    for line in [
        "R.SESSION TOKEN nonsense",
        "R.SESSION TOKEN a.b",
        "R.SESSION x",
        "R.SESSION ON x",
    ] {
        assert!(second.error(line).starts_with("ERR "), "{line}");
    }
}

#[test]
fn the_token_has_the_commands_that_were_sent_before_it() {
    let mut c = Connection::new();
    c.run("R.SESSION ON");
    let Reply::Bulk(empty) = c.run("R.SESSION TOKEN") else {
        panic!("a token")
    };
    c.fake.state().seen = seen(9);
    c.fake.state().holding = true;
    let Started::Waiting(mut write) = c.start("SET k v") else {
        panic!("a write waits")
    };
    let Started::Waiting(mut token) = c.start("R.SESSION TOKEN") else {
        panic!("the token waits for the write")
    };
    assert!(c.fake.release());
    // As the connection does: in order.
    assert_eq!(ready(&mut write), Reply::OK);
    let Reply::Bulk(token) = ready(&mut token) else {
        panic!("a token")
    };
    assert_ne!(token, empty);
}

#[test]
fn a_session_that_has_seen_too_much_says_so_before_it_does_anything() {
    let mut c = Connection::new();
    c.run("R.SESSION ON");
    // Every other event: a range for each.
    let dots = (0..20_000).map(|n| Dot::new(ReplicaId(1), 2 * n + 1));
    c.fake.state().seen.context = dots.collect();
    c.run("GET k");
    c.fake.state().submitted.clear();
    for line in ["GET k", "SET k v", "DEL k", "INCR n", "R.PUT k v"] {
        assert!(c.error(line).starts_with("SESSIONFULL "), "{line}");
    }
    assert!(c.fake.state().submitted.is_empty());
    c.fake.state().seen = seen(1);
    c.run("R.SESSION ON");
    c.expect("GET k", &Reply::Null);
}

#[test]
fn a_key_is_explained() {
    let mut c = Connection::new();
    c.run("SET k v");
    let Reply::Bulk(text) = c.run("R.EXPLAIN k") else {
        panic!("a text")
    };
    assert!(String::from_utf8_lossy(&text).contains("string: true"));
}

#[test]
fn a_value_that_is_put_replaces_another_type() {
    let mut c = Connection::new();
    c.run("SADD k a");
    c.expect("R.PUT k v", &Reply::Integer(1));
    assert!(c.fake.state().records.is_empty());
    c.expect("GET k", &Reply::text("v"));
}

#[test]
fn the_family_is_found_by_clients() {
    let mut c = Connection::new();
    for spec in table::all().filter(|spec| spec.name.starts_with("R.")) {
        let Reply::Map(docs) = c.run(&format!("COMMAND DOCS {}", spec.name)) else {
            panic!("a map")
        };
        let [(name, Reply::Map(fields))] = &docs[..] else {
            panic!("one command")
        };
        assert_eq!(*name, Reply::text(spec.name.to_lowercase()));
        assert!(fields.contains(&(Reply::text("syntax"), Reply::text(spec.syntax))));
        assert!(fields.contains(&(Reply::text("group"), Reply::text("replicad"))));
    }
}
