//! 64-bit timestamps, and why one could not be given.

use core::fmt;

/// A logical or hybrid time: larger is later.
///
/// A [`LamportClock`](crate::LamportClock) counts with it; a [`HybridClock`](crate::HybridClock)
/// packs milliseconds, a logical counter and a node slot into it. The two must not be mixed in one
/// store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.0)
    }
}

/// Why a clock refused. The clock is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockError {
    /// No larger timestamp exists.
    #[error("the clock has reached its largest timestamp")]
    Exhausted,
    /// A timestamp lies further ahead of physical time than the drift bound allows.
    #[error("timestamp is {ahead_ms} ms ahead of this node's clock, the bound is {bound_ms} ms")]
    Ahead {
        /// How far ahead of physical time, in milliseconds.
        ahead_ms: u64,
        /// The drift bound, in milliseconds.
        bound_ms: u64,
    },
}
