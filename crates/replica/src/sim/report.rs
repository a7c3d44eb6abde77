//! How a run went.

use std::fmt;

use super::simulation::{Lag, Round};
use super::system::System;
use crate::Counters;

/// How one seed went.
#[derive(Debug, Clone)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The cluster and the faults that the seed drew.
    pub setting: String,
    /// What was found to be wrong; empty for a good run.
    pub violations: Vec<String>,
    /// How often the rarer paths were taken, summed over all nodes.
    pub counters: Counters,
    /// How often disks failed, and what was noticed of it.
    pub disk_faults: DiskFaults,
    /// What became of writes that have a name.
    pub named: NamedWrites,
    /// What else the run has been through.
    pub course: Course,
    /// How far reads at level `One` were behind, one after the other.
    pub lags: Vec<Lag>,
    /// Operations that succeeded, and all that were made.
    pub succeeded: (usize, usize),
    /// Nodes.
    pub nodes: u32,
    /// Whether the healed cluster has converged.
    pub converged: bool,
    /// Each sync interval from the end of all faults until it had.
    pub rounds: Vec<Round>,
    /// Virtual milliseconds from the end of all faults until it had, counted in whole sync intervals.
    pub converge_ms: u64,
    /// Rounds until it had once more, after new writes through every node.
    pub live_rounds: usize,
    /// Messages sent.
    pub messages: u64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// Requests that failed, by what was said of them.
    pub refused: usize,
    /// Keys whose history has too many possible orders to be judged: nothing is said of them.
    pub unjudged: usize,
    /// The system.
    pub system: System,
    /// A hash of all that happened.
    pub trace_hash: u128,
}

/// How often the disks of a run failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct DiskFaults {
    /// Commits that failed: their node stopped, and started again with what was there.
    pub failed_commits: u64,
    /// Torn stores that were refused at the start: their node came back without data.
    pub torn_stores_refused: u64,
    /// Nodes that came back without the last of their commits.
    pub lost_tails: u64,
    /// Nodes that were started with an older image of their disk.
    pub rollbacks: u64,
    /// Nodes among them that were under way: with requests pending, messages in flight and faults on.
    pub rollbacks_under_way: u64,
    /// Partitions in which the others knew more of such a node than it did itself, so that it had to notice.
    pub rollbacks_noticed: u64,
}

impl DiskFaults {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            failed_commits: self.failed_commits + other.failed_commits,
            torn_stores_refused: self.torn_stores_refused + other.torn_stores_refused,
            lost_tails: self.lost_tails + other.lost_tails,
            rollbacks: self.rollbacks + other.rollbacks,
            rollbacks_under_way: self.rollbacks_under_way + other.rollbacks_under_way,
            rollbacks_noticed: self.rollbacks_noticed + other.rollbacks_noticed,
        }
    }
}

/// What became of the writes of a run that have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct NamedWrites {
    /// Writes that were asked for under a name.
    pub begun: u64,
    /// Times that one of them was asked for again.
    pub retries: u64,
    /// Retries that were answered by another owner than the one that had carried out the write.
    pub answered_elsewhere: u64,
    /// Answers that it is not known whether the write was carried out.
    pub unknown: u64,
    /// Writes that were carried out twice, since the owners had forgotten their names.
    pub forgotten: u64,
    /// Writes of which it is not known whether they were carried out, after all else has come to an end.
    pub undecided: u64,
}

impl NamedWrites {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            begun: self.begun + other.begun,
            retries: self.retries + other.retries,
            answered_elsewhere: self.answered_elsewhere + other.answered_elsewhere,
            unknown: self.unknown + other.unknown,
            forgotten: self.forgotten + other.forgotten,
            undecided: self.undecided + other.undecided,
        }
    }
}

/// What a run has been through, beside disks that fail and writes with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Course {
    /// Times that a node was paused.
    pub pauses: u64,
    /// Messages and requests that have waited for nodes that were paused.
    pub held: u64,
    /// Times that the physical clock of a node stopped.
    pub frozen_clocks: u64,
    /// Nodes that began to serve again, after they had come back, while the network was cut.
    pub recoveries_while_cut: u64,
    /// Times that the horizon of a node was raised.
    pub horizons_raised: u64,
    /// Requests that had to succeed, after all faults had ended.
    pub live_requests: u64,
    /// Times that one of them was made again.
    pub live_retries: u64,
}

impl Course {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            pauses: self.pauses + other.pauses,
            held: self.held + other.held,
            frozen_clocks: self.frozen_clocks + other.frozen_clocks,
            recoveries_while_cut: self.recoveries_while_cut + other.recoveries_while_cut,
            horizons_raised: self.horizons_raised + other.horizons_raised,
            live_requests: self.live_requests + other.live_requests,
            live_retries: self.live_retries + other.live_retries,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {} ({}): {} violations",
            self.seed,
            self.setting,
            self.violations.len()
        )?;
        for violation in self.violations.iter().take(5) {
            writeln!(f, "  {violation}")?;
        }
        write!(
            f,
            "  replay with: cargo run --release -p replica --example simulate -- --system {} \
             --seeds {}..{} (--shrink prints it as a small test)",
            self.system.letter(),
            self.seed,
            self.seed + 1
        )
    }
}
