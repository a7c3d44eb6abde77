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
        self.observe(above, now)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    const MINUTE_MS: u64 = 60_000;
    /// Some moment of 2024.
    const START_MS: u64 = 1_720_000_000_000;

    fn clock(kind: ClockKind) -> Clock {
        let mut config = Config::new(NodeId(2), 3);
        config.clock = kind;
        Clock::new(&config)
    }

    fn hybrid() -> Clock {
        let drift_bound_ms = MINUTE_MS;
        clock(ClockKind::Hybrid { drift_bound_ms })
    }

    const fn at(unix_ms: u64) -> Now {
        let elapsed_ms = 0;
        Now {
            elapsed_ms,
            unix_ms,
        }
    }

    /// The timestamp that another node gives at this moment.
    fn of_another(unix_ms: u64) -> Timestamp {
        let mut other = HybridClock::new(1, MINUTE_MS).expect("a slot");
        other.tick(unix_ms).expect("this side of 2159")
    }

    #[test]
    fn lamport_time_counts_and_goes_above_all_that_was_seen() {
        let mut clock = clock(ClockKind::Lamport);
        assert_eq!(clock.last(), Timestamp(0));
        assert_eq!(
            clock.tick_above(Timestamp(0), at(START_MS)),
            Ok(Timestamp(1))
        );
        assert_eq!(
            clock.tick_above(Timestamp(7), at(START_MS)),
            Ok(Timestamp(8))
        );
        assert_eq!(
            clock.tick_above(Timestamp(3), at(START_MS)),
            Ok(Timestamp(9))
        );
        assert_eq!(clock.observe(Timestamp(20), at(START_MS)), Ok(()));
        assert_eq!(clock.last(), Timestamp(20));
        clock.resume(Timestamp(30));
        clock.resume(Timestamp(10));
        assert_eq!(clock.last(), Timestamp(30));
        clock.resume(Timestamp(u64::MAX));
        let exhausted = clock.tick_above(Timestamp(0), at(START_MS));
        assert_eq!(exhausted, Err(ClockError::Exhausted));
    }

    #[test]
    fn hybrid_time_follows_physical_time_and_names_its_node() {
        let mut clock = hybrid();
        let first = clock
            .tick_above(Timestamp(0), at(START_MS))
            .expect("a time");
        assert!(
            first > of_another(START_MS),
            "the node comes last, 2 after 1"
        );
        assert!(first < of_another(START_MS + 1));
        // Physical time stands still, or steps back.
        let second = clock
            .tick_above(Timestamp(0), at(START_MS))
            .expect("a time");
        let third = clock
            .tick_above(Timestamp(0), at(START_MS - MINUTE_MS))
            .expect("a time");
        assert!(first < second && second < third);
        assert!(clock.last() >= third);
        let later = clock
            .tick_above(Timestamp(0), at(START_MS + 1))
            .expect("a time");
        assert!(later > of_another(START_MS + 1));
    }

    #[test]
    fn hybrid_time_goes_above_what_was_seen_within_the_drift_bound_only() {
        let mut clock = hybrid();
        let near = of_another(START_MS + MINUTE_MS);
        let above = clock
            .tick_above(near, at(START_MS))
            .expect("within the bound");
        assert!(above > near);
        assert_eq!(clock.observe(near, at(START_MS)), Ok(()));
        let (far, before) = (of_another(START_MS + MINUTE_MS + 1), clock.clone());
        let (ahead_ms, bound_ms) = (MINUTE_MS + 1, MINUTE_MS);
        let refused = ClockError::Ahead { ahead_ms, bound_ms };
        assert_eq!(clock.observe(far, at(START_MS)), Err(refused));
        assert_eq!(clock.tick_above(far, at(START_MS)), Err(refused));
        assert_eq!(clock, before, "nothing has changed");
        // What was stored is resumed whatever physical time says.
        clock.resume(far);
        let above = clock
            .tick_above(Timestamp(0), at(START_MS))
            .expect("a time");
        assert!(above > far);
    }

    #[test]
    fn the_callers_clock_is_a_horizon_that_only_rises_when_it_is_raised() {
        let mut clock = clock(ClockKind::Caller);
        assert_eq!(clock.last(), Timestamp(0));
        assert_eq!(clock.observe(Timestamp(9), at(START_MS)), Ok(()));
        assert_eq!(clock.last(), Timestamp(0), "what is seen does not raise it");
        clock.resume(Timestamp(5));
        clock.resume(Timestamp(3));
        assert_eq!(clock.last(), Timestamp(5));
        let refused = clock.tick_above(Timestamp(9), at(START_MS));
        assert_eq!(refused, Err(ClockError::Exhausted), "it gives no times");
        assert_eq!(clock.last(), Timestamp(5));
    }
}
