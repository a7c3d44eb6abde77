//! What one key of a [`CausalMap`](crate::CausalMap) can hold.

mod lww;
mod multi_value;

pub use lww::{LwwCell, LwwEntry};
pub use multi_value::MvCell;

use std::fmt::Debug;
use std::hash::Hash;

use crate::{Dot, InvalidBytes, Knows, Timestamp};

/// A set of live events with their payloads, joined under what both sides know.
///
/// An event that one side holds live and the other knows without holding it live is obsolete: that
/// is how a removal travels without a tombstone (invariant I2).
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.
pub trait DotStore: Clone + Debug + Default + Eq + Hash {
    /// Whether nothing is live.
    fn is_bottom(&self) -> bool;

    /// The live dots, ascending.
    fn dots(&self) -> impl Iterator<Item = Dot> + '_;

    /// Whether `dot` is live.
    fn is_live(&self, dot: Dot) -> bool {
        self.dots().any(|d| d == dot)
    }

    /// Joins `other`, which its sender held while knowing `theirs`, into `self`, which is held while
    /// knowing `mine`. True if the live events changed.
    ///
    /// A live event of one side stays if it is live on the other side too, or unknown there. One dot
    /// with two payloads cannot come from correct replicas; all replicas then keep the same one.
    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool;
}

/// A [`DotStore`] that is the whole content of one key.
pub trait Cell: DotStore {
    /// Whether a non-bottom cell proves by itself which other events of its key are obsolete, because
    /// its order on events is total. A listing of such a cell need not carry the sender's knowledge.
    const PROVES_ITSELF: bool;

    /// Whether a reader sees anything: false for bottom and for a tombstone.
    fn is_visible(&self) -> bool;

    /// The time of the tombstone, if the cell is nothing but one.
    fn tombstone(&self) -> Option<Timestamp>;

    /// Checks what decoding cannot see of itself.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn validate(&self) -> Result<(), InvalidBytes>;
}
