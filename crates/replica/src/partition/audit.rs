//! Audits: nodes that know the same hold the same, or one of them is damaged.
//!
//! Synchronisation compares knowledge, never content: an entry that a disk or memory has changed under its
//! event is never fetched again. So each owner shows the others, now and then, a checksum of what it shows
//! with a digest of what it knows. Where the digests are equal the checksums must be (I3).
//!
//! Who is in the minority against more than half of all owners has been damaged: it gives up everything it
//! holds, and recovers from the others as a node that has lost its data. Where there is no such majority,
//! nobody can tell who is right: each reports the others, and an operator decides.

use crdt::{Interval, MapReplica, ReplicaId};
use std::collections::BTreeMap;

use super::Partition;
use crate::message::Message;
use crate::{NodeId, Policy, checksum};

/// What the audits have shown so far.
#[derive(Debug, Default)]
pub(super) struct Audits {
    /// When the next is due; `None` until the first tick of a life.
    next_ms: Option<u64>,
    /// The checksum here, and what was known when it was taken.
    own: Option<(u128, u128)>,
    /// What each peer has shown last: its incarnation, digest and checksum.
    shown: BTreeMap<NodeId, (ReplicaId, u128, u128)>,
}

impl<P: Policy> Partition<P> {
    /// Shows the others a checksum of what this node shows, if it is time. Linear in the entries, so the
    /// partitions of a node are spread over the interval.
    pub(super) fn audit(&mut self) {
        let interval_ms = self.config.audit_interval_ms;
        if interval_ms == 0 {
            return;
        }
        let elapsed_ms = self.now.elapsed_ms;
        let due_ms = *self.audits.next_ms.get_or_insert_with(|| {
            let place = u64::from(self.config.partition.0);
            elapsed_ms + interval_ms.saturating_mul(place) / u64::from(self.config.partitions)
        });
        if elapsed_ms < due_ms {
            return;
        }
        self.audits.next_ms = Some(elapsed_ms + interval_ms);
        self.audits.own = None;
        let digest = self.knowledge_digest();
        let checksum = self.own_checksum(digest);
        for peer in self.peers.all() {
            self.send(peer, Message::Audit { digest, checksum });
        }
    }

    /// A peer has shown what it knows and holds.
    pub(super) fn note_audit(&mut self, from: NodeId, id: ReplicaId, digest: u128, checksum: u128) {
        if !self.is_ready() || self.config.audit_interval_ms == 0 {
            return;
        }
        self.audits.shown.insert(from, (id, digest, checksum));
        if digest != self.knowledge_digest() {
            return;
        }
        let own = self.own_checksum(digest);
        if own == checksum {
            self.counters.audits_passed += 1;
            return;
        }
        self.counters.audits_failed += 1;
        let agreeing = self.shown_with(digest).filter(|(_, sum)| *sum == checksum);
        let owners = self.config.replication_factor as usize;
        if 2 * agreeing.count() > owners {
            self.give_up_what_is_damaged();
        }
    }

    /// The peers that know what this node knows, and hold something else: they or this node is damaged.
    pub(super) fn disagreeing(&self) -> Vec<NodeId> {
        let Some((digest, own)) = self.audits.own else {
            return Vec::new();
        };
        let others = self.shown_with(digest).filter(|(_, sum)| *sum != own);
        others.map(|(node, _)| node).collect()
    }

    /// The checksums of those that know what `digest` stands for, and still live.
    fn shown_with(&self, digest: u128) -> impl Iterator<Item = (NodeId, u128)> + '_ {
        let shown = self.audits.shown.iter();
        let same = shown.filter(move |(node, (id, theirs, _))| {
            *theirs == digest && !self.view.is_fenced(node.0, *id)
        });
        same.map(|(node, (_, _, checksum))| (*node, *checksum))
    }

    fn own_checksum(&mut self, digest: u128) -> u128 {
        match self.audits.own {
            Some((of, checksum)) if of == digest => checksum,
            _ => {
                let checksum = checksum(self.replica.map());
                self.audits.own = Some((digest, checksum));
                checksum
            }
        }
    }

    /// Goes on as a node that has lost its data.
    fn give_up_what_is_damaged(&mut self) {
        for (key, _) in self.replica.map().within(&Interval::all()) {
            self.journal.note_key(key);
        }
        let logged = self.replica.log().iter().map(|(dot, _)| dot).collect();
        self.journal.note_trimmed(logged);
        let closed = std::sync::Arc::clone(self.replica.closed());
        self.replica = super::starting::prepared(MapReplica::new(ReplicaId(0)), self.random);
        self.replica.note_closed(&closed);
        self.digest = None;
        self.audits = Audits::default();
        self.counters.damages_given_up += 1;
        self.start_over();
    }
}
