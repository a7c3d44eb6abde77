//! What the fuzz targets of this crate do with an input: ordinary functions, so that a test replays the
//! committed inputs without the fuzzer. Each panics on a finding.

use bytes::{Bytes, BytesMut};
use redis_protocol::{resp2, resp3};
use replica::{Config, Level, Lww, MultiValue, Node, NodeId, Now, Policy, RequestId};
use std::sync::Arc;
use tokio::sync::watch;

use crate::backend::Backend;
use crate::commands::Shared;
use crate::connection;
use crate::limits::Limits;
use crate::node::stepped::Stepped;
use crate::node::wire::{SpaceMessage, WireMessage};
use crate::policies::{StorePolicy, StringPolicy, Types};
use crate::resp::admit::{Admitted, Admitter, ProtocolError};
use crate::resp::reply::Protocol;
use crate::store::{ConflictPolicy, Operation, StoreRequest};

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

/// Bytes of a client of a cluster of three nodes: each command that is admitted gets one reply, in the form that was
/// agreed on, and no replica breaks an invariant. The first byte chooses the conflict policy and how many nodes hold each
/// key.
pub fn commands(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else {
        return;
    };
    let owners = 2 + u32::from(first / 4 % 2);
    match first % 4 {
        0 => commands_of::<Lww>(ConflictPolicy::Hybrid, owners, bytes),
        1 => commands_of::<Lww>(ConflictPolicy::Lamport, owners, bytes),
        2 => commands_of::<Lww>(ConflictPolicy::Caller, owners, bytes),
        _ => commands_of::<MultiValue>(ConflictPolicy::Siblings, owners, bytes),
    }
}

fn commands_of<S: StringPolicy>(conflict: ConflictPolicy, owners: u32, bytes: &[u8]) {
    let limits = Limits {
        max_key_bytes: 64,
        max_value_bytes: 256,
        max_arguments: 16,
        max_frame_bytes: 1024,
        max_skipped_bytes: 4096,
        max_reply_bytes: 4096,
        scan_cursors: 4,
        ..Limits::default()
    };
    let (commands, ended) = admitted(bytes, bytes.len().max(1), &limits);
    let cluster = Arc::new(Stepped::<S>::new(conflict, owners, limits));
    let backend = Arc::clone(&cluster) as Arc<dyn Backend>;
    let replies = replies(backend, bytes);
    let mut rest = &replies[..];
    let mut protocol = Protocol::default();
    for command in &commands {
        let words: &[Bytes] = match command {
            Admitted::Command(words) => words,
            Admitted::Refused(_) => &[],
        };
        protocol = protocol_behind(words, protocol, rest);
        rest = after_reply(rest, protocol).unwrap_or_else(|cause| {
            panic!(
                "{command:?} has no reply of version {}: {cause}",
                protocol.version()
            )
        });
        if words
            .first()
            .is_some_and(|name| name.eq_ignore_ascii_case(b"quit"))
            && rest.is_empty()
        {
            return cluster.check_invariants();
        }
    }
    if ended.is_err() {
        rest = after_reply(rest, protocol).expect("what is no command is answered");
    }
    assert_eq!(rest, b"", "more is answered than was asked");
    cluster.check_invariants();
}

/// All that a node answers to these bytes.
fn replies(backend: Arc<dyn Backend>, bytes: &[u8]) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime without input and output");
    let shared = Arc::new(Shared::new(backend, None));
    let (_stop, stopped) = watch::channel(false);
    let mut replies = Vec::new();
    let served = connection::run(bytes, &mut replies, shared, stopped);
    runtime
        .block_on(served)
        .expect("memory neither fails nor stalls");
    replies
}

/// The form of the reply to a command, which may be what changes it.
fn protocol_behind(words: &[Bytes], before: Protocol, reply: &[u8]) -> Protocol {
    let is = |at: usize, text: &str| {
        let word = words.get(at);
        word.is_some_and(|word| word.eq_ignore_ascii_case(text.as_bytes()))
    };
    if is(0, "reset") && reply.starts_with(b"+") {
        return Protocol::Resp2;
    }
    if !is(0, "hello") || reply.starts_with(b"-") {
        return before;
    }
    match () {
        () if is(1, "2") => Protocol::Resp2,
        () if is(1, "3") => Protocol::Resp3,
        () => before,
    }
}

/// What follows a reply, or why there is none at the head of the bytes.
fn after_reply(bytes: &[u8], protocol: Protocol) -> Result<&[u8], String> {
    let length = match protocol {
        Protocol::Resp2 => resp2::decode::decode(bytes).map(|read| read.map(|(_, length)| length)),
        Protocol::Resp3 => {
            resp3::decode::complete::decode(bytes).map(|read| read.map(|(_, length)| length))
        }
    };
    match length {
        Ok(Some(length)) => Ok(&bytes[length..]),
        Ok(None) => Err("the replies have ended".into()),
        Err(error) => Err(format!("{error} in {:?}", bytes.escape_ascii().to_string())),
    }
}

/// A frame of a peer: refused, or a message that comes back as it went and that no node minds, the same however much of
/// it is copied. The first byte chooses the conflict policy.
pub fn peer(input: &[u8]) {
    match input.split_first() {
        Some((first, frame)) if first % 2 == 0 => peer_of::<Lww>(frame),
        Some((_, frame)) => peer_of::<MultiValue>(frame),
        None => {}
    }
}

fn peer_of<S: StringPolicy + PartialEq>(frame: &[u8]) {
    let read = WireMessage::<S>::decode(frame);
    let in_place = WireMessage::<S>::decode_in_place(&Bytes::copy_from_slice(frame));
    assert_eq!(in_place, read, "what is not copied is something else");
    let Ok(message) = read else {
        return;
    };
    let bytes = message.encode();
    for least_bytes in [0, 1, 8] {
        let pieces = message.frame_with(least_bytes).into_bytes();
        assert_eq!(pieces, bytes, "in pieces it is something else");
    }
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
