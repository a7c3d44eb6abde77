//! What is refused, and what hostile or broken peers can do.

use super::*;
use crate::store::ConflictPolicy;
use crate::terms::StoreTerms;
use crate::transport::accept::{read_frame, write_frame};
use crate::transport::handshake::{Answer, Hello};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Node 1 of three, whose peers are played by the test.
async fn node_one(
    change: impl Fn(&mut TransportOptions),
) -> (Transport, Records, Vec<TcpListener>) {
    let (mut listeners, nodes) = listeners(3).await;
    let mut options = options(1, &nodes);
    change(&mut options);
    let (handler, records) = recorder();
    let own = listeners.remove(0);
    let transport = Transport::start_on(own, options, handler).expect("it starts");
    (transport, records, listeners)
}

fn hello() -> Hello {
    Hello {
        node: NodeId(2),
        to: NodeId(1),
        lane: Lane::Small,
        cluster_name: "demo".into(),
        cluster: None,
        nonce: 5,
        process: 6,
        terms: None,
    }
}

/// Says hello to a node. Its connection, or why not.
async fn greet(to: &Transport, hello: &Hello, versions: Versions) -> Result<TcpStream, String> {
    let mut stream = TcpStream::connect(to.address()).await.expect("it listens");
    let bytes = hello.encode(versions);
    write_frame(&mut stream, &bytes).await.expect("it reads");
    let mut buffer = BytesMut::new();
    let answer = read_frame(&mut stream, &mut buffer, 1024).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let (welcome, _) = Answer::decode(&answer, versions).map_err(|error| error.to_string())?;
    assert_eq!((welcome.node, welcome.nonce), (NodeId(1), hello.nonce));
    Ok(stream)
}

/// Completes when the other side has closed.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = [0; 1024];
    let closed = async { while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {} };
    time::timeout(LIMIT, closed).await.expect("it closes");
}

#[tokio::test]
async fn whoever_does_not_belong_is_told_why() {
    let (one, _records, _peers) = node_one(|options| options.cluster = Some(ClusterId(1))).await;
    let refused = async |change: &dyn Fn(&mut Hello)| {
        let mut hello = hello();
        change(&mut hello);
        greet(&one, &hello, VERSIONS).await.expect_err("refused")
    };
    let reasons = [
        (
            refused(&|h| h.node = NodeId(9)).await,
            "node 9, which is not in this node's list of nodes",
        ),
        (
            refused(&|h| h.node = NodeId(1)).await,
            "that is this node: two processes have one id",
        ),
        (
            refused(&|h| h.to = NodeId(3)).await,
            "this is node 1, and you look for node 3",
        ),
        (
            refused(&|h| h.cluster_name = "other".into()).await,
            "the cluster named \"demo\", you to \"other\"",
        ),
        (
            refused(&|h| h.cluster = Some(ClusterId(2))).await,
            "the id 00000000000000000000000000000001, you to 00000000000000000000000000000002",
        ),
    ];
    for (reason, expected) in &reasons {
        assert!(
            reason.starts_with("the peer refused: ") && reason.contains(expected),
            "{reason}"
        );
    }
    let later = Versions { min: 3, max: 4 };
    let reason = greet(&one, &hello(), later).await.expect_err("refused");
    assert_eq!(
        reason,
        "the peer refused: this node speaks versions 1 to 2 of the protocol, you speak 3 to 4"
    );
    assert_eq!(one.counters().refused.load(Relaxed), 6);
    let both = Versions { min: 1, max: 3 };
    assert!(greet(&one, &hello(), both).await.is_ok());
}

#[tokio::test]
async fn nodes_that_differ_about_their_store_do_not_connect() {
    let ours = StoreTerms::new(ConflictPolicy::Hybrid, &replica::Config::new(NodeId(1), 3));
    let (one, _records, _peers) = node_one(|options| options.terms = Some(ours)).await;
    let greet_with = async |terms: StoreTerms| {
        let terms = Some(terms);
        greet(&one, &Hello { terms, ..hello() }, VERSIONS).await
    };
    let partitions = ours.partitions / 2;
    let other = StoreTerms { partitions, ..ours };
    let reason = greet_with(other).await.expect_err("refused");
    let expected = format!(
        "the peer refused: the nodes of a cluster have to agree on their store, and store.partitions is {} here \
         and {partitions} there",
        ours.partitions
    );
    assert_eq!(reason, expected);
    let write_quorum = 1;
    let lax = StoreTerms {
        write_quorum,
        ..ours
    };
    assert!(greet_with(lax).await.is_err());
    assert!(greet_with(ours).await.is_ok());
}

#[tokio::test]
async fn a_mixed_pair_speaks_the_latest_version_that_both_know() {
    let (mut listeners, nodes) = listeners(2).await;
    let (handler, _records) = recorder();
    let own = listeners.remove(0);
    let one = Transport::start_on(own, options(1, &nodes), handler).expect("it starts");
    assert_eq!(one.version(NodeId(2)), VERSIONS.min, "not agreed on yet");
    let mut earlier = options(2, &nodes);
    earlier.versions = Versions { min: 1, max: 1 };
    let (handler, _records) = recorder();
    let own = listeners.remove(0);
    let two = Transport::start_on(own, earlier.clone(), handler).expect("it starts");
    until("they talk", || {
        one.is_reachable(NodeId(2)) && two.is_reachable(NodeId(1))
    })
    .await;
    assert_eq!(one.version(NodeId(2)), 1);
    assert_eq!(two.version(NodeId(1)), 1);
    // The other is replaced by a program of this version.
    two.stop().await;
    until("it is noticed", || !one.is_reachable(NodeId(2))).await;
    let own = TcpListener::bind(two.address()).await.expect("its address");
    let versions = VERSIONS;
    let same = TransportOptions {
        versions,
        ..earlier
    };
    let (handler, _records) = recorder();
    let two = Transport::start_on(own, same, handler).expect("it starts");
    until("they talk again", || {
        one.is_reachable(NodeId(2)) && two.is_reachable(NodeId(1))
    })
    .await;
    assert_eq!(one.version(NodeId(2)), VERSIONS.max);
    assert_eq!(two.version(NodeId(1)), VERSIONS.max);
}

#[tokio::test]
async fn a_mixed_pair_says_why_it_does_not_talk() {
    let (mut listeners, nodes) = listeners(2).await;
    let (handler, _records) = recorder();
    let own = listeners.remove(0);
    let one = Transport::start_on(own, options(1, &nodes), handler).expect("it starts");
    let mut later = options(2, &nodes);
    later.versions = Versions { min: 3, max: 4 };
    let (handler, _records) = recorder();
    let two = Transport::start_on(listeners.remove(0), later, handler).expect("it starts");
    let says = |transport: &Transport, node, text: &str| {
        transport
            .trouble(NodeId(node))
            .is_some_and(|trouble| trouble.contains(text))
    };
    until("both say so", || {
        says(
            &one,
            2,
            "this node speaks versions 3 to 4 of the protocol, you speak 1 to 2",
        ) && says(
            &two,
            1,
            "this node speaks versions 1 to 2 of the protocol, you speak 3 to 4",
        )
    })
    .await;
}

#[tokio::test]
async fn bytes_that_are_no_handshake_close_the_connection_and_nothing_else() {
    let (one, records, _peers) = node_one(|_| {}).await;
    let mut noise = vec![0; 5_000];
    getrandom::fill(&mut noise).expect("randomness");
    let streams: [&[u8]; 6] = [
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 64],
        &[0, 0, 0, 0],
        &[0, 0, 0, 8, b'r', b'e', b'p', b'l', b'i', b'c', b'a', b'd'],
        &noise,
    ];
    for bytes in streams {
        let mut stream = TcpStream::connect(one.address()).await.expect("it listens");
        // It may close before it has read everything.
        let _closed = stream.write_all(bytes).await;
        let _closed = stream.shutdown().await;
        is_closed(&mut stream).await;
    }
    until("all are counted", || {
        one.counters().refused.load(Relaxed) == 6
    })
    .await;
    let mut good = greet(&one, &hello(), VERSIONS).await.expect("welcome");
    write_frame(&mut good, b"message").await.expect("it reads");
    assert_eq!(
        next(&records.messages).await,
        (NodeId(2), Bytes::from_static(b"message"))
    );
}

#[tokio::test]
async fn half_a_handshake_is_given_up_and_too_many_are_not_taken() {
    let (one, _records, _peers) = node_one(|options| {
        options.limits.max_handshakes = 2;
        options.timeouts.handshake = Duration::from_millis(300);
    })
    .await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(one.address()).await.expect("it listens");
        let _closed = stream.write_all(&[0, 0]).await;
        slow.push(stream);
    }
    until("the others are closed", || {
        one.counters().crowded.load(Relaxed) == 3
    })
    .await;
    for stream in &mut slow {
        is_closed(stream).await;
    }
    until("the slow are given up", || {
        one.counters().refused.load(Relaxed) == 2
    })
    .await;
    assert!(greet(&one, &hello(), VERSIONS).await.is_ok());
}

#[tokio::test]
async fn a_peer_that_announces_too_much_or_falls_silent_is_disconnected() {
    let (one, records, _peers) = node_one(|options| {
        options.limits.max_frame_bytes = 1_000;
        options.timeouts.dead = Duration::from_millis(400);
    })
    .await;
    let mut huge = greet(&one, &hello(), VERSIONS).await.expect("welcome");
    huge.write_all(&[0xff, 0xff, 0xff, 0xff, 1, 2, 3])
        .await
        .expect("written");
    is_closed(&mut huge).await;
    let mut silent = greet(&one, &hello(), VERSIONS).await.expect("welcome");
    silent
        .write_all(&[0, 0, 0, 100, 1, 2, 3])
        .await
        .expect("written");
    is_closed(&mut silent).await;
    assert!(
        records.messages.try_recv().is_err(),
        "half a frame is no message"
    );
}

#[tokio::test]
async fn a_later_connection_takes_the_place_of_an_earlier() {
    let (one, records, _peers) = node_one(|_| {}).await;
    let mut first = greet(&one, &hello(), VERSIONS).await.expect("welcome");
    write_frame(&mut first, b"1").await.expect("it reads");
    next(&records.messages).await;
    let mut second = greet(&one, &hello(), VERSIONS).await.expect("welcome");
    is_closed(&mut first).await;
    write_frame(&mut second, b"2").await.expect("it reads");
    assert_eq!(next(&records.messages).await.1, b"2"[..]);
}

/// Accepts what node 1 dials, and shakes hands as node 2.
async fn play_node_two(listener: &TcpListener) -> (TcpStream, Hello) {
    let (mut stream, _) = listener.accept().await.expect("it dials");
    let mut buffer = BytesMut::new();
    let frame = read_frame(&mut stream, &mut buffer, 1024)
        .await
        .expect("it greets");
    let hello = Hello::decode(&frame, VERSIONS).expect("it greets");
    let welcome = handshake::Welcome {
        node: NodeId(2),
        cluster: None,
        nonce: hello.nonce,
    };
    let answer = Answer::Welcome(welcome).encode(VERSIONS);
    write_frame(&mut stream, &answer).await.expect("it reads");
    (stream, hello)
}

#[tokio::test]
async fn a_peer_that_never_reads_costs_no_more_than_its_queue() {
    const FRAME: usize = 10_000;
    let (one, records, peers) = node_one(|options| {
        options.limits.queue_bytes = 50 * FRAME;
        options.limits.large_frame_bytes = 1 << 20;
        options.timeouts.dead = Duration::from_secs(5);
    })
    .await;
    let held = (
        play_node_two(&peers[0]).await,
        play_node_two(&peers[0]).await,
    );
    assert_eq!(next(&records.reachable).await, (NodeId(2), true));
    let (_, counted) = one.peers().next().expect("a peer");
    let mut most = 0;
    let started = std::time::Instant::now();
    let is_up = || counted.small.dropped_down.load(Relaxed) == 0;
    while counted.small.dropped_full.load(Relaxed) < 1_000 && is_up() {
        assert!(started.elapsed() < LIMIT, "the queue never fills");
        one.send(NodeId(2), vec![1; FRAME]);
        most = most.max(counted.small.queued_bytes.load(Relaxed));
        tokio::task::yield_now().await;
    }
    assert!(counted.small.dropped_full.load(Relaxed) > 0);
    assert!(most > 0 && most <= 50 * FRAME, "{most} bytes were queued");
    // In the end it is given up, and nothing is held for it any more.
    assert_eq!(next(&records.reachable).await, (NodeId(2), false));
    until("nothing is queued", || {
        counted.small.queued_bytes.load(Relaxed) == 0
    })
    .await;
    drop(held);
}

#[tokio::test]
async fn a_peer_that_answers_no_heartbeat_is_unreachable() {
    let (_one, records, peers) = node_one(|options| {
        options.timeouts.heartbeat = Duration::from_millis(50);
        options.timeouts.dead = Duration::from_millis(300);
    })
    .await;
    let mut held = [
        play_node_two(&peers[0]).await,
        play_node_two(&peers[0]).await,
    ];
    assert_ne!(held[0].1.lane, held[1].1.lane);
    assert_eq!(held[0].1.process, held[1].1.process);
    assert_eq!(next(&records.reachable).await, (NodeId(2), true));
    for (stream, _) in &mut held {
        is_closed(stream).await;
    }
    assert_eq!(next(&records.reachable).await, (NodeId(2), false));
}

#[tokio::test]
async fn a_peer_that_talks_out_of_turn_is_disconnected() {
    let (one, records, peers) = node_one(|_| {}).await;
    let mut held = [
        play_node_two(&peers[0]).await,
        play_node_two(&peers[0]).await,
    ];
    assert_eq!(next(&records.reachable).await, (NodeId(2), true));
    held[0].0.write_all(b"surprise").await.expect("written");
    assert_eq!(next(&records.reachable).await, (NodeId(2), false));
    until("the reason is known", || one.trouble(NodeId(2)).is_some()).await;
    assert!(records.messages.try_recv().is_err());
}
