//! What nodes say to each other. The handshake before it is frozen beside its code.

use crdt::{Budget, Cut, Dot, Timestamp};
use replica::{
    Command, Envelope, Extent, Floor, Level, Lww, Message, MessageOf, Met, MultiValue, NodeId,
    NodeMessage, Operation, OperationAnswer, OperationId, Outcome, PartitionId, Policy, Request,
    RequestError, StoreListing, SyncAnswer,
};
use replicad::backend::{Lack, NodeState, NodeStatus};
use replicad::node::wire::{RequestName, SpaceMessage, WireMessage};
use replicad::node::{ClusterStanding, Offer, StatusMessage};
use replicad::policies::{StringPolicy, Types};
use replicad::storage::ClusterId;
use replicad::store::Space;
use replicad::transport::VERSIONS;
use replicad::verification::{NodeVerification, PartitionSum, StoreVerdict};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::files::{self, Row};
use super::values::{
    A, B, Frozen, bytes, check_all_kinds, closed, context, floor, kinds, promises, replica, view,
};

const DOT: Dot = Dot::new(A, 3);
const ID: OperationId = OperationId::new(1 << 100 | 5);

type Messages<P> = Vec<Message<<P as Policy>::Cell>>;

fn key<P: Frozen>(name: &str) -> Arc<StoreListing<P::Cell>> {
    Arc::new(replica::<P>().list_key(bytes(name)))
}

/// Of writes and reads.
fn of_requests<P: Frozen>() -> Messages<P> {
    let read = |held, with_knowledge, operation| Message::Read {
        read: 1 << 33,
        key: bytes("0"),
        held,
        with_knowledge,
        operation,
    };
    let mut messages = vec![
        Message::Write {
            dot: DOT,
            listing: key::<P>("both"),
            operations: vec![(ID, DOT)],
        },
        Message::Repair {
            listing: key::<P>("0"),
        },
        Message::Acknowledged {
            dot: DOT,
            held: Dot::new(A, 4),
        },
        Message::Superseded {
            dot: DOT,
            time: Timestamp(1 << 40),
        },
        read(0, false, None),
        read(u128::MAX - 5, true, Some(ID)),
        Message::WriteBack {
            read: 7,
            listing: Arc::new(replica::<P>().list_known(bytes("absent"))),
        },
        Message::WrittenBack { read: 7 },
    ];
    let answers = [
        None,
        Some(OperationAnswer::Done(DOT)),
        Some(OperationAnswer::NotHere),
        Some(OperationAnswer::Forgotten),
    ];
    check_all_kinds(&answers.iter().flatten().copied().collect::<Vec<_>>());
    messages.extend(answers.map(|operation| Message::ReadAnswer {
        read: 7,
        listing: operation.is_none().then(|| key::<P>("both")),
        operation,
    }));
    messages
}

/// Of recovery, comparisons and full transfers.
fn of_nodes<P: Frozen>() -> Messages<P> {
    let budget = Budget {
        events: 100,
        bytes: 1_000,
    };
    let chunk = replica::<P>().transfer_chunk(&Cut::BelowAll, budget, |_, _| 1);
    vec![
        Message::Hello,
        Message::HelloAnswer { reconciled: true },
        Message::Audit {
            digest: 3,
            checksum: u128::MAX,
        },
        Message::Probe { digest: 1 << 90 },
        Message::SyncRequest {
            knowledge: Arc::new(replica::<P>().knowledge().clone()),
            want_entries: true,
        },
        Message::TransferRequest {
            from: Cut::Before(bytes("b")),
        },
        Message::TransferAnswer {
            from: Cut::BelowAll,
            listings: chunk.listings,
            next: Some(Cut::After(bytes("b"))),
            closed: Arc::new(closed()),
        },
    ]
}

/// What a peer lacks, to every extent.
fn of_synchronisation<P: Frozen>() -> Messages<P> {
    let extents = [
        Extent::Complete,
        Extent::Part,
        Extent::Truncated,
        Extent::KnowledgeOnly,
    ];
    check_all_kinds(&extents);
    let answer = |extent| {
        let replica = replica::<P>();
        let keys = ["both", "0", "absent", "1"].map(|key| match key {
            "absent" => replica.list_known(bytes(key)),
            key => replica.list_key(bytes(key)),
        });
        let listings = match extent {
            Extent::Complete => keys.into(),
            _ => Vec::new(),
        };
        Message::SyncAnswer(SyncAnswer {
            to: B,
            reconciled: true,
            returning: false,
            knowledge: Arc::new(replica.knowledge().clone()),
            listings,
            extent,
            promises: Some(promises()),
            retired: BTreeMap::from([(2, B)]),
            closed: Arc::new(closed()),
            operations: vec![(ID, Some(DOT)), (ID, None)],
        })
    };
    extents.map(answer).into()
}

/// Every kind of message between partitions.
fn messages<P: Frozen>() -> Messages<P> {
    let mut messages = of_requests::<P>();
    messages.extend(of_nodes::<P>());
    messages.extend(of_synchronisation::<P>());
    check_all_kinds(&messages);
    messages
}

fn requests<P: Frozen>() -> Vec<Request<P::Write>> {
    let writes = P::writes().into_iter();
    let writes = writes.map(|write| Command::write(bytes("key"), write));
    let with_context = writes.map(|mut command| {
        if let Command::Write { context: seen, .. } = &mut command {
            *seen = Some(context());
        }
        command
    });
    let commands: Vec<_> = with_context.chain([Command::get(bytes("key"))]).collect();
    check_all_kinds(&commands);
    let levels = [Level::One, Level::Quorum, Level::All, Level::Linearizable];
    check_all_kinds(&levels);
    let mut requests: Vec<_> = levels
        .map(|level| Request::new(Command::get(bytes("key")), level))
        .into();
    requests.extend(commands.into_iter().map(|command| {
        Request::new(command, Level::Quorum)
            .after(floor())
            .within(4_000)
    }));
    let id = Operation {
        id: ID,
        is_retry: true,
    };
    requests[0].operation = Some(id);
    requests
}

fn outcomes<P: Frozen>() -> Vec<Outcome<P::Cell>> {
    let met = Met::asked(Level::Linearizable, &floor());
    let outcomes = vec![
        Outcome::Read {
            cell: replica::<P>()
                .map()
                .get("both".as_bytes())
                .cloned()
                .unwrap_or_default(),
            seen: floor(),
            stable: Arc::new(context()),
            owners: 2,
            met,
        },
        Outcome::Written {
            timestamp: Timestamp(9),
            event: Some(DOT),
            seen: Floor::default(),
            stable: Arc::default(),
            took_effect: true,
            acknowledged: 3,
            met,
        },
    ];
    check_all_kinds(&outcomes);
    outcomes
}

/// Every error that an owner may answer with.
fn errors() -> Vec<RequestError> {
    let (node, partition, may_take_effect) = (NodeId(2), PartitionId(7), true);
    let errors = vec![
        RequestError::NoMajority {
            acknowledged: 1,
            needed: 2,
            may_take_effect,
        },
        RequestError::OutcomeUnknown {
            denied: 1,
            owners: 3,
        },
        RequestError::OperationsForgotten,
        RequestError::NodeFailed(node),
        RequestError::Recovering {
            node,
            reconciled: 1,
            needed: 2,
        },
        RequestError::StorageFailed {
            node,
            cause: "worn out".into(),
        },
        RequestError::KeyTooLarge {
            size: 300,
            limit: 200,
        },
        RequestError::ValueTooLarge {
            size: 300,
            limit: 200,
        },
        RequestError::Overloaded {
            pending: 300,
            limit: 200,
        },
        RequestError::TimestampAhead {
            ahead_ms: 300,
            bound_ms: 200,
            may_take_effect,
        },
        RequestError::SessionUnmet {
            partition,
            missing: 3,
            first: "1:2".into(),
            answered: 2,
        },
        RequestError::SessionLost {
            partition,
            lost: Box::new(context()),
        },
        RequestError::TimestampNeeded,
        RequestError::TimestampNotTaken,
        RequestError::TimestampBelowHorizon {
            timestamp: Timestamp(3),
            horizon: Timestamp(300),
        },
        RequestError::TokenAhead {
            lead: 300,
            limit: 200,
        },
        RequestError::TimestampBelowSession {
            timestamp: Timestamp(3),
            session: Timestamp(300),
        },
        RequestError::TimestampsAreNotMoments,
        RequestError::LevelNotOffered { k: 3, w: 1, r: 2 },
        RequestError::GossipsOnly { level: Level::All },
        RequestError::Unreachable {
            partition,
            may_take_effect,
        },
        RequestError::ClockExhausted { may_take_effect },
        RequestError::NoRoom {
            node,
            free: 300,
            reserve: 200,
        },
        RequestError::Deadline {
            answered: 1,
            needed: 2,
            may_take_effect,
        },
        RequestError::TooMuchWaiting {
            waiting: 300,
            limit: 200,
        },
    ];
    check_all_kinds(&errors);
    errors
}

fn node_messages<P: Frozen>() -> Vec<MessageOf<P>> {
    let envelope = |message| Envelope {
        from: Some(A),
        view: Arc::new(view()),
        clock: Timestamp(u64::MAX / 3),
        message,
    };
    let partition = |envelope| NodeMessage::Partition {
        partition: PartitionId(300),
        envelope,
    };
    let mut all: Vec<MessageOf<P>> = messages::<P>()
        .into_iter()
        .map(|message| partition(envelope(message)))
        .collect();
    all.push(partition(Envelope {
        from: None,
        ..envelope(Message::Hello)
    }));
    all.extend(
        (1..)
            .zip(requests::<P>())
            .map(|(number, request)| NodeMessage::Forward {
                number,
                asker: 1 << 60,
                life: (number % 2 == 0).then_some(u64::MAX),
                request,
            }),
    );
    all.push(NodeMessage::Life { number: 5, life: 9 });
    let failed = errors().into_iter().map(Err);
    let results = outcomes::<P>().into_iter().map(Ok).chain(failed);
    all.extend(
        (1..)
            .zip(results)
            .map(|(number, result)| NodeMessage::Answer { number, result }),
    );
    check_all_kinds(&all);
    all
}

fn standings() -> Vec<ClusterStanding> {
    let cluster = ClusterId(0x1234 << 64 | 5);
    let by = NodeId(2);
    let standings = vec![
        ClusterStanding::Nothing,
        ClusterStanding::Offered(Offer { by, cluster }),
        ClusterStanding::Member(cluster),
    ];
    check_all_kinds(&standings);
    standings
}

fn statuses() -> Vec<StatusMessage> {
    let states = [
        NodeState::Up,
        NodeState::Failed,
        NodeState::Recovering,
        NodeState::Waiting,
        NodeState::Unreachable,
    ];
    check_all_kinds(&states);
    let status = |state| NodeStatus {
        node: NodeId(2),
        address: "host:7001".into(),
        state,
        incarnation: "2~0000e848".into(),
        keys: 300,
        tombstones: 4,
        context: "<1:500>".into(),
        exceptions: 1,
        log_entries: 500,
        lacks: vec![Lack {
            from: NodeId(3),
            events: 20,
        }],
        disagreeing: vec![NodeId(1)],
        checksum: Some("8fe1".into()),
    };
    let verdicts = [
        StoreVerdict::Unchecked,
        StoreVerdict::Sound,
        StoreVerdict::Damaged("a flipped bit".into()),
        StoreVerdict::Busy,
    ];
    check_all_kinds(&verdicts);
    check_all_kinds(&Space::ALL);
    let sum = |space| PartitionSum {
        space,
        partition: 7,
        known: "ab".into(),
        exceptions: 2,
        checksum: "cd".into(),
    };
    let verification = |store| NodeVerification {
        node: NodeId(2),
        state: NodeState::Up,
        partitions: Space::ALL.map(sum).into(),
        store,
    };
    let (number, store) = (300, true);
    let mut all = vec![
        StatusMessage::Ask { number },
        StatusMessage::Verify { number, store },
    ];
    all.extend(states.map(|state| StatusMessage::Answer {
        number,
        status: Box::new(status(state)),
    }));
    all.extend(verdicts.map(|store| StatusMessage::Verified {
        number,
        verification: Box::new(verification(store)),
    }));
    check_all_kinds(&all);
    all
}

/// A name of a message that says what it is and where in the list.
fn name(at: usize, text: &str) -> String {
    let word = |c: char| !c.is_ascii_alphanumeric();
    let kind = text.split(word).next().unwrap_or_default();
    format!("{at}-{kind}")
}

/// What a message of the protocol is called.
fn name_of<C, W>(at: usize, message: &NodeMessage<C, W>) -> String
where
    C: std::fmt::Debug,
    W: std::fmt::Debug,
{
    match message {
        NodeMessage::Partition { envelope, .. } => name(at, &format!("{:?}", envelope.message)),
        other => name(at, &format!("{other:?}")),
    }
}

type Named<S> = Vec<(String, WireMessage<S>)>;

/// The messages of the protocol about strings.
fn of_strings<S: StringPolicy + Frozen>(of: &str) -> Named<S> {
    let all = node_messages::<S>().into_iter().enumerate();
    let named = all.map(|(i, message)| {
        let name = format!("{of}/{}", name_of(i, &message));
        (name, WireMessage::Space(SpaceMessage::Strings(message)))
    });
    named.collect()
}

/// Those that are the same whatever strings do.
fn of_all() -> Named<Lww> {
    let types = node_messages::<Types>().into_iter().enumerate();
    let mut all: Named<Lww> = types
        .map(|(i, message)| {
            let name = format!("types/{}", name_of(i, &message));
            (name, WireMessage::Space(SpaceMessage::Types(message)))
        })
        .collect();
    for (i, standing) in standings().into_iter().enumerate() {
        let name = name(i, &format!("{standing:?}"));
        all.push((format!("standing/{name}"), WireMessage::Standing(standing)));
    }
    for (i, status) in statuses().into_iter().enumerate() {
        let name = name(i, &format!("{status:?}"));
        all.push((format!("status/{name}"), WireMessage::Status(status)));
    }
    all
}

/// A message of each space with the name of a request. Who speaks version 1 is told none.
fn with_names() -> Named<Lww> {
    let (node, number) = (NodeId(2), 300);
    let request = RequestName { node, number };
    let spaces = [of_strings::<Lww>("lww"), of_all()].map(|all| all[0].clone());
    let named = spaces.map(|(name, message)| {
        let WireMessage::Space(message) = message else {
            panic!("not of the protocol: {message:?}")
        };
        let without = WireMessage::space(message.clone(), Some(request), 1);
        assert_eq!(without, WireMessage::Space(message.clone()));
        let named = WireMessage::space(message, Some(request), VERSIONS.max);
        (format!("named/{name}"), named)
    });
    named.into()
}

fn rows<S: StringPolicy + PartialEq>(all: Named<S>) -> Vec<Row> {
    let rows = all.into_iter().map(|(name, message)| {
        let bytes = message.encode();
        assert_eq!(WireMessage::decode(&bytes), Ok(message), "{name}");
        (name, bytes.to_vec())
    });
    rows.collect()
}

#[test]
fn what_nodes_say_to_each_other_is_frozen() {
    assert_eq!(
        kinds::<SpaceMessage<Lww>>(),
        2,
        "a kind has no golden bytes"
    );
    let mut all = of_strings::<Lww>("lww");
    all.extend(of_all());
    all.extend(with_names());
    let messages: Vec<_> = all.iter().map(|(_, message)| message.clone()).collect();
    check_all_kinds(&messages);
    let mut rows_of_all = rows(all);
    rows_of_all.extend(rows(of_strings::<MultiValue>("siblings")));
    files::check("wire.txt", &rows_of_all);
}
