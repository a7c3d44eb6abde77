//! What it takes to be a set of live events.

use core::fmt::Debug;
use core::hash::Hash;

use crate::{CausalContext, Dot, DotRange, Knows, Stable};

/// A set of live events with their payloads, joined under what both sides know.
///
/// An event that one side holds live and the other knows without holding it live is obsolete: that
/// is how a removal travels without a tombstone (invariant I2). No dot is live twice in one store.
///
/// [`Causal`](crate::Causal) of a store is the replicated object; a [`Cell`](crate::Cell) is a store
/// that is the whole content of one key of a [`CausalMap`](crate::CausalMap).
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.
pub trait DotStore: Clone + Debug + Default + Eq + Hash {
    /// Whether an event that loses against another by the order of the type itself is forgotten, although
    /// nobody who had seen it undid it. Then only a greater event may take the place of the winner: were the
    /// winner removed, what it had beaten would come back on one replica and not on another. So a
    /// [`DotMap`](crate::DotMap) refuses, when it is compiled, to remove keys of such values. A store
    /// that wraps another hands on what that says.
    const FORGETS_LOSERS: bool = false;

    /// Whether nothing is live.
    fn is_bottom(&self) -> bool;

    /// The live dots, in an order that depends on the content alone.
    fn dots(&self) -> impl Iterator<Item = Dot> + '_;

    /// The live dots as ranges, so that long runs of events need not be counted out. Neither order nor
    /// grouping matters to the caller, but both depend on the content alone.
    fn dot_ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.dots().map(DotRange::from)
    }

    /// Whether `dot` is live.
    fn is_live(&self, dot: Dot) -> bool {
        self.dots().any(|d| d == dot)
    }

    /// Joins `other`, which its sender held while knowing `theirs`, into `self`, which is held while
    /// knowing `mine`. True if the live events changed.
    ///
    /// A live event of one side stays if it is live on the other side too, or unknown there. One dot
    /// with two payloads cannot come from correct replicas; then either may stay, and
    /// [`conflict`](Self::conflict) finds it.
    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool;

    /// The part of this store whose events `known` lacks.
    #[must_use = "the part is what a peer lacks"]
    fn unknown_to(&self, known: &impl Knows) -> Self;

    /// The events live in `other` that lose against one of this store by the order of the type itself, so
    /// that a difference need not name them. None where concurrent events stay side by side, as in most
    /// stores; one that wraps another hands on what that says.
    fn losers_in(&self, other: &Self) -> CausalContext {
        let _ = other;
        CausalContext::default()
    }

    /// A dot that is live in both stores with different payloads or in different places: two writers
    /// use one identity. Looks at every event of both.
    fn conflict(&self, other: &Self) -> Option<Dot>;

    /// Drops marks that a reader does not see, with the events that they beat, where all of them are
    /// stable; returns the events that became obsolete. See [`Stability`](crate::Stability) for what
    /// may go; most stores have nothing to purge.
    #[must_use = "the delta of a purge is made of these events"]
    fn purge(&mut self, stable: &Stable) -> CausalContext {
        let _ = stable;
        CausalContext::default()
    }

    /// Number of live events that show a reader nothing: live removes with the adds that they beat, and
    /// tombstones. None in most stores; one that wraps another hands on what that says. At most linear in
    /// the store.
    fn mark_count(&self) -> usize {
        0
    }

    /// About how many bytes this store holds on the heap, indices included, without what its keys,
    /// elements and values hold there themselves. As long as a type does not say, its runs of live events
    /// count, once each. At most linear in the store.
    fn heap_bytes(&self) -> usize {
        self.dot_ranges().count() * size_of::<DotRange>()
    }

    /// A digest of [`dot_ranges`](Self::dot_ranges) that is kept up to date with every change, where a
    /// store is large enough for that to pay: equal contexts and equal digests then show that a join
    /// has nothing to do. A store that wraps a [`DotMap`](crate::DotMap) hands on the map's.
    fn live_digest(&self) -> Option<u128> {
        None
    }
}

/// A digest of the live dots of any store: the wrapping sum of the digests of its ranges, so it does
/// not depend on the order of changes. Linear in the ranges where the store keeps none.
///
/// Two different sets of dots that replicas mint have the same sum with a probability of about 2^-128.
/// The sum is not a defence against forged states; a peer that forges one only hides its own news.
pub fn live_digest(store: &impl DotStore) -> u128 {
    store.live_digest().unwrap_or_else(|| {
        let digests = store.dot_ranges().map(digest_of_range);
        digests.fold(0, u128::wrapping_add)
    })
}

pub(crate) fn digest_of_range(range: DotRange) -> u128 {
    // The finaliser of MurmurHash3 (Appleby), several times with different inputs: no linear relation
    // between the parts of a range survives it.
    const fn mix(mut x: u64) -> u64 {
        x ^= x >> 33;
        x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
        x ^= x >> 33;
        x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }
    let replica = mix(range.replica.0 ^ 0x9e37_79b9_7f4a_7c15);
    let first = mix(replica.wrapping_add(range.first));
    let high = mix(first ^ range.last);
    let low = mix(first ^ range.last.rotate_left(17) ^ 0x9e37_79b9_7f4a_7c15);
    (u128::from(high) << 64) | u128::from(low)
}

/// One dot names two different events: two writers use one identity. Neither state was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the dot {dot} carries two values: two writers use one identity")]
pub struct DotConflict {
    /// The dot.
    pub dot: Dot,
}
