//! System C, the causal store: every requirement but C6 (a transport, which comes with the network),
//! through the public interface, on threads and in the simulator.

use bytes::Bytes;
use replica::sim::{SimConfig, Simulation};
use replica::{
    CausalStore, ClockKind, Cluster, Command, Config, Guarantees, Level, MultiValue, NodeId,
    Outcome, Request, RequestError, Session, SessionError, SiblingWrite, Token,
};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use system_tests::{scenario, scenarios};

const PATIENCE: Duration = Duration::from_secs(30);

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn store(nodes: u32, owners: u32) -> CausalStore {
    CausalStore::new(nodes, owners).expect("a valid configuration")
}

fn simulation(nodes: u32, owners: u32, seed: u64) -> Simulation {
    let mut config = Config::new(NodeId(1), nodes).with_owners(owners);
    config.partitions = 4 * nodes;
    config.clock = ClockKind::Hybrid {
        drift_bound_ms: 60_000,
    };
    config.request_timeout_ms = 400;
    config.resend_ms = 20;
    config.sync_interval_ms = 100;
    Simulation::new(SimConfig::new(config, seed))
}

/// C1: keys are partitioned over 100 nodes, each on three of them; put, get and delete through any node.
#[test]
fn a_hundred_nodes_share_the_keys() {
    let store = store(100, 3);
    let mut session = store.session();
    let key = |i: u32| format!("key {i}");
    for i in 0..500 {
        session
            .put(&store.node(1 + i % 100), &key(i), format!("value {i}"))
            .expect("up");
    }
    for i in (0..500).step_by(5) {
        session
            .delete(&store.node(1 + (i * 7) % 100), &key(i))
            .expect("up");
    }
    for i in 0..500 {
        let found = session
            .get(&store.node(1 + (i * 13) % 100), &key(i))
            .expect("up");
        let expected = (i % 5 != 0).then(|| text(&format!("value {i}")));
        assert_eq!(found, expected, "{}", key(i));
    }
    store.cluster().wait_until_settled(PATIENCE).expect("quiet");
    let placement = store.cluster().placement();
    let mut holders = BTreeSet::new();
    for i in 0..500 {
        let owners: BTreeSet<NodeId> = placement
            .owners(placement.partition_of(key(i).as_bytes()))
            .into_iter()
            .collect();
        for node in store.cluster().nodes() {
            let held = node.cell_local(key(i).as_bytes()).expect("up").is_some();
            assert!(
                !held || owners.contains(&node.id()),
                "{} at {node:?}",
                key(i)
            );
            assert!(held || i % 5 == 0 || !owners.contains(&node.id()));
        }
        holders.extend(owners);
    }
    assert!(holders.len() > 90, "the keys are spread: {}", holders.len());
}

/// C1 at full size in the simulator: 100 nodes, a lossy network, requests for keys that others own.
#[test]
fn a_hundred_simulated_nodes_forward_over_a_lossy_network() {
    let mut simulation = simulation(100, 3, 11);
    simulation.network.loss = 0.05;
    let mut tickets = Vec::new();
    for i in 0..60_u32 {
        let put = Command::put(text(&format!("k{i}")), text(&format!("v{i}")));
        let request = Request::new(put, Level::Quorum);
        tickets.push(simulation.ask(NodeId(1 + (i * 17) % 100), request));
    }
    let done: Vec<bool> = tickets
        .into_iter()
        .map(|t| simulation.wait(t).is_ok())
        .collect();
    assert!(done.iter().filter(|done| **done).count() > 50);
    assert!(simulation.settle(60_000));
    for (i, _) in done.iter().enumerate().filter(|(_, done)| **done) {
        let get = Command::get(text(&format!("k{i}")));
        let ticket = simulation.ask(
            NodeId(1 + (i as u32 * 29) % 100),
            Request::new(get, Level::One),
        );
        let read = simulation.wait(ticket).expect("the network is whole");
        assert_eq!(read.value(), Some(&text(&format!("v{i}"))));
    }
    simulation.check_all();
    assert_eq!(simulation.violations(), Vec::<String>::new());
}

/// A store of three owners in which node 3 has missed the writes of `write`: what a stale node answers.
fn with_a_stale_node(write: impl FnOnce(&CausalStore)) -> CausalStore {
    let cluster = Cluster::builder(3).configure(|config| {
        config.request_timeout_ms = 300;
        config.resend_ms = 20;
        // Nothing but the requests themselves moves data.
        config.sync_interval_ms = 600_000;
    });
    let store = CausalStore::from(cluster.build().expect("a valid configuration"));
    for node in [1, 2] {
        store.cluster().cut(NodeId(node), NodeId(3));
    }
    write(&store);
    store
}

/// C2, C3, C7: what processes show too.
#[test]
fn sessions_are_the_same_on_threads_and_in_the_simulator() {
    const OFTEN_MS: u64 = 20;
    for steps in scenarios::sessions() {
        scenario::play_everywhere(3, OFTEN_MS, &steps);
    }
}

/// C2: once a client has written or read a value, its later reads through any node return it or a newer
/// one; a node that has not seen it asks others, and fails rather than go back in time.
#[test]
fn a_session_never_goes_back_in_time() {
    let mut ann = None;
    let store = with_a_stale_node(|store| {
        let mut session = store.session();
        session.put(&store.node(1), "x", "1").expect("up");
        ann = Some(session);
    });
    let mut ann = ann.expect("set");
    // Node 3 cannot hear the others: it must not answer with its own, older state.
    let refused = ann.get(&store.node(3), "x");
    assert!(
        matches!(
            refused,
            Err(SessionError::Request(RequestError::SessionUnmet {
                missing: 1,
                ..
            }))
        ),
        "{refused:?}"
    );
    let mut other = store.session_with(Guarantees::NONE);
    assert_eq!(
        other.get(&store.node(3), "x"),
        Ok(None),
        "who asks for nothing gets what is there"
    );
    store.cluster().heal();
    assert_eq!(
        ann.get(&store.node(3), "x"),
        Ok(Some(text("1"))),
        "read your writes"
    );
    // Monotonic reads: what was read at one node is not unread at another.
    store.cluster().cut(NodeId(1), NodeId(2));
    let mut writer = store.session();
    writer.put(&store.node(1), "x", "2").expect("up");
    let mut reader = store.session();
    assert_eq!(reader.get(&store.node(1), "x"), Ok(Some(text("2"))));
    assert!(
        reader
            .get(&store.node(2), "x")
            .is_ok_and(|found| found == Some(text("2")))
    );
}

/// C2, C7: a session reads absent, then is not shown the value that was deleted.
#[test]
fn absence_is_remembered_too() {
    let mut session = None;
    let store = with_a_stale_node(|store| {
        store.cluster().heal();
        let mut first = store.session();
        first.put(&store.node(1), "x", "1").expect("up");
        // All three hold it; then node 3 misses the deletion.
        let mut seen = store.resume(first.token().clone());
        assert!(seen.get(&store.node(3), "x").is_ok_and(|v| v.is_some()));
        for node in [1, 2] {
            store.cluster().cut(NodeId(node), NodeId(3));
        }
        first.delete(&store.node(1), "x").expect("up");
        let mut reader = store.session();
        assert_eq!(reader.get(&store.node(1), "x"), Ok(None));
        session = Some(reader);
    });
    let mut session = session.expect("set");
    let refused = session.get(&store.node(3), "x");
    assert!(
        matches!(
            refused,
            Err(SessionError::Request(RequestError::SessionUnmet { .. }))
        ),
        "{refused:?}"
    );
}

/// C2, C3: a session's write wins over what it has read and written, through a node whose clock lags
/// and that has seen none of it.
#[test]
fn writes_follow_reads_through_a_lagging_node() {
    for seed in 0..20 {
        let mut simulation = simulation(3, 3, seed);
        let placement = simulation.node(NodeId(1)).expect("up").placement();
        simulation.set_skew(NodeId(1), 30_000);
        simulation.set_skew(NodeId(2), -30_000);
        let mut session = Session::new(placement, Guarantees::default());
        let ask = |simulation: &mut Simulation, session: &mut Session, node, command: Command| {
            let key = command.key().clone();
            let ticket = simulation.ask(NodeId(node), session.request(command, Level::One));
            let outcome = simulation.wait(ticket).expect("up");
            session.note(&key, &outcome).expect("small");
            outcome
        };
        simulation.network.cut(NodeId(1), NodeId(2));
        let put = |value| Command::put(text("x"), text(value));
        ask(&mut simulation, &mut session, 1, put("first"));
        ask(&mut simulation, &mut session, 2, put("second"));
        simulation.network.heal();
        assert!(simulation.settle(60_000));
        for node in 1..=3 {
            let read = ask(&mut simulation, &mut session, node, Command::get(text("x")));
            assert_eq!(
                read.value(),
                Some(&text("second")),
                "seed {seed}, node {node}"
            );
        }
        assert_eq!(simulation.violations(), Vec::<String>::new());
    }
}

/// C2: a token goes through bytes to another client and carries causality across keys and partitions.
#[test]
fn a_token_hands_causality_over() {
    let store = store(10, 3);
    let mut ann = store.session();
    ann.put(&store.node(1), "photo", "beach").expect("up");
    ann.put(&store.node(2), "comment", "look at the photo")
        .expect("up");
    let bytes = ann.token().to_bytes();
    let token = Token::from_bytes(&bytes).expect("a token");
    for node in 1..=10 {
        let mut bob = store.resume(token.clone());
        assert_eq!(
            bob.get(&store.node(node), "comment"),
            Ok(Some(text("look at the photo")))
        );
        assert_eq!(bob.get(&store.node(node), "photo"), Ok(Some(text("beach"))));
    }
    assert!(Token::from_bytes(b"\xff\xff\xff\xff").is_err());
}

/// C3: of two writes the later one wins, and timestamps rise through every node though clocks differ.
#[test]
fn the_last_writer_wins_whatever_the_clocks_say() {
    let mut simulation = simulation(3, 3, 3);
    for (node, skew_ms) in [(1, 20_000), (2, -20_000), (3, 0)] {
        simulation.set_skew(NodeId(node), skew_ms);
    }
    let mut last = None;
    for i in 0..30_u32 {
        let put = Command::put(text("x"), text(&i.to_string()));
        let ticket = simulation.ask(NodeId(1 + i % 3), Request::new(put, Level::Quorum));
        let timestamp = simulation.wait(ticket).expect("up").timestamp();
        assert!(timestamp > last, "{timestamp:?} after {last:?}");
        last = timestamp;
    }
    let ticket = simulation.ask(
        NodeId(2),
        Request::new(Command::get(text("x")), Level::Quorum),
    );
    assert_eq!(
        simulation.wait(ticket).expect("up").value(),
        Some(&text("29"))
    );
}

/// C4: reads and writes go on while nodes fail, through nodes that do not own the key too.
#[test]
fn reads_and_writes_go_on_when_nodes_fail() {
    let store = store(10, 3);
    let placement = store.cluster().placement();
    let owners = placement.owners(placement.partition_of(b"x"));
    let asked = (1..=10)
        .find(|n| !owners.contains(&NodeId(*n)))
        .expect("a node without the key");
    let mut session = store.session();
    session.put(&store.node(asked), "x", "1").expect("up");
    store.cluster().fail(owners[0]);
    session
        .put(&store.node(asked), "x", "2")
        .expect("another owner takes it");
    assert_eq!(session.get(&store.node(asked), "x"), Ok(Some(text("2"))));
    store.cluster().fail(owners[1]);
    session
        .put(&store.node(asked), "x", "3")
        .expect("the last owner takes it");
    assert_eq!(session.get(&store.node(asked), "x"), Ok(Some(text("3"))));
    store.cluster().fail(owners[2]);
    let refused = session.get(&store.node(asked), "x");
    assert!(
        matches!(
            refused,
            Err(SessionError::Request(RequestError::NodeFailed(_)))
        ),
        "{refused:?}"
    );
}

/// C5: values of 1 MiB are stored, larger ones refused with the limit, and many clients work at once.
#[test]
fn large_values_and_many_clients() {
    let store = store(6, 3);
    let limit = 1 << 20;
    let mut session = store.session();
    let large = Bytes::from(vec![7; limit]);
    session
        .put(&store.node(1), "large", large.clone())
        .expect("fits");
    assert_eq!(session.get(&store.node(5), "large"), Ok(Some(large)));
    let size = limit + 1;
    let refused = session.put(&store.node(1), "larger", vec![7; size]);
    let expected = RequestError::ValueTooLarge { size, limit };
    assert_eq!(refused, Err(SessionError::Request(expected)));
    std::thread::scope(|scope| {
        for client in 0..32_u32 {
            let store = &store;
            scope.spawn(move || {
                let mut session = store.session();
                for i in 0..50 {
                    let key = format!("{client}/{i}");
                    let node = 1 + (client + i) % 6;
                    session
                        .put(&store.node(node), &key, key.clone())
                        .expect("up");
                    let found = session.get(&store.node(1 + (node + 1) % 6), &key);
                    assert_eq!(found, Ok(Some(text(&key))));
                }
            });
        }
    });
}

/// C7: with vector clocks instead of timestamps concurrent writes are kept, a session's write replaces
/// exactly what it has read, and deletion needs no tombstone.
#[test]
fn vector_clocks_instead_of_timestamps() {
    let builder = Cluster::builder(5).configure(|config| {
        config.partitions = 20;
        *config = config.clone().with_owners(3);
    });
    let cluster = builder
        .build_for::<MultiValue>()
        .expect("a valid configuration");
    let placement = cluster.placement();
    let owners = placement.owners(placement.partition_of(b"x"));
    let put = |value: &str| Command::write(text("x"), SiblingWrite::Put(text(value)));
    let values = |outcome: Outcome<crdt::MvCell<Bytes>>| match outcome {
        Outcome::Read { cell, seen, .. } => {
            let mut values: Vec<Bytes> = cell.values().cloned().collect();
            values.sort();
            (values, seen.context)
        }
        other => panic!("a read was answered with {other:?}"),
    };
    cluster.partition(&owners[..1], &owners[1..]);
    for (owner, value) in [(0, "a"), (1, "b")] {
        let request = Request::new(put(value), Level::One);
        cluster.node(owners[owner]).execute(request).expect("up");
    }
    cluster.heal();
    cluster.wait_until_settled(PATIENCE).expect("quiet");
    let read = |node: u32| {
        let request = Request::new(Command::get(text("x")), Level::Quorum);
        values(cluster.node(NodeId(node)).execute(request).expect("up"))
    };
    let (both, context) = read(1);
    assert_eq!(both, [text("a"), text("b")]);
    let write = |write, context| {
        let (key, context) = (text("x"), Some(context));
        let command = Command::Write {
            key,
            write,
            context,
        };
        let request = Request::new(command, Level::Quorum);
        cluster.node(NodeId(2)).execute(request).expect("up");
    };
    write(SiblingWrite::Put(text("c")), context.clone());
    assert_eq!(read(3).0, [text("c")]);
    // A write that had seen only the first two does not replace the third.
    write(SiblingWrite::Put(text("d")), context);
    let (both, context) = read(4);
    assert_eq!(both, [text("c"), text("d")]);
    write(SiblingWrite::Delete, context);
    assert_eq!(read(5).0, Vec::<Bytes>::new());
    cluster.wait_until_settled(PATIENCE).expect("quiet");
    let held = owners
        .iter()
        .map(|owner| cluster.node(*owner).cell_local(b"x"));
    assert!(
        held.into_iter().all(|cell| cell == Ok(None)),
        "no tombstone"
    );
}

/// C7: what a peer last showed is the hint of what it lacks: after a failure exactly that is sent, not
/// the whole store.
#[test]
fn a_node_that_comes_back_gets_what_it_missed() {
    let mut config = Config::new(NodeId(1), 3);
    config.durable = true;
    config.sync_interval_ms = 50;
    let mut simulation = Simulation::<replica::Lww>::new(SimConfig::new(config, 5));
    let put = |simulation: &mut Simulation, i: u32| {
        let put = Command::put(text(&format!("k{i}")), Bytes::from(vec![b'v'; 1_000]));
        let ticket = simulation.ask(NodeId(1), Request::new(put, Level::Quorum));
        simulation.wait(ticket).expect("a majority is up");
    };
    (0..200).for_each(|i| put(&mut simulation, i));
    assert!(simulation.settle(60_000));
    simulation.fail(NodeId(3));
    (0..5).for_each(|i| put(&mut simulation, i));
    simulation.restart(NodeId(3));
    let before = simulation.bytes();
    assert!(simulation.settle(60_000));
    let sent = simulation.bytes() - before;
    assert!(
        sent < 20_000,
        "{sent} bytes for 5 values of 1,000: the store has 200"
    );
    assert_eq!(simulation.violations(), Vec::<String>::new());
}

/// C2: sessions hold through every fault of the simulator's network.
#[test]
fn sessions_hold_over_a_bad_network() {
    let (mut answered, mut unmet) = (0, 0);
    for seed in 0..40_u64 {
        let mut simulation = simulation(5, 3, seed);
        simulation.network.loss = 0.2;
        simulation.network.duplication = 0.1;
        simulation.network.max_latency_ms = 60;
        let placement = simulation.node(NodeId(1)).expect("up").placement();
        let mut session = Session::new(placement, Guarantees::default());
        let mut floor = None;
        for i in 0..40_u64 {
            let node = NodeId(1 + ((i * 7 + seed) % 5) as u32);
            let key = text("x");
            if i % 3 == 0 {
                let put = Command::put(key.clone(), text(&i.to_string()));
                let ticket = simulation.ask(node, session.request(put, Level::One));
                if let Ok(outcome) = simulation.wait(ticket) {
                    session.note(&key, &outcome).expect("small");
                    assert!(
                        outcome.timestamp() > floor,
                        "seed {seed}: a write below what was seen"
                    );
                    floor = outcome.timestamp();
                }
                continue;
            }
            let ticket = simulation.ask(
                node,
                session
                    .request(Command::get(key.clone()), Level::One)
                    .within(60),
            );
            match simulation.wait(ticket) {
                Ok(outcome) => {
                    session.note(&key, &outcome).expect("small");
                    assert!(
                        outcome.timestamp() >= floor,
                        "seed {seed}: a read went back in time"
                    );
                    floor = outcome.timestamp();
                    answered += 1;
                }
                Err(RequestError::SessionUnmet { .. }) => unmet += 1,
                Err(_) => {}
            }
        }
        assert_eq!(simulation.violations(), Vec::<String>::new(), "seed {seed}");
    }
    assert!(
        answered > 500 && unmet > 0,
        "{answered} answered, {unmet} refused"
    );
}

/// C5: a request says how long it may take, and is answered by then.
#[test]
fn deadlines_are_kept() {
    let store = with_a_stale_node(|_| {});
    let put = Command::put(text("x"), text("1"));
    store
        .cluster()
        .node(NodeId(1))
        .execute(Request::new(put, Level::Quorum))
        .expect("two are up");
    store.cluster().cut(NodeId(2), NodeId(1));
    store.cluster().cut(NodeId(3), NodeId(1));
    let start = Instant::now();
    let get = Request::new(Command::get(text("x")), Level::Quorum).within(50);
    let refused = store.cluster().node(NodeId(1)).execute(get).map(|_| ());
    assert!(
        matches!(refused, Err(RequestError::Deadline { .. })),
        "{refused:?}"
    );
    assert!(start.elapsed() < PATIENCE);
}

/// C2: a session that goes on through failures, with all keys and nodes, is left with a token that asks for nothing once
/// all is quiet: neither for what every owner has nor for what the dead have written.
#[test]
fn the_token_of_a_long_session_stays_small() {
    let builder = Cluster::builder(5).configure(|config| {
        config.partitions = 20;
        config.sync_interval_ms = 20;
        *config = config.clone().with_owners(3);
    });
    let store = CausalStore::from(builder.build().expect("a valid configuration"));
    // What a level-one write leaves with one node alone is lost with it, and that is another test's.
    let mut session = store.session().at(Level::Quorum);
    let key = |i: u32| format!("key {}", i % 200);
    for round in 0..10_u32 {
        for i in 0..200 {
            let node = store.node(1 + (i + round) % 5);
            session.put(&node, &key(i), format!("{round}")).expect("up");
        }
        let lost = 1 + round % 5;
        store.cluster().fail(NodeId(lost));
        let other = store.node(1 + (round + 1) % 5);
        let found = session.get(&other, &key(round)).expect("a majority is up");
        assert_eq!(found, Some(text(&format!("{round}"))));
        store.cluster().recover(NodeId(lost)).expect("sources");
        store
            .cluster()
            .wait_until_up(NodeId(lost), PATIENCE)
            .expect("it catches up");
    }
    let deadline = Instant::now() + PATIENCE;
    while session.token().range_count() > 0 {
        let left = session.token().range_count();
        assert!(Instant::now() < deadline, "{left} ranges are left");
        for i in 0..200 {
            session.get(&store.node(1 + i % 5), &key(i)).expect("up");
        }
    }
    // Times stay, and nothing else.
    assert!(session.token().to_bytes().len() < 24);
    let last = session.get(&store.node(2), &key(7)).expect("up");
    assert_eq!(last, Some(text("9")));
}

/// C2: the limit of a token is asked about before an operation. What has succeeded is not reported as failed.
#[test]
fn a_full_token_refuses_before_it_asks() {
    let store = with_a_stale_node(|_| {});
    let mut session = store.session().with_max_ranges(0);
    assert_eq!(session.put(&store.node(1), "x", "1"), Ok(()), "it is done");
    assert_eq!(session.token().range_count(), 1);
    let refused = session.put(&store.node(1), "x", "2");
    assert!(
        matches!(refused, Err(SessionError::Token(full)) if (full.ranges, full.limit) == (1, 0)),
        "{refused:?}"
    );
    assert!(session.get(&store.node(1), "x").is_err());
    let mut other = store.session();
    assert_eq!(
        other.get(&store.node(1), "x"),
        Ok(Some(text("1"))),
        "nothing was asked"
    );
}

/// C2: a token that is full is relieved of what every owner has by now, whichever partitions it is in.
#[test]
fn a_full_token_is_relieved_when_the_owners_have_caught_up() {
    let builder = Cluster::builder(3).configure(|config| {
        config.partitions = 8;
        config.sync_interval_ms = 20;
    });
    let store = CausalStore::from(builder.build().expect("a valid configuration"));
    let mut session = store.session().with_max_ranges(0);
    assert_eq!(session.put(&store.node(1), "x", "1"), Ok(()));
    let deadline = Instant::now() + PATIENCE;
    // Of another key, so that no answer says anything about the partition of the first.
    while session.get(&store.node(2), "y").is_err() {
        assert!(Instant::now() < deadline, "{:?}", session.token());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// C2: what is lost for good is said, and the session goes on without it.
#[test]
fn a_session_goes_on_without_what_is_lost() {
    let builder = Cluster::builder(3).configure(|config| {
        config.request_timeout_ms = 300;
        config.resend_ms = 20;
        config.sync_interval_ms = 20;
    });
    let store = CausalStore::from(builder.build().expect("a valid configuration"));
    for node in [1, 2] {
        store.cluster().cut(NodeId(3), NodeId(node));
    }
    let mut session = store.session();
    session.put(&store.node(3), "x", "alone").expect("up");
    store.cluster().fail(NodeId(3));
    store.cluster().heal();
    store.cluster().recover(NodeId(3)).expect("sources");
    let deadline = Instant::now() + PATIENCE;
    let (partition, lost) = loop {
        match session.get(&store.node(1), "x") {
            Err(SessionError::Request(RequestError::SessionLost { partition, lost })) => {
                break (partition, lost);
            }
            other => assert!(
                matches!(other, Err(SessionError::Request(_))) && Instant::now() < deadline,
                "{other:?}"
            ),
        }
    };
    assert_eq!(lost.event_count(), 1);
    session.prune(partition, &lost);
    assert_eq!(session.get(&store.node(1), "x"), Ok(None));
    assert_eq!(session.put(&store.node(2), "x", "again"), Ok(()));
    assert_eq!(session.get(&store.node(3), "x"), Ok(Some(text("again"))));
}

/// C2: a session that is handed a token chooses its guarantees, its level and how long it waits.
#[test]
fn who_takes_a_token_over_chooses_what_it_asks_for() {
    let mut token = None;
    let store = with_a_stale_node(|store| {
        let mut session = store.session();
        session.put(&store.node(1), "x", "1").expect("up");
        token = Some(session.token().clone());
    });
    let token = token.expect("set");
    let mut careless = store.resume_with(token.clone(), Guarantees::NONE);
    assert_eq!(
        careless.get(&store.node(3), "x"),
        Ok(None),
        "stale, as asked"
    );
    let mut careful = store.resume(token.clone());
    let unmet = careful.get(&store.node(3), "x");
    assert!(
        matches!(
            unmet,
            Err(SessionError::Request(RequestError::SessionUnmet { .. }))
        ),
        "{unmet:?}"
    );
    // At level `Quorum` too few have answered, whatever the session has seen.
    let quorum = store.resume_with(token, Guarantees::NONE).at(Level::Quorum);
    let mut quorum = quorum.within(Duration::from_millis(50));
    let start = Instant::now();
    let refused = quorum.get(&store.node(3), "x");
    assert!(
        matches!(refused, Err(SessionError::Request(_))),
        "{refused:?}"
    );
    assert!(start.elapsed() < PATIENCE);
    store.cluster().heal();
    assert_eq!(quorum.get(&store.node(3), "x"), Ok(Some(text("1"))));
}
