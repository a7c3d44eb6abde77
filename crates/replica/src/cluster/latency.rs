//! How long messages take, where they are to take any time.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::builder::ClusterError;
use super::cell::lock;
use crate::sync::Mutex;

/// The longest latency that can be asked for.
pub(super) const MAX_LATENCY: Duration = Duration::from_secs(3_600);

/// A range of latencies, of which each message draws one.
#[derive(Debug)]
pub(super) struct Latency {
    range: RangeInclusive<Duration>,
    rng: Mutex<ChaCha8Rng>,
}

impl Latency {
    pub(super) fn new(range: RangeInclusive<Duration>, seed: u64) -> Result<Self, ClusterError> {
        if range.is_empty() || *range.end() > MAX_LATENCY {
            let (shortest, longest) = range.into_inner();
            return Err(ClusterError::Latency { shortest, longest });
        }
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Ok(Self { range, rng })
    }

    pub(super) fn draw(&self) -> Duration {
        let (shortest, longest) = (self.range.start(), self.range.end());
        // An hour in nanoseconds fits many times.
        let nanos = shortest.as_nanos() as u64..=longest.as_nanos() as u64;
        Duration::from_nanos(lock(&self.rng).random_range(nanos))
    }
}
