//! Scenarios as data, and one executor that plays them on any driver of the protocol.
//!
//! A scenario is a list of [`Step`]s; each step that asks something says what must come of it. The same
//! list runs on real threads and in the simulator, and what both show must agree.

mod drivers;
mod show;

use bytes::Bytes;
use crdt::Timestamp;
use replica::{Command, Config, Counters, NodeId, Outcome, RequestError};
use std::collections::{BTreeMap, BTreeSet};

pub use drivers::{Simulated, Threaded, config};

/// What a driver must be able to do for a scenario to be played on it. Every node starts up and empty.
pub trait Driver {
    /// The name of the driver, for messages.
    fn name(&self) -> &'static str;

    /// Number of nodes.
    fn node_count(&self) -> u32;

    /// Makes requests at level `Quorum`, concurrently if there are several, and waits for all.
    fn ask(&mut self, requests: Vec<(NodeId, Command)>) -> Vec<Result<Outcome, RequestError>>;

    /// Makes a request at level `One` in a session, which begins with its first request.
    fn ask_in(
        &mut self,
        session: &'static str,
        node: NodeId,
        command: Command,
    ) -> Result<Outcome, RequestError>;

    /// A session takes over what another has seen.
    fn hand_over(&mut self, from: &'static str, to: &'static str);

    /// Takes a node down, with its data.
    fn fail(&mut self, node: NodeId);

    /// Brings a node back empty and waits until it serves; false if that is refused because too few
    /// others are left.
    fn recover(&mut self, node: NodeId, accepts_loss: bool) -> bool;

    /// Parts the network and tells the nodes.
    fn partition(&mut self, one: &[NodeId], other: &[NodeId]);

    /// Drops messages in one direction and tells nobody.
    fn cut(&mut self, from: NodeId, to: NodeId);

    /// Mends the network.
    fn heal(&mut self);

    /// Waits until all nodes that are up know the same; false if they never do.
    fn settle(&mut self) -> bool;

    /// Raises the horizon of a store that takes the caller's timestamps, and waits until no node that is up holds
    /// a tombstone; false if they stay, or the driver has no way to raise it.
    fn raise_horizon(&mut self, horizon: u64) -> bool {
        let _no_way = horizon;
        false
    }

    /// What a node holds under a key, a deletion included, without asking the others; `None` if the
    /// node is down.
    fn holds(&mut self, node: NodeId, key: &str) -> Option<Held>;

    /// A checksum of what a node shows; `None` if it is down.
    fn checksum(&mut self, node: NodeId) -> Option<u128>;

    /// The identity under which a node writes.
    fn incarnation(&mut self, node: NodeId) -> Option<u64>;

    /// How often the rarer paths were taken, by all nodes that are up.
    fn counters(&mut self) -> Counters;

    /// What the driver itself found to be wrong in the run.
    fn violations(&mut self) -> Vec<String>;
}

/// What a node holds under a key: the value, and the time of its last write.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// The value.
    pub value: Option<String>,
    /// The time of the last write or delete; `None` if nothing is held.
    pub time: Option<u64>,
}

/// One step of a scenario. Nodes count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A request through a node, and what must come of it.
    Ask(u32, Request, Expect),
    /// A request of a session through a node, at level `One`, and what must come of it.
    AskIn(&'static str, u32, Request, Expect),
    /// A session hands what it has seen to another.
    HandOver(&'static str, &'static str),
    /// Writes at the same time; all of them must succeed.
    Concurrent(Vec<(u32, Request)>),
    /// A node goes down.
    Fail(u32),
    /// A node comes back empty, under a new identity, and catches up.
    Recover(u32),
    /// The same must be refused, because too few others are left.
    RecoverRefused(u32),
    /// A node comes back although too few others are left.
    RecoverAcceptingLoss(u32),
    /// The network is parted, and the nodes are told.
    Partition(Vec<u32>, Vec<u32>),
    /// A node is cut off in both directions, and nobody is told.
    CutOff(u32),
    /// The network is mended.
    Heal,
    /// Everything comes to rest; all nodes that are up then show the same.
    Settle,
    /// The horizon is raised, and all tombstones are forgotten: they lie below it.
    RaiseHorizon(u64),
    /// After [`Settle`](Self::Settle): every node that is up holds this.
    Holds(&'static str, Held),
}

/// What is asked of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Write a value.
    Put(&'static str, &'static str),
    /// Delete a key.
    Delete(&'static str),
    /// Write a value under the caller's timestamp.
    PutAt(&'static str, &'static str, u64),
    /// Delete a key under the caller's timestamp.
    DeleteAt(&'static str, u64),
    /// Read a key.
    Get(&'static str),
}

/// What must come of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A write succeeds.
    Done,
    /// A write is acknowledged, and takes effect or loses.
    Effect(bool),
    /// No owner that can be reached has what the session has seen.
    Unmet,
    /// A read finds this.
    Found(Option<&'static str>),
    /// A read finds one of these; which one may differ from driver to driver.
    OneOf(Vec<&'static str>),
    /// There is no majority, or none has answered in time: which of the two it is depends on when a driver notices who
    /// is gone.
    NoMajority {
        /// Nodes that answered. Of what cannot take effect it is not compared: who knows that too few are there
        /// asks nobody.
        acknowledged: usize,
        /// Nodes that had to.
        needed: usize,
        /// Whether it is a write that may still take effect.
        may_take_effect: bool,
    },
    /// The node asked has failed.
    NodeFailed,
    /// A write under a timestamp that is not above this horizon.
    BelowHorizon(u64),
}

/// A write that succeeds.
pub fn put(node: u32, key: &'static str, value: &'static str) -> Step {
    Step::Ask(node, Request::Put(key, value), Expect::Done)
}

/// A delete that succeeds.
pub fn delete(node: u32, key: &'static str) -> Step {
    Step::Ask(node, Request::Delete(key), Expect::Done)
}

/// A read that finds a value.
pub fn get(node: u32, key: &'static str, value: &'static str) -> Step {
    Step::Ask(node, Request::Get(key), Expect::Found(Some(value)))
}

/// A read that finds nothing.
pub fn absent(node: u32, key: &'static str) -> Step {
    Step::Ask(node, Request::Get(key), Expect::Found(None))
}

/// A value held everywhere, written at this time.
pub fn holds(key: &'static str, value: &'static str, time: u64) -> Step {
    let held = Held {
        value: Some(value.into()),
        time: Some(time),
    };
    Step::Holds(key, held)
}

/// What a played scenario showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Played {
    /// What came of each request that may not differ from driver to driver.
    pub outcomes: Vec<String>,
    /// How often the rarer paths were taken, by the nodes that were up at the end.
    pub counters: Counters,
}

/// Plays a scenario.
///
/// # Errors
/// What did not come as expected, with the scenario and the step marked.
pub fn play(driver: &mut dyn Driver, steps: &[Step]) -> Result<Played, String> {
    let mut run = Run {
        driver,
        identities: BTreeSet::new(),
        down: BTreeSet::new(),
        outcomes: Vec::new(),
    };
    for node in 1..=run.driver.node_count() {
        run.note_identity(node)?;
    }
    for (at, step) in steps.iter().enumerate() {
        run.step(step).map_err(|error| {
            let marked = steps.iter().enumerate().map(|(i, step)| {
                let mark = if i == at { "->" } else { "  " };
                format!("{mark} {step}\n")
            });
            let listing: String = marked.collect();
            format!("on {}: {error}\n{listing}", run.driver.name())
        })?;
    }
    let violations = run.driver.violations();
    if !violations.is_empty() {
        return Err(format!("on {}: {violations:#?}", run.driver.name()));
    }
    Ok(Played {
        counters: run.driver.counters(),
        outcomes: run.outcomes,
    })
}

/// Plays a scenario on threads and in the simulator; both must show the same.
///
/// # Panics
/// If something does not come as expected, or the two differ.
pub fn play_everywhere(nodes: u32, sync_interval_ms: u64, steps: &[Step]) -> Vec<Played> {
    play_with(&config(nodes, sync_interval_ms), steps)
}

/// The same with another configuration, of one partition.
///
/// # Panics
/// If something does not come as expected, or the two differ.
pub fn play_with(config: &Config, steps: &[Step]) -> Vec<Played> {
    let mut drivers: [Box<dyn Driver>; 2] = [
        Box::new(Threaded::new(config)),
        Box::new(Simulated::new(config, 1)),
    ];
    let played: Vec<Played> = drivers
        .iter_mut()
        .map(|driver| play(&mut **driver, steps).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    assert_eq!(
        played[0].outcomes, played[1].outcomes,
        "the drivers do not agree"
    );
    played
}

/// A scenario under way.
struct Run<'a> {
    driver: &'a mut dyn Driver,
    /// All identities that were ever in use.
    identities: BTreeSet<u64>,
    down: BTreeSet<u32>,
    outcomes: Vec<String>,
}

impl Run<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Ask(node, request, expect) => {
                let asked = vec![(NodeId(*node), request.command())];
                let result = self.driver.ask(asked).pop().ok_or("no answer")?;
                self.judge(*node, expect, &result)?;
            }
            Step::AskIn(session, node, request, expect) => {
                let command = request.command();
                let result = self.driver.ask_in(session, NodeId(*node), command);
                self.judge(*node, expect, &result)?;
            }
            Step::HandOver(from, to) => self.driver.hand_over(from, to),
            Step::Concurrent(writes) => self.concurrent(writes)?,
            Step::Fail(node) => {
                self.driver.fail(NodeId(*node));
                self.down.insert(*node);
            }
            Step::Recover(node) => self.recover(*node, false, true)?,
            Step::RecoverRefused(node) => self.recover(*node, false, false)?,
            Step::RecoverAcceptingLoss(node) => self.recover(*node, true, true)?,
            Step::Partition(one, other) => {
                let ids = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<Vec<_>>();
                self.driver.partition(&ids(one), &ids(other));
            }
            Step::CutOff(node) => {
                for other in (1..=self.driver.node_count()).filter(|other| other != node) {
                    self.driver.cut(NodeId(*node), NodeId(other));
                    self.driver.cut(NodeId(other), NodeId(*node));
                }
            }
            Step::Heal => self.driver.heal(),
            Step::Settle => self.settle()?,
            Step::RaiseHorizon(horizon) => {
                if !self.driver.raise_horizon(*horizon) {
                    return Err("the tombstones stay".into());
                }
            }
            Step::Holds(key, held) => self.holds(key, held)?,
        }
        Ok(())
    }

    fn judge(
        &mut self,
        node: u32,
        expect: &Expect,
        result: &Result<Outcome, RequestError>,
    ) -> Result<(), String> {
        let shown = show(result);
        if !expect.is_met(node, result) {
            return Err(format!("expected {expect}, got {shown}"));
        }
        if !matches!(expect, Expect::OneOf(_)) {
            self.outcomes.push(shown);
        }
        Ok(())
    }

    fn concurrent(&mut self, writes: &[(u32, Request)]) -> Result<(), String> {
        let requests = writes.iter();
        let requests = requests.map(|(node, request)| (NodeId(*node), request.command()));
        let results = self.driver.ask(requests.collect());
        match results.iter().find(|result| result.is_err()) {
            Some(failed) => Err(format!("a concurrent write failed: {}", show(failed))),
            None => Ok(()),
        }
    }

    fn recover(&mut self, node: u32, accepts_loss: bool, succeeds: bool) -> Result<(), String> {
        if self.driver.recover(NodeId(node), accepts_loss) != succeeds {
            let expected = if succeeds { "succeed" } else { "be refused" };
            return Err(format!(
                "expected the recovery of node {node} to {expected}"
            ));
        }
        if succeeds {
            self.down.remove(&node);
            self.note_identity(node)?;
        }
        Ok(())
    }

    /// A node has started: it must not write under an identity that was ever in use.
    fn note_identity(&mut self, node: u32) -> Result<(), String> {
        let identity = self.driver.incarnation(NodeId(node));
        let identity = identity.ok_or_else(|| format!("node {node} has no identity"))?;
        if !self.identities.insert(identity) {
            return Err(format!("node {node} uses the identity {identity:x} again"));
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        if !self.driver.settle() {
            return Err("the nodes do not settle".into());
        }
        let sums: BTreeMap<u32, Option<u128>> = self
            .up()
            .into_iter()
            .map(|node| (node, self.driver.checksum(NodeId(node))))
            .collect();
        let different: BTreeSet<_> = sums.values().collect();
        match different.len() {
            1 => Ok(()),
            _ => Err(format!("the nodes show different things: {sums:x?}")),
        }
    }

    fn holds(&mut self, key: &str, expected: &Held) -> Result<(), String> {
        for node in self.up() {
            let held = self.driver.holds(NodeId(node), key);
            if held.as_ref() != Some(expected) {
                return Err(format!("node {node} holds {held:?}"));
            }
        }
        Ok(())
    }

    fn up(&self) -> Vec<u32> {
        let all = 1..=self.driver.node_count();
        all.filter(|node| !self.down.contains(node)).collect()
    }
}

impl Request {
    fn command(&self) -> Command {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        match self {
            Self::Put(key, value) => Command::put(bytes(key), bytes(value)),
            Self::Delete(key) => Command::delete(bytes(key)),
            Self::PutAt(key, value, time) => {
                Command::put(bytes(key), bytes(value)).at(Timestamp(*time))
            }
            Self::DeleteAt(key, time) => Command::delete(bytes(key)).at(Timestamp(*time)),
            Self::Get(key) => Command::get(bytes(key)),
        }
    }
}

impl Expect {
    fn is_met(&self, node: u32, result: &Result<Outcome, RequestError>) -> bool {
        match (self, result) {
            (Self::Done, Ok(Outcome::Written { .. }))
            | (Self::Unmet, Err(RequestError::SessionUnmet { .. })) => true,
            (Self::Effect(expected), Ok(Outcome::Written { took_effect, .. })) => {
                expected == took_effect
            }
            (Self::Found(expected), Ok(read @ Outcome::Read { .. })) => {
                read.value().map(|v| &v[..]) == expected.map(str::as_bytes)
            }
            (Self::OneOf(values), Ok(read @ Outcome::Read { .. })) => values
                .iter()
                .any(|v| read.value().is_some_and(|found| v.as_bytes() == found)),
            (
                Self::NoMajority {
                    acknowledged,
                    needed,
                    may_take_effect,
                },
                Err(
                    RequestError::NoMajority {
                        acknowledged: got,
                        needed: of,
                        may_take_effect: may,
                    }
                    | RequestError::Deadline {
                        answered: got,
                        needed: of,
                        may_take_effect: may,
                    },
                ),
            ) => (needed, may_take_effect) == (of, may) && (acknowledged == got || !may),
            (Self::NodeFailed, Err(RequestError::NodeFailed(failed))) => *failed == NodeId(node),
            (
                Self::BelowHorizon(expected),
                Err(RequestError::TimestampBelowHorizon { horizon, .. }),
            ) => horizon.0 == *expected,
            _ => false,
        }
    }
}

/// A result without what may differ from run to run.
fn show(result: &Result<Outcome, RequestError>) -> String {
    match result {
        Ok(Outcome::Written { took_effect, .. }) if *took_effect => "done".into(),
        Ok(Outcome::Written { .. }) => "done, without effect".into(),
        Ok(read @ Outcome::Read { .. }) => format!("found {:?}", read.value()),
        Ok(other) => format!("{other:?}"),
        Err(RequestError::SessionUnmet { .. }) => "the session is ahead".into(),
        Err(RequestError::Deadline {
            answered: acknowledged,
            needed,
            may_take_effect,
        }) => {
            let (acknowledged, needed, may_take_effect) =
                (*acknowledged, *needed, *may_take_effect);
            let acknowledged = if may_take_effect { acknowledged } else { 1 };
            let too_few = RequestError::NoMajority {
                acknowledged,
                needed,
                may_take_effect,
            };
            too_few.to_string()
        }
        Err(error) => error.to_string(),
    }
}
