//! Time as the protocol sees it.

use crdt::{ClockError, HybridClock, LamportClock, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::{ClockKind, Config};

/// The time of an input, read by the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since some fixed moment; never decreases. Deadlines are measured with it.
    pub elapsed_ms: u64,
    /// Milliseconds since 1970 as the node believes; may step. Hybrid timestamps follow it.
    pub unix_ms: u64,
}

/// The clock that gives a node's timestamps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Clock {
    Lamport(LamportClock),
    Hybrid(HybridClock),
    /// The horizon: writes at or below it are refused. No clock runs, timestamps come with the writes.
    Caller(Timestamp),
}

impl Clock {
    pub(crate) fn new(config: &Config) -> Self {
        match config.clock {
            ClockKind::Lamport => Self::Lamport(LamportClock::default()),
            ClockKind::Hybrid { drift_bound_ms } => {
                let slot = u16::try_from(config.node.0).unwrap_or(u16::MAX);
                let clock = HybridClock::new(slot, drift_bound_ms);
                Self::Hybrid(clock.expect("a validated configuration has at most MAX_NODES nodes"))
            }
            ClockKind::Caller => Self::Caller(Timestamp(0)),
        }
    }

    pub(crate) fn last(&self) -> Timestamp {
        match self {
            Self::Lamport(clock) => clock.last(),
            Self::Hybrid(clock) => clock.last(),
            Self::Caller(horizon) => *horizon,
        }
    }

    fn tick(&mut self, now: Now) -> Result<Timestamp, ClockError> {
        match self {
            Self::Lamport(clock) => clock.tick(),
            Self::Hybrid(clock) => clock.tick(now.unix_ms),
            // Reached only by a write without a timestamp, which is refused before.
            Self::Caller(_) => Err(ClockError::Exhausted),
        }
    }

    /// The next timestamp, above `above` too; an error if that lies beyond the drift bound.
    pub(crate) fn tick_above(
        &mut self,
        above: Timestamp,
        now: Now,
    ) -> Result<Timestamp, ClockError> {
        if above > Timestamp::default() {
            self.observe(above, now)?;
        }
        self.tick(now)
    }

    /// Takes note of a time seen in a message, unless it lies beyond the drift bound.
    pub(crate) fn observe(&mut self, seen: Timestamp, now: Now) -> Result<(), ClockError> {
        match self {
            Self::Lamport(clock) => {
                clock.observe(seen);
                Ok(())
            }
            Self::Hybrid(clock) => clock.observe(seen, now.unix_ms),
            Self::Caller(_) => Ok(()),
        }
    }

    /// Continues after `last` whatever physical time says.
    pub(crate) fn resume(&mut self, last: Timestamp) {
        match self {
            Self::Lamport(clock) => clock.observe(last),
            Self::Hybrid(clock) => clock.resume(last),
            Self::Caller(horizon) => *horizon = (*horizon).max(last),
        }
    }
}
