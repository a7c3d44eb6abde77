//! How a cluster is configured.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Cluster;
use super::latency::{Latency, MAX_LATENCY};
use crate::{Config, ConfigError, Lww, NodeId, Policy};

/// A cluster to be configured and started.
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `build`"]
pub struct ClusterBuilder {
    config: Config,
    seed: Option<u64>,
    latency: Option<(RangeInclusive<Duration>, u64)>,
}

/// A cluster could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Durability was asked for, which needs storage; the nodes of this cluster have none.
    #[error("the nodes of an in-process cluster have no storage: `durable` must be off")]
    Durable,
    /// The operating system has refused a thread.
    #[error("the background thread could not be started: {0}")]
    Thread(String),
    /// The range of latencies is empty, or goes beyond an hour.
    #[error(
        "latencies from {shortest:?} to {longest:?}: the first must not be above the second, and that \
         not above {MAX_LATENCY:?}"
    )]
    Latency {
        /// Where the range starts.
        shortest: Duration,
        /// Where it ends.
        longest: Duration,
    },
}

impl ClusterBuilder {
    pub(super) const fn new(nodes: u32) -> Self {
        Self {
            config: Config::new(NodeId(1), nodes),
            seed: None,
            latency: None,
        }
    }

    /// Changes the configuration, which is the same for all nodes; `node` is set for each.
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Seeds the random bits of identities, which otherwise come from the operating system.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Makes every message between nodes take some time, drawn from the range for each by itself, so that
    /// later ones may overtake earlier ones. `seed` seeds the draws; which message gets which depends on the
    /// threads. One thread in the background delivers them all. Without this messages are direct calls.
    ///
    /// What a node that does not own a key asks of an owner stays a call. A latency near
    /// [`Config::request_timeout_ms`] makes requests fail.
    ///
    /// ```
    /// use replica::{Cluster, Command, Level, NodeId, Request};
    /// use std::time::Duration;
    ///
    /// let range = Duration::from_millis(2)..=Duration::from_millis(5);
    /// let cluster = Cluster::builder(3).latency(range, 7).build()?;
    /// let put = Command::put("k".into(), "v".into());
    /// cluster.node(NodeId(1)).execute(Request::new(put, Level::Quorum))?;
    /// cluster.wait_until_settled(Duration::from_secs(10))?;
    /// assert_eq!(cluster.node(NodeId(3)).read_local(b"k")?, Some("v".into()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn latency(mut self, range: RangeInclusive<Duration>, seed: u64) -> Self {
        self.latency = Some((range, seed));
        self
    }

    /// Starts the cluster, all nodes up and empty.
    ///
    /// # Errors
    /// If the configuration cannot work, or no thread can be started.
    pub fn build(self) -> Result<Cluster, ClusterError> {
        self.build_for::<Lww>()
    }

    /// The same with another conflict policy.
    ///
    /// # Errors
    /// If the configuration cannot work, or no thread can be started.
    pub fn build_for<P: Policy>(self) -> Result<Cluster<P>, ClusterError> {
        if self.config.durable {
            return Err(ClusterError::Durable);
        }
        // Also bounds the numbers of nodes and partitions before anything is allocated for each of them.
        self.config.validate()?;
        let seed = self.seed.unwrap_or_else(random_seed);
        let latency = self.latency.map(|(range, seed)| Latency::new(range, seed));
        Cluster::start(&self.config, seed, latency.transpose()?)
    }
}

/// Randomness of the operating system: the keys of a new hasher.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
