//! What a replica of a map answers a peer that lacks something.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::OnceCell;
use core::fmt::Debug;
use core::hash::Hash;
use smallvec::SmallVec;

use crate::map::cut::{Cut, Interval};
use crate::map::knowledge::{Knowledge, Known};
use crate::map::listing::{IntervalListing, Listing};
use crate::map::map_replica::MapReplica;
use crate::{CausalContext, Cell, Dot, DotRange, Lattice};

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
        // Few answers need it: most cells prove themselves.
        let shared = OnceCell::new();
        let shared = || shared.get_or_init(|| self.knowledge().base().intersection(remote.base()));
        let mut listings: Vec<_> = by_key
            .into_iter()
            .map(|(key, (held, dots))| {
                let (cell, covered) = (held.cloned().unwrap_or_default(), dots.clone());
                self.list(key.clone(), cell, covered, |known| {
                    Arc::new(if all_named {
                        let live = held.into_iter().flat_map(|cell| cell.dot_ranges());
                        let dots = dots.iter().copied().map(DotRange::from);
                        self.claim_beyond(known, shared(), dots.chain(live))
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
}
