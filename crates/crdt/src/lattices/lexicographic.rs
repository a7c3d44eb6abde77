//! A state that starts anew whenever its version rises.

use core::cmp::Ordering;
use core::fmt;

use crate::{Difference, Lattice};

/// A version, and a state that counts for that version only.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two in the same version | what the second part makes of them |
/// | two in different versions | the one in the higher version; the other is dropped |
///
/// **Order and join.** The higher first part wins with its second part; at equal first parts the
/// second parts are joined. The first part must be a chain (totally ordered, hence `A: Ord`): where
/// two first parts could be concurrent this would not be a lattice. "Nothing yet" is bottom.
///
/// **Invariants.** None: any version with any state is a state.
///
/// **Cost.** One comparison of versions, then at most a join of the second part.
///
/// **Not for** a first part that is only partially ordered, such as a [`VersionVector`]: use
/// [`Pair`] or [`MvRegister`].
///
/// Source: Baquero, Almeida, Cunha, Ferreira, *Composition in State-based Replicated Data Types*,
/// 2017, section 4 (lexicographic products).
///
/// [`VersionVector`]: crate::VersionVector
/// [`Pair`]: crate::Pair
/// [`MvRegister`]: crate::MvRegister
///
/// ```
/// use crdt::{Lattice, LexicographicPair, Max};
///
/// let mut left = LexicographicPair::of(1, Max::of(50));
/// let mut right = left.clone();
/// let raised = left.update(|high_score| high_score.raise(70));
/// let restarted = right.restart(2, Max::of(10));
/// left.join(&restarted);
/// right.join(&raised);
/// assert_eq!(left, right);
/// assert_eq!(left.to_string(), "(2: max(10))");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "A: serde::Serialize, B: serde::Serialize",
        deserialize = "A: serde::Deserialize<'de>, B: serde::Deserialize<'de>"
    ))
)]
pub struct LexicographicPair<A, B> {
    #[cfg_attr(feature = "serde", serde(with = "crate::wire::option"))]
    parts: Option<(A, B)>,
}

impl<A: Ord + Clone + fmt::Debug, B: Lattice> LexicographicPair<A, B> {
    /// The version `first` with the state `second`.
    pub const fn of(first: A, second: B) -> Self {
        Self {
            parts: Some((first, second)),
        }
    }

    /// The version; `None` at bottom.
    pub fn first(&self) -> Option<&A> {
        self.parts.as_ref().map(|parts| &parts.0)
    }

    /// The state in that version; `None` at bottom.
    pub fn second(&self) -> Option<&B> {
        self.parts.as_ref().map(|parts| &parts.1)
    }

    /// Moves to the version `first` with the state `second`. Below the version that is held nothing
    /// changes and the delta is bottom; at the same version `second` is joined.
    #[must_use = "the delta is what other replicas join"]
    pub fn restart(&mut self, first: A, second: B) -> Self {
        let delta = Self::of(first, second);
        match self.join(&delta) {
            true => delta,
            false => Self::default(),
        }
    }

    /// Applies a delta mutator to the second part, in the version that is held. At bottom there is
    /// nothing to apply it to, and the delta is bottom.
    #[must_use = "the delta is what other replicas join"]
    pub fn update(&mut self, mutate: impl FnOnce(&mut B) -> B) -> Self {
        let Some((first, second)) = &mut self.parts else {
            return Self::default();
        };
        let delta = mutate(second);
        match delta == B::default() {
            true => Self::default(),
            false => Self::of(first.clone(), delta),
        }
    }
}

impl<A, B> Default for LexicographicPair<A, B> {
    fn default() -> Self {
        Self { parts: None }
    }
}

impl<A: Ord + Clone + fmt::Debug, B: Lattice> Lattice for LexicographicPair<A, B> {
    fn join(&mut self, other: &Self) -> bool {
        if let (Some(mine), Some(theirs)) = (&mut self.parts, &other.parts)
            && mine.0 == theirs.0
        {
            return mine.1.join(&theirs.1);
        }
        let grows = self.first() < other.first();
        if grows {
            self.parts.clone_from(&other.parts);
        }
        grows
    }
}

impl<A: Ord + Clone + fmt::Debug, B: Difference> Difference for LexicographicPair<A, B> {
    fn difference(&self, other: &Self) -> Self {
        let (Some(mine), Some(theirs)) = (&self.parts, &other.parts) else {
            return self.clone();
        };
        match mine.0.cmp(&theirs.0) {
            Ordering::Less => Self::default(),
            Ordering::Greater => self.clone(),
            Ordering::Equal if mine.1 <= theirs.1 => Self::default(),
            Ordering::Equal => Self::of(mine.0.clone(), mine.1.difference(&theirs.1)),
        }
    }
}

impl<A: fmt::Display, B: fmt::Display> fmt::Display for LexicographicPair<A, B> {
    /// `(version: state)`; `()` is bottom.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.parts {
            Some((first, second)) => write!(f, "({first}: {second})"),
            None => f.write_str("()"),
        }
    }
}
