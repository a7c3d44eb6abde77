//! The clients of system C.

use bytes::Bytes;
use rand::RngExt as _;

use super::retries::Retries;
use super::{
    NamedWrite, Names, Open, Operation, Trial, Workload, again, both, lww, record, with_version,
};
use crate::check::sessions::Guarantee;
use crate::check::{self, Call, History, OperationId, SessionId, Version};
use crate::sim::player;
use crate::sim::schedule::Schedule;
use crate::sim::simulation::Simulation;
use crate::{Guarantees, Level, Lww, NodeId, Session};

/// C: sessions that go from node to node, and hand their tokens over.
#[derive(Debug, Default)]
pub(in crate::sim) struct Sessions {
    sessions: Vec<Client>,
    history: History,
    open: Open<(usize, OperationId, Bytes, Call)>,
    retries: Retries<Lww, (usize, OperationId, Bytes, Call)>,
    moment: u64,
    mixes: bool,
    guarantees: Guarantees,
    writes: Level,
    /// The first of the clients that come when all faults have ended.
    first_late: Option<usize>,
}

/// A client with its session: one operation at a time.
#[derive(Debug)]
struct Client {
    session: Session,
    is_busy: bool,
}

/// After so many failures a client gives up a write with a name, and goes on without knowing.
const PATIENCE: usize = 6;

/// What the clients of a run ask for, where they choose: half of the runs all four guarantees, and the others
/// each of them alone, or none.
fn chosen(seed: u64) -> Guarantees {
    let none = Guarantees::NONE;
    match seed % 10 {
        0 => Guarantees {
            read_your_writes: true,
            ..none
        },
        1 => Guarantees {
            monotonic_reads: true,
            ..none
        },
        2 => Guarantees {
            monotonic_writes: true,
            ..none
        },
        3 => Guarantees {
            writes_follow_reads: true,
            ..none
        },
        4 => none,
        _ => Guarantees::default(),
    }
}

/// The level of all writes of a run. Who waits for a write at `Quorum` may have a later one of the same node
/// minted again, which was answered at level `One` before, and the checker knows each write by the version
/// under which it was answered.
const fn level_of_writes(seed: u64) -> Level {
    match seed / 10 % 10 {
        0..5 => Level::One,
        5..8 => Level::Quorum,
        _ => Level::All,
    }
}

/// How many clients there are, in a small cluster and in a large one.
const CLIENTS: (usize, usize) = (3, 50);

impl Sessions {
    fn tick(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Draws the client of an operation, which may take over another's token before; `None` if it waits for
    /// something else.
    fn client(&mut self, simulation: &mut Simulation) -> Option<usize> {
        if self.sessions.is_empty() {
            let placement = simulation.config().placement();
            let guarantees = self.guarantees;
            let client = || Client {
                session: Session::new(placement, guarantees),
                is_busy: false,
            };
            let count = match simulation.config().nodes <= player::SMALL {
                true => CLIENTS.0,
                false => CLIENTS.1,
            };
            self.sessions = std::iter::repeat_with(client).take(count).collect();
        }
        let clients = self.sessions.len();
        let at = simulation.rng().random_range(0..clients);
        let hands_over = simulation.rng().random_bool(0.1);
        let other = simulation.rng().random_range(0..clients);
        if self.sessions[at].is_busy {
            return None;
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
        Some(at)
    }

    fn start(
        &mut self,
        simulation: &mut Simulation,
        at: usize,
        (node, key): (NodeId, Bytes),
        operation: Operation,
        (level, name): (Level, Option<u32>),
    ) {
        let (value, version) = (None, None);
        let call = match &operation {
            Operation::Put(value) => {
                let value = Some(value.clone());
                Call::Write { value, version }
            }
            Operation::Delete => Call::Write { value, version },
            Operation::Get => Call::Read { value, version },
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
        let value = match &call {
            Call::Write { value, .. } => value.clone(),
            _ => None,
        };
        let kept = (at, id, key, call);
        if let Some(name) = name {
            let request = (request, value);
            self.retries.begin(simulation, node, name, request, kept);
        } else {
            let ticket = simulation.ask(node, request);
            self.open.push(ticket, kept);
        }
        self.poll(simulation);
    }

    /// The level of an operation.
    fn level(&self, simulation: &mut Simulation, is_read: bool) -> Level {
        match self.mixes {
            true if !is_read => self.writes,
            true => match simulation.rng().random_range(0..100) {
                0..25 => Level::Quorum,
                25..40 => Level::All,
                _ => Level::One,
            },
            false if is_read && simulation.rng().random_bool(0.3) => Level::Quorum,
            false => Level::One,
        }
    }
}

impl Workload<Lww> for Sessions {
    fn ask(&mut self, simulation: &mut Simulation, node: NodeId, key: Bytes, operation: Operation) {
        let is_read = matches!(operation, Operation::Get);
        let level = self.level(simulation, is_read);
        if let Some(at) = self.client(simulation) {
            self.start(simulation, at, (node, key), operation, (level, None));
        }
    }

    fn set_up(&mut self, schedule: &Schedule) {
        self.mixes = schedule.mixes;
        if schedule.mixes {
            self.guarantees = chosen(schedule.seed);
            self.writes = level_of_writes(schedule.seed);
        }
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::One, Level::Quorum, Level::All]
    }

    /// Each client is one that has seen nothing of the faults: an older one may have seen what is lost for good.
    fn try_at(&mut self, simulation: &mut Simulation, trial: Trial) {
        let first = *self.first_late.get_or_insert(self.sessions.len());
        let at = first + trial.client;
        while self.sessions.len() <= at {
            let placement = simulation.config().placement();
            let session = Session::new(placement, self.guarantees);
            let is_busy = false;
            self.sessions.push(Client { session, is_busy });
        }
        let (key, operation) = (trial.key, trial.operation);
        self.start(
            simulation,
            at,
            (trial.node, key),
            operation,
            (trial.level, None),
        );
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        let level = self.level(simulation, false);
        let operation = write.operation();
        let NamedWrite { node, key, .. } = write;
        if let Some(at) = self.client(simulation) {
            self.start(simulation, at, (node, key), operation, (level, Some(name)));
        }
    }

    fn names(&mut self) -> Option<&mut dyn Names<Lww>> {
        Some(&mut self.retries)
    }

    fn close(&mut self, _: &mut Simulation) {
        for ((_, id, ..), may_have_happened) in self.retries.left() {
            if !may_have_happened {
                self.history.cancel(id);
            }
        }
        for (_, id, ..) in self.retries.forgotten() {
            again(&mut self.history, id);
        }
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        for settled in self.retries.poll(simulation) {
            let ((at, id, key, call), outcome) = (settled.kept, settled.outcome);
            self.sessions[at].is_busy = false;
            let moment = self.tick();
            let _bounded = self.sessions[at].session.note(&key, &outcome);
            // A retry names the event of its write, and the time of what the key holds by then.
            let call = match with_version(call, &outcome) {
                Call::Write { value, version } => {
                    let version = version.zip(settled.timestamp);
                    let version = version.map(|(v, timestamp)| Version { timestamp, ..v });
                    Call::Write { value, version }
                }
                call => call,
            };
            self.history.complete(id, moment, call);
        }
        for (at, ..) in self.retries.give_up(PATIENCE) {
            self.sessions[at].is_busy = false;
        }
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
        let asked = self.guarantees;
        let promised = [
            (asked.read_your_writes, Guarantee::ReadYourWrites),
            (asked.monotonic_reads, Guarantee::MonotonicReads),
            (asked.monotonic_writes, Guarantee::MonotonicWrites),
            (asked.writes_follow_reads, Guarantee::WritesFollowReads),
        ];
        let promised = promised.into_iter().filter(|(is_asked, _)| *is_asked);
        let promised: Vec<Guarantee> = promised.map(|(_, guarantee)| guarantee).collect();
        match check::sessions::check_only(&self.history, &promised) {
            Ok(()) => Vec::new(),
            Err(found) => vec![found.to_string()],
        }
    }

    fn tally(&self, _: &Simulation) -> (usize, usize) {
        both(self.open.tally(), self.retries.counts())
    }
}
