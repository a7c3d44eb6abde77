//! Counters.

mod resettable;

pub use resettable::ResettableCounter;
