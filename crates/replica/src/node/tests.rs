//! Nodes with several partitions, message by message.

use bytes::Bytes;
use crdt::Timestamp;
use std::collections::BTreeSet;

use super::*;
use crate::storage::MemoryStorage;
use crate::{ClockKind, Command, Level, State};

type Reply = Result<Outcome, RequestError>;

const fn at(elapsed_ms: u64) -> Now {
    Now {
        elapsed_ms,
        unix_ms: elapsed_ms,
    }
}

/// Four nodes, and three owners of each of eight partitions.
fn config(node: u32) -> Config {
    let mut config = Config::new(NodeId(node), 4).with_owners(3);
    config.partitions = 8;
    config
}

fn node(config: Config) -> Node {
    let random = u64::from(config.node.0);
    Node::bootstrap(config, random, at(0)).expect("a valid configuration")
}

/// A key of a partition.
fn key_of(placement: &Placement, partition: PartitionId) -> Bytes {
    let keys = (0..).map(|n: u32| Bytes::from(n.to_string()));
    let mut keys = keys.filter(|key| placement.partition_of(key) == partition);
    keys.next().expect("there are as many as it takes")
}

fn put(key: &Bytes, level: Level) -> Request {
    Request::new(Command::put(key.clone(), "v".into()), level)
}

fn get(key: &Bytes, level: Level) -> Request {
    Request::new(Command::get(key.clone()), level)
}

/// Delivers everything until nothing is under way; what clients were told, and which messages went by.
fn run(nodes: &mut [Node]) -> (BTreeMap<u64, Reply>, Vec<&'static str>) {
    let (mut replies, mut kinds) = (BTreeMap::new(), Vec::new());
    loop {
        let outputs: Vec<_> = (1..)
            .zip(&mut *nodes)
            .flat_map(|(i, node)| node.take_ready().outputs.into_iter().map(move |o| (i, o)))
            .collect();
        if outputs.is_empty() {
            return (replies, kinds);
        }
        for (from, output) in outputs {
            match output {
                NodeOutput::Reply { request, result } => {
                    assert!(
                        replies.insert(request.0, result).is_none(),
                        "{request} again"
                    );
                }
                NodeOutput::Send { to, message } => {
                    kinds.push(match message {
                        NodeMessage::Partition { .. } => "partition",
                        NodeMessage::Forward { .. } => "forward",
                        NodeMessage::Life { .. } => "life",
                        NodeMessage::Answer { .. } => "answer",
                    });
                    nodes[to.0 as usize - 1].handle_message(NodeId(from), message, at(0));
                }
            }
        }
    }
}

/// The partitions that a node owns, and one that it does not.
fn owned_and_not(node: &Node) -> (Vec<PartitionId>, PartitionId) {
    let all = node.placement().partitions();
    let (owned, others): (Vec<_>, Vec<_>) = all.partition(|p| node.partition(*p).is_some());
    (owned, others[0])
}

#[test]
fn a_node_holds_the_partitions_that_it_owns() {
    for number in 1..=4 {
        let node = node(config(number));
        let placement = node.placement();
        let owners = |p: &PartitionId| placement.owners(*p).contains(&NodeId(number));
        let owned: Vec<_> = placement.partitions().filter(owners).collect();
        let held: Vec<_> = node.partitions().map(|(id, _)| id).collect();
        assert_eq!(held, owned);
        for (id, partition) in node.partitions() {
            assert_eq!(partition.config().partition, id);
        }
        assert!(format!("{node:?}").contains("Node"));
    }
}

#[test]
fn every_partition_has_random_numbers_of_its_own() {
    for random in [0, u64::MAX] {
        let mut config = Config::new(NodeId(1), 3);
        config.partitions = 8;
        let alone = Partition::<Lww>::bootstrap(config.clone(), random, at(0));
        let node = Node::<Lww>::bootstrap(config, random, at(0)).expect("valid");
        let ids = node.partitions().map(|(_, p)| p.incarnation());
        let ids: BTreeSet<_> = ids.collect();
        assert_eq!(ids.len(), 8, "random = {random}");
        let alone = alone.expect("valid").incarnation();
        assert!(!ids.contains(&alone), "nor has one those of the node");
    }
}

#[test]
fn requests_are_answered_wherever_they_are_made_each_by_itself() {
    let mut nodes = [1, 2, 3, 4].map(|number| node(config(number)));
    let (owned, other) = owned_and_not(&nodes[0]);
    let placement = nodes[0].placement();
    let keys = [owned[0], owned[1], other].map(|partition| key_of(&placement, partition));
    for (id, key) in (1..).zip(&keys) {
        nodes[0].handle_request(RequestId(id), put(key, Level::Quorum), at(0));
    }
    let (replies, kinds) = run(&mut nodes);
    assert_eq!(replies.len(), 3);
    assert!(replies.values().all(Result::is_ok), "{replies:?}");
    let count = |kinds: &[&str], kind| kinds.iter().filter(|k| **k == kind).count();
    let forwarded = ["forward", "life", "answer"].map(|kind| count(&kinds, kind));
    assert_eq!(forwarded, [2, 1, 1], "it was told the life of the owner");
    for (id, key) in (1..).zip(&keys) {
        nodes[0].handle_request(RequestId(id), get(key, Level::Quorum), at(0));
    }
    let (replies, kinds) = run(&mut nodes);
    let values = replies.values().map(|r| r.as_ref().ok()?.value().cloned());
    assert_eq!(values.collect::<Vec<_>>(), vec![Some(Bytes::from("v")); 3]);
    let forwarded = ["forward", "life", "answer"].map(|kind| count(&kinds, kind));
    assert_eq!(forwarded, [1, 0, 1]);
    // Reads are carried out in any life.
    let (_, strange) = owned_and_not(&nodes[1]);
    let key = key_of(&placement, strange);
    nodes[1].handle_request(RequestId(1), get(&key, Level::One), at(0));
    let (replies, kinds) = run(&mut nodes);
    assert!(replies[&1].is_ok());
    assert_eq!(kinds, ["forward", "answer"]);
}

#[test]
fn the_next_timeout_is_the_earliest_of_any_part() {
    let mut nodes = [1, 2, 3, 4].map(|number| node(config(number)));
    // The second of four starts a quarter of a sync interval after the first.
    assert_eq!(nodes[0].deadline(), Some(125));
    assert_eq!(nodes[1].deadline(), Some(250));
    nodes[1].handle_timeout(at(249));
    assert!(nodes[1].take_ready().outputs.is_empty());
    nodes[1].handle_timeout(at(250));
    assert!(!nodes[1].take_ready().outputs.is_empty());
    assert_eq!(nodes[1].deadline(), Some(750));
    let (_, other) = owned_and_not(&nodes[1]);
    let key = key_of(&nodes[1].placement(), other);
    let request = get(&key, Level::One).within(50);
    nodes[1].handle_request(RequestId(1), request, at(250));
    assert_eq!(nodes[1].deadline(), Some(300), "for the forwarded request");
    nodes[1].handle_timeout(at(300));
    let given_up = nodes[1].take_ready().outputs;
    assert!(matches!(
        given_up[..],
        [
            NodeOutput::Send { .. },
            NodeOutput::Reply {
                request: RequestId(1),
                result: Err(RequestError::Deadline { .. })
            }
        ]
    ));
}

#[test]
fn hints_and_decisions_reach_every_partition() {
    let mut config = Config::new(NodeId(1), 3);
    config.partitions = 4;
    let mut lost = Node::<Lww>::recover(config.clone(), 1, at(0)).expect("valid");
    let states = |node: &Node| {
        node.partitions()
            .map(|(_, p)| p.state())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&lost), vec![State::Recovering; 4]);
    for other in [2, 3].map(NodeId) {
        lost.handle_reachable(other, false, at(0));
    }
    assert_eq!(states(&lost), vec![State::Recovering; 4]);
    lost.handle_accept_loss(at(0));
    assert_eq!(states(&lost), vec![State::Up; 4], "nobody can be asked");
    config.clock = ClockKind::Caller;
    let mut callers = node(config);
    callers.handle_horizon(Timestamp(10), at(0));
    for partition in callers.placement().partitions() {
        let key = key_of(&callers.placement(), partition);
        let command = Command::put(key, "v".into()).at(Timestamp(10));
        callers.handle_request(RequestId(1), Request::new(command, Level::One), at(0));
        let refused = callers.take_ready().outputs;
        assert!(matches!(
            refused[..],
            [NodeOutput::Reply {
                result: Err(RequestError::TimestampBelowHorizon { .. }),
                ..
            }]
        ));
    }
}

#[test]
fn a_partition_whose_storage_holds_nothing_has_lost_its_data_and_the_others_have_not() {
    let mut config = Config::new(NodeId(1), 3);
    config.partitions = 4;
    config.durable = true;
    let mut before = node(config.clone());
    let mut stores = BTreeMap::new();
    for (partition, batch) in before.take_ready().persist {
        let mut store = MemoryStorage::default();
        store.commit(&batch).expect("memory does not fail");
        stores.insert(partition, store);
    }
    assert_eq!(stores.len(), 4);
    let lost = PartitionId(2);
    stores.insert(lost, MemoryStorage::default());
    let stored = |partition| Some(&stores[&partition] as &dyn Storage);
    let restored = Node::<Lww>::restore(config.clone(), stored, 7, at(0)).expect("it is sound");
    let copied = Node::<Lww>::recover_with(config, stored, 7, at(0)).expect("it is sound");
    for (id, partition) in restored.partitions() {
        let (state, incarnation) = match id == lost {
            true => (State::Recovering, None),
            false => (State::Returning, before.partitions[&id].incarnation()),
        };
        assert_eq!(partition.state(), state, "{id}");
        assert_eq!(partition.incarnation(), incarnation, "{id}");
        assert_eq!(copied.partitions[&id].state(), State::Recovering, "{id}");
    }
}

#[test]
fn a_suspicion_turns_questions_to_others_and_gives_nothing_up() {
    let mut config = Config::new(NodeId(1), 3);
    config.sync_interval_ms = 100;
    let mut node = node(config);
    let asked = |node: &mut Node, turns: u64| {
        let mut asked = BTreeSet::new();
        for _ in 0..turns {
            let due = node.deadline().expect("it synchronises");
            node.handle_timeout(at(due));
            let outputs = node.take_ready().outputs;
            asked.extend(outputs.into_iter().filter_map(|output| match output {
                NodeOutput::Send { to, .. } => Some(to),
                NodeOutput::Reply { .. } => None,
            }));
        }
        asked
    };
    assert_eq!(asked(&mut node, 4), [2, 3].map(NodeId).into());
    let key = Bytes::from("k");
    node.handle_request(RequestId(1), put(&key, Level::All), at(400));
    node.take_ready().outputs.clear();
    node.handle_suspected(NodeId(2), true);
    node.handle_suspected(NodeId(3), true);
    node.handle_request(RequestId(2), put(&key, Level::Quorum), at(400));
    let outputs = node.take_ready().outputs;
    let is_sent = |o: &NodeOutput<Lww>| matches!(o, NodeOutput::Send { .. });
    assert_eq!(outputs.len(), 2, "it is sent to both");
    assert!(outputs.iter().all(is_sent), "and neither write is given up");
    let mut node = self::node(node.config().clone());
    node.handle_suspected(NodeId(2), true);
    assert_eq!(asked(&mut node, 4), [NodeId(3)].into());
    node.handle_reachable(NodeId(3), false, at(400));
    assert_eq!(
        asked(&mut node, 4),
        [NodeId(2)].into(),
        "it is reachable at least"
    );
}

#[test]
fn a_request_goes_to_an_owner_that_can_be_reached() {
    let mut node = node(config(1));
    let (_, other) = owned_and_not(&node);
    let (owners, key) = (
        node.placement().owners(other),
        key_of(&node.placement(), other),
    );
    let first_asked = |node: &mut Node| {
        node.handle_request(RequestId(1), get(&key, Level::One), at(0));
        match &node.take_ready().outputs[..] {
            [NodeOutput::Send { to, .. }] => *to,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(first_asked(&mut node), owners[0]);
    node.handle_suspected(owners[0], true);
    assert_eq!(first_asked(&mut node), owners[1]);
    node.handle_suspected(owners[0], false);
    assert_eq!(first_asked(&mut node), owners[0]);
    node.handle_reachable(owners[0], false, at(0));
    node.take_ready().outputs.clear();
    assert_eq!(first_asked(&mut node), owners[1]);
}

#[test]
fn a_partition_whose_storage_fails_takes_back_what_it_has_said_and_the_others_go_on() {
    let mut config = Config::new(NodeId(1), 3);
    config.partitions = 4;
    let mut node = node(config);
    let placement = node.placement();
    let [failing, sound] = [0, 1].map(PartitionId);
    let keys = [failing, sound].map(|partition| key_of(&placement, partition));
    let (asker, number) = (NodeId(2), 77);
    let forward = |node: &mut Node| {
        let message = NodeMessage::Forward {
            number,
            asker: 5,
            life: None,
            request: get(&keys[0], Level::One),
        };
        node.handle_message(asker, message, at(0));
    };
    node.handle_request(RequestId(1), put(&keys[0], Level::One), at(0));
    forward(&mut node);
    node.handle_request(RequestId(2), put(&keys[0], Level::Quorum), at(0));
    let dropped = node.take_ready().outputs;
    let error = StorageError::new("writing", "no room");
    node.handle_storage_failure(failing, &error, dropped);
    let told = |node: &mut Node| {
        let outputs = node.take_ready().outputs.into_iter();
        let (mut clients, mut peers) = (BTreeSet::new(), 0);
        for output in outputs {
            match output {
                NodeOutput::Reply {
                    request,
                    result: Err(RequestError::StorageFailed { node, .. }),
                } => assert!(node == NodeId(1) && clients.insert(request.0)),
                NodeOutput::Send {
                    to,
                    message: NodeMessage::Answer { number: n, result },
                } => {
                    assert!((to, n) == (asker, number) && result.is_err());
                    peers += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        (clients, peers)
    };
    assert_eq!(told(&mut node), ([1, 2].into(), 1));
    forward(&mut node);
    assert_eq!(told(&mut node), ([].into(), 1), "and told again");
    let states = [failing, sound].map(|id| node.partition(id).map(Partition::state));
    assert_eq!(states, [Some(State::StorageFailed), Some(State::Up)]);
    node.handle_request(RequestId(3), put(&keys[1], Level::One), at(0));
    let outputs = node.take_ready().outputs;
    let is_reply = |o: &&NodeOutput<Lww>| matches!(o, NodeOutput::Reply { result: Ok(_), .. });
    assert_eq!(outputs.iter().filter(is_reply).count(), 1);
}
