//! What is looked at from outside: whether the cluster has settled, and whether the invariants hold.

use bytes::Bytes;
use crdt::{CausalContext, Lattice as _};
use std::collections::{BTreeMap, BTreeSet};

use super::{Round, Simulation};
use crate::sim::network::Network;
use crate::sim::oracle::{Oracle as _, Simulated, check_pair};
use crate::{Node, NodeId, Partition, PartitionId, State};

impl<P: Simulated> Simulation<P> {
    /// Heals the network, brings every node up, and runs until all nodes are ready, know the same and
    /// show the same; false if that takes more than `limit_ms`.
    pub fn settle(&mut self, limit_ms: u64) -> bool {
        self.network = Network::default();
        self.run_rounds(limit_ms).1
    }

    /// Runs a sync interval at a time until all nodes are ready and know the same, or `limit_ms` have
    /// passed; returns what happened in each, and whether they do. The network stays as it is.
    pub fn run_rounds(&mut self, limit_ms: u64) -> (Vec<Round>, bool) {
        let (end_ms, mut rounds) = (self.now_ms + limit_ms, Vec::new());
        loop {
            let settled = self.is_settled();
            if settled || self.now_ms >= end_ms {
                return (rounds, settled);
            }
            let (bytes, messages) = (self.bytes, self.messages);
            self.run_for(self.config.node.sync_interval_ms);
            rounds.push(Round {
                behind: self.owners_behind(),
                bytes: self.bytes - bytes,
                messages: self.messages - messages,
            });
        }
    }

    /// Whether all requests have been answered.
    pub(in crate::sim) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// How many owners lack something that another owner of the partition knows of all keys.
    fn owners_behind(&self) -> usize {
        let behind = self.owners.keys().map(|partition| {
            let mut all = CausalContext::default();
            for owner in self.up_owners(*partition) {
                all.join(owner.replica().knowledge().base());
            }
            let owners = self.up_owners(*partition);
            owners
                .filter(|owner| *owner.replica().knowledge().base() != all)
                .count()
        });
        behind.sum()
    }

    fn is_settled(&self) -> bool {
        // Where nobody knows the members nobody can tell who is dead, and exceptions may name their events.
        let gossips = self.config.node.gossip.is_some();
        let is_quiet = |p: &Partition<P>| {
            let exceptions = p.replica().knowledge().exception_count();
            p.state() == State::Up && (gossips || exceptions == 0)
        };
        let is_equal = |(partition, owners): (&PartitionId, &Vec<NodeId>)| {
            let mut up = self.up_owners(*partition);
            let Some(first) = up.next() else {
                return false;
            };
            let knowledge = first.replica().knowledge();
            let mut others = 1;
            let same = up.all(|other| {
                others += 1;
                is_quiet(other) && other.replica().knowledge() == knowledge
            });
            is_quiet(first) && same && others == owners.len()
        };
        self.asked.is_empty() && self.owners.iter().all(is_equal)
    }

    /// Checks the invariants at every node, and between all owners of each partition.
    pub fn check_all(&mut self) {
        for node in self.node_ids() {
            self.check(node);
        }
    }

    /// Reads every key at every node after all is quiet, then checks the whole history.
    pub fn check_final(&mut self) {
        let keys: BTreeSet<Bytes> = self
            .history
            .operations()
            .iter()
            .map(|op| op.key.clone())
            .collect();
        let placement = self.config.node.placement();
        for key in keys {
            let partition = placement.partition_of(&key);
            for node in self.owners.get(&partition).cloned().unwrap_or_default() {
                let owner = self.nodes.get(&node).and_then(|n| n.node.as_ref());
                let Some(owner) = owner.and_then(|n| n.partition(partition)) else {
                    continue;
                };
                match owner.cell_local(&key) {
                    Ok(cell) => {
                        let value = cell.and_then(P::shown);
                        self.history.push_final_read(node, key.clone(), value);
                    }
                    Err(error) => self
                        .violations
                        .push(format!("{node} does not serve: {error}")),
                }
            }
        }
        if let Err(found) = self.history.check() {
            self.violations.extend(found);
        }
    }

    /// What each owner of a key holds of it.
    pub fn held(&self, key: &Bytes) -> Vec<(NodeId, P::Cell)> {
        let partition = self.config.node.placement().partition_of(key);
        let up = self.up_owners(partition);
        up.map(|owner| {
            let cell = owner.replica().map().get(key).cloned();
            (owner.config().node, cell.unwrap_or_default())
        })
        .collect()
    }

    /// Whether the invariants are checked after every step.
    pub(in crate::sim) const fn checks_every_step(&self) -> bool {
        self.config.checks_every_step
    }

    /// The owners of each partition.
    pub(in crate::sim) const fn owners(&self) -> &BTreeMap<PartitionId, Vec<NodeId>> {
        &self.owners
    }

    /// The oracle has to see every event before logs are trimmed.
    pub(super) fn note_minted(&mut self, id: NodeId) {
        let node = self.nodes.get(&id).and_then(|n| n.node.as_ref());
        for (partition, state) in node.into_iter().flat_map(Node::partitions) {
            // Nobody has seen, or ever will see, what could not be made durable.
            if state.state() == State::StorageFailed {
                continue;
            }
            let oracle = self.oracles.entry(partition).or_default();
            if let Err(violation) = oracle.note_minted(state) {
                let now_ms = self.now_ms;
                self.violations.push(format!("at {now_ms} ms: {violation}"));
            }
        }
    }

    /// Checks one node: I1, I4 and I5, and I3 between it and every other owner. Where not every step is
    /// checked, only the owner after it.
    pub(in crate::sim) fn check(&mut self, id: NodeId) {
        self.note_minted(id);
        let Some(node) = self.nodes.get(&id).and_then(|n| n.node.as_ref()) else {
            return;
        };
        let mut found = Vec::new();
        for (partition, state) in node.partitions() {
            if state.state() == State::StorageFailed {
                continue;
            }
            let oracle = self.oracles.entry(partition).or_default();
            let own = oracle.check_node(state);
            let owners = self.owners.get(&partition).map_or(&[][..], Vec::as_slice);
            let others = owners.len().saturating_sub(1);
            let others = match self.config.checks_every_step {
                true => others,
                false => others.min(1),
            };
            let after = owners.iter().position(|owner| *owner == id);
            let after = after.map_or(0, |at| at + 1);
            let others = owners.iter().cycle().skip(after).take(others);
            let others = others.filter_map(|other| {
                let other = self.nodes.get(other)?.node.as_ref()?;
                other.partition(partition)
            });
            let pairs = others.map(|other| check_pair(state, other));
            found.extend(pairs.chain([own]).filter_map(Result::err));
        }
        for violation in found {
            self.violations
                .push(format!("at {} ms: {violation}", self.now_ms));
        }
    }
}
