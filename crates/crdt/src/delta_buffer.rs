//! Deltas on their way to peers: numbered, joined into intervals, and kept until they are
//! acknowledged.

mod inbox;
mod packet;

pub use inbox::{Accepted, Gap, ReceiveError, Received};
pub use packet::Packet;

use alloc::collections::{BTreeMap, VecDeque};

use crate::delta_buffer::inbox::Inbox;
use crate::memory_use::tree_bytes;
use crate::{Difference, MemoryUse, ReplicaId};

/// One end of replication by deltas: what is still to be sent to each peer, and how far what each
/// peer sent has been joined here.
///
/// Deltas of one replica may only be joined by a peer that has all earlier ones (or what they
/// brought): with one lost in between it would show a state that the replica never had. So every
/// delta has a sequence number, a packet carries the join of all deltas that the peer has not
/// acknowledged, and a packet that does not start where the receiver stands is refused.
///
/// | packet that arrives | outcome |
/// |---|---|
/// | starts at or before the next delta, ends at or behind it | accepted: join the payload |
/// | ends before the next delta | a duplicate: acknowledge it again |
/// | starts behind the next delta | refused with [`Gap`]; its payload cannot be reached |
///
/// Deltas are not sent back to where they came from (BP), and of a received payload only what was
/// new is sent on (RR). Without the second, replicas in a ring send the same news round for ever.
///
/// **Order and join.** Joining a packet that is accepted gives the same state as joining the full
/// state that its sender had when it made the packet.
///
/// **Invariants.** Sequence numbers are dense from 1. The state that a buffer starts from counts as
/// the first delta, which is never kept; so a receiver that knows nothing of a sender refuses all
/// that sends until a full state comes. A full state is a packet that starts at 1.
///
/// **Identities.** A buffer belongs to one run of one replica and is neither serialisable nor
/// `Clone`. After a restart the sender takes a new [`ReplicaId`] and a new buffer; a receiver that
/// has lost its state does the same.
///
/// **Purging.** A packet does not show what its sender had seen. Where replicas
/// [purge](crate::CausalReplica::purge), each run of a peer shows its [`Digest`](crate::Digest) before its first
/// packet is received, and only one that [`CausalReplica::check_peer`](crate::CausalReplica::check_peer) lets
/// pass is received from; any other starts again from a member's state.
///
/// **Cost.** At most `limit` deltas, three numbers for each peer and one for each sender. A packet
/// costs the join of the deltas in it. Beyond the limit the oldest deltas are dropped, and peers
/// that lack them get the full state instead.
///
/// **Not for** states so large that a full one cannot be sent: exchange [`Digest`](crate::Digest)s,
/// or use a [`MapReplica`](crate::MapReplica), which answers in parts.
///
/// Sources: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 5,
/// algorithm 2; Enes, Almeida, Baquero, Leitão, *Efficient Synchronization of State-based CRDTs*,
/// ICDE 2019 (BP, RR).
///
/// ```
/// use crdt::{Causal, CausalReplica, DeltaBuffer, MvCell, ObjectId, ReplicaId};
///
/// let (id_a, id_b) = (ReplicaId(1), ReplicaId(2));
/// let mut a = CausalReplica::<MvCell<&str>>::new(ObjectId(1), id_a);
/// let mut b = CausalReplica::<MvCell<&str>>::new(ObjectId(1), id_b);
/// let mut from_a = DeltaBuffer::new(a.state(), 100);
/// let mut from_b = DeltaBuffer::new(b.state(), 100);
///
/// from_a.push(a.change(|title| title.set("draft")));
/// let lost = from_a.packet_for(id_b, a.state());
/// from_a.push(a.change(|title| title.set("final")));
/// let packet = from_a.packet_for(id_b, a.state()).expect("nothing is acknowledged yet");
/// let acknowledged = from_b.receive_news(id_a, packet, |news| b.join_news(news))?;
/// assert_eq!(b.values().collect::<Vec<_>>(), [&"final"], "never beside the draft");
///
/// from_a.acknowledge(id_b, acknowledged)?;
/// assert_eq!(from_a.packet_for(id_b, a.state()), None);
/// assert_eq!(from_b.packet_for(id_a, b.state()), None, "not sent back to where it came from");
/// # drop(lost);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DeltaBuffer<L> {
    /// Consecutive deltas, up to `last`.
    deltas: VecDeque<Buffered<L>>,
    last: u64,
    limit: usize,
    peers: BTreeMap<ReplicaId, Peer>,
    inbox: Inbox,
}

#[derive(Debug)]
struct Buffered<L> {
    sequence: u64,
    /// The peer that has it already.
    origin: Option<ReplicaId>,
    delta: L,
}

#[derive(Debug, Clone, Copy)]
struct Peer {
    /// The peer has joined all deltas up to this one.
    acknowledged: u64,
    /// The last delta of any packet made for it.
    sent: u64,
    /// The last delta that was dropped while the peer may have lacked it: up to there it needs the
    /// state.
    dropped: u64,
}

/// An acknowledgement that cannot be true, or comes from a stranger. The peer is at fault; nothing
/// was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcknowledgeError {
    /// Nothing was ever sent to this peer, or it was forgotten.
    #[error("replica {peer} acknowledges, but nothing was sent to it")]
    UnknownPeer {
        /// The peer.
        peer: ReplicaId,
    },
    /// The peer acknowledges more than was sent to it.
    #[error("replica {peer} acknowledges delta {acknowledged}, but only {sent} were sent to it")]
    AheadOfSent {
        /// The peer.
        peer: ReplicaId,
        /// The last delta that was sent to it.
        sent: u64,
        /// What it acknowledges.
        acknowledged: u64,
    },
}

impl Peer {
    const fn needs_state(&self) -> bool {
        self.acknowledged < self.dropped
    }
}

impl<L: Difference> DeltaBuffer<L> {
    /// The buffer of a replica that is in this state now and keeps at most `limit` deltas.
    pub fn new(state: &L, limit: usize) -> Self {
        Self {
            deltas: VecDeque::new(),
            last: u64::from(*state != L::default()),
            limit,
            peers: BTreeMap::new(),
            inbox: Inbox::default(),
        }
    }

    /// Sequence number of the last delta; 0 if there was none.
    pub const fn last(&self) -> u64 {
        self.last
    }

    /// Number of deltas kept.
    pub fn len(&self) -> usize {
        self.deltas.len()
    }

    /// Whether no delta is kept.
    pub fn is_empty(&self) -> bool {
        self.deltas.is_empty()
    }

    /// What this buffer holds: the number of deltas counts as the log. `heap` gives the bytes that a delta
    /// holds on the heap. Linear in the deltas.
    pub fn memory_use(&self, heap: impl Fn(&L) -> usize) -> MemoryUse {
        let parts = [
            self.deltas.capacity() * size_of::<Buffered<L>>(),
            tree_bytes::<(ReplicaId, Peer)>(self.peers.len()),
            self.inbox.heap_bytes(),
        ];
        let deltas = self.deltas.iter().map(|buffered| heap(&buffered.delta));
        MemoryUse {
            log: self.deltas.len(),
            bytes: parts
                .into_iter()
                .chain(deltas)
                .fold(0, usize::saturating_add),
            ..MemoryUse::default()
        }
    }

    /// The peers for which deltas are kept, ascending.
    pub fn peers(&self) -> impl Iterator<Item = ReplicaId> + '_ {
        self.peers.keys().copied()
    }

    /// Adds the delta of a local mutation, for all peers. Bottom is not worth a number.
    ///
    /// # Panics
    /// If the buffer has numbered `u64::MAX` deltas.
    pub fn push(&mut self, delta: L) {
        self.add(None, delta);
    }

    /// Adds what was new in a payload of `peer`, for all other peers.
    ///
    /// # Panics
    /// If the buffer has numbered `u64::MAX` deltas.
    pub fn push_from(&mut self, peer: ReplicaId, news: L) {
        self.add(Some(peer), news);
    }

    /// Keeps deltas for `peer` from now on. [`packet_for`](Self::packet_for) does it too; a peer
    /// that is added before the first delta needs no full state.
    pub fn add_peer(&mut self, peer: ReplicaId) {
        let dropped = self.dropped();
        self.peers.entry(peer).or_insert(Peer {
            acknowledged: 0,
            sent: 0,
            dropped,
        });
    }

    /// What `peer` has not acknowledged yet, as one packet: the joined deltas without those that
    /// came from it, or the full state if it needs some that are no longer kept. `None` if it is up
    /// to date.
    ///
    /// `state` is that of this replica, with every pushed delta in it. Call it again to send again;
    /// how often is the caller's choice. Linear in the deltas kept.
    pub fn packet_for(&mut self, peer: ReplicaId, state: &L) -> Option<Packet<L>> {
        self.add_peer(peer);
        let known = self.peers.get_mut(&peer)?;
        let (first, payload) = if known.needs_state() {
            (1, state.clone())
        } else {
            let mut payload = L::default();
            for buffered in &self.deltas {
                if buffered.is_needed_by(peer, known) {
                    payload.join(&buffered.delta);
                }
            }
            // Not beyond `last`, unless the payload is bottom: some delta is not acknowledged.
            (known.acknowledged.saturating_add(1), payload)
        };
        if payload == L::default() {
            return None;
        }
        known.sent = self.last;
        Some(Packet::new(first, self.last, payload))
    }

    /// Notes that `peer` has joined all deltas up to `sequence`, and drops those that no peer needs
    /// any more. An older acknowledgement changes nothing.
    ///
    /// # Errors
    /// [`AcknowledgeError`], if the peer is unknown or was not sent so much. Nothing was changed.
    pub fn acknowledge(&mut self, peer: ReplicaId, sequence: u64) -> Result<(), AcknowledgeError> {
        let known = Self::sent_to(&mut self.peers, peer, sequence)?;
        known.acknowledged = known.acknowledged.max(sequence);
        self.drop_acknowledged();
        Ok(())
    }

    /// Notes that `peer` refused a packet, and will be sent all from where it stands.
    ///
    /// # Errors
    /// [`AcknowledgeError`], if the peer is unknown or says it has joined more than it was sent.
    /// Nothing was changed.
    pub fn refused(&mut self, peer: ReplicaId, gap: Gap) -> Result<(), AcknowledgeError> {
        let (joined, dropped) = (gap.expected.saturating_sub(1), self.dropped());
        let known = Self::sent_to(&mut self.peers, peer, joined)?;
        if joined < known.acknowledged {
            known.acknowledged = joined;
            known.dropped = dropped;
        }
        Ok(())
    }

    /// Forgets a peer that is gone: no deltas are kept for it, and where it stood as a sender is
    /// lost. If it comes back, each side starts with its full state, so both must forget.
    pub fn forget_peer(&mut self, peer: ReplicaId) {
        self.peers.remove(&peer);
        self.inbox.forget(peer);
        self.drop_acknowledged();
    }

    /// Looks at a packet from `peer`: whether it may be joined. Where its payload has been joined,
    /// [`Accepted::joined`] says what to acknowledge.
    ///
    /// # Errors
    /// [`Gap`], if deltas before the packet have not been joined here. Nothing was changed; tell
    /// the sender, whose [`refused`](Self::refused) sends all from there.
    pub fn receive(&mut self, peer: ReplicaId, packet: Packet<L>) -> Result<Received<'_, L>, Gap> {
        self.inbox.receive(peer, packet)
    }

    /// Receives a packet, joins it by `join_news`, which returns what was new, and keeps the news
    /// for the other peers. Returns what to acknowledge, for a duplicate too.
    ///
    /// # Errors
    /// [`ReceiveError::Gap`] as in [`receive`](Self::receive), or the error of `join_news`. Nothing
    /// was changed here; the packet may come again.
    pub fn receive_news<E>(
        &mut self,
        peer: ReplicaId,
        packet: Packet<L>,
        join_news: impl FnOnce(&L) -> Result<L, E>,
    ) -> Result<u64, ReceiveError<E>> {
        let accepted = match self.receive(peer, packet)? {
            Received::Duplicate { acknowledge } => return Ok(acknowledge),
            Received::News(accepted) => accepted,
        };
        let news = join_news(accepted.payload()).map_err(ReceiveError::Join)?;
        let acknowledge = accepted.joined();
        self.push_from(peer, news);
        Ok(acknowledge)
    }

    fn add(&mut self, origin: Option<ReplicaId>, delta: L) {
        if delta == L::default() {
            return;
        }
        let sequence = self.last.checked_add(1);
        self.last = sequence.expect("a buffer numbers 2^64 deltas");
        self.deltas.push_back(Buffered {
            sequence: self.last,
            origin,
            delta,
        });
        while self.deltas.len() > self.limit {
            self.drop_oldest();
        }
        self.drop_acknowledged();
    }

    /// The last delta that is no longer kept, or never was.
    fn dropped(&self) -> u64 {
        self.deltas
            .front()
            .map_or(self.last, |oldest| oldest.sequence - 1)
    }

    fn drop_oldest(&mut self) {
        let Some(oldest) = self.deltas.pop_front() else {
            return;
        };
        for (id, peer) in &mut self.peers {
            if oldest.is_needed_by(*id, peer) {
                peer.dropped = oldest.sequence;
            }
        }
    }

    /// Drops the oldest deltas while no peer needs them. Without peers all are kept, up to the
    /// limit.
    fn drop_acknowledged(&mut self) {
        if self.peers.is_empty() {
            return;
        }
        while let Some(oldest) = self.deltas.front() {
            let mut peers = self.peers.iter();
            if peers.any(|(id, peer)| oldest.is_needed_by(*id, peer)) {
                break;
            }
            self.deltas.pop_front();
        }
    }

    /// A peer that says it has joined all up to `sequence`, if it can have.
    fn sent_to(
        peers: &mut BTreeMap<ReplicaId, Peer>,
        peer: ReplicaId,
        sequence: u64,
    ) -> Result<&mut Peer, AcknowledgeError> {
        let known = peers.get_mut(&peer);
        let known = known.ok_or(AcknowledgeError::UnknownPeer { peer })?;
        if sequence > known.sent {
            let (sent, acknowledged) = (known.sent, sequence);
            return Err(AcknowledgeError::AheadOfSent {
                peer,
                sent,
                acknowledged,
            });
        }
        Ok(known)
    }
}

impl<L> Buffered<L> {
    fn is_needed_by(&self, id: ReplicaId, peer: &Peer) -> bool {
        peer.acknowledged < self.sequence && self.origin != Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VersionVector;

    const PEERS: [ReplicaId; 2] = [ReplicaId(7), ReplicaId(8)];

    /// A state in which each of these has counted once.
    fn counted(by: impl IntoIterator<Item = u64>) -> VersionVector {
        by.into_iter().map(|id| (ReplicaId(id), 1)).collect()
    }

    fn empty() -> DeltaBuffer<VersionVector> {
        DeltaBuffer::new(&VersionVector::default(), 10)
    }

    #[test]
    fn a_buffer_tells_what_it_keeps_and_for_whom() {
        let mut buffer = empty();
        assert_eq!((buffer.last(), buffer.is_empty()), (0, true));
        (1..=2).for_each(|id| buffer.push(counted([id])));
        assert_eq!((buffer.last(), buffer.len()), (2, 2));
        assert!(!buffer.is_empty());
        PEERS.iter().rev().for_each(|peer| buffer.add_peer(*peer));
        assert_eq!(buffer.peers().collect::<Vec<_>>(), PEERS);
    }

    #[test]
    fn who_refuses_a_packet_gets_the_deltas_that_are_kept_or_else_the_state() {
        let (mut buffer, state, [fast, slow]) = (empty(), counted(1..=4), PEERS);
        PEERS.iter().for_each(|peer| buffer.add_peer(*peer));
        (1..=4).for_each(|id| buffer.push(counted([id])));
        for (peer, joined) in [(fast, 4), (slow, 2)] {
            assert!(buffer.packet_for(peer, &state).is_some());
            assert_eq!(buffer.acknowledge(peer, joined), Ok(()));
        }
        assert_eq!(buffer.len(), 2, "kept for the slow one");
        for (expected, first, payload) in [(3, 3, counted(3..=4)), (2, 1, state.clone())] {
            let gap = Gap { expected, first: 5 };
            assert_eq!(buffer.refused(fast, gap), Ok(()));
            let packet = buffer.packet_for(fast, &state).expect("some are missing");
            assert_eq!((packet.first(), packet.last()), (first, 4));
            assert_eq!(packet.into_payload(), payload);
        }
    }

    #[test]
    fn a_refusal_that_tells_nothing_new_asks_for_no_full_state() {
        let (mut buffer, [peer, _]) = (empty(), PEERS);
        buffer.add_peer(peer);
        buffer.push_from(peer, counted([1]));
        assert!(
            buffer.is_empty(),
            "nobody needs what came from the only peer"
        );
        buffer.push(counted([2]));
        for _ in 0..2 {
            let packet = buffer.packet_for(peer, &counted(1..=2)).expect("a delta");
            assert_eq!(packet.into_payload(), counted([2]));
            let (expected, first) = (1, 2);
            assert_eq!(buffer.refused(peer, Gap { expected, first }), Ok(()));
        }
    }

    #[test]
    fn a_sender_that_was_forgotten_starts_anew() {
        let (mut buffer, [peer, _]) = (empty(), PEERS);
        let packet = Packet::new(1, 1, counted([1]));
        for forgets in [true, false] {
            match buffer.receive(peer, packet.clone()) {
                Ok(Received::News(accepted)) => assert_eq!(accepted.joined(), 1),
                other => panic!("{other:?}"),
            }
            if forgets {
                buffer.forget_peer(peer);
            }
        }
        let again = buffer.receive(peer, packet);
        assert!(matches!(again, Ok(Received::Duplicate { acknowledge: 1 })));
    }
}
