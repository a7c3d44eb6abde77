//! How far reads at level `One` are behind what clients were told.

use bytes::Bytes;
use crdt::{Dot, Knows as _, Timestamp};
use std::collections::BTreeMap;

use crate::sim::oracle::Simulated;
use crate::{Level, NodeId, Outcome, Request};

/// How far a read at level `One`, of a session or not, was behind.
///
/// It has missed a write of its key if that was acknowledged, at whatever level, before the read was invoked,
/// the read has not seen its event, and, in a store by time, nothing that is later was read in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Lag {
    /// How long before the read was invoked the first of the writes that it has missed was acknowledged, in
    /// virtual milliseconds: for so long there had been something newer. 0 for a read that has missed nothing.
    pub ms: u64,
    /// How many writes it has missed.
    pub writes: u64,
}

/// A request that has not been answered.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) node: NodeId,
    key: Bytes,
    at_ms: u64,
    /// How many writes of the key were acknowledged before; of a read at level `One` only.
    acknowledged: Option<usize>,
}

/// The writes that were acknowledged, and how far behind them reads were.
#[derive(Debug, Default)]
pub(super) struct Lags {
    acknowledged: BTreeMap<Bytes, Vec<Acknowledged>>,
    measured: Vec<Lag>,
}

#[derive(Debug)]
struct Acknowledged {
    event: Dot,
    timestamp: Timestamp,
    at_ms: u64,
}

impl Lags {
    /// Every read at level `One` that was answered.
    pub(super) fn measured(&self) -> &[Lag] {
        &self.measured
    }

    /// A request is made.
    pub(super) fn ask<W>(&self, node: NodeId, request: &Request<W>, at_ms: u64) -> Asked {
        let key = request.command.key().clone();
        let is_measured = !request.command.is_write() && request.level == Level::One;
        let acknowledged = || self.acknowledged.get(&key).map_or(0, Vec::len);
        let acknowledged = is_measured.then(acknowledged);
        Asked {
            node,
            key,
            at_ms,
            acknowledged,
        }
    }

    /// A request is answered.
    pub(super) fn note<P: Simulated>(
        &mut self,
        asked: Asked,
        outcome: &Outcome<P::Cell>,
        at_ms: u64,
    ) {
        match outcome {
            Outcome::Written {
                event: Some(event),
                timestamp,
                ..
            } => {
                let (event, timestamp) = (*event, *timestamp);
                self.acknowledged
                    .entry(asked.key)
                    .or_default()
                    .push(Acknowledged {
                        event,
                        timestamp,
                        at_ms,
                    });
            }
            Outcome::Read { cell, seen, .. } => {
                let Some(before) = asked.acknowledged else {
                    return;
                };
                let read = P::time_of(cell);
                let is_missed = |write: &&Acknowledged| {
                    !seen.context.knows(write.event)
                        && read.is_none_or(|read| write.timestamp >= read)
                };
                let acknowledged = self.acknowledged.get(&asked.key).into_iter().flatten();
                let mut missed = acknowledged.take(before).filter(is_missed).peekable();
                let first_ms = missed.peek().map(|write| write.at_ms);
                self.measured.push(Lag {
                    ms: first_ms.map_or(0, |first| asked.at_ms - first),
                    writes: missed.count() as u64,
                });
            }
            Outcome::Written { .. } => {}
        }
    }
}
