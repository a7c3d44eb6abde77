//! Registers: one value, or the concurrent ones.

mod lww;
mod multi_value;

pub use lww::LwwRegister;
pub use multi_value::{MvRegister, Version};
