//! Clients that name their writes, and ask again, through any node, while faults go on.
//!
//! Each named write has a value of its own, so that its events are known when they are minted: however often
//! it is asked for, it is minted once, and every answer names that event. Only a name of which the
//! owners may have forgotten, since more names have come than they remember, may be carried out again.

use bytes::Bytes;
use crdt::{Dot, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

use crate::sim::oracle::Simulated;
use crate::sim::report::NamedWrites;
use crate::sim::simulation::{Simulation, Ticket};
use crate::{ClockKind, NodeId, OperationId, Outcome, PartitionId, Request, RequestError, node_of};

/// Attempts at one write that may be under way at once.
const MAX_OPEN: usize = 3;

/// The named writes of the clients of a run, with what their workload keeps of each.
#[derive(Debug)]
pub(super) struct Retries<P: Simulated, T> {
    writes: BTreeMap<u32, Named<P, T>>,
    /// When names were asked for.
    asks: Vec<Ask>,
    tally: NamedWrites,
    succeeded: usize,
    violations: Vec<String>,
}

#[derive(Debug)]
struct Named<P: Simulated, T> {
    request: Request<P::Write>,
    partition: PartitionId,
    kept: T,
    begun_ms: u64,
    /// Within which what was asked before has come to an end.
    window_ms: u64,
    /// The attempts that have not been answered, each with its number and the node asked.
    open: Vec<(Ticket, u32, NodeId)>,
    attempts: u32,
    failures: usize,
    last_error: Option<RequestError>,
    /// Whether an attempt that failed may have had an effect.
    is_doubtful: bool,
    /// The first good answer, until it is handed out; one that has taken effect rather than one that has not.
    answer: Option<Outcome<P::Cell>>,
    is_answered: bool,
    is_given_up: bool,
    /// Whether it was carried out more than once, as it may be where its name was forgotten.
    is_forgotten: bool,
}

#[derive(Debug)]
struct Ask {
    at_ms: u64,
    name: u32,
    partition: PartitionId,
}

/// The first good answer to a named write.
#[derive(Debug)]
pub(super) struct Settled<P: Simulated, T> {
    pub(super) kept: T,
    pub(super) outcome: Outcome<P::Cell>,
    /// The time of the event that is named, if it was minted for the write.
    pub(super) timestamp: Option<Timestamp>,
}

/// What a run does with named writes, whatever its system.
pub(in crate::sim) trait Names<P: Simulated> {
    /// Asks for a write again.
    fn retry(&mut self, simulation: &mut Simulation<P>, node: NodeId, name: u32);

    /// The names that have not been answered well, and that somebody still waits for.
    fn open(&self) -> Vec<u32>;

    /// The same, each with what was said of it last.
    fn failures(&self) -> Vec<(u32, RequestError)>;

    /// All that was found wrong.
    fn check(&mut self, simulation: &Simulation<P>) -> Vec<String>;

    /// What has happened.
    fn tally(&self) -> NamedWrites;
}

impl<P: Simulated, T> Default for Retries<P, T> {
    fn default() -> Self {
        Self {
            writes: BTreeMap::new(),
            asks: Vec::new(),
            tally: NamedWrites::default(),
            succeeded: 0,
            violations: Vec::new(),
        }
    }
}

impl<P: Simulated, T: Clone> Retries<P, T> {
    /// Asks for a write for the first time; `value` is that of no other write.
    pub(super) fn begin(
        &mut self,
        simulation: &mut Simulation<P>,
        node: NodeId,
        name: u32,
        (request, value): (Request<P::Write>, Option<Bytes>),
        kept: T,
    ) {
        let key = request.command.key().clone();
        if let Some(value) = value {
            simulation.mints.watch(name, key.clone(), value);
        }
        let config = simulation.config();
        // What was asked of a node that is paused comes to its end later.
        let window_ms =
            config.request_timeout_ms + simulation.network.longest_ms() + simulation.paused_ms();
        let named = Named {
            request,
            partition: config.placement().partition_of(&key),
            kept,
            begun_ms: simulation.now_ms(),
            window_ms,
            open: Vec::new(),
            attempts: 0,
            failures: 0,
            last_error: None,
            is_doubtful: false,
            answer: None,
            is_answered: false,
            is_given_up: false,
            is_forgotten: false,
        };
        self.tally.begun += 1;
        self.writes.insert(name, named);
        self.attempt(simulation, node, name);
    }

    fn attempt(&mut self, simulation: &mut Simulation<P>, node: NodeId, name: u32) {
        let Some(named) = self.writes.get_mut(&name) else {
            return;
        };
        if named.is_given_up || named.open.len() >= MAX_OPEN {
            return;
        }
        let id = OperationId::new(name.into());
        let request = named.request.clone();
        let request = match named.attempts {
            0 => request.named(id),
            _ => request.retry_of(id),
        };
        self.tally.retries += u64::from(named.attempts > 0);
        named.attempts += 1;
        let (at_ms, partition) = (simulation.now_ms(), named.partition);
        self.asks.push(Ask {
            at_ms,
            name,
            partition,
        });
        let ticket = simulation.ask(node, request);
        named.open.push((ticket, named.attempts, node));
    }

    /// The writes that were answered well since the last call, each once.
    pub(super) fn poll(&mut self, simulation: &mut Simulation<P>) -> Vec<Settled<P, T>> {
        let mut settled = Vec::new();
        for (name, named) in &mut self.writes {
            let mut open = Vec::new();
            for (ticket, attempt, node) in named.open.drain(..) {
                let outcome = match simulation.take_reply(ticket) {
                    None => {
                        open.push((ticket, attempt, node));
                        continue;
                    }
                    Some(Err(error)) => {
                        let is_unknown = matches!(error, RequestError::OutcomeUnknown { .. });
                        self.tally.unknown += u64::from(is_unknown);
                        named.failures += 1;
                        named.is_doubtful |= error.may_take_effect();
                        named.last_error = Some(error);
                        continue;
                    }
                    Some(Ok(outcome)) => outcome,
                };
                let writer = match judge(simulation, *name, &outcome) {
                    Ok(writer) => writer,
                    Err(violation) => {
                        self.violations.push(violation);
                        None
                    }
                };
                let owners = simulation.config().placement().owners(named.partition);
                let is_elsewhere = writer.is_some_and(|writer| writer != node);
                if attempt > 1 && is_elsewhere && owners.contains(&node) {
                    self.tally.answered_elsewhere += 1;
                }
                self.succeeded += usize::from(!named.is_answered);
                let is_first = !std::mem::replace(&mut named.is_answered, true);
                if is_first || (named.answer.is_some() && has_taken_effect(&outcome)) {
                    named.answer = Some(outcome);
                }
            }
            named.open = open;
            if let Some(outcome) = named.answer.take() {
                let kept = named.kept.clone();
                let timestamp = time_of(simulation, *name, &outcome);
                settled.push(Settled {
                    kept,
                    outcome,
                    timestamp,
                });
            }
        }
        settled
    }

    /// Gives up the writes that have failed so often, and returns what was kept of them.
    pub(super) fn give_up(&mut self, failures: usize) -> Vec<T> {
        let waiting = self.writes.values_mut();
        let waiting = waiting.filter(|n| !n.is_answered && !n.is_given_up && n.open.is_empty());
        let hopeless = waiting.filter(|named| named.failures >= failures);
        let given_up = hopeless.map(|named| {
            named.is_given_up = true;
            named.kept.clone()
        });
        given_up.collect()
    }

    /// What was kept of the writes without a good answer, and whether each may have had an effect.
    pub(super) fn left(&self) -> Vec<(T, bool)> {
        let left = self.writes.values().filter(|named| !named.is_answered);
        left.map(|named| (named.kept.clone(), named.may_have_happened()))
            .collect()
    }

    /// What was kept of the writes that were carried out a second time, since their names were forgotten.
    pub(super) fn forgotten(&self) -> Vec<T> {
        let forgotten = self.writes.values().filter(|named| named.is_forgotten);
        forgotten.map(|named| named.kept.clone()).collect()
    }

    /// The same, each with its name.
    pub(super) fn forgotten_by_name(&self) -> Vec<(u32, T)> {
        let forgotten = self.writes.iter().filter(|(_, named)| named.is_forgotten);
        forgotten
            .map(|(name, named)| (*name, named.kept.clone()))
            .collect()
    }

    /// Writes that were answered well, and all.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.succeeded, self.writes.len())
    }

    /// Whether so many other names have come since that the owners may have forgotten this one, when it was
    /// minted for the last time.
    fn may_be_forgotten(&self, named: &Named<P, T>, name: u32, last_ms: u64, limit: usize) -> bool {
        let from_ms = named.begun_ms.saturating_sub(named.window_ms);
        let asks = self.asks.iter().filter(|ask| {
            ask.partition == named.partition && (from_ms..=last_ms).contains(&ask.at_ms)
        });
        let others: BTreeSet<u32> = asks.map(|ask| ask.name).filter(|n| *n != name).collect();
        others.len() >= limit
    }
}

impl<P: Simulated, T> Named<P, T> {
    const fn may_have_happened(&self) -> bool {
        self.is_answered || self.is_doubtful || !self.open.is_empty()
    }
}

/// Who has carried out a write, by its answer; `None` if something else had won before.
fn judge<P: Simulated>(
    simulation: &Simulation<P>,
    name: u32,
    outcome: &Outcome<P::Cell>,
) -> Result<Option<NodeId>, String> {
    let Outcome::Written {
        event, took_effect, ..
    } = outcome
    else {
        return Err(format!("write {name} was answered with a read"));
    };
    let Some(minted) = simulation.mints.of(name) else {
        return Ok(event.map(|dot| node_of(dot.replica)));
    };
    let is_own = |dot: Dot| minted.iter().any(|mint| mint.dot == dot);
    match event.filter(|dot| is_own(*dot)) {
        Some(dot) => Ok(Some(node_of(dot.replica))),
        None if !took_effect => Ok(None),
        // With the caller's timestamps what has lost is remembered by the event that has won.
        None if simulation.config().clock == ClockKind::Caller => Ok(None),
        None => Err(format!(
            "write {name} was answered with {event:?}, which is none of its events {minted:?}"
        )),
    }
}

pub(super) const fn has_taken_effect<C>(outcome: &Outcome<C>) -> bool {
    let mut has_won = false;
    if let Outcome::Written { took_effect, .. } = outcome {
        has_won = *took_effect;
    }
    has_won
}

fn time_of<P: Simulated>(
    simulation: &Simulation<P>,
    name: u32,
    outcome: &Outcome<P::Cell>,
) -> Option<Timestamp> {
    let Outcome::Written { event, .. } = outcome else {
        return None;
    };
    let mut minted = simulation.mints.of(name)?.iter();
    let mint = minted.find(|mint| Some(mint.dot) == *event)?;
    Some(mint.timestamp)
}

impl<P: Simulated, T: Clone> Names<P> for Retries<P, T> {
    fn retry(&mut self, simulation: &mut Simulation<P>, node: NodeId, name: u32) {
        self.attempt(simulation, node, name);
    }

    fn open(&self) -> Vec<u32> {
        let open = self.writes.iter();
        let open = open.filter(|(_, named)| !named.is_answered && !named.is_given_up);
        open.map(|(name, _)| *name).collect()
    }

    fn failures(&self) -> Vec<(u32, RequestError)> {
        let open = self.open().into_iter();
        open.filter_map(|name| Some((name, self.writes.get(&name)?.last_error.clone()?)))
            .collect()
    }

    fn check(&mut self, simulation: &Simulation<P>) -> Vec<String> {
        let config = simulation.config();
        let mut found = std::mem::take(&mut self.violations);
        let (mut forgotten, mut told) = (Vec::new(), 0);
        for (name, named) in &self.writes {
            let memory = config.operation_memory;
            let Some(minted) = simulation.mints.of(*name) else {
                // The events of deletes are not known.
                if self.may_be_forgotten(named, *name, u64::MAX, memory) {
                    forgotten.push(*name);
                }
                continue;
            };
            let Some(last) = minted.last() else {
                continue;
            };
            if !named.may_have_happened() {
                found.push(format!(
                    "all attempts at write {name} have said that nothing was changed, and minted {minted:?}"
                ));
            }
            if minted.len() == 1 {
                continue;
            }
            match self.may_be_forgotten(named, *name, last.at_ms, memory) {
                true => {
                    forgotten.push(*name);
                    told += 1;
                }
                false => found.push(format!(
                    "write {name} was carried out more than once: {minted:?}"
                )),
            }
        }
        self.tally.forgotten = told;
        for name in forgotten {
            if let Some(named) = self.writes.get_mut(&name) {
                named.is_forgotten = true;
            }
        }
        found
    }

    fn tally(&self) -> NamedWrites {
        self.tally
    }
}
