//! System E, the gossip store: every requirement through the public interface, on threads and in the
//! simulator.

use bytes::Bytes;
use replica::sim::{SimConfig, Simulated, Simulation};
use replica::{
    Command, Config, ConfigError, Gossip, GossipStore, Level, Lww, MultiValue, NodeId, PartitionId,
    Request, RequestError, SiblingWrite,
};
use std::time::Duration;
use system_tests::{scenario, scenarios};

const PATIENCE: Duration = Duration::from_secs(60);

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn config(nodes: u32, fanout: u32) -> Config {
    let mut config = Config::new(NodeId(1), nodes);
    let peers = Vec::new();
    config.gossip = Some(Gossip { fanout, peers });
    config.sync_interval_ms = 100;
    config
}

fn simulation<P: Simulated>(nodes: u32, fanout: u32, loss: f64, seed: u64) -> Simulation<P> {
    let mut config = SimConfig::new(config(nodes, fanout), seed);
    config.checks_every_step = nodes <= 30;
    let mut simulation = Simulation::new(config);
    simulation.network.loss = loss;
    simulation
}

fn put(simulation: &mut Simulation, node: u32, key: &str, value: &str) {
    let put = Command::put(text(key), text(value));
    let ticket = simulation.ask(NodeId(node), Request::new(put, Level::One));
    assert!(simulation.wait(ticket).is_ok(), "level One answers at once");
}

fn get(simulation: &Simulation, node: NodeId, key: &str) -> Option<Bytes> {
    let node = simulation
        .node(node)
        .and_then(|n| n.partition(PartitionId(0)));
    node.expect("up").read_local(key.as_bytes()).expect("up")
}

/// How many nodes do not hold the value yet.
fn uninformed(simulation: &Simulation, key: &str, value: &str) -> usize {
    let value = Some(text(value));
    simulation
        .node_ids()
        .filter(|n| get(simulation, *n, key) != value)
        .count()
}

/// E1, E2, E3, E6: what a node answers from its own copy, and what all hold in the end.
#[test]
fn gossip_is_the_same_on_threads_and_in_the_simulator() {
    let mut config = scenario::config(6, 20);
    let (fanout, peers) = (2, Vec::new());
    config.gossip = Some(Gossip { fanout, peers });
    for steps in scenarios::gossip() {
        scenario::play_with(&config, &steps);
    }
}

/// E1, E2, E3: 1000 nodes, five random peers each, one message in ten lost: one write is everywhere
/// within a few rounds.
#[test]
fn a_write_reaches_a_thousand_nodes_in_a_few_rounds() {
    for seed in 0..3 {
        let mut simulation = simulation(1000, 5, 0.1, seed);
        put(&mut simulation, 1 + (seed as u32 * 331) % 1000, "k", "v");
        let mut rounds = 0;
        while uninformed(&simulation, "k", "v") > 0 {
            simulation.run_for(100);
            rounds += 1;
            assert!(
                rounds <= 15,
                "seed {seed}: {} left",
                uninformed(&simulation, "k", "v")
            );
        }
        simulation.check_all();
        assert_eq!(simulation.violations(), Vec::<String>::new());
    }
}

/// E1, E3: after writes stop all nodes hold the same value of every key: the latest, and on a tie the
/// smaller; the simulator checks every step.
#[test]
fn all_nodes_end_with_the_same_values() {
    for seed in 0..20 {
        let mut simulation = simulation::<Lww>(20, 3, 0.2, seed);
        simulation.network.duplication = 0.2;
        simulation.network.max_latency_ms = 150;
        for i in 0..60_u32 {
            let node = 1 + (i * 7 + seed as u32) % 20;
            put(
                &mut simulation,
                node,
                &format!("k{}", i % 5),
                &format!("v{i}"),
            );
            simulation.run_for(u64::from(i % 4) * 10);
        }
        simulation.run_for(3_000);
        for key in ["k0", "k1", "k2", "k3", "k4"] {
            let first = get(&simulation, NodeId(1), key);
            assert!(first.is_some());
            let mut others = simulation.node_ids();
            assert!(
                others.all(|n| get(&simulation, n, key) == first),
                "seed {seed}, {key}"
            );
        }
        assert_eq!(simulation.violations(), Vec::<String>::new(), "seed {seed}");
    }
}

/// E1: timestamps of a node rise with every write and with what it hears, and on a tie the smaller value
/// wins.
#[test]
fn on_a_tie_the_smaller_value_wins() {
    let mut simulation = simulation(10, 3, 0.0, 1);
    put(&mut simulation, 1, "k", "b");
    put(&mut simulation, 2, "k", "a");
    simulation.run_for(2_000);
    assert_eq!(uninformed(&simulation, "k", "a"), 0);
    put(&mut simulation, 3, "k", "z");
    simulation.run_for(2_000);
    assert_eq!(
        uninformed(&simulation, "k", "z"),
        0,
        "a later write wins whatever its value"
    );
}

/// E1: concurrent values can be kept and looked at instead.
#[test]
fn concurrent_values_can_be_looked_at() {
    let mut simulation = simulation::<MultiValue>(30, 3, 0.1, 2);
    for (node, value) in [(1, "a"), (2, "b"), (3, "c")] {
        let put = Command::write(text("k"), SiblingWrite::Put(text(value)));
        let ticket = simulation.ask(NodeId(node), Request::new(put, Level::One));
        assert!(simulation.wait(ticket).is_ok());
    }
    simulation.run_for(3_000);
    for node in simulation.node_ids() {
        let partition = simulation.partition(node).expect("up");
        let cell = partition.cell_local(b"k").expect("up").cloned();
        let shown = MultiValue::shown(&cell.unwrap_or_default());
        assert_eq!(shown, Some(text("a,b,c")), "at {node}");
    }
    assert_eq!(simulation.violations(), Vec::<String>::new());
}

/// E4: a quiet cluster exchanges a few bytes for each peer and round, however many keys there are.
#[test]
fn a_quiet_exchange_is_a_few_bytes() {
    let mut simulation = simulation::<Lww>(30, 5, 0.0, 3);
    for i in 0..300 {
        put(&mut simulation, 1 + i % 30, &format!("key {i}"), "value");
    }
    simulation.run_for(5_000);
    let (bytes, messages) = (simulation.bytes(), simulation.messages());
    simulation.run_for(1_000);
    let (bytes, messages) = (simulation.bytes() - bytes, simulation.messages() - messages);
    assert_eq!(
        messages,
        30 * 5 * 10,
        "one probe for each peer, node and round"
    );
    assert!(
        bytes / messages <= 64,
        "{} bytes for each",
        bytes / messages
    );
}

/// E5: a node knows some potential peers only, logs are bounded by size, and tombstones stay; what is
/// written reaches all.
#[test]
fn partial_peer_lists_and_short_logs_are_enough() {
    let mut config = config(30, 2);
    config.max_log_events = 10;
    // Everyone knows three nodes; nobody knows the membership.
    let peers = vec![NodeId(1), NodeId(7), NodeId(20)];
    config.gossip = Some(Gossip { fanout: 2, peers });
    let mut simulation = Simulation::<Lww>::new(SimConfig::new(config, 4));
    simulation.network.loss = 0.1;
    for i in 0..100 {
        put(&mut simulation, 1 + (i * 11) % 30, &format!("k{i}"), "v");
    }
    let delete = Request::new(Command::delete(text("k0")), Level::One);
    let ticket = simulation.ask(NodeId(15), delete);
    assert!(simulation.wait(ticket).is_ok());
    simulation.run_for(20_000);
    for node in simulation.node_ids() {
        let status = simulation.partition(node).expect("up").status();
        assert!(status.log_events <= 10, "{}", status.log_events);
        assert_eq!((status.entries, status.tombstones), (100, 1), "at {node}");
    }
    assert_eq!(simulation.violations(), Vec::<String>::new());
}

/// E2: a node that lost its data joins again under a new identity and gets everything back.
#[test]
fn a_node_that_lost_its_data_gets_it_back() {
    let mut simulation = simulation(20, 3, 0.1, 5);
    for i in 0..50 {
        put(&mut simulation, 1 + i % 20, &format!("k{i}"), "v");
    }
    simulation.run_for(3_000);
    simulation.fail(NodeId(4));
    simulation.recover(NodeId(4));
    put(&mut simulation, 4, "k0", "after");
    simulation.run_for(3_000);
    assert!((1..50).all(|i| get(&simulation, NodeId(4), &format!("k{i}")).is_some()));
    let winner = get(&simulation, NodeId(4), "k0").expect("it was written");
    let mut all = simulation.node_ids();
    assert!(all.all(|n| get(&simulation, n, "k0") == Some(winner.clone())));
    assert_eq!(simulation.violations(), Vec::<String>::new());
}

/// E6: on real threads, with writers and readers at every node, and a node that fails meanwhile.
#[test]
fn threads_write_and_read_at_every_node() {
    let store = GossipStore::new(30, 5).expect("a valid configuration");
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = store.clone();
            scope.spawn(move || {
                for i in 0..100 {
                    let node = store.node(1 + (thread * 7 + i) % 29);
                    node.put(&format!("{thread}/{i}"), format!("{i}"))
                        .expect("up");
                    node.get("0/0").expect("up");
                }
            });
        }
        store.cluster().fail(NodeId(30));
    });
    assert_eq!(
        store.node(30).get("0/0"),
        Err(RequestError::NodeFailed(NodeId(30)))
    );
    store.cluster().recover(NodeId(30)).expect("it has failed");
    store.cluster().wait_until_settled(PATIENCE).expect("quiet");
    for node in 1..=30 {
        for thread in 0..4 {
            for i in 0..100 {
                let found = store.node(node).get(&format!("{thread}/{i}")).expect("up");
                assert_eq!(found, Some(text(&i.to_string())));
            }
        }
    }
    let store = GossipStore::<MultiValue>::with_policy(5, 2).expect("a valid configuration");
    store.node(1).put("k", "a").expect("up");
    store.cluster().wait_until_settled(PATIENCE).expect("quiet");
    assert_eq!(store.node(5).get("k"), Ok(vec![text("a")]));
}

/// E2, E6: n and k are configuration, and what a gossip store cannot do says so.
#[test]
fn what_counts_owners_is_not_offered() {
    let mut partial = config(10, 3);
    partial.replication_factor = 3;
    (partial.write_quorum, partial.read_quorum) = (2, 2);
    assert_eq!(partial.validate(), Err(ConfigError::GossipIsPartial));
    assert_eq!(config(10, 0).validate(), Err(ConfigError::Zero("fanout")));
    let store = GossipStore::new(5, 2).expect("a valid configuration");
    for level in [Level::Quorum, Level::All, Level::Linearizable] {
        let request = Request::new(Command::get(text("k")), level);
        let refused = store.cluster().node(NodeId(1)).execute(request).map(|_| ());
        assert_eq!(refused, Err(RequestError::GossipsOnly { level }));
    }
}
