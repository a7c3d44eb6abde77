//! A hybrid clock for several threads.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::{ClockError, HybridClock, Timestamp};

/// A [`HybridClock`] that threads share without a lock.
///
/// All timestamps given are different, and each is larger than every one that was given or observed
/// before the call began.
///
/// **Cost.** One compare-and-swap, repeated while other threads win.
///
/// **Not for** one thread: [`HybridClock`] does the same without an atomic.
///
/// Source: Kulkarni et al., *Logical Physical Clocks*, 2014.
///
/// ```
/// use crdt::{HYBRID_EPOCH_UNIX_MS, HybridClock, SharedHybridClock};
///
/// let now = HYBRID_EPOCH_UNIX_MS + 5_000;
/// let clock = SharedHybridClock::new(HybridClock::new(7, 60_000)?);
/// let given = std::thread::scope(|threads| {
///     let tick = || clock.tick(now);
///     [threads.spawn(tick), threads.spawn(tick)].map(|thread| thread.join().expect("no panic"))
/// });
/// assert_ne!(given[0]?, given[1]?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SharedHybridClock {
    /// What the clock's own `last` is; that of `settings` is not looked at.
    last: AtomicU64,
    settings: HybridClock,
}

impl SharedHybridClock {
    /// Shares a clock; it goes on where the clock stood.
    pub const fn new(clock: HybridClock) -> Self {
        Self {
            last: AtomicU64::new(clock.position()),
            settings: clock,
        }
    }

    /// The last timestamp given or observed; all later ones are larger.
    pub fn last(&self) -> Timestamp {
        self.snapshot().last()
    }

    /// The clock as it stands now.
    pub fn snapshot(&self) -> HybridClock {
        self.settings.at(self.last.load(Ordering::Acquire))
    }

    /// Gives the next timestamp.
    ///
    /// # Errors
    /// As [`HybridClock::tick`].
    pub fn tick(&self, now_unix_ms: u64) -> Result<Timestamp, ClockError> {
        self.update(|clock| clock.tick(now_unix_ms))
    }

    /// Takes note of a timestamp seen in a message.
    ///
    /// # Errors
    /// As [`HybridClock::observe`].
    pub fn observe(&self, seen: Timestamp, now_unix_ms: u64) -> Result<(), ClockError> {
        self.update(|clock| clock.observe(seen, now_unix_ms))
    }

    fn update<T>(
        &self,
        change: impl Fn(&mut HybridClock) -> Result<T, ClockError>,
    ) -> Result<T, ClockError> {
        let mut last = self.last.load(Ordering::Acquire);
        loop {
            let mut clock = self.settings.at(last);
            let result = change(&mut clock)?;
            let next = clock.position();
            let swapped =
                self.last
                    .compare_exchange_weak(last, next, Ordering::AcqRel, Ordering::Acquire);
            match swapped {
                Ok(_) => return Ok(result),
                Err(now) => last = now,
            }
        }
    }
}

impl fmt::Display for SharedHybridClock {
    /// As the clock that is shared.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.snapshot().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HYBRID_EPOCH_UNIX_MS;

    const NOW: u64 = HYBRID_EPOCH_UNIX_MS + 1_000_000;

    fn clock() -> SharedHybridClock {
        SharedHybridClock::new(HybridClock::new(3, 1_000).expect("a valid slot"))
    }

    #[test]
    fn timestamps_of_all_threads_are_different_and_each_thread_sees_them_grow() {
        let clock = clock();
        let ticks = || (0..5_000).map(|_| clock.tick(NOW).expect("in range"));
        let lists = std::thread::scope(|threads| {
            let threads = [(); 4].map(|()| threads.spawn(|| ticks().collect::<Vec<_>>()));
            threads.map(|thread| thread.join().expect("no panic"))
        });
        assert!(lists.iter().all(|list| list.is_sorted_by(|a, b| a < b)));
        let mut all = lists.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 20_000);
        assert_eq!(clock.last().0 >> 10, all[19_999].0 >> 10);
    }

    #[test]
    fn a_timestamp_too_far_ahead_changes_nothing() {
        let clock = clock();
        let first = clock.tick(NOW).expect("in range");
        let ahead = clock.snapshot().at(u64::MAX >> 10).last();
        assert!(matches!(
            clock.observe(ahead, NOW),
            Err(ClockError::Ahead { .. })
        ));
        assert!(clock.tick(NOW).expect("in range") > first);
        assert!(clock.observe(first, NOW).is_ok());
    }
}
