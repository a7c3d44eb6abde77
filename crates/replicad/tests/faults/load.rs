//! The clients of a round, and what they leave to be judged.

use rand::SeedableRng as _;
use rand::rngs::ChaCha8Rng;
use redis::cmd;
use replica::check::sessions::Guarantee;
use replica::check::{History, linearizability, sessions, siblings};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::history::{Recorder, finals, with_times};
use crate::ledger::Ledger;
use crate::talk::Talk;

/// Clients of each kind.
const CLIENTS: u32 = 3;

/// Between two requests of a client: histories stay small enough to be judged.
const PAUSE: Duration = Duration::from_millis(2);

/// What the store promises a session. That who sees an effect sees its cause is promised to whoever holds the
/// token of its writer, and these clients hold their own only.
const PROMISED: [Guarantee; 4] = [
    Guarantee::ReadYourWrites,
    Guarantee::MonotonicReads,
    Guarantee::MonotonicWrites,
    Guarantee::WritesFollowReads,
];

/// What clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Values, counters, sets, linearizable registers and sessions in a store by time.
    ByTime,
    /// Siblings.
    Siblings,
}

/// Clients at work.
pub(crate) struct Load {
    work: Work,
    prefix: String,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Ledger>>,
    linearizable: Vec<JoinHandle<History>>,
    sessions: Vec<JoinHandle<History>>,
    siblings: Vec<JoinHandle<History>>,
}

/// What was seen in a round.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Operations that have succeeded: linearizable ones, those of sessions, and those of siblings.
    pub(crate) completed: [usize; 3],
    /// Operations whose outcome is unknown.
    pub(crate) unknown: usize,
}

impl Load {
    /// Starts the clients of a round.
    pub(crate) fn start(
        cluster: &Cluster,
        work: Work,
        round: u64,
        seed: u64,
        ledgers: Vec<Ledger>,
    ) -> Self {
        let nodes = *cluster.nodes().end();
        let (stop, origin) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let mut number = 0;
        let mut client = |greeting| {
            number += 1;
            let rng = ChaCha8Rng::seed_from_u64(seed ^ (round << 8) ^ number);
            (Talk::new(nodes, rng, greeting), round * 100 + number)
        };
        let mut load = Self {
            work,
            prefix: format!("r{round}"),
            writers: Vec::new(),
            linearizable: Vec::new(),
            sessions: Vec::new(),
            siblings: Vec::new(),
            stop,
        };
        for mut ledger in ledgers {
            let (mut talk, _) = client(Vec::new());
            let stop = Arc::clone(&load.stop);
            load.writers.push(std::thread::spawn(move || {
                while_running(&stop, &mut talk, |talk| ledger.step(talk));
                ledger
            }));
        }
        let kinds: &[Kind] = match work {
            Work::ByTime => &[Kind::Linearizable, Kind::Session],
            Work::Siblings => &[Kind::Sibling],
        };
        for kind in kinds {
            for _ in 0..CLIENTS {
                let (talk, session) = client(kind.greeting());
                let prefix = format!("{}{}", load.prefix, kind.letter());
                let recorder = Recorder::new(origin, prefix, session);
                let (stop, kind) = (Arc::clone(&load.stop), *kind);
                let thread = std::thread::spawn(move || kind.run(recorder, talk, &stop));
                match kind {
                    Kind::Linearizable => load.linearizable.push(thread),
                    Kind::Session => load.sessions.push(thread),
                    Kind::Sibling => load.siblings.push(thread),
                }
            }
        }
        load
    }

    /// Stops the clients, waits until all nodes are equal, and judges what was seen.
    ///
    /// # Errors
    /// Everything that must not be.
    pub(crate) fn judge(self, cluster: &Cluster) -> (Vec<Ledger>, Seen, Result<(), String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut ledgers: Vec<Ledger> = self
            .writers
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        let [linearizable, sessions, mut siblings] =
            [self.linearizable, self.sessions, self.siblings].map(joined);
        cluster.until_equal();
        if self.work == Work::Siblings {
            finals(cluster, &format!("{}b", self.prefix), &mut siblings);
        }
        let mut seen = Seen::default();
        for (i, history) in [&linearizable, &sessions, &siblings]
            .into_iter()
            .enumerate()
        {
            let all = history.operations();
            let completed = all.filter(|(_, operation)| operation.completed.is_some());
            seen.completed[i] = completed.count();
            seen.unknown += history.operations().count() - seen.completed[i];
        }
        let mut found = Vec::new();
        for ledger in &mut ledgers {
            found.extend(ledger.check(cluster).err());
        }
        let text = |error: &dyn std::fmt::Display| error.to_string();
        found.extend(
            linearizability::check(&linearizable)
                .err()
                .map(|e| text(&e)),
        );
        found.extend(
            sessions::check_only(&with_times(&sessions), &PROMISED)
                .err()
                .map(|e| text(&e)),
        );
        found.extend(siblings::check(&siblings).err().map(|e| text(&e)));
        let result = match found.is_empty() {
            true => Ok(()),
            false => Err(found.join("\n")),
        };
        (ledgers, seen, result)
    }
}

/// A kind of client that records.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Linearizable,
    Session,
    Sibling,
}

impl Kind {
    const fn letter(self) -> char {
        match self {
            Self::Linearizable => 'l',
            Self::Session => 's',
            Self::Sibling => 'b',
        }
    }

    fn greeting(self) -> Vec<redis::Cmd> {
        match self {
            Self::Session => {
                let mut on = cmd("R.SESSION");
                on.arg("ON");
                vec![on]
            }
            Self::Linearizable | Self::Sibling => Vec::new(),
        }
    }

    fn run(self, mut recorder: Recorder, mut talk: Talk, stop: &AtomicBool) -> History {
        while_running(stop, &mut talk, |talk| match self {
            Self::Linearizable => recorder.linearizable_step(talk),
            Self::Session => recorder.session_step(talk),
            Self::Sibling => recorder.sibling_step(talk),
        });
        recorder.history
    }
}

fn while_running(stop: &AtomicBool, talk: &mut Talk, mut step: impl FnMut(&mut Talk)) {
    while !stop.load(Ordering::Relaxed) {
        if talk.is_ready() {
            step(talk);
        }
        std::thread::sleep(PAUSE);
    }
}

fn joined(threads: Vec<JoinHandle<History>>) -> History {
    let mut all = History::default();
    for thread in threads {
        all.extend(thread.join().expect("no panic"));
    }
    all
}
