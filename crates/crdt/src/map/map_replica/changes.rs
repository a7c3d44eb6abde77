//! What changes a replica of a map: own writes, and listings of others.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use core::fmt::Debug;
use core::hash::Hash;
use core::ops::RangeInclusive;
use smallvec::SmallVec;

use crate::causal::{Edit, Events, IdentityReused};
use crate::map::causal_map::Seen;
use crate::map::change::{Change, Joined};
use crate::map::listing::Listing;
use crate::map::map_replica::MapReplica;
use crate::map::map_replica::checks::LiveBefore;
use crate::{CausalContext, Cell, Dot, Timestamp};

/// A write that was made locally.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "K: serde::Serialize, C: serde::Serialize",
        deserialize = "K: Ord + serde::Deserialize<'de>, C: Cell + serde::Deserialize<'de>"
    ))
)]
#[must_use = "the listing must reach the other replicas"]
pub struct Written<K, C> {
    /// The new event.
    pub dot: Dot,
    /// The delta: what the other replicas join.
    pub listing: Listing<K, C>,
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// Makes one new event that changes the cell of `key`, and returns the listing that tells others. The
    /// author counts as having read all that is here; one who has read less uses [`edit`](Self::edit).
    ///
    /// # Panics
    /// If the change makes another event live than the one it was given, or if this identity has minted
    /// `u64::MAX` events.
    pub fn write(&mut self, key: K, change: impl FnOnce(&mut C, Dot)) -> Written<K, C> {
        let counter = self.minted.checked_add(1);
        let dot = Dot::new(self.id, counter.expect("an identity mints 2^64 events"));
        let (before, cell) = self.map.change(&key, |cell| {
            let (live, before) = (LiveBefore::of(cell), cell.tombstone());
            change(cell, dot);
            live.check_minted(cell, dot.into());
            (before, cell.clone())
        });
        let listing = self.tell(key, before, cell, dot..=dot);
        Written { dot, listing }
    }

    /// Lets `change` mutate the cell of `key` as the types of the kernel do, with as many events as it
    /// mints. `seen` is what the author had read: only events in it become obsolete; `None` stands for
    /// all that is here. It is a context and no [`ReadContext`](crate::ReadContext), because what authors have
    /// read comes from clients of a store that names its keys itself: the caller MUST take it from
    /// [`events_of_key`](Self::events_of_key) of this map, here or at another replica, since dots of another map
    /// may be the same. Events in it that have not arrived here make nothing obsolete when they arrive. A change that says it did nothing, by returning false, leaves everything as it
    /// was; one that only removes gets an event of its own, so that others can tell that they lack it.
    ///
    /// # Panics
    /// If the change makes an event live that it has not minted, or if this identity has minted `u64::MAX`
    /// events.
    pub fn edit(
        &mut self,
        key: K,
        seen: Option<CausalContext>,
        change: impl FnOnce(&mut Edit<'_, C>) -> bool,
    ) -> Option<Written<K, C>> {
        let last = self.minted;
        let mut events = Events::new(self.id, last, seen);
        let mut delta = C::default();
        let (before, cell) = self.map.change(&key, |cell| {
            let (live, before) = (LiveBefore::of(cell), cell.tombstone());
            let changed = change(&mut Edit::new(cell, &mut delta, &mut events));
            live.check_minted(cell, events.minted());
            changed.then(|| (before, cell.clone()))
        })?;
        if events.last() == last {
            let _bare = events.mint();
        }
        let (first, dot) = (
            Dot::new(self.id, last + 1),
            Dot::new(self.id, events.last()),
        );
        let listing = self.tell(key, before, cell, first..=dot);
        Some(Written { dot, listing })
    }

    /// Takes note of new events of this replica that have changed a key, and makes the listing that tells
    /// others: `before` is the tombstone that was there, and `cell` what is there now.
    fn tell(
        &mut self,
        key: K,
        before: Option<Timestamp>,
        cell: C,
        events: RangeInclusive<Dot>,
    ) -> Listing<K, C> {
        let counters = events.start().counter..=events.end().counter;
        let dots = counters.map(|counter| Dot::new(self.id, counter));
        self.minted = events.end().counter;
        for dot in dots.clone() {
            self.map.know(dot);
            self.log.note(dot, key.clone());
        }
        Self::index_tombstone(&mut self.tombstones, &key, before, cell.tombstone());
        self.list(key, cell, dots, |known| Arc::new(self.events_of(known)))
    }

    /// Joins a listing that another replica made.
    ///
    /// # Errors
    /// [`IdentityReused`], if the listing names events of this identity that were not minted here. Nothing
    /// was changed.
    pub fn join(&mut self, listing: &Listing<K, C>) -> Result<Joined<K>, IdentityReused> {
        let mut changed = SmallVec::new();
        let joined = self.join_seen(listing, |seen| changed.extend(seen.changed()))?;
        Ok(Joined { changed, ..joined })
    }

    /// Joins a listing that another replica made, and shows `see` each key that it lists or makes absent,
    /// with what became of it and the cell as it is then, bottom if nothing is there. It costs nothing
    /// beside the join, where asking for the cells afterwards costs a look-up for each; and
    /// [`Joined::changed`] is left empty, so that no key is copied.
    ///
    /// # Errors
    /// As [`join`](Self::join); `see` is not called then.
    pub fn join_and_see(
        &mut self,
        listing: &Listing<K, C>,
        mut see: impl FnMut(&K, Option<Change>, &C),
    ) -> Result<Joined<K>, IdentityReused> {
        self.join_seen(listing, |seen| see(seen.key, seen.change, seen.cell))
    }

    fn join_seen(
        &mut self,
        listing: &Listing<K, C>,
        mut see: impl FnMut(Seen<'_, K, C>),
    ) -> Result<Joined<K>, IdentityReused> {
        self.check_identity(listing)?;
        let tombstones = &mut self.tombstones;
        let joined = self.map.join_and_see(listing, |seen| {
            let now = seen.cell.tombstone();
            Self::index_tombstone(tombstones, seen.key, seen.tombstone, now);
            see(seen);
        });
        for (dot, key) in &joined.based {
            self.log.note(*dot, key.clone());
        }
        Ok(joined)
    }

    fn index_tombstone(
        tombstones: &mut BTreeSet<(Timestamp, K)>,
        key: &K,
        before: Option<Timestamp>,
        now: Option<Timestamp>,
    ) {
        if before == now {
            return;
        }
        if let Some(time) = before {
            tombstones.remove(&(time, key.clone()));
        }
        if let Some(time) = now {
            tombstones.insert((time, key.clone()));
        }
    }
}
