//! Copies of replicas, which are not `Clone`: two that wrote would give one dot to two events.

use crdt::{Cell, MapReplica};
use std::fmt::Debug;
use std::hash::Hash;

/// A second replica in the state of the first, under the same identity: for checks that go on from one
/// state in several ways, of which only one is the real one.
///
/// # Panics
/// If the replica breaks an invariant.
#[must_use]
pub fn copy_of<K: Ord + Clone + Debug + Hash, C: Cell>(
    replica: &MapReplica<K, C>,
) -> MapReplica<K, C> {
    let map = replica.map();
    let entries = map.entries().map(|(key, cell)| (key.clone(), cell.clone()));
    let log = replica.log().iter().map(|(dot, key)| (dot, key.clone()));
    MapReplica::restore(replica.id(), entries, map.knowledge().clone(), log)
        .expect("a replica keeps its invariants")
}
