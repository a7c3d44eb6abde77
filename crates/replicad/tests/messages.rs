//! What nodes say to each other as bytes of somebody who lies: an error, or a message that harms nobody.

use bytes::Bytes;
use cap::Cap;
use proptest::prelude::*;
use replica::{Config, Level, Lww, MultiValue, Node, NodeId, NodeOutput, Now, Policy, RequestId};
use replicad::node::wire::{SpaceMessage, WireMessage};
use replicad::policies::{StorePolicy, StringPolicy, Types};
use replicad::store::{Operation, StoreRequest};
use std::alloc::System;

/// Far more than a frame of these tests may need, and far less than the lengths that it may announce.
const MEMORY_BYTES: usize = 256 << 20;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, MEMORY_BYTES);

const NODES: u32 = 3;

fn at(elapsed_ms: u64) -> Now {
    Now {
        elapsed_ms,
        unix_ms: 1_700_000_000_000 + elapsed_ms,
    }
}

fn config(node: u32) -> Config {
    Config {
        partitions: 2,
        ..Config::new(NodeId(node), NODES)
    }
}

fn nodes<P: Policy>() -> Vec<Node<P>> {
    let node = |id| Node::bootstrap(config(id), u64::from(id), at(0));
    let mut nodes: Vec<Node<P>> = (1..NODES).map(|id| node(id).expect("valid")).collect();
    // One that has lost its data: it says hello, and is sent transfers.
    nodes.push(Node::recover(config(NODES), 3, at(0)).expect("valid"));
    nodes
}

/// Lets nodes work, and hands every message to `note` before it is delivered.
fn run<P: StorePolicy>(
    nodes: &mut [Node<P>],
    operations: &[Operation],
    mut note: impl FnMut(NodeId, replica::MessageOf<P>),
) {
    for step in 0..40u64 {
        let key = Bytes::from(format!("key-{}", step % 5));
        let operation = operations[step as usize % operations.len()].clone();
        let level = [Level::Quorum, Level::Linearizable, Level::One][step as usize % 3];
        let request = P::request(StoreRequest::new(key, operation).at(level));
        let asked = &mut nodes[step as usize % 2];
        asked.handle_request(RequestId(step), request, at(step * 50));
        for round in 0..6 {
            for i in 0..nodes.len() {
                nodes[i].handle_timeout(at(step * 50 + round));
                for output in nodes[i].take_ready().outputs {
                    if let NodeOutput::Send { to, message } = output {
                        let from = NodeId(i as u32 + 1);
                        note(to, message.clone());
                        let to = &mut nodes[to.0 as usize - 1];
                        to.handle_message(from, message, at(step * 50 + round));
                    }
                }
            }
        }
    }
}

fn strings() -> Vec<Operation> {
    vec![
        Operation::put(Bytes::from_static(b"a value")),
        Operation::Get,
        Operation::delete(),
        Operation::put(Bytes::from(vec![7; 300])),
    ]
}

fn types() -> Vec<Operation> {
    let members = vec![Bytes::from_static(b"x"), Bytes::from_static(b"y")];
    vec![
        Operation::Increment { by: 5 },
        Operation::Add {
            members: members.clone(),
        },
        Operation::Look,
        Operation::Remove { members },
        Operation::Drop,
        Operation::Increment { by: -300 },
    ]
}

/// Frames of a cluster at work.
fn frames<S: StringPolicy>() -> Vec<Bytes> {
    let mut frames = Vec::new();
    run::<S>(&mut nodes(), &strings(), |_, message| {
        frames.push(WireMessage::<S>::Space(SpaceMessage::Strings(message)).encode());
    });
    run::<Types>(&mut nodes(), &types(), |_, message| {
        frames.push(WireMessage::<S>::Space(SpaceMessage::Types(message)).encode());
    });
    frames
}

/// The nodes that are lied to.
struct Victims<S: StringPolicy> {
    strings: Vec<Node<S>>,
    types: Vec<Node<Types>>,
}

impl<S: StringPolicy> Victims<S> {
    fn new() -> Self {
        let (mut s, mut t) = (nodes::<S>(), nodes::<Types>());
        run(&mut s, &strings(), |_, _| ());
        run(&mut t, &types(), |_, _| ());
        Self {
            strings: s,
            types: t,
        }
    }

    /// Whether the frame is a message; if so, everybody is sent it by a peer.
    fn take(&mut self, frame: &[u8]) -> bool {
        let from = NodeId(2);
        for i in [0, 2] {
            let Ok(message) = WireMessage::<S>::decode(frame) else {
                return false;
            };
            match message {
                WireMessage::Space(SpaceMessage::Strings(message)) => {
                    self.strings[i].handle_message(from, message, at(10_000));
                    let _ready = self.strings[i].take_ready();
                }
                WireMessage::Space(SpaceMessage::Types(message)) => {
                    self.types[i].handle_message(from, message, at(10_000));
                    let _ready = self.types[i].take_ready();
                }
                _ => {}
            }
        }
        true
    }
}

#[derive(Debug, Clone)]
enum Change {
    Flip(usize, u8),
    Cut(usize),
    Insert(usize, Vec<u8>),
    /// A varint that announces a huge length.
    Huge(usize, u8),
}

impl Change {
    fn apply(&self, frame: &mut Vec<u8>) {
        match self {
            Self::Flip(at, with) => {
                let at = at % frame.len().max(1);
                if let Some(byte) = frame.get_mut(at) {
                    *byte ^= with;
                }
            }
            Self::Cut(at) => frame.truncate(at % (frame.len() + 1)),
            Self::Insert(at, bytes) => {
                let at = at % (frame.len() + 1);
                frame.splice(at..at, bytes.iter().copied());
            }
            Self::Huge(at, length) => {
                let at = at % (frame.len() + 1);
                let end = (at + 1).min(frame.len());
                let huge = std::iter::repeat_n(0xff, usize::from(length % 9)).chain([0x01]);
                frame.splice(at..end, huge);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 1u8..).prop_map(|(at, with)| Change::Flip(at, with)),
        any::<usize>().prop_map(Change::Cut),
        (
            any::<usize>(),
            proptest::collection::vec(any::<u8>(), 1..20)
        )
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<usize>(), any::<u8>()).prop_map(|(at, length)| Change::Huge(at, length)),
    ]
}

fn lied_to<S: StringPolicy>(frames: &[Bytes], cases: &[(usize, Vec<Change>)]) {
    let mut victims = Victims::<S>::new();
    for (which, changes) in cases {
        let mut frame = frames[which % frames.len()].to_vec();
        changes.iter().for_each(|change| change.apply(&mut frame));
        let _is_message = victims.take(&frame);
    }
}

#[test]
fn messages_of_every_kind_go_through_bytes() {
    fn check<S: StringPolicy>() {
        let frames = frames::<S>();
        assert!(frames.len() > 500, "{} frames", frames.len());
        for frame in frames {
            let message = WireMessage::<S>::decode(&frame).expect("its own bytes");
            assert_eq!(message.encode(), frame);
            let more = [&frame[..], &[0]].concat();
            assert!(WireMessage::<S>::decode(&more).is_err(), "a byte too many");
            assert!(WireMessage::<S>::decode(&frame[..frame.len() - 1]).is_err());
        }
    }
    check::<Lww>();
    check::<MultiValue>();
}

#[test]
fn a_length_that_is_announced_is_not_believed() {
    let mut victims = Victims::<Lww>::new();
    for frame in frames::<Lww>() {
        for at in 0..frame.len() {
            for length in [4, 5, 8] {
                let mut frame = frame.to_vec();
                Change::Huge(at, length).apply(&mut frame);
                let _is_message = victims.take(&frame);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn changed_messages_are_errors_or_harmless(
        cases in proptest::collection::vec((any::<usize>(), proptest::collection::vec(change(), 1..4)), 1..300),
        siblings in any::<bool>(),
    ) {
        match siblings {
            false => lied_to::<Lww>(&frames::<Lww>(), &cases),
            true => lied_to::<MultiValue>(&frames::<MultiValue>(), &cases),
        }
    }

    #[test]
    fn random_bytes_are_errors_or_harmless(frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..200)) {
        let mut victims = Victims::<Lww>::new();
        for frame in &frames {
            let _is_message = victims.take(frame);
        }
    }
}
