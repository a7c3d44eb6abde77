//! Who subscribes to a node of the in-process cluster learns of every change, after it can be read there.

use bytes::Bytes;
use replica::{
    Cluster, ClusterError, Command, Level, NodeHandle, NodeId, Request, Subscription,
    SubscriptionError,
};
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

fn put(node: &NodeHandle, key: &str, value: &str, level: Level) {
    let (key, value) = (
        Bytes::copy_from_slice(key.as_bytes()),
        Bytes::copy_from_slice(value.as_bytes()),
    );
    let done = node.execute(Request::new(Command::put(key, value), level));
    assert!(done.is_ok(), "{done:?}");
}

fn delete(node: &NodeHandle, key: &'static str, level: Level) {
    let done = node.execute(Request::new(Command::delete(key.into()), level));
    assert!(done.is_ok(), "{done:?}");
}

/// All that waits for the subscriber.
fn taken(subscription: &mut Subscription) -> Vec<Bytes> {
    std::iter::from_fn(|| subscription.try_next().expect("it keeps up")).collect()
}

#[test]
fn a_change_is_told_at_every_node_that_it_reaches_once_it_can_be_read_there() {
    let cluster = Cluster::new(3).expect("a valid configuration");
    let mut all: Vec<_> = cluster.nodes().map(|node| node.subscribe("")).collect();
    let mut users = cluster.node(NodeId(2)).subscribe("user:");
    put(&cluster.node(NodeId(1)), "user:ada", "1", Level::All);
    put(&cluster.node(NodeId(3)), "usher", "2", Level::All);
    delete(&cluster.node(NodeId(3)), "user:ada", Level::All);
    for (subscription, node) in all.iter_mut().zip(cluster.nodes()) {
        assert_eq!(subscription.node(), node.id());
        assert_eq!(taken(subscription), ["user:ada", "usher"], "each once");
        assert_eq!(node.read_local(b"user:ada"), Ok(None));
    }
    assert_eq!(taken(&mut users), ["user:ada"]);
    put(&cluster.node(NodeId(1)), "user:ada", "3", Level::All);
    assert_eq!(taken(&mut users), ["user:ada"], "it has changed again");
}

#[test]
fn a_cut_node_tells_of_a_change_when_it_hears_of_it() {
    let cluster = Cluster::builder(3)
        .configure(|config| config.sync_interval_ms = 20)
        .build()
        .expect("a valid configuration");
    let mut far = cluster.node(NodeId(3)).subscribe("");
    cluster.partition(&[NodeId(1), NodeId(2)], &[NodeId(3)]);
    put(&cluster.node(NodeId(1)), "k", "v", Level::Quorum);
    assert_eq!(far.try_next(), Ok(None));
    cluster.heal();
    assert_eq!(far.next(SOON), Ok(Some("k".into())));
    let read = cluster.node(NodeId(3)).read_local(b"k");
    assert_eq!(read, Ok(Some("v".into())));
}

#[test]
fn who_does_not_keep_up_is_told_that_it_has_lagged_and_hears_of_what_changes_later() {
    let cluster = Cluster::new(3).expect("a valid configuration");
    let node = cluster.node(NodeId(1));
    let mut slow = node.subscribe_within("", 10);
    for i in 0..10 {
        put(&node, &i.to_string(), "v", Level::Quorum);
    }
    put(&node, "3", "w", Level::Quorum);
    let mut fast = node.subscribe_within("", 10);
    for i in 10..15 {
        put(&node, &i.to_string(), "v", Level::Quorum);
    }
    let lagged = SubscriptionError::Lagged {
        node: NodeId(1),
        limit: 10,
        missed: 15,
    };
    assert_eq!(slow.try_next(), Err(lagged));
    assert_eq!(slow.try_next(), Ok(None));
    put(&node, "later", "v", Level::Quorum);
    assert_eq!(taken(&mut slow), ["later"]);
    assert_eq!(taken(&mut fast), ["10", "11", "12", "13", "14", "later"]);
}

#[test]
fn a_failed_node_says_so_and_tells_of_all_it_has_once_it_serves_again() {
    let cluster = Cluster::new(3).expect("a valid configuration");
    put(&cluster.node(NodeId(1)), "a", "1", Level::All);
    let third = cluster.node(NodeId(3));
    let mut before = third.subscribe("");
    cluster.fail(NodeId(3));
    let mut meanwhile = third.subscribe("");
    put(&cluster.node(NodeId(2)), "b", "2", Level::Quorum);
    cluster.recover(NodeId(3)).expect("two are left");
    for subscription in [&mut before, &mut meanwhile] {
        let failed = SubscriptionError::NodeFailed(NodeId(3));
        assert_eq!(subscription.next(SOON), Err(failed));
        for key in ["a", "b"] {
            assert_eq!(subscription.next(SOON), Ok(Some(key.into())));
            let read = third.read_local(key.as_bytes());
            assert!(matches!(read, Ok(Some(_))), "{key}: {read:?}");
        }
    }
}

#[test]
fn a_subscription_does_not_keep_the_cluster_alive() {
    let cluster = Cluster::new(3).expect("a valid configuration");
    let mut subscription = cluster.node(NodeId(1)).subscribe("");
    put(&cluster.node(NodeId(1)), "k", "v", Level::All);
    drop(cluster);
    assert_eq!(subscription.next(SOON), Ok(Some("k".into())));
    assert_eq!(subscription.next(SOON), Err(SubscriptionError::Closed));
}

/// What a copy of a node that is kept up to date by a subscription alone holds in the end.
fn mirror(node: &NodeHandle, subscription: &mut Subscription) -> BTreeMap<Bytes, Bytes> {
    let mut copy = BTreeMap::new();
    let look = |copy: &mut BTreeMap<Bytes, Bytes>, key: Bytes| {
        match node.read_local(&key).expect("it serves") {
            Some(value) => copy.insert(key, value),
            None => copy.remove(&key),
        };
    };
    loop {
        match subscription.next(SOON) {
            Ok(Some(key)) if key == "end" => return copy,
            Ok(Some(key)) => look(&mut copy, key),
            Ok(None) => panic!("the end was never told"),
            Err(SubscriptionError::Lagged { .. }) => {
                for map in node.snapshot().expect("it serves") {
                    for key in map.iter().map(|(key, _)| key.clone()) {
                        look(&mut copy, key);
                    }
                }
                if copy.remove("end".as_bytes()).is_some() {
                    return copy;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_mirror_kept_by_a_subscription_is_the_node_whatever_the_limit_the_latency_and_the_writers() {
    let fast = Duration::ZERO..=Duration::from_millis(2);
    for (limit, latency) in [(1_000, None), (3, None), (1_000, Some(fast))] {
        let builder = Cluster::builder(3);
        let builder = match latency {
            Some(range) => builder.latency(range, 1),
            None => builder,
        };
        let cluster = builder.build().expect("a valid configuration");
        let watched = cluster.node(NodeId(2));
        let mut subscription = watched.subscribe_within("", limit);
        let copy = std::thread::scope(|scope| {
            let copy = scope.spawn(|| mirror(&watched, &mut subscription));
            let writers = [1, 2, 3].map(|writer| {
                let node = cluster.node(NodeId(writer));
                scope.spawn(move || {
                    for i in 0..40 {
                        put(
                            &node,
                            &format!("k{}", i % 7),
                            &format!("{writer}-{i}"),
                            Level::All,
                        );
                        if i % 5 == 0 {
                            delete(&node, "k3", Level::All);
                        }
                    }
                })
            });
            for writer in writers {
                writer.join().expect("its writes succeed");
            }
            cluster.wait_until_settled(SOON).expect("writes have ended");
            put(&cluster.node(NodeId(2)), "end", "", Level::All);
            copy.join().expect("it ends")
        });
        for key in 0..7 {
            let key = format!("k{key}");
            let shown = watched.read_local(key.as_bytes()).expect("it serves");
            assert_eq!(copy.get(key.as_bytes()), shown.as_ref(), "{key}");
        }
    }
}

#[test]
fn a_range_of_latencies_that_cannot_be_drawn_from_is_refused() {
    let hour = Duration::from_secs(3_600);
    for range in [
        Duration::from_millis(2)..=Duration::from_millis(1),
        Duration::ZERO..=hour + Duration::from_nanos(1),
    ] {
        let built = Cluster::builder(3).latency(range, 1).build().map(|_| ());
        assert!(
            matches!(built, Err(ClusterError::Latency { .. })),
            "{built:?}"
        );
    }
}
