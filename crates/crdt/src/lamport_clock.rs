//! Lamport clocks.

use core::fmt;

use crate::{ClockError, Timestamp};

/// A counter that is advanced by every local event and by every message received, so that an event
/// that could have caused another has the smaller time.
///
/// Two replicas can give the same time to concurrent events; a last-writer-wins order breaks such
/// ties by value and dot.
///
/// **Invariants.** A timestamp that it gives is larger than all that it has given and observed.
///
/// **Cost.** One number, one comparison.
///
/// **Not for** times that people read, or writes whose authors hear little of each other: of two clocks the one
/// that has counted further wins, however long ago. [`HybridClock`](crate::HybridClock) follows physical time.
///
/// Source: Lamport, *Time, Clocks, and the Ordering of Events in a Distributed System*, 1978.
///
/// ```
/// use crdt::{LamportClock, Timestamp};
///
/// let mut clock = LamportClock::default();
/// assert_eq!(clock.tick(), Ok(Timestamp(1)));
/// clock.observe(Timestamp(7));
/// assert_eq!(clock.tick(), Ok(Timestamp(8)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LamportClock {
    last: Timestamp,
}

impl LamportClock {
    /// A clock whose next timestamp is larger than `last`.
    pub const fn starting_after(last: Timestamp) -> Self {
        Self { last }
    }

    /// The last timestamp given or observed; all later ones are larger.
    pub const fn last(&self) -> Timestamp {
        self.last
    }

    /// Gives the next timestamp.
    ///
    /// # Errors
    /// [`ClockError::Exhausted`] after `u64::MAX`.
    pub fn tick(&mut self) -> Result<Timestamp, ClockError> {
        self.last = Timestamp(self.last.0.checked_add(1).ok_or(ClockError::Exhausted)?);
        Ok(self.last)
    }

    /// Takes note of a timestamp seen in a message.
    pub fn observe(&mut self, seen: Timestamp) {
        self.last = self.last.max(seen);
    }
}

impl fmt::Display for LamportClock {
    /// `@9`: the last timestamp.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.last.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_an_error_and_changes_nothing() {
        let mut clock = LamportClock::starting_after(Timestamp(u64::MAX));
        assert_eq!(clock.tick(), Err(ClockError::Exhausted));
        assert_eq!(clock.last(), Timestamp(u64::MAX));
    }

    #[test]
    fn a_clock_reads_as_its_last_time() {
        assert_eq!(LamportClock::starting_after(Timestamp(9)).to_string(), "@9");
    }
}
