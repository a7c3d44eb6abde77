//! The clients of system C.

use bytes::Bytes;
use rand::RngExt as _;

use super::retries::Retries;
use super::{NamedWrite, Names, Open, Operation, Workload, again, both, lww, record, with_version};
use crate::check::{self, Call, History, OperationId, SessionId, Version};
use crate::sim::player;
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
}

/// A client with its session: one operation at a time.
#[derive(Debug)]
struct Client {
    session: Session,
    is_busy: bool,
}

/// After so many failures a client gives up a write with a name, and goes on without knowing.
const PATIENCE: usize = 6;

/// How many clients there are, in a small cluster and in a large one.
const CLIENTS: (usize, usize) = (3, 50);

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
        name: Option<u32>,
    ) {
        if self.sessions.is_empty() {
            let placement = simulation.config().placement();
            let client = || Client {
                session: Session::new(placement, Guarantees::default()),
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
        self.start(simulation, node, key, operation, level, None);
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        let (operation, level) = (write.operation(), Level::One);
        let NamedWrite { node, key, .. } = write;
        self.start(simulation, node, key, operation, level, Some(name));
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
        both(self.open.tally(), self.retries.counts())
    }
}
