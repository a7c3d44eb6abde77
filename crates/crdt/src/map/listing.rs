//! Listings: the one message that changes the entries of a causal map.

use alloc::sync::Arc;
use alloc::vec::Vec;
use smallvec::SmallVec;

use crate::map::cut::Interval;
use crate::{CausalContext, Cell, Dot, InvalidBytes, Knows};

/// What the sender of a [`KeyListing`] claims to know of its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Claim {
    /// No more than the live and the covered dots. Enough where the cell
    /// [proves itself](Cell::PROVES_ITSELF) and is not bottom, and a few bytes whatever the cluster.
    Itself,
    /// Exactly these events.
    Context(Arc<CausalContext>),
}

/// The complete cell of one key, with what its sender knows of it.
///
/// A listing is a small state of the same lattice as the map: joining it twice, late, out of order or
/// with others lost in between is harmless.
///
/// **Invariants.** Live and covered dots are inside the claim; [`Claim::Itself`] stands only with a
/// cell that proves itself. Constructors and decoding refuse anything else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct KeyListing<K, C> {
    key: K,
    cell: C,
    claim: Claim,
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::causal::dot_list::serialize")
    )]
    covered: SmallVec<[Dot; 1]>,
}

/// The complete cells of all keys of an interval: an absent key is absent on purpose.
///
/// **Invariants.** Keys ascend inside the interval, cells are not bottom, live dots are known.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct IntervalListing<K, C> {
    interval: Interval<K>,
    cells: Vec<(K, C)>,
    known: Arc<CausalContext>,
}

/// Complete cells with the knowledge they were read under: a write, an answer to a synchronisation, a
/// read repair, a write-back, or a chunk of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "K: serde::Serialize, C: serde::Serialize",
        deserialize = "K: Ord + serde::Deserialize<'de>, C: Cell + serde::Deserialize<'de>"
    ))
)]
pub enum Listing<K, C> {
    /// One key.
    Key(KeyListing<K, C>),
    /// All keys of an interval.
    Interval(IntervalListing<K, C>),
}

impl<K, C: Cell> KeyListing<K, C> {
    /// A listing of `cell` under `claim` that newly covers the dots `covered`, all of this key.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn new(
        key: K,
        cell: C,
        claim: Claim,
        covered: impl IntoIterator<Item = Dot>,
    ) -> Result<Self, InvalidBytes> {
        let listing = Self {
            key,
            cell,
            claim,
            covered: covered.into_iter().collect(),
        };
        listing.validate()?;
        Ok(listing)
    }

    /// The key.
    pub const fn key(&self) -> &K {
        &self.key
    }

    /// All that is live under the key; bottom if it is absent.
    pub const fn cell(&self) -> &C {
        &self.cell
    }

    /// What the sender claims to know of the key.
    pub const fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The events of this key that the receiver may now take as known for all keys.
    pub fn covered(&self) -> &[Dot] {
        &self.covered
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.cell.validate()?;
        if self.covered.iter().any(|d| d.counter == 0) {
            return Err(InvalidBytes::ZeroCounter);
        }
        if self.covered.windows(2).any(|w| w[0] >= w[1]) {
            return Err(InvalidBytes::Unsorted("covered dots"));
        }
        match &self.claim {
            Claim::Itself if !C::PROVES_ITSELF || self.cell.is_bottom() => {
                Err(InvalidBytes::Unproven)
            }
            Claim::Itself => Ok(()),
            Claim::Context(known) => {
                if !self.cell.dot_ranges().all(|run| known.contains_range(run)) {
                    return Err(InvalidBytes::LiveDotUnknown);
                }
                if !self.covered.iter().all(|d| known.contains(*d)) {
                    return Err(InvalidBytes::CoveredDotUnknown);
                }
                Ok(())
            }
        }
    }
}

impl<K, C: Cell> Knows for KeyListing<K, C> {
    fn knows(&self, dot: Dot) -> bool {
        match &self.claim {
            Claim::Itself => self.covered.contains(&dot) || self.cell.is_live(dot),
            Claim::Context(known) => known.contains(dot),
        }
    }

    fn as_context(&self) -> Option<&CausalContext> {
        match &self.claim {
            Claim::Itself => None,
            Claim::Context(known) => Some(known),
        }
    }
}

impl<K: Ord, C: Cell> IntervalListing<K, C> {
    /// A listing of all cells of `interval`, under knowledge that is the same for each of its keys.
    ///
    /// # Errors
    /// The invariant that does not hold.
    pub fn new(
        interval: Interval<K>,
        cells: Vec<(K, C)>,
        known: Arc<CausalContext>,
    ) -> Result<Self, InvalidBytes> {
        let listing = Self {
            interval,
            cells,
            known,
        };
        listing.validate()?;
        Ok(listing)
    }

    /// The same of a map that is valid: nothing has to be checked.
    pub(crate) fn of_valid_map(
        interval: Interval<K>,
        cells: Vec<(K, C)>,
        known: Arc<CausalContext>,
    ) -> Self {
        let listing = Self {
            interval,
            cells,
            known,
        };
        debug_assert_eq!(listing.validate(), Ok(()));
        listing
    }

    /// The keys that are listed.
    pub const fn interval(&self) -> &Interval<K> {
        &self.interval
    }

    /// The cells, ascending by key; every other key of the interval is absent.
    pub fn cells(&self) -> &[(K, C)] {
        &self.cells
    }

    /// What the sender knows of each key of the interval.
    pub const fn known(&self) -> &Arc<CausalContext> {
        &self.known
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        if self.cells.windows(2).any(|w| w[0].0 >= w[1].0) {
            return Err(InvalidBytes::Unsorted("listed keys"));
        }
        let ends = [self.cells.first(), self.cells.last()];
        if ends
            .into_iter()
            .flatten()
            .any(|(key, _)| !self.interval.contains(key))
        {
            return Err(InvalidBytes::KeyOutside);
        }
        for (_, cell) in &self.cells {
            cell.validate()?;
            if cell.is_bottom() {
                return Err(InvalidBytes::Empty("a listed cell"));
            }
            if !cell.dot_ranges().all(|run| self.known.contains_range(run)) {
                return Err(InvalidBytes::LiveDotUnknown);
            }
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::{Claim, IntervalListing, KeyListing};
    use crate::map::cut::Interval;
    use crate::{CausalContext, Cell, Dot};
    use alloc::sync::Arc;
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de, K: Deserialize<'de>, C: Cell + Deserialize<'de>> Deserialize<'de> for KeyListing<K, C> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            struct Wire<K, C> {
                key: K,
                cell: C,
                claim: Claim,
                #[serde(deserialize_with = "crate::causal::dot_list::deserialize")]
                covered: Vec<Dot>,
            }
            let wire = Wire::deserialize(deserializer)?;
            Self::new(wire.key, wire.cell, wire.claim, wire.covered).map_err(D::Error::custom)
        }
    }

    impl<'de, K, C> Deserialize<'de> for IntervalListing<K, C>
    where
        K: Ord + Deserialize<'de>,
        C: Cell + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(bound(deserialize = "K: Ord + Deserialize<'de>, C: Deserialize<'de>"))]
            struct Wire<K, C> {
                interval: Interval<K>,
                cells: Vec<(K, C)>,
                known: CausalContext,
            }
            let wire = Wire::deserialize(deserializer)?;
            Self::new(wire.interval, wire.cells, Arc::new(wire.known)).map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LwwCell, ReplicaId, Timestamp};

    #[test]
    fn a_listing_that_proves_itself_knows_its_live_and_its_covered_events() {
        let dot = |counter| Dot::new(ReplicaId(1), counter);
        let cell = LwwCell::entry(dot(3), Timestamp(1), Some('a'));
        let listing = KeyListing::new("key", cell, Claim::Itself, [dot(1)]).expect("valid");
        let known: Vec<u64> = (1..=4).filter(|c| listing.knows(dot(*c))).collect();
        assert_eq!(known, [1, 3]);
        assert_eq!(listing.as_context(), None);
    }

    #[test]
    fn a_listing_that_claims_a_context_knows_that() {
        let dot = Dot::new(ReplicaId(1), 1);
        let known: Arc<CausalContext> = Arc::new([dot].into_iter().collect());
        let claim = Claim::Context(Arc::clone(&known));
        let listing = KeyListing::new("key", LwwCell::<char>::default(), claim, []).expect("valid");
        assert!(listing.knows(dot) && !listing.knows(Dot::new(ReplicaId(1), 2)));
        assert_eq!(listing.as_context(), Some(&*known));
    }
}
