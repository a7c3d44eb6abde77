//! Counters.

mod grow_only;
mod positive_negative;
mod resettable;

pub use grow_only::{CounterOverflow, GCounter};
pub use positive_negative::PnCounter;
pub use resettable::ResettableCounter;
