//! Nodes that are stopped and started again one after the other, while clients go on.

use crate::common::runtime;
use crate::nodes::{Cluster, is_elsewhere, value_of};
use replicad::client::{Client, Value};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a client looks for a node that answers; far more than a restart takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// The keys that are written.
const KEYS: u64 = 20;

type Words = Vec<String>;

fn words(words: &[&str]) -> Words {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A client that asks the next node when one is gone, or says that it is the wrong one to ask. Anything else is a
/// refusal.
struct Anybody {
    ports: Vec<u16>,
    at: usize,
    client: Option<Client>,
    /// What it says on each new connection.
    greeting: Vec<Words>,
}

impl Anybody {
    fn new(ports: &[u16], first: usize, greeting: Vec<Words>) -> Self {
        Self {
            ports: ports.to_vec(),
            at: first,
            client: None,
            greeting,
        }
    }

    /// The replies to commands that one node has answered, all of them on one connection.
    async fn ask(&mut self, commands: &[Words]) -> Result<Vec<Value>, String> {
        let started = Instant::now();
        loop {
            assert!(started.elapsed() < PATIENCE, "no node takes {commands:?}");
            match self.try_ask(commands).await {
                Some(Ok(replies)) => return Ok(replies),
                Some(Err(refusal)) if !is_elsewhere(&refusal) => return Err(refusal),
                _ => {
                    self.client = None;
                    self.at += 1;
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
    }

    /// The same of one node; nothing if the connection was lost.
    async fn try_ask(&mut self, commands: &[Words]) -> Option<Result<Vec<Value>, String>> {
        let (mut client, greeting) = match self.client.take() {
            Some(client) => (client, &[][..]),
            None => {
                let port = self.ports[self.at % self.ports.len()];
                (Client::connect(port).await.ok()?, &self.greeting[..])
            }
        };
        for words in greeting.iter().chain(commands) {
            let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            client.queue(&words);
        }
        let mut replies = Vec::new();
        for _ in 0..greeting.len() + commands.len() {
            replies.push(client.receive().await.ok()?);
        }
        let refusal = replies.iter().find_map(|reply| match reply {
            Value::Error(refusal) => Some(refusal.clone()),
            _ => None,
        });
        if let Some(refusal) = refusal {
            return Some(Err(refusal));
        }
        self.client = Some(client);
        Some(Ok(replies.split_off(greeting.len())))
    }
}

/// What the clients of a test share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The last value of each key that was acknowledged.
    acknowledged: Mutex<BTreeMap<u64, u64>>,
    /// What was refused, or should not have been seen.
    wrong: Mutex<Vec<String>>,
    written: AtomicU64,
    read: [AtomicU64; 2],
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn complain(&self, what: String) {
        self.wrong.lock().expect("not poisoned").push(what);
    }

    fn acknowledged(&self, key: u64) -> Option<u64> {
        let acknowledged = self.acknowledged.lock().expect("not poisoned");
        acknowledged.get(&key).copied()
    }
}

/// Writes each key again and again, with rising values.
async fn write(shared: &Shared, mut anybody: Anybody) {
    for round in 1.. {
        if !shared.goes_on() {
            return;
        }
        let key = round % KEYS;
        let set = words(&["SET", &format!("k{key}"), &round.to_string()]);
        match anybody.ask(&[set]).await {
            Ok(_) => {
                let mut acknowledged = shared.acknowledged.lock().expect("not poisoned");
                acknowledged.insert(key, round);
                shared.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(refusal) => shared.complain(format!("a write is refused: {refusal}")),
        }
    }
}

/// Reads at level `QUORUM` what was acknowledged before, or something later.
async fn read_at_majority(shared: &Shared, mut anybody: Anybody) {
    for round in 0.. {
        if !shared.goes_on() {
            return;
        }
        // Every read through another node.
        (anybody.client, anybody.at) = (None, anybody.at + 1);
        let key = round % KEYS;
        let Some(least) = shared.acknowledged(key) else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        match anybody.ask(&[words(&["GET", &format!("k{key}")])]).await {
            Ok(replies) if replies[0] == Value::Null => {
                shared.complain(format!("k{key} is gone, {least} was acknowledged"));
            }
            Ok(replies) if value_of(&replies[0]) < least => {
                let shown = value_of(&replies[0]);
                shared.complain(format!("k{key} shows {shown} after {least}"));
            }
            Ok(_) => drop(shared.read[0].fetch_add(1, Ordering::Relaxed)),
            Err(refusal) => shared.complain(format!("a read at a majority is refused: {refusal}")),
        }
    }
}

/// Reads at level `ONE` in a session, through one node after the other, what the session has written or seen, or
/// something later.
async fn read_in_a_session(shared: &Shared, mut anybody: Anybody) {
    let mut seen: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 1.. {
        if !shared.goes_on() {
            return;
        }
        (anybody.client, anybody.at) = (None, anybody.at + 1);
        let key = round % KEYS;
        let (own, of_all) = (format!("own{key}"), format!("k{key}"));
        let number = round.to_string();
        let writes = round % 2 == 0;
        let command = match writes {
            true => words(&["R.PUT", &own, &number, "LEVEL", "QUORUM"]),
            false => words(&["MGET", &own, &of_all]),
        };
        let token = words(&["R.SESSION", "TOKEN"]);
        let replies = match anybody.ask(&[command, token]).await {
            Ok(replies) => replies,
            Err(refusal) => {
                shared.complain(format!("the session is refused: {refusal}"));
                continue;
            }
        };
        let Value::Bytes(token) = &replies[1] else {
            panic!("not a token: {:?}", replies[1])
        };
        let token = String::from_utf8_lossy(token).into_owned();
        anybody.greeting.truncate(2);
        anybody
            .greeting
            .push(words(&["R.SESSION", "TOKEN", &token]));
        if writes {
            seen.insert(2 * key, round);
            continue;
        }
        let Value::Array(values) = &replies[0] else {
            panic!("not values: {:?}", replies[0])
        };
        for (place, value) in (2 * key..).zip(values) {
            let shown = match value {
                Value::Null => 0,
                value => value_of(value),
            };
            let least = seen.entry(place).or_default();
            if shown < *least {
                shared.complain(format!("the session sees {shown} after {least} at {place}"));
            }
            *least = shown.max(*least);
        }
        shared.read[1].fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_rolling_restart_under_load_refuses_nothing_and_loses_nothing() {
    let mut cluster = Cluster::begun();
    let shared = Arc::new(Shared::default());
    let clients: Vec<_> = (0..3)
        .map(|i| {
            let (shared, ports) = (Arc::clone(&shared), cluster.clients.clone());
            std::thread::spawn(move || {
                runtime().block_on(async {
                    let session = [&["R.LEVEL", "ONE"], &["R.SESSION", "ON"]];
                    let session = session.map(|command| words(command)).to_vec();
                    match i {
                        0 => write(&shared, Anybody::new(&ports, 0, Vec::new())).await,
                        1 => read_at_majority(&shared, Anybody::new(&ports, 1, Vec::new())).await,
                        _ => read_in_a_session(&shared, Anybody::new(&ports, 2, session)).await,
                    }
                });
            })
        })
        .collect();
    for i in [0, 1, 2, 1] {
        std::thread::sleep(Duration::from_millis(300));
        cluster.stop(i);
        std::thread::sleep(Duration::from_millis(100));
        cluster.start(i);
        cluster.until_up();
    }
    shared.stop.store(true, Ordering::Relaxed);
    clients
        .into_iter()
        .for_each(|client| client.join().expect("no panic"));
    let wrong = shared.wrong.lock().expect("not poisoned");
    assert!(wrong.is_empty(), "{wrong:#?}");
    let [at_majority, in_session] = shared.read.each_ref().map(|n| n.load(Ordering::Relaxed));
    let written = shared.written.load(Ordering::Relaxed);
    assert!(
        written.min(at_majority).min(in_session) > 50,
        "hardly anything was done: {written}, {at_majority}, {in_session}"
    );
    let acknowledged = shared.acknowledged.lock().expect("not poisoned");
    for (key, value) in &*acknowledged {
        for i in 0..3 {
            let read = cluster.ask(i, &[b"GET", format!("k{key}").as_bytes()]);
            assert!(
                value_of(&read.expect("the node answers")) >= *value,
                "k{key}"
            );
        }
    }
    cluster.until_equal();
}
