//! The synchronisation primitives, threads and clock of the in-process cluster, in one place.
//!
//! They are those of the standard library. Under `--cfg shuttle` they are those of the `shuttle` crate,
//! which runs the threads of a test one at a time in an order that it draws, and the clock stands still:
//! what only a timeout would bring about never happens, so a message that nobody delivers is a deadlock,
//! which `shuttle` reports with the order that leads to it. `tests/interleavings.rs` runs the cluster so.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "for drivers only: they hold the locks, the threads and the clock that the core is passed"
)]

use std::time::Duration;

#[cfg(not(shuttle))]
pub(crate) use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::{Builder, JoinHandle, yield_now},
};

#[cfg(shuttle)]
pub(crate) use shuttle::{
    hint::spin_loop,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard},
    thread::{Builder, JoinHandle, yield_now},
};

/// How often something short is tried again before a thread does without it: every try is a point at
/// which `shuttle` draws who goes on.
pub(crate) const fn tries(usual: usize) -> usize {
    if cfg!(shuttle) { 2 } else { usual }
}

/// A moment of the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(
    #[cfg(not(shuttle))] std::time::Instant,
    #[cfg(shuttle)] Duration,
);

impl Moment {
    #[cfg(not(shuttle))]
    pub(crate) fn now() -> Self {
        Self(std::time::Instant::now())
    }

    #[cfg(shuttle)]
    pub(crate) const fn now() -> Self {
        Self(Duration::ZERO)
    }

    /// The time since then.
    pub(crate) fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// The time from `earlier` to this moment; zero if that is later.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        #[cfg(not(shuttle))]
        return self.0.saturating_duration_since(earlier.0);
        #[cfg(shuttle)]
        return self.0.saturating_sub(earlier.0);
    }

    /// The moment some time later. `after` is at most hours.
    pub(crate) fn plus(self, after: Duration) -> Self {
        Self(self.0 + after)
    }
}

/// Milliseconds since 1970, as the system clock says.
pub(crate) fn unix_ms() -> u64 {
    if cfg!(shuttle) {
        return 1_720_000_000_000;
    }
    let unix = std::time::SystemTime::UNIX_EPOCH.elapsed();
    unix.unwrap_or_default().as_millis() as u64
}
