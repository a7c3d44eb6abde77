//! What one writer was told of keys that only it writes.
//!
//! A key holds what was acknowledged last, or what was written without an answer: such a write may take effect
//! at any time, or never. It never holds what was acknowledged earlier, nor nothing after a value. Once such a
//! request can have no effect any more, what all nodes hold says what became of it ([`Ledger::settle`]); without
//! that, more and more would be allowed.

use rand::RngExt as _;
use redis::{RedisResult, cmd};
use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Cluster;
use crate::talk::{Shown, Talk, delete, get, put};

/// How many keys each writer has.
const KEYS: u32 = 20;

/// What is known of a key: values, or `None` for a delete.
#[derive(Debug, Default)]
struct Entry {
    acknowledged: Option<String>,
    undecided: BTreeSet<Option<String>>,
}

/// A writer and what it was told, through all rounds.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    id: u32,
    entries: BTreeMap<String, Entry>,
    /// Increments that were acknowledged, and that may have been made.
    counted: i64,
    perhaps_counted: i64,
    /// Members that were added, and that may have been.
    members: BTreeSet<u64>,
    perhaps_members: BTreeSet<u64>,
    /// Tells all values apart.
    next: u64,
    pub(crate) acknowledged: u64,
    pub(crate) undecided: u64,
    found: Vec<String>,
}

impl Entry {
    fn allows(&self, value: &Option<String>) -> bool {
        self.acknowledged == *value || self.undecided.contains(value)
    }
}

impl Ledger {
    pub(crate) fn new(id: u32) -> Self {
        Self {
            id,
            ..Self::default()
        }
    }

    fn key(&self, n: u32) -> String {
        format!("q{}-{n}", self.id)
    }

    /// Makes one request and notes what came of it.
    pub(crate) fn step(&mut self, talk: &mut Talk) {
        self.next += 1;
        let key = self.key(talk.rng.random_range(0..KEYS));
        match talk.rng.random_range(0..100) {
            0..50 => self.write(talk, key, Some(format!("{}", self.next))),
            50..65 => self.write(talk, key, None),
            65..75 => self.count(talk),
            75..80 => self.add(talk),
            _ => self.read(talk, &key),
        }
    }

    fn write(&mut self, talk: &mut Talk, key: String, value: Option<String>) {
        let command = match &value {
            Some(value) => put(&key, value, "QUORUM"),
            None => delete(&key, "QUORUM"),
        };
        let written: RedisResult<i64> = talk.ask(&command);
        let entry = self.entries.entry(key).or_default();
        match written {
            // A write that did not take effect lost to a later one: that of a request without an answer.
            Ok(1) => {
                self.acknowledged += 1;
                entry.acknowledged = value;
            }
            Ok(_) | Err(_) => {
                self.undecided += 1;
                entry.undecided.insert(value);
            }
        }
    }

    fn count(&mut self, talk: &mut Talk) {
        let mut command = cmd("INCRBY");
        command.arg(format!("c{}", self.id)).arg(3);
        match talk.ask::<i64>(&command) {
            Ok(_) => self.counted += 3,
            Err(_) => self.perhaps_counted += 3,
        }
    }

    fn add(&mut self, talk: &mut Talk) {
        let mut command = cmd("SADD");
        command.arg(format!("m{}", self.id)).arg(self.next);
        match talk.ask::<i64>(&command) {
            Ok(_) => self.members.insert(self.next),
            Err(_) => self.perhaps_members.insert(self.next),
        };
    }

    fn read(&mut self, talk: &mut Talk, key: &str) {
        let node = talk.node;
        let Ok(answer) = talk.ask(&get(key, "QUORUM")) else {
            return;
        };
        self.judge(&format!("a read through node {node}"), key, answer);
    }

    fn judge(&mut self, who: &str, key: &str, answer: redis::Value) {
        let shown = Shown::read(answer).expect("an answer of R.GET");
        let value = shown.values.first().cloned();
        let entry = self.entries.entry(key.to_owned()).or_default();
        if shown.values.len() > 1 || !entry.allows(&value) {
            let found = format!("{who} shows {key} = {:?}, and {entry:?}", shown.values);
            self.found.push(found);
        }
    }

    /// Looks at what every node holds after all is quiet, without asking the others.
    ///
    /// # Errors
    /// Everything that must not be, in this round and at its end.
    pub(crate) fn check(&mut self, cluster: &Cluster) -> Result<(), String> {
        for node in cluster.nodes() {
            let mut client = crate::cluster::connect(node).expect("the node serves");
            for n in 0..KEYS {
                let key = self.key(n);
                let answer = get(&key, "ONE").query(&mut client).expect("its own copy");
                self.judge(&format!("at the end node {node}"), &key, answer);
            }
            let sum: Option<i64> = cmd("GET")
                .arg(format!("c{}", self.id))
                .query(&mut client)
                .expect("a quorum");
            let sum = sum.unwrap_or(0);
            let counted = self.counted..=self.counted + self.perhaps_counted;
            if !counted.contains(&sum) {
                self.found
                    .push(format!("node {node} counts {sum}, not {counted:?}"));
            }
            let members: BTreeSet<u64> = cmd("SMEMBERS")
                .arg(format!("m{}", self.id))
                .query(&mut client)
                .expect("a quorum");
            let missing: Vec<_> = self.members.difference(&members).collect();
            let strange = members.difference(&self.members);
            let strange: Vec<_> = strange
                .filter(|m| !self.perhaps_members.contains(*m))
                .collect();
            if !missing.is_empty() || !strange.is_empty() {
                let found = format!("node {node} lacks members {missing:?} and has {strange:?}");
                self.found.push(found);
            }
        }
        match self.found.is_empty() {
            true => Ok(()),
            false => Err(self.found.join("\n")),
        }
    }

    /// Takes what the nodes hold for decided. All of them have to hold the same, and every request has to be past
    /// its deadline.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds.
    pub(crate) fn settle(&mut self, cluster: &Cluster) -> Result<(), String> {
        self.check(cluster)?;
        let node = *cluster.nodes().start();
        let mut client = crate::cluster::connect(node).expect("the node serves");
        for n in 0..KEYS {
            let key = self.key(n);
            let answer = get(&key, "QUORUM").query(&mut client).expect("a quorum");
            let shown = Shown::read(answer).expect("an answer of R.GET");
            let settled = Entry {
                acknowledged: shown.values.first().cloned(),
                undecided: BTreeSet::new(),
            };
            self.entries.insert(key, settled);
        }
        let sum: Option<i64> = cmd("GET")
            .arg(format!("c{}", self.id))
            .query(&mut client)
            .expect("a quorum");
        (self.counted, self.perhaps_counted) = (sum.unwrap_or(0), 0);
        self.members = cmd("SMEMBERS")
            .arg(format!("m{}", self.id))
            .query(&mut client)
            .expect("a quorum");
        self.perhaps_members.clear();
        Ok(())
    }
}
