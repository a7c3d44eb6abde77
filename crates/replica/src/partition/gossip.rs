//! Spreading writes among very many nodes, none of which knows all the others.
//!
//! In each interval a node sends a few random peers a digest of what it knows. A peer that knows the same
//! says nothing; any other shows what it knows, is answered with what it lacks, and is asked in turn for
//! what it has: pull and push in one exchange. New writes also go to a few random peers at once.
//!
//! Source: Demers et al., *Epidemic Algorithms for Replicated Database Maintenance*, 1987.

use bytes::Bytes;
use crdt::{CausalContext, Knowledge, OwnerView, ReplicaId};
use std::sync::Arc;
use twox_hash::XxHash3_128;

use super::{Partition, Phase};
use crate::message::Message;
use crate::{NodeId, Policy};

impl<P: Policy> Partition<P> {
    /// Joins the cluster as a new writer: nobody has to be asked, since nothing is promised that counts
    /// owners.
    pub(super) fn join_gossip(&mut self) {
        let (number, random) = (self.random_bits() | 1, self.random_bits());
        let id = crate::incarnation(self.config.node, number, random);
        self.adopt_identity(id);
        self.phase = Phase::Ready;
    }

    /// The duties of one interval.
    pub(super) fn gossip(&mut self) {
        let digest = self.knowledge_digest();
        for peer in self.peers_to_tell() {
            self.send(peer, Message::Probe { digest });
        }
        let trimmed = self.replica.log_mut().trim_to(self.config.max_log_events);
        self.journal.note_trimmed(trimmed);
    }

    /// A peer has shown a digest of what it knows: one that knows the same is left alone.
    pub(super) fn answer_probe(&mut self, from: NodeId, digest: u128) {
        if digest != self.knowledge_digest() {
            self.counters.probes_differed += 1;
            self.ask(from, true);
        }
    }

    /// Whom a write is sent to that nobody waits for: all owners, or as many random peers as the fanout
    /// says.
    pub(super) fn peers_to_tell(&mut self) -> Vec<NodeId> {
        let mut peers = self.peers.ids().to_vec();
        let Some(gossip) = &self.config.gossip else {
            return peers;
        };
        let count = peers.len().min(gossip.fanout as usize);
        for chosen in 0..count {
            let rest = (peers.len() - chosen) as u64;
            let other = chosen + (self.random_number() % rest) as usize;
            peers.swap(chosen, other);
        }
        peers.truncate(count);
        peers
    }

    /// The owner view that travels with a message; none where nobody knows the members.
    pub(super) fn view_to_send(&self) -> Arc<OwnerView> {
        match self.config.gossip {
            Some(_) => Arc::default(),
            None => Arc::clone(&self.view),
        }
    }

    /// What an answer shows of what is known here; nothing where the asker has no use for it.
    pub(super) fn knowledge_to_show(&self) -> Arc<Knowledge<Bytes>> {
        match self.config.gossip {
            Some(_) => Arc::default(),
            None => Arc::new(self.replica.knowledge().clone()),
        }
    }

    /// Remembers what a peer has shown to know, unless there are too many peers for that.
    pub(super) fn note_shown(&mut self, node: NodeId, id: ReplicaId, base: &CausalContext) {
        if self.config.gossip.is_none() {
            self.peers.note_shown(node, id, base);
        }
    }

    /// A hash of what is known: equal where the same is known.
    pub(super) fn knowledge_digest(&mut self) -> u128 {
        if let Some(digest) = self.digest {
            return digest;
        }
        let bytes = postcard::to_stdvec(self.replica.knowledge());
        let digest = XxHash3_128::oneshot(&bytes.expect("knowledge serialises into memory"));
        self.digest = Some(digest);
        digest
    }
}
