//! How a cluster is configured.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};

use super::Cluster;
use crate::{Config, ConfigError, Lww, NodeId, Policy};

/// A cluster to be configured and started.
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `build`"]
pub struct ClusterBuilder {
    config: Config,
    seed: Option<u64>,
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
}

impl ClusterBuilder {
    pub(super) const fn new(nodes: u32) -> Self {
        Self {
            config: Config::new(NodeId(1), nodes),
            seed: None,
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
        Cluster::start(&self.config, seed)
    }
}

/// Randomness of the operating system: the keys of a new hasher.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
