//! A cluster whose nodes are processes, as an operator and a client see it.

use crate::common::{complaint, replicad, run, runtime};
use replicad::client::{Client, Value};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long anything may take; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(90);

/// Three nodes that may run.
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    pub(crate) clients: Vec<u16>,
    children: BTreeMap<usize, Child>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        // All are held until all are known, so that they differ.
        let listeners: Vec<TcpListener> = (0..6).map(bind).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let ports: Vec<u16> = listeners.iter().map(port).collect();
        let cluster = Self {
            clients: ports[..3].to_vec(),
            directory,
            children: BTreeMap::new(),
        };
        let nodes: Vec<String> = (0..3)
            .map(|i| {
                let (id, peer, client) = (i + 1, ports[3 + i], ports[i]);
                format!(
                    r#"{{ id = {id}, address = "127.0.0.1:{peer}", client = "127.0.0.1:{client}" }}"#
                )
            })
            .collect();
        for i in 0..3 {
            let text = format!(
                "[node]\nid = {}\ndata_dir = {:?}\n[cluster]\nnodes = [{}]\n\
                 [listen]\nclients = \"127.0.0.1:{}\"\npeers = \"127.0.0.1:{}\"\n\
                 [storage]\nreserve_bytes = 0\n",
                i + 1,
                cluster.data(i),
                nodes.join(", "),
                ports[i],
                ports[3 + i],
            );
            std::fs::write(cluster.config(i), text).expect("a file");
        }
        cluster
    }

    /// A new cluster that serves.
    pub(crate) fn begun() -> Self {
        let mut cluster = Self::new();
        for i in 0..3 {
            cluster.start(i);
            until(|| cluster.ask(i, &[b"PING"]).is_some());
        }
        let port = cluster.clients[1].to_string();
        let word = run(&["bootstrap", "--port", &port]);
        assert!(word.status.success(), "{}", complaint(&word));
        cluster.until_up();
        cluster
    }

    pub(crate) fn data(&self, i: usize) -> PathBuf {
        self.directory.path().join(format!("data-{i}"))
    }

    pub(crate) fn config(&self, i: usize) -> PathBuf {
        self.directory.path().join(format!("node-{i}.toml"))
    }

    /// Starts a node.
    pub(crate) fn start(&mut self, i: usize) {
        self.start_with(i, Stdio::inherit());
    }

    /// Starts a node that writes its log there.
    pub(crate) fn start_with(&mut self, i: usize, log: Stdio) {
        let config = self.config(i);
        let config = config.to_str().expect("a path in UTF-8");
        let child = replicad(&["start", "--config", config])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts");
        self.children.insert(i, child);
    }

    pub(crate) fn kill(&mut self, i: usize) {
        let mut child = self.children.remove(&i).expect("it runs");
        child.kill().expect("the process is killed");
        child.wait().expect("the process ends");
    }

    /// Tells a node to stop.
    pub(crate) fn signal(&self, i: usize) {
        let id = self.children[&i].id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status();
        assert!(told.expect("kill runs").success());
    }

    /// Whether a node has ended, and if so, well.
    pub(crate) fn has_ended(&mut self, i: usize) -> bool {
        let child = self.children.get_mut(&i).expect("it was started");
        let ended = child.try_wait().expect("the system says");
        ended.is_some_and(|status| {
            assert!(status.success());
            true
        })
    }

    /// Where a node may write its log.
    pub(crate) fn log(&self, i: usize) -> PathBuf {
        self.directory.path().join(format!("log-{i}"))
    }

    /// Stops a node as an operator does.
    pub(crate) fn stop(&mut self, i: usize) {
        self.signal(i);
        let mut child = self.children.remove(&i).expect("it runs");
        assert!(child.wait().expect("the process ends").success());
    }

    pub(crate) fn ask(&self, i: usize, words: &[&[u8]]) -> Option<Value> {
        runtime().block_on(ask(self.clients[i], words))
    }

    /// Waits until every node serves and reaches every other.
    pub(crate) fn until_up(&self) {
        for i in self.children.keys() {
            until(|| self.up_at(*i) == self.children.len());
        }
    }

    /// How many nodes are up, as one node sees it.
    fn up_at(&self, i: usize) -> usize {
        let Some(Value::Bytes(status)) = self.ask(i, &[b"REPLICAD", b"STATUS"]) else {
            return 0;
        };
        let status: serde_json::Value = serde_json::from_slice(&status).expect("JSON");
        let nodes = status["nodes"].as_array().expect("nodes");
        nodes.iter().filter(|node| node["state"] == "up").count()
    }

    /// Waits until all nodes show the same.
    pub(crate) fn until_equal(&self) {
        until(|| {
            let status = run(&["status", "--json", "--port", &self.clients[0].to_string()]);
            let Ok(status) = serde_json::from_slice::<serde_json::Value>(&status.stdout) else {
                return false;
            };
            let nodes = status["nodes"].as_array().expect("nodes");
            let is_equal = |node: &serde_json::Value| {
                node["state"] == "up"
                    && node["checksum"] == nodes[0]["checksum"]
                    && node["lacks"].as_array().is_some_and(Vec::is_empty)
            };
            nodes.len() == 3 && nodes.iter().all(is_equal)
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            // It may have ended already.
            let _ended = child.kill();
            let _ended = child.wait();
        }
    }
}

/// Adds to a file.
pub(crate) fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().append(true).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("written");
}

async fn ask(port: u16, words: &[&[u8]]) -> Option<Value> {
    let mut client = Client::connect(port).await.ok()?;
    client.queue(words);
    client.receive().await.ok()
}

pub(crate) fn until(mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(
            start.elapsed() < PATIENCE,
            "it has not become true within {PATIENCE:?}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(value: &str) -> Value {
    Value::Bytes(bytes::Bytes::copy_from_slice(value.as_bytes()))
}

/// What a client that writes has seen.
#[derive(Debug, Default)]
struct Written {
    /// The last value of each key that was acknowledged.
    acknowledged: BTreeMap<u64, u64>,
    /// How often a node refused, and what is no reason to try another.
    refusals: Vec<String>,
}

/// Writes until it is told to stop, each key once more than before, through the first node that answers:
/// a connection that is lost or refused, or a node that says that it is the wrong one to ask, is a reason to
/// ask the next; anything else is a refusal.
fn writer(ports: &[u16], stop: &AtomicBool) -> Written {
    let mut written = Written::default();
    runtime().block_on(async {
        let (mut client, mut at) = (None::<Client>, 0);
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let (key, value) = (round % 50, round);
            let started = Instant::now();
            loop {
                assert!(started.elapsed() < PATIENCE, "no node takes a write");
                let connected = match client.take() {
                    Some(client) => Ok(client),
                    None => Client::connect(ports[at % ports.len()]).await,
                };
                let Ok(mut connected) = connected else {
                    at += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                };
                let (k, v) = (format!("k{key}"), value.to_string());
                connected.queue(&[b"SET", k.as_bytes(), v.as_bytes()]);
                match connected.receive().await {
                    Ok(Value::Error(refusal)) if is_elsewhere(&refusal) => at += 1,
                    Ok(Value::Error(refusal)) => {
                        written.refusals.push(refusal);
                        client = Some(connected);
                        break;
                    }
                    Ok(_) => {
                        written.acknowledged.insert(key, value);
                        client = Some(connected);
                        break;
                    }
                    Err(_) => at += 1,
                }
            }
        }
    });
    written
}

/// Whether a refusal means that another node is to be asked.
pub(crate) fn is_elsewhere(refusal: &str) -> bool {
    ["LOADING", "NODEFAILED"]
        .iter()
        .any(|code| refusal.starts_with(code))
}

pub(crate) fn value_of(value: &Value) -> u64 {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).parse().expect("a number"),
        other => panic!("not a value: {other:?}"),
    }
}

/// Checks that every acknowledged write, or a later one, shows at every node.
fn check(cluster: &Cluster, written: &Written) {
    assert!(
        written.acknowledged.len() > 10,
        "hardly anything was written"
    );
    for (key, value) in &written.acknowledged {
        let key = format!("k{key}");
        let shown = [0, 1, 2].map(|i| {
            let read = cluster.ask(i, &[b"GET", key.as_bytes()]);
            value_of(&read.expect("the node answers"))
        });
        assert!(
            shown.iter().all(|shown| shown >= value),
            "{key}: {shown:?} of {value}"
        );
    }
}

#[test]
fn a_word_begins_the_cluster_and_what_is_written_through_one_is_read_through_another() {
    let mut cluster = Cluster::new();
    for i in 0..2 {
        cluster.start(i);
        until(|| cluster.ask(i, &[b"PING"]).is_some());
    }
    let refused = cluster.ask(0, &[b"SET", b"k", b"v"]).expect("an answer");
    assert!(format!("{refused:?}").contains("LOADING"), "{refused:?}");
    cluster.start(2);
    let word = run(&["bootstrap", "--port", &cluster.clients[0].to_string()]);
    assert!(word.status.success(), "{}", complaint(&word));
    let again = run(&["bootstrap", "--port", &cluster.clients[2].to_string()]);
    assert!(!again.status.success(), "once");
    cluster.until_up();
    assert_eq!(cluster.ask(0, &[b"SET", b"k", b"v"]), Some(text("OK")));
    assert_eq!(cluster.ask(1, &[b"GET", b"k"]), Some(text("v")));
    assert_eq!(cluster.ask(2, &[b"DEL", b"k"]), Some(Value::Integer(1)));
    assert_eq!(cluster.ask(0, &[b"GET", b"k"]), Some(Value::Null));
    cluster.until_equal();
}

#[test]
fn a_node_that_is_killed_under_load_comes_back_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::begun();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|i| {
            let (mut ports, stop) = (cluster.clients.clone(), Arc::clone(&stop));
            ports.rotate_left(i);
            std::thread::spawn(move || writer(&ports, &stop))
        })
        .collect();
    for victim in [0, 1, 2, 0] {
        std::thread::sleep(Duration::from_millis(300));
        cluster.kill(victim);
        std::thread::sleep(Duration::from_millis(300));
        cluster.start(victim);
        cluster.until_up();
    }
    stop.store(true, Ordering::Relaxed);
    let mut latest = Written::default();
    for writer in writers {
        let written = writer.join().expect("no panic");
        // Of two writers of a key either may be the last.
        for (key, value) in written.acknowledged {
            let held = latest.acknowledged.entry(key).or_insert(value);
            *held = value.min(*held);
        }
    }
    check(&cluster, &latest);
    cluster.until_equal();
}

#[test]
fn a_node_that_has_lost_its_data_recovers_from_the_others() {
    let mut cluster = Cluster::begun();
    for n in 0..200 {
        let (key, value) = (format!("k{n}"), n.to_string());
        let set = cluster.ask(n % 3, &[b"SET", key.as_bytes(), value.as_bytes()]);
        assert_eq!(set, Some(text("OK")));
    }
    for (victim, what) in [(1, "store"), (2, "")] {
        cluster.stop(victim);
        let lost = cluster.data(victim).join(what);
        remove(&lost);
        cluster.start(victim);
        cluster.until_up();
        assert_eq!(cluster.ask(victim, &[b"DBSIZE"]), Some(Value::Integer(200)));
    }
    cluster.until_equal();
}

#[test]
fn a_node_with_other_settings_of_the_store_is_refused_by_its_data_and_by_its_peers() {
    let mut cluster = Cluster::begun();
    assert_eq!(cluster.ask(0, &[b"SET", b"k", b"v"]), Some(text("OK")));
    cluster.until_equal();
    cluster.stop(2);
    append(&cluster.config(2), "[store]\npartitions = 3\n");
    let config = cluster.config(2);
    let refused = run(&["start", "--config", config.to_str().expect("UTF-8")]);
    assert!(!refused.status.success());
    let reason = complaint(&refused);
    assert!(reason.contains("store.partitions is 3 here"), "{reason}");
    // Without data it starts, and nobody talks to it.
    remove(&cluster.data(2));
    let log = std::fs::File::create(cluster.log(2)).expect("a file");
    cluster.start_with(2, log.into());
    let says = |what: &str| {
        let log = std::fs::read_to_string(cluster.log(2)).expect("a log");
        log.contains(what)
    };
    until(|| says("have to agree on their store, and store.partitions is"));
    assert_eq!(cluster.up_at(0), 2);
    assert_eq!(cluster.ask(1, &[b"GET", b"k"]), Some(text("v")));
}

#[test]
fn increments_and_members_through_three_processes_are_all_there() {
    const EACH: i64 = 300;
    let cluster = Cluster::begun();
    let clients: Vec<_> = cluster
        .clients
        .iter()
        .enumerate()
        .map(|(i, port)| {
            let (i, port) = (i as i64, *port);
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let mut client = Client::connect(port).await.expect("connected");
                    for n in 0..EACH {
                        let (by, member) = ((n + i).to_string(), format!("{i}-{n}"));
                        client.queue(&[b"INCRBY", b"visits", by.as_bytes()]);
                        client.queue(&[b"SADD", b"visitors", member.as_bytes()]);
                        client.queue(&[b"SET", format!("k{n}").as_bytes(), b"between"]);
                    }
                    for _ in 0..EACH {
                        let counted = client.receive().await.expect("a reply");
                        assert!(matches!(counted, Value::Integer(_)), "{counted:?}");
                        assert_eq!(client.receive().await.expect("a reply"), Value::Integer(1));
                        assert_eq!(client.receive().await.expect("a reply"), text("OK"));
                    }
                });
            })
        })
        .collect();
    for client in clients {
        client.join().expect("no panic");
    }
    let sum: i64 = (0..3).map(|i| (0..EACH).map(|n| n + i).sum::<i64>()).sum();
    for i in 0..3 {
        assert_eq!(
            cluster.ask(i, &[b"GET", b"visits"]),
            Some(text(&sum.to_string()))
        );
        let size = cluster.ask(i, &[b"SCARD", b"visitors"]);
        assert_eq!(size, Some(Value::Integer(3 * EACH)));
    }
    assert_eq!(
        cluster.ask(0, &[b"SREM", b"visitors", b"1-7", b"9-9"]),
        Some(Value::Integer(1))
    );
    let is_member = cluster.ask(2, &[b"SISMEMBER", b"visitors", b"1-7"]);
    assert_eq!(is_member, Some(Value::Integer(0)));
    cluster.until_equal();
}

fn remove(path: &Path) {
    let removed = match path.is_dir() {
        true => std::fs::remove_dir_all(path),
        false => std::fs::remove_file(path),
    };
    removed.expect("it was there");
}
