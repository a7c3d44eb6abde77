//! What the simulated network does to messages.

use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use std::collections::BTreeSet;

use crate::NodeId;

/// How many times the greatest latency a straggler takes at most.
const STRAGGLES: u64 = 20;

/// A network that loses, repeats, delays and reorders, and that can be cut, in one direction or both.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Probability that a message is lost.
    pub loss: f64,
    /// Probability that a message arrives a second time, later.
    pub duplication: f64,
    /// Least latency, in milliseconds.
    pub min_latency_ms: u64,
    /// Greatest latency, in milliseconds; the spread is what reorders.
    pub max_latency_ms: u64,
    /// Probability that a message takes up to twenty times the greatest latency.
    pub straggler: f64,
    /// The directions in which nothing gets through.
    pub cut: BTreeSet<(NodeId, NodeId)>,
}

impl Default for Network {
    /// Reliable, with a latency of 1 to 5 ms.
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplication: 0.0,
            min_latency_ms: 1,
            max_latency_ms: 5,
            straggler: 0.0,
            cut: BTreeSet::new(),
        }
    }
}

impl Network {
    /// Lets nothing through from one node to another.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
    }

    /// Lets nothing through between the two groups, in either direction.
    pub fn partition(&mut self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.cut(*a, *b);
                self.cut(*b, *a);
            }
        }
    }

    /// Mends all cuts.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Whether nothing gets through from one node to another.
    pub fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cut.contains(&(from, to))
    }

    /// After how many milliseconds copies of a message arrive; none if it is lost.
    pub(super) fn arrivals(&self, from: NodeId, to: NodeId, rng: &mut ChaCha8Rng) -> Vec<u64> {
        if self.is_cut(from, to) || rng.random_bool(self.loss) {
            return Vec::new();
        }
        let mut arrivals = vec![self.latency(rng)];
        if rng.random_bool(self.duplication) {
            arrivals.push(self.latency(rng) + self.latency(rng));
        }
        arrivals
    }

    /// A time after which all that is on its way has arrived.
    pub(super) const fn longest_ms(&self) -> u64 {
        2 * STRAGGLES * self.max_latency_ms + 1
    }

    fn latency(&self, rng: &mut ChaCha8Rng) -> u64 {
        let latency = rng.random_range(self.min_latency_ms..=self.max_latency_ms);
        match rng.random_bool(self.straggler) {
            true => latency * rng.random_range(2..=STRAGGLES),
            false => latency,
        }
    }
}
