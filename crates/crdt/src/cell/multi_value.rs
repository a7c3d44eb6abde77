//! Multi-value: concurrent writes are kept side by side.

use smallvec::SmallVec;
use std::fmt::Debug;
use std::hash::Hash;

use crate::cell::{Cell, DotStore};
use crate::{Dot, InvalidBytes, Knows, Timestamp};

/// A key that keeps every concurrent write as a sibling; a write replaces the siblings it has seen.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two writes | both values, side by side |
/// | write and delete | the write stays |
///
/// **Order and join.** That of the [`DotStore`].
///
/// **Invariants.** Sorted by dot, no dot twice.
///
/// **Cost.** A join is linear in the siblings; one live dot for each; nothing for what was deleted.
///
/// **Not for** readers that cannot handle more than one value: use [`LwwCell`](crate::LwwCell).
///
/// Source: DeCandia et al., *Dynamo*, 2007; Almeida et al., *Scalable and Accurate Causality Tracking
/// for Eventually Consistent Stores*, 2014.
///
/// ```
/// use crdt::{CausalContext, Dot, DotStore, MvCell, ReplicaId};
///
/// let (a, b) = (Dot::new(ReplicaId(1), 1), Dot::new(ReplicaId(2), 1));
/// let (mut left, mut right) = (MvCell::default(), MvCell::default());
/// left.write(a, "tea");
/// right.write(b, "coffee");
/// let (seen_a, seen_b): (CausalContext, CausalContext) =
///     ([a].into_iter().collect(), [b].into_iter().collect());
/// left.join(&seen_a, &right, &seen_b);
/// assert_eq!(left.values().collect::<Vec<_>>(), [&"tea", &"coffee"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct MvCell<V> {
    siblings: SmallVec<[(Dot, V); 1]>,
}

impl<V> MvCell<V> {
    /// The siblings with their dots, ascending by dot.
    pub fn siblings(&self) -> impl Iterator<Item = (Dot, &V)> + '_ {
        self.siblings.iter().map(|(dot, value)| (*dot, value))
    }

    /// The values of the siblings, ascending by dot.
    pub fn values(&self) -> impl Iterator<Item = &V> + '_ {
        self.siblings.iter().map(|(_, value)| value)
    }

    /// Replaces all siblings by a new write.
    pub fn write(&mut self, dot: Dot, value: V) {
        self.siblings.clear();
        self.siblings.push((dot, value));
    }

    /// Removes all siblings.
    pub fn clear(&mut self) {
        self.siblings.clear();
    }
}

impl<V> Default for MvCell<V> {
    fn default() -> Self {
        Self {
            siblings: SmallVec::new(),
        }
    }
}

impl<V: Clone + Ord + Debug + Hash> DotStore for MvCell<V> {
    fn is_bottom(&self) -> bool {
        self.siblings.is_empty()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.siblings.iter().map(|s| s.0)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let mut out: SmallVec<[(Dot, V); 1]> = SmallVec::new();
        let (mut i, mut j) = (0, 0);
        loop {
            match (self.siblings.get(i), other.siblings.get(j)) {
                (None, None) => break,
                (Some(a), Some(b)) if a.0 == b.0 => {
                    out.push((a.0, (&a.1).min(&b.1).clone()));
                    i += 1;
                    j += 1;
                }
                (Some(a), b) if b.is_none_or(|b| a.0 < b.0) => {
                    if !theirs.knows(a.0) {
                        out.push(a.clone());
                    }
                    i += 1;
                }
                (_, Some(b)) => {
                    if !mine.knows(b.0) {
                        out.push(b.clone());
                    }
                    j += 1;
                }
                (Some(_), None) => unreachable!("the third arm takes a sibling without a partner"),
            }
        }
        let changed = self.siblings != out;
        self.siblings = out;
        changed
    }
}

impl<V: Clone + Ord + Debug + Hash> Cell for MvCell<V> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.siblings.is_empty()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        if self.siblings.iter().any(|s| s.0.counter == 0) {
            return Err(InvalidBytes::ZeroCounter);
        }
        if self.siblings.windows(2).any(|w| w[0].0 >= w[1].0) {
            return Err(InvalidBytes::Unsorted("siblings"));
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::MvCell;
    use crate::{Cell, Dot};
    use serde::{Deserialize, Deserializer};
    use std::fmt::Debug;
    use std::hash::Hash;

    impl<'de, V> Deserialize<'de> for MvCell<V>
    where
        V: Clone + Ord + Debug + Hash + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            // Not into a `SmallVec`, which reserves whatever length the input announces.
            let siblings: Vec<(Dot, V)> = Deserialize::deserialize(deserializer)?;
            let cell = Self {
                siblings: siblings.into_iter().collect(),
            };
            cell.validate().map_err(serde::de::Error::custom)?;
            Ok(cell)
        }
    }
}
