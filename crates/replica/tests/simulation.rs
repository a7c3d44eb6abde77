//! A fixed list of simulator seeds, and probes that show that the runs were not vacuous.

use replica::sim::{
    Campaign, Probes, SimConfig, Simulation, System, record_seed, run_seed, shrink,
};
use replica::{Command, Config, NodeId};
use std::io::Write as _;

#[path = "simulation/found.rs"]
mod found;
#[path = "simulation/printing.rs"]
mod printing;

/// Says something that shows although the test passes: what is printed as usual does not.
fn say(what: &str) {
    let mut out = std::io::stderr().lock();
    writeln!(out, "{what}").expect("standard error takes a line");
}

/// A campaign of runs as they were drawn before there were named writes, pauses and mixed levels.
fn of_old(system: System) -> Campaign {
    Campaign {
        system,
        retries: Some(false),
        stalls: Some(false),
        mixes: Some(false),
        ..Campaign::default()
    }
}

/// Found that a write which was minted again was answered by the event that lost.
#[test]
fn seed_22075_converges_to_the_last_acknowledged_write() {
    let report = run_seed(22_075, &of_old(System::Majority));
    assert!(report.violations.is_empty(), "{report}");
}

/// Found that a node with too many exceptions always asked the same peer for a transfer, one that lacked
/// the same events.
#[test]
fn seed_430_of_siblings_gets_its_transfer_from_a_peer_that_has_what_is_missing() {
    let report = run_seed(430, &of_old(System::Siblings));
    assert!(report.violations.is_empty(), "{report}");
}

/// A delete of a dead writer that its owners knew of the key alone counts as lost once that writer is closed,
/// and has had its effect all the same. The oracle had to learn it.
#[test]
fn seed_42554_of_siblings_closes_a_writer_whose_delete_is_an_exception() {
    let report = run_seed(42_554, &of_old(System::Siblings));
    assert!(report.violations.is_empty(), "{report}");
}

/// Found that a tombstone of time zero went although no horizon was set.
#[test]
fn seed_10185_of_timestamps_keeps_its_tombstone() {
    let report = run_seed(10_185, &of_old(System::Timestamped));
    assert!(report.violations.is_empty(), "{report}");
}

/// Paths that the fixed seeds of a system do not take, since they are too rare for so few; a campaign of 10,000
/// seeds takes each of them (2,000 of system E), and `simulate` says which it has not.
const TOO_RARE: &[(System, &str)] = &[
    (System::Majority, "lost tails"),
    (System::Timestamped, "lost tails"),
    (System::Timestamped, "names forgotten"),
    (System::Timestamped, "the same, made again"),
    (System::Causal, "acknowledgements dropped"),
    (System::Causal, "disks rolled back and noticed"),
    (System::Siblings, "lost tails"),
    (System::Gossip, "lost tails"),
];

/// Runs seeds, each twice, and checks that they break no promise, replay, and take every rare path.
fn run_fixed(system: System, seeds: std::ops::Range<u64>) {
    let campaign = Campaign {
        system,
        ..Campaign::default()
    };
    say(&format!("system {}, seeds {seeds:?}", system.letter()));
    let (mut probes, mut failed) = (Probes::default(), Vec::new());
    let (mut succeeded, mut unjudged) = (0, 0);
    for seed in seeds {
        let report = run_seed(seed, &campaign);
        let again = run_seed(seed, &campaign);
        assert_eq!(
            report.trace_hash, again.trace_hash,
            "two runs differ: {report}"
        );
        probes.note(&report);
        succeeded += report.succeeded.0;
        unjudged += report.unjudged;
        if !report.violations.is_empty() {
            failed.push(report.to_string());
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(succeeded > 500, "only {succeeded} operations succeeded");
    assert_eq!(unjudged, 0, "histories that say nothing");
    let mut missing = probes.missing(system);
    missing.retain(|path| !TOO_RARE.contains(&(system, path)));
    assert!(
        missing.is_empty(),
        "{system:?} has not reached: {missing:?}"
    );
}

#[test]
fn the_fixed_seeds_of_the_majority_store_pass_and_reach_every_rare_path() {
    run_fixed(System::Majority, 0..150);
}

#[test]
fn the_fixed_seeds_of_the_timestamped_store_pass_and_reach_every_rare_path() {
    run_fixed(System::Timestamped, 0..100);
}

#[test]
fn the_fixed_seeds_of_the_causal_store_pass_and_reach_every_rare_path() {
    run_fixed(System::Causal, 0..100);
}

#[test]
fn the_fixed_seeds_of_the_sibling_store_pass_and_reach_every_rare_path() {
    run_fixed(System::Siblings, 0..100);
}

#[test]
fn the_fixed_seeds_of_the_gossip_store_pass_and_reach_every_rare_path() {
    run_fixed(System::Gossip, 0..20);
}

#[test]
fn the_fixed_seeds_of_the_linearizable_level_pass_and_reach_every_rare_path() {
    run_fixed(System::Linearizable, 0..100);
}

/// Every level of every system is tried through every node once all faults have ended.
#[test]
fn every_node_is_asked_at_every_level_after_the_faults() {
    for (system, levels) in [
        (System::Majority, 4),
        (System::Timestamped, 3),
        (System::Causal, 3),
        (System::Siblings, 3),
        (System::Gossip, 1),
        (System::Linearizable, 1),
    ] {
        let campaign = Campaign {
            system,
            nodes: Some(5),
            actions: 20,
            ..Campaign::default()
        };
        let report = run_seed(1, &campaign);
        assert!(report.violations.is_empty(), "{report}");
        assert_eq!(report.course.live_requests, 5 * 2 * levels, "{system:?}");
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
    reason = "the seeds come from the time or the environment"
)]
fn a_short_random_batch_of_every_system_passes() {
    let given = std::env::var("REPLICA_SEED").ok();
    let first = match given {
        Some(given) => given.parse().expect("REPLICA_SEED is a number"),
        None => std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .map_or(0, |t| t.as_millis() as u64),
    };
    say(&format!("every system, seeds from REPLICA_SEED={first}"));
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
            let again = run_seed(seed, &campaign).trace_hash;
            assert_eq!(report.trace_hash, again, "two runs differ: {report}");
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
            assert_eq!(again.course, report.course);
            assert_eq!(again.lags, report.lags);
        }
    }
}

/// The oracle of this test alone: a store breaks if a tombstone goes after a node has lost its data.
fn is_broken(report: &replica::sim::Report) -> bool {
    report.counters.incarnations > 0 && report.counters.tombstones_purged > 0
}

#[test]
fn a_seed_that_fails_is_reduced_to_a_few_steps_that_still_fail() {
    let campaign = of_old(System::Majority);
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
