//! What joining two maps changed, key by key.

use std::fmt::Debug;
use std::hash::Hash;

use crate::causal::{Causal, CausalReplica, DotMap, IdentityReused};
use crate::{Change, DotStore, Lattice};

/// What a join changed in a map: enough to bring an index up to date without comparing maps.
///
/// Each key is in at most one list, and each list ascends.
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
/// assert_eq!((report.added, report.changed), (vec!["y"], vec!["x"]));
/// assert_eq!(a.join_report(&more)?.added, ["x"]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MergeReport<K> {
    /// Keys that are present and were not.
    pub added: Vec<K>,
    /// Keys that were present and are not.
    pub removed: Vec<K>,
    /// Keys that were present and are, with another value.
    pub changed: Vec<K>,
    /// Whether the state grew: it may without any of these, where it learns that events are
    /// obsolete.
    pub grew: bool,
}

impl<K> MergeReport<K> {
    /// Whether a reader sees what it saw before.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    fn note(&mut self, key: K, change: Change) {
        match change {
            Change::Added => self.added.push(key),
            Change::Removed => self.removed.push(key),
            Change::Overwritten | Change::Conflicting | Change::Hidden => self.changed.push(key),
        }
    }
}

impl<K> Default for MergeReport<K> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
            changed: Vec::new(),
            grew: false,
        }
    }
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> Causal<DotMap<K, S>> {
    /// Joins `other`, as [`join`](Lattice::join) does, and says which keys changed. Costs what the
    /// join costs.
    pub fn join_report(&mut self, other: &Self) -> MergeReport<K> {
        let mut report = MergeReport::default();
        if self.is_known_equal(other) {
            return report;
        }
        self.store.join_telling(
            &self.context,
            &other.store,
            &other.context,
            |key, change| report.note(key.clone(), change),
        );
        report.grew = self.context.join(&other.context) || !report.is_empty();
        report
    }
}

impl<K: Ord + Clone + Debug + Hash, S: DotStore> CausalReplica<DotMap<K, S>> {
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
