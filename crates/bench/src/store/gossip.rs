//! One write among a thousand nodes that gossip over a network that loses messages.

use replica::sim::{Campaign, Report as Run, System, run_seed};
use replica::{Gossip, NodeId};

use super::OURS;
use super::nodes::{Nodes, config, wire_bytes};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const NODES: u32 = 1_000;
const FANOUT: u32 = 5;
const LOSS: f64 = 0.1;
/// After so many rounds every node has ticked.
const ROUND_MS: u64 = 500;

pub fn rows(report: &mut Report) {
    let seeds = if report.options.quick { 10 } else { 100 };
    let rounds_name = format!(
        "gossip: rounds until 1000 nodes hold a write, k = 5, 10 % loss, 99th percentile of {seeds} seeds"
    );
    let bytes_name = format!("gossip: bytes of a node in a round of that, mean of {seeds} seeds");
    if report.wants(&rounds_name) || report.wants(&bytes_name) {
        let runs: Vec<Run> = (0..seeds).map(|seed| spread(NODES, seed)).collect();
        let row = Row::new(rounds_name, Unit::Rounds)
            .with(OURS, percentile_99(&runs))
            .with(Side::Floor("the logarithm of 1000 to base 6"), 4.0)
            .target(Target::AtMost(7.0));
        report.add(&row);
        let rounds: usize = runs.iter().map(|run| run.rounds.len()).sum();
        let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
        let row = Row::new(bytes_name, Unit::Bytes)
            .with(OURS, bytes as f64 / f64::from(NODES) / rounds as f64);
        report.add(&row);
    }
    let name = "gossip: bytes of a quiet exchange";
    if report.wants(name) {
        let row = Row::new(name, Unit::Bytes)
            .with(OURS, quiet_exchange_bytes())
            .target(Target::AtMost(64.0));
        report.add(&row);
    }
}

/// How one write spreads.
///
/// # Panics
/// If it does not, or something else is wrong.
pub fn spread(nodes: u32, seed: u64) -> Run {
    let campaign = Campaign {
        system: System::Gossip,
        nodes: Some(nodes),
        spread: true,
        fanout: FANOUT,
        loss: Some(LOSS),
        ..Campaign::default()
    };
    let run = run_seed(seed, &campaign);
    assert_eq!(run.violations, Vec::<String>::new(), "seed {seed}");
    run
}

/// The rounds that all but one in a hundred runs needed at most.
pub fn percentile_99(runs: &[Run]) -> f64 {
    let mut rounds: Vec<usize> = runs.iter().map(|run| run.rounds.len()).collect();
    rounds.sort_unstable();
    let rank = (rounds.len() * 99).div_ceil(100);
    rounds[rank - 1] as f64
}

/// All messages that a node that knows nothing new causes with one peer: the most of all nodes.
fn quiet_exchange_bytes() -> f64 {
    let mut config = config(10);
    let (fanout, peers) = (1, Vec::new());
    config.gossip = Some(Gossip { fanout, peers });
    let mut nodes = Nodes::new(config);
    // Something is known, and known to all.
    let (key, value) = (super::key(0), super::value(64));
    nodes.put(NodeId(1), &key, &value, replica::Level::One);
    nodes.pass(20 * ROUND_MS, |_| ());
    let (mut bytes, mut probes) = (0, 0);
    nodes.pass(ROUND_MS, |message| {
        bytes += wire_bytes(message);
        probes += usize::from(matches!(
            message.envelope.message,
            replica::Message::Probe { .. }
        ));
    });
    bytes as f64 / probes as f64
}
