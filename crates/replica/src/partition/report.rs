//! What a node says of itself without asking anyone: its state, its status, and what it holds.

use bytes::Bytes;
use crdt::{Cell as _, Cut, Interval, ReplicaId};

use super::{Output, Partition, Phase};
use crate::{NodeId, Policy, RequestError};

/// How often the rarer paths were taken, for metrics and so that a test can show it was not vacuous.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Writes minted again because something else had won.
    pub writes_minted_again: u64,
    /// Writes answered as superseded.
    pub superseded_answers: u64,
    /// Replicas repaired after a read.
    pub read_repairs: u64,
    /// Messages refused because a later incarnation took the sender's place.
    pub fenced_messages: u64,
    /// Answers that the log could not give.
    pub truncated_answers: u64,
    /// Answers cut by their budget.
    pub cut_answers: u64,
    /// Chunks of full transfers joined.
    pub transfer_chunks: u64,
    /// Tombstones forgotten.
    pub tombstones_purged: u64,
    /// Times the node became a new incarnation.
    pub incarnations: u64,
    /// Listings that left an exception behind.
    pub exceptions_left: u64,
    /// Linearizable reads that were written back.
    pub write_backs: u64,
    /// Probes that found a peer with other knowledge.
    pub probes_differed: u64,
    /// Times that dead incarnations were retired.
    pub incarnations_retired: u64,
    /// Dead incarnations closed.
    pub incarnations_closed: u64,
    /// Audits in which a peer that knows the same held the same.
    pub audits_passed: u64,
    /// Audits in which a peer that knows the same held something else: one of the two is damaged.
    pub audits_failed: u64,
    /// Times the node gave up all it held because most owners hold something else.
    pub damages_given_up: u64,
    /// Acknowledgements dropped because their sender has lost its data since.
    pub acknowledgements_dropped: u64,
    /// Writes with a name that had been carried out when they were asked for.
    pub operations_found: u64,
    /// Writes with a name of which the other owners were asked first.
    pub operations_asked_about: u64,
    /// Those of them that were carried out, since no owner knew them.
    pub operations_begun: u64,
    /// Times that the node came back with its data and others confirmed it.
    pub returns_confirmed: u64,
    /// Times that it did not wait for that any longer.
    pub returns_unconfirmed: u64,
    /// Requests that came before what their session had seen.
    pub session_waits: u64,
    /// Messages of requests that were sent again, since no answer had come in time.
    pub messages_sent_again: u64,
}

impl Counters {
    /// The sums.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            writes_minted_again: self.writes_minted_again + other.writes_minted_again,
            superseded_answers: self.superseded_answers + other.superseded_answers,
            read_repairs: self.read_repairs + other.read_repairs,
            fenced_messages: self.fenced_messages + other.fenced_messages,
            truncated_answers: self.truncated_answers + other.truncated_answers,
            cut_answers: self.cut_answers + other.cut_answers,
            transfer_chunks: self.transfer_chunks + other.transfer_chunks,
            tombstones_purged: self.tombstones_purged + other.tombstones_purged,
            incarnations: self.incarnations + other.incarnations,
            exceptions_left: self.exceptions_left + other.exceptions_left,
            incarnations_retired: self.incarnations_retired + other.incarnations_retired,
            incarnations_closed: self.incarnations_closed + other.incarnations_closed,
            probes_differed: self.probes_differed + other.probes_differed,
            write_backs: self.write_backs + other.write_backs,
            audits_passed: self.audits_passed + other.audits_passed,
            audits_failed: self.audits_failed + other.audits_failed,
            damages_given_up: self.damages_given_up + other.damages_given_up,
            acknowledgements_dropped: self.acknowledgements_dropped
                + other.acknowledgements_dropped,
            operations_found: self.operations_found + other.operations_found,
            operations_asked_about: self.operations_asked_about + other.operations_asked_about,
            operations_begun: self.operations_begun + other.operations_begun,
            returns_confirmed: self.returns_confirmed + other.returns_confirmed,
            returns_unconfirmed: self.returns_unconfirmed + other.returns_unconfirmed,
            session_waits: self.session_waits + other.session_waits,
            messages_sent_again: self.messages_sent_again + other.messages_sent_again,
        }
    }
}

/// What a node is doing, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// It serves.
    Up,
    /// It catches up after losing its data.
    Recovering,
    /// It has come back with its data, and waits for others to show that it is the latest.
    Returning,
    /// Its storage has failed.
    StorageFailed,
}

/// What an operator sees of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// The node.
    pub node: NodeId,
    /// What it is doing.
    pub state: State,
    /// The identity under which it writes; `None` while it has none.
    pub incarnation: Option<ReplicaId>,
    /// What it knows of all keys.
    pub context: crdt::CausalContext,
    /// The part of it that every owner has, lost events aside: [`Partition::stable`].
    pub stable: crdt::CausalContext,
    /// Number of key intervals of which it knows more.
    pub exceptions: usize,
    /// Keys with something live, tombstones included.
    pub entries: usize,
    /// Tombstones.
    pub tombstones: usize,
    /// Events that the log can name.
    pub log_events: usize,
    /// For each peer that has shown its knowledge, how many of its events this node lacks.
    pub lacks: Vec<(NodeId, u64)>,
    /// The peers that know what this node knows and hold something else, by the latest audit: they or
    /// this node is damaged. Where more than half of the owners agree, the damaged one mends itself.
    pub disagreeing: Vec<NodeId>,
    /// Requests pending.
    pub pending: usize,
    /// Sources of a recovery that are covered, and how many are needed.
    pub recovery: Option<(usize, usize)>,
    /// How often the rarer paths were taken.
    pub counters: Counters,
}

impl Partition {
    /// The value that this node holds for a key, without asking anyone: a read at level `One`.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn read_local(&self, key: &[u8]) -> Result<Option<Bytes>, RequestError> {
        let cell = self.cell_local(key)?;
        Ok(cell.and_then(|cell| cell.value().cloned()))
    }
}

impl<P: Policy> Partition<P> {
    /// Counts the messages among the outputs since there were so many: they were sent again.
    pub(super) fn count_sent_again(&mut self, before: usize) {
        let is_message = |output: &&Output<P::Cell>| matches!(output, Output::Send { .. });
        let sent = self.outputs[before..].iter().filter(is_message).count();
        self.counters.messages_sent_again += sent as u64;
    }

    /// What this node holds for a key, without asking anyone: a read at level `One`.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn cell_local(&self, key: &[u8]) -> Result<Option<&P::Cell>, RequestError> {
        self.check_serves()?;
        Ok(self.replica.map().get(key))
    }

    /// Up to `limit` keys that hold a value here, ascending, strictly after `after`; fewer than `limit`
    /// mean that there are no more. Like a read at level `One` it asks nobody.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn scan_local(
        &self,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<Bytes>, RequestError> {
        self.check_serves()?;
        let from = after.map_or(Cut::BelowAll, |key| Cut::After(key.clone()));
        let Some(rest) = Interval::new(from, Cut::AboveAll) else {
            return Ok(Vec::new());
        };
        let visible = self
            .replica
            .map()
            .within(&rest)
            .filter(|(_, cell)| cell.is_visible());
        Ok(visible.map(|(key, _)| key.clone()).take(limit).collect())
    }

    /// What an operator sees.
    pub fn status(&self) -> Status {
        let recovery = match &self.phase {
            Phase::Recovering(recovery) => Some((
                recovery.covered(self.replica.knowledge()),
                self.sources_needed(),
            )),
            _ => None,
        };
        Status {
            node: self.config.node,
            state: self.state(),
            incarnation: self.incarnation(),
            context: self.replica.knowledge().base().clone(),
            stable: crdt::CausalContext::clone(self.stable()),
            exceptions: self.replica.knowledge().exception_count(),
            entries: self.replica.map().len(),
            tombstones: self.replica.tombstone_count(),
            log_events: self.replica.log().len(),
            lacks: self.lacking(),
            disagreeing: self.disagreeing(),
            pending: self.writes.len() + self.reads.len(),
            recovery,
            counters: self.counters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_is_added_to_its_own_kind() {
        let numbered = |by: u64| Counters {
            writes_minted_again: by,
            superseded_answers: 2 * by,
            read_repairs: 3 * by,
            fenced_messages: 4 * by,
            truncated_answers: 5 * by,
            cut_answers: 6 * by,
            transfer_chunks: 7 * by,
            tombstones_purged: 8 * by,
            incarnations: 9 * by,
            exceptions_left: 10 * by,
            write_backs: 11 * by,
            probes_differed: 12 * by,
            incarnations_retired: 13 * by,
            incarnations_closed: 14 * by,
            audits_passed: 15 * by,
            audits_failed: 16 * by,
            damages_given_up: 17 * by,
            acknowledgements_dropped: 18 * by,
            operations_found: 19 * by,
            operations_asked_about: 20 * by,
            operations_begun: 21 * by,
            returns_confirmed: 22 * by,
            returns_unconfirmed: 23 * by,
            session_waits: 24 * by,
            messages_sent_again: 25 * by,
        };
        assert_eq!(numbered(1).plus(numbered(100)), numbered(101));
    }
}
