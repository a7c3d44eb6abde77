//! Generators of scripts and of clocks, for three test frameworks, each behind its feature.
//!
//! States of the other types are not generated: filling their fields gives one dot to two events, and
//! laws then fail for no reason. Generate a [`Script`](crate::laws::Script) and reach them by operations.

#[cfg(feature = "arbitrary")]
mod arbitrary;
#[cfg(feature = "proptest")]
mod proptest;
#[cfg(feature = "quickcheck")]
mod quickcheck;

/// Identities are few, so that they meet.
const REPLICAS: u64 = 5;
/// Counters are small, so that ranges touch and overlap.
const COUNTERS: u64 = 24;
/// Dots or entries in one context or vector.
const ENTRIES: usize = 24;
/// Steps in one script, where the framework does not say how many.
#[cfg(any(feature = "arbitrary", feature = "proptest"))]
const STEPS: usize = 40;
/// Scripts are played on this many replicas.
const SCRIPT_REPLICAS: core::ops::RangeInclusive<u8> = 3..=5;
