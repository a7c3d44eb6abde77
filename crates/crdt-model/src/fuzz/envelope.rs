//! Envelopes and packets of any origin.

use crdt::{
    AcknowledgeError, AddWinsSet, Causal, CausalContext, CausalMap, CausalReplica, DeltaBuffer,
    Digest, DotFun, DotMap, DotSet, EnvelopeError, Enveloped, Gap, HybridClock, Knowledge,
    LamportClock, Listing, LwwCell, MvCell, ObjectId, OwnerView, Packet, Promises, ReplicaId,
    VersionVector, decode, encode,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

use super::decoding::{bounded, take};
use super::round_trip;

/// The most bytes that an envelope may have.
const LIMIT: usize = 2_000;
/// Deltas that a buffer keeps: few, so that full states are sent too.
const DELTAS: usize = 3;
/// Where an envelope has its version.
const VERSION: usize = 4;
/// Bytes of the shape, which the first version of envelopes did not have.
const SHAPE: usize = 4;

type Set = AddWinsSet<u8>;

/// Opens envelopes of every kind, and has a buffer receive packets.
///
/// The first byte chooses the kind, or packets. What follows is an envelope as it is, or its payload.
/// Nothing may panic; what decodes encodes to bytes that decode to the same, are no more than came,
/// and encode to the same bytes again; and no longer or shorter bytes are taken for it.
///
/// # Panics
/// If one of these fails.
pub fn envelope(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let open = [
        open::<VersionVector>,
        open::<CausalContext>,
        open::<LamportClock>,
        open::<HybridClock>,
        open::<Digest>,
        open::<Knowledge<u8>>,
        open::<CausalMap<u8, LwwCell<u8>>>,
        open::<CausalMap<u8, MvCell<u8>>>,
        open::<Listing<u8, LwwCell<u8>>>,
        open::<Listing<u8, MvCell<u8>>>,
        open::<OwnerView>,
        open::<Promises>,
        open::<DotSet>,
        open::<DotFun<u8>>,
        open::<DotMap<u8, DotSet>>,
        open::<MvCell<u8>>,
        open::<LwwCell<u8>>,
        open::<Set>,
        open::<Causal<DotSet>>,
        open::<Causal<DotFun<u8>>>,
        open::<Causal<DotMap<u8, MvCell<u8>>>>,
        open::<Causal<LwwCell<u8>>>,
        open::<Packet<Causal<Set>>>,
        open::<Packet<CausalMap<u8, LwwCell<u8>>>>,
        receive,
    ];
    open[usize::from(kind) % open.len()](bytes);
}

fn open<T>(bytes: &[u8])
where
    T: Enveloped + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let kind = T::KIND.to_le_bytes();
    let first = [b"CRDT\x01".as_slice(), &kind, bytes].concat();
    let second = [
        b"CRDT\x02".as_slice(),
        &kind,
        &T::SHAPE.to_le_bytes(),
        bytes,
    ]
    .concat();
    open_as_it_is::<T>(bytes);
    let opened = open_as_it_is::<T>(&first);
    if let (Some(old), Some(new)) = (opened, open_as_it_is::<T>(&second)) {
        assert!(old == new, "two versions, two values: {old:?} {new:?}");
    }
}

fn open_as_it_is<T>(bytes: &[u8]) -> Option<T>
where
    T: Enveloped + Serialize + DeserializeOwned + PartialEq + Debug,
{
    let value: T = match bounded(bytes, |bytes| decode(bytes, LIMIT)) {
        Ok(value) => value,
        Err(EnvelopeError::TooLarge { size, limit }) => {
            assert!(limit == LIMIT && size == bytes.len() && size > limit);
            return None;
        }
        Err(_) => return None,
    };
    let canonical = encode(&value).expect("what was decoded can be encoded");
    let (len, size) = (bytes.len(), canonical.len());
    let is_first = bytes[VERSION] == 1;
    let grows = if is_first { SHAPE } else { 0 };
    assert!(size <= len + grows, "{size} bytes from {len}: {value:?}");
    let again: T = decode(&canonical, size)
        .unwrap_or_else(|e| panic!("{e}: an encoded value is refused: {value:?}"));
    assert!(again == value, "round trip: {value:?} {again:?}");
    assert_eq!(encode(&again).as_ref(), Ok(&canonical), "one encoding");
    let limit = size - 1;
    let too_large = EnvelopeError::TooLarge { size, limit };
    assert_eq!(decode::<T>(&canonical, limit), Err(too_large));
    assert!(decode::<T>(&canonical[..limit], size).is_err(), "cut short");
    let longer = [canonical.as_slice(), &[0]].concat();
    let trailing = EnvelopeError::TrailingBytes { count: 1 };
    assert_eq!(decode::<T>(&longer, longer.len()), Err(trailing));
    Some(value)
}

/// Receives packets, each behind the byte that names its sender and what happens then, and sends on what was
/// new.
fn receive(mut bytes: &[u8]) {
    let peers = [2, 3, 4].map(ReplicaId);
    let mut replica = CausalReplica::<Set>::new(ObjectId(1), ReplicaId(u64::MAX));
    let mut buffer = DeltaBuffer::new(replica.state(), DELTAS);
    let mut received = [0_u64; 3];
    while let Some((&sender, rest)) = bytes.split_first() {
        let at = usize::from(sender) % peers.len();
        let Some((packet, rest)) = take::<Packet<Causal<Set>>>(rest) else {
            return;
        };
        bytes = rest;
        round_trip(&packet);
        let (first, last, before) = (packet.first(), packet.last(), received[at]);
        let state = replica.state().clone();
        match buffer.receive_news(peers[at], packet, |payload| replica.join_news(payload)) {
            Ok(acknowledge) => {
                assert!(
                    first <= before.saturating_add(1) || last <= before,
                    "a gap was joined"
                );
                assert_eq!(
                    acknowledge,
                    before.max(last),
                    "what was joined is acknowledged"
                );
                received[at] = acknowledge;
            }
            Err(_) => assert!(state == *replica.state(), "refused, yet joined"),
        }
        let to = usize::from(sender) / 3 % peers.len();
        match sender / 9 % 4 {
            1 => {
                let (delta, last) = (replica.change(|set| set.add(sender)), buffer.last());
                buffer.push(delta);
                assert_eq!(buffer.last(), last + 1, "a change is numbered");
            }
            2 => refuse(&mut buffer, &replica, peers[to]),
            3 => {
                forget(&mut buffer, peers[to]);
                received[to] = 0;
            }
            _ => {}
        }
        send(&mut buffer, &replica, peers[to]);
    }
}

/// A peer that has lost what it acknowledged expects the first delta: it gets all again.
fn refuse(buffer: &mut DeltaBuffer<Causal<Set>>, replica: &CausalReplica<Set>, peer: ReplicaId) {
    let is_known = buffer.peers().any(|known| known == peer);
    let (expected, first) = (1, buffer.last());
    let refused = buffer.refused(peer, Gap { expected, first });
    if !is_known {
        assert_eq!(refused, Err(AcknowledgeError::UnknownPeer { peer }));
        return;
    }
    assert_eq!(refused, Ok(()), "nothing is less than was sent");
    if let Some(packet) = buffer.packet_for(peer, replica.state()) {
        assert_eq!(packet.first(), 1, "{packet:?}");
    }
}

/// A peer that has left is neither waited for nor known.
fn forget(buffer: &mut DeltaBuffer<Causal<Set>>, peer: ReplicaId) {
    buffer.forget_peer(peer);
    assert!(buffer.peers().all(|known| known != peer));
    let unknown = AcknowledgeError::UnknownPeer { peer };
    assert_eq!(buffer.acknowledge(peer, 0), Err(unknown));
}

/// Sends a peer what it lacks; every other time it acknowledges.
fn send(buffer: &mut DeltaBuffer<Causal<Set>>, replica: &CausalReplica<Set>, peer: ReplicaId) {
    let kept = buffer.len();
    assert!(kept <= DELTAS, "{kept} deltas are kept");
    assert_eq!(buffer.is_empty(), kept == 0);
    let Some(packet) = buffer.packet_for(peer, replica.state()) else {
        return;
    };
    let last = packet.last();
    assert!(1 <= packet.first() && last == buffer.last(), "{packet:?}");
    round_trip(&packet);
    let mut from = DeltaBuffer::new(&Causal::default(), DELTAS);
    if packet.first() == 1 {
        let mut there = Causal::<Set>::default();
        let joined = from.receive_news(replica.id(), packet, |payload| {
            Ok::<_, std::convert::Infallible>(crdt::Difference::join_news(&mut there, payload))
        });
        assert_eq!(joined, Ok(last), "a first packet may be joined");
    }
    assert!(buffer.acknowledge(peer, last + 1).is_err(), "ahead of sent");
    if last % 2 == 0 {
        let acknowledged = buffer.acknowledge(peer, last);
        assert_eq!(acknowledged, Ok(()), "what was sent may be acknowledged");
        assert!(buffer.packet_for(peer, replica.state()).is_none());
    }
}
