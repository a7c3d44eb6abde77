//! Disks that are rolled back: when that may happen, and who must notice.

use crdt::{CausalContext, Dot, Knows as _, ReplicaId};

use super::Player;
use crate::sim::oracle::Simulated;
use crate::sim::simulation::Disk;
use crate::sim::workload::Workload;
use crate::{NodeId, Partition, PartitionId, State};

impl<P: Simulated, W: Workload<P>> Player<P, W> {
    /// Starts a node with an older image of its disk. Where it has written since what a write quorum knows, that may
    /// happen at any moment, like any loss of data. Otherwise nothing can tell that it is not what it was, and what it
    /// has acknowledged may be on its way: then all must be at rest.
    pub(super) fn roll_back(&mut self, node: NodeId) {
        let gossips = self.simulation.config().gossip.is_some();
        let Some(image) = self.images.get(&node).cloned() else {
            return;
        };
        if gossips || !self.down.is_empty() {
            return;
        }
        let stands_still = !self.paused().is_empty();
        if self.may_lose_data(node) && self.is_shown_to_be_older(node, &image) {
            return self.roll_back_under_way(node, image);
        }
        if stands_still {
            return;
        }
        let network = std::mem::take(&mut self.simulation.network);
        let limit_ms = self.schedule.settle_ms;
        self.simulation.heal_disks();
        // Until it has heard from others it would reuse the events that it has lost, for a request that is
        // forwarded to it; and those that nobody else knows are lost with its disk.
        let is_quiet = |player: &Self| {
            let mut nodes = player.simulation.node_ids();
            player.simulation.is_idle() && nodes.all(|node| player.is_up(node))
        };
        let is_safe = |player: &Self| is_quiet(player) && player.is_known_by_others(node);
        let mut may_go_on = self.run_until(limit_ms, is_quiet);
        self.simulation.run_for(network.longest_ms());
        may_go_on &= self.run_until(limit_ms, is_safe);
        if may_go_on {
            let before = self.knowledge_of_others(node);
            self.simulation.fail(node);
            self.simulation.set_disk(node, image);
            self.simulation.restart(node);
            self.disk_faults.rollbacks += 1;
            let must_notice = self.must_notice(node);
            if !self.run_until(limit_ms, |player| player.has_caught_up(node, &before)) {
                self.violation(&format!("{node} was rolled back and has not caught up"));
            }
            for (partition, id) in must_notice {
                let now = self
                    .partition(node, partition)
                    .and_then(Partition::incarnation);
                self.disk_faults.rollbacks_noticed += 1;
                if now == Some(id) {
                    self.violation(&format!("{node} was rolled back and has not noticed"));
                }
            }
        }
        self.simulation.network = network;
    }

    fn roll_back_under_way(&mut self, node: NodeId, image: Disk) {
        self.simulation.fail(node);
        self.simulation.set_disk(node, image);
        self.simulation.restart(node);
        self.disk_faults.rollbacks += 1;
        self.disk_faults.rollbacks_under_way += 1;
        let state = self.simulation.node(node).into_iter();
        let partitions = state.flat_map(crate::Node::partitions);
        let older = partitions.filter_map(|(p, own)| Some((node, p, own.incarnation()?)));
        self.rolled_back.extend(older);
    }

    /// Whether an image is older than what a node has shown to a write quorum, in every partition that it owns and by
    /// an event of the identity that it has there.
    fn is_shown_to_be_older(&self, node: NodeId, image: &Disk) -> bool {
        let config = crate::Config {
            node,
            ..self.simulation.config().clone()
        };
        let stored = |partition| Some(image.get(&partition)? as &dyn crate::Storage);
        let restored = crate::Node::<P>::restore(config, stored, 0, crate::Now::default());
        let (Ok(older), Some(state)) = (restored, self.simulation.node(node)) else {
            return false;
        };
        let others_needed = self.simulation.config().write_quorum as usize - 1;
        // Whose patience ends serves with what it has.
        let waits = self.simulation.config().restart_patience_ms == u64::MAX;
        let everybody_has_data = self.simulation.node_ids().all(|node| self.has_data(node));
        waits
            && everybody_has_data
            && state.partitions().all(|(partition, own)| {
                let Some(older) = older.partition(partition) else {
                    return false;
                };
                let (Some(id), first) = (own.incarnation(), older.replica().own_counter() + 1)
                else {
                    return false;
                };
                let is_shown = |counter| {
                    let event = Dot::new(id, counter);
                    let others = self.others(node).filter(|(p, _)| *p == partition);
                    let knows = others.filter(|(_, p)| p.replica().knowledge().base().knows(event));
                    knows.count() >= others_needed.max(1)
                };
                let mut since = first..=own.replica().own_counter();
                older.incarnation() == Some(id) && since.any(is_shown)
            })
    }

    /// Checks that nobody serves as who it was before its disk was rolled back, and forgets who has noticed.
    pub(super) fn check_rolled_back(&mut self) {
        let mut serving = Vec::new();
        let simulation = &self.simulation;
        self.rolled_back.retain(|(node, partition, id)| {
            let Some(state) = simulation.node(*node) else {
                return true;
            };
            let own = state.partition(*partition);
            let is_same = own.is_some_and(|own| own.incarnation() == Some(*id));
            if is_same && own.is_some_and(|own| own.state() == State::Up) {
                serving.push(*node);
            }
            is_same
        });
        for node in serving {
            self.violation(&format!("{node} was rolled back and serves as who it was"));
        }
    }

    fn partition(&self, node: NodeId, partition: PartitionId) -> Option<&Partition<P>> {
        self.simulation.node(node)?.partition(partition)
    }

    /// What the other owners of a node's partitions hold.
    fn others(&self, node: NodeId) -> impl Iterator<Item = (PartitionId, &Partition<P>)> + '_ {
        let others = self.simulation.node_ids().filter(move |n| *n != node);
        let others = others.filter_map(|other| self.simulation.node(other));
        let all = others.flat_map(|other| other.partitions());
        all.filter(move |(partition, _)| self.partition(node, *partition).is_some())
    }

    /// Whether of each event of a node some other owner knows.
    fn is_known_by_others(&self, node: NodeId) -> bool {
        let Some(state) = self.simulation.node(node) else {
            return false;
        };
        state.partitions().all(|(partition, own)| {
            let Some(id) = own.incarnation() else {
                return true;
            };
            let others = || self.others(node).filter(|(p, _)| *p == partition);
            (1..=own.replica().own_counter()).all(|counter| {
                let event = Dot::new(id, counter);
                others().any(|(_, other)| other.replica().knowledge().base().knows(event))
            })
        })
    }

    fn knowledge_of_others(&self, node: NodeId) -> Vec<(PartitionId, CausalContext)> {
        let others = self.others(node);
        others
            .map(|(partition, other)| (partition, other.replica().knowledge().base().clone()))
            .collect()
    }

    fn has_caught_up(&self, node: NodeId, others: &[(PartitionId, CausalContext)]) -> bool {
        self.is_up(node)
            && others.iter().all(|(partition, known)| {
                self.partition(node, *partition)
                    .is_some_and(|own| own.replica().knowledge().base() >= known)
            })
    }

    /// The partitions in which others know of events of this node that it does not know itself, or of a
    /// later life of it, each with its identity.
    fn must_notice(&self, node: NodeId) -> Vec<(PartitionId, ReplicaId)> {
        let Some(state) = self.simulation.node(node) else {
            return Vec::new();
        };
        let own = state.partitions();
        let own =
            own.filter_map(|(p, own)| Some((p, own.incarnation()?, own.replica().own_counter())));
        own.filter(|(partition, id, counter)| {
            let mut others = self.others(node).filter(|(p, _)| p == partition);
            others.any(|(_, other)| {
                let shown = other.replica().knowledge().base().last_counter(*id);
                shown > *counter || other.view().is_fenced(node.0, *id)
            })
        })
        .map(|(partition, id, _)| (partition, id))
        .collect()
    }
}
