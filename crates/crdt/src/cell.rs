//! What one key of a [`CausalMap`](crate::CausalMap) can hold.

mod lww;
mod multi_value;

pub use lww::{LwwCell, LwwEntry};
pub use multi_value::MvCell;

use crate::{DotStore, InvalidBytes, Timestamp};

/// A [`DotStore`] that is the whole content of one key.
pub trait Cell: DotStore {
    /// Whether a non-bottom cell proves by itself which other events of its key are obsolete, because
    /// its order on events is total. A listing of such a cell need not carry the sender's knowledge.
    const PROVES_ITSELF: bool;

    /// Whether a reader sees anything: false for bottom and for a tombstone.
    fn is_visible(&self) -> bool;

    /// Number of values that a reader sees side by side: more than one is a conflict.
    fn sibling_count(&self) -> usize {
        usize::from(self.is_visible())
    }

    /// The time of the tombstone, if the cell is nothing but one.
    fn tombstone(&self) -> Option<Timestamp>;

    /// Checks what decoding cannot see of itself.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn validate(&self) -> Result<(), InvalidBytes>;
}
