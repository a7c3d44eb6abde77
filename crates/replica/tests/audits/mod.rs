//! Audits: an owner whose disk has changed an entry under its event is found out, and nobody else is.

use replica::{NodeId, PartitionId, State, Storage as _, Table, WriteBatch};

use crate::support::Bench;
use crate::{A, B, C, D, E};

fn bench(nodes: u32) -> Bench {
    let mut bench = Bench::new(nodes, |config| {
        config.durable = true;
        config.audit_interval_ms = 1;
    });
    fill(&mut bench);
    bench
}

fn fill(bench: &mut Bench) {
    for (key, value) in [("k", "right"), ("other", "thing")] {
        let write = bench.put(A, key, value);
        bench.run(|_| true);
        assert!(bench.is_written(write));
    }
    bench.delete(B, "deleted");
    bench.run(|_| true);
    bench.settle();
}

/// Starts a node again with `k` changed on its disk: to another value, or to nothing.
fn damage(bench: &mut Bench, node: u32, value: Option<&[u8; 5]>) {
    let mut disk = bench.disk(node);
    let cell = bench.node(node).replica().map().get(&b"k"[..]);
    let mut cell = postcard::to_stdvec(cell.expect("it is there")).expect("cells serialise");
    let at = cell
        .windows(5)
        .position(|w| w == b"right")
        .expect("its value");
    let cell = value.map(|value| {
        cell[at..at + 5].copy_from_slice(value);
        cell
    });
    let changes = vec![(Table::Cells, b"k".to_vec(), cell)];
    disk.commit(&WriteBatch { changes })
        .expect("memory takes everything");
    bench.are_damaged = true;
    bench.restart_with(node, disk);
}

fn disagreeing(bench: &Bench, node: u32) -> Vec<NodeId> {
    bench.node(node).status().disagreeing
}

#[test]
fn a_damaged_owner_finds_out_and_recovers_from_the_others() {
    for value in [Some(b"wrong"), None] {
        let mut bench = bench(3);
        let before = bench.node(B).incarnation();
        damage(&mut bench, B, value);
        assert_ne!(bench.shows(B, "k"), Some("right"));
        bench.talk(&[A, B, C]);
        bench.are_damaged = false;
        assert_eq!(bench.node(B).counters().damages_given_up, 1);
        assert_ne!(bench.node(B).incarnation(), before, "it has lost its data");
        assert_eq!(bench.settled("k"), Some("right"));
        for node in [A, C] {
            let counters = bench.node(node).counters();
            assert!(counters.audits_failed > 0 && counters.damages_given_up == 0);
        }
        for node in [A, B, C] {
            assert_eq!(bench.shows(node, "k"), Some("right"));
            assert_eq!(disagreeing(&bench, node), []);
        }
        // What it has given up is gone from its disk too.
        let disk = bench.disk(B);
        bench.restart_with(B, disk);
        assert_eq!(bench.settled("k"), Some("right"));
    }
}

#[test]
fn without_a_majority_nobody_gives_up_anything_and_all_say_so() {
    let mut bench = bench(4);
    for node in [C, D] {
        damage(&mut bench, node, Some(b"wrong"));
    }
    bench.talk(&[A, B, C, D]);
    for (node, others) in [(A, [C, D]), (C, [A, B])] {
        assert_eq!(bench.node(node).state(), State::Up);
        assert_eq!(bench.node(node).counters().damages_given_up, 0);
        assert_eq!(disagreeing(&bench, node), others.map(NodeId));
    }
    // An operator decides.
    for node in [C, D] {
        bench.lose_data(node);
        bench.talk(&[A, B, C, D]);
    }
    bench.are_damaged = false;
    assert_eq!(bench.settled("k"), Some("right"));
    assert_eq!(disagreeing(&bench, A), []);
}

/// A node that knows something else may hold something else: no audit compares the two.
#[test]
fn whoever_knows_more_or_less_is_not_audited() {
    let mut bench = bench(3);
    let passed = bench.node(C).counters().audits_passed;
    bench.write_one(A, "k", Some("newer"));
    bench.lose_all();
    for _ in 0..6 {
        bench.tick(A);
        bench.run(|f| f.goes(A, C) && f.kind() == "audit");
        bench.lose_all();
    }
    let counters = bench.node(C).counters();
    assert_eq!(
        (counters.audits_passed, counters.audits_failed),
        (passed, 0)
    );
    assert_eq!(bench.settled("k"), Some("newer"));
}

/// A checksum is linear in the entries: a node that took those of all its partitions at once, at its start or
/// later, would answer nobody for that long.
#[test]
fn the_partitions_of_a_node_take_turns() {
    let first_audits = [0, 1, 3].map(|partition| {
        let mut bench = Bench::new(3, |config| {
            config.partitions = 4;
            config.partition = PartitionId(partition);
            config.audit_interval_ms = 40 * config.sync_interval_ms;
        });
        let mut ticks = 0;
        loop {
            bench.tick(A);
            ticks += 1;
            if !bench.take(|f| f.kind() == "audit").is_empty() {
                break ticks;
            }
            assert!(ticks < 100, "partition {partition} is never audited");
        }
    });
    assert_eq!(first_audits, [1, 11, 31]);
}

/// Delivers the audit that a node shows at its next tick, to these nodes.
fn show(bench: &mut Bench, node: u32, to: &[u32]) {
    bench.tick(node);
    bench.run(|f| f.from == node && to.contains(&f.to) && f.kind() == "audit");
    bench.lose_all();
}

#[test]
fn an_audit_compares_what_is_held_now() {
    let mut bench = bench(3);
    show(&mut bench, C, &[]);
    let write = bench.put(A, "k", "newer");
    bench.run(|_| true);
    assert!(bench.is_written(write));
    let before = bench.node(C).counters();
    show(&mut bench, A, &[C]);
    let after = bench.node(C).counters();
    assert_eq!(after.audits_passed, before.audits_passed + 1);
    assert_eq!(after.audits_failed, 0);
    // What B showed before the write is of another time.
    show(&mut bench, C, &[]);
    assert_eq!(disagreeing(&bench, C), []);
}

#[test]
fn what_an_owner_showed_before_it_lost_its_data_is_no_disagreement() {
    let mut bench = bench(4);
    damage(&mut bench, D, Some(b"wrong"));
    show(&mut bench, D, &[A]);
    show(&mut bench, A, &[]);
    assert_eq!(disagreeing(&bench, A), [NodeId(D)]);
    bench.lose_data(D);
    bench.run(|f| f.kind().starts_with("hello"));
    bench.tick(D);
    bench.run(|f| f.among(&[A, D]) && f.kind() != "audit");
    assert_eq!(disagreeing(&bench, A), []);
}

#[test]
fn more_than_half_of_all_owners_decide() {
    let mut bench = bench(5);
    damage(&mut bench, E, Some(b"wrong"));
    for (shown, node) in [A, B, C].into_iter().enumerate() {
        assert_eq!(bench.node(E).counters().damages_given_up, 0, "{shown} of 5");
        show(&mut bench, node, &[E]);
    }
    assert_eq!(bench.node(E).counters().damages_given_up, 1, "3 of 5");
    bench.are_damaged = false;
    assert_eq!(bench.settled("k"), Some("right"));
}

/// The two clusters take the same steps, so their nodes know the same under the same names.
#[test]
fn who_does_not_audit_looks_at_no_audit() {
    let flight = {
        let mut bench = bench(3);
        bench.tick(A);
        bench.take(|f| f.kind() == "audit" && f.to == C).remove(0)
    };
    for interval_ms in [0, 1 << 40] {
        let mut bench = Bench::new(3, |config| {
            config.durable = true;
            config.audit_interval_ms = interval_ms;
        });
        fill(&mut bench);
        let passed = bench.node(C).counters().audits_passed;
        bench.arrive(flight.clone());
        let passed = bench.node(C).counters().audits_passed - passed;
        assert_eq!(passed, u64::from(interval_ms > 0));
    }
}

#[test]
fn the_next_audit_comes_an_interval_after_the_last() {
    let mut bench = Bench::new(3, |config| {
        config.audit_interval_ms = 40 * config.sync_interval_ms;
    });
    let mut at = Vec::new();
    for tick in 0..100 {
        bench.tick(A);
        if !bench.take(|f| f.kind() == "audit").is_empty() {
            at.push(tick);
        }
    }
    assert_eq!(at, [0, 40, 80]);
}
