//! The kernel of every causal type: live events, joined under what each side has seen.

mod digest;
pub(crate) mod dot_blocks;
mod dot_fun;
#[cfg(feature = "serde")]
pub(crate) mod dot_list;
mod dot_map;
mod dot_set;
pub(crate) mod dot_store;
mod edit;
mod join_error;
mod key_index;
mod merge_report;
mod pair;
mod remove_wins;
mod replica;
mod stable;
pub(crate) mod value_index;

pub use digest::Digest;
pub use dot_fun::DotFun;
pub use dot_map::{DotMap, OrMap};
pub use dot_set::DotSet;
pub use dot_store::{DotConflict, DotStore, live_digest};
pub use edit::{Edit, Events};
pub use join_error::JoinError;
pub use merge_report::MergeReport;
pub(crate) use remove_wins::RemoveWins;
pub use replica::{CausalReplica, IdentityReused, ObjectId, ReadContext, ReadContextError};
pub use stable::{BehindFrontier, Frontier, NotStable, Report, Stability, Stable};

use core::cmp::Ordering;
use core::fmt;
use core::ops::Deref;

use crate::{CausalContext, Difference, Lattice};

/// The state of one causal object: its live events, and which events have been seen.
///
/// An event that one side holds live and the other has seen without holding it live is obsolete: that
/// is how a removal travels without a tombstone. Every type in the table is a store; `Causal` of it is
/// the object, and [`CausalReplica`] the handle that changes it.
///
/// | store | object |
/// |---|---|
/// | [`EnableWinsFlag`](crate::EnableWinsFlag), [`DisableWinsFlag`](crate::DisableWinsFlag) | a flag |
/// | [`AddWinsSet`](crate::AddWinsSet), [`RemoveWinsSet`](crate::RemoveWinsSet) | a set |
/// | [`ResettableCounter`](crate::ResettableCounter) | a counter that can be reset and nested |
/// | [`MvCell`](crate::MvCell) | a register that keeps concurrent values |
/// | [`OrMap`](crate::OrMap) | a map of any of these, maps included |
///
/// **Order and join.** `a <= b` when `b` has seen all that `a` has, and nothing is live in `b` that is
/// obsolete in `a`. In the join a live event stays if the other side holds it too or has not seen it;
/// the contexts are united. A delta is a small state of the same type, so joining one is the same join.
///
/// **Invariants.** Live dots are in the context (I1), and no dot is live twice. A dot that is in the
/// context and not live is obsolete for ever (I2).
///
/// **Cost.** Joining a small delta costs what it touches; joining two full states is one pass over
/// both, and constant time where the contexts and the digests of live dots show that nothing is new.
/// The metadata is one dot for each live event and one range for each replica.
///
/// **Deltas need an order.** Joining deltas of one replica with some lost in between shows states that
/// the replica never had, and removals mint no dot, so contexts alone do not show that one was lost.
/// Send deltas through a [`DeltaBuffer`](crate::DeltaBuffer), or compare [`Digest`]s now and then.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, sections 4 and 7.
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, Lattice, ObjectId, ReplicaId};
///
/// let cart = ObjectId(1);
/// let mut phone = CausalReplica::<AddWinsSet<&str>>::new(cart, ReplicaId(1));
/// let mut laptop = CausalReplica::<AddWinsSet<&str>>::new(cart, ReplicaId(2));
/// let added = phone.change(|cart| cart.add("milk"));
/// laptop.join(&added)?;
/// // The phone removes the milk while the laptop, concurrently, adds it again.
/// let removed = phone.change(|cart| cart.remove("milk"));
/// let again = laptop.change(|cart| cart.add("milk"));
/// phone.join(&again)?;
/// laptop.join(&removed)?;
/// assert_eq!(phone.state(), laptop.state());
/// assert!(phone.contains("milk"), "the remove had not seen the second add");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
#[must_use = "a delta must reach the other replicas"]
pub struct Causal<S> {
    store: S,
    context: CausalContext,
}

impl<S> Causal<S> {
    /// The live events; also reached by dereferencing.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// The events seen.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }
}

impl<S: DotStore> Causal<S> {
    /// What a peer needs to know to answer with exactly what is missing here.
    pub fn digest(&self) -> Digest {
        Digest::new(self.store.dot_ranges().collect(), self.context.clone())
    }

    /// What a replica that showed `digest` lacks: the smallest delta that brings it to the join of
    /// both. Found by subtracting intervals, in time linear in the live events and the ranges.
    ///
    /// A digest has no times: where an [`LwwCell`](crate::LwwCell) of the peer holds an event that is obsolete
    /// here, the delta names it, while [`difference`](Difference::difference) sees whether the winner does.
    #[must_use = "the delta is what the peer lacks"]
    pub fn delta_since(&self, digest: &Digest) -> Self {
        Self {
            store: self.store.unknown_to(digest.context()),
            context: self.digest().difference(digest).context().clone(),
        }
    }

    /// Joins `other` unless it holds a dot with another value than here.
    ///
    /// [`Lattice::join`] does not look for such dots: correct replicas never make them. This looks at every
    /// event of both sides first.
    ///
    /// # Errors
    /// The dot, if there is one: two writers use one identity. Nothing was changed.
    pub fn join_checked(&mut self, other: &Self) -> Result<bool, DotConflict> {
        match self.store.conflict(&other.store) {
            Some(dot) => Err(DotConflict { dot }),
            None => Ok(self.join(other)),
        }
    }

    fn is_known_equal(&self, other: &Self) -> bool {
        let digests = self.store.live_digest().zip(other.store.live_digest());
        digests.is_some_and(|(mine, theirs)| mine == theirs) && self.context == other.context
    }
}

impl<S> Deref for Causal<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.store
    }
}

impl<S: DotStore> Lattice for Causal<S> {
    fn join(&mut self, other: &Self) -> bool {
        if self.is_known_equal(other) {
            return false;
        }
        let changed = self.store.join(&self.context, &other.store, &other.context);
        self.context.join(&other.context) | changed
    }
}

impl<S: DotStore> Difference for Causal<S> {
    fn difference(&self, other: &Self) -> Self {
        if self.is_known_equal(other) {
            return Self::default();
        }
        let theirs = other.digest();
        let mut delta = self.delta_since(&theirs);
        if delta.context.intersects(theirs.live()) {
            let losers = delta.store.losers_in(&other.store);
            delta.context = delta.context.difference(&losers);
        }
        delta
    }
}

impl<S: DotStore> PartialOrd for Causal<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        self.digest().partial_cmp(&other.digest())
    }
}

impl<S: fmt::Display> fmt::Display for Causal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.store, self.context)
    }
}

impl<S: fmt::Debug> fmt::Debug for Causal<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Causal")
            .field("store", &self.store)
            .field("context", &self.context)
            .finish()
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Causal;
    use crate::{CausalContext, DotStore, InvalidBytes};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wire<S> {
        store: S,
        context: CausalContext,
    }

    impl<S: Serialize> Serialize for Causal<S> {
        fn serialize<R: Serializer>(&self, serializer: R) -> Result<R::Ok, R::Error> {
            let (store, context) = (&self.store, self.context.clone());
            Wire { store, context }.serialize(serializer)
        }
    }

    impl<'de, S: DotStore + Deserialize<'de>> Deserialize<'de> for Causal<S> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let Wire { store, context } = Wire::<S>::deserialize(deserializer)?;
            if store.dot_ranges().any(|run| run.first == 0) {
                return Err(D::Error::custom(InvalidBytes::ZeroCounter));
            }
            // By ranges: a few bytes can name a run of very many events.
            let Some(live) = CausalContext::of_disjoint(store.dot_ranges()) else {
                return Err(D::Error::custom(InvalidBytes::DotTwice));
            };
            if !context.includes(&live) {
                return Err(D::Error::custom(InvalidBytes::LiveDotUnknown));
            }
            Ok(Self { store, context })
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Causal, CausalContext, Dot, DotSet, ReplicaId};

    #[test]
    fn debug_output_names_the_store_and_the_context() {
        let dot = Dot::new(ReplicaId(1), 1);
        let state = Causal {
            store: DotSet::from_iter([dot]),
            context: CausalContext::from_iter([dot]),
        };
        let (store, context) = (state.store(), state.context());
        let expected = format!("Causal {{ store: {store:?}, context: {context:?} }}");
        assert_eq!(format!("{state:?}"), expected);
    }
}
