//! Sets.

mod add_wins;
mod lookup;

pub use add_wins::AddWinsSet;
