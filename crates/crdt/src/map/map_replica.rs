//! One replica of a causal map: the map, and what a replica keeps beside it.

mod checks;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;
use core::ops::RangeInclusive;
use smallvec::SmallVec;

use crate::causal::{Edit, Events, IdentityReused};
use crate::map::causal_map::{CausalMap, Seen};
use crate::map::change::{Change, Joined};
use crate::map::closed::{Closed, is_tail};
use crate::map::cut::{Cut, Interval};
use crate::map::event_log::EventLog;
use crate::map::knowledge::{Knowledge, Known};
use crate::map::listing::{Claim, IntervalListing, KeyListing, Listing};
use crate::map::map_replica::checks::LiveBefore;
use crate::map::stability::Horizon;
use crate::{
    CausalContext, Cell, Dot, DotRange, InvalidBytes, Knows, Lattice, ReplicaId, Timestamp,
};

/// A [`CausalMap`] with its writer's identity, its [`EventLog`] and an index of its tombstones: all
/// that is needed to write, to answer what a peer lacks, and to forget.
///
/// Two replicas converge by exchanging [`Listing`]s, whatever is lost, repeated or reordered on the
/// way. The example of [`CausalMap`] shows a conflict.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | on different keys | independent |
/// | on one key | as the [`Cell`] says, by what each author had seen of the key |
/// | a write and a purge | the purge takes only tombstones that no later write can be below |
///
/// **Order and join.** Those of the [`CausalMap`]; the log and the index follow from what is joined.
///
/// **Invariants.** I1 to I3 and I5 of the [`CausalMap`]; I4 of the [`EventLog`]. The index names exactly the
/// tombstones that are live.
///
/// **Not for** states that are small enough to send whole: [`Causal`](crate::Causal) of an
/// [`OrMap`](crate::OrMap) nests, and needs neither log nor listings.
///
/// Sources: those of [`CausalMap`]; for the log Gonçalves et al., *DottedDB*, SRDS 2017.
///
/// It is neither `Clone` nor serialisable as a whole: a copy that wrote under the same identity would
/// give its dots to two events. Copy its [`map`](Self::map) for a snapshot; to start again, store the
/// map's entries, its knowledge and its log, and [`restore`](Self::restore) it.
///
/// ```compile_fail
/// use crdt::{MapReplica, MvCell, ReplicaId};
/// let replica: MapReplica<u8, MvCell<u8>> = MapReplica::new(ReplicaId(1));
/// let twin: MapReplica<u8, MvCell<u8>> = replica.clone();
/// ```
///
/// **Identity.** Every event that is known here of its own identity was minted here: a listing that names
/// another is [refused](IdentityReused), since two writers would then share a dot. A change that makes any event
/// live but its own is a mistake of the caller, and panics.
///
/// **Cost.** A write costs what changing the [map](CausalMap) does, a look at the live events of its cell, and a
/// look-up in the log; [`delta_since`](Self::delta_since) is proportional to what the
/// peer lacks; a purge to what it forgets.
pub struct MapReplica<K, C> {
    id: ReplicaId,
    /// Number of events minted under the identity. None above it is known of any key, unless the identity
    /// is closed.
    minted: u64,
    map: CausalMap<K, C>,
    log: EventLog<K>,
    tombstones: BTreeSet<(Timestamp, K)>,
    closed: Arc<Closed>,
}

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

/// How much an answer may hold. It always holds at least one listing, so that it makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Budget {
    /// Events covered, or keys listed.
    pub events: usize,
    /// Sum of the weights of the cells listed.
    pub bytes: usize,
}

/// The answer to a peer that has shown its knowledge.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "K: serde::Serialize, C: serde::Serialize",
        deserialize = "K: Ord + serde::Deserialize<'de>, C: Cell + serde::Deserialize<'de>"
    ))
)]
pub struct Delta<K, C> {
    /// What the peer lacks, or the first part of it.
    pub listings: Vec<Listing<K, C>>,
    /// Whether the peer knows, once it has joined the listings, all that the sender knows.
    pub complete: bool,
}

/// The log no longer names all events that the peer lacks: it needs a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event log has been trimmed past what the peer lacks; a full transfer is needed")]
pub struct Truncated;

/// A part of a full transfer.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "K: serde::Serialize, C: serde::Serialize",
        deserialize = "K: Ord + serde::Deserialize<'de>, C: Cell + serde::Deserialize<'de>"
    ))
)]
pub struct TransferChunk<K, C> {
    /// Listings that tile the key space from where the chunk was asked for.
    pub listings: Vec<Listing<K, C>>,
    /// Where the next chunk starts; `None` after the last.
    pub next: Option<Cut<K>>,
}

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// An empty replica that writes as `id`.
    pub fn new(id: ReplicaId) -> Self {
        Self {
            id,
            minted: 0,
            map: CausalMap::default(),
            log: EventLog::default(),
            tombstones: BTreeSet::new(),
            closed: Arc::default(),
        }
    }

    /// A replica with the state it had stored. The state must hold every event that `id` has ever minted; if
    /// it may not, take a new identity.
    ///
    /// # Errors
    /// If the parts contradict each other, or name the last event that `id` could ever number.
    pub fn restore(
        id: ReplicaId,
        entries: impl IntoIterator<Item = (K, C)>,
        knowledge: Knowledge<K>,
        log: impl IntoIterator<Item = (Dot, K)>,
    ) -> Result<Self, InvalidBytes> {
        let mut replica = Self {
            map: CausalMap::restore(entries, knowledge),
            ..Self::new(id)
        };
        replica.map.validate()?;
        for (dot, key) in log {
            if !replica.knowledge().base().knows(dot) {
                return Err(InvalidBytes::LoggedDotUnknown);
            }
            replica.log.note(dot, key);
        }
        let tombstones = replica
            .map
            .entries()
            .filter_map(|(k, c)| Some((c.tombstone()?, k.clone())));
        replica.tombstones = tombstones.collect();
        replica.set_id(id);
        match replica.minted {
            u64::MAX => Err(InvalidBytes::CounterOverflow),
            _ => Ok(replica),
        }
    }

    /// Who writes here.
    pub const fn id(&self) -> ReplicaId {
        self.id
    }

    /// Goes on under another identity, one that has never written anywhere: after [`IdentityReused`], or a
    /// loss of data. Events that are known of it, of all keys or of some, count as minted, so that none of
    /// them is minted again; nobody can tell here what it may have written elsewhere.
    pub fn set_id(&mut self, id: ReplicaId) {
        self.id = id;
        self.minted = self.knowledge().last_counter(id);
    }

    /// Hashes keys with this seed from now on. Where strangers choose keys it should be random, or they can
    /// choose keys that are found slowly; nothing but the time of look-ups depends on it. Linear in the keys.
    pub fn set_hash_seed(&mut self, seed: u64) {
        self.map.set_hash_seed(seed);
    }

    /// Says how keys are ordered as bytes, so that a new key is put in its place with fewer looks at others:
    /// about half the time of writing one. Linear in the keys.
    ///
    /// `a.cmp(&b)` MUST be `bytes(a).cmp(bytes(b))`. Otherwise keys are lost, and later calls may panic.
    ///
    /// ```
    /// use crdt::{MapReplica, MvCell, ReplicaId};
    ///
    /// let mut replica: MapReplica<String, MvCell<u8>> = MapReplica::new(ReplicaId(1));
    /// replica.order_by_bytes(String::as_bytes);
    /// ```
    pub fn order_by_bytes(&mut self, bytes: fn(&K) -> &[u8]) {
        self.map.order_by_bytes(bytes);
    }

    /// The map.
    pub const fn map(&self) -> &CausalMap<K, C> {
        &self.map
    }

    /// The map as it is now, in constant time.
    #[must_use = "a snapshot changes nothing"]
    pub fn snapshot(&self) -> CausalMap<K, C> {
        self.map.snapshot()
    }

    /// The event log.
    pub const fn log(&self) -> &EventLog<K> {
        &self.log
    }

    /// The event log, for trimming.
    pub const fn log_mut(&mut self) -> &mut EventLog<K> {
        &mut self.log
    }

    /// What is known of each key.
    pub const fn knowledge(&self) -> &Knowledge<K> {
        self.map.knowledge()
    }

    /// The closed writers, and what they have left.
    pub const fn closed(&self) -> &Arc<Closed> {
        &self.closed
    }

    /// Takes note of what closed writers have left, as a replica tells it that has closed them; true if
    /// it was news. It closes none of them here.
    pub fn note_closed(&mut self, closed: &Closed) -> bool {
        *closed != *self.closed && Arc::make_mut(&mut self.closed).join(closed)
    }

    /// Closes a writer: from here on all its events count as known for every key, and those that are
    /// not known now count as lost. True if it was open; false, and nothing is done, for the own identity,
    /// which is not dead. Linear in the entries under exceptions.
    ///
    /// The caller MUST know that the writer is dead, and that no replica holds an event of it that is not
    /// known here: an event that is somewhere else would be forgotten wherever this knowledge goes.
    pub fn close(&mut self, writer: ReplicaId) -> bool {
        if writer == self.id {
            return false;
        }
        let of_writer = |range: &DotRange| range.replica == writer && !is_tail(range);
        let mut left: CausalContext = self.knowledge().base().ranges().filter(of_writer).collect();
        for (interval, beyond) in self.knowledge().exceptions() {
            if beyond.last_counter(writer) > 0 {
                let cells = self.map.within(&interval);
                let live = cells.flat_map(|(_, cell)| cell.dot_ranges());
                left.extend(live.filter(of_writer));
            }
        }
        let is_news = self.map.close(writer);
        if is_news {
            Arc::make_mut(&mut self.closed).record(writer, &left);
        }
        is_news
    }

    /// The events known of a key; of closed writers those that are left.
    pub fn events_of_key(&self, key: &K) -> CausalContext {
        self.events_of(self.knowledge().of_key(key))
    }

    /// The events of a peer's base that are not known here of every key; of closed writers those that
    /// are left.
    pub fn lacking(&self, base: &CausalContext) -> CausalContext {
        self.closed
            .without_tails(base.difference(self.knowledge().base()))
    }

    fn events_of(&self, known: Known<'_>) -> CausalContext {
        self.closed.without_tails(known.to_context())
    }

    /// Number of tombstones held.
    pub fn tombstone_count(&self) -> usize {
        self.tombstones.len()
    }

    /// Number of events minted under the current identity.
    pub const fn own_counter(&self) -> u64 {
        self.minted
    }

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

    /// The listing of one key as it stands, for read repair and write-back.
    pub fn list_key(&self, key: K) -> Listing<K, C> {
        self.listing(key, [], |known| Arc::new(self.events_of(known)))
    }

    /// The listing of one key with all that is known of it, even where the cell would speak for itself:
    /// what a reader needs that asks what this replica has seen, not only what it shows.
    pub fn list_known(&self, key: K) -> Listing<K, C> {
        let cell = self.map.get(&key).cloned().unwrap_or_default();
        let claim = Claim::Context(Arc::new(self.events_of_key(&key)));
        let listing = KeyListing::new(key, cell, claim, []);
        Listing::Key(listing.expect("a listing of a valid map is valid"))
    }

    /// The listing of one key as it stands, which also tells of an event of that key known here: for a
    /// write whose first listing may have been lost.
    ///
    /// # Panics
    /// If the event is not known for the key.
    pub fn list_written(&self, key: K, dot: Dot) -> Listing<K, C> {
        self.listing(key, [dot], |known| Arc::new(self.events_of(known)))
    }

    /// What a peer with this knowledge lacks: its missing events first, then what is known here of some
    /// keys beyond the base. `weigh` gives the bytes that a key and its cell count for.
    ///
    /// # Errors
    /// [`Truncated`] if the log no longer names what is missing.
    pub fn delta_since(
        &self,
        remote: &Knowledge<K>,
        budget: Budget,
        weigh: impl Fn(&K, &C) -> usize,
    ) -> Result<Delta<K, C>, Truncated> {
        let missing = self.knowledge().base().difference(remote.base());
        // Of a closed writer a peer can lack no more than what is left.
        let missing = self.closed.without_tails(missing);
        let all: u64 = missing.event_count();
        let mut by_key: BTreeMap<&K, (Option<&C>, SmallVec<[Dot; 1]>)> = BTreeMap::new();
        let (mut events, mut bytes) = (0_usize, 0_usize);
        'ranges: for range in missing.ranges() {
            for (dot, key) in self.log.names(range) {
                if events > 0 && (events >= budget.events || bytes >= budget.bytes) {
                    break 'ranges;
                }
                let key = key.ok_or(Truncated)?;
                let (_, dots) = by_key.entry(key).or_insert_with(|| {
                    let cell = self.map.get(key);
                    bytes += cell.map_or(0, |cell| weigh(key, cell));
                    (cell, SmallVec::new())
                });
                dots.push(dot);
                events += 1;
            }
        }
        let all_named = events as u64 == all;
        let shared = self.knowledge().base().intersection(remote.base());
        let mut listings: Vec<_> = by_key
            .into_iter()
            .map(|(key, (held, dots))| {
                let (cell, covered) = (held.cloned().unwrap_or_default(), dots.clone());
                self.list(key.clone(), cell, covered, |known| {
                    Arc::new(if all_named {
                        let live = held.into_iter().flat_map(|cell| cell.dot_ranges());
                        let dots = dots.iter().copied().map(DotRange::from);
                        self.claim_beyond(known, &shared, dots.chain(live))
                    } else {
                        self.events_of(known)
                    })
                })
            })
            .collect();
        let mut complete = all_named;
        if all_named {
            complete = self.list_exceptions(remote, budget, bytes, weigh, &mut listings);
        }
        Ok(Delta { listings, complete })
    }

    /// The chunk of a full transfer that starts at `from`. There is no state at either side: chunks may
    /// come from any replicas, at any time, in any order; once the key space has been tiled, the base
    /// follows from the exceptions.
    pub fn transfer_chunk(
        &self,
        from: &Cut<K>,
        budget: Budget,
        weigh: impl Fn(&K, &C) -> usize,
    ) -> TransferChunk<K, C> {
        let Some(rest) = Interval::new(from.clone(), Cut::AboveAll) else {
            return TransferChunk {
                listings: Vec::new(),
                next: None,
            };
        };
        let (chunk, next) = self.cut(rest, budget, &mut 0, weigh);
        let parts = self.knowledge().within(&chunk).into_iter();
        let listings = parts
            .map(|(part, known)| self.list_interval(part, known))
            .collect();
        TransferChunk { listings, next }
    }

    /// Forgets tombstones up to the horizon; returns their keys.
    pub fn purge(&mut self, horizon: Horizon) -> Vec<K> {
        let mut purged = Vec::new();
        while let Some((time, _)) = self.tombstones.first() {
            if *time > horizon.time() {
                break;
            }
            let Some((_, key)) = self.tombstones.pop_first() else {
                break;
            };
            self.map.forget(&key);
            purged.push(key);
        }
        purged
    }

    /// Listings of the intervals in which `remote` lacks what is known here beyond the base; true if
    /// all of them fitted into the budget.
    fn list_exceptions(
        &self,
        remote: &Knowledge<K>,
        budget: Budget,
        mut bytes: usize,
        weigh: impl Fn(&K, &C) -> usize,
        listings: &mut Vec<Listing<K, C>>,
    ) -> bool {
        for (interval, beyond) in self.knowledge().exceptions() {
            let parts = remote.within(&interval).into_iter();
            for (part, _) in parts.filter(|(_, theirs)| !theirs.includes(beyond)) {
                if !listings.is_empty()
                    && (listings.len() >= budget.events || bytes >= budget.bytes)
                {
                    return false;
                }
                let (fitting, rest) = self.cut(part, budget, &mut bytes, &weigh);
                let known = self.knowledge().within(&fitting).into_iter();
                listings.extend(known.map(|(part, known)| self.list_interval(part, known)));
                if rest.is_some() {
                    return false;
                }
            }
        }
        true
    }

    /// The first part of `interval` whose cells fit into the budget, at least one, and where the rest
    /// starts if there is one.
    fn cut(
        &self,
        interval: Interval<K>,
        budget: Budget,
        bytes: &mut usize,
        weigh: impl Fn(&K, &C) -> usize,
    ) -> (Interval<K>, Option<Cut<K>>) {
        let mut keys = 0_usize;
        let last = self.map.within(&interval).find(|(key, cell)| {
            keys += 1;
            *bytes = bytes.saturating_add(weigh(key, cell));
            keys >= budget.events || *bytes >= budget.bytes
        });
        let end = last
            .map(|(key, _)| Cut::After(key.clone()))
            .filter(|end| end < interval.end());
        let fitting = end
            .clone()
            .and_then(|end| Interval::new(interval.start().clone(), end));
        (fitting.unwrap_or(interval), end)
    }

    fn list_interval(&self, interval: Interval<K>, known: Known<'_>) -> Listing<K, C> {
        let cells = self
            .map
            .within(&interval)
            .map(|(k, c)| (k.clone(), c.clone()))
            .collect();
        let known = Arc::new(known.to_context());
        Listing::Interval(IntervalListing::of_valid_map(interval, cells, known))
    }

    /// The listing of one key; `claim` builds the context where the cell does not prove itself.
    fn listing(
        &self,
        key: K,
        covered: impl IntoIterator<Item = Dot>,
        claim: impl FnOnce(Known<'_>) -> Arc<CausalContext>,
    ) -> Listing<K, C> {
        let cell = self.map.get(&key).cloned().unwrap_or_default();
        self.list(key, cell, covered, claim)
    }

    /// The listing of one key that holds `cell`.
    fn list(
        &self,
        key: K,
        cell: C,
        covered: impl IntoIterator<Item = Dot>,
        claim: impl FnOnce(Known<'_>) -> Arc<CausalContext>,
    ) -> Listing<K, C> {
        let claim = match C::PROVES_ITSELF && !cell.is_bottom() {
            true => Claim::Itself,
            false => Claim::Context(claim(self.knowledge().of_key(&key))),
        };
        let listing = KeyListing::new(key, cell, claim, covered);
        Listing::Key(listing.expect("a listing of a valid map is valid"))
    }

    /// A claim that holds the same events of the key as `known`, and of other keys only what the peer
    /// has shown (`shared`): the peer then needs no exception for it. `dots` are the missing and the live
    /// events of the key; the live ones are among the others unless a peer has lied about which key an
    /// event touched.
    fn claim_beyond(
        &self,
        known: Known<'_>,
        shared: &CausalContext,
        dots: impl Iterator<Item = DotRange>,
    ) -> CausalContext {
        let mut claim = shared.clone();
        claim.extend(dots);
        if let Some(beyond) = known.beyond() {
            claim.join(beyond);
        }
        self.closed.without_tails(claim)
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

    /// Checks invariants I1 and I4 and the normal forms; for tests and simulations.
    ///
    /// # Errors
    /// The name of the invariant that does not hold.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.map.validate().map_err(|e| format!("I1: {e}"))?;
        for (dot, _) in self.log.iter() {
            if !self.knowledge().base().knows(dot) {
                return Err(format!("I4: the log names {dot}, which is not in the base"));
            }
        }
        let expected = self
            .map
            .entries()
            .filter_map(|(k, c)| Some((c.tombstone()?, k.clone())));
        if !expected.collect::<BTreeSet<_>>().eq(&self.tombstones) {
            return Err("the index of tombstones does not match the map".into());
        }
        Ok(())
    }
}

impl<K: Ord + Clone + Debug, C: Debug> Debug for MapReplica<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapReplica")
            .field("id", &self.id)
            .field("map", &self.map)
            .finish_non_exhaustive()
    }
}
