//! Nodes that fail and come back, and a network that is parted.

use super::RecoverError;
use super::cell::{NodeCell, lock};
use super::engine::{Engine, Work};
use crate::{NodeId, Output, Partition, State};

impl Engine {
    pub(super) fn fail(&self, node: NodeId) {
        let cell = self.cell(node);
        let mut announced = lock(&self.announced);
        self.take_down(cell);
        self.announce(&mut announced);
    }

    /// Drops a node's state machine, after it has answered what it still can.
    fn take_down(&self, cell: &NodeCell) {
        let mut state = cell.enter();
        let now = self.now();
        let mut work = Work::default();
        if let Some(mut partition) = state.partition.take() {
            // Without anyone to reach, it answers every pending request, and says how far it got.
            for peer in cell.config.peers() {
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
        let cell = self.cell(node);
        let mut announced = lock(&self.announced);
        match self.look(cell, Partition::state) {
            None => {
                self.check_sources(cell, accepts_loss)?;
                self.bring_back(cell);
            }
            Some(State::Recovering) if accepts_loss => {}
            Some(State::Recovering) => return Err(RecoverError::Recovering(node)),
            Some(_) => return Err(RecoverError::NotFailed(node)),
        }
        self.announce(&mut announced);
        if accepts_loss {
            self.input(cell, |partition, now| partition.handle_accept_loss(now));
        }
        Ok(())
    }

    fn check_sources(&self, cell: &NodeCell, accepts_loss: bool) -> Result<(), RecoverError> {
        let is_up = |other: &&NodeCell| self.look(other, Partition::state) == Some(State::Up);
        let reconciled = self.cells().iter().filter(is_up).count();
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

    fn bring_back(&self, cell: &NodeCell) {
        let mut state = cell.enter();
        let recovered = Partition::recover(cell.config.clone(), self.random(), self.now());
        state.partition = Some(recovered.expect("the configuration was valid at the start"));
        let mut work = Work::default();
        self.release(cell, state, &mut work);
        self.run(&mut work);
    }

    pub(super) fn partition(&self, one: &[NodeId], other: &[NodeId]) {
        let mut announced = lock(&self.announced);
        for a in one {
            for b in other.iter().filter(|b| *b != a) {
                self.links.partition(self.cell(*a).node, self.cell(*b).node);
            }
        }
        self.announce(&mut announced);
    }

    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.links.cut(self.cell(from).node, self.cell(to).node);
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
        let is_news = self.cells().iter().zip(&*announced).any(|(cell, known)| {
            let state = cell.peek();
            state.is_some_and(|state| state.partition.is_some() != *known)
        });
        if is_news {
            self.announce(&mut announced);
        }
    }

    /// Tells every node whom it can reach.
    fn announce(&self, announced: &mut Vec<bool>) {
        let up = self.up();
        for cell in self.cells() {
            for (other, is_up) in self.cells().iter().zip(&up) {
                if other.node != cell.node {
                    let reachable = *is_up && !self.links.is_partitioned(cell.node, other.node);
                    self.input(cell, |partition, now| {
                        partition.handle_reachable(other.node, reachable, now);
                    });
                }
            }
        }
        *announced = up;
    }

    /// For each node whether it has not failed.
    fn up(&self) -> Vec<bool> {
        let cells = self.cells().iter();
        cells.map(|cell| cell.look().partition.is_some()).collect()
    }

    /// Whether all nodes that have not failed serve and know the same of every key. Exceptions may
    /// remain: of an event that only a lost incarnation held, others may know that it is obsolete for
    /// some keys, and nobody can tell them of the rest.
    pub(super) fn is_settled(&self) -> bool {
        let mut all = self.cells().iter().filter_map(|cell| {
            self.look(cell, |partition| {
                let knowledge = partition.replica().knowledge().clone();
                (partition.state(), knowledge)
            })
        });
        let Some((State::Up, first)) = all.next() else {
            return false;
        };
        all.all(|(state, knowledge)| state == State::Up && knowledge == first)
    }

    fn input(&self, cell: &NodeCell, feed: impl FnOnce(&mut Partition, crate::Now)) {
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
