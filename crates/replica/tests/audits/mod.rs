//! Audits: an owner whose disk has changed an entry under its event is found out, and nobody else is.

use replica::{NodeId, PartitionId, State, Storage as _, Table, WriteBatch};

use crate::support::Bench;
use crate::{A, B, C, D};

fn bench(nodes: u32) -> Bench {
    let mut bench = Bench::new(nodes, |config| {
        config.durable = true;
        config.audit_interval_ms = 1;
    });
    for (key, value) in [("k", "right"), ("other", "thing")] {
        let write = bench.put(A, key, value);
        bench.run(|_| true);
        assert!(bench.is_written(write));
    }
    bench.delete(B, "deleted");
    bench.run(|_| true);
    bench.settle();
    bench
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
