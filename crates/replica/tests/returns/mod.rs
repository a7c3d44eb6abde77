//! The schedules of an enemy against nodes that come back with their disks, one of which was rolled back.

use bytes::Bytes;
use replica::{Config, RequestError, State};

use crate::support::Bench;
use crate::{A, B, C};

/// Nodes with disks that wait until others confirm what they have.
fn patient(nodes: u32, change: impl FnOnce(&mut Config)) -> Bench {
    let mut bench = Bench::new(nodes, |config| {
        (config.durable, config.restart_patience_ms) = (true, u64::MAX);
        change(config);
    });
    bench.settle();
    bench
}

fn restart(bench: &mut Bench, node: u32) {
    let disk = bench.disk(node);
    bench.restart_with(node, disk);
    assert_eq!(bench.node(node).state(), State::Returning);
}

#[test]
fn a_rolled_back_node_writes_nothing_before_it_has_heard_what_it_has_lost() {
    for others in [[A, B], [B, A]] {
        let mut bench = patient(3, |_| ());
        let old = bench.disk(C);
        let second = bench.put(C, "j", "second");
        bench.run(|f| f.among(&[A, C]));
        assert!(bench.is_written(second));
        bench.lose_all();
        let before = bench.node(C).incarnation();
        bench.restart_with(C, old);
        // Whom it hears first may know nothing of it.
        for other in others {
            let refused = bench.put(C, "k", "would reuse an event");
            assert!(
                matches!(bench.failure(refused), RequestError::Recovering { .. }),
                "before it has heard of {other}"
            );
            bench.talk(&[other, C]);
        }
        bench.talk(&[A, B, C]);
        assert_ne!(bench.node(C).incarnation(), before, "it has noticed");
        let third = bench.put(C, "k", "third");
        bench.run(|_| true);
        assert!(bench.is_written(third));
        assert_eq!(bench.settled("j"), Some("second"));
        assert_eq!(bench.settled("k"), Some("third"));
    }
}

#[test]
fn a_repair_shows_a_rolled_back_node_what_it_has_lost() {
    // It has not waited for anybody.
    let mut bench = patient(3, |config| config.restart_patience_ms = 0);
    let old = bench.disk(C);
    let second = bench.put(C, "j", "second");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(second));
    bench.lose_all();
    let before = bench.node(C).incarnation();
    bench.restart_with(C, old);
    assert!(bench.is_up(C));
    bench.get(A, "j");
    bench.run(|f| f.kind().starts_with("read") || f.kind() == "repair");
    assert!(
        !bench.is_up(C),
        "an event of its own that it has not minted"
    );
    bench.talk(&[A, B, C]);
    assert_ne!(bench.node(C).incarnation(), before);
    assert_eq!(bench.settled("j"), Some("second"));
}

/// Two live nodes at C's place, from one disk: they serve under one identity only until one of them hears of an
/// event of the other. The other is then refused, and goes on as somebody else; nothing that was acknowledged is
/// lost.
#[test]
fn two_live_nodes_from_one_disk_part_when_one_hears_of_the_others_write() {
    for has_served in [false, true] {
        let mut bench = patient(3, |_| ());
        let first = bench.put(C, "k", "first");
        bench.run(|_| true);
        assert!(bench.is_written(first));
        let identity = bench.node(C).incarnation();
        let original = {
            let disk = bench.disk(C);
            bench.start_twin(C, disk)
        };
        bench.lose_all();
        if has_served {
            bench.talk(&[A, B, C]);
            let read = bench.get(C, "k");
            bench.run(|_| true);
            assert_eq!(bench.read(read), Some("first"));
        }
        assert_eq!(bench.is_up(C), has_served);
        assert_eq!(
            bench.node(C).incarnation(),
            identity,
            "nothing is wrong yet"
        );
        // The network reaches the original, and A and C acknowledge a write.
        let copy = bench.swap(C, original);
        assert_eq!(bench.node(C).incarnation(), identity);
        let second = bench.put(C, "j", "second");
        bench.run(|f| f.among(&[A, C]));
        assert!(bench.is_written(second));
        bench.lose_all();
        let unheard = bench.put(C, "i", "unheard");
        let late = bench.take(|f| f.from == C);
        // Now it reaches the copy, which hears of an event that it has not minted.
        let original = bench.swap(C, copy);
        bench.talk(&[A, B, C]);
        assert!(bench.is_up(C));
        assert_ne!(bench.node(C).incarnation(), identity, "it has noticed");
        let third = bench.put(C, "j", "third");
        bench.run(|_| true);
        assert!(bench.is_written(third));
        // What the original had sent is refused, and it learns that somebody has taken its place.
        let copy = bench.swap(C, original);
        let fenced = |bench: &Bench| [A, B].map(|n| bench.node(n).counters().fenced_messages);
        let before = fenced(&bench);
        late.into_iter().for_each(|f| bench.arrive(f));
        assert_eq!(fenced(&bench), before.map(|count| count + 1));
        bench.lose_all();
        while bench.deliver(|f| f.goes(A, C)) == 0 {
            bench.tick(A);
        }
        assert_eq!(bench.node(C).incarnation(), None);
        assert!(!bench.is_up(C) && !bench.is_written(unheard));
        bench.lose_all();
        // It is switched off.
        bench.swap(C, copy);
        assert_eq!(bench.settled("j"), Some("third"));
        assert_eq!(bench.settled("k"), Some("first"));
        assert_eq!(bench.settled("i"), None, "its author was told so");
    }
}

#[test]
fn a_node_that_has_forgotten_what_it_acknowledged_learns_it_again_before_it_counts() {
    let mut bench = patient(3, |_| ());
    let old = bench.disk(C);
    let write = bench.put(A, "k", "v");
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_written(write));
    bench.lose_all();
    // No event of its own is missing: nobody can tell that the disk is an old one.
    bench.restart_with(C, old);
    let read = bench.get(B, "k");
    bench.run(|f| f.among(&[B, C]));
    for node in [B, C] {
        bench.tick(node);
        bench.run(|f| f.among(&[B, C]));
    }
    assert_eq!(bench.reply(read), None, "B and C have lost sight of it");
    bench.lose_all();
    // That A knows more is not enough: C has to know it too.
    bench.tick(C);
    bench.deliver(|f| f.from == C && f.kind() == "sync request");
    bench.deliver(|f| f.to == C && f.kind() == "sync answer");
    bench.lose_all();
    assert!(!bench.is_up(C));
    bench.talk(&[A, B, C]);
    let again = bench.get(B, "k");
    bench.run(|f| f.among(&[B, C]));
    assert_eq!(bench.read(again), Some("v"));
}

#[test]
fn a_node_whose_disk_is_the_latest_keeps_its_identity_and_serves_again() {
    let mut bench = patient(5, |_| ());
    let write = bench.put(A, "k", "v");
    bench.run(|f| f.among(&[A, B, C]));
    assert!(bench.is_written(write));
    bench.lose_all();
    let before = bench.node(A).incarnation();
    restart(&mut bench, A);
    // K - W + 1 of the others, whichever.
    bench.run(|f| f.among(&[A, 4]));
    bench.run(|f| f.among(&[A, 5]));
    assert!(!bench.is_up(A));
    bench.run(|f| f.among(&[A, C]));
    assert!(bench.is_up(A));
    assert_eq!(bench.node(A).incarnation(), before);
    assert_eq!(bench.node(A).counters().returns_confirmed, 1);
    assert_eq!(bench.settled("k"), Some("v"));
}

#[test]
fn a_cluster_that_was_switched_off_comes_back_by_itself() {
    let mut bench = patient(3, |_| ());
    let write = bench.put(A, "k", "v");
    bench.run(|f| f.among(&[A, B]));
    assert!(bench.is_written(write));
    bench.lose_all();
    let before = [A, B, C].map(|node| bench.node(node).incarnation());
    // Twice: the second time while it was coming back.
    for _ in 0..2 {
        for node in [A, B, C] {
            restart(&mut bench, node);
        }
        bench.run(|f| f.among(&[A, B]));
        bench.lose_all();
    }
    assert!([A, B, C].iter().all(|node| !bench.is_up(*node)));
    bench.talk(&[A, B, C]);
    assert_eq!([A, B, C].map(|node| bench.node(node).incarnation()), before);
    assert_eq!(bench.settled("k"), Some("v"));
}

#[test]
fn a_node_that_comes_back_and_one_without_its_data_do_not_wait_for_each_other() {
    for first in [A, B] {
        let mut bench = patient(3, |_| ());
        let write = bench.put(C, "k", "v");
        bench.run(|_| true);
        assert!(bench.is_written(write));
        for node in [first, A + B - first] {
            match node {
                A => restart(&mut bench, A),
                _ => bench.lose_data(B),
            }
        }
        bench.talk(&[A, B, C]);
        assert_eq!(bench.settled("k"), Some("v"));
    }
}

#[test]
fn after_its_patience_a_node_serves_with_those_that_it_reaches() {
    let mut bench = patient(3, |config| config.restart_patience_ms = 5_000);
    let write = bench.put(A, "k", "v");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    bench.lose_all();
    restart(&mut bench, A);
    bench.pass(A, 4_000);
    bench.run(|f| f.among(&[A, B]));
    assert!(!bench.is_up(A), "C may know more");
    bench.pass(A, 1_000);
    assert!(bench.is_up(A));
    assert_eq!(bench.node(A).counters().returns_unconfirmed, 1);
    let read = bench.get(A, "k");
    bench.run(|f| f.among(&[A, B]));
    assert_eq!(bench.read(read), Some("v"));
}

#[test]
fn an_operator_lets_a_node_serve_that_waits_for_others() {
    let mut bench = patient(3, |_| ());
    bench.put(A, "k", "v");
    bench.run(|_| true);
    restart(&mut bench, A);
    bench.lose_all();
    bench.accept_loss(A);
    assert!(bench.is_up(A));
    assert_eq!(bench.settled("k"), Some("v"));
}

#[test]
fn who_is_the_only_owner_has_nobody_to_wait_for() {
    let mut bench = Bench::new(3, |config| {
        *config = config.clone().with_owners(1);
        (config.durable, config.restart_patience_ms) = (true, u64::MAX);
    });
    let owner = bench.owners()[0];
    let write = bench.put(owner, "k", "v");
    assert!(bench.is_written(write));
    let disk = bench.disk(owner);
    bench.restart_with(owner, disk);
    let held = bench.node(owner).read_local(b"k");
    assert_eq!(held, Ok(Some(Bytes::from_static(b"v"))));
}
