//! Limits of a node, and what it says of more.

use super::*;
use crate::codec::{CodecError, Json};

const SMALL: Limits = Limits {
    max_key_bytes: 2,
    max_value_bytes: 8,
    max_message_bytes: 100,
    max_versions: 2,
    max_queued_messages: 3,
    max_queued_bytes: 60,
};

fn small() -> Node {
    Node::with_limits(0, 3, SMALL).expect("one of the three")
}

fn update(clock: [u64; 3], value: &'static str) -> Update {
    Update {
        key: "k".into(),
        value: Bytes::from(value),
        vector_clock: clock.to_vec(),
    }
}

fn state_of(node: &Node) -> (Vec<u64>, usize, Vec<Vec<u8>>) {
    let all = node.all_messages().expect("they have bytes");
    (node.clock(), node.get("k").len(), all)
}

#[test]
fn an_id_that_is_none_of_the_stores_is_an_error() {
    let refused = Node::<Postcard>::with_limits(3, 3, SMALL).map(|_| ());
    let (node_id, total_nodes) = (3, 3);
    assert_eq!(
        refused,
        Err(UnknownNode {
            node_id,
            total_nodes
        })
    );
}

#[test]
fn keys_and_values_over_the_limit_are_refused_on_every_way() {
    let node = small();
    let before = state_of(&node);
    let too_large = UpdateError::KeyTooLarge { size: 3, limit: 2 };
    let key = Err(too_large.clone());
    let value = Err(UpdateError::ValueTooLarge { size: 9, limit: 8 });
    assert_eq!(node.put("key".into(), vec![]), key);
    assert_eq!(node.put("k".into(), vec![0; 9]), value);
    let receive = |key: &str, value: &[u8]| {
        let received = node.receive_update(key.into(), value.to_vec(), vec![0, 1, 0]);
        received.map(|_| ())
    };
    assert_eq!(receive("key", b""), key);
    assert_eq!(receive("k", &[0; 9]), value);
    let theirs: Node = Node::new(1, 3);
    theirs
        .put("key".into(), vec![])
        .expect("its limits are others");
    for message in theirs.take_messages() {
        node.deliver(message).expect("short enough");
    }
    assert_eq!(node.process_messages().refused, [too_large]);
    assert_eq!(state_of(&node), before);
    node.put("ke".into(), vec![0; 8]).expect("at the limits");
}

#[test]
fn writes_that_nobody_takes_are_refused_beyond_the_limit_and_none_is_lost() {
    let node = small();
    for value in 0..3 {
        node.put("k".into(), vec![value]).expect("there is room");
    }
    let before = state_of(&node);
    let refused = node.put("k".into(), vec![3]).expect_err("no room");
    assert!(
        matches!(
            refused,
            UpdateError::Overloaded {
                what: "taken",
                messages: 4,
                max_messages: 3,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(state_of(&node), before, "nothing has changed");
    assert_eq!(node.take_messages().len(), 3);
    node.put("k".into(), vec![3]).expect("there is room again");
    assert_eq!(node.clock(), [4, 0, 0], "the refused write has no number");
}

#[test]
fn messages_are_refused_by_their_number_and_by_their_bytes() {
    let node = small();
    let (size, limit) = (101, 100);
    let too_long = Err(UpdateError::MessageTooLarge { size, limit });
    assert_eq!(node.deliver(vec![0; 101]), too_long);
    for _ in 0..3 {
        node.deliver(vec![0; 20]).expect("there is room");
    }
    assert!(matches!(
        node.deliver(vec![]),
        Err(UpdateError::Overloaded {
            what: "processed",
            messages: 4,
            ..
        })
    ));
    assert_eq!(node.process_messages().refused.len(), 3);
    node.deliver(vec![0; 40]).expect("there is room again");
    assert!(matches!(
        node.deliver(vec![0; 21]),
        Err(UpdateError::Overloaded {
            bytes: 61,
            max_bytes: 60,
            ..
        })
    ));
    node.deliver(vec![0; 20]).expect("exactly as many bytes");
}

#[test]
fn a_message_that_others_would_refuse_is_not_written() {
    let limits = Limits {
        max_message_bytes: 20,
        ..SMALL
    };
    let node = Node::<Json>::with_limits(0, 3, limits).expect("one of the three");
    let refused = node
        .put("k".into(), vec![200; 8])
        .expect_err("too long in JSON");
    assert!(matches!(
        refused,
        UpdateError::MessageTooLarge { limit: 20, .. }
    ));
    assert_eq!((node.get("k"), node.clock()), (vec![], vec![0; 3]));
    assert!(node.take_messages().is_empty());
}

#[test]
fn made_up_clocks_do_not_fill_a_key() {
    let node = small();
    assert_eq!(node.receive(update([0, 1, 0], "a")), Ok(true));
    assert_eq!(node.receive(update([0, 0, 1], "b")), Ok(true));
    let (versions, limit) = (2, 2);
    let full = Err(UpdateError::TooManyVersions { versions, limit });
    let other = update([0, 1, 0], "another under the same clock");
    assert_eq!(
        node.receive(Update {
            value: "c".into(),
            ..other
        }),
        full
    );
    assert_eq!(node.versions("k").len(), 2);
    // What is held or has been replaced is superfluous, and what replaces one of them has room.
    assert_eq!(node.receive(update([0, 1, 0], "a")), Ok(false));
    assert_eq!(node.receive(update([0, 2, 0], "d")), Ok(true));
    assert_eq!(node.receive(update([0, 1, 0], "a")), Ok(false));
    assert_eq!(node.receive(update([0, 3, 1], "e")), Ok(true));
    assert_eq!(node.versions("k").len(), 1);
}

/// Has no bytes for one value.
struct Picky;

impl Codec<Update> for Picky {
    fn encode(update: &Update) -> Result<Vec<u8>, CodecError> {
        match &update.value[..] {
            b"unspeakable" => Err(CodecError("no word for it".into())),
            _ => Postcard::encode(update),
        }
    }

    fn decode(bytes: &[u8]) -> Result<Update, CodecError> {
        Postcard::decode(bytes)
    }
}

#[test]
fn what_the_format_cannot_express_is_an_error_and_not_lost() {
    let node: Node<Picky> = Node::new(0, 3);
    let refused = node.put("k".into(), b"unspeakable".to_vec());
    assert!(matches!(refused, Err(UpdateError::Codec(_))));
    assert_eq!((node.clock(), node.get("k")), (vec![0; 3], vec![]));
    assert_eq!(node.receive(update([0, 1, 0], "unspeakable")), Ok(true));
    assert!(node.all_messages().is_err());
}

#[test]
fn everything_that_is_held_comes_in_pages_too() {
    let node: Node = Node::new(0, 3);
    for key in ["a", "b", "c", "d"] {
        node.put(key.into(), vec![0; 10])
            .expect("within the limits");
    }
    let theirs = [update([0, 1, 0], "x"), update([0, 0, 1], "y")];
    for update in theirs {
        let update = Update {
            key: "b".into(),
            ..update
        };
        assert_eq!(node.receive(update), Ok(true));
    }
    let all = node.all_messages().expect("they have bytes");
    assert_eq!(all.len(), 6);
    let (mut found, mut after, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = node
            .messages_after(after.as_deref(), 1)
            .expect("they have bytes");
        found.extend(page.messages);
        pages += 1;
        after = page.last_key;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (all.clone(), 4), "one key at least");
    let page = node
        .messages_after(Some("b"), usize::MAX)
        .expect("they have bytes");
    assert_eq!((page.messages, page.last_key), (all[4..].to_vec(), None));
}
