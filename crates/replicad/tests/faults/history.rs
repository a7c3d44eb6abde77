//! Clients that write down when they asked what and what came of it, for the checkers of `replica`.

use bytes::Bytes;
use crdt::{CausalContext, Dot, ReplicaId, Timestamp};
use rand::RngExt as _;
use redis::{RedisResult, Value, cmd};
use replica::NodeId;
use replica::check::{Call, FinalState, History, SessionId, Sibling, Version};
use std::collections::BTreeMap;
use std::time::Instant;

use crate::cluster::{Cluster, connect};
use crate::talk::{Shown, Talk, delete, get, now, put};

/// How many keys the clients of a kind share.
const KEYS: u32 = 4;

/// A client of one round.
pub(crate) struct Recorder {
    pub(crate) history: History,
    session: SessionId,
    origin: Instant,
    prefix: String,
    /// Tells its values apart.
    next: u64,
}

impl Recorder {
    /// `prefix` is that of the keys, `session` another number for each client of a run.
    pub(crate) fn new(origin: Instant, prefix: String, session: u64) -> Self {
        Self {
            history: History::default(),
            session: SessionId(session),
            origin,
            prefix,
            next: 0,
        }
    }

    fn key(&self, talk: &mut Talk) -> String {
        format!("{}-{}", self.prefix, talk.rng.random_range(0..KEYS))
    }

    /// A value that nobody else writes, and that says whose it is.
    fn value(&mut self) -> String {
        self.next += 1;
        format!("{}.{}", self.session.0, self.next)
    }

    fn invoke(&mut self, node: u32, key: &str, call: Call) -> replica::check::OperationId {
        let (node, key) = (Some(NodeId(node)), key.to_owned());
        let at = now(self.origin);
        self.history.invoke(self.session, node, key, call, at)
    }

    fn complete(&mut self, id: replica::check::OperationId, call: Call) {
        self.history.complete(id, now(self.origin), call);
    }

    /// A request at the linearizable level.
    pub(crate) fn linearizable_step(&mut self, talk: &mut Talk) {
        const LEVEL: &str = "LINEARIZABLE";
        let key = self.key(talk);
        let (node, version) = (talk.node, None);
        if talk.rng.random_bool(0.5) {
            let call = Call::Read {
                value: None,
                version,
            };
            let id = self.invoke(node, &key, call);
            let Ok(shown) = talk.ask(&get(&key, LEVEL)).and_then(Shown::read) else {
                return;
            };
            let value = shown.values.into_iter().next().map(Bytes::from);
            self.complete(id, Call::Read { value, version });
            return;
        }
        let value = talk.rng.random_bool(0.8).then(|| self.value());
        let command = match &value {
            Some(value) => put(&key, value, LEVEL),
            None => delete(&key, LEVEL),
        };
        let call = Call::Write {
            value: value.map(Bytes::from),
            version,
        };
        let id = self.invoke(node, &key, call.clone());
        let written: RedisResult<i64> = talk.ask(&command);
        // Overwritten at once by a concurrent write, if it is 0: it took effect before that.
        if written.is_ok() {
            self.complete(id, call);
        }
    }

    /// A request of a session that goes from node to node, at level `ONE`.
    pub(crate) fn session_step(&mut self, talk: &mut Talk) {
        let key = self.key(talk);
        let node = talk.node;
        let mut token = cmd("R.SESSION");
        token.arg("TOKEN");
        let is_read = talk.rng.random_bool(0.6);
        let value = (!is_read).then(|| self.value());
        let (command, call) = match &value {
            None => (
                get(&key, "ONE"),
                Call::Read {
                    value: None,
                    version: None,
                },
            ),
            Some(value) => (
                put(&key, value, "ONE"),
                Call::Write {
                    value: Some(Bytes::from(value.clone())),
                    version: None,
                },
            ),
        };
        let id = self.invoke(node, &key, call.clone());
        let Ok(mut answers) = talk.ask_all(&[command, token]) else {
            return;
        };
        let token: String =
            redis::from_redis_value(answers.pop().expect("two")).expect("a token is text");
        let mut resume = cmd("R.SESSION");
        resume.arg("TOKEN").arg(token);
        talk.greet_with(vec![resume]);
        let call = match is_read {
            true => read_of(answers.pop().expect("two")),
            false => call,
        };
        self.complete(id, call);
    }

    /// A read and a write in place of what it has shown, in a store that keeps siblings.
    pub(crate) fn sibling_step(&mut self, talk: &mut Talk) {
        const LEVEL: &str = "QUORUM";
        let key = self.key(talk);
        let nothing = Call::ReadSiblings {
            siblings: Vec::new(),
        };
        let id = self.invoke(talk.node, &key, nothing);
        let Ok(shown) = talk.ask(&get(&key, LEVEL)).and_then(Shown::read) else {
            return;
        };
        let siblings = siblings_of(&shown);
        let seen: CausalContext = siblings.iter().map(|sibling| sibling.dot).collect();
        self.complete(id, Call::ReadSiblings { siblings });
        if talk.rng.random_bool(0.3) || !talk.is_ready() {
            return;
        }
        let value = talk.rng.random_bool(0.85).then(|| self.value());
        let mut command = match &value {
            Some(value) => {
                let mut command = cmd("R.SET");
                command.arg(&key).arg(value);
                command
            }
            None => {
                let mut command = cmd("R.DEL");
                command.arg(&key);
                command
            }
        };
        command.arg("CONTEXT").arg(&shown.context);
        let call = Call::WriteSibling {
            dot: value.as_ref().map(|value| dot_of(value)),
            value: value.map(Bytes::from),
            seen,
        };
        let id = self.invoke(talk.node, &key, call.clone());
        if talk.ask::<i64>(&command).is_ok() {
            self.complete(id, call);
        }
    }
}

/// What nodes show of the keys of the siblings at the end.
pub(crate) fn finals(cluster: &Cluster, prefix: &str, history: &mut History) {
    for node in cluster.nodes() {
        let mut client = connect(node).expect("the node serves");
        for n in 0..KEYS {
            let key = format!("{prefix}-{n}");
            let answer: Value = get(&key, "ONE").query(&mut client).expect("its own copy");
            let mut siblings = siblings_of(&Shown::read(answer).expect("an answer of R.GET"));
            siblings.sort();
            history.push_final(FinalState {
                node: NodeId(node),
                key: key.into(),
                siblings,
            });
        }
    }
}

/// Gives writes the times that reads have shown: the store says them to readers only. Of a value that was
/// shown at two times, the later: that is the one under which its writer was answered.
pub(crate) fn with_times(history: &History) -> History {
    let mut times: BTreeMap<Bytes, Timestamp> = BTreeMap::new();
    for (_, operation) in history.operations() {
        if let Call::Read {
            value: Some(value),
            version: Some(version),
        } = &operation.call
        {
            let time = times.entry(value.clone()).or_insert(version.timestamp);
            *time = version.timestamp.max(*time);
        }
    }
    let mut timed = History::default();
    for (_, operation) in history.operations() {
        let mut operation = operation.clone();
        if let Call::Write {
            value: Some(value),
            version,
        } = &mut operation.call
        {
            let text = String::from_utf8_lossy(value).into_owned();
            *version = times.get(value).map(|timestamp| Version {
                timestamp: *timestamp,
                dot: dot_of(&text),
            });
        }
        timed.push(operation);
    }
    timed
}

fn read_of(answer: Value) -> Call {
    let shown = Shown::read(answer).expect("an answer of R.GET");
    let value = shown.values.into_iter().next();
    let version = value.as_ref().zip(shown.timestamp);
    Call::Read {
        version: version.map(|(value, time)| Version {
            timestamp: Timestamp(time),
            dot: dot_of(value),
        }),
        value: value.map(Bytes::from),
    }
}

fn siblings_of(shown: &Shown) -> Vec<Sibling> {
    let siblings = shown.values.iter().map(|value| Sibling {
        dot: dot_of(value),
        value: Bytes::from(value.clone()),
    });
    siblings.collect()
}

/// Clients are not told events, but all values differ: an event of their own for each.
fn dot_of(value: &str) -> Dot {
    let (session, n) = value.split_once('.').expect("a value of these tests");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    Dot::new(ReplicaId(number(session)), number(n))
}
