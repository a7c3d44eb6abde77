//! The reads that a node coordinates, what they are for, and who has answered.

use bytes::Bytes;
use crdt::{OwnerView, ReplicaId};
use smallvec::SmallVec;
use std::collections::BTreeMap;

use super::due::Due;
use super::operations::Retry;
use super::writes::Start;
use crate::message::Message;
use crate::{Floor, Met, NodeId, OperationId, Outcome, Policy, RequestId};

/// The reads that this node coordinates. One stays here after it was answered until every owner that
/// can be reached has said what it holds or the deadline has passed, so that the late ones are repaired
/// too. No more of these stay than requests may be pending: owners may be silent for long.
#[derive(Debug)]
pub(super) struct PendingReads<P: Policy> {
    pub(super) reads: BTreeMap<u64, PendingRead<P>>,
    pub(super) unanswered: usize,
    pub(super) next: u64,
    /// No read is due before this time; it may be earlier than the first one is.
    pub(super) due_ms: Option<u64>,
}

#[derive(Debug)]
pub(super) struct PendingRead<P: Policy> {
    /// `None` once it was answered.
    pub(super) purpose: Option<Purpose<P>>,
    pub(super) key: Bytes,
    /// Owners that must be joined, this node included.
    pub(super) needed: usize,
    /// What the session must find here before it is answered.
    pub(super) floor: Floor,
    /// What is met once they are.
    pub(super) met: Met,
    /// The digest of what was live here when the owners were asked.
    pub(super) asked_with: u128,
    /// The digest of what is live at each owner that has answered. What an owner has said was joined, and
    /// counts though it loses its data later.
    pub(super) answers: BTreeMap<NodeId, u128>,
    pub(super) due: Due,
}

/// What a read is for.
#[derive(Debug)]
pub(super) enum Purpose<P: Policy> {
    /// To be answered.
    Answer(RequestId),
    /// To be written back, and then answered.
    WriteBack(RequestId),
    /// Written back; answered once as many owners hold it as are needed.
    WrittenBack(Box<WrittenBack<P::Cell>>),
    /// To be followed by a write.
    Write(Box<Start<P::Write>>),
    /// To find out whether a write was carried out, and to see to it.
    Retry(Box<Retry<P::Write>>),
}

/// What a linearizable read returns, and who holds it.
#[derive(Debug)]
pub(super) struct WrittenBack<C> {
    pub(super) request: RequestId,
    /// What was here when it was written back. What this node has learnt of the key since is held by
    /// nobody it knows of: a later read could miss it.
    pub(super) outcome: Outcome<C>,
    /// The owners that have confirmed. One that loses its data after that no longer counts.
    pub(super) held: SmallVec<[ReplicaId; 4]>,
}

impl<P: Policy> Purpose<P> {
    pub(super) fn request(&self) -> RequestId {
        match self {
            Self::Answer(request) | Self::WriteBack(request) => *request,
            Self::WrittenBack(back) => back.request,
            Self::Write(start) => start.request,
            Self::Retry(retry) => retry.start.request,
        }
    }
}

impl<P: Policy> PendingReads<P> {
    /// Numbers start at random: an answer meant for a node's former life must not be taken for one to a
    /// read of this life.
    pub(super) const fn new(random: u64) -> Self {
        Self {
            reads: BTreeMap::new(),
            unanswered: 0,
            next: random,
            due_ms: None,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.unanswered
    }

    /// The request that a read is for, unless it was answered.
    pub(super) fn request_of(&self, read: u64) -> Option<RequestId> {
        let purpose = self.reads.get(&read)?.purpose.as_ref();
        purpose.map(Purpose::request)
    }

    /// No read is due before this.
    pub(super) const fn next_due(&self) -> Option<u64> {
        self.due_ms
    }

    /// Takes all reads off the list.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = RequestId> + use<P> {
        self.unanswered = 0;
        std::mem::take(&mut self.reads)
            .into_values()
            .filter_map(|r| Some(r.purpose?.request()))
    }

    /// Drops confirmations of incarnations that have lost their data since; returns how many. Retries ask
    /// everybody anew.
    pub(super) fn drop_dead(&mut self, view: &OwnerView) -> u64 {
        let mut dropped = 0;
        for read in self.reads.values_mut() {
            if let Some(Purpose::Retry(retry)) = &mut read.purpose {
                retry.ask_anew();
            }
            if let Some(Purpose::WrittenBack(back)) = &mut read.purpose {
                let before = back.held.len();
                back.held
                    .retain(|id| !view.is_fenced(crate::node_of(*id).0, *id));
                dropped += (before - back.held.len()) as u64;
            }
        }
        dropped
    }
}

impl<P: Policy> PendingRead<P> {
    /// The operation that is asked about.
    fn operation(&self) -> Option<OperationId> {
        match &self.purpose {
            Some(Purpose::Retry(retry)) => retry.id(),
            _ => None,
        }
    }

    pub(super) fn is_about(&self, id: OperationId) -> bool {
        self.operation() == Some(id)
    }

    /// How many owners have said or confirmed what is waited for, and how many have to.
    pub(super) fn progress(&self, write_quorum: u32) -> (usize, usize) {
        match &self.purpose {
            Some(Purpose::WrittenBack(back)) => (back.held.len() + 1, write_quorum as usize),
            _ => (self.answers.len() + 1, self.needed),
        }
    }

    /// What is asked of the owners.
    pub(super) fn question<C>(&self, read: u64) -> Message<C> {
        Message::Read {
            read,
            key: self.key.clone(),
            held: self.asked_with,
            with_knowledge: !self.floor.is_bottom()
                || !matches!(self.purpose, Some(Purpose::Answer(_))),
            operation: self.operation(),
        }
    }
}
