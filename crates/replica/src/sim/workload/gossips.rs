//! The clients of system E.

use bytes::Bytes;

use super::{NamedWrite, Names, Open, Operation, Trial, Workload, lww};
use crate::sim::simulation::Simulation;
use crate::{Level, Lww, NodeId, Request};

/// E: writes and reads at the node asked. Nothing is promised but convergence, to values that were
/// written.
#[derive(Debug, Default)]
pub(in crate::sim) struct Gossips {
    open: Open<()>,
    written: Vec<(Bytes, Bytes)>,
}

impl Workload<Lww> for Gossips {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        if let Operation::Put(value) = &operation {
            self.written.push((key.clone(), value.clone()));
        }
        let ticket = simulation.ask(node, Request::new(lww(key, operation), Level::One));
        self.open.push(ticket, ());
        self.poll(simulation);
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::One]
    }

    fn try_at(&mut self, simulation: &mut Simulation, trial: Trial) {
        self.ask(simulation, trial.node, trial.key, trial.operation);
    }

    fn begin(&mut self, simulation: &mut Simulation, _: u32, write: NamedWrite) {
        let operation = write.operation();
        self.ask(simulation, write.node, write.key, operation);
    }

    fn names(&mut self) -> Option<&mut dyn Names<Lww>> {
        None
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        self.open.take(simulation);
    }

    fn check(&mut self, simulation: &mut Simulation, keys: &[Bytes]) -> Vec<String> {
        let mut violations = Vec::new();
        for key in keys {
            let held = simulation.held(key);
            let values: Vec<_> = held.iter().map(|(_, cell)| cell.value().cloned()).collect();
            if values.iter().any(|value| *value != values[0]) {
                violations.push(format!("nodes show different values of {key:?}"));
            }
            if let Some(Some(value)) = values.into_iter().next()
                && !self.written.contains(&(key.clone(), value.clone()))
            {
                violations.push(format!("{key:?} shows {value:?}, which nobody wrote"));
            }
        }
        violations
    }

    fn tally(&self, _: &Simulation) -> (usize, usize) {
        self.open.tally()
    }
}
