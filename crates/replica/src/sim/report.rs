//! How a run went.

use std::fmt;

use super::simulation::Round;
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
    /// Operations that succeeded, and all that were made.
    pub succeeded: (usize, usize),
    /// Nodes.
    pub nodes: u32,
    /// Whether the healed cluster has converged.
    pub converged: bool,
    /// Each sync interval from the end of all faults until it had.
    pub rounds: Vec<Round>,
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
