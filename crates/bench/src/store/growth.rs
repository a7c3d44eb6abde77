//! How the store grows with keys, nodes, copies, sizes of values, differences and partitions. No targets: what
//! counts is that a figure stays where it is, or grows no faster than its number.

use cpu_time::ThreadTime;
use replica::sim::{SimConfig, Simulation};
use replica::{Cluster, Config, Gossip, Level, NodeId};

use super::convergence::heap_of;
use super::gossip::{percentile_99, spread};
use super::nodes::{Nodes, config, encoded, wire_bytes};
use super::puts::put_all;
use super::sync::Pair;
use super::{OURS, keys, value};
use crate::alloc::{counted, heap_per};
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Unit};

const VALUE_BYTES: usize = 64;
const WRITER: NodeId = NodeId(1);
const SECOND_MS: u64 = 1_000;
/// Several sync intervals, after which logs are trimmed.
const SETTLE_MS: u64 = 5_000;

pub fn rows(report: &mut Report) {
    for n in [1_000, 10_000, 100_000, 1_000_000] {
        of_keys(report, n);
    }
    for n in [3, 10, 30, 100, 300, 1_000] {
        of_nodes(report, n);
    }
    for n in [101, 300, 1_000] {
        of_gossiping_nodes(report, n);
    }
    for copies in 3..=7 {
        of_copies(report, copies);
    }
    for bytes in [16, 1 << 10, 64 << 10, 1 << 20] {
        of_value_bytes(report, bytes);
    }
    of_differences(report);
    of_partitions(report);
    quiet(report);
}

/// A figure that is measured once.
fn once(report: &mut Report, name: &str, unit: Unit, measure: impl FnOnce() -> f64) {
    if report.wants(name) {
        let row = Row::new(name, unit).with(OURS, measure());
        report.add(&row);
    }
}

/// A time that is measured as often as the effort says.
fn often(report: &mut Report, name: &str, unit: Unit, measure: impl FnMut() -> f64) {
    if !report.wants(name) {
        return;
    }
    let mut measure = measure;
    let row = report
        .contest(Row::new(name, unit))
        .repeat(OURS, || Sample {
            nanos: measure(),
            fingerprint: 0,
        });
    report.add(&row.finish());
}

/// Processor time for each of some operations, in nanoseconds.
fn nanos_each(operations: usize, work: impl FnOnce()) -> f64 {
    let start = ThreadTime::now();
    work();
    start.elapsed().as_nanos() as f64 / operations as f64
}

fn of_keys(report: &mut Report, n: usize) {
    const OPERATIONS: usize = 1_000;
    let names = [
        format!("growth: 3 nodes with {n} keys, quorum put"),
        format!("growth: 3 nodes with {n} keys, local read"),
        format!("growth: 3 nodes with {n} keys, local write and its messages"),
    ];
    if names.iter().any(|name| report.wants(name)) {
        let mut nodes = Nodes::three_with(n, VALUE_BYTES);
        let (keys, value) = (keys(0..n), value(VALUE_BYTES));
        let step = n / OPERATIONS;
        let some = || keys.iter().step_by(step);
        often(report, &names[0], Unit::Nanoseconds, || {
            nanos_each(OPERATIONS, || {
                for key in some() {
                    nodes.put(WRITER, key, &value, Level::Quorum);
                    nodes.run();
                }
            })
        });
        often(report, &names[1], Unit::Nanoseconds, || {
            let node = nodes.node(WRITER);
            nanos_each(OPERATIONS, || {
                let found = some().filter(|key| matches!(node.read_local(key), Ok(Some(_))));
                assert_eq!(found.count(), OPERATIONS);
            })
        });
        often(report, &names[2], Unit::Nanoseconds, || {
            let nanos = nanos_each(OPERATIONS, || {
                for key in some() {
                    nodes.put(WRITER, key, &value, Level::One);
                }
            });
            nodes.run();
            nanos
        });
    }
    let name = format!("growth: 3 nodes with {n} keys, memory per key and replica");
    once(report, &name, Unit::Bytes, || heap_of(n, SETTLE_MS));
}

fn of_nodes(report: &mut Report, n: u32) {
    const PUTS: usize = 20;
    let name = format!("growth: {n} nodes that each hold every key, quorum put");
    if !report.wants(&name) {
        return;
    }
    let mut nodes = Nodes::new(config(n));
    let (keys, value) = (keys(0..PUTS), value(VALUE_BYTES));
    often(report, &name, Unit::Microseconds, || {
        let before = nodes.succeeded;
        let nanos = nanos_each(PUTS, || {
            for key in &keys {
                nodes.put(WRITER, key, &value, Level::Quorum);
                nodes.run();
            }
        });
        assert_eq!(nodes.succeeded - before, PUTS as u64);
        nanos
    });
}

fn of_gossiping_nodes(report: &mut Report, n: u32) {
    const SEEDS: u64 = 10;
    let name =
        format!("growth: {n} nodes that gossip, k = 5, 10 % loss, rounds of a write, most of 10");
    once(report, &name, Unit::Rounds, || {
        let runs: Vec<_> = (0..SEEDS).map(|seed| spread(n, seed)).collect();
        percentile_99(&runs)
    });
}

fn of_copies(report: &mut Report, copies: u32) {
    const PUTS: usize = 2_000;
    let name = format!("growth: {copies} copies of each key on 7 nodes, quorum put in a cluster");
    if !report.wants(&name) {
        return;
    }
    let cluster = Cluster::builder(7)
        .configure(|config| {
            config.partitions = 16;
            *config = config.clone().with_owners(copies);
        })
        .build()
        .expect("a valid configuration");
    let (node, keys, value) = (cluster.node(WRITER), keys(0..PUTS), value(VALUE_BYTES));
    often(report, &name, Unit::Microseconds, || {
        nanos_each(PUTS, || put_all(&node, &keys, &value))
    });
}

fn of_value_bytes(report: &mut Report, bytes: usize) {
    const PUTS: usize = 100;
    let name = format!("growth: values of {bytes} B, quorum put");
    let (keys, value) = (keys(0..PUTS), value(bytes));
    let mut nodes = Nodes::new(config(3));
    often(report, &name, Unit::Microseconds, || {
        nanos_each(PUTS, || {
            for key in &keys {
                nodes.put(WRITER, key, &value, Level::Quorum);
                nodes.run();
            }
        })
    });
    let name = format!("growth: values of {bytes} B, quorum put, each message encoded and decoded");
    often(report, &name, Unit::Microseconds, || {
        nanos_each(PUTS, || {
            for key in &keys {
                nodes.put(WRITER, key, &value, Level::Quorum);
                while let Some(mut message) = nodes.queue.pop_front() {
                    let bytes = postcard::to_allocvec(&message.envelope);
                    let decoded = postcard::from_bytes(&bytes.expect("it serialises into memory"));
                    message.envelope = decoded.expect("it was encoded");
                    nodes.deliver(message);
                }
            }
        })
    });
}

fn of_differences(report: &mut Report) {
    const KEYS: usize = 1_000_000;
    let mut pair = None;
    for missing in [1, 10, 100, 1_000, 10_000, 100_000] {
        let name = format!("growth: {missing} missing of {KEYS}, find, send and join, each");
        if report.wants(&name) {
            let pair = pair.get_or_insert_with(|| Pair::new(KEYS));
            often(report, &name, Unit::Nanoseconds, || {
                pair.timed(missing, missing).nanos
            });
        }
        let name = format!("growth: {missing} missing of {KEYS}, bytes beyond the entries");
        if report.wants(&name) {
            let pair = pair.get_or_insert_with(|| Pair::new(KEYS));
            let exchange = pair.exchange(missing);
            once(report, &name, Unit::Bytes, || {
                (exchange.bytes - exchange.entry_bytes) as f64
            });
        }
    }
}

fn of_partitions(report: &mut Report) {
    const PARTITIONS: u32 = 1_000;
    let name = "growth: memory of an empty partition at each of its owners";
    once(report, name, Unit::Bytes, || {
        heap_per(3 * PARTITIONS as usize, || {
            Cluster::builder(3)
                .configure(|config| config.partitions = PARTITIONS)
                .build()
                .expect("a valid configuration")
        })
    });
}

/// What a second costs in which nobody asks for anything.
fn quiet(report: &mut Report) {
    const SECONDS: u64 = 60;
    for (nodes, keys) in [(3, 1_000), (3, 100_000), (30, 1_000), (100, 1_000)] {
        let what = format!("growth: quiet, {nodes} nodes with {keys} keys, each node in a second");
        let names = [format!("{what}: processor time"), format!("{what}: bytes")];
        if !names.iter().any(|name| report.wants(name)) {
            continue;
        }
        let mut cluster = filled(config(nodes), keys);
        cluster.pass(SETTLE_MS, |_| ());
        let node_seconds = f64::from(nodes) * SECONDS as f64;
        let mut bytes = 0;
        let nanos = nanos_each(1, || cluster.pass(SECONDS * SECOND_MS, |_| ()));
        cluster.pass(SECONDS * SECOND_MS, |message| bytes += wire_bytes(message));
        once(report, &names[0], Unit::Microseconds, || {
            nanos / node_seconds / 1e3
        });
        once(report, &names[1], Unit::Bytes, || {
            bytes as f64 / node_seconds
        });
    }
    quiet_gossip_of_keys(report);
    for nodes in [100, 1_000] {
        let name = format!("growth: quiet, {nodes} nodes that gossip, each in a second: bytes");
        once(report, &name, Unit::Bytes, || {
            quiet_gossip(nodes, SECONDS / 10)
        });
    }
    let name = "growth: quiet, what 1000 replicas have written, as one shows it: bytes";
    once(report, name, Unit::Bytes, || {
        let mut known = crdt::CausalContext::default();
        for node in 1..=1_000 {
            known.insert(crdt::Dot::new(replica::incarnation(NodeId(node), 0, 7), 1));
        }
        encoded(&known) as f64
    });
}

fn filled(config: Config, n: usize) -> Nodes {
    let mut nodes = Nodes::new(config);
    let value = value(VALUE_BYTES);
    for key in keys(0..n) {
        nodes.put(WRITER, &key, &value, Level::One);
        nodes.run();
    }
    nodes
}

/// What keys cost nodes that gossip when nothing happens: memory, processor time and bytes.
fn quiet_gossip_of_keys(report: &mut Report) {
    const NODES: u32 = 10;
    const SECONDS: u64 = 60;
    for n in [1_000, 10_000, 100_000] {
        let what = format!("growth: quiet, {NODES} nodes that gossip, with {n} keys");
        let memory = format!("{what}: memory per key and node");
        let time = format!("{what}: each node in a second: processor time");
        let bytes = format!("{what}: each node in a second: bytes");
        if ![&memory, &time, &bytes]
            .iter()
            .any(|name| report.wants(name))
        {
            continue;
        }
        let mut config = config(NODES);
        let (fanout, peers) = (3, Vec::new());
        config.gossip = Some(Gossip { fanout, peers });
        let (keys, value) = (keys(0..n), value(VALUE_BYTES));
        let (mut nodes, heap) = counted(|| {
            let mut nodes = Nodes::new(config);
            for key in &keys {
                nodes.put(WRITER, key, &value, Level::One);
                // What a full queue of messages would hold is not the store's.
                nodes.run();
            }
            nodes.pass(4 * SETTLE_MS, |_| ());
            nodes
        });
        let held = (1..=NODES).map(|node| nodes.node(NodeId(node)).replica().map().len());
        assert!(held.into_iter().all(|held| held == n), "all hold all keys");
        let node_seconds = f64::from(NODES) * SECONDS as f64;
        let nanos = nanos_each(1, || nodes.pass(SECONDS * SECOND_MS, |_| ()));
        let mut sent = 0;
        nodes.pass(SECONDS * SECOND_MS, |message| sent += wire_bytes(message));
        once(report, &memory, Unit::Bytes, || {
            heap.live_bytes as f64 / n as f64 / f64::from(NODES)
        });
        once(report, &time, Unit::Microseconds, || {
            nanos / node_seconds / 1e3
        });
        once(report, &bytes, Unit::Bytes, || sent as f64 / node_seconds);
    }
}

/// Bytes that a node sends in a second of virtual time.
fn quiet_gossip(nodes: u32, seconds: u64) -> f64 {
    let mut node = config(nodes);
    let (fanout, peers) = (5, Vec::new());
    node.gossip = Some(Gossip { fanout, peers });
    let mut sim_config = SimConfig::new(node, 1);
    sim_config.checks_every_step = false;
    let mut simulation = Simulation::<replica::Lww>::new(sim_config);
    let before = simulation.bytes();
    simulation.run_for(seconds * SECOND_MS);
    (simulation.bytes() - before) as f64 / f64::from(nodes) / seconds as f64
}
