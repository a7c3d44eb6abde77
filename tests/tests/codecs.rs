//! The format of values and messages is a parameter: a cluster that speaks postcard, JSON or Protocol Buffers.

use bytes::Bytes;
use crdt::{AddWinsSet, Edit, Timestamp};
use replica::codec::{Codec, CodecError, CodedNode, CodedOutput, Json, Postcard};
use replica::{
    CausalValue, CausalWrite, Command, Config, Envelope, Level, Lww, Message, MessageOf, Node,
    NodeId, NodeMessage, Now, Outcome, PartitionId, Policy, Request, RequestError, RequestId,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Protocol Buffers.
struct ProtocolBuffers;

/// A person: a value of the application.
#[derive(Clone, PartialEq, prost::Message, Serialize, Deserialize)]
struct Person {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    born: u32,
}

impl Codec<Person> for ProtocolBuffers {
    fn encode(person: &Person) -> Result<Vec<u8>, CodecError> {
        Ok(prost::Message::encode_to_vec(person))
    }

    fn decode(bytes: &[u8]) -> Result<Person, CodecError> {
        prost::Message::decode(bytes).map_err(CodecError::new)
    }
}

/// What travels between nodes: the envelope in fields that any program can read, so that it can route, count and
/// refuse messages, and the content as nodes understand it.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    #[prost(oneof = "Sent", tags = "1, 2")]
    sent: Option<Sent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Sent {
    #[prost(message, tag = "1")]
    Partition(PartitionFrame),
    /// A forwarded request, or what is said about one.
    #[prost(bytes = "vec", tag = "2")]
    Forwarding(Vec<u8>),
}

#[derive(Clone, PartialEq, prost::Message)]
struct PartitionFrame {
    #[prost(uint32, tag = "1")]
    partition: u32,
    #[prost(fixed64, optional, tag = "2")]
    from: Option<u64>,
    #[prost(uint64, tag = "3")]
    clock: u64,
    #[prost(bytes = "vec", tag = "4")]
    view: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    message: Vec<u8>,
}

impl<C, W> Codec<NodeMessage<C, W>> for ProtocolBuffers
where
    C: crdt::Cell + Serialize + DeserializeOwned,
    W: Serialize + DeserializeOwned,
{
    fn encode(message: &NodeMessage<C, W>) -> Result<Vec<u8>, CodecError> {
        let sent = match message {
            NodeMessage::Partition {
                partition,
                envelope,
            } => Sent::Partition(PartitionFrame {
                partition: partition.0,
                from: envelope.from.map(|id| id.0),
                clock: envelope.clock.0,
                view: Postcard::encode(&envelope.view)?,
                message: Postcard::encode(&envelope.message)?,
            }),
            other => Sent::Forwarding(Postcard::encode(other)?),
        };
        Ok(prost::Message::encode_to_vec(&Frame { sent: Some(sent) }))
    }

    fn decode(bytes: &[u8]) -> Result<NodeMessage<C, W>, CodecError> {
        let frame: Frame = prost::Message::decode(bytes).map_err(CodecError::new)?;
        match frame.sent {
            Some(Sent::Partition(sent)) => Ok(NodeMessage::Partition {
                partition: PartitionId(sent.partition),
                envelope: Envelope {
                    from: sent.from.map(crdt::ReplicaId),
                    view: Postcard::decode(&sent.view)?,
                    clock: Timestamp(sent.clock),
                    message: Postcard::decode(&sent.message)?,
                },
            }),
            Some(Sent::Forwarding(bytes)) => Postcard::decode(&bytes),
            None => Err(CodecError::new("a frame without content")),
        }
    }
}

/// A change of a set: the values of a store whose values merge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Tag {
    Add(String),
    Remove(String),
}

impl CausalWrite for Tag {
    type Store = AddWinsSet<String>;

    fn apply(&self, edit: &mut Edit<'_, AddWinsSet<String>>) -> bool {
        match self {
            Self::Add(tag) => edit.add(tag.clone()),
            Self::Remove(tag) => edit.remove(tag),
        }
        true
    }

    fn size(&self) -> usize {
        match self {
            Self::Add(tag) | Self::Remove(tag) => tag.len(),
        }
    }
}

/// Four nodes, of which three own each key, and every message between them in bytes.
struct Coded<P: Policy, C> {
    nodes: BTreeMap<NodeId, CodedNode<P, C>>,
    replies: BTreeMap<RequestId, Result<Outcome<P::Cell>, RequestError>>,
    requests: u64,
    now: Now,
    /// How many messages of each kind have gone through the format.
    kinds: BTreeMap<&'static str, u64>,
}

impl<P: Policy, C: Codec<MessageOf<P>>> Coded<P, C> {
    fn new() -> Self {
        let mut config = Config::new(NodeId(1), 4).with_owners(3);
        (config.partitions, config.max_log_events, config.chunk_keys) = (2, 4, 3);
        let nodes = (1..=4).map(NodeId).map(|node| {
            let config = Config {
                node,
                ..config.clone()
            };
            let started = Node::bootstrap(config, u64::from(node.0), Now::default());
            (
                node,
                CodedNode::new(started.expect("a valid configuration")),
            )
        });
        Self {
            nodes: nodes.collect(),
            replies: BTreeMap::new(),
            requests: 0,
            now: Now::default(),
            kinds: BTreeMap::new(),
        }
    }

    /// Carries all messages until none is left.
    fn exchange(&mut self) {
        for _ in 0..1_000 {
            let mut sent = Vec::new();
            for (from, node) in &mut self.nodes {
                let ready = node.take_ready();
                assert!(ready.unsent.is_empty(), "{:?}", ready.unsent);
                for output in ready.outputs {
                    match output {
                        CodedOutput::Send { to, bytes } => sent.push((*from, to, bytes)),
                        CodedOutput::Reply { request, result } => {
                            self.replies.insert(request, result);
                        }
                    }
                }
            }
            if sent.is_empty() {
                return;
            }
            for (from, to, bytes) in sent {
                let message = C::decode(&bytes).expect("what a node sends is decoded");
                assert_eq!(
                    C::decode(&C::encode(&message).expect("bytes")),
                    Ok(message.clone())
                );
                *self.kinds.entry(kind(&message)).or_default() += 1;
                let node = self.nodes.get_mut(&to).expect("one of the nodes");
                let handled = node.handle_bytes(from, &bytes, self.now);
                handled.expect("what a node sends is taken");
            }
        }
        panic!("the nodes never come to rest");
    }

    fn pass(&mut self, rounds: u32) {
        for _ in 0..rounds {
            self.now.elapsed_ms += 500;
            for node in self.nodes.values_mut() {
                node.node_mut().handle_timeout(self.now);
            }
            self.exchange();
        }
    }

    fn ask(&mut self, node: u32, command: Command<P::Write>, level: Level) -> Outcome<P::Cell> {
        self.requests += 1;
        let (id, now) = (RequestId(self.requests), self.now);
        let node = self.nodes.get_mut(&NodeId(node)).expect("one of the nodes");
        let request = Request::new(command, level);
        node.node_mut().handle_request(id, request, now);
        self.exchange();
        let reply = self.replies.remove(&id).expect("it is answered");
        reply.expect("all nodes are there")
    }

    /// An owner of the key.
    fn owner(&self, key: &Bytes) -> u32 {
        let placement = self.nodes[&NodeId(1)].node().placement();
        placement.owners(placement.partition_of(key))[0].0
    }

    /// A node loses its data and comes back.
    fn lose_data(&mut self, node: u32) {
        let (node, now) = (NodeId(node), self.now);
        let config = self.nodes[&node].node().config().clone();
        let recovered = Node::recover(config, 99, now).expect("a valid configuration");
        self.nodes.insert(node, CodedNode::new(recovered));
        self.pass(12);
    }
}

fn kind<C, W>(message: &NodeMessage<C, W>) -> &'static str {
    let NodeMessage::Partition { envelope, .. } = message else {
        return "forwarding";
    };
    match &envelope.message {
        Message::Write { .. } | Message::Repair { .. } => "write",
        Message::Acknowledged { .. } | Message::Superseded { .. } => "answer to a write",
        Message::Read { .. } | Message::ReadAnswer { .. } => "read",
        Message::WriteBack { .. } | Message::WrittenBack { .. } => "write back",
        Message::Hello | Message::HelloAnswer { .. } => "hello",
        Message::SyncAnswer(answer) if !answer.listings.is_empty() => "entries",
        Message::SyncRequest { .. } | Message::SyncAnswer(_) => "sync",
        Message::TransferRequest { .. } | Message::TransferAnswer { .. } => "transfer",
        _ => "other",
    }
}

fn key(i: u32) -> Bytes {
    Bytes::from(format!("kéy {i}"))
}

/// A store by time whose values are people, in the same format as the messages.
fn people<C: Codec<MessageOf<Lww>> + Codec<Person>>() {
    let mut store = Coded::<Lww, C>::new();
    let person = |i: u32| Person {
        name: format!("nº {i}"),
        born: 1900 + i,
    };
    for i in 0..12 {
        let value = <C as Codec<Person>>::encode(&person(i)).expect("a person has bytes");
        store.ask(1 + i % 4, Command::put(key(i), value.into()), Level::Quorum);
    }
    store.ask(2, Command::delete(key(3)), Level::Linearizable);
    let owner = store.owner(&key(0));
    store.lose_data(owner);
    for i in 0..12 {
        let read = store.ask(owner, Command::get(key(i)), Level::Linearizable);
        let found = read
            .value()
            .map(|bytes| <C as Codec<Person>>::decode(bytes));
        let expected = (i != 3).then(|| Ok(person(i)));
        assert_eq!(found, expected, "{i}");
    }
    store.ask(
        1,
        Command::put(key(3), Bytes::from_static(&[0, 255])),
        Level::One,
    );
    store.pass(12);
    let kinds: Vec<_> = store.kinds.keys().copied().collect();
    let all = [
        "answer to a write",
        "forwarding",
        "hello",
        "read",
        "sync",
        "transfer",
        "write",
        "write back",
    ];
    assert!(all.iter().all(|kind| kinds.contains(kind)), "{kinds:?}");
}

/// A store whose values are sets.
fn tags<C: Codec<MessageOf<CausalValue<Tag>>>>() {
    let mut store = Coded::<CausalValue<Tag>, C>::new();
    for (node, tag) in [(1, "red"), (2, "grün"), (3, "\u{0}")] {
        let add = Command::write(key(1), Tag::Add(tag.into()));
        store.ask(node, add, Level::Quorum);
    }
    let remove = Command::write(key(1), Tag::Remove("red".into()));
    store.ask(4, remove, Level::Quorum);
    let owner = store.owner(&key(1));
    store.lose_data(owner);
    let Outcome::Read { cell, .. } = store.ask(owner, Command::get(key(1)), Level::Quorum) else {
        panic!("a read is answered by what it has read");
    };
    let tags: Vec<&str> = cell.iter().map(String::as_str).collect();
    assert_eq!(tags.len(), 2, "{tags:?}");
    assert!(tags.contains(&"grün") && tags.contains(&"\u{0}"));
}

/// Bytes that were cut off, or came from elsewhere, are refused and change nothing.
fn refuses<C: Codec<MessageOf<Lww>>>() {
    let mut store = Coded::<Lww, C>::new();
    let put = Request::new(Command::put(key(1), "v".into()), Level::Quorum);
    let now = Now::default();
    let mut sent = Vec::new();
    for node in store.nodes.values_mut() {
        node.node_mut()
            .handle_request(RequestId(1), put.clone(), now);
        sent.extend(node.take_ready().outputs);
    }
    let longest = sent.into_iter().filter_map(|output| match output {
        CodedOutput::Send { bytes, .. } => Some(bytes),
        CodedOutput::Reply { .. } => None,
    });
    let longest = longest.max_by_key(Vec::len).expect("something was sent");
    let mut refused = 0;
    let limited = CodedNode::<Lww, C>::new(
        Node::bootstrap(store.nodes[&NodeId(1)].node().config().clone(), 1, now)
            .expect("a valid configuration"),
    );
    let mut limited = limited.with_limit(longest.len() - 1);
    assert!(limited.handle_bytes(NodeId(2), &longest, now).is_err());
    for end in 0..longest.len() {
        // Protocol Buffers have no end of their own: a prefix may be another message, and then it is
        // judged like one.
        refused += usize::from(C::decode(&longest[..end]).is_err());
        let _judged = limited.handle_bytes(NodeId(2), &longest[..end], now);
    }
    assert!(refused * 10 > longest.len() * 8, "{refused} were refused");
    for text in [&b"GET / HTTP/1.1"[..], &[0xff; 40]] {
        assert!(limited.handle_bytes(NodeId(2), text, now).is_err());
    }
}

#[test]
fn a_cluster_works_in_any_format_of_messages_and_values() {
    people::<Postcard>();
    people::<Json>();
    people::<ProtocolBuffers>();
}

#[test]
fn values_that_merge_travel_in_any_format() {
    tags::<Postcard>();
    tags::<Json>();
    tags::<ProtocolBuffers>();
}

#[test]
fn what_is_no_message_is_refused_in_any_format() {
    refuses::<Postcard>();
    refuses::<Json>();
    refuses::<ProtocolBuffers>();
}
