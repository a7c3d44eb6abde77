//! Whether the nodes of a cluster hold the same: what `replicad verify` shows.

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::backend::NodeState;
use crate::store::Space;

/// What one node holds, partition by partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeVerification {
    /// The node.
    pub node: NodeId,
    /// Whether it serves.
    pub state: NodeState,
    /// What it holds. Empty if it could not be asked.
    pub partitions: Vec<PartitionSum>,
    /// What became of the check of its store.
    pub store: StoreVerdict,
}

/// What became of the check of a node's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreVerdict {
    /// It was not asked for, or there is no store to be checked.
    Unchecked,
    /// Every entry was read and is as it was written.
    Sound,
    /// It cannot be read, for this reason.
    Damaged(String),
    /// Another check is going on.
    Busy,
}

/// What a node holds of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionSum {
    /// The space.
    pub space: Space,
    /// The partition.
    pub partition: u32,
    /// A hash of what the node knows of all keys, in hexadecimal: nodes with the same hold the same.
    pub known: String,
    /// Intervals of keys of which it knows more.
    pub exceptions: usize,
    /// Checksum of what it shows, in hexadecimal.
    pub checksum: String,
}

/// What all nodes hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterVerification {
    /// The worst of all partitions and stores.
    pub outcome: Verdict,
    /// The partitions that are not equal everywhere.
    pub unequal: Vec<PartitionVerdict>,
    /// What each node says.
    pub nodes: Vec<NodeVerification>,
}

/// What the owners of one partition hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionVerdict {
    /// The space.
    pub space: Space,
    /// The partition.
    pub partition: u32,
    /// How they stand to each other.
    pub verdict: Verdict,
    /// The owners.
    pub owners: Vec<NodeId>,
}

/// How nodes stand to each other, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// They show the same.
    Equal,
    /// They differ, and in what they know too: some are still to hear of writes.
    Behind,
    /// Some did not say.
    Incomplete,
    /// They know the same and show something else, or a store is damaged.
    Damaged,
}

impl ClusterVerification {
    /// Compares what nodes say of the partitions that they own, as `owners` has them.
    pub fn compare(
        nodes: Vec<NodeVerification>,
        owners: impl IntoIterator<Item = (Space, u32, Vec<NodeId>)>,
    ) -> Self {
        let sums: BTreeMap<(Space, u32, NodeId), &PartitionSum> = nodes
            .iter()
            .flat_map(|node| {
                let of = |sum: &PartitionSum| (sum.space, sum.partition, node.node);
                node.partitions.iter().map(move |sum| (of(sum), sum))
            })
            .collect();
        let mut unequal = Vec::new();
        for (space, partition, owners) in owners {
            let held: Vec<_> = owners
                .iter()
                .map(|owner| sums.get(&(space, partition, *owner)).copied())
                .collect();
            let verdict = verdict(&held);
            if verdict != Verdict::Equal {
                unequal.push(PartitionVerdict {
                    space,
                    partition,
                    verdict,
                    owners,
                });
            }
        }
        let of_stores = nodes.iter().map(|node| match node.store {
            StoreVerdict::Damaged(_) => Verdict::Damaged,
            StoreVerdict::Busy => Verdict::Incomplete,
            StoreVerdict::Unchecked | StoreVerdict::Sound => Verdict::Equal,
        });
        let of_partitions = unequal.iter().map(|partition| partition.verdict);
        let worst = of_stores.chain(of_partitions).max();
        Self {
            outcome: worst.unwrap_or(Verdict::Equal),
            unequal,
            nodes,
        }
    }
}

fn verdict(held: &[Option<&PartitionSum>]) -> Verdict {
    let said: Vec<&PartitionSum> = held.iter().copied().flatten().collect();
    let mut by_knowledge: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for sum in said.iter().filter(|sum| sum.exceptions == 0) {
        by_knowledge
            .entry(&sum.known)
            .or_default()
            .insert(&sum.checksum);
    }
    let checksums: BTreeSet<&str> = said.iter().map(|sum| &sum.checksum[..]).collect();
    if by_knowledge.values().any(|checksums| checksums.len() > 1) {
        Verdict::Damaged
    } else if said.len() < held.len() {
        Verdict::Incomplete
    } else if checksums.len() > 1 {
        Verdict::Behind
    } else {
        Verdict::Equal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, known: &str, exceptions: usize, checksum: &str) -> NodeVerification {
        NodeVerification {
            node: NodeId(id),
            state: NodeState::Up,
            partitions: vec![PartitionSum {
                space: Space::Strings,
                partition: 0,
                known: known.into(),
                exceptions,
                checksum: checksum.into(),
            }],
            store: StoreVerdict::Unchecked,
        }
    }

    fn outcome(nodes: Vec<NodeVerification>) -> Verdict {
        let owners = vec![NodeId(1), NodeId(2), NodeId(3)];
        ClusterVerification::compare(nodes, [(Space::Strings, 0, owners)]).outcome
    }

    #[test]
    fn only_a_difference_that_knowledge_does_not_explain_is_damage() {
        let one = || node(1, "k", 0, "a");
        let two = || node(2, "k", 0, "a");
        assert_eq!(
            outcome(vec![one(), two(), node(3, "k", 0, "a")]),
            Verdict::Equal
        );
        assert_eq!(
            outcome(vec![one(), two(), node(3, "j", 0, "a")]),
            Verdict::Equal
        );
        assert_eq!(
            outcome(vec![one(), two(), node(3, "j", 0, "b")]),
            Verdict::Behind
        );
        assert_eq!(
            outcome(vec![one(), two(), node(3, "k", 1, "b")]),
            Verdict::Behind
        );
        assert_eq!(
            outcome(vec![one(), two(), node(3, "k", 0, "b")]),
            Verdict::Damaged
        );
        assert_eq!(outcome(vec![one(), two()]), Verdict::Incomplete);
        assert_eq!(outcome(vec![one(), node(2, "k", 0, "b")]), Verdict::Damaged);
    }

    #[test]
    fn a_damaged_store_is_worse_than_everything() {
        let mut three = node(3, "k", 0, "a");
        three.store = StoreVerdict::Damaged("a page".into());
        let nodes = vec![node(1, "k", 0, "a"), node(2, "k", 0, "a"), three];
        assert_eq!(outcome(nodes), Verdict::Damaged);
    }
}
