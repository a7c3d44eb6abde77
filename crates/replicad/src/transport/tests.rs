//! Transports that talk to each other, and strangers that talk to them.

mod certificates;
mod links;
mod strangers;

use super::*;
use std::sync::mpsc;
use std::time::Duration;

/// No condition takes this long to come true unless it never does.
const LIMIT: Duration = Duration::from_secs(60);

/// Hands everything to a channel.
struct Recorder {
    messages: mpsc::SyncSender<(NodeId, Bytes)>,
    reachable: mpsc::Sender<(NodeId, bool)>,
    clusters: mpsc::Sender<(NodeId, ClusterId)>,
}

/// The other ends.
struct Records {
    messages: mpsc::Receiver<(NodeId, Bytes)>,
    reachable: mpsc::Receiver<(NodeId, bool)>,
    clusters: mpsc::Receiver<(NodeId, ClusterId)>,
}

fn recorder() -> (Arc<Recorder>, Records) {
    let (messages, messages_out) = mpsc::sync_channel(1 << 20);
    let (reachable, reachable_out) = mpsc::channel();
    let (clusters, clusters_out) = mpsc::channel();
    let recorder = Recorder {
        messages,
        reachable,
        clusters,
    };
    let records = Records {
        messages: messages_out,
        reachable: reachable_out,
        clusters: clusters_out,
    };
    (Arc::new(recorder), records)
}

impl Handler for Recorder {
    fn message(&self, from: NodeId, frame: Bytes) {
        let _full = self.messages.try_send((from, frame));
    }

    fn reachable(&self, node: NodeId, reachable: bool) {
        let _gone = self.reachable.send((node, reachable));
    }

    fn cluster(&self, from: NodeId, cluster: ClusterId) {
        let _gone = self.clusters.send((from, cluster));
    }
}

/// Waits without blocking the runtime.
async fn next<T>(receiver: &mpsc::Receiver<T>) -> T {
    let started = std::time::Instant::now();
    loop {
        match receiver.try_recv() {
            Ok(value) => return value,
            Err(error) => assert!(started.elapsed() < LIMIT, "nothing came: {error}"),
        }
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "never came: {what}");
        time::sleep(Duration::from_millis(1)).await;
    }
}

/// Listeners on free ports, and the list of nodes with their addresses.
async fn listeners(nodes: u32) -> (Vec<TcpListener>, Vec<(NodeId, String)>) {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for node in 1..=nodes {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        addresses.push((NodeId(node), address));
        listeners.push(listener);
    }
    (listeners, addresses)
}

fn options(node: u32, nodes: &[(NodeId, String)]) -> TransportOptions {
    let peers = nodes.iter().filter(|(id, _)| id.0 != node).cloned();
    let (_, listen) = &nodes[node as usize - 1];
    TransportOptions::new(NodeId(node), "demo", listen.clone(), peers.collect())
}

/// Two nodes that have found each other.
async fn pair() -> ([Transport; 2], [Records; 2]) {
    pair_with(|_| {}).await
}

async fn pair_with(change: impl Fn(&mut TransportOptions)) -> ([Transport; 2], [Records; 2]) {
    let (listeners, nodes) = listeners(2).await;
    let (mut transports, mut all) = (Vec::new(), Vec::new());
    for (node, listener) in (1..).zip(listeners) {
        let mut options = options(node, &nodes);
        change(&mut options);
        let (handler, records) = recorder();
        transports.push(Transport::start_on(listener, options, handler).expect("it starts"));
        all.push(records);
    }
    assert_eq!(next(&all[0].reachable).await, (NodeId(2), true));
    assert_eq!(next(&all[1].reachable).await, (NodeId(1), true));
    let transports = transports.try_into().expect("two");
    (transports, all.try_into().ok().expect("two"))
}
