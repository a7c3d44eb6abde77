//! What is kept of one peer.

use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use super::counters::PeerCounters;
use super::handshake::Lane;
use super::options::TransportLimits;
use super::queue::Queue;

/// A peer: its queues, what was counted, and whether it can be reached.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: String,
    pub(super) counters: PeerCounters,
    lanes: [LaneOfPeer; 2],
    link: Mutex<Link>,
}

#[derive(Debug)]
struct LaneOfPeer {
    queue: Queue,
    /// The peer has just connected to this node: it is worth dialling it.
    heard_of: Notify,
    /// What was last agreed on.
    version: AtomicU16,
}

#[derive(Debug, Default)]
struct Link {
    up: [bool; 2],
    trouble: Option<String>,
}

impl Peer {
    /// A peer to which `version` is spoken until another is agreed on.
    pub(super) fn new(address: String, limits: &TransportLimits, version: u16) -> Self {
        let lane = || LaneOfPeer {
            queue: Queue::new(limits.queue_frames, limits.queue_bytes),
            heard_of: Notify::new(),
            version: AtomicU16::new(version),
        };
        Self {
            address,
            counters: PeerCounters::default(),
            lanes: [lane(), lane()],
            link: Mutex::default(),
        }
    }

    pub(super) const fn queue(&self, lane: Lane) -> &Queue {
        &self.lanes[lane as usize].queue
    }

    /// A version was agreed on for a lane.
    pub(super) fn note_version(&self, lane: Lane, version: u16) {
        self.lanes[lane as usize].version.store(version, Relaxed);
    }

    /// The version that was agreed on for both lanes: the earlier, if the peer was replaced between the two.
    pub(super) fn version(&self) -> u16 {
        let [small, large] = &self.lanes;
        let versions = [small, large].map(|lane| lane.version.load(Relaxed));
        versions[0].min(versions[1])
    }

    /// The peer has connected to this node.
    pub(super) fn was_heard_of(&self) {
        for lane in &self.lanes {
            lane.heard_of.notify_one();
        }
    }

    /// Completes when the peer has connected to this node.
    pub(super) async fn heard_of(&self, lane: Lane) {
        self.lanes[lane as usize].heard_of.notified().await;
    }

    /// A lane was connected. `changed` is called if the peer can be reached only since now.
    pub(super) fn lane_is_up(&self, lane: Lane, changed: impl FnOnce()) {
        self.queue(lane).open();
        let mut link = self.link();
        let before = link.is_reachable();
        link.up[lane as usize] = true;
        if link.is_reachable() {
            link.trouble = None;
            if !before {
                changed();
            }
        }
    }

    /// A lane is not connected. `changed` is called if the peer could be reached until now. True if this trouble is
    /// another than the last.
    pub(super) fn lane_is_down(&self, lane: Lane, trouble: String, changed: impl FnOnce()) -> bool {
        let mut link = self.link();
        let before = link.is_reachable();
        link.up[lane as usize] = false;
        if before {
            changed();
        }
        let is_new = link.trouble.as_ref() != Some(&trouble);
        link.trouble = Some(trouble);
        drop(link);
        self.queue(lane).close(self.counters.lane(lane));
        is_new
    }

    pub(super) fn is_reachable(&self) -> bool {
        self.link().is_reachable()
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.link().trouble.clone()
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    const fn is_reachable(&self) -> bool {
        self.up[0] && self.up[1]
    }
}
