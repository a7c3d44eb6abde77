//! The checkers on histories of the real protocol, in simulated clusters.

use bytes::Bytes;
use rand::RngExt as _;
use replica::check::{History, linearizability};
use replica::sim::{Network, SimConfig, Simulation};
use replica::{Command, Config, NodeId};

const NODES: u32 = 3;

/// Operations of each run.
const OPERATIONS: usize = 60;

/// One key, written and read through all nodes while messages are lost and late; reads follow each other
/// closely. With `one_by_one` each operation is answered before the next.
fn run(seed: u64, one_by_one: bool) -> Simulation {
    let node = Config::new(NodeId(1), NODES);
    let mut simulation = Simulation::new(SimConfig::new(node, seed));
    simulation.network = Network {
        loss: 0.1,
        duplication: 0.05,
        max_latency_ms: 50,
        straggler: 0.1,
        ..Network::default()
    };
    let key = Bytes::from_static(b"k");
    for n in 0..OPERATIONS {
        let rng = simulation.rng();
        let node = NodeId(rng.random_range(1..=NODES));
        let command = match rng.random_range(0..4) {
            0 => Command::put(key.clone(), n.to_string().into()),
            _ => Command::get(key.clone()),
        };
        let pause_ms = rng.random_range(0..60);
        let ticket = simulation.request(node, command);
        match one_by_one {
            true => drop(simulation.wait(ticket)),
            false => simulation.run_for(pause_ms),
        }
    }
    simulation.run_for(60_000);
    simulation
}

#[test]
fn quorum_reads_are_refuted_as_linearizable_but_keep_what_they_promise() {
    let mut refuted = 0;
    for seed in 0..40 {
        let simulation = run(seed, false);
        assert_eq!(simulation.history().check(), Ok(()), "seed {seed}");
        let history = History::from(simulation.history());
        refuted += usize::from(linearizability::check(&history).is_err());
    }
    assert!(refuted > 0, "faults did not bite in 40 histories");
}

#[test]
fn operations_that_are_answered_one_by_one_are_linearizable_while_none_fails() {
    let mut judged = 0;
    for seed in 0..40 {
        let simulation = run(seed, true);
        let history = History::from(simulation.history());
        // A write that failed may be read, and then not.
        if history.operations().any(|(_, op)| op.completed.is_none()) {
            continue;
        }
        judged += 1;
        assert_eq!(linearizability::check(&history), Ok(()), "seed {seed}");
    }
    assert!(judged > 10, "only {judged} of 40 histories had no failure");
}
