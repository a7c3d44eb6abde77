//! What a node remembers of its peers: hints that steer requests, and what they last showed to know.

use crdt::{CausalContext, OwnerView, ReplicaId};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Config, NodeId};

/// The peers, in the order of their ids.
#[derive(Debug)]
pub(super) struct Peers {
    peers: BTreeMap<NodeId, Peer>,
    /// Their ids.
    ids: Arc<[NodeId]>,
    /// The peer that was asked last.
    turn: Option<NodeId>,
}

#[derive(Debug, Clone)]
struct Peer {
    reachable: bool,
    /// Whether it does not answer though it can be reached.
    suspected: bool,
    /// The incarnation that showed its knowledge last, and its base then.
    shown: Option<(ReplicaId, CausalContext)>,
    /// When it was last asked for entries.
    asked_ms: Option<u64>,
    /// The incarnation that last gave a complete answer, with its view then.
    complete: Option<(ReplicaId, Arc<OwnerView>)>,
    /// The incarnation that last said what it has retired, and for each owner the first one that it has
    /// not.
    retired: Option<(ReplicaId, BTreeMap<u32, ReplicaId>)>,
    /// How often in a row its log could not name what this node lacks.
    truncated: u32,
}

impl Peers {
    pub(super) fn new(config: &Config) -> Self {
        let peer = Peer {
            reachable: true,
            suspected: false,
            shown: None,
            asked_ms: None,
            complete: None,
            retired: None,
            truncated: 0,
        };
        Self {
            peers: config.peers().map(|node| (node, peer.clone())).collect(),
            ids: config.peers().collect(),
            turn: None,
        }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.peers.contains_key(&node)
    }

    /// All peers; not borrowed, so that the caller can send to each.
    pub(super) fn all(&self) -> impl Iterator<Item = NodeId> + use<> {
        let ids = Arc::clone(&self.ids);
        (0..ids.len()).map(move |i| ids[i])
    }

    /// All peers, as a list: there may be thousands.
    pub(super) fn ids(&self) -> &[NodeId] {
        &self.ids
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

    /// Takes note that a peer does not answer, or does again.
    pub(super) fn set_suspected(&mut self, node: NodeId, suspected: bool) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.suspected = suspected;
        }
    }

    /// The next peer in turn, among those that can be reached and answer if there are any.
    pub(super) fn next_in_turn(&mut self) -> Option<NodeId> {
        let rank = |peer: &Peer| (peer.reachable, peer.reachable && !peer.suspected);
        let best = self.peers.values().map(rank).max();
        let usable = |(node, peer): (&NodeId, &Peer)| (Some(rank(peer)) == best).then_some(*node);
        let after = self.turn.and_then(|turn| {
            self.peers
                .range((std::ops::Bound::Excluded(turn), std::ops::Bound::Unbounded))
                .find_map(usable)
        });
        self.turn = after.or_else(|| self.peers.iter().find_map(usable));
        self.turn
    }

    /// Takes note that a peer is asked for entries.
    pub(super) fn note_asked(&mut self, node: NodeId, now_ms: u64) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.asked_ms = Some(now_ms);
        }
    }

    /// Whether a peer was asked for entries within the last `patience_ms`: an answer, or the next part
    /// of one, is probably on its way.
    pub(super) fn is_asked(&self, node: NodeId, now_ms: u64, patience_ms: u64) -> bool {
        let asked_ms = self.peers.get(&node).and_then(|peer| peer.asked_ms);
        asked_ms.is_some_and(|at| now_ms < at + patience_ms)
    }

    pub(super) fn note_shown(&mut self, node: NodeId, id: ReplicaId, base: &CausalContext) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.shown = Some((id, base.clone()));
        }
    }

    /// Takes note of a complete answer, and of the view that came with it.
    pub(super) fn note_complete(&mut self, node: NodeId, id: ReplicaId, view: &Arc<OwnerView>) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.complete = Some((id, Arc::clone(view)));
        }
    }

    /// Forgets all complete answers: they were given to an incarnation that has lost events since.
    pub(super) fn forget_complete(&mut self) {
        for peer in self.peers.values_mut() {
            peer.complete = None;
        }
    }

    /// Whether every peer has given a complete answer when its view included `view`.
    pub(super) fn all_complete_since(&self, view: &OwnerView) -> bool {
        let mut complete = self.peers.values().map(|peer| &peer.complete);
        complete.all(|given| given.as_ref().is_some_and(|(_, then)| **then >= *view))
    }

    /// Takes note of what a peer has retired.
    pub(super) fn note_retired(
        &mut self,
        node: NodeId,
        id: ReplicaId,
        retired: &BTreeMap<u32, ReplicaId>,
    ) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.retired = Some((id, retired.clone()));
        }
    }

    /// Whether every peer has retired the incarnations before `first` at `position`.
    pub(super) fn all_retired(&self, position: u32, first: ReplicaId) -> bool {
        let has_retired = |peer: &Peer| {
            let retired = peer
                .retired
                .as_ref()
                .and_then(|(_, all)| all.get(&position));
            retired.is_some_and(|theirs| *theirs >= first)
        };
        self.peers.values().all(has_retired)
    }

    /// Takes note whether a peer's log could name what this node lacks; returns how often in a row it
    /// could not.
    pub(super) fn note_truncated(&mut self, node: NodeId, truncated: bool) -> u32 {
        let Some(peer) = self.peers.get_mut(&node) else {
            return 0;
        };
        peer.truncated = if truncated {
            peer.truncated.saturating_add(1)
        } else {
            0
        };
        peer.truncated
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
            if peer
                .complete
                .as_ref()
                .is_some_and(|(id, _)| view.is_fenced(node.0, *id))
            {
                peer.complete = None;
            }
            if peer
                .retired
                .as_ref()
                .is_some_and(|(id, _)| view.is_fenced(node.0, *id))
            {
                peer.retired = None;
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

    /// The base that each peer has shown last.
    pub(super) fn shown(&self) -> impl Iterator<Item = (NodeId, &CausalContext)> {
        let peers = self.peers.iter();
        peers.filter_map(|(node, peer)| Some((*node, &peer.shown.as_ref()?.1)))
    }
}
