//! What joining two maps changed, key by key.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;

use crate::causal::{Causal, CausalReplica, DotMap, IdentityReused};
use crate::{Cell, Change, Lattice};

/// What a join changed in a map: enough to bring an index up to date without comparing maps.
///
/// Each key is in at most one list, and each list ascends. Made by `join_report` of
/// [`CausalReplica`], of [`Causal`] and of [`LwwMap`](crate::LwwMap); the joins of a
/// [`MapReplica`](crate::MapReplica) return a [`Joined`](crate::Joined).
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, ObjectId, OrMap, ReplicaId};
///
/// let mut a = CausalReplica::<OrMap<&str, AddWinsSet<u8>>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<OrMap<&str, AddWinsSet<u8>>>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|map| map.update("x", |set| set.add(1))))?;
/// // A removes x and adds y, while B adds to x.
/// let both = a.change(|map| {
///     map.remove("x");
///     map.update("y", |set| set.add(2));
/// });
/// let more = b.change(|map| map.update("x", |set| set.add(3)));
/// let report = b.join_report(&both)?;
/// assert_eq!((report.added, report.overwritten), (vec!["y"], vec!["x"]));
/// assert_eq!(a.join_report(&more)?.added, ["x"]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
///
/// A key with more than one value is in conflict, until somebody who has seen all of them writes it:
///
/// ```
/// use crdt::{CausalReplica, MvCell, ObjectId, OrMap, ReplicaId};
///
/// let mut a = CausalReplica::<OrMap<&str, MvCell<&str>>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<OrMap<&str, MvCell<&str>>>::new(ObjectId(1), ReplicaId(2));
/// let tea = a.change(|map| map.update("drink", |cell| cell.set("tea")));
/// let coffee = b.change(|map| map.update("drink", |cell| cell.set("coffee")));
/// assert_eq!(a.join_report(&coffee)?.conflicting, ["drink"]);
/// b.join(&tea)?;
/// let water = a.change(|map| map.update("drink", |cell| cell.set("water")));
/// assert_eq!(b.join_report(&water)?.overwritten, ["drink"]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MergeReport<K> {
    /// Keys that are present and were not, with one value.
    pub added: Vec<K>,
    /// Keys that were present and are not.
    pub removed: Vec<K>,
    /// Keys that were present and are, with one value that is another, or an equal one written again.
    pub overwritten: Vec<K>,
    /// Keys that have changed and have more than one value now, whether they were present or not: their
    /// [`sibling_count`](Cell::sibling_count) says so. A map or a set that is the value of a key is one
    /// value.
    pub conflicting: Vec<K>,
    /// Whether the state grew: it may without any of these, where it learns that events are
    /// obsolete, or of removals of what is absent.
    pub grew: bool,
}

impl<K> MergeReport<K> {
    /// Whether a reader sees what it saw before.
    pub fn is_empty(&self) -> bool {
        let lists = [
            &self.added,
            &self.removed,
            &self.overwritten,
            &self.conflicting,
        ];
        lists.into_iter().all(Vec::is_empty)
    }

    pub(crate) fn note(&mut self, key: K, change: Change) {
        match change {
            Change::Added => self.added.push(key),
            Change::Removed => self.removed.push(key),
            Change::Overwritten => self.overwritten.push(key),
            Change::Conflicting => self.conflicting.push(key),
            Change::Hidden => {}
        }
    }
}

impl<K> Default for MergeReport<K> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
            overwritten: Vec::new(),
            conflicting: Vec::new(),
            grew: false,
        }
    }
}

impl<K: Ord + Clone + Debug + Hash, S: Cell> Causal<DotMap<K, S>> {
    /// Joins `other`, as [`join`](Lattice::join) does, and says which keys changed. Costs what the
    /// join costs. A key is present while anything is live under it, as
    /// [`contains_key`](DotMap::contains_key) says, a mark that a reader does not see included.
    pub fn join_report(&mut self, other: &Self) -> MergeReport<K> {
        let mut report = MergeReport::default();
        if self.is_known_equal(other) {
            return report;
        }
        self.store.join_telling(
            &self.context,
            &other.store,
            &other.context,
            |key, was, is| {
                let values = is.map_or(0, |value| value.sibling_count().max(1));
                report.note(key.clone(), Change::between(usize::from(was), values));
            },
        );
        report.grew = self.context.join(&other.context) || !report.is_empty();
        report
    }
}

impl<K: Ord + Clone + Debug + Hash, S: Cell> CausalReplica<DotMap<K, S>> {
    /// Joins a state or a delta and says which keys changed.
    ///
    /// # Errors
    /// [`IdentityReused`], if `other` names events of this identity that were not minted here.
    pub fn join_report(
        &mut self,
        other: &Causal<DotMap<K, S>>,
    ) -> Result<MergeReport<K>, IdentityReused> {
        self.check_identity(other)?;
        Ok(self.state_mut().join_report(other))
    }
}
