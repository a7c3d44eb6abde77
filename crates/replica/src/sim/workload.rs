//! What the clients of each system do, and what must be true of what they saw.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Knows as _, LwwCell, Timestamp};
use rand::RngExt as _;
use std::collections::BTreeMap;

use super::oracle::Simulated;
use super::simulation::{Simulation, Ticket};
use crate::check::{self, Call, History, OperationId, SessionId, Version};
use crate::{
    Command, Guarantees, Level, Lww, LwwWrite, MultiValue, NodeId, Outcome, Request, RequestError,
    Session, SiblingWrite,
};

/// An operation that is drawn, whatever the system.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    Put(Bytes),
    Delete,
    Get,
}

/// The clients of one run.
pub(super) trait Workload<P: Simulated> {
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

fn lww(key: Bytes, operation: Operation) -> Command {
    match operation {
        Operation::Put(value) => Command::put(key, value),
        Operation::Delete => Command::delete(key),
        Operation::Get => Command::get(key),
    }
}

/// A: reads and writes at level `Quorum`; the simulation keeps their history.
#[derive(Debug)]
pub(super) struct Majority;

impl Workload<Lww> for Majority {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        simulation.request(node, lww(key, operation));
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

    fn poll(&mut self, _: &mut Simulation) {}

    fn check(&mut self, _: &mut Simulation, _: &[Bytes]) -> Vec<String> {
        Vec::new()
    }

    fn tally(&self, simulation: &Simulation) -> (usize, usize) {
        let operations = simulation.history().operations();
        let succeeded = operations.iter().filter(|op| op.completed.is_some());
        (succeeded.count(), operations.len())
    }
}

/// B: the caller's timestamps. A read is never older than what was acknowledged before it started, and
/// neither is what all nodes hold in the end.
#[derive(Debug, Default)]
pub(super) struct Timestamped {
    open: Open<(Bytes, Option<Written>, Floors)>,
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

    fn poll(&mut self, simulation: &mut Simulation) {
        for ((key, written, floors), result) in self.open.take(simulation) {
            match (written, result) {
                (Some(written), Ok(_)) => {
                    let floor = self
                        .acknowledged
                        .entry(key)
                        .or_insert_with(|| written.clone());
                    if is_no_older(&written, floor) {
                        *floor = written;
                    }
                }
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
        self.open.tally()
    }
}

/// C: sessions that go from node to node, and hand their tokens over.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    sessions: Vec<Client>,
    history: History,
    open: Open<(usize, OperationId, Bytes, Call)>,
    moment: u64,
}

/// A client with its session: one operation at a time.
#[derive(Debug)]
struct Client {
    session: Session,
    is_busy: bool,
}

/// How many clients there are.
const CLIENTS: usize = 3;

impl Sessions {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    fn start(
        &mut self,
        simulation: &mut Simulation,
        node: NodeId,
        key: Bytes,
        operation: Operation,
        level: Level,
    ) {
        if self.sessions.is_empty() {
            let placement = simulation.config().placement();
            let client = || Client {
                session: Session::new(placement, Guarantees::default()),
                is_busy: false,
            };
            self.sessions = std::iter::repeat_with(client).take(CLIENTS).collect();
        }
        let at = simulation.rng().random_range(0..CLIENTS);
        let hands_over = simulation.rng().random_bool(0.1);
        let other = simulation.rng().random_range(0..CLIENTS);
        if self.sessions[at].is_busy {
            return;
        }
        if hands_over && at != other && !self.sessions[other].is_busy {
            let token = self.sessions[other].session.token().clone();
            self.sessions[at].session.token_mut().join(&token);
            let (given, taken) = (self.tick(), self.tick());
            self.history.hand_over(check::HandOver {
                from: SessionId(other as u64),
                given,
                to: SessionId(at as u64),
                taken,
            });
        }
        let call = match &operation {
            Operation::Put(value) => Call::Write {
                value: Some(value.clone()),
                version: None,
            },
            Operation::Delete => Call::Write {
                value: None,
                version: None,
            },
            Operation::Get => Call::Read {
                value: None,
                version: None,
            },
        };
        let request = self.sessions[at]
            .session
            .request(lww(key.clone(), operation), level);
        let moment = self.tick();
        let session = SessionId(at as u64);
        let id = self
            .history
            .invoke(session, Some(node), key.clone(), call.clone(), moment);
        self.sessions[at].is_busy = true;
        let ticket = simulation.ask(node, request);
        self.open.push(ticket, (at, id, key, call));
        self.poll(simulation);
    }
}

impl Workload<Lww> for Sessions {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        // A write at level `Quorum` that is minted again takes effect under two versions, and the checker
        // knows each write by one.
        let is_read = matches!(operation, Operation::Get);
        let level = match is_read && simulation.rng().random_bool(0.3) {
            true => Level::Quorum,
            false => Level::One,
        };
        self.start(simulation, node, key, operation, level);
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        for ((at, id, key, call), result) in self.open.take(simulation) {
            self.sessions[at].is_busy = false;
            let moment = self.tick();
            if let Ok(outcome) = &result {
                let _bounded = self.sessions[at].session.note(&key, outcome);
            }
            record(&mut self.history, id, moment, call, result.as_ref());
        }
    }

    fn check(&mut self, _: &mut Simulation, _: &[Bytes]) -> Vec<String> {
        // Causality comes with tokens, not with values: a store whose nodes own different keys does not
        // order what a session has written of one key before what it has written of another.
        use check::sessions::Guarantee;
        let promised = [
            Guarantee::ReadYourWrites,
            Guarantee::MonotonicReads,
            Guarantee::MonotonicWrites,
            Guarantee::WritesFollowReads,
        ];
        match check::sessions::check_only(&self.history, &promised) {
            Ok(()) => Vec::new(),
            Err(found) => vec![found.to_string()],
        }
    }

    fn tally(&self, _: &Simulation) -> (usize, usize) {
        self.open.tally()
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

/// D: concurrent values. Clients write over what they have read; the oracle knows what each node must
/// show, and what a quorum acknowledged must be known everywhere in the end.
#[derive(Debug, Default)]
pub(super) struct Siblings {
    open: Open<(Bytes, bool)>,
    contexts: BTreeMap<Bytes, CausalContext>,
    acknowledged: Vec<(Bytes, Dot)>,
}

impl Siblings {
    fn start(
        &mut self,
        simulation: &mut Simulation<MultiValue>,
        node: NodeId,
        key: Bytes,
        operation: Operation,
        level: Level,
    ) {
        let write = |write| {
            let key = key.clone();
            // A third of the writes have read nothing, or a while ago.
            let context = self.contexts.get(&key).cloned();
            Command::Write {
                key,
                write,
                context,
            }
        };
        let command = match operation {
            Operation::Get => Command::get(key.clone()),
            Operation::Delete => write(SiblingWrite::Delete),
            Operation::Put(value) if simulation.rng().random_bool(0.3) => {
                Command::write(key.clone(), SiblingWrite::Put(value))
            }
            Operation::Put(value) => write(SiblingWrite::Put(value)),
        };
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

    fn poll(&mut self, simulation: &mut Simulation<MultiValue>) {
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
        self.open.tally()
    }
}

/// E: writes and reads at the node asked. Nothing is promised but convergence, to values that were
/// written.
#[derive(Debug, Default)]
pub(super) struct Gossips {
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

/// How many orders of operations are looked at for one key: a run with very many writes of unknown outcome
/// at once cannot be judged in reasonable time, and is counted instead.
const MAX_CONFIGURATIONS: usize = 30_000;

/// L: every operation at level `Linearizable`, values that are never written twice, and the checker of
/// linearizability.
#[derive(Debug, Default)]
pub(super) struct Linearizable {
    open: Open<(OperationId, Call)>,
    history: History,
    moment: u64,
    written: u64,
    unjudged: usize,
}

impl Linearizable {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }
}

impl Workload<Lww> for Linearizable {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        self.poll(simulation);
        let (write, call) = match operation {
            Operation::Get => {
                let (value, version) = (None, None);
                (None, Call::Read { value, version })
            }
            Operation::Delete => {
                let (value, version) = (None, None);
                (Some(None), Call::Write { value, version })
            }
            Operation::Put(_) => {
                self.written += 1;
                let value = Some(Bytes::from(self.written.to_string()));
                let version = None;
                (Some(value.clone()), Call::Write { value, version })
            }
        };
        let command = match write {
            None => Command::get(key.clone()),
            Some(value) => {
                let timestamp = None;
                Command::write(key.clone(), LwwWrite { value, timestamp })
            }
        };
        let moment = self.tick();
        let session = SessionId(u64::from(node.0));
        let id = self
            .history
            .invoke(session, Some(node), key, call.clone(), moment);
        let ticket = simulation.ask(node, Request::new(command, Level::Linearizable));
        self.open.push(ticket, (id, call));
        self.poll(simulation);
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        for ((id, call), result) in self.open.take(simulation) {
            let moment = self.tick();
            record(&mut self.history, id, moment, call, result.as_ref());
        }
    }

    fn check(&mut self, _: &mut Simulation, _: &[Bytes]) -> Vec<String> {
        let found = check::linearizability::check_within(&self.history, MAX_CONFIGURATIONS);
        let found = found.map_err(|violations| violations.0).err();
        let hard = |v: &check::linearizability::Violation| {
            matches!(v, check::linearizability::Violation::TooHard { .. })
        };
        let (unjudged, found): (Vec<_>, Vec<_>) = found.into_iter().flatten().partition(hard);
        self.unjudged = unjudged.len();
        let found = found.into_iter();
        found.map(|violation| violation.to_string()).collect()
    }

    fn unjudged(&self) -> usize {
        self.unjudged
    }

    fn tally(&self, _: &Simulation) -> (usize, usize) {
        self.open.tally()
    }
}
