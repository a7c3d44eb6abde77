//! What strikes a cluster, and how it is mended.

use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use redis::{RedisResult, Value};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::cluster::{Cluster, Plan, until};
use crate::talk::{Shown, get, put};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9`.
    Kill,
    /// A proper stop.
    Stop,
    /// `kill -STOP`, and later `kill -CONT`.
    Pause,
    /// A node and another get nothing from each other.
    Cut,
    /// A node gets nothing from another, which gets everything.
    CutOneWay,
    /// A node and all others get nothing from each other.
    Isolate,
    /// A node loses a part of all packets.
    Lose,
    /// What a node sends is slow.
    Slow,
    /// A node's clock jumps, and later jumps back.
    Clock,
    /// Bits of a store change while its node is stopped.
    Flip,
    /// A store is cut short while its node is down.
    Tear,
    /// A node loses its store.
    Wipe,
    /// A node loses its whole data directory.
    WipeAll,
    /// A node's disk is full.
    Fill,
}

/// A file that takes the room of a disk.
const FILLER: &str = "filler";

impl Fault {
    /// Strikes a node.
    pub(crate) fn strike(self, cluster: &mut Cluster, node: u32, rng: &mut ChaCha8Rng) {
        let others: Vec<u32> = cluster.nodes().filter(|other| *other != node).collect();
        let other = others[rng.random_range(0..others.len())];
        match self {
            Self::Kill | Self::Tear | Self::Wipe | Self::WipeAll => cluster.kill(node),
            Self::Stop | Self::Flip => cluster.stop(node),
            Self::Pause => cluster.signal(node, "STOP"),
            Self::Cut => {
                cluster.cut(node, other);
                cluster.cut(other, node);
            }
            Self::CutOneWay => cluster.cut(other, node),
            Self::Isolate => {
                for other in others {
                    cluster.cut(node, other);
                    cluster.cut(other, node);
                }
            }
            Self::Lose => cluster.lose(node, 0.2),
            Self::Slow => cluster.slow_down(node),
            Self::Clock => cluster.set_clock(node, rng.random_range(-30..=30)),
            Self::Fill => fill(&cluster.disk(node).join(FILLER)),
        }
        let data = cluster.data(node);
        match self {
            Self::Flip => flip(&data.join("store"), rng),
            Self::Tear => tear(&data.join("store"), rng),
            Self::Wipe => std::fs::remove_file(data.join("store")).expect("the store is there"),
            Self::WipeAll => std::fs::remove_dir_all(data).expect("the data is there"),
            _ => {}
        }
    }

    /// Ends the fault.
    pub(crate) fn mend(self, cluster: &mut Cluster, node: u32) {
        match self {
            Self::Kill | Self::Tear | Self::Wipe | Self::WipeAll | Self::Stop | Self::Flip => {
                cluster.start(node);
            }
            Self::Pause => cluster.signal(node, "CONT"),
            Self::Cut | Self::CutOneWay | Self::Isolate | Self::Lose | Self::Slow => cluster.heal(),
            Self::Clock => cluster.set_clock(node, 0),
            Self::Fill => {
                std::fs::remove_file(cluster.disk(node).join(FILLER)).expect("the filler is there");
                // A commit that found no room has ended the store, until the node is started again.
                cluster.kill(node);
                cluster.start(node);
            }
        }
    }

    /// How long the fault lasts.
    pub(crate) fn duration(self, rng: &mut ChaCha8Rng) -> Duration {
        Duration::from_millis(rng.random_range(100..800))
    }

    /// Removes what a damaged store has left behind: after four of them a node asks for an operator.
    pub(crate) fn clean_up(cluster: &Cluster, node: u32) -> usize {
        let files = std::fs::read_dir(cluster.data(node)).expect("a data directory");
        let names = files.map(|file| file.expect("an entry").path());
        let damaged = names.filter(|path| path.to_string_lossy().contains("store.damaged-"));
        let damaged: Vec<_> = damaged.collect();
        for path in &damaged {
            std::fs::remove_file(path).expect("the file is removed");
        }
        damaged.len()
    }
}

/// Below the reserve a node refuses writes by name and serves reads; with room again it takes writes by itself.
pub(crate) fn a_disk_that_is_nearly_full_refuses_writes_and_serves_reads() {
    let plan = Plan {
        storage: format!("reserve_bytes = {}", 8 << 20),
        disk_mib: Some(48),
        ..Plan::default()
    };
    let mut cluster = Cluster::begun(plan);
    let write = |cluster: &Cluster, n: u32| -> RedisResult<i64> {
        cluster.ask(1, &put("k", &n.to_string(), "QUORUM"))
    };
    write(&cluster, 0).expect("there is room");
    let filler = cluster.disk(1).join(FILLER);
    fill(&filler);
    leave_room(&filler, 4 << 20);
    let mut last = 0;
    until("the node refuses", || {
        last += 1;
        let written = write(&cluster, last);
        written.is_err_and(|refusal| refusal.code() == Some("NOROOM"))
    });
    let read: Value = cluster.ask(1, &get("k", "QUORUM")).expect("it serves");
    let shown = Shown::read(read).expect("an answer of R.GET");
    assert_eq!(shown.values.len(), 1);
    cluster
        .ask::<i64>(2, &put("k", "elsewhere", "QUORUM"))
        .expect("the others take it");
    std::fs::remove_file(filler).expect("the filler is there");
    until("the node takes writes again", || {
        write(&cluster, last + 1).is_ok()
    });
    cluster.until_equal();
    cluster.check_health();
}

/// Makes a file shorter: what is refused then is refused because of the reserve.
fn leave_room(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("a file");
    let length = file.metadata().expect("the filler").len();
    file.set_len(length - bytes).expect("a shorter file");
}

/// How many bits of a store change: so many that some are of what it holds, and not of what it has given up.
const FLIPS: usize = 40;

/// The length of the pieces of which a store is made.
const PAGE: usize = 4096;

/// Changes bits in the pages that hold anything.
fn flip(path: &Path, rng: &mut ChaCha8Rng) {
    let mut store = std::fs::read(path).expect("the store");
    let is_used = |page: &[u8]| page.iter().any(|byte| *byte != 0);
    let pages = store.chunks(PAGE).enumerate();
    let used: Vec<usize> = pages
        .filter(|(_, page)| is_used(page))
        .map(|(i, _)| i)
        .collect();
    for _ in 0..FLIPS {
        let page = used[rng.random_range(0..used.len())] * PAGE;
        let end = store.len().min(page + PAGE);
        let (at, bit) = (rng.random_range(page..end), rng.random_range(0..8));
        store[at] ^= 1 << bit;
    }
    std::fs::write(path, store).expect("the store is written");
}

/// Cuts the file off at a random place.
fn tear(path: &Path, rng: &mut ChaCha8Rng) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("the store");
    let length = file.metadata().expect("the store").len();
    file.set_len(rng.random_range(0..length))
        .expect("a shorter file");
}

/// Takes all room that is left.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    let block = [7; 4096];
    while file.write_all(&block).is_ok() {}
}
