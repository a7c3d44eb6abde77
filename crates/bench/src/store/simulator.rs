//! How fast the simulator runs.

use cpu_time::ThreadTime;
use replica::sim::{Campaign, SimConfig, Simulation, run_seed};
use replica::{Command, Gossip, Level, NodeId, Request};

use super::nodes::config;
use super::{OURS, key, value};
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Target, Unit};

const SEEDS: u64 = 20;
/// Processor time of a message at 200,000 a second.
const MESSAGE_NS: f64 = 5_000.0;
const NODES: u32 = 1_000;
const KEYS: usize = 1_000;
const MINUTE_MS: f64 = 60_000.0;

pub fn rows(report: &mut Report) {
    messages(report);
    if !report.options.quick {
        large(report);
    }
}

/// Clusters and faults as drawn from seeds, invariants checked after every message.
fn messages(report: &mut Report) {
    let name = "simulator: processor time of a message, checks included";
    if !report.wants(name) {
        return;
    }
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(MESSAGE_NS));
    let run = || {
        let start = ThreadTime::now();
        let runs = (0..SEEDS).map(|seed| run_seed(seed, &Campaign::default()));
        let messages: u64 = runs.map(|run| run.messages).sum();
        Sample {
            nanos: start.elapsed().as_nanos() as f64 / messages as f64,
            fingerprint: messages,
        }
    };
    let row = report.contest(row).repeat(OURS, run).finish();
    report.add(&row);
}

/// Each of a thousand nodes writes a key, and all gossip until every node holds every key.
fn large(report: &mut Report) {
    let name = "simulator: 1000 nodes x 1000 keys to convergence";
    if !report.wants(name) {
        return;
    }
    let mut node = config(NODES);
    let (fanout, peers) = (5, Vec::new());
    node.gossip = Some(Gossip { fanout, peers });
    let mut sim_config = SimConfig::new(node, 1);
    sim_config.checks_every_step = false;
    let mut simulation = Simulation::<replica::Lww>::new(sim_config);
    let value = value(64);
    let start = ThreadTime::now();
    for number in 0..KEYS {
        let put = Command::put(key(number), value.clone());
        let writer = NodeId(1 + number as u32 % NODES);
        simulation.ask(writer, Request::new(put, Level::One));
    }
    assert!(simulation.settle(120_000), "{name}");
    let row = Row::new(name, Unit::Milliseconds)
        .with(OURS, start.elapsed().as_nanos() as f64 / 1e6)
        .target(Target::AtMost(MINUTE_MS));
    report.add(&row);
}
