//! How a new cluster begins: once, on an operator's word, with all of its nodes.
//!
//! A node without data may be one of a new cluster, or one that has lost what it held. It must not guess:
//! the first starts empty and counts at once, the second has to recover from the others. So nothing begins
//! by itself. An operator tells one node, any, to bootstrap. It makes an [`Offer`] and shows it to the
//! others; a node that has nothing takes it up and says so. Offers are durable before they are shown.
//! When every node has taken up the offer, its author starts as a node of the new cluster. The others
//! start too as soon as they see that a cluster of their offer's id exists.
//!
//! **Why that is safe.** A cluster exists only after every node had, durably, nothing but the offer. A node
//! that still has its offer when it meets the cluster has therefore never held data of it: it may start
//! empty, however late. A node that has nothing, not even the offer, when it meets a cluster has lost its
//! data: it recovers. It cannot come by the offer again, since only the author's own word counts, and the
//! author has stopped offering when the cluster began.
//!
//! Of several offers that of the lowest node is taken up; the others can never be complete.

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::storage::ClusterId;

/// A cluster that is to be, and whose word it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The node that was told to bootstrap.
    pub by: NodeId,
    /// The id that the cluster will have.
    pub cluster: ClusterId,
}

/// What a node is to a cluster, as it shows others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClusterStanding {
    /// It has nothing.
    Nothing,
    /// It has taken up an offer, durably.
    Offered(Offer),
    /// It belongs to a cluster.
    Member(ClusterId),
}

/// A node that does not belong to a cluster yet.
#[derive(Debug)]
pub(super) struct Formation {
    node: NodeId,
    nodes: u32,
    offer: Option<Offer>,
    /// The other nodes that have taken up this node's own offer.
    agreed: BTreeSet<NodeId>,
}

/// What follows for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Make the offer durable, then show it.
    Keep(Offer),
    /// Start as an empty node of a new cluster.
    Begin(ClusterId),
    /// Start as a node that has lost its data.
    Recover(ClusterId),
}

impl Formation {
    /// A node that has nothing, or an offer that it had taken up before.
    pub(super) const fn new(node: NodeId, nodes: u32, offer: Option<Offer>) -> Self {
        let agreed = BTreeSet::new();
        Self {
            node,
            nodes,
            offer,
            agreed,
        }
    }

    /// An operator's word. A node that has an offer stays with it.
    pub(super) fn bootstrap(&self, cluster: ClusterId) -> Step {
        match self.offer {
            Some(_) => Step::Wait,
            None => Step::Keep(Offer {
                by: self.node,
                cluster,
            }),
        }
    }

    /// The offer that follows from [`Step::Keep`] is durable.
    pub(super) fn note_kept(&mut self, offer: Offer) {
        self.offer = Some(offer);
        self.agreed.clear();
    }

    /// What to show the others.
    pub(super) fn standing(&self) -> ClusterStanding {
        self.offer
            .map_or(ClusterStanding::Nothing, ClusterStanding::Offered)
    }

    /// The nodes that have not taken up this node's offer; `None` if it has not made one.
    pub(super) fn missing(&self) -> Option<Vec<NodeId>> {
        self.offer.filter(|offer| offer.by == self.node)?;
        let others = (1..=self.nodes).map(NodeId).filter(|id| *id != self.node);
        Some(others.filter(|id| !self.agreed.contains(id)).collect())
    }

    /// What another node shows.
    pub(super) fn note(&mut self, from: NodeId, theirs: ClusterStanding) -> Step {
        match theirs {
            ClusterStanding::Nothing => {
                self.agreed.remove(&from);
                Step::Wait
            }
            ClusterStanding::Member(cluster) => {
                match self.offer.is_some_and(|offer| offer.cluster == cluster) {
                    true => Step::Begin(cluster),
                    false => Step::Recover(cluster),
                }
            }
            ClusterStanding::Offered(theirs) => self.note_offer(from, theirs),
        }
    }

    fn note_offer(&mut self, from: NodeId, theirs: Offer) -> Step {
        if self.offer == Some(theirs) {
            if theirs.by == self.node {
                self.agreed.insert(from);
                if self.missing().is_some_and(|missing| missing.is_empty()) {
                    return Step::Begin(theirs.cluster);
                }
            }
            return Step::Wait;
        }
        self.agreed.remove(&from);
        let is_better = self.offer.is_none_or(|held| theirs.by <= held.by);
        match theirs.by == from && is_better {
            true => Step::Keep(theirs),
            false => Step::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClusterId = ClusterId(0xa);
    const B: ClusterId = ClusterId(0xb);

    struct World {
        nodes: Vec<Formation>,
        begun: Vec<Option<Step>>,
    }

    impl World {
        fn new() -> Self {
            let node = |id| Formation::new(NodeId(id), 3, None);
            Self {
                nodes: (1..=3).map(node).collect(),
                begun: vec![None; 3],
            }
        }

        fn follow(&mut self, i: usize, step: Step) {
            match step {
                Step::Wait => {}
                Step::Keep(offer) => self.nodes[i].note_kept(offer),
                step => self.begun[i] = Some(step),
            }
        }

        fn standing(&self, i: usize) -> ClusterStanding {
            match self.begun[i] {
                Some(Step::Begin(id) | Step::Recover(id)) => ClusterStanding::Member(id),
                _ => self.nodes[i].standing(),
            }
        }

        /// One node shows itself to another.
        fn show(&mut self, from: usize, to: usize) {
            if self.begun[to].is_none() {
                let theirs = self.standing(from);
                let step = self.nodes[to].note(NodeId(from as u32 + 1), theirs);
                self.follow(to, step);
            }
        }

        fn show_all(&mut self) {
            for _ in 0..4 {
                for (from, to) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                    self.show(from, to);
                }
            }
        }

        fn bootstrap(&mut self, i: usize, id: ClusterId) {
            let step = self.nodes[i].bootstrap(id);
            self.follow(i, step);
        }
    }

    #[test]
    fn nothing_begins_without_the_word_or_without_a_node() {
        let mut world = World::new();
        world.show_all();
        assert_eq!(world.begun, [None; 3]);
        world.bootstrap(1, B);
        for (from, to) in [(1, 0), (0, 1), (1, 0), (0, 1)] {
            world.show(from, to);
        }
        assert_eq!(world.begun, [None; 3], "node 3 has not been heard");
        assert_eq!(world.nodes[1].missing(), Some(vec![NodeId(3)]));
        world.show_all();
        assert_eq!(world.begun, [Some(Step::Begin(B)); 3]);
    }

    #[test]
    fn of_two_words_one_counts() {
        let mut world = World::new();
        world.bootstrap(1, B);
        world.show(1, 2);
        world.bootstrap(0, A);
        world.show_all();
        assert_eq!(world.begun, [Some(Step::Begin(A)); 3]);
    }

    #[test]
    fn who_has_an_offer_begins_however_late_and_who_has_nothing_recovers() {
        let mut world = World::new();
        world.bootstrap(0, A);
        for (from, to) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            world.show(from, to);
        }
        assert_eq!(world.begun[0], Some(Step::Begin(A)));
        // Node 2 loses its disk before it hears of the cluster. Node 3 still shows the offer; that is no
        // word of its author.
        world.nodes[1] = Formation::new(NodeId(2), 3, None);
        world.show(2, 1);
        assert_eq!(world.nodes[1].standing(), ClusterStanding::Nothing);
        world.show_all();
        assert_eq!(world.begun[1], Some(Step::Recover(A)));
        assert_eq!(world.begun[2], Some(Step::Begin(A)));
        // A second word at a node whose disk is new does not begin a second cluster.
        let mut lost = Formation::new(NodeId(1), 3, None);
        let Step::Keep(offer) = lost.bootstrap(B) else {
            panic!("it has nothing else")
        };
        lost.note_kept(offer);
        let met = lost.note(NodeId(2), ClusterStanding::Member(A));
        assert_eq!(met, Step::Recover(A));
    }
}
