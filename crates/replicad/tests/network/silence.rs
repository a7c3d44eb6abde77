//! A peer that stops answering without closing its connections.

use bytes::Bytes;
use replica::liveness::{PhiAccrual, PhiConfig};
use replica::{Level, NodeId, Placement};
use replicad::store::{Operation, Space, StoreAnswer, StoreRequest};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PATIENCE, until};
use crate::proxy::Proxy;

/// A key whose owners are 3, the preferred one, and 2.
fn key_of_three_and_two(placement: &Placement) -> Bytes {
    let owners = |key: &Bytes| placement.owners(placement.partition_of(key));
    let mut keys = (0..10_000).map(|n: u32| Bytes::from(n.to_string()));
    let key = keys.find(|key| owners(key) == [3, 2].map(NodeId));
    key.expect("one of many")
}

/// Nothing is sent again and no connection is given up within the time of a request: what is answered has not waited
/// for the silent peer.
#[tokio::test(flavor = "multi_thread")]
async fn requests_go_around_a_peer_that_is_connected_and_silent() {
    let mut cluster = Cluster::new(|options| {
        let configs = [&mut options.configs.strings, &mut options.configs.types];
        for config in configs {
            *config = config.clone().with_owners(2);
            config.partitions = 16;
            (config.resend_ms, config.request_timeout_ms) = (600_000, 10_000);
        }
        let detector = PhiAccrual::new(PhiConfig::default());
        options.liveness = Some(detector.expect("the defaults work"));
    });
    cluster.dead = Duration::from_secs(600);
    let links = [
        Proxy::to(cluster.address(3)).await,
        Proxy::to(cluster.address(1)).await,
    ];
    cluster.route(1, 3, &links[0].address);
    cluster.route(3, 1, &links[1].address);
    for node in 1..=3 {
        cluster.start_with(node, node > 1).await;
    }
    cluster.until_up().await;
    let key = key_of_three_and_two(&cluster.node(1).backend().placement(Space::Strings));
    let put = StoreRequest::new(key.clone(), Operation::put("v".into())).at(Level::Quorum);
    cluster.submit(1, put).await.expect("both owners are up");
    let suspected = |cluster: &Cluster, by: u32, node: u32| cluster.node(by).suspects(NodeId(node));
    assert!(!suspected(&cluster, 1, 3) && !suspected(&cluster, 3, 1));

    links.iter().for_each(|link| link.set_open(false));
    let deadline = Instant::now() + PATIENCE;
    until(deadline, || {
        suspected(&cluster, 1, 3) && suspected(&cluster, 3, 1)
    })
    .await;
    assert!(!suspected(&cluster, 2, 3) && !suspected(&cluster, 1, 2));
    let get = StoreRequest::new(key, Operation::Get).at(Level::One);
    match cluster
        .submit(1, get)
        .await
        .expect("the second owner answers")
    {
        StoreAnswer::Values { values, .. } => assert_eq!(values, ["v"]),
        other => panic!("not values: {other:?}"),
    }

    links.iter().for_each(|link| link.set_open(true));
    let deadline = Instant::now() + PATIENCE;
    until(deadline, || {
        !suspected(&cluster, 1, 3) && !suspected(&cluster, 3, 1)
    })
    .await;
    cluster.stop_all().await;
}
