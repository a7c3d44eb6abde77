//! Hybrid logical clocks.

use core::fmt;

use crate::{ClockError, Timestamp};

/// Milliseconds from 1970-01-01 to 2020-01-01 UTC, where the timestamps of a hybrid clock begin.
pub const HYBRID_EPOCH_UNIX_MS: u64 = 1_577_836_800_000;

/// Bits of a timestamp that hold milliseconds: enough until the year 2159.
const MS_BITS: u32 = 42;
/// Bits that hold the logical counter.
const LOGICAL_BITS: u32 = 12;
/// Bits that hold the node slot.
const SLOT_BITS: u32 = 10;

/// A clock that follows physical time where it can and counts where it must.
///
/// Its timestamps are unique across nodes and strictly monotonic at each node. From the top: 42 bits
/// of milliseconds since 2020-01-01 UTC, 12 bits of logical counter, 10 bits of node slot. The
/// counter carries into the milliseconds, so that no rate of events is an error. A physical clock
/// that steps back is ignored until it has caught up.
///
/// Physical time is an argument, in milliseconds since 1970 (times before 2020 count as 2020).
///
/// **Invariants.** A timestamp that it gives is larger than all that it has given and observed. What it has
/// observed is at most the drift bound ahead of the physical time at which that was checked.
///
/// **Cost.** Three numbers, a few shifts and comparisons.
///
/// **Not for** more than 1,024 nodes, nor for nodes that have nobody to give them different slots: use dots to tell
/// their writes apart, and a [`LamportClock`](crate::LamportClock) to order them.
///
/// Source: Kulkarni et al., *Logical Physical Clocks*, 2014.
///
/// ```
/// use crdt::{HybridClock, HYBRID_EPOCH_UNIX_MS};
///
/// let now = HYBRID_EPOCH_UNIX_MS + 5_000;
/// let mut clock = HybridClock::new(7, 60_000)?;
/// let first = clock.tick(now)?;
/// let second = clock.tick(now - 3_000)?;
/// assert!(second > first, "a step back does no harm");
/// assert_eq!(HybridClock::unix_ms(second), now);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Wire"))]
pub struct HybridClock {
    /// The last timestamp given or observed, without its slot.
    last: u64,
    slot: u16,
    drift_bound_ms: u64,
}

/// A node slot that does not fit into a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node slot {slot} is over the largest, {max}", max = HybridClock::MAX_SLOT)]
pub struct SlotTooLarge {
    /// The slot asked for.
    pub slot: u16,
}

impl HybridClock {
    /// The largest node slot: at most 1024 nodes can mint hybrid timestamps.
    pub const MAX_SLOT: u16 = (1 << SLOT_BITS) - 1;

    /// A clock for the node with this slot, which no other node of the store may have.
    ///
    /// `drift_bound_ms` is how far ahead of physical time a timestamp may lie, in milliseconds.
    ///
    /// # Errors
    /// If `slot` is over [`MAX_SLOT`](Self::MAX_SLOT).
    pub const fn new(slot: u16, drift_bound_ms: u64) -> Result<Self, SlotTooLarge> {
        if slot > Self::MAX_SLOT {
            return Err(SlotTooLarge { slot });
        }
        Ok(Self {
            last: 0,
            slot,
            drift_bound_ms,
        })
    }

    /// The last timestamp given or observed; all later ones are larger.
    pub const fn last(&self) -> Timestamp {
        Timestamp(self.last << SLOT_BITS | ((1 << SLOT_BITS) - 1))
    }

    /// Gives the next timestamp.
    ///
    /// # Errors
    /// [`ClockError::Exhausted`] when the milliseconds no longer fit, in the year 2159.
    pub fn tick(&mut self, now_unix_ms: u64) -> Result<Timestamp, ClockError> {
        let physical = Self::physical(now_unix_ms)?;
        let next = self
            .last
            .checked_add(1)
            .ok_or(ClockError::Exhausted)?
            .max(physical);
        if next >> (MS_BITS + LOGICAL_BITS) != 0 {
            return Err(ClockError::Exhausted);
        }
        self.last = next;
        Ok(Timestamp(next << SLOT_BITS | u64::from(self.slot)))
    }

    /// Takes note of a timestamp seen in a message.
    ///
    /// # Errors
    /// [`ClockError::Ahead`] if it lies further ahead of `now_unix_ms` than the drift bound; the
    /// clock is unchanged then, so one bad clock cannot carry all others away.
    pub fn observe(&mut self, seen: Timestamp, now_unix_ms: u64) -> Result<(), ClockError> {
        self.check(seen, now_unix_ms)?;
        self.last = self.last.max(seen.0 >> SLOT_BITS);
        Ok(())
    }

    /// Whether a timestamp is within the drift bound.
    ///
    /// # Errors
    /// [`ClockError::Ahead`] if it lies further ahead of `now_unix_ms`.
    pub fn check(&self, seen: Timestamp, now_unix_ms: u64) -> Result<(), ClockError> {
        let ahead_ms = Self::unix_ms(seen).saturating_sub(now_unix_ms.max(HYBRID_EPOCH_UNIX_MS));
        if ahead_ms > self.drift_bound_ms {
            return Err(ClockError::Ahead {
                ahead_ms,
                bound_ms: self.drift_bound_ms,
            });
        }
        Ok(())
    }

    /// Sets the clock to continue after `last`, whatever physical time says: for a node that starts
    /// again with the state it had.
    pub fn resume(&mut self, last: Timestamp) {
        self.last = self.last.max(last.0 >> SLOT_BITS);
    }

    /// The milliseconds since 1970 in a hybrid timestamp.
    pub const fn unix_ms(timestamp: Timestamp) -> u64 {
        HYBRID_EPOCH_UNIX_MS + (timestamp.0 >> (LOGICAL_BITS + SLOT_BITS))
    }

    /// The node slot in a hybrid timestamp.
    pub const fn slot_of(timestamp: Timestamp) -> u16 {
        (timestamp.0 & Self::MAX_SLOT as u64) as u16
    }

    /// Where the clock stands.
    pub(crate) const fn position(&self) -> u64 {
        self.last
    }

    /// The same clock at another position.
    pub(crate) const fn at(self, position: u64) -> Self {
        Self {
            last: position,
            ..self
        }
    }

    fn physical(now_unix_ms: u64) -> Result<u64, ClockError> {
        let ms = now_unix_ms.saturating_sub(HYBRID_EPOCH_UNIX_MS);
        if ms >> MS_BITS != 0 {
            return Err(ClockError::Exhausted);
        }
        Ok(ms << LOGICAL_BITS)
    }
}

impl fmt::Display for HybridClock {
    /// `@4194304007 of slot 7`: the last timestamp, and the node.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of slot {}", self.last(), self.slot)
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Wire {
    last: u64,
    slot: u16,
    drift_bound_ms: u64,
}

#[cfg(feature = "serde")]
impl TryFrom<Wire> for HybridClock {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        if wire.last >> (MS_BITS + LOGICAL_BITS) != 0 {
            return Err("the clock's last time is too large");
        }
        let mut clock = Self::new(wire.slot, wire.drift_bound_ms)
            .map_err(|_| "the clock's node slot is too large")?;
        clock.last = wire.last;
        Ok(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = HYBRID_EPOCH_UNIX_MS + 1_000_000;

    fn clock(slot: u16) -> HybridClock {
        HybridClock::new(slot, 1_000).expect("a valid slot")
    }

    #[test]
    fn a_burst_carries_into_the_milliseconds() {
        let mut c = clock(3);
        let mut last = c.tick(NOW).expect("in range");
        for _ in 0..10_000 {
            let next = c.tick(NOW).expect("in range");
            assert!(next > last);
            assert_eq!(HybridClock::slot_of(next), 3);
            last = next;
        }
        assert_eq!(HybridClock::unix_ms(last), NOW + 2);
    }

    #[test]
    fn a_timestamp_too_far_ahead_changes_nothing() {
        let (mut near, mut far) = (clock(1), clock(2));
        let before = near.last();
        let ahead = far.tick(NOW + 1_001).expect("in range");
        let refused = near.observe(ahead, NOW);
        assert_eq!(
            refused,
            Err(ClockError::Ahead {
                ahead_ms: 1_001,
                bound_ms: 1_000
            })
        );
        assert_eq!(near.last(), before);
        let allowed = far.last();
        assert_eq!(near.observe(allowed, NOW + 1), Ok(()));
        assert!(near.tick(NOW).expect("in range") > ahead);
    }

    #[test]
    fn slots_make_equal_times_unique() {
        let (a, b) = (clock(1).tick(NOW), clock(2).tick(NOW));
        assert_ne!(a, b);
    }

    #[test]
    fn a_clock_reads_as_its_last_time_and_its_slot() {
        let mut clock = clock(7);
        clock.resume(Timestamp(1 << SLOT_BITS));
        assert_eq!(clock.to_string(), "@2047 of slot 7");
        let shared = crate::SharedHybridClock::new(clock);
        assert_eq!(shared.to_string(), clock.to_string());
    }

    #[test]
    fn limits_are_errors() {
        assert_eq!(HybridClock::new(1024, 0), Err(SlotTooLarge { slot: 1024 }));
        assert_eq!(clock(0).tick(u64::MAX), Err(ClockError::Exhausted));
        let mut end = clock(0);
        end.resume(Timestamp(u64::MAX));
        assert_eq!(end.tick(NOW), Err(ClockError::Exhausted));
        assert!(clock(0).tick(0).is_ok(), "times before 2020 count as 2020");
    }

    #[test]
    fn a_resumed_clock_goes_on_above_its_last_time() {
        let mut before = clock(1);
        let last = before.tick(NOW + 500_000).expect("in range");
        let mut after = clock(1);
        after.resume(last);
        assert!(after.tick(NOW).expect("in range") > last);
    }
}
