//! A fixed list of simulator seeds, and probes that show that the runs were not vacuous.

use replica::sim::{
    Campaign, DiskFaults, NamedWrites, SimConfig, Simulation, System, record_seed, run_seed, shrink,
};
use replica::{Command, Config, Counters, NodeId};

/// The seeds of every commit; longer campaigns run with the example `simulate`.
const SEEDS: std::ops::Range<u64> = 0..150;

/// Found that a write which was minted again was answered by the event that lost.
#[test]
fn seed_22075_converges_to_the_last_acknowledged_write() {
    let retries = Some(false);
    let campaign = Campaign {
        retries,
        ..Campaign::default()
    };
    let report = run_seed(22_075, &campaign);
    assert!(report.violations.is_empty(), "{report}");
}

/// Found that a node with too many exceptions always asked the same peer for a transfer, one that lacked
/// the same events.
#[test]
fn seed_430_of_siblings_gets_its_transfer_from_a_peer_that_has_what_is_missing() {
    let system = System::Siblings;
    let report = run_seed(
        430,
        &Campaign {
            system,
            retries: Some(false),
            ..Campaign::default()
        },
    );
    assert!(report.violations.is_empty(), "{report}");
}

/// A delete of a dead writer that its owners knew of the key alone counts as lost once that writer is closed,
/// and has had its effect all the same. The oracle had to learn it.
#[test]
fn seed_42554_of_siblings_closes_a_writer_whose_delete_is_an_exception() {
    let system = System::Siblings;
    let report = run_seed(
        42_554,
        &Campaign {
            system,
            retries: Some(false),
            ..Campaign::default()
        },
    );
    assert!(report.violations.is_empty(), "{report}");
}

/// Found that a tombstone of time zero went although no horizon was set.
#[test]
fn seed_10185_of_timestamps_keeps_its_tombstone() {
    let system = System::Timestamped;
    let report = run_seed(
        10_185,
        &Campaign {
            system,
            retries: Some(false),
            ..Campaign::default()
        },
    );
    assert!(report.violations.is_empty(), "{report}");
}

/// A fixed list for each of the other systems.
#[test]
fn the_fixed_seeds_of_every_system_pass() {
    for system in System::ALL.into_iter().filter(|s| *s != System::Majority) {
        let campaign = Campaign {
            system,
            ..Campaign::default()
        };
        let (mut counters, mut succeeded) = (Counters::default(), 0);
        let (mut named, mut unjudged) = (NamedWrites::default(), 0);
        for seed in 0..40 {
            let report = run_seed(seed, &campaign);
            named = named.plus(report.named);
            unjudged += report.unjudged;
            assert!(report.violations.is_empty(), "{report}");
            counters = counters.plus(report.counters);
            succeeded += report.succeeded.0;
            if seed.is_multiple_of(20) {
                let again = run_seed(seed, &campaign).trace_hash;
                assert_eq!(report.trace_hash, again, "{report}");
            }
        }
        assert!(
            succeeded > 500,
            "{system:?}: only {succeeded} operations succeeded"
        );
        assert_eq!(unjudged, 0, "{system:?}: histories that say nothing");
        if system != System::Gossip {
            let sometimes = [
                ("retries answered elsewhere", named.answered_elsewhere),
                ("retries that begin the write", counters.operations_begun),
                ("named writes of unknown outcome", named.unknown),
            ];
            for (path, times) in sometimes {
                assert!(times > 0, "{system:?} has not reached: {path}");
            }
        }
        let sometimes = match system {
            System::Gossip => [("probes that differed", counters.probes_differed)],
            System::Linearizable => [("write backs", counters.write_backs)],
            _ => [("transfer chunks", counters.transfer_chunks)],
        };
        for (path, times) in sometimes {
            assert!(times > 0, "{system:?} has not reached: {path}");
        }
    }
}

#[test]
fn the_fixed_seeds_pass_and_reach_every_rare_path() {
    let campaign = Campaign::default();
    let (mut counters, mut failed, mut succeeded) = (Counters::default(), Vec::new(), 0);
    let (mut disks, mut named) = (DiskFaults::default(), NamedWrites::default());
    for seed in SEEDS {
        let report = run_seed(seed, &campaign);
        named = named.plus(report.named);
        counters = counters.plus(report.counters);
        disks = disks.plus(report.disk_faults);
        succeeded += report.succeeded.0;
        if seed.is_multiple_of(10) {
            let again = run_seed(seed, &campaign);
            assert_eq!(
                report.trace_hash, again.trace_hash,
                "seed {seed} does not replay"
            );
        }
        if !report.violations.is_empty() {
            failed.push(report.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(succeeded > 1_000, "only {succeeded} operations succeeded");
    let sometimes = [
        ("writes minted again", counters.writes_minted_again),
        ("superseded answers", counters.superseded_answers),
        ("read repairs", counters.read_repairs),
        ("fenced messages", counters.fenced_messages),
        ("truncated answers", counters.truncated_answers),
        ("cut answers", counters.cut_answers),
        ("transfer chunks", counters.transfer_chunks),
        ("tombstones purged", counters.tombstones_purged),
        ("incarnations", counters.incarnations),
        ("incarnations retired", counters.incarnations_retired),
        ("incarnations closed", counters.incarnations_closed),
        ("audits passed", counters.audits_passed),
        ("exceptions left", counters.exceptions_left),
        (
            "acknowledgements dropped",
            counters.acknowledgements_dropped,
        ),
        ("failed commits", disks.failed_commits),
        ("torn stores refused", disks.torn_stores_refused),
        ("lost tails", disks.lost_tails),
        ("rolled-back disks", disks.rollbacks),
        ("rolled-back disks noticed", disks.rollbacks_noticed),
        ("disks rolled back under way", disks.rollbacks_under_way),
        ("returns confirmed", counters.returns_confirmed),
        ("retries answered elsewhere", named.answered_elsewhere),
        ("retries that begin the write", counters.operations_begun),
        ("named writes of unknown outcome", named.unknown),
        ("names forgotten", named.forgotten),
    ];
    for (path, times) in sometimes {
        assert!(times > 0, "no seed of the list has reached: {path}");
    }
}

/// With all faults on and many writes. More seeds run with the example `simulate`.
#[test]
fn large_clusters_of_the_causal_and_the_gossip_store_pass() {
    for (system, nodes, actions) in [(System::Causal, 100, 300), (System::Gossip, 100, 60)] {
        let campaign = Campaign {
            system,
            actions,
            nodes: Some(nodes),
            ..Campaign::default()
        };
        let (report, schedule) = record_seed(3, &campaign);
        assert!(report.violations.is_empty(), "{report}");
        let schedule = schedule.expect("a run of single steps");
        assert!(
            schedule.steps.len() > actions / 2,
            "{system:?} has left out too much"
        );
        assert_eq!(schedule.run().trace_hash, report.trace_hash);
    }
}

#[test]
fn after_accepted_loss_the_nodes_agree_and_go_on() {
    for seed in 0..20 {
        let node = Config::new(NodeId(1), 3);
        let mut simulation = Simulation::new(SimConfig::new(node, seed));
        let put = |value: &'static str| Command::put("k".into(), value.into());
        let ticket = simulation.request(NodeId(1 + (seed % 3) as u32), put("first"));
        assert!(simulation.wait(ticket).is_ok());
        for node in [NodeId(2), NodeId(3)] {
            simulation.fail(node);
            simulation.recover(node);
        }
        simulation.run_for(5_000);
        let refused = simulation.request(NodeId(2), put("refused"));
        assert!(
            simulation.wait(refused).is_err(),
            "one reconciled source is too few"
        );
        simulation.accept_loss(NodeId(2));
        assert!(simulation.settle(60_000), "seed {seed}");
        let ticket = simulation.request(NodeId(3), put("second"));
        assert!(simulation.wait(ticket).is_ok());
        assert!(simulation.settle(60_000));
        assert_eq!(simulation.violations(), Vec::<String>::new());
    }
}

/// How many seeds of each system the random batch has.
const BATCH: u64 = 5;

/// Other seeds in every run. `REPLICA_SEED` is the first of them, by default the time.
#[test]
#[expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::disallowed_macros,
    reason = "the seeds come from the time or the environment, and are printed"
)]
fn a_short_random_batch_of_every_system_passes() {
    let given = std::env::var("REPLICA_SEED").ok();
    let first = match given {
        Some(given) => given.parse().expect("REPLICA_SEED is a number"),
        None => std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |t| t.as_millis() as u64),
    };
    println!("REPLICA_SEED={first}");
    for system in System::ALL {
        let campaign = Campaign {
            system,
            ..Campaign::default()
        };
        for seed in first..first + BATCH {
            let report = run_seed(seed, &campaign);
            assert!(
                report.violations.is_empty(),
                "REPLICA_SEED={first}: {report}"
            );
        }
    }
}

#[test]
fn a_seed_and_its_schedule_are_the_same_run() {
    for system in System::ALL {
        let campaign = Campaign {
            system,
            ..Campaign::default()
        };
        for seed in 0..8 {
            let (report, schedule) = record_seed(seed, &campaign);
            let schedule = schedule.expect("a run of single steps");
            let again = schedule.run();
            assert_eq!(again.trace_hash, report.trace_hash, "{report}");
            assert_eq!(again.counters, report.counters);
            assert_eq!(again.disk_faults, report.disk_faults);
        }
    }
}

/// The oracle of this test alone: a store breaks if a tombstone goes after a node has lost its data.
fn is_broken(report: &replica::sim::Report) -> bool {
    report.counters.incarnations > 0 && report.counters.tombstones_purged > 0
}

#[test]
fn a_seed_that_fails_is_reduced_to_a_few_steps_that_still_fail() {
    let retries = Some(false);
    let campaign = Campaign {
        retries,
        ..Campaign::default()
    };
    let mut reduced = 0;
    for seed in 0..12 {
        let (report, schedule) = record_seed(seed, &campaign);
        let schedule = schedule.expect("a run of single steps");
        let Some(small) = shrink(&schedule, 2_000, is_broken) else {
            assert!(!is_broken(&report), "a failing run is a failing schedule");
            continue;
        };
        reduced += 1;
        assert!(is_broken(&small.run()), "{small}");
        assert!(
            small.steps.len() <= 6,
            "{} steps:\n{small}",
            small.steps.len()
        );
        for at in 0..small.steps.len() {
            let mut smaller = small.clone();
            smaller.steps.remove(at);
            assert!(
                !is_broken(&smaller.run()),
                "step {at} is not needed:\n{small}"
            );
        }
    }
    assert!(reduced > 0, "no seed has failed");
}

/// The text that [`printed`] is: what a shrunk schedule prints is compiled here, and run.
mod printed {
    include!("simulation/printed.rs");

    pub(super) fn schedule() -> Schedule {
        majority_7()
    }
}

#[test]
fn what_is_printed_is_a_test_that_compiles_and_does_what_the_schedule_does() {
    use replica::sim::{Schedule, Step};
    use replica::storage::CommitFault;
    use replica::{ClockKind, NodeId};

    let mut node = Config::new(NodeId(1), 5);
    node.clock = ClockKind::Hybrid { drift_bound_ms: 50 };
    (node.durable, node.sync_interval_ms) = (true, 50);
    let mut schedule = Schedule::new(System::Majority, 7, node);
    schedule.network.loss = 0.05;
    let write = |node, key: &'static str, value: Option<&'static str>| Step::Write {
        node: NodeId(node),
        key: key.into(),
        value: value.map(Into::into),
    };
    let steps = [
        Step::Cut {
            from: NodeId(1),
            to: NodeId(2),
        },
        Step::Part {
            one: vec![NodeId(1)],
            other: vec![NodeId(3), NodeId(4)],
        },
        Step::Run { ms: 400 },
        Step::Heal,
        write(1, "a", Some("v")),
        Step::Skew {
            node: NodeId(2),
            ms: -300,
        },
        Step::Hint {
            node: NodeId(1),
            other: NodeId(5),
            reachable: false,
        },
        Step::Run { ms: 400 },
        Step::Image(NodeId(2)),
        Step::FailCommit {
            node: NodeId(3),
            fault: CommitFault::Prefix(1),
        },
        write(2, "b", None),
        Step::WriteNamed {
            node: NodeId(3),
            key: "a".into(),
            value: Some("n1".into()),
            name: 1,
        },
        Step::Retry {
            node: NodeId(1),
            name: 1,
        },
        Step::WriteOne {
            node: NodeId(4),
            key: "c".into(),
            value: Some("w".into()),
        },
        Step::Run { ms: 40 },
        Step::Fail(NodeId(5)),
        Step::Recover(NodeId(5)),
        Step::Restart(NodeId(3)),
        Step::Run { ms: 400 },
        Step::RollBack(NodeId(2)),
        Step::Read {
            node: NodeId(1),
            key: "a".into(),
        },
        Step::Calm,
    ];
    schedule.steps = (0..).map(|i| i * 1_000).zip(steps).collect();
    assert_eq!(schedule.to_string(), include_str!("simulation/printed.rs"));
    assert_eq!(schedule, printed::schedule());
    let small = shrink(&schedule, 2_000, |report| report.disk_faults.rollbacks > 0);
    let small = small.expect("a disk is rolled back");
    assert!(small.steps.len() <= 2, "{small}");
}
