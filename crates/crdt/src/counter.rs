//! Counters.

mod grow_only;
mod positive_negative;

pub use grow_only::{CounterOverflow, GCounter};
pub use positive_negative::PnCounter;
