//! What the fuzz targets of this crate do with an input: ordinary functions, so that a test replays the
//! committed inputs without the fuzzer. Each panics on a finding.

use bytes::{Bytes, BytesMut};
use replica::{Config, Level, Lww, MultiValue, Node, NodeId, Now, Policy, RequestId};

use crate::limits::Limits;
use crate::node::wire::{SpaceMessage, WireMessage};
use crate::policies::{StorePolicy, StringPolicy, Types};
use crate::resp::admit::{Admitted, Admitter, ProtocolError};
use crate::store::{Operation, StoreRequest};

/// Bytes of a client: the commands that are admitted are the same however the bytes are cut into pieces, and
/// none is over the limits. The first byte says where the cuts are.
pub fn client(input: &[u8]) {
    let Some((piece, bytes)) = input.split_first() else {
        return;
    };
    let limits = Limits {
        max_key_bytes: 64,
        max_value_bytes: 256,
        max_arguments: 16,
        max_frame_bytes: 1024,
        max_skipped_bytes: 4096,
        ..Limits::default()
    };
    let whole = admitted(bytes, bytes.len().max(1), &limits);
    let pieces = admitted(bytes, usize::from(*piece).max(1), &limits);
    assert_eq!(whole, pieces, "cutting at {piece} changes what is admitted");
    for command in whole.0 {
        if let Admitted::Command(words) = command {
            assert!(words.len() <= limits.max_arguments, "{} words", words.len());
        }
    }
}

/// The commands in a stream that arrives in pieces, and how it ends.
fn admitted(
    bytes: &[u8],
    piece: usize,
    limits: &Limits,
) -> (Vec<Admitted>, Result<(), ProtocolError>) {
    let (mut admitter, mut buffer) = (Admitter::new(limits), BytesMut::new());
    let mut commands = Vec::new();
    for piece in bytes.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match admitter.next(&mut buffer) {
                Ok(Some(command)) => commands.push(command),
                Ok(None) => break,
                Err(error) => return (commands, Err(error)),
            }
        }
    }
    (commands, Ok(()))
}

/// A frame of a peer: refused, or a message that comes back as it went and that no node minds. The first
/// byte chooses the conflict policy.
pub fn peer(input: &[u8]) {
    match input.split_first() {
        Some((first, frame)) if first % 2 == 0 => peer_of::<Lww>(frame),
        Some((_, frame)) => peer_of::<MultiValue>(frame),
        None => {}
    }
}

fn peer_of<S: StringPolicy>(frame: &[u8]) {
    let Ok(message) = WireMessage::<S>::decode(frame) else {
        return;
    };
    let bytes = message.encode();
    let again = WireMessage::<S>::decode(&bytes).map(|message| message.encode());
    assert_eq!(again, Ok(bytes), "it does not come back as it went");
    match message {
        WireMessage::Space(SpaceMessage::Strings(message))
        | WireMessage::Named(_, SpaceMessage::Strings(message)) => {
            let put = Operation::put(Bytes::from_static(b"value"));
            told::<S>(&message, &put);
        }
        WireMessage::Space(SpaceMessage::Types(message))
        | WireMessage::Named(_, SpaceMessage::Types(message)) => {
            told::<Types>(&message, &Operation::Increment { by: 1 });
        }
        _ => {}
    }
}

/// Tells a node that serves and one that recovers.
fn told<P: StorePolicy>(message: &replica::MessageOf<P>, write: &Operation) {
    let now = |elapsed_ms| Now {
        elapsed_ms,
        unix_ms: 1_700_000_000_000 + elapsed_ms,
    };
    let config = Config::new(NodeId(1), 3);
    let serving = Node::<P>::bootstrap(config.clone(), 1, now(0));
    let recovering = Node::<P>::recover(config, 2, now(0));
    for mut node in [serving, recovering].map(|node| node.expect("a valid configuration")) {
        let request = StoreRequest::new(Bytes::from_static(b"key"), write.clone());
        let request = P::request(request.at(Level::One));
        node.handle_request(RequestId(1), request, now(1));
        node.handle_message(NodeId(2), message.clone(), now(2));
        node.handle_timeout(now(10_000));
        let _ready = node.take_ready();
        check(&node);
    }
}

fn check<P: Policy>(node: &Node<P>) {
    for (_, partition) in node.partitions() {
        assert_eq!(partition.replica().check_invariants(), Ok(()));
    }
}
