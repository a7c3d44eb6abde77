//! Sets.

mod add_wins;
mod lookup;

pub use add_wins::AddWinsSet;
mod lww;
mod two_phase;

pub use lww::LwwSet;
pub use two_phase::TwoPhaseSet;

/// The grow-only set, under the name that the literature uses: it is the lattice of sets under union.
pub type GSet<T> = crate::SetUnion<T>;
