//! The receiving end: how far each sender's deltas have been joined.

use alloc::collections::BTreeMap;

use crate::ReplicaId;
use crate::delta_buffer::packet::Packet;
use crate::memory_use::tree_bytes;

/// For each sender the last delta that was joined; 0 for one that is not known.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    joined: BTreeMap<ReplicaId, u64>,
}

/// A packet starts behind the next delta that may be joined: an earlier one was lost, is late, or
/// went to a state that this receiver no longer has. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[error("the packet starts at delta {first}, the next one to join is {expected}")]
pub struct Gap {
    /// Sequence number of the delta that is to be joined next.
    pub expected: u64,
    /// Sequence number of the first delta in the packet.
    pub first: u64,
}

/// Why a packet was not joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError<E> {
    /// Earlier deltas are missing.
    #[error(transparent)]
    Gap(#[from] Gap),
    /// The state refused to join the payload.
    #[error(transparent)]
    Join(E),
}

/// A packet that was not refused.
#[derive(Debug)]
#[must_use = "a payload must be joined, and both are to be acknowledged"]
pub enum Received<'a, L> {
    /// Everything in it has been joined before.
    Duplicate {
        /// What to acknowledge.
        acknowledge: u64,
    },
    /// It brings deltas that have not been joined.
    News(Accepted<'a, L>),
}

/// A payload that may be joined now. Until [`joined`](Self::joined) is called nothing has changed,
/// and the packet may come again.
#[derive(Debug)]
#[must_use = "join the payload, then call `joined`"]
pub struct Accepted<'a, L> {
    inbox: &'a mut Inbox,
    sender: ReplicaId,
    last: u64,
    payload: L,
}

impl<L> Accepted<'_, L> {
    /// What to join.
    pub const fn payload(&self) -> &L {
        &self.payload
    }

    /// Notes that the payload has been joined; returns the sequence number to acknowledge.
    #[must_use = "the sender keeps its deltas until they are acknowledged"]
    pub fn joined(self) -> u64 {
        self.inbox.joined.insert(self.sender, self.last);
        self.last
    }
}

impl Inbox {
    /// About how many bytes it holds on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        tree_bytes::<(ReplicaId, u64)>(self.joined.len())
    }

    pub(super) fn receive<L>(
        &mut self,
        sender: ReplicaId,
        packet: Packet<L>,
    ) -> Result<Received<'_, L>, Gap> {
        let joined = self.joined.get(&sender).copied().unwrap_or(0);
        if packet.last() <= joined {
            return Ok(Received::Duplicate {
                acknowledge: joined,
            });
        }
        // Below `packet.last()`, so there is a next one.
        let (expected, first) = (joined + 1, packet.first());
        if first > expected {
            return Err(Gap { expected, first });
        }
        Ok(Received::News(Accepted {
            inbox: self,
            sender,
            last: packet.last(),
            payload: packet.into_payload(),
        }))
    }

    pub(super) fn forget(&mut self, sender: ReplicaId) {
        self.joined.remove(&sender);
    }
}
