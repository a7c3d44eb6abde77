//! A cluster of processes, each in a network of its own.

use redis::{Cmd, Connection, FromRedisValue, RedisResult};
use replica::NodeId;
use replicad::certificates::{self, Authority};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::world::{output, run};

/// How long anything may take; far more than it needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// How long a client waits for a connection: packets to a node that is cut off are lost.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);

/// How long a client of a round waits for a node: longer than the node takes to give up a request.
const ANSWER_PATIENCE: Duration = Duration::from_millis(2_500);

/// How long a request may take, unless the plan says otherwise.
pub(crate) const REQUEST_MS: u64 = 1_500;

/// The name of every cluster, which is the default.
const CLUSTER_NAME: &str = "replicad";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// How many nodes.
    pub(crate) nodes: u32,
    /// How many of them hold each key; all if it is not said.
    pub(crate) owners: Option<u32>,
    /// The section `[store]` of their files, without that.
    pub(crate) store: String,
    /// The section `[storage]`.
    pub(crate) storage: String,
    /// The section `[limits]`.
    pub(crate) limits: String,
    /// The section `[timeouts]`.
    pub(crate) timeouts: String,
    /// Whether they speak TLS with each other.
    pub(crate) has_tls: bool,
    /// Whether their clocks can be set.
    pub(crate) has_clocks: bool,
    /// Size of a file system of its own for each node, in MiB.
    pub(crate) disk_mib: Option<u32>,
}

impl Plan {
    /// Nodes that give up late: where every request has to succeed, however slow the machine is.
    pub(crate) fn patient() -> Self {
        Self {
            timeouts: "request_ms = 40000\ndead_ms = 30000".into(),
            ..Self::default()
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 3,
            owners: None,
            store: String::new(),
            storage: "reserve_bytes = 0".into(),
            limits: String::new(),
            timeouts: format!("request_ms = {REQUEST_MS}"),
            has_tls: false,
            has_clocks: false,
            disk_mib: None,
        }
    }
}

/// A cluster. Its nodes end with it.
#[derive(Debug)]
pub(crate) struct Cluster {
    directory: tempfile::TempDir,
    plan: Plan,
    children: BTreeMap<u32, Child>,
    /// The library that sets clocks.
    faketime: Option<String>,
}

/// The address of a node.
pub(crate) fn ip(node: u32) -> String {
    format!("10.77.0.{}", 10 + node)
}

/// Connects to a node as a client.
pub(crate) fn connect(node: u32) -> RedisResult<Connection> {
    connect_for(node, PATIENCE)
}

/// Connects as a client that soon asks another node.
pub(crate) fn connect_briefly(node: u32) -> RedisResult<Connection> {
    connect_for(node, ANSWER_PATIENCE)
}

fn connect_for(node: u32, patience: Duration) -> RedisResult<Connection> {
    let client = redis::Client::open(format!("redis://{}:7001/", ip(node)))?;
    let connection = client.get_connection_with_timeout(patience.min(CONNECT_PATIENCE))?;
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))?;
    Ok(connection)
}

/// Waits for something to become true.
pub(crate) fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(
            start.elapsed() < PATIENCE,
            "not within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The library that sets clocks; `None` if it is not installed.
pub(crate) fn faketime() -> Option<String> {
    let mut command = Command::new("faketime");
    let told = command
        .args(["-f", "+0s", "printenv", "LD_PRELOAD"])
        .output();
    let told = told.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

impl Cluster {
    /// Nodes that have not started, connected with each other.
    pub(crate) fn new(plan: Plan) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let faketime = plan
            .has_clocks
            .then(|| faketime().expect("faketime is installed"));
        let cluster = Self {
            directory,
            plan,
            children: BTreeMap::new(),
            faketime,
        };
        if cluster.plan.has_tls {
            cluster.certify();
        }
        for node in cluster.nodes() {
            cluster.wire(node);
            std::fs::write(cluster.file(node, "toml"), cluster.settings(node)).expect("a file");
            std::fs::create_dir(cluster.disk(node)).expect("a directory");
            if let Some(mib) = cluster.plan.disk_mib {
                let disk = cluster.disk(node);
                run(&format!(
                    "mount -t tmpfs -o size={mib}m tmpfs {}",
                    disk.display()
                ));
            }
            cluster.set_clock(node, 0);
        }
        cluster
    }

    /// A new cluster that serves.
    pub(crate) fn begun(plan: Plan) -> Self {
        let mut cluster = Self::new(plan);
        for node in cluster.nodes() {
            cluster.start(node);
        }
        let mut word = redis::cmd("REPLICAD");
        word.arg("BOOTSTRAP");
        until("the cluster begins", || {
            cluster.ask::<String>(1, &word).is_ok() || cluster.up_at(1) > 0
        });
        cluster.until_up();
        cluster
    }

    /// Connects a node's network to the bridge.
    fn wire(&self, node: u32) {
        run(&format!("ip netns add n{node}"));
        run(&format!(
            "ip link add v{node} type veth peer name eth0 netns n{node}"
        ));
        run(&format!("ip link set v{node} master br0 up"));
        run(&format!("ip -n n{node} addr add {}/24 dev eth0", ip(node)));
        run(&format!("ip -n n{node} link set eth0 up"));
        run(&format!("ip -n n{node} link set lo up"));
    }

    /// Makes an authority, and a certificate of each node.
    fn certify(&self) {
        let certificates = self.certificates();
        certificates::make_authority(&certificates, CLUSTER_NAME, 1).expect("an authority");
        let authority = Authority::load(&certificates).expect("it was just made");
        for node in self.nodes() {
            let hosts = [ip(node)];
            authority
                .make_node(&certificates, CLUSTER_NAME, NodeId(node), &hosts, 1)
                .expect("a certificate");
        }
    }

    fn certificates(&self) -> PathBuf {
        self.directory.path().join("certificates")
    }

    fn tls_settings(&self, node: u32) -> String {
        if !self.plan.has_tls {
            return String::new();
        }
        let file = |name: String| self.certificates().join(name);
        format!(
            "[tls.peers]\nca = {:?}\ncert = {:?}\nkey = {:?}\n",
            file("ca.pem".into()),
            file(format!("node-{node}.pem")),
            file(format!("node-{node}-key.pem")),
        )
    }

    fn settings(&self, node: u32) -> String {
        let entry = |id: u32| {
            let ip = ip(id);
            format!(r#"{{ id = {id}, address = "{ip}:7101", client = "{ip}:7001" }}"#)
        };
        let nodes: Vec<String> = self.nodes().map(entry).collect();
        let owners = self.plan.owners.unwrap_or(self.plan.nodes);
        format!(
            "[node]\nid = {node}\ndata_dir = {:?}\n[cluster]\nnodes = [{}]\n\
             [listen]\nclients = \"{ip}:7001\"\npeers = \"{ip}:7101\"\ninsecure = true\n\
             [store]\nreplication_factor = {owners}\n{}\n[storage]\n{}\n[limits]\n{}\n[timeouts]\n{}\n{}",
            self.data(node),
            nodes.join(", "),
            self.plan.store,
            self.plan.storage,
            self.plan.limits,
            self.plan.timeouts,
            self.tls_settings(node),
            ip = ip(node),
        )
    }

    /// The numbers of the nodes.
    pub(crate) fn nodes(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.plan.nodes
    }

    /// The file system of a node.
    pub(crate) fn disk(&self, node: u32) -> PathBuf {
        self.directory.path().join(format!("disk-{node}"))
    }

    /// The data directory of a node.
    pub(crate) fn data(&self, node: u32) -> PathBuf {
        self.disk(node).join("data")
    }

    fn file(&self, node: u32, extension: &str) -> PathBuf {
        self.directory
            .path()
            .join(format!("node-{node}.{extension}"))
    }

    /// Starts a node.
    pub(crate) fn start(&mut self, node: u32) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.file(node, "log"));
        let log = log.expect("a file");
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/n{node}"))
            .arg(env!("CARGO_BIN_EXE_replicad"))
            .args(["start", "--config"])
            .arg(self.file(node, "toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        if let Some(library) = &self.faketime {
            command
                .env("LD_PRELOAD", library)
                .env("FAKETIME_TIMESTAMP_FILE", self.file(node, "clock"))
                .env("FAKETIME_NO_CACHE", "1")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
                .env("DONT_FAKE_MONOTONIC", "1");
        }
        let child = command.spawn().expect("the program starts");
        self.children.insert(node, child);
    }

    /// Sets the clock of a node this many seconds before or behind the machine's, also while it runs.
    pub(crate) fn set_clock(&self, node: u32, seconds: i64) {
        std::fs::write(self.file(node, "clock"), format!("{seconds:+}s\n")).expect("a file");
    }

    /// Kills a node as `kill -9` does.
    pub(crate) fn kill(&mut self, node: u32) {
        let mut child = self.children.remove(&node).expect("it runs");
        child.kill().expect("the process is killed");
        child.wait().expect("the process ends");
    }

    /// Stops a node as an operator does.
    pub(crate) fn stop(&mut self, node: u32) {
        self.signal(node, "TERM");
        let mut child = self.children.remove(&node).expect("it runs");
        assert!(child.wait().expect("the process ends").success());
    }

    /// Sends a signal to a node.
    pub(crate) fn signal(&self, node: u32, signal: &str) {
        run(&format!("kill -{signal} {}", self.children[&node].id()));
    }

    /// Whether a node's process is there.
    pub(crate) fn is_running(&mut self, node: u32) -> bool {
        let child = self.children.get_mut(&node);
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The memory of a node, in KiB.
    pub(crate) fn resident_kib(&self, node: u32) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.children[&node].id()));
        let status = status.expect("the node runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number
            .and_then(|number| number.parse().ok())
            .expect("a number")
    }

    /// Asks a node over a connection of its own.
    pub(crate) fn ask<T: FromRedisValue>(&self, node: u32, command: &Cmd) -> RedisResult<T> {
        command.query(&mut connect(node)?)
    }

    /// What a node says of all nodes; `None` if it does not answer.
    pub(crate) fn status(&self, node: u32) -> Option<serde_json::Value> {
        let mut command = redis::cmd("REPLICAD");
        let text: String = self.ask(node, command.arg("STATUS")).ok()?;
        Some(serde_json::from_str(&text).expect("JSON"))
    }

    /// How many nodes are up, as one node sees it.
    pub(crate) fn up_at(&self, node: u32) -> usize {
        let status = self.status(node);
        let nodes = status
            .as_ref()
            .and_then(|status| status["nodes"].as_array());
        let is_up = |node: &&serde_json::Value| node["state"] == "up";
        nodes.map_or(0, |nodes| nodes.iter().filter(is_up).count())
    }

    /// Waits until every node that runs serves and reaches all that run.
    pub(crate) fn until_up(&self) {
        for node in self.children.keys() {
            let what = format!("node {node} sees {} nodes up", self.children.len());
            until(&what, || self.up_at(*node) >= self.children.len());
        }
    }

    /// Waits until all nodes know and show the same.
    pub(crate) fn until_equal(&self) {
        let mut last = None;
        let start = Instant::now();
        while !self.is_equal(&mut last) {
            assert!(
                start.elapsed() < PATIENCE,
                "the nodes are not equal within {PATIENCE:?}: {last:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the nodes that run know and show the same.
    pub(crate) fn until_those_up_are_equal(&self) {
        let Some(asked) = self.children.keys().next() else {
            return;
        };
        until("the nodes that are up are equal", || {
            let status = self.status(*asked);
            let nodes = status
                .as_ref()
                .and_then(|status| status["nodes"].as_array());
            let up: Vec<_> = nodes
                .into_iter()
                .flatten()
                .filter(|node| node["state"] == "up")
                .collect();
            let is_equal = |node: &&serde_json::Value| {
                let lacks = node["lacks"].as_array();
                node["checksum"] == up[0]["checksum"] && lacks.is_some_and(Vec::is_empty)
            };
            up.len() == self.children.len() && up.iter().all(is_equal)
        });
    }

    fn is_equal(&self, last: &mut Option<serde_json::Value>) -> bool {
        if self.plan.owners.is_some() {
            return self.owners_are_equal(last);
        }
        *last = self.status(1);
        let nodes = last.as_ref().and_then(|status| status["nodes"].as_array());
        nodes.is_some_and(|nodes| {
            let is_equal = |node: &serde_json::Value| {
                node["state"] == "up"
                    && node["checksum"] == nodes[0]["checksum"]
                    && node["lacks"].as_array().is_some_and(Vec::is_empty)
            };
            nodes.len() == self.plan.nodes as usize && nodes.iter().all(is_equal)
        })
    }

    /// Whether the owners of each partition show the same, where nodes hold different keys.
    fn owners_are_equal(&self, last: &mut Option<serde_json::Value>) -> bool {
        let mut command = redis::cmd("REPLICAD");
        let text: RedisResult<String> = self.ask(1, command.arg("VERIFY"));
        let verdict = text.map(|text| serde_json::from_str(&text).expect("JSON"));
        *last = verdict.ok().map(|verdict: serde_json::Value| {
            serde_json::json!({ "outcome": verdict["outcome"], "unequal": verdict["unequal"] })
        });
        last.as_ref().is_some_and(|last| last["outcome"] == "equal")
    }

    /// Checks that no node has ended by itself or panicked.
    pub(crate) fn check_health(&mut self) {
        for node in self.children.keys().copied().collect::<Vec<_>>() {
            let log = std::fs::read_to_string(self.file(node, "log")).expect("a log");
            // By the log, or by the standard library before there is one.
            let is_panic = |line: &str| line.contains("panicked");
            assert!(!log.lines().any(is_panic), "node {node}: {log}");
            assert!(self.is_running(node), "node {node} has ended: {log}");
        }
    }

    /// Drops what a node gets from another.
    pub(crate) fn cut(&self, from: u32, to: u32) {
        run(&inside(
            to,
            &format!("iptables -A INPUT -s {} -j DROP", ip(from)),
        ));
    }

    /// Packets that were dropped on their way to a node, since its network was last mended.
    pub(crate) fn dropped(&self, node: u32) -> u64 {
        let listed = output(&inside(node, "iptables -L INPUT -v -n -x"));
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let packets = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let packets: u64 = words.next()?.parse().ok()?;
            (words.nth(1)? == "DROP").then_some(packets)
        });
        packets.sum()
    }

    /// Packets of a node that were held up or dropped because it may send but little.
    pub(crate) fn delayed(&self, node: u32) -> u64 {
        let shown = output(&inside(node, "tc -s qdisc show dev eth0"));
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let shaped = text.split("qdisc ").filter(|of| of.starts_with("tbf"));
        let counted = shaped.flat_map(|of| {
            let words: Vec<&str> = of.split([' ', ',', '(', ')']).collect();
            let behind = |name: &str| {
                let at = words.iter().position(|word| *word == name)?;
                words.get(at + 1)?.parse::<u64>().ok()
            };
            [behind("dropped"), behind("overlimits")]
        });
        counted.flatten().sum()
    }

    /// Whether a node's process stands still.
    pub(crate) fn is_paused(&self, node: u32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.children[&node].id()));
        let status = status.unwrap_or_default();
        let state = status.lines().find(|line| line.starts_with("State:"));
        state.is_some_and(|state| state.contains("T (stopped)"))
    }

    /// Refuses, as a closed port does, what a node gets from another, but for refusals.
    pub(crate) fn refuse(&self, from: u32, to: u32) {
        let rule = format!(
            "-s {} -p tcp -m tcp ! --tcp-flags RST RST -j REJECT --reject-with tcp-reset",
            ip(from)
        );
        run(&inside(to, &format!("iptables -A INPUT {rule}")));
    }

    /// Drops a part of all packets that a node gets.
    pub(crate) fn lose(&self, node: u32, part: f64) {
        let rule = format!("-m statistic --mode random --probability {part} -j DROP");
        run(&inside(node, &format!("iptables -A INPUT -i eth0 {rule}")));
    }

    /// Makes what a node sends slow: few bytes a second, and what waits for them waits long.
    pub(crate) fn slow_down(&self, node: u32) {
        let shape = "root tbf rate 2mbit burst 16kb latency 400ms";
        run(&inside(node, &format!("tc qdisc add dev eth0 {shape}")));
    }

    /// Takes over the address of a node that does not run.
    pub(crate) fn take_place_of(&self, node: u32) {
        run(&format!("ip link set v{node} down"));
        run(&format!("ip addr add {}/24 dev br0", ip(node)));
        self.forget_neighbours();
    }

    /// Gives the address back.
    pub(crate) fn give_place_back(&self, node: u32) {
        run(&format!("ip addr del {}/24 dev br0", ip(node)));
        run(&format!("ip link set v{node} up"));
        self.forget_neighbours();
    }

    /// Makes everybody ask again which machine has which address.
    fn forget_neighbours(&self) {
        run("ip neigh flush all");
        for node in self.nodes() {
            run(&format!("ip -n n{node} neigh flush all"));
        }
    }

    /// Mends the whole network.
    pub(crate) fn heal(&self) {
        for node in self.nodes() {
            run(&inside(node, "iptables -F INPUT"));
            // There may be none.
            let _none = output(&inside(node, "tc qdisc del dev eth0 root"));
        }
    }
}

/// A command line in the network of a node.
fn inside(node: u32, line: &str) -> String {
    format!("nsenter --net=/run/netns/n{node} {line}")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.children.values_mut() {
            // It may have ended already.
            let _ended = child.kill();
            let _ended = child.wait();
        }
        if std::thread::panicking() {
            for node in self.nodes() {
                let log = std::fs::read_to_string(self.file(node, "log")).unwrap_or_default();
                let from = log.len().saturating_sub(2_000);
                eprintln!("-- node {node}: {}", log.get(from..).unwrap_or(&log));
            }
        }
        for node in self.nodes() {
            if self.plan.disk_mib.is_some() {
                let _unmounted = output(&format!("umount {}", self.disk(node).display()));
            }
            // The next cluster of this world has the same names.
            let _gone = output(&format!("ip link del v{node}"));
            let _gone = output(&format!("ip netns del n{node}"));
        }
    }
}
