//! How long to wait before a peer is dialled again.

use std::time::Duration;

/// Waits that double up to a most, the upper half of each random, so that peers that lost each other in one
/// moment do not all come back in one moment.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self {
            min,
            max,
            next: min,
        }
    }

    /// The next wait, at least `min`.
    pub(super) fn wait(&mut self) -> Duration {
        let longest = self.next;
        self.next = longest.saturating_mul(2).min(self.max);
        let half = (longest / 2).max(self.min);
        half + longest.saturating_sub(half).mul_f64(unit_random())
    }

    /// Starts over, after a connection that was good.
    pub(super) const fn reset(&mut self) {
        self.next = self.min;
    }
}

/// A random number from 0 to 1. Without randomness waits are just not spread.
fn unit_random() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_most_and_start_over() {
        let (min, max) = (Duration::from_millis(10), Duration::from_millis(100));
        let mut backoff = Backoff::new(min, max);
        let waits: Vec<Duration> = (0..50).map(|_| backoff.wait()).collect();
        assert_eq!(waits[0], min);
        assert!(waits.iter().all(|wait| (min..=max).contains(wait)));
        assert!(waits[10..].iter().all(|wait| *wait >= max / 2));
        let distinct: std::collections::BTreeSet<_> = waits[10..].iter().collect();
        assert!(distinct.len() > 1, "{waits:?}");
        backoff.reset();
        assert_eq!(backoff.wait(), min);
    }

    #[test]
    fn a_most_below_the_least_is_the_least() {
        let mut backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(1));
        assert_eq!(backoff.wait(), Duration::from_secs(2));
        assert_eq!(backoff.wait(), Duration::from_secs(2));
    }
}
