//! The clients of system B.

use bytes::Bytes;
use crdt::{Dot, LwwCell, Timestamp};
use rand::RngExt as _;
use std::collections::BTreeMap;

use super::retries::Retries;
use super::{NamedWrite, Names, Open, Operation, Workload, both, lww};
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

    fn check_read(&mut self, key: &Bytes, floors: &Floors, found: Option<&Written>, who: &str) {
        let Some(floor) = floors.get(key) else { return };
        if !found.is_some_and(|found| is_no_older(found, floor)) {
            self.violations.push(format!(
                "{who} found {found:?} for {key:?}, {floor:?} was acknowledged before"
            ));
        }
    }
}

impl Workload<Lww> for Timestamped {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        let timestamp = Timestamp(simulation.rng().random_range(0..60));
        let (command, written) = match operation {
            Operation::Get => (Command::get(key.clone()), None),
            Operation::Put(value) => {
                let write = (timestamp, Some(value.clone()));
                (Command::put(key.clone(), value).at(timestamp), Some(write))
            }
            Operation::Delete => {
                let write = (timestamp, None);
                (Command::delete(key.clone()).at(timestamp), Some(write))
            }
        };
        let ticket = simulation.ask(node, Request::new(command, Level::Quorum));
        let floors = self.acknowledged.clone();
        self.open.push(ticket, (key, written, floors));
        self.poll(simulation);
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        let timestamp = Timestamp(simulation.rng().random_range(0..60));
        let (node, value) = (write.node, write.value.clone());
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
