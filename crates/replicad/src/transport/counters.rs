//! What is counted, for metrics.

use std::sync::atomic::{AtomicU64, AtomicUsize};

use super::handshake::Lane;

/// Counts of the listener. Each only grows.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections that peers, or whoever else, opened.
    pub accepted: AtomicU64,
    /// Connections closed at once because too many were in their handshake.
    pub crowded: AtomicU64,
    /// Connections that were refused in the handshake or did not finish it.
    pub refused: AtomicU64,
    /// Messages for nodes that are not in the list of peers.
    pub dropped_unknown: AtomicU64,
}

/// Counts of one peer.
#[derive(Debug, Default)]
pub struct PeerCounters {
    /// Frames that came from the peer, heartbeats not counted.
    pub frames_received: AtomicU64,
    /// Bytes that came from the peer, with the lengths of frames, without what TLS adds.
    pub bytes_received: AtomicU64,
    /// Messages that were empty or longer than a frame may be.
    pub dropped_length: AtomicU64,
    /// The small lane to the peer.
    pub small: LaneCounters,
    /// The large lane to the peer.
    pub large: LaneCounters,
}

/// Counts of one lane to a peer.
#[derive(Debug, Default)]
pub struct LaneCounters {
    /// Frames handed to the system.
    pub frames_sent: AtomicU64,
    /// Their bytes, with the lengths of frames, without what TLS adds.
    pub bytes_sent: AtomicU64,
    /// Frames that found the queue full.
    pub dropped_full: AtomicU64,
    /// Frames that found the lane not connected, or were lost when it broke.
    pub dropped_down: AtomicU64,
    /// Connections that were made.
    pub connects: AtomicU64,
    /// Attempts that failed and connections that broke.
    pub failures: AtomicU64,
    /// Frames queued or being written now.
    pub queued_frames: AtomicUsize,
    /// Bytes queued or being written now.
    pub queued_bytes: AtomicUsize,
}

impl PeerCounters {
    /// The counts of a lane.
    pub const fn lane(&self, lane: Lane) -> &LaneCounters {
        match lane {
            Lane::Small => &self.small,
            Lane::Large => &self.large,
        }
    }
}
