//! What a node remembers of its peers: hints that steer requests, and what they last showed to know.

use crdt::{CausalContext, OwnerView, ReplicaId};
use std::collections::BTreeMap;

use crate::{Config, NodeId};

/// The peers, in the order of their ids.
#[derive(Debug)]
pub(super) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    /// The peer that was asked last.
    turn: Option<NodeId>,
}

#[derive(Debug, Clone)]
struct Peer {
    reachable: bool,
    /// The incarnation that showed its knowledge last, and its base then.
    shown: Option<(ReplicaId, CausalContext)>,
    /// Whether its log could not name what this node lacked when it was asked last.
    truncated: bool,
}

impl Peers {
    pub(super) fn new(config: &Config) -> Self {
        let peer = Peer {
            reachable: true,
            shown: None,
            truncated: false,
        };
        Self {
            peers: config.peers().map(|node| (node, peer.clone())).collect(),
            turn: None,
        }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    /// All peers; not borrowed, so that the caller can send to each.
    pub(super) fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        self.peers
            .keys()
            .copied()
            .collect::<smallvec::SmallVec<[NodeId; 6]>>()
            .into_iter()
    }

    /// The peers that can be reached, as far as is known.
    pub(super) fn reachable(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.peers
            .iter()
            .filter(|(_, peer)| peer.reachable)
            .map(|(node, _)| *node)
    }

    pub(super) fn reachable_count(&self) -> usize {
        self.peers.values().filter(|p| p.reachable).count()
    }

    /// Takes note of the hint; true if it is news.
    pub(super) fn set_reachable(&mut self, node: NodeId, reachable: bool) -> bool {
        self.peers.get_mut(&node).is_some_and(|peer| {
            let news = peer.reachable != reachable;
            peer.reachable = reachable;
            news
        })
    }

    /// The next peer in turn, among those that can be reached if there are any.
    pub(super) fn next_in_turn(&mut self) -> Option<NodeId> {
        let nobody = self.reachable_count() == 0;
        let usable = |(node, peer): (&NodeId, &Peer)| (peer.reachable || nobody).then_some(*node);
        let after = self.turn.and_then(|turn| {
            self.peers
                .range((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded))
                .find_map(usable)
        });
        self.turn = after.or_else(|| self.peers.iter().find_map(usable));
        self.turn
    }

    pub(super) fn note_shown(&mut self, node: NodeId, id: ReplicaId, base: &CausalContext) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.shown = Some((id, base.clone()));
        }
    }

    pub(super) fn note_truncated(&mut self, node: NodeId, truncated: bool) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.truncated = truncated;
        }
    }

    /// Whether no reachable peer's log could help when asked last.
    pub(super) fn all_truncated(&self) -> bool {
        self.peers
            .values()
            .filter(|p| p.reachable)
            .all(|p| p.truncated)
    }

    /// Forgets what dead incarnations have shown: the node behind them may have lost it.
    pub(super) fn forget_dead(&mut self, view: &OwnerView) {
        for (node, peer) in &mut self.peers {
            if peer
                .shown
                .as_ref()
                .is_some_and(|(id, _)| view.is_fenced(node.0, *id))
            {
                peer.shown = None;
            }
        }
    }

    /// The events that every peer has shown to know; nothing while one has shown nothing.
    pub(super) fn known_to_all(&self, own: &CausalContext) -> CausalContext {
        self.peers
            .values()
            .fold(own.clone(), |all, peer| match &peer.shown {
                Some((_, base)) => all.intersection(base),
                None => CausalContext::default(),
            })
    }

    /// How many events of each peer's last shown base are not in `own`.
    pub(super) fn lacking(&self, own: &CausalContext) -> Vec<(NodeId, u64)> {
        let shown = self
            .peers
            .iter()
            .filter_map(|(n, p)| Some((*n, &p.shown.as_ref()?.1)));
        shown
            .map(|(node, base)| (node, base.difference(own).event_count()))
            .collect()
    }
}
