//! A peer that lies: a node of the cluster is replaced by one that sends what it likes.

use bytes::Bytes;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use redis::Value;
use replica::NodeId;
use replicad::transport::{Handler, Transport, TransportOptions};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cluster::{Cluster, Plan, ip, until};
use crate::talk::{Shown, get, put};

/// The node that lies.
const LIAR: u32 = 3;

/// Most frames that it remembers.
const MEMORY: usize = 4_000;

/// Far more than a node may need here, and far less than the lengths that lies announce.
const MEMORY_KIB: u64 = 1 << 20;

/// What the liar has heard.
#[derive(Default)]
struct Heard {
    frames: Mutex<Vec<(NodeId, Bytes)>>,
    reached: Mutex<BTreeSet<NodeId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handler for Heard {
    fn message(&self, from: NodeId, frame: Bytes) {
        let mut frames = lock(&self.frames);
        if frames.len() < MEMORY {
            frames.push((from, Bytes::copy_from_slice(&frame)));
        }
    }

    fn reachable(&self, node: NodeId, reachable: bool) {
        match reachable {
            true => lock(&self.reached).insert(node),
            false => lock(&self.reached).remove(&node),
        };
    }
}

/// The liar and its connections.
struct Liar {
    others: [u32; 2],
    runtime: tokio::runtime::Runtime,
    transport: Transport,
    heard: Arc<Heard>,
    rng: ChaCha8Rng,
}

impl Liar {
    /// One in the place of a node, connected with the others.
    fn start(node: u32, seed: u64) -> Self {
        let mut others = (1..=3).filter(|other| *other != node);
        let others = [(); 2].map(|()| others.next().expect("two others"));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let peer = |node| (NodeId(node), format!("{}:7101", ip(node)));
        let listen = format!("{}:7101", ip(node));
        let peers = others.map(peer).to_vec();
        let options = TransportOptions::new(NodeId(node), "replicad", listen, peers);
        let heard = Arc::new(Heard::default());
        let handler: Arc<dyn Handler> = heard.clone();
        let transport = runtime.block_on(Transport::start(options, handler));
        let liar = Self {
            others,
            transport: transport.expect("the address is free"),
            runtime,
            heard,
            rng: ChaCha8Rng::seed_from_u64(seed),
        };
        until("the liar is connected", || {
            lock(&liar.heard.reached).len() == 2
        });
        liar
    }

    /// What a node has said to it.
    fn said_by(&self, node: u32) -> Vec<Bytes> {
        let frames = lock(&self.heard.frames);
        let of_node = frames.iter().filter(|(from, _)| *from == NodeId(node));
        of_node.map(|(_, frame)| frame.clone()).collect()
    }

    fn say(&self, frame: &Bytes) {
        for node in self.others {
            self.transport.send(NodeId(node), frame.clone());
        }
    }

    /// Bytes that are no message.
    fn babble(&mut self) {
        let length = self.rng.random_range(1..2_000);
        let mut bytes = vec![0; length];
        self.rng.fill(&mut bytes[..]);
        // No message begins so.
        bytes[0] = 0xff;
        self.say(&bytes.into());
    }

    /// A message that somebody has sent, nearly: other lengths, other counters, other times, other nodes.
    fn twist(&mut self) {
        let frames = lock(&self.heard.frames);
        if frames.is_empty() {
            return;
        }
        let mut bytes = frames[self.rng.random_range(0..frames.len())].1.to_vec();
        drop(frames);
        for _ in 0..self.rng.random_range(0..4) {
            let at = self.rng.random_range(0..bytes.len());
            match self.rng.random_range(0..3) {
                0 => bytes[at] = self.rng.random(),
                1 => bytes[at] = 0xff,
                _ => {
                    // The largest number that fits, in place of whatever stands there.
                    let largest = [vec![0xff; 9], vec![1]].concat();
                    drop(bytes.splice(at..=at, largest));
                }
            }
        }
        self.say(&bytes.into());
    }

    fn stop(self) {
        self.runtime.block_on(self.transport.stop());
    }
}

/// While one of three sends garbage, the other two serve as if it were down, and what they hold stays as it was.
pub(crate) fn garbage_harms_nobody() {
    let (mut cluster, mut liar) = begun();
    for n in 0..200 {
        for _ in 0..5 {
            liar.babble();
        }
        write(&cluster, n % 2 + 1, 100 + n).expect("two honest nodes are a quorum");
    }
    for n in 0..50 {
        let read: Value = cluster
            .ask(n % 2 + 1, &get(&format!("k{n}"), "QUORUM"))
            .expect("a quorum");
        let shown = Shown::read(read).expect("an answer of R.GET");
        assert_eq!(shown.values, [n.to_string()], "k{n}");
    }
    end(&mut cluster, liar);
}

/// While one of three sends what looks like messages, the others go on running within their memory; with an
/// honest node back in its place, all three agree and serve.
pub(crate) fn lies_harm_nobody_for_long() {
    let (mut cluster, mut liar) = begun();
    let mut refusals = BTreeMap::<String, u32>::new();
    for n in 0..200 {
        for _ in 0..10 {
            liar.twist();
        }
        if let Err(error) = write(&cluster, n % 2 + 1, 300 + n) {
            *refusals.entry(error.to_string()).or_default() += 1;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    println!("of 200 writes beside the liar were refused: {refusals:#?}");
    end(&mut cluster, liar);
}

/// What a node has said before it lost its data is refused when somebody says it again in its place: those were
/// another incarnation's events and acknowledgements.
pub(crate) fn a_former_life_is_refused() {
    const METRICS: &str = "\n[metrics]\nlisten = \"0.0.0.0:7201\"";
    let mut plan = Plan::patient();
    plan.timeouts.push_str(METRICS);
    let mut cluster = Cluster::begun(plan);
    let keys = 0..30;
    let write_all = |cluster: &Cluster, node: u32, from: u32| {
        for n in keys.clone() {
            let put = put(&format!("k{n}"), &(from + n).to_string(), "QUORUM");
            cluster.ask::<i64>(node, &put).expect("a quorum");
        }
    };
    write_all(&cluster, 1, 0);
    cluster.until_equal();
    // Listens in the place of node 1 to what node 3 says.
    cluster.kill(1);
    cluster.take_place_of(1);
    let ear = Liar::start(1, 0);
    write_all(&cluster, LIAR, 100);
    until("the writes of node 3 are heard", || {
        ear.said_by(LIAR).len() >= keys.len()
    });
    let said = ear.said_by(LIAR);
    ear.stop();
    cluster.give_place_back(1);
    cluster.start(1);
    cluster.until_up();
    // Node 3 loses all that it has, and comes back as another incarnation.
    cluster.kill(LIAR);
    std::fs::remove_dir_all(cluster.data(LIAR)).expect("the data is there");
    cluster.start(LIAR);
    cluster.until_up();
    write_all(&cluster, 2, 200);
    cluster.until_equal();
    cluster.kill(LIAR);
    cluster.take_place_of(LIAR);
    let liar = Liar::start(LIAR, 0);
    let fenced = || [1, 2].map(fenced_messages);
    let before = fenced();
    said.iter().for_each(|frame| liar.say(frame));
    until("what was said again is refused", || {
        let now = fenced();
        (0..2).all(|i| now[i] >= before[i] + keys.len() as u64)
    });
    for (node, n) in [1, 2]
        .into_iter()
        .flat_map(|node| keys.clone().map(move |n| (node, n)))
    {
        let read: Value = cluster
            .ask(node, &get(&format!("k{n}"), "ONE"))
            .expect("it serves");
        let shown = Shown::read(read).expect("an answer of R.GET");
        assert_eq!(shown.values, [(200 + n).to_string()], "k{n} at node {node}");
    }
    end(&mut cluster, liar);
}

/// How many messages of replaced incarnations a node has refused.
fn fenced_messages(node: u32) -> u64 {
    let mut connection = TcpStream::connect((ip(node).as_str(), 7201)).expect("it listens");
    let request = b"GET /metrics HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n";
    connection.write_all(request).expect("it reads");
    let mut text = String::new();
    connection.read_to_string(&mut text).expect("it answers");
    let counts = text
        .lines()
        .filter(|line| line.contains("protocol_fenced_messages") && !line.starts_with('#'));
    let count = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
    counts.filter_map(count).sum()
}

/// A cluster that holds something, with the liar in the place of one of its nodes.
fn begun() -> (Cluster, Liar) {
    let seed = getrandom::u64().expect("randomness");
    println!("the liar draws from seed {seed}");
    let mut cluster = Cluster::begun(Plan::patient());
    for n in 0..50 {
        write(&cluster, n % 3 + 1, n).expect("a quorum");
    }
    cluster.until_equal();
    cluster.kill(LIAR);
    cluster.take_place_of(LIAR);
    let liar = Liar::start(LIAR, seed);
    (cluster, liar)
}

/// The honest node takes its place again.
fn end(cluster: &mut Cluster, liar: Liar) {
    cluster.check_health();
    for node in [1, 2] {
        let resident = cluster.resident_kib(node);
        assert!(resident < MEMORY_KIB, "node {node} takes {resident} KiB");
    }
    liar.stop();
    cluster.give_place_back(LIAR);
    cluster.start(LIAR);
    cluster.until_up();
    cluster.until_equal();
    for n in 0..30 {
        write(cluster, n % 3 + 1, 600 + n).expect("a quorum");
    }
    cluster.until_equal();
    cluster.check_health();
}

fn write(cluster: &Cluster, node: u32, n: u32) -> redis::RedisResult<i64> {
    cluster.ask(node, &put(&format!("k{n}"), &n.to_string(), "QUORUM"))
}
