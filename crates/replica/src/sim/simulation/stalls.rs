//! Nodes that pause, and physical clocks that stand still.

use rand::RngExt as _;

use super::Simulation;
use crate::sim::oracle::Simulated;
use crate::{MessageOf, Node, NodeId, Request, RequestError, RequestId};

/// How many messages and requests wait for a node that is paused, as in the buffers of its system: more
/// messages are lost, and more requests refused.
const MAX_HELD: usize = 4_096;

/// A node that takes no input and whose timers stand still, as after SIGSTOP.
#[derive(Debug)]
pub(super) struct Pause<P: Simulated> {
    since_ms: u64,
    held: Vec<Held<P>>,
}

/// What reaches a node that is paused.
#[derive(Debug)]
pub(super) enum Held<P: Simulated> {
    Message {
        from: NodeId,
        message: Box<MessageOf<P>>,
    },
    Request {
        id: RequestId,
        request: Box<Request<P::Write>>,
    },
}

impl<P: Simulated> Simulation<P> {
    /// Stops a node where it is, with all it has in memory: it takes no input, and its timers do not go off,
    /// until it [goes on](Self::resume) or [fails](Self::fail). What reaches it meanwhile waits, up to a
    /// bound. Nothing happens to a node that is down.
    pub fn pause(&mut self, node: NodeId) {
        let since_ms = self.now_ms;
        if let Some(sim_node) = self.nodes.get_mut(&node)
            && sim_node.node.is_some()
            && sim_node.pause.is_none()
        {
            let held = Vec::new();
            sim_node.pause = Some(Pause { since_ms, held });
        }
    }

    /// Lets a node go on that was paused: it gets all that has waited in the order in which it came, and
    /// its timers that are overdue go off, before that or after.
    pub fn resume(&mut self, node: NodeId) {
        let Some(held) = self.end_pause(node) else {
            return;
        };
        let timers_first = self.rng.random_bool(0.5);
        if timers_first {
            self.go_off(node);
        }
        for held in held {
            match held {
                Held::Message { from, message } => {
                    self.input(node, |node, now| node.handle_message(from, *message, now));
                }
                Held::Request { id, request } => self.start(node, id, *request),
            }
        }
        if !timers_first {
            self.go_off(node);
        }
        self.schedule_wake(node);
    }

    /// Whether a node is paused.
    pub fn is_paused(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|n| n.pause.is_some())
    }

    /// Stops the physical clock of a node, which runs on and asks it. Nothing happens if it stands still.
    pub fn freeze_clock(&mut self, node: NodeId) {
        let unix_ms = self.now_of(node).unix_ms;
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.frozen_unix_ms.get_or_insert(unix_ms);
        }
    }

    /// Lets the physical clock of a node go again, from what it would show now.
    pub fn thaw_clock(&mut self, node: NodeId) {
        if let Some(sim_node) = self.nodes.get_mut(&node) {
            sim_node.frozen_unix_ms = None;
        }
    }

    /// All nodes that are paused go on, and all physical clocks go and show virtual time.
    pub fn heal_clocks(&mut self) {
        for node in self.node_ids() {
            self.thaw_clock(node);
            self.set_skew(node, 0);
            self.resume(node);
        }
    }

    /// Virtual milliseconds that nodes have been paused, together.
    pub(in crate::sim) fn paused_ms(&self) -> u64 {
        let pauses = self.nodes.values().filter_map(|n| n.pause.as_ref());
        let current = pauses.map(|pause| self.now_ms - pause.since_ms);
        self.paused_ms + current.sum::<u64>()
    }

    /// Messages and requests that have waited for a node that was paused.
    pub(in crate::sim) const fn held_inputs(&self) -> u64 {
        self.held
    }

    /// Ends the pause of a node, and returns what has waited for it.
    pub(super) fn end_pause(&mut self, node: NodeId) -> Option<Vec<Held<P>>> {
        let sim_node = self.nodes.get_mut(&node)?;
        let pause = sim_node.pause.take()?;
        sim_node.wakes_at = None;
        self.paused_ms += self.now_ms - pause.since_ms;
        self.held += pause.held.len() as u64;
        Some(pause.held)
    }

    /// Keeps a message for a node that is paused; returns it if the node is not.
    pub(super) fn hold_message(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: Box<MessageOf<P>>,
    ) -> Option<Box<MessageOf<P>>> {
        let pause = self.nodes.get_mut(&to).and_then(|n| n.pause.as_mut());
        let Some(pause) = pause else {
            return Some(message);
        };
        if pause.held.len() < MAX_HELD {
            pause.held.push(Held::Message { from, message });
        }
        None
    }

    /// Keeps a request for a node that is paused; returns it if the node is not.
    pub(super) fn hold_request(
        &mut self,
        node: NodeId,
        id: RequestId,
        request: Request<P::Write>,
    ) -> Option<Request<P::Write>> {
        let pause = self.nodes.get_mut(&node).and_then(|n| n.pause.as_mut());
        let Some(pause) = pause else {
            return Some(request);
        };
        if pause.held.len() < MAX_HELD {
            let request = Box::new(request);
            pause.held.push(Held::Request { id, request });
            return None;
        }
        let (pending, limit) = (pause.held.len(), MAX_HELD);
        self.note_reply(id, Err(RequestError::Overloaded { pending, limit }));
        None
    }

    /// What is overdue at a node goes off.
    fn go_off(&mut self, node: NodeId) {
        let due = self.node(node).and_then(Node::deadline);
        if due.is_some_and(|due| due <= self.now_ms) {
            self.input(node, |node, now| node.handle_timeout(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimConfig;
    use crate::{Command, Config, Level};

    const NODE: NodeId = NodeId(2);

    fn cluster() -> Simulation {
        let mut config = Config::new(NodeId(1), 3);
        config.request_timeout_ms = 400;
        Simulation::new(SimConfig::new(config, 1))
    }

    fn put(simulation: &mut Simulation, node: NodeId) -> crate::sim::Ticket {
        let put = Command::put("k".into(), "v".into());
        simulation.ask(node, Request::new(put, Level::Quorum))
    }

    #[test]
    fn a_paused_node_does_nothing_and_then_everything_at_once() {
        let mut simulation = cluster();
        simulation.pause(NODE);
        let (through_it, beside_it) = (put(&mut simulation, NODE), put(&mut simulation, NodeId(1)));
        simulation.run_for(1_000);
        assert!(simulation.is_paused(NODE));
        assert_eq!(simulation.take_reply(through_it), None);
        assert!(matches!(simulation.take_reply(beside_it), Some(Ok(_))));
        let base = |simulation: &Simulation| {
            let node = simulation.partition(NODE).expect("it has not failed");
            node.replica().knowledge().base().clone()
        };
        assert!(base(&simulation).is_empty(), "what came for it has waited");
        assert_eq!(simulation.paused_ms(), 1_000);
        simulation.resume(NODE);
        assert!(!base(&simulation).is_empty(), "and is there now");
        assert!(simulation.held_inputs() > 1);
        simulation.run_for(400);
        assert!(matches!(simulation.take_reply(through_it), Some(Ok(_))));
        simulation.run_for(1_000);
        assert_eq!(simulation.paused_ms(), 1_000);
    }

    #[test]
    fn what_has_waited_for_a_paused_node_that_fails_is_lost() {
        let mut simulation = cluster();
        simulation.pause(NODE);
        let asked = put(&mut simulation, NODE);
        simulation.fail(NODE);
        assert!(!simulation.is_paused(NODE));
        assert!(matches!(simulation.take_reply(asked), Some(Err(_))));
        simulation.pause(NODE);
        assert!(!simulation.is_paused(NODE), "it is down");
        simulation.recover(NODE);
        assert!(simulation.settle(60_000));
    }

    #[test]
    fn more_than_waits_for_a_paused_node_is_refused() {
        let mut simulation = cluster();
        simulation.pause(NODE);
        let first = put(&mut simulation, NODE);
        for _ in 1..MAX_HELD {
            put(&mut simulation, NODE);
        }
        assert_eq!(simulation.take_reply(first), None);
        let refused = put(&mut simulation, NODE);
        let refused = simulation.take_reply(refused);
        assert!(matches!(
            refused,
            Some(Err(RequestError::Overloaded { .. }))
        ));
    }

    #[test]
    fn a_frozen_clock_stands_still_while_its_node_runs() {
        let mut simulation = cluster();
        simulation.set_skew(NODE, 5);
        let before = simulation.now_of(NODE);
        simulation.freeze_clock(NODE);
        simulation.run_for(70);
        simulation.freeze_clock(NODE);
        simulation.set_skew(NODE, 9);
        let now = simulation.now_of(NODE);
        assert_eq!(now.unix_ms, before.unix_ms);
        assert_eq!(now.elapsed_ms, before.elapsed_ms + 70);
        simulation.thaw_clock(NODE);
        assert_eq!(simulation.now_of(NODE).unix_ms, before.unix_ms + 70 + 4);
    }
}
