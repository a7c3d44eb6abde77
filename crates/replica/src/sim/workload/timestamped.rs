//! The clients of system B.

use bytes::Bytes;
use crdt::{Dot, LwwCell, Timestamp};
use rand::RngExt as _;
use std::collections::BTreeMap;

use super::retries::Retries;
use super::{NamedWrite, Names, Open, Operation, Trial, Workload, both, lww};
use crate::sim::schedule::Schedule;
use crate::sim::simulation::Simulation;
use crate::{Command, Level, Lww, NodeId, Outcome, Request};

/// B: the caller's timestamps. A read is never older than what was acknowledged before it started, and
/// neither is what all nodes hold in the end.
#[derive(Debug, Default)]
pub(in crate::sim) struct Timestamped {
    open: Open<(Bytes, Option<Written>, Floors)>,
    retries: Retries<Lww, (Bytes, Written)>,
    acknowledged: Floors,
    violations: Vec<String>,
    mixes: bool,
    /// All deletes that were asked for, whatever became of them.
    deletes: Vec<(Bytes, Timestamp)>,
    /// The highest horizon of a node: tombstones up to it may be gone.
    horizon: u64,
}

/// The timestamp of a write with its value.
type Written = (Timestamp, Option<Bytes>);

/// The highest acknowledged write of each key.
type Floors = BTreeMap<Bytes, Written>;

/// Whether the first of two writes wins or is the same.
fn is_no_older(one: &Written, other: &Written) -> bool {
    let entry = |(timestamp, value): &Written| crdt::LwwEntry {
        dot: Dot::new(crdt::ReplicaId(1), 1),
        timestamp: *timestamp,
        value: value.clone(),
    };
    entry(one).event_order(&entry(other)).is_ge()
}

fn written_in(cell: &LwwCell<Bytes>) -> Option<Written> {
    let live = cell.live()?;
    Some((live.timestamp, live.value.clone()))
}

impl Timestamped {
    fn note_acknowledged(&mut self, key: Bytes, written: Written) {
        let held = self.acknowledged.entry(key);
        let floor = held.or_insert_with(|| written.clone());
        if is_no_older(&written, floor) {
            *floor = written;
        }
    }

    /// Whether a delete that wins over a write, or is it, may have taken effect and have gone since.
    fn may_be_purged(&self, key: &Bytes, (time, value): &Written) -> bool {
        let mut deletes = self.deletes.iter().filter(|(of, _)| of == key);
        deletes.any(|(_, delete)| {
            let wins = delete > time || (delete == time && value.is_none());
            wins && *delete <= Timestamp(self.horizon)
        })
    }

    fn check_read(&mut self, key: &Bytes, floors: &Floors, found: Option<&Written>, who: &str) {
        let Some(floor) = floors.get(key) else { return };
        if found.is_none() && self.may_be_purged(key, floor) {
            return;
        }
        if !found.is_some_and(|found| is_no_older(found, floor)) {
            self.violations.push(format!(
                "{who} found {found:?} for {key:?}, {floor:?} was acknowledged before"
            ));
        }
    }
}

impl Timestamped {
    fn ask_at(
        &mut self,
        simulation: &mut Simulation,
        (node, key): (NodeId, Bytes),
        operation: Operation,
        (level, timestamp): (Level, Timestamp),
    ) {
        let (command, written) = match operation {
            Operation::Get => (Command::get(key.clone()), None),
            Operation::Put(value) => {
                let write = (timestamp, Some(value.clone()));
                (Command::put(key.clone(), value).at(timestamp), Some(write))
            }
            Operation::Delete => {
                let write = (timestamp, None);
                self.deletes.push((key.clone(), timestamp));
                (Command::delete(key.clone()).at(timestamp), Some(write))
            }
        };
        let ticket = simulation.ask(node, Request::new(command, level));
        // Nothing is promised of what one node shows, or of what one node holds.
        let (floors, written) = match level {
            Level::One => (Floors::new(), None),
            _ => (self.acknowledged.clone(), written),
        };
        self.open.push(ticket, (key, written, floors));
        self.poll(simulation);
    }

    /// One of few times above the horizon, so that equal ones happen, or now and then at it.
    fn time(&self, simulation: &mut Simulation) -> Timestamp {
        Timestamp(self.horizon + simulation.rng().random_range(0..60))
    }
}

impl Workload<Lww> for Timestamped {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        let timestamp = self.time(simulation);
        let is_read = matches!(operation, Operation::Get);
        let level = match self.mixes {
            false => Level::Quorum,
            true => match simulation.rng().random_range(0..100) {
                0..30 if is_read => Level::One,
                30..40 => Level::All,
                _ => Level::Quorum,
            },
        };
        self.ask_at(simulation, (node, key), operation, (level, timestamp));
    }

    fn set_up(&mut self, schedule: &Schedule) {
        self.mixes = schedule.mixes;
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::One, Level::Quorum, Level::All]
    }

    fn try_at(&mut self, simulation: &mut Simulation, trial: Trial) {
        let Timestamp(time) = self.time(simulation);
        let at = (trial.node, trial.key);
        let how = (trial.level, Timestamp(time + 1));
        self.ask_at(simulation, at, trial.operation, how);
    }

    fn raise_horizon(&mut self, simulation: &mut Simulation, node: NodeId, time: u64) {
        self.horizon = self.horizon.max(time);
        simulation.raise_horizon(node, Timestamp(time));
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        let timestamp = self.time(simulation);
        let (node, value) = (write.node, write.value.clone());
        if value.is_none() {
            self.deletes.push((write.key.clone(), timestamp));
        }
        let kept = (write.key.clone(), (timestamp, value.clone()));
        let command = lww(write.key.clone(), write.operation()).at(timestamp);
        let request = (Request::new(command, Level::Quorum), value);
        self.retries.begin(simulation, node, name, request, kept);
    }

    fn names(&mut self) -> Option<&mut dyn Names<Lww>> {
        Some(&mut self.retries)
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        for settled in self.retries.poll(simulation) {
            let (key, written) = settled.kept;
            self.note_acknowledged(key, written);
        }
        for ((key, written, floors), result) in self.open.take(simulation) {
            match (written, result) {
                (Some(written), Ok(_)) => self.note_acknowledged(key, written),
                (None, Ok(Outcome::Read { cell, .. })) => {
                    self.check_read(&key, &floors, written_in(&cell).as_ref(), "a read");
                }
                _ => {}
            }
        }
    }

    fn check(&mut self, simulation: &mut Simulation, keys: &[Bytes]) -> Vec<String> {
        let floors = std::mem::take(&mut self.acknowledged);
        for key in keys {
            for (node, cell) in simulation.held(key) {
                self.check_read(key, &floors, written_in(&cell).as_ref(), &node.to_string());
            }
        }
        std::mem::take(&mut self.violations)
    }

    fn tally(&self, _: &Simulation) -> (usize, usize) {
        both(self.open.tally(), self.retries.counts())
    }
}
