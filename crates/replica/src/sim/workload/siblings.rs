//! The clients of system D.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Knows as _, MvCell};
use rand::RngExt as _;
use std::collections::BTreeMap;

use super::retries::Retries;
use super::{NamedWrite, Names, Open, Operation, Trial, Workload, again, both};
use crate::check::{self, Call, FinalState, History, OperationId, SessionId, Sibling};
use crate::sim::mints::Mint;
use crate::sim::schedule::Schedule;
use crate::sim::simulation::Simulation;
use crate::{
    Command, Floor, Level, MultiValue, NodeId, Outcome, Request, RequestError, SiblingWrite,
};

/// D: concurrent values. Clients write over what they have read; the oracle knows what each node must
/// show, and what a quorum acknowledged must be known everywhere in the end. In runs that mix levels each value
/// is written once, clients come after what they have read, and the checker of siblings judges what they read at
/// `Quorum` and above. In the others values repeat, and a client may replace what it has not read.
#[derive(Debug, Default)]
pub(in crate::sim) struct Siblings {
    mixes: bool,
    written: u64,
    open: Open<Asked>,
    retries: Retries<MultiValue, Asked>,
    contexts: BTreeMap<Bytes, CausalContext>,
    acknowledged: Vec<(Bytes, Dot)>,
    history: History,
    moment: u64,
}

/// A request, with its place in the history.
#[derive(Debug, Clone)]
struct Asked {
    key: Bytes,
    level: Level,
    id: OperationId,
    call: Call,
}

impl Siblings {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// The request, and what the history says of it.
    fn request(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        key: Bytes,
        operation: Operation,
        level: Level,
    ) -> (Request<SiblingWrite>, Call) {
        // A third of the writes have read nothing, or a while ago.
        let context = self.contexts.get(&key).cloned();
        let write = match operation {
            Operation::Get => {
                let siblings = Vec::new();
                let call = Call::ReadSiblings { siblings };
                return (Request::new(Command::get(key), level), call);
            }
            Operation::Delete => None,
            Operation::Put(value) => Some(value),
        };
        let has_read = write.is_none() || !simulation.rng().random_bool(0.3);
        let context = context.filter(|_| has_read);
        // What replaces all that its coordinator holds says nothing that can be judged.
        let context = match self.mixes {
            true => Some(context.unwrap_or_default()),
            false => context,
        };
        let floor = Floor {
            context: context.clone().filter(|_| self.mixes).unwrap_or_default(),
            ..Floor::default()
        };
        let call = Call::WriteSibling {
            value: write.clone(),
            seen: context.clone().unwrap_or_default(),
            dot: None,
        };
        let write = write.map_or(SiblingWrite::Delete, SiblingWrite::Put);
        let command = Command::Write {
            key,
            write,
            context,
        };
        (Request::new(command, level).after(floor), call)
    }

    fn invoke(&mut self, node: NodeId, key: Bytes, level: Level, call: Call) -> Asked {
        let (moment, session) = (self.tick(), SessionId(u64::from(node.0)));
        let id = self
            .history
            .invoke(session, Some(node), key.clone(), call.clone(), moment);
        Asked {
            key,
            level,
            id,
            call,
        }
    }

    fn start(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        (node, key): (NodeId, Bytes),
        operation: Operation,
        level: Level,
    ) {
        let operation = match operation {
            Operation::Put(_) if self.mixes => {
                self.written += 1;
                Operation::Put(format!("d{}", self.written).into())
            }
            operation => operation,
        };
        let (request, call) = self.request(simulation, key.clone(), operation, level);
        let asked = self.invoke(node, key, level, call);
        let ticket = simulation.ask(node, request);
        self.open.push(ticket, asked);
        self.poll(simulation);
    }

    /// Takes note of an answer; `is_own` says whether the event that it names is that of the write.
    fn answered(&mut self, asked: Asked, outcome: Outcome<MvCell<Bytes>>, is_own: bool) {
        let moment = self.tick();
        let Asked {
            key,
            level,
            id,
            mut call,
        } = asked;
        match (outcome, &mut call) {
            (Outcome::Read { cell, seen, .. }, Call::ReadSiblings { siblings }) => {
                *siblings = siblings_of(&cell);
                self.contexts.insert(key, seen.context);
            }
            (Outcome::Written { event, .. }, Call::WriteSibling { dot, .. }) => {
                *dot = event.filter(|_| is_own);
                let acknowledged = event.filter(|_| level != Level::One);
                self.acknowledged.extend(acknowledged.map(|dot| (key, dot)));
            }
            _ => {}
        }
        match level {
            // What one node shows or holds is promised nothing. Such a write may be lost, and may be read.
            Level::One => {
                let operations = self.history.operations();
                let first = operations.into_iter().find(|(other, _)| *other == id);
                let weak = first.map(|(_, operation)| operation.clone());
                self.history.cancel(id);
                let is_write = matches!(call, Call::WriteSibling { .. });
                if let Some(mut weak) = weak.filter(|_| is_write) {
                    weak.call = call;
                    self.history.push(weak);
                }
            }
            _ => self.history.complete(id, moment, call),
        }
    }

    /// Tells the history of the events of a write that was carried out more than once.
    fn push_minted(&mut self, asked: &Asked, minted: &[Mint]) {
        let mut operations = self.history.operations();
        let first = operations.find(|(id, _)| *id == asked.id);
        let first = first.map(|(_, operation)| operation.clone());
        drop(operations);
        let Some(operation) = first else {
            return;
        };
        for mint in minted {
            let mut again = operation.clone();
            again.completed = None;
            if let Call::WriteSibling { dot, .. } = &mut again.call {
                if *dot == Some(mint.dot) {
                    continue;
                }
                *dot = Some(mint.dot);
            }
            self.history.push(again);
        }
    }

    fn failed(&mut self, asked: &Asked, error: &RequestError) {
        if matches!(error, RequestError::SessionLost { .. }) {
            self.contexts.remove(&asked.key);
        }
        let is_read = matches!(asked.call, Call::ReadSiblings { .. });
        if is_read || !error.may_take_effect() {
            self.history.cancel(asked.id);
        }
    }

    /// What the checker says of what was read, and of what nodes show in the end.
    fn judge(&mut self, simulation: &Simulation<MultiValue>, keys: &[Bytes]) -> Vec<String> {
        for key in keys {
            for (node, cell) in simulation.held(key) {
                let mut siblings = siblings_of(&cell);
                siblings.sort();
                let key = key.clone();
                self.history.push_final(FinalState {
                    node,
                    key,
                    siblings,
                });
            }
        }
        match check::siblings::check(&self.history) {
            Ok(()) => Vec::new(),
            Err(found) => found.0.iter().map(ToString::to_string).collect(),
        }
    }
}

fn siblings_of(cell: &MvCell<Bytes>) -> Vec<Sibling> {
    let siblings = cell.siblings().map(|(dot, value)| Sibling {
        dot,
        value: value.clone(),
    });
    siblings.collect()
}

impl Workload<MultiValue> for Siblings {
    fn ask(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        let is_read = matches!(operation, Operation::Get);
        let level = match self.mixes {
            false => Level::Quorum,
            true => match simulation.rng().random_range(0..100) {
                0..30 if is_read => Level::One,
                30..40 => Level::All,
                _ => Level::Quorum,
            },
        };
        self.start(simulation, (node, key), operation, level);
    }

    fn set_up(&mut self, schedule: &Schedule) {
        self.mixes = schedule.mixes;
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::One, Level::Quorum, Level::All]
    }

    fn try_at(&mut self, simulation: &mut Simulation<MultiValue>, trial: Trial) {
        // What was read before may be lost for good.
        self.contexts.remove(&trial.key);
        let at = (trial.node, trial.key);
        self.start(simulation, at, trial.operation, trial.level);
    }

    fn ask_one(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        self.start(simulation, (node, key), operation, Level::One);
    }

    fn begin(&mut self, simulation: &mut Simulation<MultiValue>, name: u32, write: NamedWrite) {
        let operation = write.operation();
        let NamedWrite { node, key, value } = write;
        let level = Level::Quorum;
        let (request, call) = self.request(simulation, key.clone(), operation, level);
        let asked = self.invoke(node, key, level, call);
        let request = (request, value);
        self.retries.begin(simulation, node, name, request, asked);
    }

    fn names(&mut self) -> Option<&mut dyn Names<MultiValue>> {
        Some(&mut self.retries)
    }

    fn close(&mut self, simulation: &mut Simulation<MultiValue>) {
        for (asked, may_have_happened) in self.retries.left() {
            if !may_have_happened {
                self.history.cancel(asked.id);
            }
        }
        for (name, asked) in self.retries.forgotten_by_name() {
            match simulation.mints.of(name) {
                // Each time it was carried out is a write of its own.
                Some(minted) => self.push_minted(&asked, minted),
                None => again(&mut self.history, asked.id),
            }
        }
    }

    fn poll(&mut self, simulation: &mut Simulation<MultiValue>) {
        for settled in self.retries.poll(simulation) {
            // A write that was found by a retry may be answered with the event that has replaced it.
            let is_own = settled.timestamp.is_some();
            self.answered(settled.kept, settled.outcome, is_own);
        }
        for (asked, result) in self.open.take(simulation) {
            match result {
                Ok(outcome) => self.answered(asked, outcome, true),
                Err(error) => self.failed(&asked, &error),
            }
        }
    }

    fn check(&mut self, simulation: &mut Simulation<MultiValue>, keys: &[Bytes]) -> Vec<String> {
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
        if self.mixes {
            violations.extend(self.judge(simulation, keys));
        }
        violations
    }

    fn tally(&self, _: &Simulation<MultiValue>) -> (usize, usize) {
        both(self.open.tally(), self.retries.counts())
    }
}
