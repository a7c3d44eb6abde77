//! A7: many threads, hundreds of thousands of keys, and nodes that fail and come back meanwhile; messages that
//! take their time.

use bytes::Bytes;
use replica::sim::{Action, History, Operation};
use replica::{
    Cluster, ClusterBuilder, Command, Level, NodeHandle, NodeId, Outcome, Request, RequestError,
    State,
};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

const THREADS: usize = 16;
/// Keys that all threads write, delete and read.
const SHARED_KEYS: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

/// What the threads share.
struct Load {
    cluster: Cluster,
    keys_per_thread: usize,
    /// Moments of the history: one total order of all invocations and completions.
    moment: AtomicU64,
    /// Keys written by all threads together.
    written: AtomicUsize,
}

impl Load {
    fn new(cluster: ClusterBuilder, keys_per_thread: usize) -> Self {
        Self {
            cluster: cluster.build().expect("a valid configuration"),
            keys_per_thread,
            moment: AtomicU64::new(1),
            written: AtomicUsize::new(0),
        }
    }

    /// Runs a command through some node that is up and records it; `turn` chooses the node.
    fn run(&self, turn: usize, command: &Command, record: &mut Vec<Operation>) {
        for attempt in turn.. {
            let node = self.cluster.node(NodeId((attempt % 3) as u32 + 1));
            let invoked = self.moment.fetch_add(1, Ordering::SeqCst);
            let result = node.execute(Request::new(command.clone(), Level::Quorum));
            let done = self.moment.fetch_add(1, Ordering::SeqCst);
            let mut note = |completed, read| {
                record.push(operation(&node, command, invoked, completed, read));
            };
            match result {
                Ok(read @ Outcome::Read { .. }) => {
                    return note(Some(done), read.value().cloned());
                }
                Ok(_) => return note(Some(done), None),
                // The node has failed under the request: what became of it is not known.
                Err(
                    RequestError::NoMajority {
                        may_take_effect, ..
                    }
                    | RequestError::Deadline {
                        may_take_effect, ..
                    },
                ) => {
                    if may_take_effect {
                        note(None, None);
                    }
                }
                Err(RequestError::NodeFailed(_) | RequestError::Recovering { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn client(&self, thread: usize) -> Vec<Operation> {
        let mut record = Vec::new();
        for i in 0..self.keys_per_thread {
            let (key, value) = (own_key(thread, i), own_value(thread, i));
            self.run(thread + i, &Command::put(key, value), &mut record);
            self.written.fetch_add(1, Ordering::Relaxed);
            if i % 10 == 0 {
                let key = own_key(thread, i);
                self.run(thread + i + 1, &Command::get(key), &mut record);
            }
            if i % 8 == 0 {
                self.run(thread + i, &shared(thread, i), &mut record);
            }
        }
        record
    }

    fn wait_for(&self, written: usize) {
        while self.written.load(Ordering::Relaxed) < written {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes down one node after the other while the clients are at work.
    fn fail_and_recover(&self) {
        let total = THREADS * self.keys_per_thread;
        for (round, node) in [3, 1, 2].into_iter().enumerate() {
            self.wait_for(total * (2 * round + 1) / 8);
            self.cluster.fail(NodeId(node));
            self.wait_for(total * (2 * round + 2) / 8);
            assert_eq!(self.cluster.recover(NodeId(node)), Ok(()));
            let up = self.cluster.wait_until_up(NodeId(node), PATIENCE);
            assert_eq!(up, Ok(()), "{:?}", self.cluster.status(NodeId(node)));
        }
    }
}

fn operation(
    node: &NodeHandle,
    command: &Command,
    invoked: u64,
    completed: Option<u64>,
    read: Option<Bytes>,
) -> Operation {
    let action = match command {
        Command::Write { write, .. } => Action::Write(write.value.clone()),
        _ => Action::Read(read),
    };
    Operation {
        node: node.id(),
        key: command.key().clone(),
        action,
        invoked,
        completed,
    }
}

fn own_key(thread: usize, i: usize) -> Bytes {
    format!("key {thread} {i}").into()
}

fn own_value(thread: usize, i: usize) -> Bytes {
    format!("value {i} of thread {thread}").into()
}

/// An operation on a key that all threads use.
fn shared(thread: usize, i: usize) -> Command {
    let step = i / 8;
    let key: Bytes = format!("shared {}", (step * 7 + thread) % SHARED_KEYS).into();
    match (step + thread) % 5 {
        0 | 1 => Command::put(key, own_value(thread, i)),
        2 => Command::delete(key),
        _ => Command::get(key),
    }
}

/// A7: operations of many threads on hundreds of thousands of keys are atomic: every read is allowed by
/// the history of all writes, while one node after the other fails and comes back; afterwards all nodes
/// hold everything. A node that lost everything catches up in bulk: in chunks of thousands of keys.
#[test]
fn a7_many_threads_and_keys_while_nodes_fail_and_recover() {
    let load = Load::new(Cluster::builder(3), 12_500);
    check_load(&load);
    check_bulk_recovery(&load);
}

/// A7: the same where every message takes a time of its own, so that later ones overtake earlier ones.
#[test]
fn a7_many_threads_while_messages_take_their_time_and_nodes_fail_and_recover() {
    let range = Duration::ZERO..=Duration::from_millis(4);
    let load = Load::new(Cluster::builder(3).latency(range, 7), 200);
    check_load(&load);
    check_bulk_recovery(&load);
}

/// Has all clients work while nodes fail and come back, and judges what they saw.
fn check_load(load: &Load) {
    let mut history = History::default();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || load.client(thread)))
            .collect();
        load.fail_and_recover();
        for client in clients {
            let record = client.join().expect("no panic");
            record.into_iter().for_each(|op| history.push(op));
        }
    });
    assert_eq!(load.cluster.wait_until_settled(PATIENCE), Ok(()));
    check_copies(load);
    let mut last = Vec::new();
    for key in (0..SHARED_KEYS).map(|k| Bytes::from(format!("shared {k}"))) {
        for turn in 0..3 {
            load.run(turn, &Command::get(key.clone()), &mut last);
        }
    }
    last.into_iter().for_each(|op| history.push(op));
    assert_eq!(history.check(), Ok(()));
}

/// Every node holds every key that was written, and all show the same.
fn check_copies(load: &Load) {
    let cluster = &load.cluster;
    for node in cluster.nodes() {
        let maps = node.snapshot().expect("all nodes are up");
        let map = &maps[0];
        for thread in 0..THREADS {
            for i in 0..load.keys_per_thread {
                let held = map
                    .get(&own_key(thread, i)[..])
                    .and_then(|cell| cell.value());
                assert_eq!(held, Some(&own_value(thread, i)), "{:?}", node.id());
            }
        }
        let same = cluster.checksum(node.id()) == cluster.checksum(NodeId(1));
        assert!(same, "{} shows something else", node.id());
    }
}

/// A node that has lost everything is sent chunks, not keys.
fn check_bulk_recovery(load: &Load) {
    let cluster = &load.cluster;
    let node = NodeId(3);
    cluster.fail(node);
    assert_eq!(cluster.recover(node), Ok(()));
    assert_eq!(cluster.wait_until_up(node, PATIENCE), Ok(()));
    let status = cluster.status(node).expect("it has been recovered");
    assert_eq!(status.state, State::Up);
    assert!(status.entries >= THREADS * load.keys_per_thread);
    let chunks = status.counters.transfer_chunks;
    assert!((1..200).contains(&chunks), "{chunks} chunks");
    assert_eq!(cluster.checksum(node), cluster.checksum(NodeId(1)));
}
