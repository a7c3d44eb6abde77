//! A fixed list of simulator seeds, and probes that show that the runs were not vacuous.

use replica::sim::{Campaign, SimConfig, Simulation, System, run_seed};
use replica::{Command, Config, Counters, NodeId};

/// The seeds of every commit; longer campaigns run with the example `simulate`.
const SEEDS: std::ops::Range<u64> = 0..150;

/// Found that a write which was minted again was answered by the event that lost.
#[test]
fn seed_22075_converges_to_the_last_acknowledged_write() {
    let report = run_seed(22_075, &Campaign::default());
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
        for seed in 0..40 {
            let report = run_seed(seed, &campaign);
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
    for seed in SEEDS {
        let report = run_seed(seed, &campaign);
        counters = counters.plus(report.counters);
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
    ];
    for (path, times) in sometimes {
        assert!(times > 0, "no seed of the list has reached: {path}");
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
