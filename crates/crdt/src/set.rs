//! Sets.

mod add_wins;

pub use add_wins::AddWinsSet;
