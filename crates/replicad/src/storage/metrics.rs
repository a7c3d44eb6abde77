//! What is counted of a store while it is open.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::time::Duration;

use crate::metrics::{Figures, durations};

/// What is counted of a store while it is open. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct StoreMetrics {
    seconds: Histogram,
    changes: Histogram,
    failed: Counter,
    syncs: Counter,
    lost: Counter,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            seconds: durations(),
            changes: Histogram::new(exponential_buckets(1.0, 4.0, 9)),
            failed: Counter::default(),
            syncs: Counter::default(),
            lost: Counter::default(),
        }
    }
}

impl StoreMetrics {
    /// Counts a transaction.
    pub(super) fn committed(&self, took: Duration, changes: usize, synced: bool) {
        self.seconds.observe(took.as_secs_f64());
        self.changes.observe(changes as f64);
        if synced {
            self.syncs.inc();
        }
    }

    /// Counts a transaction that was not made.
    pub(super) fn failed(&self) {
        self.failed.inc();
    }

    /// Counts partitions that had lost their data when the store was opened, since an earlier one was damaged.
    pub(crate) fn lost(&self, partitions: u64) {
        self.lost.inc_by(partitions);
    }

    /// Adds what was counted.
    pub(crate) fn show(&self, figures: &mut Figures) {
        let registry = figures.registry();
        registry.register(
            "storage_commit_duration_seconds",
            "How long a commit took, with its sync if it had one",
            self.seconds.clone(),
        );
        registry.register(
            "storage_commit_changes",
            "Entries written or removed by a commit",
            self.changes.clone(),
        );
        registry.register(
            "storage_commits_failed",
            "Commits that were not made",
            self.failed.clone(),
        );
        registry.register(
            "storage_syncs",
            "Commits that reached the disk before they counted as made",
            self.syncs.clone(),
        );
        registry.register(
            "storage_partitions_lost",
            "Partitions that a damaged store has lost, and that were fetched from the other nodes",
            self.lost.clone(),
        );
    }
}
