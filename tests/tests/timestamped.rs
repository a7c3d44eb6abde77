//! System B, the timestamped store: every requirement through the public interface, on threads and in
//! the simulator. B8 needs a disk, and is tested with the network.

use bytes::Bytes;
use crdt::{HybridClock, Timestamp};
use replica::{
    ClockKind, ClusterError, Command, Config, ConfigError, Level, NodeId, Outcome, ReadMode,
    Request, RequestError, TimestampedStore,
};
use std::time::Duration;
use system_tests::{scenario, scenarios};

const PATIENCE: Duration = Duration::from_secs(30);

fn store(nodes: u32, owners: u32) -> TimestampedStore {
    TimestampedStore::new(nodes, Some(owners)).expect("a valid configuration")
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// B2, B3, B4, B10: the highest timestamp wins whatever the order; a value wins a tie against a
/// deletion, and of two values the smaller one; threads and simulator agree, and so do processes.
#[test]
fn timestamps_decide_whatever_the_order_on_threads_and_in_the_simulator() {
    for steps in scenarios::timestamps() {
        scenario::play_with(&callers(3, 20), &steps);
    }
}

fn callers(nodes: u32, sync_interval_ms: u64) -> Config {
    let mut config = scenario::config(nodes, sync_interval_ms);
    config.clock = ClockKind::Caller;
    config
}

/// B5, B10: a node that fails and comes back without its data.
#[test]
fn timestamps_survive_a_failure_on_threads_and_in_the_simulator() {
    scenario::play_with(&callers(3, 20), &scenarios::timestamps_and_a_failure());
}

/// B10: a network that is parted, with and without the nodes knowing it.
#[test]
fn timestamps_decide_on_two_sides_on_threads_and_in_the_simulator() {
    scenario::play_with(&callers(5, 20), &scenarios::timestamps_on_two_sides());
}

/// B2, B5: an even number of nodes, half of which acknowledge a write.
#[test]
fn half_the_nodes_are_enough_on_threads_and_in_the_simulator() {
    let mut config = callers(4, 20);
    (config.write_quorum, config.read_quorum) = (2, 3);
    scenario::play_with(&config, &scenarios::timestamps_of_half_the_nodes());
}

/// B10: tombstones that are forgotten behind a horizon.
#[test]
fn a_horizon_holds_on_threads_and_in_the_simulator() {
    scenario::play_with(&callers(3, 20), &scenarios::timestamps_behind_a_horizon());
}

/// B1, B11: N and K are set at the start, K defaults to a majority, and what cannot work says why.
#[test]
fn each_key_is_on_k_of_n_nodes() {
    let store = TimestampedStore::new(7, None).expect("a valid configuration");
    let placement = store.cluster().placement();
    for key in ["a", "b", "c", "d"] {
        assert!(store.node(1).put(key, "v", 1));
        let owners = placement.owners(placement.partition_of(key.as_bytes()));
        assert_eq!(owners.len(), 4, "(7 + 1) / 2");
        store.cluster().wait_until_settled(PATIENCE).expect("quiet");
        for node in store.cluster().nodes() {
            let held = node.read_local(key.as_bytes()).expect("up");
            assert_eq!(
                held.is_some(),
                owners.contains(&node.id()),
                "{key} at {node:?}"
            );
        }
        for node in 1..=7 {
            assert_eq!(store.node(node).get(key).as_deref(), Some("v"));
        }
    }
    let too_many = TimestampedStore::new(3, Some(4)).map(|_| ());
    let (owners, nodes) = (4, 3);
    let expected = ConfigError::ReplicationFactor { owners, nodes };
    assert_eq!(too_many, Err(ClusterError::Config(expected)));
}

/// B2: an older timestamp changes nothing, and is acknowledged because something newer is held.
#[test]
fn an_older_write_is_acknowledged_and_ignored() {
    let store = store(3, 3);
    assert!(store.node(1).put("k", "new", 100));
    let ignored = store.node(2).try_put("k", "old", 99).expect("acknowledged");
    let Outcome::Written {
        took_effect,
        acknowledged,
        timestamp,
        ..
    } = ignored
    else {
        panic!("a write was answered with {ignored:?}");
    };
    assert!(!took_effect && acknowledged >= 2, "{acknowledged}");
    assert_eq!(timestamp, Timestamp(100), "what is held instead");
}

/// B2: W is (K + 1) / 2 and R is K - W + 1, also for an even K.
#[test]
fn quorums_meet_for_even_and_odd_k() {
    for (k, w, r) in [
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 2),
        (4, 2, 3),
        (5, 3, 3),
        (6, 3, 4),
    ] {
        let store = store(7, k);
        let outcome = store.node(1).try_put("k", "v", 1).expect("all are up");
        let Outcome::Written { acknowledged, .. } = outcome else {
            panic!("a write was answered with {outcome:?}");
        };
        assert!(acknowledged >= w, "K = {k}");
        let get = Request::new(Command::get(text("k")), Level::Quorum);
        let read = store
            .cluster()
            .node(NodeId(1))
            .execute(get)
            .expect("all are up");
        assert!(
            matches!(read, Outcome::Read { owners, .. } if owners >= r),
            "K = {k}"
        );
        assert_eq!(store.node(2).get("k").as_deref(), Some("v"));
    }
}

/// B5: it works while a majority of a key's nodes are up, through any node, and says when it does not.
#[test]
fn a_majority_of_a_keys_nodes_is_enough() {
    let store = store(5, 3);
    assert!(store.node(1).put("k", "v1", 1));
    let placement = store.cluster().placement();
    let owners = placement.owners(placement.partition_of(b"k"));
    let asked = (1..=5)
        .find(|n| !owners.contains(&NodeId(*n)))
        .expect("a node without the key");
    store.cluster().fail(owners[0]);
    assert!(store.node(asked).put("k", "v2", 2));
    assert_eq!(store.node(asked).get("k").as_deref(), Some("v2"));
    store.cluster().fail(owners[1]);
    assert!(!store.node(asked).put("k", "v3", 3));
    assert!(matches!(
        store.node(asked).try_get("k"),
        Err(RequestError::NoMajority { .. })
    ));
    assert!(matches!(
        store.node(owners[0].0).try_get("k"),
        Err(RequestError::NodeFailed(_))
    ));
}

/// B6: after quiet all of a key's nodes hold the same, whatever came in which order, under concurrent
/// writers.
#[test]
fn concurrent_writers_converge() {
    let store = store(5, 3);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let store = &store;
            scope.spawn(move || {
                for i in 0..200_u64 {
                    let timestamp = (i * 7919 + thread * 104_729) % 1000;
                    let node = store.node(1 + ((i + thread) % 5) as u32);
                    let key = format!("k{}", i % 20);
                    let done = match i % 5 {
                        0 => node.delete(&key, timestamp),
                        _ => node.put(&key, &format!("{thread}-{i}"), timestamp),
                    };
                    assert!(done);
                }
            });
        }
    });
    store.cluster().wait_until_settled(PATIENCE).expect("quiet");
    let placement = store.cluster().placement();
    for key in (0..20).map(|i| format!("k{i}")) {
        let owners = placement.owners(placement.partition_of(key.as_bytes()));
        let held = |owner: &NodeId| store.cluster().node(*owner).cell_local(key.as_bytes());
        let all: Vec<_> = owners.iter().map(held).collect();
        assert!(
            all.iter().all(|cell| *cell == all[0] && cell.is_ok()),
            "{key}: {all:?}"
        );
    }
}

/// B7: in the read-optimised mode a read sees every acknowledged write and asks one owner only; the
/// price is a write that needs all of them.
#[test]
fn reads_can_be_made_cheap_at_the_cost_of_writes() {
    let store = TimestampedStore::with_mode(5, Some(3), ReadMode::ReadOptimised);
    let store = store.expect("a valid configuration");
    assert!(store.node(1).put("k", "v", 1));
    let placement = store.cluster().placement();
    let owners = placement.owners(placement.partition_of(b"k"));
    for owner in &owners {
        let read = store.cluster().node(*owner).read_local(b"k");
        assert_eq!(
            read,
            Ok(Some(text("v"))),
            "on {owner} before anything else has happened"
        );
        assert_eq!(store.node(owner.0).get("k").as_deref(), Some("v"));
    }
    store.cluster().fail(owners[2]);
    assert!(
        !store.node(owners[0].0).put("k", "w", 2),
        "all three are needed"
    );
    assert!(store.node(owners[1].0).get("k").is_some(), "reads go on");
}

/// B9: timestamps are unique and rise on each node, whatever its clock does, and a peer's clock that is
/// far ahead is refused and changes nothing.
#[test]
fn generated_timestamps_are_unique_and_rise() {
    let mut clocks: Vec<HybridClock> = (1..=3)
        .map(|slot| HybridClock::new(slot, 1_000).expect("a slot"))
        .collect();
    let mut all = std::collections::BTreeSet::new();
    let start_ms = 1_800_000_000_000;
    for round in 0..2_000_u64 {
        for (i, clock) in clocks.iter_mut().enumerate() {
            // One of them steps back by a minute half way.
            let back = if i == 1 && round > 1_000 { 60_000 } else { 0 };
            let before = clock.last();
            let time = clock
                .tick(start_ms + round / 100 - back)
                .expect("never an error");
            assert!(time > before && all.insert(time));
        }
    }
    let (ahead, before) = (Timestamp(u64::MAX), clocks[0].last());
    assert!(clocks[0].observe(ahead, start_ms).is_err());
    assert_eq!(clocks[0].last(), before);
}

/// B10: a node that lost its data comes back with all that was acknowledged, and nothing deleted.
#[test]
fn a_failed_node_recovers() {
    let store = store(3, 3);
    for i in 0..100 {
        assert!(store.node(1).put(&format!("k{i}"), "v", 10));
    }
    store.cluster().fail(NodeId(3));
    for i in 0..50 {
        assert!(store.node(2).delete(&format!("k{i}"), 11));
    }
    store.cluster().recover(NodeId(3)).expect("enough sources");
    store
        .cluster()
        .wait_until_up(NodeId(3), PATIENCE)
        .expect("it recovers");
    store.cluster().fail(NodeId(1));
    for i in 0..100 {
        assert_eq!(store.node(3).get(&format!("k{i}")).is_some(), i >= 50);
    }
}

/// B10: each side of a partition behaves as documented, and healing converges by timestamps: what a minority refuses
/// never takes effect, whatever its timestamp, and what one node takes alone wins if its timestamp is higher.
#[test]
fn a_partition_heals_by_timestamps() {
    for (time_alone, alone_wins) in [(19, false), (21, true)] {
        let store = store(5, 5);
        assert!(store.node(1).put("k", "before", 1));
        let (few, many) = ([NodeId(1), NodeId(2)], [NodeId(3), NodeId(4), NodeId(5)]);
        store.cluster().partition(&few, &many);
        // The nodes are told who cannot be reached, so nothing is begun.
        let refused = store.node(1).try_put("k", "minority", 30);
        assert!(
            matches!(&refused, Err(error @ RequestError::NoMajority { .. }) if !error.may_take_effect()),
            "{refused:?}"
        );
        assert!(matches!(
            store.node(2).try_get("k"),
            Err(RequestError::NoMajority { .. })
        ));
        assert!(store.node(3).put("k", "majority", 20));
        assert_eq!(store.node(4).get("k").as_deref(), Some("majority"));
        let put = Command::put(text("k"), text("alone")).at(Timestamp(time_alone));
        let node = store.cluster().node(NodeId(2));
        node.execute(Request::new(put, Level::One)).expect("up");
        store.cluster().heal();
        store.cluster().wait_until_settled(PATIENCE).expect("quiet");
        let winner = if alone_wins { "alone" } else { "majority" };
        for node in 1..=5 {
            let found = store.node(node).get("k");
            assert_eq!(found.as_deref(), Some(winner), "at node {node}");
        }
    }
}

/// B10: tombstones stay unless a horizon is set; below it writes are refused, so that nothing deleted
/// comes back when they go.
#[test]
fn tombstones_go_only_behind_a_horizon() {
    let store = store(3, 3);
    assert!(store.node(1).put("k", "v", 10) && store.node(1).delete("k", 20));
    store.cluster().wait_until_settled(PATIENCE).expect("quiet");
    let tombstones = |node| {
        store.cluster().status(NodeId(node)).map_or(0, |s| {
            let statuses = store.cluster().statuses(s.node).unwrap_or_default();
            statuses.iter().map(|s| s.tombstones).sum::<usize>()
        })
    };
    assert_eq!([1, 2, 3].map(tombstones), [1, 1, 1]);
    assert!(
        store.node(2).put("k", "late", 15),
        "ignored: the tombstone is later"
    );
    assert_eq!(store.node(3).get("k"), None);
    store.raise_horizon(50);
    let deadline = std::time::Instant::now() + PATIENCE;
    while [1, 2, 3].map(tombstones) != [0, 0, 0] {
        assert!(
            std::time::Instant::now() < deadline,
            "{:?}",
            [1, 2, 3].map(tombstones)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let refused = store.node(2).try_put("k", "late", 15);
    let (timestamp, horizon) = (Timestamp(15), Timestamp(50));
    let expected = RequestError::TimestampBelowHorizon { timestamp, horizon };
    assert_eq!(refused.map(|_| ()), Err(expected));
    assert!(store.node(2).put("k", "new", 51));
    assert_eq!(store.node(3).get("k").as_deref(), Some("new"));
}

/// B2, B9: a store that gives its own timestamps refuses the caller's, and the other way round.
#[test]
fn timestamps_come_from_one_side_only() {
    let store = store(3, 3);
    let execute = |command| {
        let request = Request::new(command, Level::Quorum);
        store.cluster().node(NodeId(1)).execute(request).map(|_| ())
    };
    let without = execute(Command::put(text("k"), text("v")));
    assert_eq!(without, Err(RequestError::TimestampNeeded));
    let other = replica::Cluster::new(3).expect("a valid configuration");
    let put = Command::put(text("k"), text("v")).at(Timestamp(1));
    let with = other
        .node(NodeId(1))
        .execute(Request::new(put, Level::Quorum));
    assert_eq!(with.map(|_| ()), Err(RequestError::TimestampNotTaken));
}
