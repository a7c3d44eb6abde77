//! The clients of system A.

use bytes::Bytes;
use rand::RngExt as _;

use super::retries::{Retries, has_taken_effect};
use super::{NamedWrite, Names, Open, Operation, Trial, Workload, lww};
use crate::sim::history::{self, Action};
use crate::sim::schedule::Schedule;
use crate::sim::simulation::Simulation;
use crate::{Level, Lww, NodeId, Request};

/// A: reads and writes at level `Quorum`, and in some runs above it; the simulation keeps their history. Reads at
/// level `One` are not in it: the invariants say that they show what their node knows.
#[derive(Debug, Default)]
pub(in crate::sim) struct Majority {
    mixes: bool,
    /// Reads at level `One`.
    weak: Open<()>,
    retries: Retries<Lww, (NamedWrite, u64)>,
}

impl Majority {
    fn ask_at(
        &mut self,
        simulation: &mut Simulation,
        (node, key): (NodeId, Bytes),
        operation: Operation,
        level: Level,
    ) {
        let is_read = matches!(operation, Operation::Get);
        let command = lww(key, operation);
        match level {
            Level::One if is_read => {
                let ticket = simulation.ask(node, Request::new(command, level));
                self.weak.push(ticket, ());
            }
            Level::One => simulation.write_one(node, command),
            _ => {
                simulation.request_at(node, command, level);
            }
        }
    }

    /// Tells the history of a named write, from its first attempt to its first good answer.
    fn push(
        simulation: &mut Simulation,
        (write, invoked): (NamedWrite, u64),
        completed: Option<u64>,
    ) {
        simulation.history_mut().push(history::Operation {
            node: write.node,
            key: write.key,
            action: Action::Write(write.value),
            invoked,
            completed,
        });
    }
}

impl Workload<Lww> for Majority {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        let is_read = matches!(operation, Operation::Get);
        let level = match self.mixes {
            false => Level::Quorum,
            true => match simulation.rng().random_range(0..100) {
                0..30 if is_read => Level::One,
                30..40 => Level::All,
                40..50 => Level::Linearizable,
                _ => Level::Quorum,
            },
        };
        self.ask_at(simulation, (node, key), operation, level);
    }

    fn set_up(&mut self, schedule: &Schedule) {
        self.mixes = schedule.mixes;
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::One, Level::Quorum, Level::All, Level::Linearizable]
    }

    fn try_at(&mut self, simulation: &mut Simulation, trial: Trial) {
        let at = (trial.node, trial.key);
        self.ask_at(simulation, at, trial.operation, trial.level);
    }

    fn ask_one(
        &mut self,
        simulation: &mut Simulation,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        simulation.write_one(node, lww(key, operation));
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        let invoked = simulation.history_mut().tick();
        let (node, value) = (write.node, write.value.clone());
        let command = lww(write.key.clone(), write.operation());
        let request = (Request::new(command, Level::Quorum), value);
        let kept = (write, invoked);
        self.retries.begin(simulation, node, name, request, kept);
    }

    fn names(&mut self) -> Option<&mut dyn Names<Lww>> {
        Some(&mut self.retries)
    }

    fn close(&mut self, simulation: &mut Simulation) {
        let left = self.retries.left().into_iter();
        for (kept, _) in left.filter(|(_, may_have_happened)| *may_have_happened) {
            Self::push(simulation, kept, None);
        }
        // Those are two writes each.
        for kept in self.retries.forgotten() {
            Self::push(simulation, kept, None);
        }
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        self.weak.take(simulation);
        for settled in self.retries.poll(simulation) {
            let moment = simulation.history_mut().tick();
            // A retry may find that its write had lost before it was known to a quorum: it was never to be
            // seen then, or for a while.
            let has_won = has_taken_effect(&settled.outcome);
            Self::push(simulation, settled.kept, has_won.then_some(moment));
        }
    }

    fn check(&mut self, _: &mut Simulation, _: &[Bytes]) -> Vec<String> {
        Vec::new()
    }

    fn tally(&self, simulation: &Simulation) -> (usize, usize) {
        let operations = simulation.history().operations();
        let succeeded = operations.iter().filter(|op| op.completed.is_some());
        (succeeded.count(), operations.len())
    }
}
