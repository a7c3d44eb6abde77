mod access;
mod extensions;
mod types;

use super::*;
use crate::fake::Fake;
use crate::limits::Limits;
use crate::store::{Operation, StoreRequest};
use replica::{NodeId, PartitionId, RequestError};
use std::collections::BTreeSet;
use std::task::{Context, Waker};

struct Connection {
    fake: Arc<Fake>,
    session: Session,
}

impl Connection {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        Self::guarded(limits, None)
    }

    fn guarded(limits: Limits, password: Option<Password>) -> Self {
        let fake = Arc::new(Fake::new(limits));
        let shared = Shared::new(Arc::clone(&fake) as Arc<dyn Backend>, password);
        Self {
            fake,
            session: Session::new(Arc::new(shared)),
        }
    }

    fn filled(keys: usize) -> Self {
        let connection = Self::new();
        for key in 0..keys {
            connection.put(format!("k{key:04}"), "v");
        }
        connection
    }

    fn put(&self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.fake.state().values.insert(key.into(), value.into());
    }

    fn start(&mut self, line: &str) -> Started {
        let words: Vec<_> = line
            .split(' ')
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect();
        start(&mut self.session, &words)
    }

    /// The reply to a command that the fake answers at once.
    fn run(&mut self, line: &str) -> Reply {
        let mut started = self.start(line);
        loop {
            match started {
                Started::Ready(reply) | Started::Last(reply) => return reply,
                Started::Waiting(mut reply) => return ready(&mut reply),
                Started::Held(mut rest) => started = ready(&mut rest),
                Started::Resumed(mut rest) => started = ready(&mut rest)(&mut self.session),
            }
        }
    }

    fn error(&mut self, line: &str) -> String {
        match self.run(line) {
            Reply::Error(message) => message,
            other => panic!("{line} is not refused: {other:?}"),
        }
    }

    fn expect(&mut self, line: &str, reply: &Reply) {
        assert_eq!(&self.run(line), reply, "{line}");
    }
}

fn poll<T>(future: &mut BoxFuture<T>) -> Option<T> {
    match future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()))
    {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

fn ready<T>(future: &mut BoxFuture<T>) -> T {
    poll(future).expect("the fake answers at once")
}

#[test]
fn values_are_written_read_and_deleted() {
    let mut c = Connection::new();
    c.expect("GET a", &Reply::Null);
    c.expect("set a 1", &Reply::OK);
    c.expect("GET a", &Reply::text("1"));
    c.expect("MSET b 2 c 3", &Reply::OK);
    c.expect(
        "MGET c x a c",
        &Reply::Array(vec![
            Reply::text("3"),
            Reply::Null,
            Reply::text("1"),
            Reply::text("3"),
        ]),
    );
    c.expect("EXISTS a a x b", &Reply::Integer(3));
    c.expect("DEL a a x", &Reply::Integer(1));
    c.expect("EXISTS a", &Reply::Integer(0));
}

#[test]
fn absent_keys_are_deleted_too() {
    let mut c = Connection::new();
    c.expect("DEL a", &Reply::Integer(0));
    let key = Bytes::from("a");
    let expected = [Operation::Get, Operation::Look, Operation::delete()]
        .map(|operation| StoreRequest::new(key.clone(), operation));
    assert_eq!(c.fake.state().submitted, expected);
}

#[test]
fn deletions_are_submitted_once_every_read_is_answered() {
    let mut c = Connection::new();
    c.put("a", "1");
    c.fake.state().holding = true;
    let Started::Held(mut held) = c.start("DEL a b") else {
        panic!("DEL holds the pipeline")
    };
    assert!(poll(&mut held).is_none());
    for _ in 0..3 {
        assert!(c.fake.release());
        assert!(poll(&mut held).is_none());
        assert_eq!(c.fake.state().submitted.len(), 4, "two reads of each key");
    }
    assert!(c.fake.release());
    let Some(Started::Waiting(mut reply)) = poll(&mut held) else {
        panic!("the deletions are under way")
    };
    assert_eq!(c.fake.state().submitted.len(), 6);
    while c.fake.release() {}
    assert_eq!(ready(&mut reply), Reply::Integer(1));
}

#[test]
fn a_failed_read_deletes_nothing() {
    let mut c = Connection::new();
    c.put("a", "1");
    c.fake
        .state()
        .failures
        .insert(b'b', RequestError::NodeFailed(NodeId(1)));
    let error = c.error("DEL a b");
    assert!(error.starts_with("NODEFAILED "), "{error}");
    c.expect("GET a", &Reply::text("1"));
}

#[test]
fn several_keys_are_submitted_before_the_first_answer() {
    for (line, submitted) in [("MGET a b c", 6), ("EXISTS a a", 4), ("MSET a 1 b 2", 2)] {
        let mut c = Connection::new();
        c.fake.state().holding = true;
        assert!(matches!(c.start(line), Started::Waiting(_)));
        assert_eq!(c.fake.state().submitted.len(), submitted, "{line}");
    }
}

#[test]
fn mset_says_how_many_keys_were_written() {
    let mut c = Connection::new();
    let error = RequestError::NoMajority {
        acknowledged: 1,
        needed: 2,
        may_take_effect: true,
    };
    c.fake.state().failures.insert(b'x', error);
    assert_eq!(
        c.error("MSET a 1 x 2 b 3"),
        "NOREPLICAS no majority: 1 of the 2 needed nodes answered; the write may still take effect \
         (2 of 3 keys written)"
    );
}

#[test]
fn every_failure_has_a_code_of_its_own() {
    let node = NodeId(2);
    for (error, code) in [
        (
            RequestError::Deadline {
                answered: 1,
                needed: 2,
                may_take_effect: true,
            },
            "DEADLINE the deadline has passed: 1 of the 2 needed nodes answered; the write may still take effect",
        ),
        (
            RequestError::NodeFailed(node),
            "NODEFAILED node 2 has failed",
        ),
        (
            RequestError::Recovering {
                node,
                reconciled: 0,
                needed: 2,
            },
            "LOADING node 2 is",
        ),
        (
            RequestError::StorageFailed {
                node,
                cause: "full".into(),
            },
            "STORAGEFAILED storage",
        ),
        (
            RequestError::Overloaded {
                pending: 5,
                limit: 5,
            },
            "TRYAGAIN 5 requests",
        ),
        (
            RequestError::TooMuchWaiting {
                waiting: 9,
                limit: 5,
            },
            "TRYAGAIN 9 bytes of values",
        ),
        (
            RequestError::KeyTooLarge { size: 5, limit: 4 },
            "ERR key of 5",
        ),
        (
            RequestError::SessionLost {
                partition: PartitionId(3),
                lost: Box::default(),
            },
            "SESSIONLOST the session has seen",
        ),
        (
            RequestError::ClockExhausted {
                may_take_effect: false,
            },
            "CLOCKAHEAD the node's clock",
        ),
        (
            RequestError::TimestampAhead {
                ahead_ms: 70_000,
                bound_ms: 60_000,
                may_take_effect: false,
            },
            "CLOCKAHEAD the key's timestamp is 70000 ms ahead",
        ),
    ] {
        let word = code.split(' ').next().unwrap_or(code);
        assert!(
            DOCS.contains(&format!("| `{word}` |")),
            "docs/commands.md lacks {word}"
        );
        let mut c = Connection::new();
        c.fake.state().failures.insert(b'k', error);
        for line in [
            "GET k", "SET k v", "DEL k", "MGET k", "EXISTS k", "MSET k v",
        ] {
            let message = c.error(line);
            assert!(message.starts_with(code), "{line}: {message}");
        }
    }
}

#[test]
fn a_node_that_stops_is_reported() {
    let mut c = Connection::new();
    c.fake.state().holding = true;
    let Started::Waiting(mut reply) = c.start("GET a") else {
        panic!("a read waits")
    };
    c.fake.state().held.clear();
    let Reply::Error(message) = ready(&mut reply) else {
        panic!("the read fails")
    };
    assert!(
        message.starts_with("NODEFAILED the node stopped"),
        "{message}"
    );
}

#[test]
fn what_is_not_supported_is_refused_with_a_reason() {
    let mut c = Connection::new();
    for (line, expected) in [
        (
            "FOO a b",
            "ERR unknown command 'FOO', with args beginning with: 'a' 'b'",
        ),
        (
            "set a 1 ex 10",
            "ERR SET EX is not supported: keys do not expire: nodes whose clocks differ would not agree \
             on what is gone",
        ),
        ("SET a 1 FOO", "ERR syntax error: SET takes no FOO"),
        (
            "rename a b",
            "ERR RENAME is not supported: it changes two keys in one step, and each key is replicated by \
             itself",
        ),
        ("SELECT 1", "ERR only database 0 exists"),
        ("get", "ERR wrong number of arguments for 'get' command"),
        ("GET a b", "ERR wrong number of arguments for 'get' command"),
        (
            "MSET a 1 b",
            "ERR wrong number of arguments for 'mset' command",
        ),
        (
            "PING a b",
            "ERR wrong number of arguments for 'ping' command",
        ),
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        (
            "HELLO x",
            "ERR Protocol version is not an integer or out of range",
        ),
        (
            "HELLO 3 SETNAME",
            "ERR syntax error in HELLO option 'SETNAME'",
        ),
        (
            "CLIENT FOO 1",
            "ERR unknown or unsupported subcommand 'FOO' of CLIENT",
        ),
        (
            "CLIENT ID x",
            "ERR wrong number of arguments for 'client|id' command",
        ),
        ("CLIENT SETINFO x y", "ERR unrecognized option 'x'"),
        (
            "CONFIG SET a b",
            "ERR CONFIG SET is not supported: nodes are administered on the command line of their \
             machine, not by clients",
        ),
        (
            "COMMAND GETKEYS a",
            "ERR unknown or unsupported subcommand 'GETKEYS' of COMMAND",
        ),
        (
            "REPLICAD FOO",
            "ERR unknown or unsupported subcommand 'FOO' of REPLICAD",
        ),
        ("REPLICAD FAIL x", "ERR 'x' is not the number of a node"),
        ("REPLICAD RECOVER 1 x", "ERR unknown option 'x' of RECOVER"),
        ("SCAN x", "ERR invalid cursor"),
        (
            "SCAN 0 COUNT x",
            "ERR value is not an integer or out of range",
        ),
        ("SCAN 0 COUNT 0", "ERR syntax error"),
        ("SCAN 0 MATCH", "ERR syntax error"),
        ("SCAN 0 FOO x", "ERR SCAN option is not supported: FOO"),
    ] {
        assert_eq!(c.error(line), expected, "{line}");
    }
    c.expect("PING", &Reply::Simple("PONG"));
    assert_eq!(c.session.protocol(), Protocol::Resp2);
}

#[test]
fn keys_and_values_over_their_limits_are_told_apart() {
    let mut c = Connection::with(Limits {
        max_key_bytes: 3,
        max_value_bytes: 5,
        ..Limits::default()
    });
    assert_eq!(
        c.error("GET long"),
        "ERR key of 4 bytes is over the limit of 3"
    );
    assert_eq!(
        c.error("MSET abc 12345 long 1"),
        "ERR key of 4 bytes is over the limit of 3"
    );
    assert_eq!(
        c.error("SET a 123456"),
        "ERR value of 6 bytes is over the limit of 5"
    );
    c.expect("SET abc 12345", &Reply::OK);
    let refusal = |name: &str, index| {
        let name = Bytes::copy_from_slice(name.as_bytes());
        too_long(
            &c.session,
            &Refusal::Argument {
                name,
                index,
                size: 9,
            },
        )
    };
    assert_eq!(
        refusal("set", 1),
        Reply::error("key of 9 bytes is over the limit of 3")
    );
    assert_eq!(
        refusal("set", 2),
        Reply::error("value of 9 bytes is over the limit of 5")
    );
    assert_eq!(
        refusal("", 0),
        Reply::error("unknown command with a name of 9 bytes")
    );
    assert_eq!(
        too_long(&c.session, &Refusal::Frame),
        Reply::error("command is over the limit of 67108864 bytes and 100000 arguments")
    );
}

#[test]
fn a_reply_over_its_limit_is_refused() {
    let mut c = Connection::with(Limits {
        max_reply_bytes: 5,
        ..Limits::default()
    });
    c.put("a", "123");
    c.expect("MGET a", &Reply::Array(vec![Reply::text("123")]));
    assert_eq!(
        c.error("MGET a a"),
        "ERR the values are over the limit of 5 bytes for one reply; ask for fewer keys"
    );
}

#[test]
fn the_connection_remembers_what_it_negotiated() {
    let mut c = Connection::new();
    c.expect("ECHO hi", &Reply::text("hi"));
    c.expect("PING hi", &Reply::text("hi"));
    c.expect("CLIENT GETNAME", &Reply::Null);
    c.expect("CLIENT SETINFO LIB-NAME redis-py", &Reply::OK);
    c.expect("CLIENT SETINFO lib-ver 5.0", &Reply::OK);
    let Reply::Map(greeting) = c.run("HELLO 3 SETNAME me") else {
        panic!("HELLO greets")
    };
    assert!(greeting.contains(&(Reply::text("proto"), Reply::Integer(3))));
    assert_eq!(c.session.protocol(), Protocol::Resp3);
    c.expect("CLIENT GETNAME", &Reply::text("me"));
    c.expect("SELECT 0", &Reply::OK);
    c.expect("CLIENT ID", &Reply::Integer(1));
    let other = Session::new(Arc::clone(&c.session.shared));
    assert_eq!(other.id, 2);
    c.expect("RESET", &Reply::Simple("RESET"));
    assert_eq!(c.session.protocol(), Protocol::Resp2);
    c.expect("CLIENT GETNAME", &Reply::Null);
    assert!(matches!(
        c.start("QUIT"),
        Started::Last(Reply::Simple("OK"))
    ));
}

/// Scans to the end; a key per entry, as often as it was returned.
fn scan_all(c: &mut Connection, options: &str) -> Vec<String> {
    let mut cursor = "0".to_owned();
    let mut keys = Vec::new();
    loop {
        let Reply::Array(mut page) = c.run(&format!("SCAN {cursor}{options}")) else {
            panic!("SCAN answers a page")
        };
        let (Some(Reply::Array(items)), Some(Reply::Bulk(next))) = (page.pop(), page.pop()) else {
            panic!("a page is a cursor and keys")
        };
        keys.extend(items.into_iter().map(|item| match item {
            Reply::Bulk(key) => String::from_utf8_lossy(&key).into_owned(),
            other => panic!("not a key: {other:?}"),
        }));
        cursor = String::from_utf8_lossy(&next).into_owned();
        if cursor == "0" {
            return keys;
        }
    }
}

#[test]
fn a_scan_returns_every_key_once_in_order() {
    for count in [1, 7, 10, 25, 100] {
        let mut c = Connection::filled(100);
        let expected: Vec<_> = (0..100).map(|key| format!("k{key:04}")).collect();
        assert_eq!(scan_all(&mut c, &format!(" COUNT {count}")), expected);
        c.expect("DBSIZE", &Reply::Integer(100));
    }
}

#[test]
fn keys_there_for_the_whole_scan_are_returned_once_whatever_else_changes() {
    let mut c = Connection::filled(200);
    let mut seen = Vec::new();
    let mut cursor = "0".to_owned();
    for round in 0.. {
        let Reply::Array(page) = c.run(&format!("SCAN {cursor} COUNT 9")) else {
            panic!("SCAN answers a page")
        };
        let [Reply::Bulk(next), Reply::Array(items)] = &page[..] else {
            panic!("a page")
        };
        seen.extend(items.clone());
        cursor = String::from_utf8_lossy(next).into_owned();
        if cursor == "0" {
            break;
        }
        // Also the very key at which the scan stands.
        if let Some(Reply::Bulk(last)) = items.last() {
            c.fake.state().values.remove(last);
        }
        c.put(format!("a{round}"), "new");
        c.put(format!("z{round:04}"), "new");
    }
    let unique: BTreeSet<_> = seen.iter().map(|key| format!("{key:?}")).collect();
    assert_eq!(unique.len(), seen.len());
    for key in 0..200 {
        assert!(
            seen.contains(&Reply::text(format!("k{key:04}"))),
            "k{key:04}"
        );
    }
}

#[test]
fn a_scan_filters_by_pattern_and_type() {
    let mut c = Connection::filled(100);
    assert_eq!(scan_all(&mut c, " MATCH k000[12]"), ["k0001", "k0002"]);
    assert_eq!(scan_all(&mut c, " TYPE string").len(), 100);
    assert!(scan_all(&mut c, " TYPE hash").is_empty());
}

#[test]
fn an_unknown_cursor_is_refused() {
    let mut c = Connection::filled(10);
    let error = c.error("SCAN 12345");
    assert!(error.starts_with("ERR invalid cursor") && error.contains("start again from 0"));
}

#[test]
fn clients_find_the_settings_they_ask_for() {
    let mut c = Connection::new();
    c.expect(
        "CONFIG GET save",
        &Reply::Map(vec![(Reply::text("save"), Reply::text(""))]),
    );
    let appendonly = Reply::Map(vec![(Reply::text("appendonly"), Reply::text("yes"))]);
    c.expect("CONFIG GET APPENDONLY", &appendonly);
    c.expect("CONFIG GET nonsense", &Reply::Map(vec![]));
    let Reply::Map(all) = c.run("CONFIG GET *") else {
        panic!("a map")
    };
    assert!(all.len() > 5);
}

#[test]
fn the_commands_are_described() {
    let mut c = Connection::new();
    let total = table::all().count();
    c.expect("COMMAND COUNT", &Reply::count(total));
    let Reply::Array(all) = c.run("COMMAND") else {
        panic!("a list")
    };
    assert_eq!(all.len(), total);
    let Reply::Array(some) = c.run("COMMAND INFO MSET nonsense") else {
        panic!("a list")
    };
    assert_eq!(some[1], Reply::Null);
    let Reply::Array(mset) = &some[0] else {
        panic!("a description")
    };
    assert_eq!(mset.len(), 10);
    let keys = [Reply::Integer(1), Reply::Integer(-1), Reply::Integer(2)];
    assert_eq!((&mset[0], &mset[3..6]), (&Reply::text("mset"), &keys[..]));
    let Reply::Map(docs) = c.run("COMMAND DOCS get") else {
        panic!("a map")
    };
    assert_eq!(docs.len(), 1);
}

#[test]
fn info_has_sections() {
    let mut c = Connection::new();
    let Reply::Bulk(text) = c.run("INFO") else {
        panic!("a text")
    };
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("# Server\r\n") && text.contains("\r\n\r\n# Node\r\nnode:1\r\nstate:up"));
    c.expect(
        "INFO keyspace",
        &Reply::text("# Keyspace\r\ndb0:keys=0,expires=0,avg_ttl=0\r\n"),
    );
    c.expect("INFO nonsense", &Reply::text(""));
}

#[test]
fn nodes_are_failed_and_recovered() {
    let mut c = Connection::new();
    c.expect("REPLICAD FAIL 3", &Reply::OK);
    assert_eq!(c.error("REPLICAD FAIL 3"), "ERR node 3 has already failed");
    assert_eq!(
        c.error("REPLICAD FAIL 9"),
        "ERR there is no node 9; the nodes are 1 to 3"
    );
    assert_eq!(c.error("REPLICAD RECOVER 1"), "ERR node 1 has not failed");
    c.expect("REPLICAD FAIL 2", &Reply::OK);
    let error = c.error("REPLICAD RECOVER 3");
    assert!(
        error.contains("`replicad node recover 3 --accept-loss`"),
        "{error}"
    );
    c.expect("REPLICAD RECOVER 3 ACCEPT-LOSS", &Reply::OK);
    let Reply::Bulk(json) = c.run("REPLICAD STATUS") else {
        panic!("a text")
    };
    let status: crate::backend::ClusterStatus = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(status.nodes.len(), 3);
    assert_eq!(status.nodes[1].state.as_str(), "failed");
    assert!(String::from_utf8_lossy(&json).contains("\"state\":\"failed\""));
    assert_eq!(c.run("REPLICAD HELP"), c.run("replicad help"));
}

#[test]
fn the_table_is_consistent() {
    let names: BTreeSet<_> = table::all().map(|spec| spec.name).collect();
    assert_eq!(names.len(), table::all().count());
    for spec in table::all() {
        assert_eq!(spec.name, spec.name.to_uppercase());
        assert!(
            refused::command(spec.name.as_bytes()).is_none(),
            "{} is refused",
            spec.name
        );
        assert!(spec.arity != 0 && !spec.summary.is_empty());
        assert_eq!(spec.keys.first == 0, spec.keys.step == 0);
    }
}

const DOCS: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../docs/commands.md"
));

#[test]
fn every_command_is_documented() {
    for spec in table::all() {
        let written = format!("`{}`", spec.syntax.replace('|', "\\|"));
        assert!(DOCS.contains(&written), "docs/commands.md lacks {written}");
    }
}

#[test]
fn every_refusal_is_documented_with_its_reason() {
    for refused in refused::REFUSED {
        let names: Vec<_> = refused
            .names
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        let row = format!("| {} | {} |", names.join(" "), refused.reason);
        assert!(DOCS.contains(&row), "docs/commands.md lacks the row\n{row}");
    }
}

#[test]
fn what_is_refused_is_named_once() {
    let names: Vec<_> = refused::REFUSED.iter().flat_map(|r| r.names).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(names.len(), distinct.len());
    for name in names {
        assert_eq!(*name, &name.to_uppercase());
        let mut c = Connection::new();
        let line = match *name {
            // An option follows the words that the command has to have.
            option if option.starts_with("SET ") => option.replacen("SET ", "SET k v ", 1),
            other => format!("{other} x"),
        };
        let error = c.error(&line);
        assert!(
            error.starts_with(&format!("ERR {name} is not supported: ")),
            "{error}"
        );
    }
}
