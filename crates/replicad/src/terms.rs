//! What all nodes of a cluster have to agree on, and what a data directory was written under.

use replica::Config;
use serde::{Deserialize, Serialize};
use std::fmt;

use crate::store::ConflictPolicy;

/// The settings of a store that change what its bytes mean, or what its nodes promise together.
///
/// Nodes say them to each other before anything else, and a connection between nodes that differ is refused: one that
/// places keys elsewhere, or waits for fewer nodes, would break promises of the others without an error anywhere. A
/// data directory keeps them, and a node refuses to start with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreTerms {
    /// What strings do with concurrent writes.
    pub conflict: ConflictPolicy,
    /// Nodes of the cluster.
    pub nodes: u32,
    /// Nodes that hold each key.
    pub replication_factor: u32,
    /// Parts of the key space.
    pub partitions: u32,
    /// Nodes that must hold a write.
    pub write_quorum: u32,
    /// Nodes that a read joins.
    pub read_quorum: u32,
}

/// A setting that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {ours} here and {theirs} there")]
pub struct TermsDifference {
    /// Its name in the configuration.
    pub name: &'static str,
    /// What it is here.
    pub ours: String,
    /// What it is there.
    pub theirs: String,
}

impl StoreTerms {
    /// The terms of a node that is told so.
    pub const fn new(conflict: ConflictPolicy, config: &Config) -> Self {
        Self {
            conflict,
            nodes: config.nodes,
            replication_factor: config.replication_factor,
            partitions: config.partitions,
            write_quorum: config.write_quorum,
            read_quorum: config.read_quorum,
        }
    }

    /// The first setting on which two nodes differ.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_peer(&self, theirs: &Self) -> Result<(), TermsDifference> {
        self.check_stored(theirs)?;
        same(
            "store.write_quorum",
            &self.write_quorum,
            &theirs.write_quorum,
        )?;
        same("store.read_quorum", &self.read_quorum, &theirs.read_quorum)
    }

    /// The first setting on which this node differs from what its data was written under. The quorums are not
    /// looked at: with all nodes stopped they may be changed, and what was acknowledged keeps the promise of then.
    ///
    /// # Errors
    /// If there is one.
    pub fn check_stored(&self, theirs: &Self) -> Result<(), TermsDifference> {
        let conflict = [self.conflict, theirs.conflict].map(ConflictPolicy::as_str);
        same("store.conflict", &conflict[0], &conflict[1])?;
        same("the number of cluster.nodes", &self.nodes, &theirs.nodes)?;
        same(
            "store.replication_factor",
            &self.replication_factor,
            &theirs.replication_factor,
        )?;
        same("store.partitions", &self.partitions, &theirs.partitions)
    }
}

fn same<T: PartialEq + fmt::Display>(
    name: &'static str,
    ours: &T,
    theirs: &T,
) -> Result<(), TermsDifference> {
    if ours == theirs {
        return Ok(());
    }
    let (ours, theirs) = (ours.to_string(), theirs.to_string());
    Err(TermsDifference { name, ours, theirs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use replica::NodeId;

    #[test]
    fn each_difference_is_named() {
        let ours = StoreTerms::new(ConflictPolicy::Hybrid, &Config::new(NodeId(1), 3));
        assert_eq!(ours.check_peer(&ours), Ok(()));
        type Change = fn(&mut StoreTerms);
        let changes: [(&str, Change); 6] = [
            ("store.conflict", |t| t.conflict = ConflictPolicy::Siblings),
            ("the number of cluster.nodes", |t| t.nodes = 5),
            ("store.replication_factor", |t| t.replication_factor = 1),
            ("store.partitions", |t| t.partitions = 99),
            ("store.write_quorum", |t| t.write_quorum = 3),
            ("store.read_quorum", |t| t.read_quorum = 3),
        ];
        for (name, change) in changes {
            let mut theirs = ours;
            change(&mut theirs);
            let difference = ours.check_peer(&theirs).expect_err(name);
            assert_eq!(difference.name, name);
            assert_ne!(difference.ours, difference.theirs);
            let stored = ours.check_stored(&theirs);
            assert_eq!(stored.is_ok(), name.ends_with("quorum"), "{name}");
        }
    }
}
