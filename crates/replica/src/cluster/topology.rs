//! Nodes that fail and come back, and a network that is parted.

use bytes::Bytes;
use std::sync::Arc;

use super::RecoverError;
use super::cell::{NodeCell, lock};
use super::engine::{Engine, Work};
use super::subscription::Queue;
use crate::{NodeId, Output, Partition, Policy, State};

impl<P: Policy> Engine<P> {
    pub(super) fn fail(&self, node: NodeId) {
        let cells = self.cells_of(node);
        let mut announced = lock(&self.announced);
        announced[node.0 as usize - 1] = false;
        for cell in cells {
            self.take_down(cell);
        }
        self.announce(&mut announced);
    }

    /// Drops a node's state machine, after it has answered what it still can.
    fn take_down(&self, cell: &NodeCell<P>) {
        let mut state = cell.enter();
        let now = self.now();
        let mut work = Work::default();
        state.subscribers.tell_of_failure();
        if let Some(mut partition) = state.partition.take() {
            // Without anyone to reach, it answers every pending request, and says how far it got.
            for peer in cell.peers.iter().copied() {
                partition.handle_reachable(peer, false, now);
            }
            for output in partition.take_ready().outputs {
                if let Output::Reply { request, result } = output {
                    cell.waiting.answer(request, result);
                }
            }
        }
        self.release(cell, state, &mut work);
        self.run(&mut work);
    }

    pub(super) fn recover(&self, node: NodeId, accepts_loss: bool) -> Result<(), RecoverError> {
        let cells = self.cells_of(node);
        let mut announced = lock(&self.announced);
        let is_known_up = announced[node.0 as usize - 1];
        let mut states = cells.iter().map(|cell| self.look(cell, Partition::state));
        let has_failed = !is_known_up || states.clone().any(|state| state.is_none());
        let is_recovering =
            !has_failed && states.any(|s| matches!(s, Some(State::Recovering | State::Returning)));
        match (has_failed, is_recovering) {
            (false, false) => return Err(RecoverError::NotFailed(node)),
            (false, true) if !accepts_loss => return Err(RecoverError::Recovering(node)),
            _ => {}
        }
        let is_gone = |cell: &&NodeCell<P>| self.look(cell, Partition::state).is_none();
        for cell in cells.iter().filter(is_gone) {
            self.check_sources(cell, accepts_loss)?;
        }
        for cell in cells.iter().filter(is_gone) {
            self.bring_back(cell);
        }
        announced[node.0 as usize - 1] = true;
        self.announce(&mut announced);
        if accepts_loss {
            for cell in cells {
                self.input(cell, |partition, now| partition.handle_accept_loss(now));
            }
        }
        Ok(())
    }

    /// Refuses a recovery that could not end now, because too few owners are left that count.
    fn check_sources(&self, cell: &NodeCell<P>, accepts_loss: bool) -> Result<(), RecoverError> {
        let owners = cell.peers.iter();
        let owners = owners.filter_map(|peer| self.cell(*peer, cell.config.partition));
        let reconciled = owners
            .filter(|other| self.look(other, Partition::state) == Some(State::Up))
            .count();
        let needed = cell.config.sources_needed();
        if reconciled < needed && !accepts_loss {
            return Err(RecoverError::TooFewSources {
                node: cell.node,
                reconciled,
                needed,
            });
        }
        Ok(())
    }

    fn bring_back(&self, cell: &NodeCell<P>) {
        let mut state = cell.enter();
        let recovered = Partition::recover(cell.config.clone(), self.random(), self.now());
        let mut recovered = recovered.expect("the configuration was valid at the start");
        recovered.watch_changes(!state.subscribers.is_empty());
        state.partition = Some(recovered);
        let mut work = Work::default();
        self.release(cell, state, &mut work);
        self.run(&mut work);
    }

    /// A queue of the keys with a prefix that change at a node.
    pub(super) fn subscribe(&self, node: NodeId, prefix: Bytes, limit: usize) -> Arc<Queue> {
        let queue = Arc::new(Queue::new(node, prefix, limit));
        for cell in self.cells_of(node) {
            let mut state = cell.enter();
            let is_first = state.subscribers.is_empty();
            state.subscribers.add(&queue);
            match &mut state.partition {
                Some(partition) if is_first => partition.watch_changes(true),
                Some(_) => {}
                None => queue.fail(),
            }
            // Messages may have been left in front of the node meanwhile.
            let mut work = Work::default();
            self.release(cell, state, &mut work);
            self.run(&mut work);
        }
        queue
    }

    pub(super) fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        let mut announced = lock(&self.announced);
        for a in one {
            for b in other.iter().filter(|b| *b != a) {
                self.links.partition(self.known(*a), self.known(*b));
            }
        }
        self.announce(&mut announced);
    }

    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.links.cut(self.known(from), self.known(to));
    }

    pub(super) fn heal(&self) {
        let mut announced = lock(&self.announced);
        self.links.heal();
        self.announce(&mut announced);
    }

    /// Tells of nodes that have failed by themselves. Waits for nobody: what is busy is up.
    pub(super) fn announce_failures(&self) {
        let Ok(mut announced) = self.announced.try_lock() else {
            return;
        };
        // A node that has failed by request is known to be down.
        let is_news = self.cells().iter().any(|cell| {
            let was_up = announced[cell.node.0 as usize - 1];
            was_up && cell.peek().is_some_and(|state| state.partition.is_none())
        });
        if is_news {
            self.announce(&mut announced);
        }
    }

    /// Tells every node whom it can reach.
    fn announce(&self, announced: &mut [bool]) {
        for node in self.nodes() {
            let mut cells = self.cells_of(node).iter();
            announced[node.0 as usize - 1] &= cells.all(|cell| cell.look().partition.is_some());
        }
        for cell in self.cells() {
            for peer in &cell.peers {
                let is_up = announced[peer.0 as usize - 1];
                let reachable = is_up && !self.links.is_partitioned(cell.node, *peer);
                self.input(cell, |partition, now| {
                    partition.handle_reachable(*peer, reachable, now);
                });
            }
        }
    }

    /// Whether all nodes that have not failed serve and know the same of every key. Exceptions may
    /// remain: of an event that only a lost incarnation held, others may know that it is obsolete for
    /// some keys, and nobody can tell them of the rest.
    pub(super) fn is_settled(&self) -> bool {
        self.placement().partitions().all(|partition| {
            let owners = self.placement().owners(partition).into_iter();
            let mut all = owners.filter_map(|owner| {
                self.look(self.cell(owner, partition)?, |partition| {
                    let knowledge = partition.replica().knowledge().clone();
                    (partition.state(), knowledge)
                })
            });
            let Some((State::Up, first)) = all.next() else {
                return false;
            };
            all.all(|(state, knowledge)| state == State::Up && knowledge == first)
        })
    }

    pub(super) fn raise_horizon(&self, horizon: crdt::Timestamp) {
        for cell in self.cells() {
            self.input(cell, |partition, now| {
                partition.handle_horizon(horizon, now);
            });
        }
    }

    fn input(&self, cell: &NodeCell<P>, feed: impl FnOnce(&mut Partition<P>, crate::Now)) {
        let mut state = cell.enter();
        let now = self.now();
        if let Some(partition) = &mut state.partition {
            feed(partition, now);
        }
        let mut work = Work::default();
        self.release(cell, state, &mut work);
        self.run(&mut work);
    }
}
