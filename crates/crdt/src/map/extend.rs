//! Many writes to a map in one go.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;

use crate::map::map_replica::{MapReplica, Written};
use crate::{Cell, Dot};

impl<K: Ord + Hash + Clone + Debug, C: Cell> MapReplica<K, C> {
    /// Writes many keys, each with an item of its own, and returns the listings that tell others: one for
    /// each item, in their order.
    ///
    /// # Panics
    /// As [`write`](Self::write).
    ///
    /// ```
    /// use crdt::{MapReplica, MvCell, ReplicaId};
    ///
    /// let mut here = MapReplica::<&str, MvCell<u8>>::new(ReplicaId(1));
    /// let mut there = MapReplica::new(ReplicaId(2));
    /// let written = here.extend([("a", 1), ("b", 2)], |cell, dot, value| cell.write(dot, value));
    /// for write in &written {
    ///     there.join(&write.listing)?;
    /// }
    /// assert_eq!(here.map(), there.map());
    /// assert!(there.map().get("b").is_some_and(|cell| cell.values().eq([&2])));
    /// # Ok::<(), crdt::IdentityReused>(())
    /// ```
    #[must_use = "the listings must reach the other replicas"]
    pub fn extend<T>(
        &mut self,
        items: impl IntoIterator<Item = (K, T)>,
        mut change: impl FnMut(&mut C, Dot, T),
    ) -> Vec<Written<K, C>> {
        let items = items.into_iter();
        items
            .map(|(key, item)| self.write(key, |cell, dot| change(cell, dot, item)))
            .collect()
    }
}
