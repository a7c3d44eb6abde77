//! The in-process cluster under `shuttle`, which draws the order in which its threads run. Only with
//! `--cfg shuttle`; CONTRIBUTING.md has the command.
//!
//! The clock stands still, so nothing is made good by a timeout: a message that nobody delivers, or an
//! answer that nobody brings, leaves all threads waiting, and that is reported. `SHUTTLE_ITERATIONS` sets how
//! many orders of each scenario and each kind are drawn. A failure prints the order; put it into a call of
//! `shuttle::replay` to see it again.

#![cfg(shuttle)]
#![expect(
    clippy::disallowed_methods,
    reason = "the environment says how long the search is"
)]

use bytes::Bytes;
use replica::{
    Cluster, Command, Level, NodeHandle, NodeId, Outcome, Request, RequestError, SubscriptionError,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, MaxSteps, Runner, thread};
use std::time::Duration;

/// Orders of each scenario and each kind, unless the environment says otherwise.
const ITERATIONS: usize = 2_000;

/// Points of an order at which the scheduler of the kind PCT changes its mind.
const DEPTH: usize = 4;

/// Runs a scenario in random orders, and in orders with few changes of mind.
fn explore(scenario: fn()) {
    let iterations = std::env::var("SHUTTLE_ITERATIONS").ok();
    let iterations = iterations.map_or(ITERATIONS, |n| n.parse().expect("a number"));
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = MaxSteps::FailAfter(1_000_000);
    Runner::new(RandomScheduler::new(iterations), config.clone()).run(scenario);
    Runner::new(PctScheduler::new(DEPTH, iterations), config).run(scenario);
}

fn cluster() -> Cluster {
    let cluster = Cluster::builder(3).seed(7).build();
    cluster.expect("a valid configuration")
}

fn put(node: &NodeHandle, key: &'static str, value: &'static str) -> Result<Outcome, RequestError> {
    let put = Command::put(key.into(), value.into());
    node.execute(Request::new(put, Level::Quorum))
}

fn get(node: &NodeHandle, key: &'static str) -> Option<Bytes> {
    let get = Request::new(Command::get(key.into()), Level::Quorum);
    let read = node.execute(get).expect("all nodes are up");
    read.value().cloned()
}

#[test]
fn two_writers_and_a_reader_are_all_answered_and_the_reader_never_goes_back() {
    explore(|| {
        let cluster = cluster();
        let writers = [(1, "one"), (2, "two")].map(|(node, value)| {
            let node = cluster.node(NodeId(node));
            thread::spawn(move || assert!(put(&node, "k", value).is_ok()))
        });
        let node = cluster.node(NodeId(3));
        let reader = thread::spawn(move || {
            let first = get(&node, "k");
            (first, get(&node, "k"))
        });
        for writer in writers {
            writer.join().expect("its write succeeds");
        }
        let (first, second) = reader.join().expect("its reads succeed");
        assert!(
            first.is_none() || second.is_some(),
            "{first:?} then {second:?}"
        );
        let end = get(&cluster.node(NodeId(3)), "k");
        assert!(
            end == Some("one".into()) || end == Some("two".into()),
            "{end:?}"
        );
        for node in cluster.nodes() {
            assert_eq!(get(&node, "k"), end, "at {node:?}");
        }
    });
}

#[test]
fn writes_are_answered_while_a_node_fails_and_comes_back_and_none_that_succeeded_is_lost() {
    explore(|| {
        let cluster = cluster();
        let writers = [(1, "a"), (2, "b")].map(|(node, key)| {
            let node = cluster.node(NodeId(node));
            thread::spawn(move || put(&node, key, "v").is_ok())
        });
        cluster.fail(NodeId(3));
        assert_eq!(cluster.recover(NodeId(3)), Ok(()));
        let written = writers.map(|writer| writer.join().expect("it is answered"));
        assert_eq!(written, [true; 2], "two of three nodes stay up");
        for key in ["a", "b"] {
            assert_eq!(get(&cluster.node(NodeId(1)), key), Some("v".into()));
        }
    });
}

#[test]
fn a_write_through_a_node_that_fails_is_answered() {
    explore(|| {
        let cluster = cluster();
        let node = cluster.node(NodeId(3));
        let writer = thread::spawn(move || put(&node, "k", "v"));
        cluster.fail(NodeId(3));
        let written = writer.join().expect("it is answered");
        let read = get(&cluster.node(NodeId(1)), "k");
        assert!(written.is_err() || read.is_some(), "{written:?}, {read:?}");
    });
}

/// One direction of a link is cut, and nobody is told, while two nodes write; each still has a majority.
#[test]
fn writes_are_answered_beside_a_cut_and_what_was_acknowledged_is_read_when_it_is_mended() {
    explore(|| {
        let cluster = cluster();
        let writers = [(1, "a"), (2, "b")].map(|(node, key)| {
            let node = cluster.node(NodeId(node));
            thread::spawn(move || put(&node, key, "v").is_ok())
        });
        cluster.cut(NodeId(1), NodeId(3));
        let written = writers.map(|writer| writer.join().expect("it is answered"));
        assert_eq!(written, [true; 2], "two of three nodes hear each other");
        cluster.heal();
        for node in cluster.nodes() {
            for key in ["a", "b"] {
                assert_eq!(get(&node, key), Some("v".into()), "{key} at {node:?}");
            }
        }
    });
}

/// The network is parted and mended, and the nodes are told each time, while nodes on both sides write.
#[test]
fn writes_are_answered_on_both_sides_of_a_partition_that_is_mended() {
    explore(|| {
        let cluster = cluster();
        let writers = [(1, "a"), (2, "b")].map(|(node, key)| {
            let node = cluster.node(NodeId(node));
            thread::spawn(move || put(&node, key, "v"))
        });
        cluster.partition(&[NodeId(1)], &[NodeId(2), NodeId(3)]);
        cluster.heal();
        let written = writers.map(|writer| writer.join().expect("it is answered"));
        assert!(written[1].is_ok(), "2 and 3 always hear each other");
        for (key, written) in ["a", "b"].into_iter().zip(&written) {
            for node in cluster.nodes() {
                let read = get(&node, key);
                assert!(written.is_err() || read.is_some(), "{key} at {node:?}");
            }
        }
    });
}

/// Messages take time, though no moment passes: they all go through the thread in the background.
#[test]
fn messages_that_take_time_are_all_delivered() {
    explore(|| {
        let range = Duration::ZERO..=Duration::ZERO;
        let cluster = Cluster::builder(3).seed(7).latency(range, 7).build();
        let cluster = cluster.expect("a valid configuration");
        let writers = [(1, "one"), (2, "two")].map(|(node, value)| {
            let node = cluster.node(NodeId(node));
            thread::spawn(move || assert!(put(&node, "k", value).is_ok()))
        });
        for writer in writers {
            writer.join().expect("its write succeeds");
        }
        let end = get(&cluster.node(NodeId(3)), "k");
        assert!(
            end == Some("one".into()) || end == Some("two".into()),
            "{end:?}"
        );
        assert_eq!(get(&cluster.node(NodeId(1)), "k"), end);
    });
}

/// A node that owns nothing asks the owners one after the other, the first of which fails meanwhile.
#[test]
fn a_forwarded_request_is_answered_while_the_owner_that_was_asked_fails() {
    explore(|| {
        let cluster = Cluster::builder(4).configure(|config| {
            *config = config.clone().with_owners(3);
        });
        let cluster = cluster.seed(7).build().expect("a valid configuration");
        let placement = cluster.placement();
        let owners = placement.owners(placement.partition_of(b"k"));
        let mut nodes = cluster.nodes();
        let asked = nodes.find(|node| !owners.contains(&node.id()));
        let asked = asked.expect("one node owns nothing");
        let reader = asked.clone();
        let writer = thread::spawn(move || put(&asked, "k", "v"));
        cluster.fail(owners[0]);
        let written = writer.join().expect("it is answered");
        assert!(written.is_ok() || is_undecided(&written), "{written:?}");
        let read = get(&reader, "k");
        assert!(written.is_err() || read.is_some(), "{written:?}, {read:?}");
    });
}

/// Whether a write failed and may take effect all the same.
const fn is_undecided(written: &Result<Outcome, RequestError>) -> bool {
    match written {
        Err(error) => error.may_take_effect(),
        Ok(_) => false,
    }
}

#[test]
fn a_subscriber_hears_of_every_write_and_can_read_it() {
    explore(|| {
        let cluster = cluster();
        let watched = cluster.node(NodeId(2));
        let mut subscription = watched.subscribe_within("", 1);
        let writers = [(1, "a"), (2, "b")].map(|(node, key)| {
            let node = cluster.node(NodeId(node));
            let put = Request::new(Command::put(key.into(), "v".into()), Level::All);
            thread::spawn(move || assert!(node.execute(put).is_ok()))
        });
        let mut missing = vec!["a", "b"];
        while !missing.is_empty() {
            match subscription.next(Duration::from_secs(1)) {
                Ok(Some(key)) => {
                    assert_eq!(watched.read_local(&key), Ok(Some("v".into())));
                    missing.retain(|m| *m != key);
                }
                Err(SubscriptionError::Lagged { .. }) => {
                    missing.retain(|m| watched.read_local(m.as_bytes()) == Ok(None));
                }
                other => panic!("{other:?}"),
            }
        }
        for writer in writers {
            writer.join().expect("its write succeeds");
        }
    });
}
