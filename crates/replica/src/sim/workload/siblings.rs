//! The clients of system D.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Knows as _};
use rand::RngExt as _;
use std::collections::BTreeMap;

use super::retries::Retries;
use super::{NamedWrite, Names, Open, Operation, Workload, both};
use crate::sim::simulation::Simulation;
use crate::{Command, Level, MultiValue, NodeId, Outcome, Request, SiblingWrite};

/// D: concurrent values. Clients write over what they have read; the oracle knows what each node must
/// show, and what a quorum acknowledged must be known everywhere in the end.
#[derive(Debug, Default)]
pub(in crate::sim) struct Siblings {
    open: Open<(Bytes, bool)>,
    retries: Retries<MultiValue, Bytes>,
    contexts: BTreeMap<Bytes, CausalContext>,
    acknowledged: Vec<(Bytes, Dot)>,
}

impl Siblings {
    fn command(
        &self,
        simulation: &mut Simulation<MultiValue>,
        key: Bytes,
        operation: Operation,
    ) -> Command<SiblingWrite> {
        // A third of the writes have read nothing, or a while ago.
        let context = self.contexts.get(&key).cloned();
        let write = match operation {
            Operation::Get => return Command::get(key),
            Operation::Delete => SiblingWrite::Delete,
            Operation::Put(value) if simulation.rng().random_bool(0.3) => {
                return Command::write(key, SiblingWrite::Put(value));
            }
            Operation::Put(value) => SiblingWrite::Put(value),
        };
        Command::Write {
            key,
            write,
            context,
        }
    }

    fn start(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
        level: Level,
    ) {
        let command = self.command(simulation, key.clone(), operation);
        let ticket = simulation.ask(node, Request::new(command, level));
        self.open.push(ticket, (key, level == Level::Quorum));
        self.poll(simulation);
    }
}

impl Workload<MultiValue> for Siblings {
    fn ask(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        self.start(simulation, node, key, operation, Level::Quorum);
    }

    fn ask_one(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        self.start(simulation, node, key, operation, Level::One);
    }

    fn begin(&mut self, simulation: &mut Simulation<MultiValue>, name: u32, write: NamedWrite) {
        let operation = write.operation();
        let NamedWrite { node, key, value } = write;
        let command = self.command(simulation, key.clone(), operation);
        let request = (Request::new(command, Level::Quorum), value);
        self.retries.begin(simulation, node, name, request, key);
    }

    fn names(&mut self) -> Option<&mut dyn Names<MultiValue>> {
        Some(&mut self.retries)
    }

    fn poll(&mut self, simulation: &mut Simulation<MultiValue>) {
        for settled in self.retries.poll(simulation) {
            if let Outcome::Written {
                event: Some(dot), ..
            } = settled.outcome
            {
                self.acknowledged.push((settled.kept, dot));
            }
        }
        for ((key, is_quorum), result) in self.open.take(simulation) {
            match result {
                Ok(Outcome::Read { seen, .. }) => {
                    self.contexts.insert(key, seen.context);
                }
                Ok(Outcome::Written {
                    event: Some(dot), ..
                }) if is_quorum => self.acknowledged.push((key, dot)),
                _ => {}
            }
        }
    }

    fn check(&mut self, simulation: &mut Simulation<MultiValue>, _: &[Bytes]) -> Vec<String> {
        let mut violations = Vec::new();
        for node in simulation.node_ids() {
            let Some(partition) = simulation.partition(node) else {
                continue;
            };
            let knowledge = partition.replica().knowledge();
            for (key, dot) in &self.acknowledged {
                if !knowledge.of_key(key).knows(*dot) {
                    violations.push(format!(
                        "{node} does not know {dot} of {key:?}, a quorum did"
                    ));
                }
            }
        }
        violations
    }

    fn tally(&self, _: &Simulation<MultiValue>) -> (usize, usize) {
        both(self.open.tally(), self.retries.counts())
    }
}
