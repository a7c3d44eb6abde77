//! Which nodes hold a key.

use serde::{Deserialize, Serialize};
use std::fmt;
use twox_hash::XxHash3_64;

use crate::NodeId;

/// One part of the key space, with state, clock and owners of its own: from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PartitionId(pub u32);

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition {}", self.0)
    }
}

/// The fixed assignment of keys to partitions and of partitions to nodes.
///
/// A key belongs to the partition that its hash falls into. A partition belongs to the `K` nodes with the
/// highest score for it, in the order of the score: rendezvous hashing, so that every node computes the
/// same owners from the same three numbers and each node owns about `P * K / N` partitions. Hash
/// functions are frozen: XXH3-64 with seed 0 of the key, and of partition and node as little-endian
/// 32-bit numbers.
///
/// Source: Thaler, Ravishankar, *Using Name-Based Mappings to Increase Hit Rates*, 1998.
///
/// ```
/// use replica::{NodeId, Placement};
///
/// let placement = Placement::new(100, 3, 1024);
/// let owners = placement.owners(placement.partition_of(b"key"));
/// assert_eq!(owners.len(), 3);
/// assert!(owners.iter().all(|NodeId(node)| (1..=100).contains(node)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    nodes: u32,
    replication_factor: u32,
    partitions: u32,
}

impl Placement {
    /// The placement of `partitions` on `nodes`, each on `replication_factor` of them.
    ///
    /// # Panics
    /// If there are no partitions.
    pub const fn new(nodes: u32, replication_factor: u32, partitions: u32) -> Self {
        assert!(partitions > 0, "a store has at least one partition");
        Self {
            nodes,
            replication_factor,
            partitions,
        }
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + use<> {
        (0..self.partitions).map(PartitionId)
    }

    /// The partition of a key.
    pub fn partition_of(&self, key: &[u8]) -> PartitionId {
        if self.partitions == 1 {
            return PartitionId(0);
        }
        let hash = u128::from(XxHash3_64::oneshot(key));
        // The upper part of hash times partitions: uniform for any number of partitions.
        PartitionId(((hash * u128::from(self.partitions)) >> 64) as u32)
    }

    /// The owners of a partition, the preferred ones first. Linear in the nodes, times a logarithm.
    pub fn owners(&self, partition: PartitionId) -> Vec<NodeId> {
        let score = |node: &NodeId| {
            let (p, n) = (partition.0.to_le_bytes(), node.0.to_le_bytes());
            XxHash3_64::oneshot(&[p, n].concat())
        };
        let mut nodes: Vec<NodeId> = (1..=self.nodes).map(NodeId).collect();
        nodes.sort_by_cached_key(|node| std::cmp::Reverse((score(node), node.0)));
        nodes.truncate(self.replication_factor as usize);
        nodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_placement_is_the_frozen_one() {
        let placement = Placement::new(5, 3, 16);
        assert_eq!(placement.partition_of(b""), PartitionId(2));
        assert_eq!(placement.partition_of(b"key"), PartitionId(11));
        assert_eq!(Placement::new(5, 3, 1).partition_of(b"key"), PartitionId(0));
        assert_eq!(PartitionId(7).to_string(), "partition 7");
        let owners = placement.owners(PartitionId(7));
        assert_eq!(owners, [4, 5, 3].map(NodeId));
    }

    #[test]
    fn nodes_own_about_as_much_as_each_other() {
        let placement = Placement::new(100, 3, 4096);
        let mut owned = BTreeMap::<NodeId, u32>::new();
        for partition in placement.partitions() {
            let mut owners = placement.owners(partition);
            owners
                .iter()
                .for_each(|o| *owned.entry(*o).or_default() += 1);
            owners.sort();
            owners.dedup();
            assert_eq!(owners.len(), 3, "distinct");
        }
        assert_eq!(owned.len(), 100);
        // 123 on average; the standard deviation is 11.
        assert!(owned.values().all(|count| (70..180).contains(count)));
    }

    #[test]
    fn a_node_more_takes_only_what_becomes_its_own() {
        let (few, more) = (Placement::new(9, 3, 256), Placement::new(10, 3, 256));
        for partition in few.partitions() {
            let (before, after) = (few.owners(partition), more.owners(partition));
            let gone = before.iter().filter(|owner| !after.contains(owner)).count();
            assert_eq!(gone, usize::from(after.contains(&NodeId(10))));
        }
    }
}
