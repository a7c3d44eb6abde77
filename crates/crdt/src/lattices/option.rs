//! A lattice with one more state below it.

use crate::{Difference, Lattice};

/// `None` lies below every `Some`, `Some` of bottom included.
///
/// ```
/// use crdt::{Lattice, Max};
///
/// let mut unset: Option<Max<u8>> = None;
/// assert!(unset.join(&Some(Max::default())), "something, if only bottom, is more than nothing");
/// assert!(unset.join(&Some(Max::of(2))));
/// assert!(!unset.join(&None));
/// ```
impl<L: Lattice> Lattice for Option<L> {
    fn join(&mut self, other: &Self) -> bool {
        match (self, other) {
            (_, None) => false,
            (Some(mine), Some(theirs)) => mine.join(theirs),
            (mine @ None, Some(theirs)) => {
                *mine = Some(theirs.clone());
                true
            }
        }
    }
}

impl<L: Difference> Difference for Option<L> {
    fn difference(&self, other: &Self) -> Self {
        match (self, other) {
            (None, _) => None,
            (Some(mine), None) => Some(mine.clone()),
            (Some(mine), Some(theirs)) => {
                let lacking = mine.difference(theirs);
                (lacking != L::default()).then_some(lacking)
            }
        }
    }
}
