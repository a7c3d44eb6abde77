//! The scenarios of the workspace's tests, played on processes: what threads and the simulator show, processes
//! show too.

use crdt::{Dot, LwwEntry, ReplicaId, Timestamp};
use redis::{Cmd, Connection, RedisError, Value, cmd};
use replica::{
    ClockKind, Command, Config, Counters, Floor, NodeId, Outcome, PartitionId, RequestError,
    StoredCell,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use system_tests::scenario::{Driver, Held, Simulated, Step, config, play};

use crate::cluster::{Cluster, Plan, connect, until};
use crate::talk::{Shown, get};

/// Several times that between two heartbeats.
const HEARTBEATS: Duration = Duration::from_secs(2);

/// Plays a scenario on processes and in the simulator; both must show the same.
///
/// # Panics
/// If something does not come as expected, or the two differ.
pub(crate) fn play_on_processes(nodes: u32, sync_interval_ms: u64, steps: &[Step]) {
    play_with(&config(nodes, sync_interval_ms), steps);
}

/// The same in a store that takes the caller's timestamps.
///
/// # Panics
/// If something does not come as expected, or the two differ.
pub(crate) fn play_with_timestamps(nodes: u32, sync_interval_ms: u64, steps: &[Step]) {
    let mut config = config(nodes, sync_interval_ms);
    config.clock = ClockKind::Caller;
    play_with(&config, steps);
}

fn play_with(config: &Config, steps: &[Step]) {
    let started = Instant::now();
    let expected = play(&mut Simulated::new(config, 1), steps);
    let mut processes = Processes::new(config);
    let played = play(&mut processes, steps);
    let [expected, played] =
        [expected, played].map(|played| played.unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(
        expected.outcomes, played.outcomes,
        "processes and the simulator do not agree"
    );
    processes.cluster.check_health();
    let (steps, seconds) = (steps.len(), started.elapsed().as_secs());
    println!(
        "{} nodes agree on {steps} steps after {seconds} s",
        config.nodes
    );
}

/// A cluster of processes.
struct Processes {
    cluster: Cluster,
    down: BTreeSet<u32>,
    /// What each session has been told of what it has seen, or of what others have.
    tokens: BTreeMap<&'static str, Vec<String>>,
}

impl Processes {
    fn new(config: &Config) -> Self {
        let sync_interval_ms = config.sync_interval_ms;
        let conflict = match config.clock {
            ClockKind::Caller => "caller",
            _ => "lamport",
        };
        let plan = Plan {
            nodes: config.nodes,
            store: format!("conflict = \"{conflict}\"\npartitions = 1"),
            timeouts: format!(
                "request_ms = 4000\nresend_ms = 20\nsync_interval_ms = {sync_interval_ms}\ndead_ms = 20000"
            ),
            ..Plan::default()
        };
        Self {
            cluster: Cluster::begun(plan),
            down: BTreeSet::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// Waits until each node that runs sees this many up.
    fn until_seen(&self, up_of: impl Fn(u32) -> usize) {
        for node in self
            .cluster
            .nodes()
            .filter(|node| !self.down.contains(node))
        {
            until("nodes see who is there", || {
                self.cluster.up_at(node) == up_of(node)
            });
        }
    }

    fn up(&self) -> usize {
        self.cluster.nodes().count() - self.down.len()
    }

    fn entry(&self, node: NodeId) -> Option<serde_json::Value> {
        if self.down.contains(&node.0) {
            return None;
        }
        let status = self.cluster.status(node.0)?;
        let nodes = status["nodes"].as_array()?;
        nodes.iter().find(|entry| entry["node"] == node.0).cloned()
    }
}

impl Driver for Processes {
    fn name(&self) -> &'static str {
        "processes"
    }

    fn node_count(&self) -> u32 {
        *self.cluster.nodes().end()
    }

    fn ask(&mut self, requests: Vec<(NodeId, Command)>) -> Vec<Result<Outcome, RequestError>> {
        let threads: Vec<_> = requests
            .into_iter()
            .map(|(node, command)| std::thread::spawn(move || ask(node, &command, &mut Vec::new())))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join());
        results.map(|result| result.expect("no panic")).collect()
    }

    fn ask_in(
        &mut self,
        session: &'static str,
        node: NodeId,
        command: Command,
    ) -> Result<Outcome, RequestError> {
        let seen = self.tokens.entry(session).or_default();
        if seen.is_empty() {
            seen.push(String::new());
        }
        ask(node, &command, seen)
    }

    fn hand_over(&mut self, from: &'static str, to: &'static str) {
        let seen = self.tokens.get(from).cloned().unwrap_or_default();
        self.tokens.entry(to).or_default().extend(seen);
    }

    fn fail(&mut self, node: NodeId) {
        self.cluster.kill(node.0);
        self.down.insert(node.0);
        std::fs::remove_dir_all(self.cluster.data(node.0)).expect("the data is there");
        self.until_seen(|_| self.up());
    }

    fn recover(&mut self, node: NodeId, accepts_loss: bool) -> bool {
        let needed = config(self.node_count(), 1).sources_needed();
        let may = self.up() >= needed;
        self.cluster.start(node.0);
        if !may {
            until("the node says that it recovers", || {
                let asked = self.cluster.ask::<Value>(node.0, &get("k", "QUORUM"));
                asked.is_err_and(|error| error.code() == Some("LOADING"))
            });
        }
        if !may && !accepts_loss {
            self.cluster.kill(node.0);
            std::fs::remove_dir_all(self.cluster.data(node.0)).expect("the data is there");
            self.until_seen(|_| self.up());
            return false;
        }
        if accepts_loss {
            let mut word = cmd("REPLICAD");
            word.arg("RECOVER").arg(node.0).arg("ACCEPT-LOSS");
            until("the word is taken", || {
                self.cluster.ask::<Value>(node.0, &word).is_ok()
            });
        }
        self.down.remove(&node.0);
        self.until_seen(|_| self.up());
        true
    }

    fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.cluster.refuse(a.0, b.0);
                self.cluster.refuse(b.0, a.0);
            }
        }
        let side = |node: u32| {
            [one, other]
                .into_iter()
                .find(|side| side.contains(&NodeId(node)))
        };
        self.until_seen(|node| side(node).map_or(0, <[NodeId]>::len));
        // A node may be silent before its connections are known to be closed: some heartbeats later they are.
        std::thread::sleep(HEARTBEATS);
    }

    fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cluster.cut(from.0, to.0);
    }

    fn heal(&mut self) {
        self.cluster.heal();
        self.until_seen(|_| self.up());
    }

    fn settle(&mut self) -> bool {
        self.cluster.until_those_up_are_equal();
        true
    }

    fn holds(&mut self, node: NodeId, key: &str) -> Option<Held> {
        let answer = self.cluster.ask(node.0, &get(key, "ONE")).ok()?;
        let shown = Shown::read(answer).expect("an answer of R.GET");
        Some(Held {
            value: shown.values.into_iter().next(),
            time: shown.timestamp,
        })
    }

    fn checksum(&mut self, node: NodeId) -> Option<u128> {
        let entry = self.entry(node)?;
        u128::from_str_radix(entry["checksum"].as_str()?, 16).ok()
    }

    fn incarnation(&mut self, node: NodeId) -> Option<u64> {
        let entry = self.entry(node)?;
        let (position, rest) = entry["incarnation"].as_str()?.split_once('~')?;
        let rest = u64::from_str_radix(rest, 16).ok()?;
        Some(position.parse::<u64>().ok()? << 32 | rest)
    }

    fn counters(&mut self) -> Counters {
        Counters::default()
    }

    fn violations(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Begins a session that has seen what these tokens say, at level `ONE`. One that has seen nothing has no text.
fn begin(connection: &mut Connection, tokens: &[String]) {
    let words = [&["R.LEVEL", "ONE"][..], &["R.SESSION", "ON"]].map(<[_]>::to_vec);
    let resumed = tokens.iter().filter(|token| !token.is_empty());
    let resumed = resumed.map(|token| vec!["R.SESSION", "TOKEN", &token[..]]);
    for words in words.into_iter().chain(resumed) {
        let said = cmd(words[0]).arg(&words[1..]).exec(connection);
        said.unwrap_or_else(|error| panic!("{words:?}: {error}"));
    }
}

/// Asks a node, in a session if it has tokens.
fn ask(node: NodeId, command: &Command, tokens: &mut Vec<String>) -> Result<Outcome, RequestError> {
    let connection = connect(node.0);
    let mut connection = connection.map_err(|_| RequestError::NodeFailed(node))?;
    if !tokens.is_empty() {
        begin(&mut connection, tokens);
    }
    let mut words = match command {
        Command::Get { .. } => cmd("R.GET"),
        Command::Write { write, .. } if write.value.is_none() => cmd("R.DEL"),
        Command::Write { .. } => cmd("R.PUT"),
        other => panic!("no words for {other:?}"),
    };
    words.arg(&command.key()[..]);
    if let Command::Write { write, .. } = command {
        words.arg(write.value.as_deref());
        if let Some(time) = write.timestamp {
            words.arg("TIMESTAMP").arg(time.0);
        }
    }
    let answer: Result<Value, RedisError> = words.query(&mut connection);
    let answer = answer.map_err(|error| request_error(&error, &words))?;
    if !tokens.is_empty() {
        let token = cmd("R.SESSION").arg("TOKEN").query(&mut connection);
        *tokens = vec![token.expect("a session has a token")];
    }
    if matches!(command, Command::Write { .. }) {
        let took_effect: i64 = redis::from_redis_value(answer).expect("1 or 0");
        return Ok(Outcome::Written {
            timestamp: Timestamp(0),
            event: None,
            seen: Floor::default(),
            stable: Arc::default(),
            took_effect: took_effect == 1,
            acknowledged: 0,
            met: replica::Met::default(),
        });
    }
    let shown = Shown::read(answer).expect("an answer of R.GET");
    let mut cell = StoredCell::default();
    for value in shown.values {
        cell.write(LwwEntry {
            dot: Dot::new(ReplicaId(1), 1),
            timestamp: Timestamp(shown.timestamp.unwrap_or(0)),
            value: Some(value.into()),
        });
    }
    Ok(Outcome::Read {
        cell,
        seen: Floor::default(),
        stable: Arc::default(),
        owners: 0,
        met: replica::Met::default(),
    })
}

/// What the text of an error says.
fn request_error(error: &RedisError, words: &Cmd) -> RequestError {
    let text = error.to_string();
    let numbers: Vec<usize> = text
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    match numbers[..] {
        [acknowledged, needed] if error.code() == Some("NOREPLICAS") => RequestError::NoMajority {
            acknowledged,
            needed,
            may_take_effect: text.contains("may still take effect"),
        },
        [answered, needed] if error.code() == Some("DEADLINE") => RequestError::Deadline {
            answered,
            needed,
            may_take_effect: text.contains("may still take effect"),
        },
        _ if error.code() == Some("TRYAGAIN") && text.contains("the session has seen") => {
            RequestError::SessionUnmet {
                partition: PartitionId(0),
                missing: 0,
                first: String::new(),
                answered: 0,
            }
        }
        _ => panic!("{words:?}: {text}"),
    }
}
