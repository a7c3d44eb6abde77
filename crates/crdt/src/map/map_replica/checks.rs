//! What a replica of a map refuses: events of its own identity that it has not minted, and dots that name
//! two events.

use core::fmt::Debug;
use core::hash::Hash;
use smallvec::SmallVec;

use crate::causal::{IdentityReused, JoinError};
use crate::map::causal_map::dot_under_two_keys;
use crate::map::change::Joined;
use crate::map::listing::{Claim, Listing};
use crate::map::map_replica::MapReplica;
use crate::{CausalContext, Cell, Dot, DotConflict, DotRange, DotStore, Knows};

/// Up to this number of runs, looking through them is faster than making a context.
const FEW: usize = 4;

/// Up to this number of events, asking the log for each is taken to be faster than looking at every entry.
const FEW_EVENTS: u64 = 1_000;

/// What is live in a cell before it is changed, to tell which events the change has made live.
pub(super) struct LiveBefore(SmallVec<[DotRange; FEW]>);

impl LiveBefore {
    pub(super) fn of(cell: &impl DotStore) -> Self {
        Self(cell.dot_ranges().collect())
    }

    /// I1: checks that what is live now was live before, or is among the events just minted. Linear in the
    /// live events of the cell.
    ///
    /// # Panics
    /// If it is not.
    pub(super) fn check_minted(&self, cell: &impl DotStore, minted: DotRange) {
        let is_minted = |run: &DotRange| {
            run.replica == minted.replica && run.first >= minted.first && run.last <= minted.last
        };
        let is_few = self.0.len() <= FEW;
        let is_plain = |run: DotRange| is_minted(&run) || self.0.contains(&run);
        if is_few && cell.dot_ranges().all(is_plain) {
            return;
        }
        // A run may have been split, or united with another.
        let mut allowed: CausalContext = self.0.iter().copied().collect();
        allowed.insert_range(minted);
        let strange = cell.dot_ranges().find(|run| !allowed.contains_range(*run));
        if let Some(run) = strange {
            panic!("I1: a change made {run} live; the events it minted are {minted}");
        }
    }
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// Whether a listing may be joined by a writer of this identity: [`join`](Self::join) asks it for itself.
    ///
    /// # Errors
    /// [`IdentityReused`], if the listing names events of this identity that were not minted here.
    pub fn check_identity(&self, listing: &Listing<K, C>) -> Result<(), IdentityReused> {
        let counter = match listing {
            Listing::Key(listing) => match listing.claim() {
                Claim::Itself => {
                    let live = listing.cell().dot_ranges();
                    let covered = listing.covered().iter().copied().map(DotRange::from);
                    let own = live.chain(covered).filter(|run| run.replica == self.id);
                    own.map(|run| run.last).max().unwrap_or(0)
                }
                // What is live and what is covered is inside the claim.
                Claim::Context(known) => known.last_counter(self.id),
            },
            Listing::Interval(listing) => listing.known().last_counter(self.id),
        };
        IdentityReused::check(self.id, self.minted, counter)
    }

    /// Joins a listing unless it holds a dot with another value than here, or under another key.
    ///
    /// [`join`](Self::join) does not look for such dots: correct replicas never make them. This looks at the
    /// live events of the listed keys, and asks the log for the keys of events that are known here and live
    /// there; where the log no longer names one it looks at every entry.
    ///
    /// # Errors
    /// [`JoinError::IdentityReused`] as in [`join`](Self::join), and [`JoinError::DotConflict`]. Nothing
    /// was changed.
    pub fn join_checked(&mut self, listing: &Listing<K, C>) -> Result<Joined<K>, JoinError> {
        self.check_identity(listing)?;
        match self.conflict(listing) {
            Some(dot) => Err(DotConflict { dot }.into()),
            None => Ok(self.join(listing)?),
        }
    }

    /// A dot that the listing names for another event than this replica does, or twice.
    fn conflict(&self, listing: &Listing<K, C>) -> Option<Dot> {
        match listing {
            Listing::Key(listing) => {
                let of_key = listing.covered().iter().copied().map(DotRange::from);
                self.conflict_under(listing.key(), listing.cell(), of_key)
            }
            Listing::Interval(listing) => {
                let cells = || listing.cells().iter().map(|(key, cell)| (key, cell));
                dot_under_two_keys(cells())
                    .or_else(|| cells().find_map(|(key, cell)| self.conflict_under(key, cell, [])))
            }
        }
    }

    /// The same of one key with the cell that is listed for it, and other events of the key.
    fn conflict_under(
        &self,
        key: &K,
        cell: &C,
        of_key: impl IntoIterator<Item = DotRange>,
    ) -> Option<Dot> {
        let held = self.map.get(key);
        if let Some(dot) = held.and_then(|held| held.conflict(cell)) {
            return Some(dot);
        }
        let listed: CausalContext = cell.dot_ranges().chain(of_key).collect();
        let live = held.into_iter().flat_map(|held| held.dot_ranges());
        let elsewhere = listed.difference(&live.collect());
        let known = self.knowledge().known_of_any_key(&elsewhere);
        if known.is_empty() {
            return None;
        }
        if known.event_count() <= FEW_EVENTS {
            let mut named = known.dots().map(|dot| (dot, self.log.key(dot)));
            if let Some((dot, _)) = named.find(|(_, named)| named.is_some_and(|k| k != key)) {
                return Some(dot);
            }
            if known.dots().all(|dot| self.log.key(dot).is_some()) {
                return None;
            }
        }
        let mut live = self.map.entries().flat_map(|(_, cell)| cell.dot_ranges());
        let run = live.find(|run| known.knows_any(*run))?;
        let shared = known.intersection(&[run].into_iter().collect());
        shared.dots().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DotSet, ReplicaId};

    fn run(replica: u64, first: u64, last: u64) -> DotRange {
        DotRange {
            replica: ReplicaId(replica),
            first,
            last,
        }
    }

    fn cell(dots: impl IntoIterator<Item = (u64, u64)>) -> DotSet {
        let dots = dots.into_iter();
        dots.map(|(r, c)| Dot::new(ReplicaId(r), c)).collect()
    }

    /// Whether a change from one cell to the other is taken, if the events 1.5 and 1.6 were minted.
    fn is_taken(before: &DotSet, after: &DotSet) -> bool {
        let live = LiveBefore::of(before);
        let check = || live.check_minted(after, run(1, 5, 6));
        std::panic::catch_unwind(core::panic::AssertUnwindSafe(check)).is_ok()
    }

    #[test]
    fn what_becomes_live_is_what_was_minted() {
        let few = cell([(1, 4), (2, 9)]);
        let many = cell((1..10).map(|counter| (3, 2 * counter)));
        for before in [&few, &many] {
            let with = |dots: &[(u64, u64)]| {
                let held = before.dots().map(|dot| (dot.replica.0, dot.counter));
                cell(held.chain(dots.iter().copied()))
            };
            assert!(is_taken(before, before) && is_taken(before, &DotSet::default()));
            assert!(is_taken(before, &with(&[(1, 5)])));
            assert!(is_taken(before, &with(&[(1, 5), (1, 6)])));
            assert!(is_taken(before, &cell([(1, 6)])));
            for strange in [(1, 3), (1, 7), (2, 5), (4, 1)] {
                assert!(!is_taken(before, &with(&[strange])), "{strange:?}");
                assert!(!is_taken(before, &with(&[(1, 5), strange])), "{strange:?}");
                assert!(!is_taken(before, &cell([strange])), "{strange:?}");
            }
        }
    }
}
