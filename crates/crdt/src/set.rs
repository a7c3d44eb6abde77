//! Sets.

mod add_wins;
mod remove_wins;

pub use add_wins::AddWinsSet;
pub use remove_wins::RemoveWinsSet;
