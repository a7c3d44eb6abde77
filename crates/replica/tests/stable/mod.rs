//! What a session's token leaves out: only what each owner that serves knows, then and later.

use bytes::Bytes;
use crdt::CausalContext;
use replica::{Command, Guarantees, Level, PartitionId, Placement, Request, RequestError, Session};

use crate::support::{Bench, put};
use crate::{A, B, C, D, E};

const K: &str = "k";
const P: PartitionId = PartitionId(0);

/// A session with a partition that all of so many nodes own.
fn session(nodes: u32) -> Session {
    Session::new(Placement::new(nodes, nodes, 1), Guarantees::default())
}

/// A session's read at a node, which has 10 ms to answer.
fn read(bench: &mut Bench, session: &Session, node: u32) -> u64 {
    let get = Command::get(Bytes::from_static(K.as_bytes()));
    bench.ask(node, session.request(get, Level::One).within(10))
}

/// The session takes note of what an operation has seen.
fn note(bench: &Bench, session: &mut Session, request: u64) {
    let Some(Ok(outcome)) = bench.reply(request) else {
        panic!("the reply is {:?}", bench.reply(request));
    };
    session.note(K.as_bytes(), outcome).expect("small");
}

/// What a session's reads ask for.
fn asked(session: &Session) -> CausalContext {
    session.floor_of_reads(K.as_bytes()).context
}

fn stable(bench: &Bench, node: u32) -> &CausalContext {
    bench.node(node).stable()
}

#[test]
fn a_token_asks_for_what_one_owner_lacks_and_for_nothing_else() {
    let (mut bench, mut session) = (Bench::new(3, |_| ()), session(3));
    let write = bench.put_at(A, K, "old", Level::One);
    note(&bench, &mut session, write);
    assert_eq!(asked(&session).event_count(), 1, "nobody else has it");
    bench.settle();
    let found = read(&mut bench, &session, A);
    note(&bench, &mut session, found);
    assert!(asked(&session).is_empty());
    // The next comes to B alone.
    let write = bench.put_at(A, K, "new", Level::One);
    bench.run(|f| f.goes(A, B));
    bench.lose_all();
    note(&bench, &mut session, write);
    bench.talk(&[A, B]);
    for node in [A, B] {
        let found = read(&mut bench, &session, node);
        note(&bench, &mut session, found);
        let newest = bench.live(A, K).expect("A has it");
        assert_eq!(asked(&session), [newest].into_iter().collect(), "at {node}");
    }
    let stale = read(&mut bench, &session, C);
    bench.lose_all();
    bench.pass(C, 10);
    assert!(matches!(
        bench.failure(stale),
        RequestError::SessionUnmet { missing: 1, .. }
    ));
}

/// B comes back among C, D and E without the event, while A is cut off from it; then they get the event, and tell A that
/// they have it. A still remembers that the old B had it.
#[test]
fn an_incarnation_that_came_back_unheard_of_is_not_taken_for_the_one_before() {
    let (mut bench, mut session) = (Bench::new(5, |_| ()), session(5));
    let write = bench.put_at(A, K, "v", Level::One);
    note(&bench, &mut session, write);
    bench.run(|f| f.goes(A, B));
    bench.lose_all();
    bench.talk(&[A, B]);
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert!(bench.is_up(B), "C, D and E suffice");
    assert_eq!(bench.shows(B, K), None, "and none of them has it");
    bench.talk(&[A, C, D, E]);
    assert!([A, C, D, E].iter().all(|n| bench.shows(*n, K) == Some("v")));
    for node in [A, C, D, E] {
        let found = read(&mut bench, &session, node);
        note(&bench, &mut session, found);
        assert_eq!(asked(&session).event_count(), 1, "at {node}: B lacks it");
    }
    let stale = read(&mut bench, &session, B);
    bench.lose_all();
    bench.pass(B, 10);
    assert!(matches!(
        bench.failure(stale),
        RequestError::SessionUnmet { missing: 1, .. }
    ));
    bench.settle();
    let found = read(&mut bench, &session, A);
    note(&bench, &mut session, found);
    assert!(asked(&session).is_empty(), "now B has it too");
    let found = read(&mut bench, &session, B);
    assert_eq!(bench.read(found), Some("v"), "alone, and at once");
}

/// What was pruned is known to whoever comes back, also where the one that pruned it is gone.
#[test]
fn who_comes_back_after_the_prune_covers_what_was_pruned() {
    let (mut bench, mut session) = (Bench::new(5, |_| ()), session(5));
    let write = bench.put(A, K, "v");
    bench.settle();
    note(&bench, &mut session, write);
    let found = read(&mut bench, &session, A);
    note(&bench, &mut session, found);
    assert!(asked(&session).is_empty());
    for (lost, others) in [(E, [B, C, D, E]), (D, [B, C, D, E]), (A, [A, B, C, D])] {
        bench.lose_data(lost);
        assert!(stable(&bench, lost).is_empty());
        bench.talk(&others);
        assert!(bench.is_up(lost));
        let found = read(&mut bench, &session, lost);
        assert_eq!(bench.read(found), Some("v"), "at {lost}");
    }
}

/// Closing counts all that a dead writer could have written as known. What is lost is not stable by that.
#[test]
fn what_is_lost_stays_in_the_token_until_the_session_gives_it_up() {
    let (mut bench, mut session) = (Bench::new(3, |_| ()), session(3));
    let kept = bench.put(C, K, "kept");
    bench.run(|_| true);
    note(&bench, &mut session, kept);
    let lost = bench.ask(C, Request::new(put(K, "lost"), Level::One));
    note(&bench, &mut session, lost);
    let event = bench.live(C, K).expect("C has it");
    bench.lose_all();
    bench.lose_data(C);
    bench.settle();
    bench.settle();
    for node in [A, B, C] {
        let replica = bench.node(node).replica();
        assert!(replica.closed().contains(event.replica), "at {node}");
        assert!(replica.knowledge().base().contains(event), "as if known");
        assert!(!stable(&bench, node).contains(event), "at {node}");
        assert!(!stable(&bench, node).is_empty(), "what was kept is");
        session.token_mut().prune(P, stable(&bench, node));
        let refused = read(&mut bench, &session, node);
        assert!(matches!(
            bench.failure(refused),
            RequestError::SessionLost { .. }
        ));
    }
    let refused = read(&mut bench, &session, A);
    let RequestError::SessionLost { partition, lost } = bench.failure(refused).clone() else {
        unreachable!("as before");
    };
    session.token_mut().prune(partition, &lost);
    let found = read(&mut bench, &session, B);
    assert_eq!(bench.read(found), Some("kept"));
}

/// That no other owner lacks an event says nothing where there is none.
#[test]
fn with_one_owner_nothing_is_stable() {
    let mut bench = Bench::new(3, |config| *config = config.clone().with_owners(1));
    let owner = bench.owners()[0];
    bench.write_one(owner, K, Some("v"));
    bench.tick(owner);
    assert!(stable(&bench, owner).is_empty());
}
