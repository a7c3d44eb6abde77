//! Which node's messages reach which.

use crate::NodeId;
use crate::sync::{AtomicU8, Ordering};

/// Nobody is told of it.
const SILENT: u8 = 1;
/// Those at its ends are told.
const ANNOUNCED: u8 = 2;

/// For each pair of nodes and direction, what keeps messages from getting through.
#[derive(Debug)]
pub(super) struct Links {
    nodes: usize,
    cuts: Vec<AtomicU8>,
}

impl Links {
    pub(super) fn new(nodes: usize) -> Self {
        let cuts = (0..nodes * nodes).map(|_| AtomicU8::new(0)).collect();
        Self { nodes, cuts }
    }

    /// Whether nothing gets through from one node to another.
    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.link(from, to).load(Ordering::Acquire) != 0
    }

    /// Whether the nodes are known to be parted.
    pub(super) fn is_partitioned(&self, a: NodeId, b: NodeId) -> bool {
        self.link(a, b).load(Ordering::Acquire) & ANNOUNCED != 0
    }

    pub(super) fn cut(&self, from: NodeId, to: NodeId) {
        self.link(from, to).fetch_or(SILENT, Ordering::AcqRel);
    }

    pub(super) fn partition(&self, a: NodeId, b: NodeId) {
        self.link(a, b).fetch_or(ANNOUNCED, Ordering::AcqRel);
        self.link(b, a).fetch_or(ANNOUNCED, Ordering::AcqRel);
    }

    pub(super) fn heal(&self) {
        for cut in &self.cuts {
            cut.store(0, Ordering::Release);
        }
    }

    fn link(&self, from: NodeId, to: NodeId) -> &AtomicU8 {
        &self.cuts[(from.0 as usize - 1) * self.nodes + to.0 as usize - 1]
    }
}
