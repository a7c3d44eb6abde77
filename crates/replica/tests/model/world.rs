//! The nodes, their clients and the network between them, as a model.

#![expect(
    clippy::disallowed_types,
    reason = "the checker has threads of its own, and what is known of nodes is shared"
)]

use stateright::semantics::register::{Register, RegisterOp, RegisterRet};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester};
use stateright::{Model, Property};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::nodes::{Answer, Call, Input, NOTHING, NodeState, Nodes, Operation, Parcel, Seen};

/// What may happen beside the operations of clients, and how often. A message may always be lost: then
/// it is never delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Budget {
    /// Messages that arrive and stay in flight.
    pub(crate) copies: u8,
    /// Nodes that lose their data.
    pub(crate) crashes: u8,
    /// Nodes that stop and start again with their disks.
    pub(crate) restarts: u8,
    /// Two nodes compare what they know and exchange it.
    pub(crate) exchanges: u8,
    /// A node forgets the tombstones it may.
    pub(crate) purges: u8,
}

/// What clients do, each one thing after the other, and what may happen beside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scenario {
    pub(crate) nodes: usize,
    pub(crate) clients: Vec<Vec<Operation>>,
    /// Whether each client is a session.
    pub(crate) sessions: bool,
    /// Whether the operations must be linearizable.
    pub(crate) linearizable: bool,
    /// Whether the key must stay absent once a delete was acknowledged: nothing is written beside it or
    /// after.
    pub(crate) deletes_for_good: bool,
    pub(crate) budget: Budget,
}

/// A scenario as a model.
#[derive(Debug)]
pub(crate) struct World {
    scenario: Scenario,
    nodes: Mutex<Nodes>,
}

/// A state of the world.
#[derive(Debug, Clone, PartialEq, Hash)]
pub(crate) struct WorldState {
    nodes: Vec<NodeState>,
    /// In flight, ascending.
    network: Vec<Parcel>,
    clients: Vec<Client>,
    history: LinearizabilityTester<usize, Register<Option<char>>>,
    left: Budget,
    /// The key must stay absent from now on.
    deleted: bool,
    /// Whether a node has forgotten a tombstone.
    has_purged: bool,
    /// What went wrong.
    pub(crate) wrong: Option<Wrong>,
}

/// A broken promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wrong {
    /// The operations are not linearizable.
    NotLinearizable,
    /// A session has seen less than before, or its write came below what it had seen.
    SessionWentBack,
    /// A read that began after a delete was acknowledged found the value.
    DeletedValueCameBack,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Client {
    /// Operations that are over.
    done: usize,
    /// Whether the next one has begun.
    waits: bool,
    /// Whether it will never be answered, and nothing more be asked.
    is_gone: bool,
    began_after_delete: bool,
    seen: Seen,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// A client asks.
    Asks(usize),
    /// A message arrives.
    Arrives(Parcel),
    /// A copy of a message arrives, and the message stays in flight.
    CopyArrives(Parcel),
    /// A node loses its data. What it has sent stays in flight.
    LosesData(usize),
    /// A node that has lost its data catches up, undisturbed.
    Recovers(usize),
    /// A node stops and starts again with its disk. What it has sent stays in flight.
    Restarts(usize),
    /// A node compares what it knows with another, undisturbed.
    Exchanges(usize, usize),
    /// A node forgets the tombstones it may.
    Purges(usize),
}

impl World {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let are_durable = scenario.budget.restarts > 0;
        let nodes = Mutex::new(Nodes::new(scenario.nodes as u32, are_durable));
        Self { scenario, nodes }
    }

    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operation(&self, state: &WorldState, client: usize) -> Option<Operation> {
        let Client { done, is_gone, .. } = state.clients[client];
        let script = &self.scenario.clients[client];
        script.get(done).copied().filter(|_| !is_gone)
    }

    /// Whether all clients have done what they want to.
    pub(crate) fn is_over(&self, state: &WorldState) -> bool {
        (0..state.clients.len()).all(|client| self.operation(state, client).is_none())
    }

    /// Whether all operations were answered.
    pub(crate) fn is_answered(&self, state: &WorldState) -> bool {
        self.is_over(state) && state.clients.iter().all(|client| !client.is_gone)
    }

    /// Carries an input out at a node and takes note of the answers; returns what was sent.
    fn feed(&self, state: &mut WorldState, at: usize, input: Input) -> Vec<Parcel> {
        let step = self.nodes().step(state.nodes[at], input);
        state.nodes[at] = step.next;
        state.has_purged |= step.has_purged;
        for (id, answer) in step.answers {
            self.note_answer(state, id as usize, answer);
        }
        step.sent
    }

    /// The same, and everything that follows from it among `nodes` at once; other messages are lost.
    fn feed_undisturbed(&self, state: &mut WorldState, at: usize, input: Input, nodes: &[usize]) {
        let mut queue = VecDeque::from(self.feed(state, at, input));
        let mut delivered = 0;
        while let Some(parcel) = queue.pop_front() {
            let (from, to) = self.nodes().ends(parcel);
            if nodes.contains(&from) && nodes.contains(&to) {
                delivered += 1;
                assert!(delivered < 5_000, "the nodes never come to rest");
                queue.extend(self.feed(state, to, Input::Arrives(parcel)));
            }
        }
    }

    fn note_answer(&self, state: &mut WorldState, client: usize, answer: Answer) {
        let Some(operation) = self.operation(state, client) else {
            return;
        };
        let (result, time, seen) = match answer {
            // It may still take effect: its author never knows.
            Answer::Failed => {
                state.clients[client].is_gone = true;
                return;
            }
            Answer::Read { value, time, seen } => (RegisterRet::ReadOk(value), time, seen),
            Answer::Written { time, seen } => (RegisterRet::WriteOk, time, seen),
        };
        let this = &mut state.clients[client];
        let mut nodes = self.nodes();
        let before = nodes.time_of(this.seen);
        let (is_write, is_value) = (
            result == RegisterRet::WriteOk,
            matches!(result, RegisterRet::ReadOk(Some(_))),
        );
        if self.scenario.sessions {
            let is_later = if is_write {
                time > before
            } else {
                time >= before
            };
            let is_covered = is_write || nodes.includes(seen, this.seen);
            if !is_later || !is_covered {
                state.wrong = Some(Wrong::SessionWentBack);
            }
            this.seen = nodes.join(this.seen, seen);
        }
        if this.began_after_delete && is_value {
            state.wrong = Some(Wrong::DeletedValueCameBack);
        }
        (this.waits, this.done) = (false, this.done + 1);
        state.deleted |= self.scenario.deletes_for_good && operation.call == Call::Delete;
        let noted = state.history.on_return(client, result).is_ok();
        assert!(noted, "client {client} was waiting");
        if self.scenario.linearizable && !state.history.is_consistent() {
            state.wrong = Some(Wrong::NotLinearizable);
        }
    }

    fn ask(&self, state: &mut WorldState, client: usize) {
        let operation = self.operation(state, client).expect("it has more to do");
        let asked = match operation.call {
            Call::Get => RegisterOp::Read,
            Call::Put(value) => RegisterOp::Write(Some(value)),
            Call::Delete => RegisterOp::Write(None),
        };
        let noted = state.history.on_invoke(client, asked).is_ok();
        assert!(noted, "client {client} was idle");
        let deleted = state.deleted;
        let this = &mut state.clients[client];
        (this.waits, this.began_after_delete) = (true, deleted);
        let input = Input::Asks(client as u64, operation, this.seen);
        let sent = self.feed(state, operation.node, input);
        state.network.extend(sent);
    }

    fn lose_data(&self, state: &mut WorldState, at: usize) {
        let mut nodes = self.nodes();
        let life = nodes.life(state.nodes[at]) + 1;
        state.nodes[at] = nodes.born(at, life);
        drop(nodes);
        self.forget_requests(state, at);
    }

    fn restart(&self, state: &mut WorldState, at: usize) {
        let sent = self.feed(state, at, Input::Restarts);
        state.network.extend(sent);
        self.forget_requests(state, at);
    }

    /// Who waits for an answer of this node will not get it.
    fn forget_requests(&self, state: &mut WorldState, at: usize) {
        for client in 0..state.clients.len() {
            let operation = self.operation(state, client);
            if state.clients[client].waits && operation.is_some_and(|o| o.node == at) {
                state.clients[client].is_gone = true;
            }
        }
    }

    fn recover(&self, state: &mut WorldState, at: usize) {
        let all: Vec<usize> = (0..self.scenario.nodes).collect();
        for _ in 0..8 {
            if !self.nodes().is_up(state.nodes[at]) {
                self.feed_undisturbed(state, at, Input::Ticks, &all);
            }
        }
    }

    /// Loses questions and answers that nobody waits for any more: they could not change an entry, and
    /// the search would try them in every order.
    fn lose_idle_talk(&self, state: &mut WorldState) {
        let waits_at = |node: usize| {
            (0..state.clients.len()).any(|client| {
                let operation = self.operation(state, client);
                state.clients[client].waits && operation.is_some_and(|o| o.node == node)
            })
        };
        let waits: Vec<bool> = (0..self.scenario.nodes).map(waits_at).collect();
        let nodes = self.nodes();
        let is_waited_for = |parcel: &Parcel| nodes.coordinator(*parcel).is_none_or(|at| waits[at]);
        state.network.retain(is_waited_for);
    }

    /// What all show once everybody has talked to everybody, or what is wrong with it.
    pub(crate) fn settled(&self, state: &WorldState) -> Result<Option<char>, String> {
        self.nodes().settle(&state.nodes, &state.network)
    }
}

impl Model for World {
    type State = WorldState;
    type Action = Action;

    fn init_states(&self) -> Vec<WorldState> {
        let mut nodes = self.nodes();
        let idle = Client {
            done: 0,
            waits: false,
            is_gone: false,
            began_after_delete: false,
            seen: NOTHING,
        };
        vec![WorldState {
            nodes: (0..self.scenario.nodes)
                .map(|node| nodes.born(node, 0))
                .collect(),
            network: Vec::new(),
            clients: vec![idle; self.scenario.clients.len()],
            history: LinearizabilityTester::new(Register(None)),
            left: self.scenario.budget,
            deleted: false,
            has_purged: false,
            wrong: None,
        }]
    }

    fn actions(&self, state: &WorldState, actions: &mut Vec<Action>) {
        if self.is_over(state) {
            return;
        }
        let nodes = self.nodes();
        let is_up = |node: usize| nodes.is_up(state.nodes[node]);
        for client in 0..state.clients.len() {
            let next = self.operation(state, client);
            if !state.clients[client].waits && next.is_some_and(|o| is_up(o.node)) {
                actions.push(Action::Asks(client));
            }
        }
        let mut parcels = state.network.clone();
        parcels.dedup();
        actions.extend(parcels.iter().map(|p| Action::Arrives(*p)));
        if state.left.copies > 0 {
            actions.extend(parcels.iter().map(|p| Action::CopyArrives(*p)));
        }
        let all_up = (0..self.scenario.nodes).all(is_up);
        for node in 0..self.scenario.nodes {
            if !is_up(node) {
                actions.push(Action::Recovers(node));
                continue;
            }
            if state.left.crashes > 0 && all_up {
                actions.push(Action::LosesData(node));
            }
            if state.left.restarts > 0 {
                actions.push(Action::Restarts(node));
            }
            if state.left.purges > 0 && nodes.has_tombstones(state.nodes[node]) {
                actions.push(Action::Purges(node));
            }
            if state.left.exchanges > 0 {
                let has_entries = |node: usize| nodes.has_entries(state.nodes[node]);
                let others = (0..self.scenario.nodes).filter(|other| *other != node);
                // Two that hold nothing have nothing to tell each other.
                let others = others.filter(|other| has_entries(node) || has_entries(*other));
                actions.extend(others.map(|other| Action::Exchanges(node, other)));
            }
        }
    }

    fn next_state(&self, last: &WorldState, action: Action) -> Option<WorldState> {
        let mut state = last.clone();
        match action {
            Action::Asks(client) => self.ask(&mut state, client),
            Action::Arrives(parcel) | Action::CopyArrives(parcel) => {
                match action {
                    Action::CopyArrives(_) => state.left.copies -= 1,
                    _ => {
                        let at = state.network.iter().position(|p| *p == parcel)?;
                        state.network.remove(at);
                    }
                }
                let to = self.nodes().ends(parcel).1;
                let sent = self.feed(&mut state, to, Input::Arrives(parcel));
                state.network.extend(sent);
            }
            Action::LosesData(node) => {
                state.left.crashes -= 1;
                self.lose_data(&mut state, node);
            }
            Action::Recovers(node) => self.recover(&mut state, node),
            Action::Restarts(node) => {
                state.left.restarts -= 1;
                self.restart(&mut state, node);
            }
            Action::Exchanges(node, other) => {
                state.left.exchanges -= 1;
                self.feed_undisturbed(&mut state, node, Input::Greets(other), &[node, other]);
            }
            Action::Purges(node) => {
                state.left.purges -= 1;
                self.feed_undisturbed(&mut state, node, Input::Ticks, &[]);
            }
        }
        self.lose_idle_talk(&mut state);
        state.network.sort_unstable();
        (state != *last).then_some(state)
    }

    fn format_action(&self, action: &Action) -> String {
        match action {
            Action::Arrives(parcel) | Action::CopyArrives(parcel) => {
                format!("{action:?}: {}", self.nodes().describe(*parcel))
            }
            _ => format!("{action:?}"),
        }
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::always("no promise is broken", |_, state: &WorldState| {
                state.wrong.is_none()
            }),
            Property::always("all agree in the end", |world: &Self, state| {
                if !world.is_over(state) {
                    return true;
                }
                match world.settled(state) {
                    Ok(value) => !(state.deleted && value.is_some()),
                    Err(_) => false,
                }
            }),
            Property::sometimes("all is answered", |world: &Self, state| {
                world.is_answered(state)
            }),
        ];
        // Without an exchange there are no promises, and without promises no purge.
        if self.scenario.budget.purges > 0 && self.scenario.budget.exchanges > 0 {
            let has_purged = |_: &Self, state: &WorldState| state.has_purged;
            properties.push(Property::sometimes("a tombstone is forgotten", has_purged));
        }
        properties
    }
}
