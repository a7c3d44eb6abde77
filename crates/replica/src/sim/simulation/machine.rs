//! The machines that nodes run on: their disks and clocks, and how they go down and come back.

use rand::RngExt as _;
use std::collections::BTreeMap;

use super::stalls::Pause;
use super::{Disk, Simulation, counters_of};
use crate::sim::oracle::Simulated;
use crate::storage::CommitFault;
use crate::{
    Config, MemoryStorage, Node, NodeId, Now, PartitionId, RequestError, RequestId, Storage as _,
    StorageError, WriteBatch,
};

#[derive(Debug)]
pub(super) struct SimNode<P: Simulated> {
    pub(super) node: Option<Node<P>>,
    pub(super) storage: BTreeMap<PartitionId, MemoryStorage>,
    /// How far the node's physical clock is ahead of virtual time, in milliseconds.
    pub(super) skew_ms: i64,
    /// When the next timeout is queued for.
    pub(super) wakes_at: Option<u64>,
    /// How its next commit fails.
    pub(super) next_fault: Option<CommitFault>,
    /// What has waited for it since it was paused.
    pub(super) pause: Option<Pause<P>>,
    /// What its physical clock shows while it stands still.
    pub(super) frozen_unix_ms: Option<u64>,
}

impl<P: Simulated> SimNode<P> {
    /// Makes a batch durable, or a part of it if the commit is to fail.
    pub(super) fn commit(
        &mut self,
        partition: PartitionId,
        batch: &WriteBatch,
    ) -> Result<(), StorageError> {
        let storage = self.storage.entry(partition).or_default();
        let Some(fault) = self.next_fault.take() else {
            return storage.commit(batch);
        };
        let kept = match fault {
            CommitFault::Gone => 0,
            CommitFault::Whole => batch.changes.len(),
            CommitFault::Prefix(kept) => kept.min(batch.changes.len()),
        };
        let changes = batch.changes[..kept].to_vec();
        storage.commit(&WriteBatch { changes })?;
        Err(StorageError::new("commit", "injected fault"))
    }
}

impl<P: Simulated> Simulation<P> {
    /// Takes a node down; with its disk if it has one, otherwise with all its data.
    pub fn fail(&mut self, node: NodeId) {
        // What has waited for it is lost with it.
        drop(self.end_pause(node));
        let failed = self.nodes.get_mut(&node).and_then(|n| {
            n.next_fault = None;
            n.node.take()
        });
        self.past.extend(failed.iter().flat_map(counters_of));
        let lost = self.asked.iter().filter(|(_, asked)| asked.node == node);
        let lost: Vec<RequestId> = lost.map(|(id, _)| *id).collect();
        for request in lost {
            // Nobody knows whether a write that was pending has taken effect.
            self.note_reply(
                request,
                Err(RequestError::NoMajority {
                    acknowledged: 0,
                    needed: 0,
                    may_take_effect: true,
                }),
            );
        }
    }

    /// Brings a node back without its data.
    pub fn recover(&mut self, node: NodeId) {
        let (config, random, now) = (self.node_config(node), self.rng.random(), self.now_of(node));
        let recovered = Node::recover(config, random, now).expect("a valid configuration");
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.storage = BTreeMap::new();
            sim_node.node = Some(recovered);
            sim_node.wakes_at = None;
        }
        self.after_input(node);
    }

    /// Brings a node back with what is on its disk, or, if that is nothing, without data.
    ///
    /// # Panics
    /// If the disk holds what no node can have stored.
    pub fn restart(&mut self, node: NodeId) {
        let restarted = self.try_restart(node);
        restarted.unwrap_or_else(|error| panic!("the disk of {node} is refused: {error}"));
    }

    /// The same for a disk that may be broken. If it is refused the node stays down.
    ///
    /// # Errors
    /// Why the disk is refused.
    pub fn try_restart(&mut self, node: NodeId) -> Result<(), StorageError> {
        self.start_with(node, |config, disk, random, now| {
            let storage = |partition| Some(disk.get(&partition)? as &dyn crate::Storage);
            Node::restore(config, storage, random, now)
        })
    }

    /// Brings a node back that may have lost a part of its data, with what is on its disk as a head start:
    /// [`Node::recover_with`]. If the disk is refused the node stays down.
    ///
    /// # Errors
    /// Why the disk is refused.
    pub fn recover_with(&mut self, node: NodeId) -> Result<(), StorageError> {
        self.start_with(node, |config, disk, random, now| {
            let storage = |partition| Some(disk.get(&partition)? as &dyn crate::Storage);
            Node::recover_with(config, storage, random, now)
        })
    }

    fn start_with(
        &mut self,
        node: NodeId,
        start: impl FnOnce(Config, &Disk, u64, Now) -> Result<Node<P>, StorageError>,
    ) -> Result<(), StorageError> {
        let (config, random, now) = (self.node_config(node), self.rng.random(), self.now_of(node));
        let Some(sim_node) = self.nodes.get_mut(&node) else {
            return Ok(());
        };
        sim_node.node = Some(start(config, &sim_node.storage, random, now)?);
        sim_node.wakes_at = None;
        self.after_input(node);
        Ok(())
    }

    /// Makes the next commit of a node fail, unless it goes down before. After a failed commit the node does
    /// nothing more; [`fail`](Self::fail) and [`try_restart`](Self::try_restart) bring it back with what was
    /// left of the commit.
    pub fn fail_next_commit(&mut self, node: NodeId, fault: CommitFault) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.next_fault = Some(fault);
        }
    }

    /// Commits that were to fail no longer will.
    pub fn heal_disks(&mut self) {
        for node in self.nodes.values_mut() {
            node.next_fault = None;
        }
    }

    /// Whether the next commit of a node may leave a store that is refused.
    pub(in crate::sim) fn is_about_to_tear(&self, node: NodeId) -> bool {
        let fault = self.nodes.get(&node).and_then(|n| n.next_fault);
        matches!(fault, Some(CommitFault::Prefix(_)))
    }

    /// The state of a node's disk, to be put back later with [`set_disk`](Self::set_disk).
    pub fn disk(&self, node: NodeId) -> Option<Disk> {
        self.nodes.get(&node).map(|n| n.storage.clone())
    }

    /// Replaces a node's disk, as restoring an old image does.
    pub fn set_disk(&mut self, node: NodeId, disk: Disk) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.storage = disk;
        }
    }

    /// Sets how far a node's physical clock is ahead of virtual time.
    pub fn set_skew(&mut self, node: NodeId, skew_ms: i64) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.skew_ms = skew_ms;
        }
    }

    /// An operator's decision that a recovering node goes on with fewer sources.
    pub fn accept_loss(&mut self, node: NodeId) {
        self.input(node, |node, now| node.handle_accept_loss(now));
    }

    /// Raises the horizon of a node that takes the caller's timestamps: [`Node::handle_horizon`].
    pub fn raise_horizon(&mut self, node: NodeId, horizon: crdt::Timestamp) {
        self.input(node, |node, now| node.handle_horizon(horizon, now));
    }

    /// Tells a node whether it can reach another.
    pub fn hint(&mut self, node: NodeId, other: NodeId, reachable: bool) {
        self.input(node, |node, now| {
            node.handle_reachable(other, reachable, now);
        });
    }
}
