//! What arrives, in which order, and what happens when a peer goes and comes back.

use super::*;

#[tokio::test]
async fn messages_arrive_both_ways_in_order_on_both_lanes() {
    let ([a, b], [at_a, at_b]) = pair().await;
    let large = a.shared.options.limits.large_frame_bytes;
    for number in 0..2_000_u32 {
        a.send(NodeId(2), Bytes::copy_from_slice(&number.to_be_bytes()));
        b.send(NodeId(1), Bytes::copy_from_slice(&number.to_be_bytes()));
    }
    for number in 0..20_u8 {
        a.send(NodeId(2), vec![number; large + usize::from(number)]);
    }
    let (mut small, mut long) = (0_u32, 0_u8);
    while small < 2_000 || long < 20 {
        let (from, frame) = next(&at_b.messages).await;
        assert_eq!(from, NodeId(1));
        if frame.len() == 4 {
            assert_eq!(frame, small.to_be_bytes()[..]);
            small += 1;
        } else {
            assert_eq!(frame, vec![long; large + usize::from(long)]);
            long += 1;
        }
    }
    for number in 0..2_000_u32 {
        assert_eq!(next(&at_a.messages).await.1, number.to_be_bytes()[..]);
    }
    let (_, sent) = a.peers().next().expect("a peer");
    until("all is counted", || {
        sent.small.frames_sent.load(Relaxed) == 2_000
    })
    .await;
    until("all is counted", || {
        sent.large.frames_sent.load(Relaxed) == 20
    })
    .await;
    assert_eq!(sent.small.bytes_sent.load(Relaxed), 2_000 * 8);
    assert_eq!(sent.small.queued_bytes.load(Relaxed), 0);
    assert_eq!(sent.small.dropped_full.load(Relaxed), 0);
    let (_, received) = b.peers().next().expect("a peer");
    until("all is counted", || {
        received.frames_received.load(Relaxed) == 2_020
    })
    .await;
    a.stop().await;
    b.stop().await;
}

/// Holds the task that hands on the first large message until a small one has arrived.
struct Stuck {
    large: mpsc::SyncSender<usize>,
    small: Mutex<mpsc::Sender<()>>,
    has_small: Mutex<mpsc::Receiver<()>>,
}

impl Handler for Stuck {
    fn message(&self, _: NodeId, frame: Bytes) {
        if frame.len() < 1 << 20 {
            let _gone = self.small.lock().expect("unpoisoned").send(());
            return;
        }
        let waited = self
            .has_small
            .lock()
            .expect("unpoisoned")
            .recv_timeout(LIMIT);
        waited.expect("the small message does not wait for the large one");
        let _gone = self.large.send(frame.len());
    }

    fn reachable(&self, _: NodeId, _: bool) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_large_message_does_not_stand_before_a_small_one() {
    let (listeners, nodes) = listeners(2).await;
    let [first, second]: [TcpListener; 2] = listeners.try_into().expect("two");
    let (large, large_out) = mpsc::sync_channel(1);
    let (small, has_small) = mpsc::channel();
    let stuck = Arc::new(Stuck {
        large,
        small: Mutex::new(small),
        has_small: Mutex::new(has_small),
    });
    let (handler, records) = recorder();
    let a = Transport::start_on(first, options(1, &nodes), handler).expect("it starts");
    let b = Transport::start_on(second, options(2, &nodes), stuck).expect("it starts");
    assert_eq!(next(&records.reachable).await, (NodeId(2), true));
    a.send(NodeId(2), vec![1; 1 << 20]);
    a.send(NodeId(2), Bytes::from_static(b"small"));
    assert_eq!(next(&large_out).await, 1 << 20);
    drop((a, b));
}

#[tokio::test]
async fn a_peer_that_restarts_is_found_again() {
    let (listeners, nodes) = listeners(2).await;
    let [first, second]: [TcpListener; 2] = listeners.try_into().expect("two");
    let (handler, at_a) = recorder();
    let a = Transport::start_on(first, options(1, &nodes), handler).expect("it starts");
    let (handler, _at_b) = recorder();
    let b = Transport::start_on(second, options(2, &nodes), handler).expect("it starts");
    assert_eq!(next(&at_a.reachable).await, (NodeId(2), true));
    b.stop().await;
    assert_eq!(next(&at_a.reachable).await, (NodeId(2), false));
    assert!(!a.is_reachable(NodeId(2)) && a.trouble(NodeId(2)).is_some());
    a.send(NodeId(2), Bytes::from_static(b"for nobody"));

    let (handler, at_b) = recorder();
    let b = Transport::start(options(2, &nodes), handler)
        .await
        .expect("the port is free again");
    assert_eq!(next(&at_a.reachable).await, (NodeId(2), true));
    assert_eq!(a.trouble(NodeId(2)), None);
    a.send(NodeId(2), Bytes::from_static(b"hello again"));
    assert_eq!(next(&at_b.messages).await.1, b"hello again"[..]);
    let (_, counted) = a.peers().next().expect("a peer");
    assert_eq!(counted.small.connects.load(Relaxed), 2);
    assert!(counted.small.dropped_down.load(Relaxed) >= 1);
    drop(b);
}

#[tokio::test]
async fn what_was_sent_before_a_stop_arrives() {
    let ([a, b], [_, at_b]) = pair().await;
    for _ in 0..500 {
        a.send(NodeId(2), vec![1; 2_000]);
    }
    a.stop().await;
    for _ in 0..500 {
        assert_eq!(next(&at_b.messages).await.1.len(), 2_000);
    }
    a.send(NodeId(2), Bytes::from_static(b"too late"));
    drop(b);
}

#[tokio::test]
async fn frames_that_cannot_be_sent_are_counted() {
    let ([a, b], _) = pair_with(|options| options.limits.max_frame_bytes = 1_000).await;
    a.send(NodeId(2), vec![1; 1_001]);
    a.send(NodeId(2), Bytes::new());
    a.send(NodeId(9), Bytes::from_static(b"who?"));
    let (_, counted) = a.peers().next().expect("a peer");
    assert_eq!(counted.dropped_length.load(Relaxed), 2);
    assert_eq!(a.counters().dropped_unknown.load(Relaxed), 1);
    drop(b);
}

#[tokio::test]
async fn a_node_without_a_cluster_hears_of_it_from_its_peers() {
    let ([a, b], [at_a, at_b]) = pair().await;
    a.set_cluster(ClusterId(7));
    assert_eq!(next(&at_b.clusters).await, (NodeId(1), ClusterId(7)));
    b.set_cluster(ClusterId(7));
    a.send(NodeId(2), Bytes::from_static(b"still here"));
    assert_eq!(next(&at_b.messages).await.1, b"still here"[..]);
    assert!(at_a.clusters.try_recv().is_err(), "it knew before");
}

#[tokio::test]
async fn nodes_that_turn_out_to_be_of_two_clusters_part() {
    let ([a, b], [at_a, _at_b]) = pair().await;
    a.set_cluster(ClusterId(7));
    b.set_cluster(ClusterId(8));
    assert_eq!(next(&at_a.reachable).await, (NodeId(2), false));
    until("the reason is known", || {
        a.trouble(NodeId(2)).is_some_and(|trouble| {
            trouble.starts_with("the peer refused: this node belongs to the cluster with the id")
        })
    })
    .await;
}

#[test]
fn options_that_contradict_themselves_are_refused() {
    let nodes = [(NodeId(1), "a:1".to_owned()), (NodeId(2), "b:1".to_owned())];
    let refused = |change: &dyn Fn(&mut TransportOptions)| {
        let mut options = options(1, &nodes);
        change(&mut options);
        options.validate().expect_err("refused").to_string()
    };
    assert!(
        refused(&|o| o.peers.push((NodeId(1), "c:1".into()))).contains("node 1 is in the list")
    );
    assert!(refused(&|o| o.limits.queue_frames = 0).contains("queue_frames"));
    assert!(refused(&|o| o.limits.max_frame_bytes = 1 << 40).contains("32 bits"));
    assert!(refused(&|o| o.timeouts.dead = o.timeouts.heartbeat).contains("longer"));
}
