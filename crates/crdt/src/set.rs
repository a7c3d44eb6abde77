//! Sets.

mod add_wins;
mod lookup;
mod lww;
mod remove_wins;
mod two_phase;

pub use add_wins::AddWinsSet;
pub use lww::LwwSet;
pub use remove_wins::RemoveWinsSet;
pub use two_phase::TwoPhaseSet;

/// The grow-only set, under the name that the literature uses: it is the lattice of sets under union.
pub type GSet<T> = crate::SetUnion<T>;
