//! The password.

use super::*;
use crate::password::{Password, hash};
use std::sync::OnceLock;

/// The password "secret". Hashing takes a while: once for all tests.
fn password() -> Password {
    static HASH: OnceLock<String> = OnceLock::new();
    let hash = HASH.get_or_init(|| hash(b"secret").expect("a hash"));
    Password::from_hash(hash).expect("a hash")
}

fn guarded() -> Connection {
    Connection::guarded(Limits::default(), Some(password()))
}

/// The reply to a command that checks a password, which takes a thread of its own.
fn run(c: &mut Connection, line: &str) -> Reply {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime");
    let Started::Resumed(check) = c.start(line) else {
        panic!("{line} checks nothing")
    };
    let resume = runtime.block_on(check);
    match resume(&mut c.session) {
        Started::Ready(reply) => reply,
        _ => panic!("the reply is known"),
    }
}

#[test]
fn nothing_is_done_for_a_client_without_the_password() {
    let mut c = guarded();
    c.put("k", "v");
    let open = ["AUTH", "HELLO", "RESET", "QUIT"];
    let known = table::all().map(|spec| spec.name);
    let refused = refused::REFUSED.iter().flat_map(|refused| refused.names);
    for name in known.chain(refused.copied()).chain(["NONSENSE"]) {
        if !open.contains(&name) {
            assert_eq!(c.error(name), "NOAUTH Authentication required.", "{name}");
            assert_eq!(
                c.error(&format!("{name} k v")),
                "NOAUTH Authentication required."
            );
        }
    }
    assert!(
        c.error("HELLO 3")
            .starts_with("NOAUTH HELLO must be called")
    );
    assert_eq!(too_long(&c.session, &Refusal::Frame), auth::required());
    assert!(c.fake.state().submitted.is_empty());
    assert_eq!(c.session.protocol(), Protocol::Resp2);
}

#[test]
fn the_password_opens_the_connection_until_it_is_reset() {
    for line in ["AUTH secret", "AUTH default secret", "auth secret"] {
        let mut c = guarded();
        for wrong in ["AUTH wrong", "AUTH other secret", "AUTH default wrong"] {
            let error = "WRONGPASS invalid username-password pair or user is disabled.";
            assert_eq!(run(&mut c, wrong), Reply::Error(error.into()));
            assert!(c.error("GET k").starts_with("NOAUTH "));
        }
        assert_eq!(run(&mut c, line), Reply::OK);
        c.expect("GET k", &Reply::Null);
        c.expect("RESET", &Reply::Simple("RESET"));
        assert!(c.error("GET k").starts_with("NOAUTH "));
    }
}

#[test]
fn hello_names_the_password_or_changes_nothing() {
    let mut c = guarded();
    let refused = run(&mut c, "HELLO 3 AUTH default wrong SETNAME me");
    assert!(matches!(&refused, Reply::Error(text) if text.starts_with("WRONGPASS ")));
    assert_eq!(c.session.protocol(), Protocol::Resp2);
    assert!(c.error("CLIENT GETNAME").starts_with("NOAUTH "));
    let Reply::Map(_) = run(&mut c, "HELLO 3 AUTH default secret SETNAME me") else {
        panic!("HELLO greets")
    };
    assert_eq!(c.session.protocol(), Protocol::Resp3);
    c.expect("CLIENT GETNAME", &Reply::text("me"));
}

#[test]
fn where_there_is_no_password_naming_one_is_a_mistake_as_in_redis() {
    let mut c = Connection::new();
    assert!(
        c.error("AUTH secret")
            .contains("without any password configured")
    );
    c.expect("AUTH default anything", &Reply::OK);
    assert!(c.error("AUTH other anything").starts_with("WRONGPASS "));
    assert_eq!(
        c.error("AUTH a b c"),
        "ERR wrong number of arguments for 'auth' command"
    );
    assert_eq!(
        c.error("HELLO 3 AUTH default"),
        "ERR syntax error in HELLO option 'AUTH'"
    );
}
