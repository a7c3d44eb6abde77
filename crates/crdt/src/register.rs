//! Registers.

mod siblings;

pub use siblings::{PutError, Siblings, TooManySiblings};
