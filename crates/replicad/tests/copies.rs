//! How often a large value is copied on its way from one node to another: not at all by what sends it, and not at all by
//! what receives it but for the first bytes of a frame, which have been read before its length is known.

use bytes::Bytes;
use crdt::{Budget, Cut, Dot, Edit, Interval, IntervalListing, Listing, MapReplica, Timestamp};
use replica::{
    Command, Config, Envelope, Extent, Floor, Level, Lww, Message, MessageOf, Met, MultiValue,
    Node, NodeId, NodeMessage, NodeOutput, Now, Outcome, PartitionId, Request, RequestId,
    SyncAnswer,
};
use replicad::node::wire::{SpaceMessage, WireMessage};
use replicad::policies::StringPolicy;
use replicad::store::Operation;
use replicad::transport::{Frame, Handler, OWN_BUFFER_BYTES, Transport, TransportOptions};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;

const LARGE: usize = 1 << 20;

/// Far less than a large value.
const LITTLE: u64 = 16 << 10;

/// No condition takes this long to come true unless it never does.
const LIMIT: Duration = Duration::from_secs(60);

fn large() -> Bytes {
    Bytes::from(vec![7; LARGE])
}

fn key() -> Bytes {
    Bytes::from_static(b"key")
}

fn wire<S: StringPolicy>(message: MessageOf<S>) -> WireMessage<S> {
    WireMessage::Space(SpaceMessage::Strings(message))
}

/// What `of` returns, and the bytes that were allocated meanwhile.
fn allocated<T>(of: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let heap = allocation_counter::measure(|| result = Some(of()));
    (result.expect("it was called"), heap.bytes_total)
}

/// Whether a value lies in a frame.
fn is_in(value: &Bytes, frame: &Bytes) -> bool {
    let frame = frame.as_ptr_range();
    frame.contains(&value.as_ptr())
}

/// Whether a value is a piece of a frame.
fn is_piece(value: &Bytes, frame: &Frame) -> bool {
    frame
        .pieces()
        .any(|piece| piece.as_ptr() == value.as_ptr() && piece.len() == value.len())
}

/// The values in a message.
fn values<S: StringPolicy>(message: &WireMessage<S>) -> Vec<Bytes> {
    let mut values = Vec::new();
    let mut note = |value: &Bytes| values.push(value.clone());
    match message {
        WireMessage::Space(SpaceMessage::Strings(message)) => {
            replica::visit_values::<S>(message, 0, &mut note);
        }
        _ => panic!("of another space"),
    }
    values
}

fn written<S: StringPolicy>(values: &[Bytes]) -> MapReplica<Bytes, S::Cell> {
    let mut replica = MapReplica::new(crdt::ReplicaId(1));
    for (i, value) in (1..).zip(values) {
        let write = S::write(Operation::put(value.clone())).expect("a write");
        let _written = replica.edit(
            Bytes::from(format!("key-{i}")),
            None,
            |edit: &mut Edit<'_, S::Cell>| S::apply(edit, &write, Timestamp(i)),
        );
    }
    replica
}

fn partition<S: StringPolicy>(message: Message<S::Cell>) -> MessageOf<S> {
    NodeMessage::Partition {
        partition: PartitionId(0),
        envelope: Envelope {
            from: Some(crdt::ReplicaId(1)),
            view: Arc::default(),
            clock: Timestamp(9),
            message,
        },
    }
}

/// An answer with the values, each under a key of its own.
fn sync_answer<S: StringPolicy>(values: &[Bytes]) -> MessageOf<S> {
    let replica = written::<S>(values);
    let keys = 1..=values.len();
    let listings = keys.map(|i| replica.list_key(Bytes::from(format!("key-{i}"))));
    partition::<S>(Message::SyncAnswer(SyncAnswer {
        to: crdt::ReplicaId(2),
        reconciled: true,
        returning: false,
        knowledge: Arc::new(replica.knowledge().clone()),
        listings: listings.collect(),
        extent: Extent::Complete,
        promises: None,
        retired: BTreeMap::new(),
        closed: Arc::default(),
        operations: Vec::new(),
    }))
}

/// Every kind of message that carries values, with this one.
fn with_value<S: StringPolicy>(value: &Bytes) -> Vec<MessageOf<S>> {
    let replica = written::<S>(std::slice::from_ref(value));
    let name = Bytes::from_static(b"key-1");
    let cell = replica.map().get(&name).cloned().expect("it was written");
    let listing = || Arc::new(replica.list_known(name.clone()));
    let (dot, read) = (Dot::new(crdt::ReplicaId(1), 1), 1);
    let transfer = |listings| Message::TransferAnswer {
        from: Cut::BelowAll,
        listings,
        next: None,
        closed: Arc::default(),
    };
    let budget = Budget {
        events: 100,
        bytes: 1_000,
    };
    let chunk = replica.transfer_chunk(&Cut::BelowAll, budget, |_, _| 1);
    let known = Arc::new([dot].into_iter().collect());
    let interval = IntervalListing::new(Interval::all(), vec![(name.clone(), cell.clone())], known);
    let interval = Listing::Interval(interval.expect("valid"));
    let write = S::write(Operation::put(value.clone())).expect("a write");
    vec![
        partition::<S>(Message::Write {
            dot,
            listing: listing(),
            operations: Vec::new(),
        }),
        partition::<S>(Message::Repair { listing: listing() }),
        partition::<S>(Message::ReadAnswer {
            read,
            listing: Some(listing()),
            operation: None,
        }),
        partition::<S>(Message::WriteBack {
            read,
            listing: listing(),
        }),
        sync_answer::<S>(std::slice::from_ref(value)),
        partition::<S>(transfer(chunk.listings)),
        partition::<S>(transfer(vec![interval])),
        NodeMessage::Forward {
            number: 1,
            asker: 2,
            life: None,
            request: Request::new(Command::write(key(), write), Level::Quorum),
        },
        NodeMessage::Answer {
            number: 1,
            result: Ok(Outcome::Read {
                cell,
                seen: Floor::default(),
                stable: Arc::default(),
                owners: 2,
                met: Met::default(),
            }),
        },
    ]
}

#[test]
fn no_message_copies_a_large_value_at_either_end() {
    fn check<S: StringPolicy + PartialEq>() {
        let value = large();
        for message in with_value::<S>(&value) {
            let message = wire::<S>(message);
            let (frame, heap) = allocated(|| message.frame());
            assert!(heap < LITTLE, "{heap} bytes to write a message");
            assert!(is_piece(&value, &frame));
            let received = frame.into_bytes();
            let (read, heap) = allocated(|| WireMessage::decode_frame(&received));
            assert!(heap < LITTLE, "{heap} bytes to read a message");
            let read = read.expect("a message");
            assert_eq!(read, message);
            let [value] = &values(&read)[..] else {
                panic!("one value")
            };
            assert!(is_in(value, &received));
        }
    }
    check::<Lww>();
    check::<MultiValue>();
}

/// What is read of a frame with these values, and the frame.
fn read_of(lengths: &[usize]) -> (Vec<Bytes>, Bytes) {
    let large: Vec<Bytes> = lengths.iter().map(|n| Bytes::from(vec![7; *n])).collect();
    let message = wire::<Lww>(sync_answer::<Lww>(&large));
    let frame = message.frame();
    for value in &large {
        let is_long = value.len() >= replicad::transport::LEAST_PIECE_BYTES;
        assert_eq!(is_piece(value, &frame), is_long, "{} bytes", value.len());
    }
    let received = frame.into_bytes();
    let read = WireMessage::decode_frame(&received).expect("a message");
    assert_eq!(read, message);
    (values(&read), received)
}

#[test]
fn values_that_are_less_than_most_of_a_frame_do_not_keep_it() {
    let own = OWN_BUFFER_BYTES;
    let many = [8_000; 100];
    let with_rest = [&[LARGE / 2][..], &many].concat();
    for lengths in [
        &many[..],
        &[LARGE, LARGE],
        &with_rest,
        &[own / 2],
        &[own - 1_000],
    ] {
        let (values, frame) = read_of(lengths);
        assert_eq!(values.len(), lengths.len());
        assert!(
            values.iter().all(|value| !is_in(value, &frame)),
            "{lengths:?}"
        );
    }
    let (values, frame) = read_of(&[100, LARGE, 8_000, 30]);
    let kept: Vec<bool> = values.iter().map(|value| is_in(value, &frame)).collect();
    assert_eq!(kept, [false, true, false, false]);
}

/// Keeps what arrives.
#[derive(Default)]
struct Inbox(Mutex<Vec<Bytes>>);

impl Handler for Inbox {
    fn message(&self, _: NodeId, frame: Bytes) {
        self.0.lock().expect("unpoisoned").push(frame);
    }

    fn reachable(&self, _: NodeId, _: bool) {}
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LIMIT, "it never comes");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Three transports that have found each other, and what arrives at each.
async fn connected() -> Vec<(Transport, Arc<Inbox>)> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a port"));
    }
    let address = |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
    let nodes: Vec<_> = (1..)
        .map(NodeId)
        .zip(listeners.iter().map(address))
        .collect();
    let mut all = Vec::new();
    for ((node, _), listener) in nodes.iter().zip(listeners) {
        let peers = nodes.iter().filter(|(peer, _)| peer != node).cloned();
        let options = TransportOptions::new(*node, "copies", "", peers.collect());
        let inbox = Arc::new(Inbox::default());
        let handler = Arc::clone(&inbox) as Arc<dyn Handler>;
        let transport = Transport::start_on(listener, options, handler).expect("it starts");
        all.push((transport, inbox));
    }
    until(|| {
        let reached = |transport: &Transport| {
            let mut peers = transport.peers();
            peers.all(|(peer, _)| transport.is_reachable(peer))
        };
        all.iter().all(|(transport, _)| reached(transport))
    })
    .await;
    all
}

fn now() -> Now {
    Now {
        elapsed_ms: 1,
        unix_ms: 1_700_000_000_000,
    }
}

fn node(id: u32) -> Node<Lww> {
    Node::bootstrap(Config::new(NodeId(id), 3), u64::from(id), now()).expect("valid")
}

/// A value of 1 MiB goes from one node through real connections into two others, all in this thread. What is allocated
/// is a receive buffer for each of the two, and little else.
#[test]
fn a_write_to_two_peers_takes_a_receive_buffer_at_each_and_no_copy() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let all = runtime.block_on(connected());
    let value = large();
    let (mut sender, mut receivers) = (node(1), [node(2), node(3)]);
    let ((), heap) = allocated(|| {
        let put = Request::new(Command::put(key(), value.clone()), Level::Quorum);
        sender.handle_request(RequestId(1), put, now());
        for output in sender.take_ready().outputs {
            if let NodeOutput::Send { to, message } = output {
                all[0].0.send(to, wire::<Lww>(message).frame());
            }
        }
        runtime.block_on(until(|| {
            let has_come = |inbox: &Inbox| !inbox.0.lock().expect("unpoisoned").is_empty();
            all[1..].iter().all(|(_, inbox)| has_come(inbox))
        }));
        for (receiver, (_, inbox)) in receivers.iter_mut().zip(&all[1..]) {
            let frame = inbox
                .0
                .lock()
                .expect("unpoisoned")
                .pop()
                .expect("it has come");
            let read = WireMessage::<Lww>::decode_frame(&frame).expect("a message");
            let WireMessage::Space(SpaceMessage::Strings(message)) = read else {
                panic!("another kind");
            };
            receiver.handle_message(NodeId(1), message, now());
            let partition = receiver.placement().partition_of(&key());
            let held = receiver.partition(partition).expect("it owns all");
            let held = held
                .replica()
                .map()
                .get(&key()[..])
                .and_then(|cell| cell.value());
            let held = held.expect("it was written");
            assert!(
                *held == value && is_in(held, &frame),
                "what is kept is in the frame"
            );
        }
    });
    let buffers = 2 * LARGE as u64;
    assert!(heap > buffers, "{heap} bytes: not counted");
    assert!(heap < buffers + LARGE as u64 / 2, "{heap} bytes");
}
