//! How do I build a store for many clients that stays available, and in which nobody sees a reply
//! before the message it answers?
//!
//! Twelve nodes, each key on three of them. One owner answers each request. What a session has seen is
//! its token, which travels as bytes from one client to the next.
//!
//! ```text
//! cargo run -p replica --example causal
//! ```

use replica::{CausalStore, ClockKind, Cluster, RequestError, SessionError, Token};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let drift_bound_ms = 60_000;
    let cluster = Cluster::builder(12).configure(|config| {
        config.clock = ClockKind::Hybrid { drift_bound_ms };
        config.partitions = 48;
        *config = config.clone().with_owners(3);
        // A session waits for what it has seen no longer than this.
        config.request_timeout_ms = 300;
    });
    let store = CausalStore::from(cluster.build()?);

    // Ann asks, Bob has read that and answers, each through a node of their own.
    let mut ann = store.session();
    ann.put(&store.node(1), "question", "where shall we meet?")?;
    let note: Vec<u8> = ann.token().to_bytes();
    let mut bob = store.resume(Token::from_bytes(&note)?);
    let question = bob.get(&store.node(7), "question")?;
    assert_eq!(question.as_deref(), Some(&b"where shall we meet?"[..]));
    bob.put(&store.node(7), "answer", "at the harbour")?;

    // Bob's token covers what Ann wrote too. Whoever goes on from it sees both, through any node.
    let note = bob.token().to_bytes();
    let mut eve = store.resume(Token::from_bytes(&note)?);
    for number in 1..=12 {
        let answer = eve.get(&store.node(number), "answer")?;
        assert_eq!(answer.as_deref(), Some(&b"at the harbour"[..]));
        assert!(eve.get(&store.node(number), "question")?.is_some());
    }

    // An owner fails and loses its data: the session goes on through the others.
    store
        .cluster()
        .wait_until_settled(Duration::from_secs(10))?;
    let placement = store.cluster().placement();
    let owners = placement.owners(placement.partition_of(b"answer"));
    let (failed, up) = (owners[0], &owners[1..]);
    store.cluster().fail(failed);
    let (one, other) = (store.node(up[0].0), store.node(up[1].0));
    assert!(eve.get(&one, "answer")?.is_some());

    // The two that are left lose sight of each other. Eve writes on one side. Someone who has seen
    // nothing is served the old answer on the other; Eve is not sent back in time, and is told so.
    store.cluster().partition(&up[..1], &up[1..]);
    eve.put(&one, "answer", "at the station")?;
    let stale = store.session().get(&other, "answer")?;
    assert_eq!(stale.as_deref(), Some(&b"at the harbour"[..]));
    let refused = eve.get(&other, "answer");
    assert!(matches!(
        refused,
        Err(SessionError::Request(RequestError::SessionUnmet { .. }))
    ));
    store.cluster().heal();
    let answer = eve.get(&other, "answer")?;
    assert_eq!(answer.as_deref(), Some(&b"at the station"[..]));
    Ok(())
}
