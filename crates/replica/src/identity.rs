//! Nodes, and the incarnations under which they write.

use crdt::ReplicaId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A machine of the cluster: its position in the fixed list of nodes, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// The identity under which `node` writes: the node in the upper 32 bits, then 16 bits of incarnation
/// number and 16 random bits. A node that starts without its former state takes a higher number, so
/// its dots are never reused; the random bits keep two starts apart that chose the same number.
pub fn incarnation(node: NodeId, number: u16, random: u16) -> ReplicaId {
    ReplicaId(u64::from(node.0) << 32 | u64::from(number) << 16 | u64::from(random))
}

/// The node that writes under an identity.
pub fn node_of(replica: ReplicaId) -> NodeId {
    NodeId((replica.0 >> 32) as u32)
}

/// Which incarnation of its node an identity is.
pub fn incarnation_number(replica: ReplicaId) -> u16 {
    (replica.0 >> 16 & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_gives_back_what_it_was_made_of() {
        for (node, number) in [(1, 0), (7, 3), (1_023, 0xffff)] {
            let id = incarnation(NodeId(node), number, 0xa5a5);
            assert_eq!(
                (node_of(id), incarnation_number(id)),
                (NodeId(node), number)
            );
        }
        assert_eq!(NodeId(7).to_string(), "node 7");
    }

    #[test]
    fn a_later_incarnation_is_larger_whatever_its_random_bits() {
        let (old, new) = (
            incarnation(NodeId(7), 3, 0xffff),
            incarnation(NodeId(7), 4, 0),
        );
        assert!(old < new);
        assert_eq!((node_of(old), incarnation_number(old)), (NodeId(7), 3));
    }
}
