//! Reads and writes of one node's copy by two threads, beside concurrent maps.

use bytes::Bytes;
use cpu_time::ThreadTime;
use replica::{Command, Level, NodeHandle, PartitionId, Request};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Barrier, RwLock};
use std::time::{Duration, Instant};

use super::{KEYS, OURS, cluster, key, value};
use crate::data::mix;
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const THREADS: usize = 2;
/// Operations of each thread in one repetition.
const OPERATIONS: usize = 20_000;
const VALUE_BYTES: usize = 64;

/// What the contestants can do. Keys and values are counted by reference, so neither copies bytes.
trait Shared: Sync {
    fn read(&self, key: &Bytes) -> Option<Bytes>;
    fn write(&self, key: &Bytes, value: &Bytes);
}

impl Shared for NodeHandle {
    fn read(&self, key: &Bytes) -> Option<Bytes> {
        self.read_local(key).expect("the node is up")
    }

    fn write(&self, key: &Bytes, value: &Bytes) {
        let put = Command::put(key.clone(), value.clone());
        let written = self.execute(Request::new(put, Level::One));
        written.expect("the node is up");
    }
}

impl Shared for scc::HashMap<Bytes, Bytes> {
    fn read(&self, key: &Bytes) -> Option<Bytes> {
        self.read_sync(key, |_, value| value.clone())
    }

    fn write(&self, key: &Bytes, value: &Bytes) {
        self.upsert_sync(key.clone(), value.clone());
    }
}

impl Shared for dashmap::DashMap<Bytes, Bytes> {
    fn read(&self, key: &Bytes) -> Option<Bytes> {
        self.get(key).map(|entry| entry.value().clone())
    }

    fn write(&self, key: &Bytes, value: &Bytes) {
        self.insert(key.clone(), value.clone());
    }
}

impl Shared for papaya::HashMap<Bytes, Bytes> {
    fn read(&self, key: &Bytes) -> Option<Bytes> {
        self.pin().get(key).cloned()
    }

    fn write(&self, key: &Bytes, value: &Bytes) {
        self.pin().insert(key.clone(), value.clone());
    }
}

impl Shared for RwLock<HashMap<Bytes, Bytes>> {
    fn read(&self, key: &Bytes) -> Option<Bytes> {
        let map = self.read().expect("no thread has panicked");
        map.get(key).cloned()
    }

    fn write(&self, key: &Bytes, value: &Bytes) {
        let mut map = self.write().expect("no thread has panicked");
        map.insert(key.clone(), value.clone());
    }
}

/// Which time counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// Of the processor, which leaves out waiting.
    Processor,
    /// Real, which on a machine that others use holds their work too.
    Real,
}

pub fn rows(report: &mut Report) {
    let name = |owners: u32, reads: u64, time: Time| {
        let nodes = match owners {
            1 => "one copy",
            _ => "copies at three nodes",
        };
        let time = match time {
            Time::Processor => "processor time",
            Time::Real => "real time",
        };
        format!("local, 2 threads, {reads} % reads, {nodes}: {time} of an operation")
    };
    let wanted: Vec<_> = [1, 3]
        .into_iter()
        .flat_map(|owners| [95, 50].map(|reads| (owners, reads)))
        .flat_map(|(owners, reads)| [Time::Processor, Time::Real].map(|time| (owners, reads, time)))
        .filter(|(owners, reads, time)| report.wants(&name(*owners, *reads, *time)))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let value = value(VALUE_BYTES);
    for (owners, reads, time) in wanted {
        let (ours, keys) = node(owners);
        let peers = Peers::new(&keys, &value);
        let row = Row::new(name(owners, reads, time), Unit::Nanoseconds)
            .target(Target::AtMostTimes(2.0, "scc"));
        let load = Load {
            keys: &keys,
            value: &value,
            reads,
            time,
        };
        fill(&ours, &keys, &value);
        let row = report
            .contest(row)
            .repeat(OURS, || load.run(&ours))
            .repeat(Side::Peer("scc", ""), || load.run(&peers.scc))
            .repeat(Side::Peer("dashmap", ""), || load.run(&peers.dashmap))
            .repeat(Side::Peer("papaya", ""), || load.run(&peers.papaya))
            .repeat(Side::Floor("RwLock<HashMap>"), || load.run(&peers.locked))
            .finish();
        report.add(&row);
    }
}

struct Peers {
    scc: scc::HashMap<Bytes, Bytes>,
    dashmap: dashmap::DashMap<Bytes, Bytes>,
    papaya: papaya::HashMap<Bytes, Bytes>,
    locked: RwLock<HashMap<Bytes, Bytes>>,
}

impl Peers {
    fn new(keys: &[Bytes], value: &Bytes) -> Self {
        let peers = Self {
            scc: scc::HashMap::default(),
            dashmap: dashmap::DashMap::default(),
            papaya: papaya::HashMap::default(),
            locked: RwLock::default(),
        };
        fill(&peers.scc, keys, value);
        fill(&peers.dashmap, keys, value);
        fill(&peers.papaya, keys, value);
        fill(&peers.locked, keys, value);
        peers
    }
}

/// A node in a cluster of three with so many owners of each key, and keys that it owns.
fn node(owners: u32) -> (NodeHandle, Vec<Bytes>) {
    let cluster = cluster(owners);
    let placement = cluster.placement();
    let node = placement.owners(PartitionId(0))[0];
    let owned: BTreeSet<PartitionId> = placement
        .partitions()
        .filter(|partition| placement.owners(*partition).contains(&node))
        .collect();
    let owned = (0..)
        .map(key)
        .filter(|key| owned.contains(&placement.partition_of(key)));
    let keys: Vec<Bytes> = owned.take(KEYS).collect();
    drop(keys.clone());
    (cluster.node(node), keys)
}

fn fill(map: &impl Shared, keys: &[Bytes], value: &Bytes) {
    for key in keys {
        map.write(key, value);
    }
}

/// What the threads do.
#[derive(Clone, Copy)]
struct Load<'a> {
    keys: &'a [Bytes],
    value: &'a Bytes,
    /// Reads in a hundred operations.
    reads: u64,
    time: Time,
}

impl Load<'_> {
    fn run(self, map: &impl Shared) -> Sample {
        let barrier = Barrier::new(THREADS);
        let barrier = &barrier;
        let done: Vec<(Duration, u64)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    scope.spawn(move || {
                        barrier.wait();
                        self.run_thread(thread, map)
                    })
                })
                .collect();
            let finished = threads.into_iter().map(|thread| thread.join());
            finished.map(|d| d.expect("a thread finished")).collect()
        });
        // Threads that run beside each other take as long as the longest of them.
        let elapsed = match self.time {
            Time::Processor => done.iter().map(|d| d.0).sum::<Duration>() / THREADS as u32,
            Time::Real => done.iter().map(|d| d.0).max().unwrap_or_default(),
        };
        Sample {
            nanos: elapsed.as_nanos() as f64 / OPERATIONS as f64,
            fingerprint: done.iter().map(|d| d.1).sum(),
        }
    }

    /// The time of all operations of a thread, and how many reads have found something.
    fn run_thread(self, thread: usize, map: &impl Shared) -> (Duration, u64) {
        let (start, processor) = (Instant::now(), ThreadTime::now());
        let mut found = 0;
        for operation in 0..OPERATIONS {
            let random = mix((thread * OPERATIONS + operation) as u64);
            let key = &self.keys[(random >> 32) as usize % self.keys.len()];
            match random % 100 < self.reads {
                true => found += u64::from(map.read(key).is_some()),
                false => map.write(key, self.value),
            }
        }
        let elapsed = match self.time {
            Time::Processor => processor.elapsed(),
            Time::Real => start.elapsed(),
        };
        (elapsed, found)
    }
}
