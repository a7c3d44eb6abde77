//! The oracle: every event that was ever minted, and what each node ought to show for it.

use bytes::Bytes;
use crdt::{Dot, Knows as _, LwwEntry, ReplicaId};
use std::collections::BTreeMap;

use crate::Partition;

/// All events, by key, those that win first.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    by_key: BTreeMap<Bytes, Vec<LwwEntry<Bytes>>>,
    /// How many events of each identity are recorded.
    minted: BTreeMap<ReplicaId, u64>,
}

impl Oracle {
    /// Records the events that the node has minted since it was looked at last.
    pub(super) fn note_minted(&mut self, partition: &Partition) -> Result<(), String> {
        let Some(id) = partition.incarnation() else {
            return Ok(());
        };
        let replica = partition.replica();
        let recorded = self.minted.entry(id).or_insert(0);
        while *recorded < replica.own_counter() {
            *recorded += 1;
            let dot = Dot::new(id, *recorded);
            let key = replica
                .log()
                .key(dot)
                .ok_or(format!("I4: {dot} was minted without a key"))?;
            let live = replica.map().get(key).and_then(|cell| cell.live());
            let live = live.filter(|entry| entry.dot == dot);
            let entry = live.ok_or(format!(
                "{dot} is not live at its writer after it was minted"
            ))?;
            let events = self.by_key.entry(key.clone()).or_default();
            let at = events.partition_point(|held| held.wins_over(entry));
            events.insert(at, entry.clone());
        }
        Ok(())
    }

    /// Checks I1, I4 and I5 at one node: each key shows the winner of those of its events that are known
    /// there, or, if that is a tombstone, nothing.
    pub(super) fn check_node(&self, partition: &Partition) -> Result<(), String> {
        let (node, replica) = (partition.config().node, partition.replica());
        replica
            .check_invariants()
            .map_err(|violation| format!("{node}: {violation}"))?;
        for (key, events) in &self.by_key {
            let known = replica.knowledge().of_key(key);
            let winner = events.iter().find(|entry| known.knows(entry.dot));
            let live = replica.map().get(key).and_then(|cell| cell.live());
            let agrees = match (winner, live) {
                (Some(winner), Some(live)) => winner == live,
                (Some(winner), None) => winner.value.is_none(),
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

    /// Checks I3 between two nodes, and what I2 adds to it: equal knowledge, exceptions included, means
    /// equal visible entries.
    pub(super) fn check_pair(a: &Partition, b: &Partition) -> Result<(), String> {
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
}
