//! When a tombstone may go: owner views, promises, and the horizon they add up to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::{CausalContext, Difference, Lattice, ReplicaId, Timestamp};

/// Which incarnations have been at each position of the owners' list.
///
/// The highest identity at a position is its current incarnation; the others are dead, and hold
/// tombstones back until they are retired.
///
/// **Order and join.** Union: a view only ever learns of more incarnations.
///
/// **Invariants.** No position is without an incarnation.
///
/// **Cost.** One id for each position and one for each loss of data.
///
/// **Not for** groups whose members come and go: positions are fixed, and identities at one position rise.
///
/// Source: our own.
///
/// ```
/// use crdt::{OwnerView, ReplicaId};
///
/// let mut view = OwnerView::default();
/// view.record(0, ReplicaId(10));
/// view.record(0, ReplicaId(11));
/// assert_eq!(view.current(0), Some(ReplicaId(11)));
/// assert!(view.is_fenced(0, ReplicaId(10)), "the dead incarnation is refused");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct OwnerView {
    positions: BTreeMap<u32, BTreeSet<ReplicaId>>,
}

impl OwnerView {
    /// Notes that `replica` is or was the incarnation at `position`; true if that was new. The delta is
    /// the view that has noted nothing else.
    pub fn record(&mut self, position: u32, replica: ReplicaId) -> bool {
        self.positions.entry(position).or_default().insert(replica)
    }

    /// The current incarnation at `position`.
    pub fn current(&self, position: u32) -> Option<ReplicaId> {
        self.positions
            .get(&position)
            .and_then(|all| all.last().copied())
    }

    /// Whether messages of `replica` are refused because a later incarnation took its position.
    pub fn is_fenced(&self, position: u32, replica: ReplicaId) -> bool {
        self.current(position)
            .is_some_and(|current| replica < current)
    }

    /// All incarnations, current and dead, ascending by position and identity.
    pub fn incarnations(&self) -> impl Iterator<Item = (u32, ReplicaId)> + '_ {
        self.positions
            .iter()
            .flat_map(|(p, all)| all.iter().map(|r| (*p, *r)))
    }

    /// The current incarnation of each position.
    pub fn currents(&self) -> impl Iterator<Item = (u32, ReplicaId)> + '_ {
        self.positions
            .iter()
            .filter_map(|(p, all)| all.last().map(|r| (*p, *r)))
    }
}

impl OwnerView {
    /// The view without the incarnations before those that are named: whoever has retired them, because
    /// nothing new can come from them, may leave them out of a [horizon](Promises::horizon). It must not
    /// be passed on.
    #[must_use = "the view itself stays as it is"]
    pub fn without_those_before(&self, retired: &BTreeMap<u32, ReplicaId>) -> Self {
        let mut view = self.clone();
        for (position, replicas) in &mut view.positions {
            if let Some(first) = retired.get(position) {
                replicas.retain(|replica| replica >= first);
            }
        }
        view.positions.retain(|_, replicas| !replicas.is_empty());
        view
    }
}

impl Lattice for OwnerView {
    fn join(&mut self, other: &Self) -> bool {
        other
            .incarnations()
            .fold(false, |grew, (p, r)| self.record(p, r) | grew)
    }
}

impl Difference for OwnerView {
    fn difference(&self, other: &Self) -> Self {
        let mut news = Self::default();
        for (position, replica) in self.incarnations() {
            let held = other.positions.get(&position);
            if held.is_none_or(|all| !all.contains(&replica)) {
                news.record(position, replica);
            }
        }
        news
    }
}

impl PartialOrd for OwnerView {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        if self == other {
            return Some(core::cmp::Ordering::Equal);
        }
        let includes = |a: &Self, b: &Self| {
            b.positions
                .iter()
                .all(|(p, ids)| a.positions.get(p).is_some_and(|all| all.is_superset(ids)))
        };
        crate::laws::order_of_inclusion(includes(other, self), includes(self, other))
    }
}

/// "All my events after the `counter`-th have timestamps above `time`", said by one incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Promise {
    /// All later events have timestamps above this.
    pub time: Timestamp,
    /// Number of events the incarnation had minted.
    pub counter: u64,
}

/// The highest promise of each incarnation, relayed unchanged from replica to replica.
///
/// A promise is only as good as the view that came with it: whoever takes over promises joins the
/// sender's [`OwnerView`] first, or a newcomer could write below what others have already forgotten.
///
/// **Order and join.** The higher promise of each incarnation: by time, then by number of events.
///
/// **Invariants.** One promise for each incarnation. What it says has to be true from then on: an incarnation
/// mints only above the time that it has promised.
///
/// **Cost.** Three numbers for each incarnation; a join is logarithmic for each promise of the other side, and
/// asking for the horizon is linear in the incarnations of the view.
///
/// **Not for** writers whose clocks may fall back below what they have promised, or who are not all known.
///
/// Source: our own; the closed timestamps of Taft et al., *CockroachDB: The Resilient Geo-Distributed SQL
/// Database*, SIGMOD 2020, are promises of the same kind.
///
/// ```
/// use crdt::{CausalContext, Dot, Lattice, OwnerView, Promise, Promises, ReplicaId, Timestamp};
///
/// let (me, other) = (ReplicaId(1), ReplicaId(2));
/// let mut view = OwnerView::default();
/// view.record(0, me);
/// view.record(1, other);
/// let (mut promises, mut news) = (Promises::default(), Promises::default());
/// news.record(other, Promise { time: Timestamp(20), counter: 1 });
/// let mut known = CausalContext::default();
/// let horizon = |promises: &Promises, known: &_| promises.horizon(&view, 2, me, known, Timestamp(30));
/// assert!(horizon(&promises, &known).is_none(), "the other owner has promised nothing");
/// promises.join(&news);
/// assert!(horizon(&promises, &known).is_none(), "an event from before its promise is not here");
/// known.insert(Dot::new(other, 1));
/// assert_eq!(horizon(&promises, &known).map(|horizon| horizon.time()), Some(Timestamp(20)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Promises {
    by_replica: BTreeMap<ReplicaId, Promise>,
}

impl Promises {
    /// The highest promise of an incarnation.
    pub fn of(&self, replica: ReplicaId) -> Option<Promise> {
        self.by_replica.get(&replica).copied()
    }

    /// All promises, ascending by identity.
    pub fn iter(&self) -> impl Iterator<Item = (ReplicaId, Promise)> + '_ {
        self.by_replica.iter().map(|(r, p)| (*r, *p))
    }

    /// Takes note of a promise; true if it is higher than the one held. The delta is this promise alone.
    pub fn record(&mut self, replica: ReplicaId, promise: Promise) -> bool {
        let higher = self.of(replica).is_none_or(|held| held < promise);
        if higher {
            self.by_replica.insert(replica, promise);
        }
        higher
    }

    /// Up to which time `own`, which knows `base` and whose clock stands at `clock`, may forget
    /// tombstones. `None` while an incarnation of the view has promised nothing, or some event that it
    /// had minted when it promised is not in the base.
    ///
    /// `owners` is the number of positions; a view that has not heard of all of them proves nothing.
    pub fn horizon(
        &self,
        view: &OwnerView,
        owners: usize,
        own: ReplicaId,
        base: &CausalContext,
        clock: Timestamp,
    ) -> Option<Horizon> {
        if view.currents().count() < owners {
            return None;
        }
        let mut time = clock;
        for (_, replica) in view.incarnations().filter(|(_, r)| *r != own) {
            let promise = self.of(replica)?;
            if !base.includes_prefix(replica, promise.counter) {
                return None;
            }
            time = time.min(promise.time);
        }
        Some(Horizon { time })
    }

    /// Which incarnations hold back the tombstones of `time`, and why; empty if they may go.
    pub fn held_back_by(
        &self,
        view: &OwnerView,
        own: ReplicaId,
        base: &CausalContext,
        time: Timestamp,
    ) -> Vec<(ReplicaId, HeldBack)> {
        let others = view.incarnations().filter(|(_, r)| *r != own);
        let reason = |replica| match self.of(replica) {
            None => Some(HeldBack::NoPromise),
            Some(promise) if !base.includes_prefix(replica, promise.counter) => {
                Some(HeldBack::EventsMissing {
                    promised: promise.counter,
                })
            }
            Some(promise) if promise.time < time => Some(HeldBack::PromisedBelow {
                promised: promise.time,
            }),
            Some(_) => None,
        };
        others
            .filter_map(|(_, replica)| Some((replica, reason(replica)?)))
            .collect()
    }
}

/// Why an incarnation holds a tombstone back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum HeldBack {
    /// Nothing is known of its later writes.
    #[error("it has promised nothing about its later writes")]
    NoPromise,
    /// It has promised something, but events from before its promise have not arrived.
    #[error("not all of its {promised} events from before its promise have arrived")]
    EventsMissing {
        /// How many events it had minted when it promised.
        promised: u64,
    },
    /// It may still write at or below the tombstone's time.
    #[error("it has promised to write above {promised} only")]
    PromisedBelow {
        /// The time above which its later writes are.
        promised: Timestamp,
    },
}

impl Lattice for Promises {
    fn join(&mut self, other: &Self) -> bool {
        other
            .iter()
            .fold(false, |grew, (r, p)| self.record(r, p) | grew)
    }
}

impl Difference for Promises {
    fn difference(&self, other: &Self) -> Self {
        let higher =
            |(replica, promise): &(ReplicaId, Promise)| other.of(*replica) < Some(*promise);
        Self {
            by_replica: self.iter().filter(higher).collect(),
        }
    }
}

impl PartialOrd for Promises {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        let includes = |a: &Self, b: &Self| b.iter().all(|(r, p)| a.of(r).is_some_and(|q| q >= p));
        crate::laws::order_of_inclusion(includes(other, self), includes(self, other))
    }
}

/// A proof that no write with a timestamp up to its time can still be unseen: without one, tombstones
/// cannot be forgotten. Only [`Promises::horizon`] makes one. Age alone is never a reason: that is how
/// deleted data comes back in stores with a grace period. It is not serialisable: bytes prove nothing.
///
/// It is a time, and belongs to the replica and the owners that it was asked for. For them it stays true, since
/// promises only rise, so it may be kept and copied, and used for every map that these owners hold under the same
/// promises; a [`Stable`](crate::Stable) is true of one state only and may not. The caller MUST NOT use it for
/// maps of other owners: the type cannot tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[must_use = "tombstones stay until they are purged with the horizon"]
pub struct Horizon {
    time: Timestamp,
}

impl Horizon {
    /// Tombstones up to and including this time may go.
    pub const fn time(&self) -> Timestamp {
        self.time
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{OwnerView, Promise, Promises};
    use crate::{InvalidBytes, ReplicaId};
    use alloc::collections::{BTreeMap, BTreeSet};
    use serde::{Deserialize, Deserializer};

    /// The incarnations at one position.
    struct Incarnations(BTreeSet<ReplicaId>);

    impl<'de> Deserialize<'de> for Incarnations {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let all = crate::wire::ascending(deserializer, "incarnations")?;
            if all.is_empty() {
                let error = InvalidBytes::Empty("a position of an owner view");
                return Err(serde::de::Error::custom(error));
            }
            Ok(Self(all.into_iter().collect()))
        }
    }

    impl<'de> Deserialize<'de> for OwnerView {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(rename = "OwnerView")]
            struct Wire {
                #[serde(deserialize_with = "positions")]
                positions: BTreeMap<u32, Incarnations>,
            }
            let Wire { positions } = Wire::deserialize(deserializer)?;
            let positions = positions.into_iter().map(|(p, all)| (p, all.0));
            Ok(Self {
                positions: positions.collect(),
            })
        }
    }

    fn positions<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<u32, Incarnations>, D::Error> {
        crate::wire::ascending_map(deserializer, "positions of an owner view")
    }

    impl<'de> Deserialize<'de> for Promises {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(rename = "Promises")]
            struct Wire {
                #[serde(deserialize_with = "by_replica")]
                by_replica: BTreeMap<ReplicaId, Promise>,
            }
            let Wire { by_replica } = Wire::deserialize(deserializer)?;
            Ok(Self { by_replica })
        }
    }

    fn by_replica<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<ReplicaId, Promise>, D::Error> {
        crate::wire::ascending_map(deserializer, "promises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dot;

    const A: ReplicaId = ReplicaId(1);
    const B: ReplicaId = ReplicaId(2);
    const C: ReplicaId = ReplicaId(3);

    fn promise(counter: u64, time: u64) -> Promise {
        Promise {
            counter,
            time: Timestamp(time),
        }
    }

    fn view() -> OwnerView {
        let mut view = OwnerView::default();
        view.record(0, A);
        view.record(1, B);
        view
    }

    #[test]
    fn the_horizon_needs_every_owner_and_every_promised_event() {
        let (mut promises, mut view) = (Promises::default(), view());
        let mut base = CausalContext::default();
        let horizon = |promises: &Promises, view: &OwnerView, base: &CausalContext| {
            promises
                .horizon(view, 2, A, base, Timestamp(50))
                .map(|h| h.time())
        };
        assert_eq!(
            horizon(&promises, &view, &base),
            None,
            "B has promised nothing"
        );
        promises.record(B, promise(1, 20));
        assert_eq!(
            horizon(&promises, &view, &base),
            None,
            "an event of B is missing"
        );
        base.insert(Dot::new(B, 1));
        assert_eq!(horizon(&promises, &view, &base), Some(Timestamp(20)));
        promises.record(B, promise(1, 70));
        assert_eq!(
            horizon(&promises, &view, &base),
            Some(Timestamp(50)),
            "the own clock counts"
        );
        view.record(1, C);
        assert_eq!(
            horizon(&promises, &view, &base),
            None,
            "the new incarnation has promised nothing"
        );
        promises.record(C, promise(0, 90));
        assert_eq!(
            horizon(&promises, &view, &base),
            Some(Timestamp(50)),
            "the dead one still counts"
        );
        assert_eq!(
            promises.horizon(&view, 3, A, &base, Timestamp(50)),
            None,
            "an owner is unheard of"
        );
    }

    #[test]
    fn who_holds_a_tombstone_back_is_named() {
        let (mut promises, view) = (Promises::default(), view());
        let mut base = CausalContext::default();
        let held = |promises: &Promises, base: &CausalContext| {
            promises.held_back_by(&view, A, base, Timestamp(30))
        };
        assert_eq!(held(&promises, &base), [(B, HeldBack::NoPromise)]);
        promises.record(B, promise(1, 20));
        let (promised, time) = (1, Timestamp(20));
        assert_eq!(
            held(&promises, &base),
            [(B, HeldBack::EventsMissing { promised })]
        );
        base.insert(Dot::new(B, 1));
        let promised = time;
        assert_eq!(
            held(&promises, &base),
            [(B, HeldBack::PromisedBelow { promised })]
        );
        promises.record(B, promise(1, 30));
        assert_eq!(held(&promises, &base), []);
    }

    #[test]
    fn a_lower_promise_changes_nothing() {
        let mut promises = Promises::default();
        assert!(promises.record(B, promise(5, 20)));
        assert!(!promises.record(B, promise(4, 10)));
        assert_eq!(promises.of(B), Some(promise(5, 20)));
    }
}
