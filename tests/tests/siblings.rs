//! System D, the sibling store: every requirement through the public interface.

use bytes::Bytes;
use proptest::prelude::*;
use replica::codec::{Codec, CodecError, Json, Postcard};
use replica::siblings::{Node, Update, UpdateError};
use std::collections::BTreeSet;
use system_tests::siblings::{all as scenarios, play_everywhere};

/// Protocol Buffers: the message, and the same few lines.
struct ProtocolBuffers;

#[derive(Clone, PartialEq, prost::Message)]
struct UpdateMessage {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    vector_clock: Vec<u64>,
}

impl Codec<Update> for ProtocolBuffers {
    fn encode(update: &Update) -> Result<Vec<u8>, CodecError> {
        let message = UpdateMessage {
            key: update.key.clone(),
            value: update.value.to_vec(),
            vector_clock: update.vector_clock.clone(),
        };
        Ok(prost::Message::encode_to_vec(&message))
    }

    fn decode(bytes: &[u8]) -> Result<Update, CodecError> {
        let message: UpdateMessage =
            prost::Message::decode(bytes).map_err(|e| CodecError(e.to_string()))?;
        Ok(Update {
            key: message.key,
            value: message.value.into(),
            vector_clock: message.vector_clock,
        })
    }
}

fn nodes<C: Codec<Update>>(count: usize) -> Vec<Node<C>> {
    (0..count).map(|id| Node::new(id, count)).collect()
}

fn values<C: Codec<Update>>(node: &Node<C>, key: &str) -> BTreeSet<Vec<u8>> {
    node.get(key).into_iter().map(|(value, _)| value).collect()
}

fn set(values: &[&str]) -> BTreeSet<Vec<u8>> {
    values.iter().map(|v| v.as_bytes().to_vec()).collect()
}

/// Carries every message to every other node and has it processed.
fn exchange<C: Codec<Update>>(nodes: &[Node<C>]) {
    for (from, node) in nodes.iter().enumerate() {
        for message in node.take_messages() {
            for (_, other) in nodes.iter().enumerate().filter(|(to, _)| *to != from) {
                other.deliver(message.clone()).expect("within the limits");
            }
        }
    }
    for node in nodes {
        assert_eq!(node.process_messages().refused, []);
    }
}

/// D1, D2, D4, D5: what is kept and what is replaced is the same with vector clocks, and with the dots of the
/// protocol, in the simulator and on threads.
#[test]
fn siblings_are_the_same_with_clocks_and_with_dots() {
    for scenario in scenarios() {
        play_everywhere(&scenario);
    }
}

/// D1, D2: concurrent writes are kept with their clocks, a write that has seen them replaces them.
#[test]
fn concurrent_versions_are_kept_until_a_write_has_seen_them() {
    let nodes = nodes::<Postcard>(3);
    nodes[0]
        .put("k".into(), b"a".to_vec())
        .expect("within the limits");
    nodes[1]
        .put("k".into(), b"b".to_vec())
        .expect("within the limits");
    exchange(&nodes);
    for node in &nodes {
        let expected = [
            (b"a".to_vec(), vec![1, 0, 0]),
            (b"b".to_vec(), vec![0, 1, 0]),
        ];
        assert_eq!(node.get("k"), expected);
    }
    nodes[2]
        .put("k".into(), b"c".to_vec())
        .expect("within the limits");
    exchange(&nodes);
    for node in &nodes {
        assert_eq!(node.get("k"), [(b"c".to_vec(), vec![1, 1, 1])]);
    }
    assert_eq!(nodes[0].get("absent"), []);
}

/// D1: an update carries only what its write has seen of its own key: [0,2,0] for y, arriving before
/// [0,1,0] for x, does not make a local write of x replace the x that has not arrived.
#[test]
fn events_of_other_keys_do_not_travel() {
    let nodes = nodes::<Postcard>(3);
    nodes[1]
        .put("x".into(), b"theirs".to_vec())
        .expect("within the limits");
    nodes[1]
        .put("y".into(), b"y".to_vec())
        .expect("within the limits");
    let messages = nodes[1].take_messages();
    nodes[0]
        .deliver(messages[1].clone())
        .expect("within the limits");
    assert_eq!(nodes[0].process_messages().applied, 1);
    assert_eq!(nodes[0].get("y"), [(b"y".to_vec(), vec![0, 2, 0])]);
    nodes[0]
        .put("x".into(), b"mine".to_vec())
        .expect("within the limits");
    assert_eq!(nodes[0].get("x"), [(b"mine".to_vec(), vec![1, 0, 0])]);
    nodes[0]
        .deliver(messages[0].clone())
        .expect("within the limits");
    nodes[0].process_messages();
    assert_eq!(values(&nodes[0], "x"), set(&["mine", "theirs"]));
    assert_eq!(
        nodes[0].clock(),
        [1, 2, 0],
        "the node's own clock counts everything"
    );
}

/// D2: an incoming version replaces what it dominates, is dropped if dominated or the same, and is kept
/// and reported under an equal clock with another value.
#[test]
fn versions_are_compared_in_full() {
    let node: Node = Node::new(0, 3);
    let receive = |value: &str, clock: &[usize]| {
        node.receive_update("k".into(), value.as_bytes().to_vec(), clock.to_vec())
    };
    assert_eq!(receive("old", &[0, 1, 0]), Ok(true));
    assert_eq!(receive("new", &[0, 2, 1]), Ok(true));
    assert_eq!(values(&node, "k"), set(&["new"]));
    assert_eq!(receive("old", &[0, 1, 0]), Ok(false), "dominated");
    assert_eq!(receive("new", &[0, 2, 1]), Ok(false), "a duplicate");
    assert_eq!(node.conflict_count(), 0);
    assert_eq!(
        receive("other", &[0, 2, 1]),
        Ok(true),
        "an equal clock and another value"
    );
    assert_eq!(values(&node, "k"), set(&["new", "other"]));
    assert_eq!(node.conflict_count(), 1);
}

/// D3: what no node of the store can have written is refused by name and changes nothing.
#[test]
fn impossible_updates_are_refused() {
    let node: Node = Node::new(1, 3);
    let receive = |clock: &[usize]| node.receive_update("k".into(), vec![], clock.to_vec());
    let (entries, nodes) = (2, 3);
    assert_eq!(
        receive(&[1, 0]),
        Err(UpdateError::Entries { entries, nodes })
    );
    assert_eq!(receive(&[0, 0, 0]), Err(UpdateError::Empty));
    let (claimed, made) = (1, 0);
    assert_eq!(
        receive(&[0, 1, 0]),
        Err(UpdateError::OwnFuture { claimed, made })
    );
    node.deliver(b"not an update".to_vec())
        .expect("within the limits");
    let processed = node.process_messages();
    assert!(
        matches!(processed.refused[..], [UpdateError::Codec(_)]),
        "{processed:?}"
    );
    assert_eq!((node.get("k"), node.clock()), (vec![], vec![0, 0, 0]));
}

/// D3: the first id past the last node is a mistake of the caller.
#[test]
#[should_panic(expected = "node 3 is not one of the 3 nodes")]
fn a_node_must_be_one_of_the_store() {
    let _node: Node = Node::new(3, 3);
}

fn travels<C: Codec<Update>>() {
    let nodes = nodes::<C>(2);
    let value: Vec<u8> = (0..=255).collect();
    nodes[0]
        .put("kéy".into(), value.clone())
        .expect("within the limits");
    exchange(&nodes);
    assert_eq!(nodes[1].get("kéy"), [(value, vec![1, 0])]);
    let mut broken = nodes[0].all_messages().expect("they have bytes").remove(0);
    broken.truncate(3);
    nodes[1].deliver(broken).expect("within the limits");
    assert_eq!(nodes[1].process_messages().refused.len(), 1);
}

/// D5: the serialisation is the user's choice: a compact one, JSON and Protocol Buffers.
#[test]
fn the_codec_is_a_parameter() {
    travels::<Postcard>();
    travels::<Json>();
    travels::<ProtocolBuffers>();
}

/// D5: shared between threads as it is, and large values are not copied.
#[test]
fn nodes_are_shared_between_threads_and_values_are_not_copied() {
    let node: Node = Node::new(0, 3);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let node = &node;
            scope.spawn(move || {
                for i in 0..250 {
                    node.put(format!("{thread}"), format!("{i}").into_bytes())
                        .expect("within the limits");
                }
            });
        }
    });
    assert_eq!(node.clock(), [1000, 0, 0]);
    assert_eq!(node.take_messages().len(), 1000);
    let large = Bytes::from(vec![1; 1 << 20]);
    let pointer = large.as_ptr();
    let (key, vector_clock) = ("large".to_owned(), vec![0, 1, 0]);
    let update = Update {
        key,
        value: large,
        vector_clock,
    };
    assert_eq!(node.receive(update), Ok(true));
    assert_eq!(node.versions("large")[0].0.as_ptr(), pointer);
}

/// One step of a random history.
#[derive(Debug, Clone)]
enum Step {
    Put {
        node: usize,
        key: u8,
    },
    /// Delivers the message with this number, modulo how many there are, to a node; messages stay, so
    /// they come late, out of order and more than once.
    Deliver {
        node: usize,
        message: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4_usize, 0..2_u8).prop_map(|(node, key)| Step::Put { node, key }),
        (0..4_usize, any::<usize>()).prop_map(|(node, message)| Step::Deliver { node, message }),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// D4, D5: whatever is delayed, reordered or repeated, all nodes end with the same versions: those
    /// that no other write has seen.
    #[test]
    fn all_nodes_converge(steps in steps()) {
        let nodes = nodes::<Postcard>(4);
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for (i, step) in steps.iter().enumerate() {
            match step {
                Step::Put { node, key } => {
                    nodes[*node].put(key.to_string(), vec![i as u8]).expect("within the limits");
                    messages.extend(nodes[*node].take_messages());
                }
                Step::Deliver { node, message } if !messages.is_empty() => {
                    nodes[*node].deliver(messages[message % messages.len()].clone()).expect("within the limits");
                    prop_assert_eq!(nodes[*node].process_messages().refused, vec![]);
                }
                Step::Deliver { .. } => {}
            }
        }
        for node in &nodes {
            for message in messages.iter().rev() {
                node.deliver(message.clone()).expect("within the limits");
            }
            prop_assert_eq!(node.process_messages().refused, vec![]);
        }
        for key in ["0", "1"] {
            let written: Vec<Update> = messages
                .iter()
                .map(|m| -> Update { Postcard::decode(m).expect("written here") })
                .filter(|update| update.key == key)
                .collect();
            let is_seen = |update: &Update, by: &Update| {
                let mut entries = update.vector_clock.iter().zip(&by.vector_clock);
                update != by && entries.all(|(mine, theirs)| mine <= theirs)
            };
            let maximal = written.iter().filter(|u| !written.iter().any(|by| is_seen(u, by)));
            let expected: BTreeSet<Vec<u8>> = maximal.map(|u| u.value.to_vec()).collect();
            for node in &nodes {
                prop_assert_eq!(&values(node, key), &expected);
            }
        }
    }
}
