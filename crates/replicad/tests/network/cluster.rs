//! A cluster of a test.

use bytes::Bytes;
use replica::{ClockKind, Config, Level, Lww, MultiValue, NodeId, RequestError};
use replicad::backend::{Backend, NodeState};
use replicad::limits::Limits;
use replicad::node::{InboxLimits, NetworkOptions, ProcessNode, SpaceConfigs, StoreSettings};
use replicad::storage::{NodeDir, SyncPolicy};
use replicad::store::{ConflictPolicy, Operation, StoreAnswer, StoreRequest};
use replicad::transport::{Handler, Transport, TransportOptions, TransportTimeouts};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long anything may take; far more than it needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A node of either kind of strings.
pub(crate) enum Running {
    Lww(ProcessNode<Lww>),
    Siblings(ProcessNode<MultiValue>),
}

impl Running {
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Self::Lww(node) => node.backend(),
            Self::Siblings(node) => node.backend(),
        }
    }

    pub(crate) fn state(&self) -> NodeState {
        match self {
            Self::Lww(node) => node.state(),
            Self::Siblings(node) => node.state(),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        match self {
            Self::Lww(node) => node.id(),
            Self::Siblings(node) => node.id(),
        }
    }

    pub(crate) fn suspects(&self, peer: NodeId) -> bool {
        match self {
            Self::Lww(node) => node.suspects(peer),
            Self::Siblings(node) => node.suspects(peer),
        }
    }

    pub(crate) fn invalid_messages(&self) -> u64 {
        match self {
            Self::Lww(node) => node.invalid_messages(),
            Self::Siblings(node) => node.invalid_messages(),
        }
    }

    async fn stop(&self) {
        match self {
            Self::Lww(node) => node.stop().await,
            Self::Siblings(node) => node.stop().await,
        }
    }
}

type Configure = Box<dyn Fn(&mut NetworkOptions) + Send + Sync>;

pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    peers: BTreeMap<NodeId, String>,
    configure: Configure,
    nodes: BTreeMap<u32, Running>,
    /// Where a node finds another, if not at its own address.
    routes: BTreeMap<(u32, u32), String>,
    /// How long connections are kept of which nothing is heard.
    pub(crate) dead: Duration,
}

/// Waits for something that another task brings about.
pub(crate) async fn until(deadline: Instant, mut holds: impl FnMut() -> bool) {
    while !holds() {
        assert!(
            Instant::now() < deadline,
            "it has not become true within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Cluster {
    /// A cluster none of whose nodes runs.
    pub(crate) fn new(configure: impl Fn(&mut NetworkOptions) + Send + Sync + 'static) -> Self {
        // All are held until all are known, so that they differ.
        let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let listeners: Vec<TcpListener> = (1..=3).map(bind).collect();
        let address =
            |listener: &TcpListener| listener.local_addr().expect("an address").to_string();
        let addresses = listeners.iter().map(address);
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            peers: (1..=3).map(NodeId).zip(addresses).collect(),
            configure: Box::new(configure),
            nodes: BTreeMap::new(),
            routes: BTreeMap::new(),
            dead: TransportTimeouts::default().dead,
        }
    }

    /// Where a node listens for others.
    pub(crate) fn address(&self, node: u32) -> SocketAddr {
        let address = &self.peers[&NodeId(node)];
        address.parse().expect("an address")
    }

    /// Has a node find another at this address.
    pub(crate) fn route(&mut self, from: u32, to: u32, address: &str) {
        self.routes.insert((from, to), address.to_owned());
    }

    /// A new cluster that serves.
    pub(crate) async fn bootstrapped(
        configure: impl Fn(&mut NetworkOptions) + Send + Sync + 'static,
    ) -> Self {
        let mut cluster = Self::new(configure);
        // The word at two of them at once is as good as at one.
        for node in 1..=3 {
            cluster.start_with(node, node > 1).await;
        }
        cluster.until_up().await;
        cluster
    }

    pub(crate) async fn start(&mut self, node: u32) {
        self.start_with(node, false).await;
    }

    pub(crate) async fn start_with(&mut self, node: u32, bootstrap: bool) {
        let options = self.options(node);
        let dir = NodeDir::open(&options.data_dir, NodeId(node)).expect("its own directory");
        let mut transport = self.transport(node);
        transport.cluster = dir.cluster();
        let running = match options.conflict {
            ConflictPolicy::Siblings => {
                let started = ProcessNode::start(options, transport, dir, bootstrap).await;
                let (node, begins) = started.expect("it starts");
                tokio::spawn(async move { begins.await.expect("it begins") });
                Running::Siblings(node)
            }
            _ => {
                let started = ProcessNode::start(options, transport, dir, bootstrap).await;
                let (node, begins) = started.expect("it starts");
                tokio::spawn(async move { begins.await.expect("it begins") });
                Running::Lww(node)
            }
        };
        self.nodes.insert(node, running);
    }

    pub(crate) fn options(&self, node: u32) -> NetworkOptions {
        let strings = Config {
            clock: ClockKind::Hybrid {
                drift_bound_ms: 60_000,
            },
            durable: true,
            sync_interval_ms: 100,
            ..Config::new(NodeId(node), 3)
        };
        let types = Config {
            clock: ClockKind::Lamport,
            ..strings.clone()
        };
        let mut options = NetworkOptions {
            conflict: ConflictPolicy::Hybrid,
            configs: SpaceConfigs {
                strings,
                types,
                inbox: InboxLimits::default(),
            },
            clients: BTreeMap::new(),
            limits: Limits::default(),
            port: 0,
            data_dir: self.data_dir(node),
            snapshot_dir: None,
            liveness: None,
            store: StoreSettings {
                policy: SyncPolicy::Always,
                cache_bytes: 4 << 20,
                waiting_bytes: 4 << 20,
                reserve_bytes: 0,
            },
        };
        (self.configure)(&mut options);
        options
    }

    fn transport(&self, node: u32) -> TransportOptions {
        let others = self.peers.iter().filter(|(id, _)| id.0 != node);
        let route = |id: &NodeId| self.routes.get(&(node, id.0));
        let others = others.map(|(id, address)| (*id, route(id).unwrap_or(address).clone()));
        let listen = self.peers[&NodeId(node)].clone();
        let mut options = TransportOptions::new(NodeId(node), "test", listen, others.collect());
        options.timeouts.dead = self.dead;
        options
    }

    pub(crate) fn data_dir(&self, node: u32) -> PathBuf {
        self.directory.path().join(format!("node-{node}"))
    }

    pub(crate) fn node(&self, node: u32) -> &Running {
        &self.nodes[&node]
    }

    pub(crate) async fn stop(&mut self, node: u32) {
        let running = self.nodes.remove(&node).expect("it runs");
        running.stop().await;
    }

    pub(crate) async fn stop_all(mut self) {
        for node in 1..=3 {
            if let Some(running) = self.nodes.remove(&node) {
                running.stop().await;
            }
        }
    }

    pub(crate) fn remove_store(&self, node: u32) {
        std::fs::remove_file(self.data_dir(node).join("store")).expect("it had a store");
    }

    pub(crate) fn remove_everything(&self, node: u32) {
        std::fs::remove_dir_all(self.data_dir(node)).expect("it had a directory");
    }

    /// Waits until every node that runs serves, and reaches the others.
    pub(crate) async fn until_up(&self) {
        let deadline = Instant::now() + PATIENCE;
        until(deadline, || {
            self.nodes
                .values()
                .all(|node| node.state() == NodeState::Up)
        })
        .await;
        for node in self.nodes.keys() {
            // Hints of who can be reached may lag behind.
            loop {
                let all =
                    StoreRequest::new(Bytes::from_static(b"?"), Operation::Get).at(Level::All);
                if self.submit(*node, all).await.is_ok() {
                    break;
                }
                assert!(Instant::now() < deadline, "node {node} does not reach all");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Waits until all nodes show the same.
    pub(crate) async fn until_equal(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let status = self.node(1).backend().status().await.expect("a status");
            let sums: BTreeSet<_> = status.nodes.iter().map(|node| &node.checksum).collect();
            if sums.len() == 1 && status.nodes.iter().all(|node| node.lacks.is_empty()) {
                return;
            }
            assert!(Instant::now() < deadline, "they differ: {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn submit(
        &self,
        node: u32,
        request: StoreRequest,
    ) -> Result<StoreAnswer, RequestError> {
        let answer = self.node(node).backend().submit(request);
        answer.await.expect("the node runs")
    }

    pub(crate) async fn ask(
        &self,
        node: u32,
        key: &str,
        operation: Operation,
    ) -> Result<StoreAnswer, RequestError> {
        self.ask_at(node, key, operation, Level::Quorum).await
    }

    pub(crate) async fn ask_at(
        &self,
        node: u32,
        key: &str,
        operation: Operation,
        level: Level,
    ) -> Result<StoreAnswer, RequestError> {
        let key = Bytes::copy_from_slice(key.as_bytes());
        self.submit(node, StoreRequest::new(key, operation).at(level))
            .await
    }

    /// Sends what is no message to a node, over a connection of another one's name.
    pub(crate) async fn send_garbage_as(&self, from: u32, to: u32) {
        struct Deaf;
        impl Handler for Deaf {
            fn message(&self, _: NodeId, _: Bytes) {}
            fn reachable(&self, _: NodeId, _: bool) {}
        }
        let to = NodeId(to);
        let peers = vec![(to, self.peers[&to].clone())];
        let options = TransportOptions::new(NodeId(from), "test", "127.0.0.1:0", peers);
        let transport = Transport::start(options, Arc::new(Deaf))
            .await
            .expect("it starts");
        let deadline = Instant::now() + PATIENCE;
        until(deadline, || transport.is_reachable(to)).await;
        for length in 1..200_usize {
            transport.send(to, Bytes::from(vec![0xfe; length]));
        }
        transport.stop().await;
    }
}
