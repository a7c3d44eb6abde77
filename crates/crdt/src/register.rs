//! Registers: one value, or the concurrent ones.

mod lww;
mod multi_value;
mod siblings;

pub use lww::LwwRegister;
pub use multi_value::{MvRegister, Version};
pub use siblings::{PutError, Siblings, TooManySiblings};
