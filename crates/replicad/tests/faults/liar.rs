//! A peer that lies: a node of the cluster is replaced by one that sends what it likes.

use bytes::Bytes;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use redis::Value;
use replica::NodeId;
use replicad::transport::{Handler, Transport, TransportOptions};
use std::collections::{BTreeMap, BTreeSet};
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
    frames: Mutex<Vec<Bytes>>,
    reached: Mutex<BTreeSet<NodeId>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Handler for Heard {
    fn message(&self, _: NodeId, frame: Bytes) {
        let mut frames = lock(&self.frames);
        if frames.len() < MEMORY {
            frames.push(Bytes::copy_from_slice(&frame));
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
    runtime: tokio::runtime::Runtime,
    transport: Transport,
    heard: Arc<Heard>,
    rng: ChaCha8Rng,
}

impl Liar {
    fn start(seed: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let peer = |node| (NodeId(node), format!("{}:7101", ip(node)));
        let listen = format!("{}:7101", ip(LIAR));
        let options =
            TransportOptions::new(NodeId(LIAR), "replicad", listen, vec![peer(1), peer(2)]);
        let heard = Arc::new(Heard::default());
        let handler: Arc<dyn Handler> = heard.clone();
        let transport = runtime.block_on(Transport::start(options, handler));
        Self {
            transport: transport.expect("the address is free"),
            runtime,
            heard,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    fn say(&self, frame: &Bytes) {
        for node in [1, 2] {
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
        let mut bytes = frames[self.rng.random_range(0..frames.len())].to_vec();
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
    let liar = Liar::start(seed);
    until("the liar is connected", || {
        lock(&liar.heard.reached).len() == 2
    });
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
