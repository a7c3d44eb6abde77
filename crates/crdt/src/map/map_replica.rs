//! One replica of a causal map: the map, and what a replica keeps beside it.

mod answers;
mod changes;
mod checks;
mod listings;

pub use answers::{Budget, Delta, TransferChunk, Truncated};
pub use changes::Written;

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;

use crate::map::causal_map::CausalMap;
use crate::map::closed::Closed;
use crate::map::event_log::EventLog;
use crate::map::knowledge::{Knowledge, Known};
use crate::map::stability::Horizon;
use crate::{
    CausalContext, Cell, Dot, DotRange, InvalidBytes, Knows, Lattice, ReplicaId, Timestamp,
};

/// A [`CausalMap`] with its writer's identity, its [`EventLog`] and an index of its tombstones: all
/// that is needed to write, to answer what a peer lacks, and to forget.
///
/// Two replicas converge by exchanging [`Listing`](crate::Listing)s, whatever is lost, repeated or reordered on the
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
/// another is [refused](crate::IdentityReused), since two writers would then share a dot. A change that makes any event
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

    /// Goes on under another identity, one that has never written anywhere: after [`IdentityReused`](crate::IdentityReused), or a
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
        let of_writer = |range: &DotRange| range.replica == writer;
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

#[cfg(test)]
mod tests;
