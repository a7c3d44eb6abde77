//! What the clients of each system do, and what must be true of what they saw.

use bytes::Bytes;

use super::oracle::Simulated;
use super::schedule::Schedule;
use super::simulation::{Simulation, Ticket};
use crate::check::{Call, History, OperationId, Version};
use crate::{Command, Level, NodeId, Outcome, RequestError};

mod gossips;
mod linearizable;
mod majority;
mod retries;
mod sessions;
mod siblings;
mod timestamped;

pub(super) use gossips::Gossips;
pub(super) use linearizable::Linearizable;
pub(super) use majority::Majority;
pub(super) use retries::Names;
pub(super) use sessions::Sessions;
pub(super) use siblings::Siblings;
pub(super) use timestamped::Timestamped;

/// An operation that is drawn, whatever the system.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put(Bytes),
    Delete,
    Get,
}

/// A write that is to be asked for until it has succeeded, and to happen once.
#[derive(Debug, Clone)]
pub(super) struct NamedWrite {
    /// The node that is asked first.
    pub(super) node: NodeId,
    pub(super) key: Bytes,
    /// A value that no other write of the key has; `None` to delete.
    pub(super) value: Option<Bytes>,
}

impl NamedWrite {
    fn operation(&self) -> Operation {
        self.value.clone().map_or(Operation::Delete, Operation::Put)
    }
}

/// A request that has to succeed: all faults have ended, and its key and client are its own while it is open.
#[derive(Debug, Clone)]
pub(super) struct Trial {
    /// The number of its client.
    pub(super) client: usize,
    pub(super) node: NodeId,
    pub(super) key: Bytes,
    pub(super) operation: Operation,
    pub(super) level: Level,
}

/// The clients of one run.
pub(super) trait Workload<P: Simulated> {
    /// Before anything else: takes note of what kind of run it is.
    fn set_up(&mut self, _: &Schedule) {}

    /// The levels that the system offers.
    fn levels(&self) -> &'static [Level];

    /// Starts an operation at one of these levels, in a run in which all faults have ended.
    fn try_at(&mut self, simulation: &mut Simulation<P>, trial: Trial);

    /// Raises the horizon of a node.
    fn raise_horizon(&mut self, simulation: &mut Simulation<P>, node: NodeId, time: u64) {
        simulation.raise_horizon(node, crdt::Timestamp(time));
    }

    /// Starts an operation at the level that the system promises most of.
    fn ask(
        &mut self,
        simulation: &mut Simulation<P>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    );

    /// Starts a write at level `One`, where the system mixes levels.
    fn ask_one(
        &mut self,
        simulation: &mut Simulation<P>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
    ) {
        self.ask(simulation, node, key, operation);
    }

    /// Starts a write under a name, by which it can be asked for again.
    fn begin(&mut self, simulation: &mut Simulation<P>, name: u32, write: NamedWrite);

    /// The writes with a name; `None` if the store remembers none.
    fn names(&mut self) -> Option<&mut dyn Names<P>>;

    /// Tells the history what is left of the named writes: nobody asks for them any more.
    fn close(&mut self, _: &mut Simulation<P>) {}

    /// Takes the answers that have come.
    fn poll(&mut self, simulation: &mut Simulation<P>);

    /// What must be true once all is quiet.
    fn check(&mut self, simulation: &mut Simulation<P>, keys: &[Bytes]) -> Vec<String>;

    /// Operations that succeeded, and all.
    fn tally(&self, simulation: &Simulation<P>) -> (usize, usize);

    /// Keys that [`check`](Self::check) could not judge in reasonable time.
    fn unjudged(&self) -> usize {
        0
    }
}

/// Answers that have not come yet, each with what its operation was, and how many have.
#[derive(Debug)]
struct Open<T> {
    tickets: Vec<(Ticket, T)>,
    succeeded: usize,
    asked: usize,
}

/// What a request was answered with.
type Answer<P> = Result<Outcome<<P as crate::Policy>::Cell>, RequestError>;

impl<T> Default for Open<T> {
    fn default() -> Self {
        Self {
            tickets: Vec::new(),
            succeeded: 0,
            asked: 0,
        }
    }
}

impl<T> Open<T> {
    fn push(&mut self, ticket: Ticket, operation: T) {
        self.asked += 1;
        self.tickets.push((ticket, operation));
    }

    /// The operations that were answered since the last call.
    fn take<P: Simulated>(&mut self, simulation: &mut Simulation<P>) -> Vec<(T, Answer<P>)> {
        let mut answered = Vec::new();
        let mut open = Vec::new();
        for (ticket, operation) in self.tickets.drain(..) {
            match simulation.take_reply(ticket) {
                Some(result) => answered.push((operation, result)),
                None => open.push((ticket, operation)),
            }
        }
        self.tickets = open;
        self.succeeded += answered.iter().filter(|(_, r)| r.is_ok()).count();
        answered
    }

    const fn tally(&self) -> (usize, usize) {
        (self.succeeded, self.asked)
    }
}

/// The sums of two tallies.
const fn both(one: (usize, usize), other: (usize, usize)) -> (usize, usize) {
    (one.0 + other.0, one.1 + other.1)
}

fn lww(key: Bytes, operation: Operation) -> Command {
    match operation {
        Operation::Put(value) => Command::put(key, value),
        Operation::Delete => Command::delete(key),
        Operation::Get => Command::get(key),
    }
}

/// Tells the history what came of an operation: a failed one stays in it only if it may take effect.
fn record(
    history: &mut History,
    id: OperationId,
    moment: u64,
    call: Call,
    result: Result<&Outcome, &RequestError>,
) {
    match result {
        Ok(outcome) => history.complete(id, moment, with_version(call, outcome)),
        Err(error) if matches!(call, Call::Read { .. }) || !error.may_take_effect() => {
            history.cancel(id);
        }
        Err(_) => {}
    }
}

/// Tells the history that a write may have happened a second time, since its name was forgotten.
fn again(history: &mut History, id: OperationId) {
    let first = history.operations().find(|(other, _)| *other == id);
    let again = first.map(|(_, operation)| operation.clone());
    if let Some(mut operation) = again {
        operation.completed = None;
        match &mut operation.call {
            Call::Write { version, .. } => *version = None,
            Call::WriteSibling { dot, .. } => *dot = None,
            _ => {}
        }
        history.push(operation);
    }
}

/// The call with what came of it.
fn with_version(call: Call, outcome: &Outcome) -> Call {
    match (call, outcome) {
        (
            Call::Write { value, .. },
            Outcome::Written {
                timestamp, event, ..
            },
        ) => {
            let timestamp = *timestamp;
            let version = event.map(|dot| Version { timestamp, dot });
            Call::Write { value, version }
        }
        (_, Outcome::Read { cell, .. }) => {
            let version = cell.live().map(|live| Version {
                timestamp: live.timestamp,
                dot: live.dot,
            });
            let value = cell.value().cloned();
            Call::Read { value, version }
        }
        (call, _) => call,
    }
}
