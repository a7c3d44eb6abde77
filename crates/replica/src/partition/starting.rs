//! The ways in which a node starts with a partition.

use bytes::Bytes;
use crdt::{MapReplica, Promises, ReplicaId};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::audit::Audits;
use super::changes::Changes;
use super::journal::{Identity, Journal};
use super::operations::Operations;
use super::pace::Pace;
use super::peers::Peers;
use super::pending_reads::PendingReads;
use super::pending_writes::PendingWrites;
use super::recovery::Recovery;
use super::{Counters, Partition, Phase};
use crate::clock::Clock;
use crate::storage::{Storage, StorageError};
use crate::{ClockKind, Config, ConfigError, Now, Policy};

impl<P: Policy> Partition<P> {
    /// Starts a node of a brand-new cluster, empty and ready at once. A driver MUST call it only on an
    /// operator's explicit word that the cluster has never held data, once for each node; a node that
    /// finds no data otherwise is [recovered](Self::recover).
    ///
    /// `random` seeds the random bits of identities; it must differ from node to node and start to
    /// start.
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn bootstrap(config: Config, random: u64, now: Now) -> Result<Self, ConfigError> {
        let mut partition = Self::empty(config, random, now)?;
        // A node that lost its data takes number 1 at least: it comes after this one even where none of
        // its sources has heard of this one.
        let id = crate::incarnation(partition.config.node, 0, partition.random_bits());
        partition.adopt_identity(id);
        partition.phase = Phase::Ready;
        Ok(partition)
    }

    /// Starts a node that has lost its data. It takes a new identity, catches up from the others, and
    /// serves once it is reconciled.
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn recover(config: Config, random: u64, now: Now) -> Result<Self, ConfigError> {
        let mut partition = Self::empty(config, random, now)?;
        if partition.config.gossip.is_some() {
            partition.join_gossip();
        } else {
            partition.say_hello();
        }
        Ok(partition)
    }

    /// Starts a node that may have lost a part of its data: after an unclean stop under a sync policy
    /// weaker than [`Storage`] asks for, or from an older copy of its storage or of another node's. It
    /// takes a new identity and catches up from the others like one that is
    /// [recovered](Self::recover), and is spared most of the transfer: what the storage holds is its head
    /// start. `None` if the storage holds nothing.
    ///
    /// The storage MUST hold the state after some prefix of the commits of one node of this cluster.
    ///
    /// # Errors
    /// If the storage cannot be read, or holds what no node can have stored.
    pub fn recover_with(
        config: Config,
        storage: &dyn Storage,
        random: u64,
        now: Now,
    ) -> Result<Option<Self>, StorageError> {
        let mut partition = Self::empty(config, random, now)?;
        if !partition.restore_from(storage, Identity::GivenUp)? {
            return Ok(None);
        }
        partition.start_over();
        Ok(Some(partition))
    }

    /// Starts a node with the state in its storage; `None` if the storage holds none.
    ///
    /// It serves once other owners have shown that it knows what it had acknowledged, or after
    /// [`Config::restart_patience_ms`]: its disk may have been rolled back, and what it wrote then would be taken for
    /// events that others know already. Where that shows it goes on under a new identity.
    ///
    /// # Errors
    /// If the storage cannot be read, or holds what no node can have stored.
    pub fn restore(
        config: Config,
        storage: &dyn Storage,
        random: u64,
        now: Now,
    ) -> Result<Option<Self>, StorageError> {
        let mut partition = Self::empty(config, random, now)?;
        let restored = partition.restore_from(storage, Identity::Kept)?;
        partition.now = now;
        partition.ask_for_confirmation();
        Ok(restored.then_some(partition))
    }

    pub(super) fn empty(config: Config, random: u64, now: Now) -> Result<Self, ConfigError> {
        config.validate()?;
        if config.clock == ClockKind::Caller && !P::BY_TIME {
            return Err(ConfigError::TimestampsDecideNothing);
        }
        Ok(Self {
            clock: Clock::new(&config),
            replica: prepared(MapReplica::new(ReplicaId(0)), random),
            view: Arc::default(),
            included: Arc::default(),
            promises: Promises::default(),
            retired: BTreeMap::new(),
            phase: Phase::Recovering(Recovery::nameless()),
            peers: Peers::new(&config),
            writes: PendingWrites::default(),
            reads: PendingReads::new(random),
            operations: Operations::new(match config.gossip {
                Some(_) => 0,
                None => config.operation_memory,
            }),
            pace: Pace::default(),
            journal: Journal::new(config.durable),
            changes: Changes::default(),
            outputs: Vec::new(),
            random,
            // Nodes that start together do not all compare knowledge in the same moment.
            next_tick_ms: now.elapsed_ms
                + config.sync_interval_ms * u64::from(config.node.0) / u64::from(config.nodes),
            asked_chunk: None,
            digest: None,
            audits: Audits::default(),
            stable: Arc::default(),
            now,
            counters: Counters::default(),
            config,
        })
    }
}

/// A replica whose look-ups know that keys are bytes, which strangers choose.
pub(super) fn prepared<C: crdt::Cell>(
    mut replica: MapReplica<Bytes, C>,
    random: u64,
) -> MapReplica<Bytes, C> {
    replica.set_hash_seed(random);
    replica.order_by_bytes(|key| key);
    replica
}
