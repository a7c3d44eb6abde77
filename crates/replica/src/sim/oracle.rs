//! The oracle: every event that was ever minted, and what each node ought to show for it.

use bytes::Bytes;
use crdt::{
    CausalContext, Cell as _, Dot, DotStore as _, Knows as _, LwwCell, LwwEntry, ReplicaId,
    Timestamp,
};
use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::{CausalValue, CausalWrite, Lww, MultiValue, Partition, Policy};

/// A policy that can be simulated: one for which there is an oracle.
pub trait Simulated: Policy {
    /// What knows every event of a partition.
    type Oracle: Oracle<Self>;

    /// What a history says of a cell; `None` if it shows nothing.
    fn shown(cell: &Self::Cell) -> Option<Bytes>;

    /// The value that an event has left in a cell, with its time in a store by time; `None` if it has left
    /// none there.
    fn written(_cell: &Self::Cell, _event: Dot) -> Option<(Timestamp, Bytes)> {
        None
    }
}

/// Every event of one partition, and what follows from them.
pub trait Oracle<P: Policy + ?Sized>: Default + Debug {
    /// Records the events that the owner has minted since it was looked at last.
    ///
    /// # Errors
    /// What is wrong with them.
    fn note_minted(&mut self, partition: &Partition<P>) -> Result<(), String>
    where
        P: Sized;

    /// Checks I1, I4 and I5 at one owner.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn check_node(&self, partition: &Partition<P>) -> Result<(), String>
    where
        P: Sized;
}

/// How many events of each identity an oracle has recorded.
#[derive(Debug, Default)]
struct Minted(BTreeMap<ReplicaId, u64>);

impl Minted {
    /// The events that the owner has minted since it was looked at last, with their keys.
    fn news<P: Policy>(&mut self, partition: &Partition<P>) -> Result<Vec<(Dot, Bytes)>, String> {
        let Some(id) = partition.incarnation() else {
            return Ok(Vec::new());
        };
        let replica = partition.replica();
        let recorded = self.0.entry(id).or_insert(0);
        let news = *recorded + 1..=replica.own_counter();
        *recorded = replica.own_counter().max(*recorded);
        news.map(|counter| {
            let dot = Dot::new(id, counter);
            let key = replica.log().key(dot);
            let key = key.ok_or(format!("I4: {dot} was minted without a key"))?;
            Ok((dot, key.clone()))
        })
        .collect()
    }
}

impl Simulated for Lww {
    type Oracle = LwwOracle;

    fn shown(cell: &LwwCell<Bytes>) -> Option<Bytes> {
        cell.value().cloned()
    }

    fn written(cell: &LwwCell<Bytes>, event: Dot) -> Option<(Timestamp, Bytes)> {
        let live = cell.live().filter(|live| live.dot == event)?;
        Some((live.timestamp, live.value.clone()?))
    }
}

/// The events of a store by time, by key, those that win first.
#[derive(Debug, Default)]
pub struct LwwOracle {
    by_key: BTreeMap<Bytes, Vec<LwwEntry<Bytes>>>,
    minted: Minted,
}

impl Oracle<Lww> for LwwOracle {
    fn note_minted(&mut self, partition: &Partition) -> Result<(), String> {
        for (dot, key) in self.minted.news(partition)? {
            let live = partition.replica().map().get(&key);
            let live = live.and_then(|cell| cell.live());
            let entry = live
                .filter(|entry| entry.dot == dot)
                .ok_or(format!(
                    "{dot} is not live at its writer after it was minted"
                ))?
                .clone();
            let events = self.by_key.entry(key).or_default();
            let at = events.partition_point(|held| held.wins_over(&entry));
            events.insert(at, entry);
        }
        Ok(())
    }

    /// Each key shows the winner of those of its events that are known there, or, if that is a
    /// tombstone, nothing.
    fn check_node(&self, partition: &Partition) -> Result<(), String> {
        let (node, replica) = (partition.config().node, partition.replica());
        replica
            .check_invariants()
            .map_err(|violation| format!("{node}: {violation}"))?;
        for (key, events) in &self.by_key {
            let known = replica.events_of_key(key);
            let winner = events.iter().find(|entry| known.knows(entry.dot));
            let live = replica.map().get(key).and_then(|cell| cell.live());
            let agrees = match (winner, live) {
                (Some(winner), Some(live)) => winner == live,
                (Some(winner), None) => {
                    let above = events.iter().take_while(|entry| *entry != winner);
                    let mut above = above.map(|entry| entry.dot);
                    winner.value.is_none() || above.any(|dot| is_doubtful(partition, key, dot))
                }
                (None, live) => live.is_none(),
            };
            if !agrees {
                return Err(format!(
                    "I5: {node} shows {live:?} for {key:?}, it knows {winner:?}"
                ));
            }
        }
        Ok(())
    }
}

impl Simulated for MultiValue {
    type Oracle = CausalOracle;

    fn shown(cell: &Self::Cell) -> Option<Bytes> {
        let mut values: Vec<&Bytes> = cell.values().collect();
        values.sort();
        let separator: &[u8] = b",";
        cell.is_visible().then(|| {
            Bytes::from(
                values
                    .iter()
                    .map(|v| &v[..])
                    .collect::<Vec<_>>()
                    .join(separator),
            )
        })
    }

    fn written(cell: &Self::Cell, event: Dot) -> Option<(Timestamp, Bytes)> {
        let mut siblings = cell.siblings();
        let (_, value) = siblings.find(|(dot, _)| *dot == event)?;
        Some((Timestamp::default(), value.clone()))
    }
}

impl<W: CausalWrite> Simulated for CausalValue<W> {
    type Oracle = CausalOracle;

    fn shown(cell: &W::Store) -> Option<Bytes> {
        let bytes = postcard::to_stdvec(cell).expect("cells serialise into memory");
        cell.is_visible().then(|| bytes.into())
    }
}

/// The events of a store without an order of time, and what each has made obsolete.
///
/// An event is live where it is known, unless an event is known there that has made it obsolete, itself
/// or through others.
#[derive(Debug, Default)]
pub struct CausalOracle {
    by_key: BTreeMap<Bytes, BTreeMap<Dot, Minting>>,
    minted: Minted,
}

/// An event at the moment it was minted.
#[derive(Debug)]
struct Minting {
    /// Whether it left something live.
    is_live: bool,
    /// The events of the key that were obsolete at its writer then.
    obsolete: CausalContext,
}

impl<P: Policy> Oracle<P> for CausalOracle {
    fn note_minted(&mut self, partition: &Partition<P>) -> Result<(), String> {
        for (dot, key) in self.minted.news(partition)? {
            let cell = partition.replica().map().get(&key);
            let events = self.by_key.entry(key.clone()).or_default();
            let known = partition.replica().events_of_key(&key);
            let is_live = |dot: Dot| cell.is_some_and(|cell| cell.is_live(dot));
            let before = events.keys().copied();
            let obsolete = before.filter(|e| known.knows(*e) && !is_live(*e)).collect();
            let is_live = is_live(dot);
            events.insert(dot, Minting { is_live, obsolete });
        }
        Ok(())
    }

    fn check_node(&self, partition: &Partition<P>) -> Result<(), String> {
        let (node, replica) = (partition.config().node, partition.replica());
        replica
            .check_invariants()
            .map_err(|violation| format!("{node}: {violation}"))?;
        for (key, events) in &self.by_key {
            let known = replica.events_of_key(key);
            let known: Vec<_> = events.iter().filter(|(e, _)| known.knows(**e)).collect();
            let cell = replica.map().get(key);
            for (dot, minting) in &known {
                let mut others = known.iter();
                let is_obsolete = others.any(|(_, other)| other.obsolete.knows(**dot));
                let expected = minting.is_live && !is_obsolete;
                let is_live = cell.is_some_and(|cell| cell.is_live(**dot));
                let may_be_obsolete = || {
                    let mut doubtful = events
                        .iter()
                        .filter(|(e, _)| is_doubtful(partition, key, **e));
                    doubtful.any(|(_, other)| other.obsolete.knows(**dot))
                };
                if is_live != expected && (is_live || !may_be_obsolete()) {
                    return Err(format!(
                        "I5: at {node} {dot} of {key:?} is live: {is_live}, expected: {expected}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether an event of a closed writer was known here of its key alone, or is lost: nobody can tell which. If
/// it was known it has had its effect, and left nothing live.
fn is_doubtful<P: Policy>(partition: &Partition<P>, key: &Bytes, dot: Dot) -> bool {
    let replica = partition.replica();
    let is_left = || replica.events_of_key(key).contains(dot);
    replica.knowledge().of_key(key).knows(dot) && !is_left()
}

/// Checks I3 between two owners, and what I2 adds to it: equal knowledge, exceptions included, means
/// equal visible entries.
pub(super) fn check_pair<P: Policy>(a: &Partition<P>, b: &Partition<P>) -> Result<(), String> {
    let (left, right) = (a.replica().knowledge(), b.replica().knowledge());
    if left != right {
        return Ok(());
    }
    if !a.replica().map().visible().eq(b.replica().map().visible()) {
        let (a, b) = (a.config().node, b.config().node);
        return Err(format!(
            "I3: {a} and {b} know the same and show different entries"
        ));
    }
    Ok(())
}
