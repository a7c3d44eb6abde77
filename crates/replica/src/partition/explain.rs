//! Why a node shows what it shows, and why a tombstone is still there.

use bytes::Bytes;
use crdt::{CausalContext, Cell as _, Dot, HeldBack, ReplicaId, Timestamp};
use std::fmt;

use super::{Partition, State};
use crate::{NodeId, PartitionId, Policy};

/// What one owner holds of a key, and why.
///
/// `Display` tells it in a few lines, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation<C> {
    /// The owner.
    pub node: NodeId,
    /// What it is doing: it answers reads only when it is up.
    pub state: State,
    /// The partition of the key.
    pub partition: PartitionId,
    /// What it holds; bottom if nothing.
    pub cell: C,
    /// Whether a reader is shown anything.
    pub is_visible: bool,
    /// The live events, tombstones included. Every other event that is known is obsolete here.
    pub live: Vec<Dot>,
    /// The events of the partition that are known for this key: what a read at this node has seen.
    pub known: CausalContext,
    /// Those among them that are known for this key and a few others only.
    pub beyond_base: CausalContext,
    /// What keeps the tombstone, if there is one.
    pub tombstone: Option<TombstoneReport>,
}

/// Why a tombstone has not been forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TombstoneReport {
    /// Its time.
    pub time: Timestamp,
    /// The incarnations that may still write below it, or have written what has not arrived.
    pub held_back_by: Vec<(ReplicaId, HeldBack)>,
    /// Owners of which some incarnation is not known: of a new cluster, or one that has died. Ascending.
    pub unheard_of: Vec<NodeId>,
    /// This node's own clock, if it has not passed the time yet; where callers bring the timestamps its horizon.
    pub own_clock: Option<Timestamp>,
    /// Whether callers bring the timestamps and no horizon is set here: tombstones stay until one is.
    pub no_horizon: bool,
    /// Whether the node catches up, or its storage has failed: it forgets nothing before it serves.
    pub is_not_serving: bool,
    /// Whether tombstones are forgotten here at all: a store that gossips keeps them.
    pub is_kept_for_good: bool,
}

impl TombstoneReport {
    /// Whether nothing holds it back: it goes in the next interval.
    pub const fn is_free(&self) -> bool {
        self.held_back_by.is_empty()
            && self.unheard_of.is_empty()
            && self.own_clock.is_none()
            && !self.no_horizon
            && !self.is_not_serving
            && !self.is_kept_for_good
    }
}

impl<P: Policy> Partition<P> {
    /// Why this node shows what it shows for a key. Linear in what is known of the key, and in the
    /// incarnations.
    pub fn explain(&self, key: &Bytes) -> Explanation<P::Cell> {
        let cell = self.replica.map().get(key).cloned().unwrap_or_default();
        let known = self.replica.knowledge().of_key(key);
        let tombstone = cell.tombstone().map(|time| self.tombstone_report(time));
        Explanation {
            node: self.config.node,
            state: self.state(),
            partition: self.config.partition,
            is_visible: cell.is_visible(),
            live: crdt::DotStore::dots(&cell).collect(),
            known: self.replica.events_of_key(key),
            beyond_base: known.beyond().cloned().unwrap_or_default(),
            tombstone,
            cell,
        }
    }
}

impl<C> fmt::Display for Explanation<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shows = match (self.is_visible, self.live.is_empty()) {
            (true, _) => "shows a value",
            (false, false) => "shows nothing: the last write was a deletion",
            (false, true) => "shows nothing, and holds nothing",
        };
        writeln!(f, "{} ({}) {shows}", self.node, self.partition)?;
        if self.state != State::Up {
            writeln!(f, "it answers no reads: {:?}", self.state)?;
        }
        for dot in &self.live {
            writeln!(f, "live: {dot}, written at {}", crate::node_of(dot.replica))?;
        }
        writeln!(
            f,
            "known: {}; any other of these events is obsolete",
            self.known
        )?;
        if !self.beyond_base.is_empty() {
            writeln!(
                f,
                "known for this key and not for all: {}",
                self.beyond_base
            )?;
        }
        match &self.tombstone {
            Some(tombstone) => write!(f, "{tombstone}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for TombstoneReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "tombstone of {}:", self.time)?;
        if self.is_kept_for_good {
            return writeln!(f, "  kept for good: nobody knows all members");
        }
        for (replica, reason) in &self.held_back_by {
            let node = crate::node_of(*replica);
            writeln!(f, "  held back by {node} as {replica}: {reason}")?;
        }
        for node in &self.unheard_of {
            writeln!(
                f,
                "  held back by {node}: not all of its incarnations are known here"
            )?;
        }
        if self.no_horizon {
            writeln!(
                f,
                "  no horizon is set here: until one is, every tombstone stays"
            )?;
        }
        if self.is_not_serving {
            writeln!(
                f,
                "  this node does not serve, and forgets nothing before it does"
            )?;
        }
        if let Some(clock) = self.own_clock {
            writeln!(f, "  held back by the own clock, which is at {clock}")?;
        }
        if self.is_free() {
            writeln!(f, "  nothing holds it back: it goes in the next interval")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::sim::{SimConfig, Simulation};
    use crate::{Command, Config, Level, NodeId, Request};
    use bytes::Bytes;
    use crdt::HeldBack;

    #[test]
    fn who_holds_a_tombstone_back_is_named_until_it_goes() {
        let node = Config::new(NodeId(1), 3);
        let mut simulation = Simulation::<crate::Lww>::new(SimConfig::new(node, 1));
        let key = Bytes::from_static(b"k");
        // Everyone promises something before node 3 goes.
        simulation.run_for(5_000);
        simulation.fail(NodeId(3));
        for command in [Command::put(key.clone(), "v".into()), Command::delete(key)] {
            let ticket = simulation.ask(NodeId(1), Request::new(command, Level::Quorum));
            assert!(simulation.wait(ticket).is_ok());
        }
        simulation.run_for(5_000);
        let explain = |simulation: &Simulation| {
            let node = simulation.partition(NodeId(1)).expect("up");
            node.explain(&Bytes::from_static(b"k"))
        };
        let explained = explain(&simulation);
        assert!(!explained.is_visible && explained.live.len() == 1);
        let tombstone = explained.tombstone.clone().expect("there is one");
        let of_node_3 =
            |(replica, _): &&(crdt::ReplicaId, HeldBack)| crate::node_of(*replica) == NodeId(3);
        assert_eq!(tombstone.held_back_by.iter().filter(of_node_3).count(), 1);
        assert!(
            explained.to_string().contains("held back by node 3"),
            "{explained}"
        );
        simulation.recover(NodeId(3));
        assert!(simulation.settle(60_000));
        simulation.run_for(10_000);
        let left = explain(&simulation);
        assert_eq!(
            left.tombstone, None,
            "the dead incarnation is retired, and the tombstone gone: {left}"
        );
    }

    #[test]
    fn a_value_is_explained_by_its_event() {
        let node = Config::new(NodeId(1), 3);
        let mut simulation = Simulation::<crate::Lww>::new(SimConfig::new(node, 2));
        let put = Command::put(Bytes::from_static(b"k"), "v".into());
        let ticket = simulation.ask(NodeId(2), Request::new(put, Level::Quorum));
        assert!(simulation.wait(ticket).is_ok());
        assert!(simulation.settle(60_000));
        let node = simulation.partition(NodeId(1)).expect("up");
        let explained = node.explain(&Bytes::from_static(b"k"));
        assert!(explained.is_visible && explained.tombstone.is_none());
        assert!(
            explained.to_string().contains("written at node 2"),
            "{explained}"
        );
        let absent = node.explain(&Bytes::from_static(b"absent"));
        assert!(absent.to_string().contains("holds nothing"), "{absent}");
    }
}
