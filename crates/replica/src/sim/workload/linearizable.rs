//! The clients of level L.

use bytes::Bytes;

use super::retries::Retries;
use super::{
    NamedWrite, Names, Open, Operation, Trial, Workload, again, both, lww, record, with_version,
};
use crate::check::{self, Call, History, OperationId, SessionId};
use crate::sim::simulation::Simulation;
use crate::{Command, Level, Lww, LwwWrite, NodeId, Request};

/// How many orders of operations are looked at for one key: a run with very many writes of unknown outcome
/// at once cannot be judged in reasonable time, and is counted instead.
const MAX_CONFIGURATIONS: usize = 30_000;

/// L: every operation at level `Linearizable`, values that are never written twice, and the checker of
/// linearizability.
#[derive(Debug, Default)]
pub(in crate::sim) struct Linearizable {
    open: Open<(OperationId, Call)>,
    retries: Retries<Lww, (OperationId, Call)>,
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

    fn invoke(&mut self, node: NodeId, key: Bytes, call: &Call) -> OperationId {
        let moment = self.tick();
        let session = SessionId(u64::from(node.0));
        let call = call.clone();
        self.history.invoke(session, Some(node), key, call, moment)
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
        let id = self.invoke(node, key, &call);
        let ticket = simulation.ask(node, Request::new(command, Level::Linearizable));
        self.open.push(ticket, (id, call));
        self.poll(simulation);
    }

    fn levels(&self) -> &'static [Level] {
        &[Level::Linearizable]
    }

    fn try_at(&mut self, simulation: &mut Simulation, trial: Trial) {
        self.ask(simulation, trial.node, trial.key, trial.operation);
    }

    fn begin(&mut self, simulation: &mut Simulation, name: u32, write: NamedWrite) {
        self.poll(simulation);
        let operation = write.operation();
        let NamedWrite { node, key, value } = write;
        let (written, version) = (value.clone(), None);
        let call = Call::Write {
            value: written,
            version,
        };
        let id = self.invoke(node, key.clone(), &call);
        let request = Request::new(lww(key, operation), Level::Linearizable);
        let kept = (id, call);
        self.retries
            .begin(simulation, node, name, (request, value), kept);
    }

    fn names(&mut self) -> Option<&mut dyn Names<Lww>> {
        Some(&mut self.retries)
    }

    fn close(&mut self, _: &mut Simulation) {
        for ((id, _), may_have_happened) in self.retries.left() {
            if !may_have_happened {
                self.history.cancel(id);
            }
        }
        for (id, _) in self.retries.forgotten() {
            again(&mut self.history, id);
        }
    }

    fn poll(&mut self, simulation: &mut Simulation) {
        for settled in self.retries.poll(simulation) {
            let (moment, (id, call)) = (self.tick(), settled.kept);
            let call = with_version(call, &settled.outcome);
            self.history.complete(id, moment, call);
        }
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
        both(self.open.tally(), self.retries.counts())
    }
}
