//! What needs a look behind the public interface.

use super::engine::Work;
use super::waiting::{Place, Waiting};
use super::*;
use crate::{Command, Level, PartitionId, RequestId};

fn put(key: &'static str, value: &'static str) -> Command {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    Command::put(bytes(key), bytes(value))
}

fn cluster(nodes: u32) -> Cluster {
    Cluster::new(nodes).expect("a valid configuration")
}

/// A6: a node whose lock is held all the time holds up nobody; what it missed waits for it.
#[test]
fn a_busy_node_is_not_waited_for_and_gets_its_messages_later() {
    let cluster = cluster(3);
    let engine = &cluster.inner.engine;
    let busy = engine.cell(NodeId(3), PartitionId(0)).expect("an owner");
    let guard = busy.enter();
    for (node, key) in [(1, "a"), (2, "b"), (1, "c")] {
        let done = cluster
            .node(NodeId(node))
            .execute(Request::new(put(key, "x"), Level::Quorum));
        let acknowledged = |o: &Outcome| {
            matches!(
                o,
                Outcome::Written {
                    acknowledged: 2,
                    ..
                }
            )
        };
        assert!(done.as_ref().is_ok_and(acknowledged), "{done:?}");
        let get = Command::get(key.into());
        assert!(
            cluster
                .node(NodeId(2))
                .execute(Request::new(get, Level::Quorum))
                .is_ok()
        );
    }
    assert!(
        guard
            .partition
            .as_ref()
            .is_some_and(|p| p.replica().map().is_empty())
    );
    let mut work = Work::default();
    engine.release(busy, guard, &mut work);
    engine.run(&mut work);
    for key in ["a", "b", "c"] {
        let held = cluster.node(NodeId(3)).read_local(key.as_bytes());
        assert_eq!(held, Ok(Some("x".into())));
    }
}

#[test]
fn a_panic_fails_the_node_it_happened_in_and_no_other() {
    let cluster = cluster(3);
    let (one, three) = (cluster.node(NodeId(1)), cluster.node(NodeId(3)));
    assert!(
        three
            .execute(Request::new(put("a", "x"), Level::Quorum))
            .is_ok()
    );
    std::thread::scope(|scope| {
        let panics = scope.spawn(|| {
            let cell = cluster.inner.engine.cell(NodeId(3), PartitionId(0));
            let _guard = cell.expect("an owner").enter();
            std::panic::resume_unwind(Box::new("a planted panic"));
        });
        assert!(panics.join().is_err());
    });
    let failed = Err(RequestError::NodeFailed(NodeId(3)));
    assert_eq!(
        three.execute(Request::new(put("b", "x"), Level::Quorum)),
        failed
    );
    assert!(
        one.execute(Request::new(put("b", "y"), Level::Quorum))
            .is_ok()
    );
    assert_eq!(cluster.recover(NodeId(3)), Ok(()));
    let up = cluster.wait_until_up(NodeId(3), Duration::from_secs(20));
    assert_eq!(up, Ok(()));
    assert_eq!(three.read_local(b"b"), Ok(Some("y".into())));
}

#[test]
fn an_answer_and_its_waiter_may_come_in_either_order() {
    let waiting = Waiting::<crate::StoredCell>::default();
    let answer = || Err(RequestError::NodeFailed(NodeId(1)));
    waiting.answer(RequestId(1), answer());
    assert!(matches!(
        waiting.register(RequestId(1)),
        Place::Answered(Err(_))
    ));
    let Place::Waits(place) = waiting.register(RequestId(2)) else {
        panic!("there is no answer yet");
    };
    std::thread::scope(|scope| {
        scope.spawn(|| waiting.answer(RequestId(2), answer()));
        let answered = waiting.wait(&place, Duration::from_secs(20));
        assert_eq!(answered, Some(answer()));
    });
}

#[test]
fn the_answer_to_a_waiter_that_has_given_up_is_dropped() {
    let waiting = Waiting::<crate::StoredCell>::default();
    let Place::Waits(place) = waiting.register(RequestId(1)) else {
        panic!("there is no answer yet");
    };
    assert_eq!(waiting.wait(&place, Duration::ZERO), None);
    waiting.answer(RequestId(1), Err(RequestError::TimestampNeeded));
    assert!(matches!(waiting.register(RequestId(1)), Place::Waits(_)));
}

#[test]
fn what_cannot_be_started_is_an_error() {
    let few = Cluster::new(2).map(|_| ());
    assert!(matches!(few, Err(ClusterError::Config(_))));
    let many = Cluster::new(u32::MAX).map(|_| ());
    assert!(matches!(many, Err(ClusterError::Config(_))));
    let durable = Cluster::builder(3).configure(|config| config.durable = true);
    assert_eq!(durable.build().map(|_| ()), Err(ClusterError::Durable));
}

#[test]
fn handles_outlive_the_cluster_they_came_from() {
    let node = cluster(3).node(NodeId(2));
    assert!(
        node.execute(Request::new(put("a", "x"), Level::Quorum))
            .is_ok()
    );
}

#[test]
fn a_message_that_takes_longer_is_overtaken() {
    let range = Duration::ZERO..=Duration::from_millis(50);
    let latency = Latency::new(range, 3).expect("a range");
    let drawn: Vec<Duration> = (0..20).map(|_| latency.draw()).collect();
    assert!(!drawn.is_sorted(), "{drawn:?}");
    assert!(drawn.iter().all(|d| *d <= Duration::from_millis(50)));
}
