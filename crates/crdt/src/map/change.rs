//! What a join changed.

use smallvec::SmallVec;

use crate::Dot;

/// What became of a key, as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// Nothing was visible, and one value is.
    Added,
    /// Something was visible, and nothing is.
    Removed,
    /// Something was visible, and one value is; it may be an equal one, written again.
    Overwritten,
    /// More than one value is visible, whatever was before.
    Conflicting,
    /// The cell changed, but nothing was visible and nothing is: a tombstone came or went.
    Hidden,
}

impl Change {
    /// The change from one number of visible values to another.
    pub(crate) const fn between(before: usize, after: usize) -> Self {
        match (before, after) {
            (0, 0) => Self::Hidden,
            (0, 1) => Self::Added,
            (_, 0) => Self::Removed,
            (_, 1) => Self::Overwritten,
            (_, _) => Self::Conflicting,
        }
    }
}

/// What joining a listing changed: enough to bring an index up to date without comparing maps.
///
/// ```
/// use crdt::{Change, MapReplica, MvCell, ReplicaId};
///
/// let mut a: MapReplica<&str, MvCell<&str>> = MapReplica::new(ReplicaId(1));
/// let mut b: MapReplica<&str, MvCell<&str>> = MapReplica::new(ReplicaId(2));
/// let tea = a.write("drink", |cell, dot| cell.write(dot, "tea"));
/// let coffee = b.write("drink", |cell, dot| cell.write(dot, "coffee"));
/// let joined = a.join(&coffee.listing)?;
/// assert_eq!(joined.changed[..], [("drink", Change::Conflicting)]);
/// b.join(&tea.listing)?;
/// let water = b.write("drink", |cell, dot| cell.write(dot, "water"));
/// let joined = a.join(&water.listing)?;
/// assert_eq!(joined.changed[..], [("drink", Change::Overwritten)]);
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Joined<K> {
    /// Keys whose cells changed, each once.
    pub changed: SmallVec<[(K, Change); 1]>,
    /// Events that are now known of all keys and were not, with the key that each touched.
    pub based: SmallVec<[(Dot, K); 1]>,
    /// Whether more is known than before.
    pub knowledge_grew: bool,
}

#[cfg(feature = "serde")]
mod wire {
    use super::{Change, Joined};
    use crate::{Dot, InvalidBytes};
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de, K: Ord + Deserialize<'de>> Deserialize<'de> for Joined<K> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            #[serde(rename = "Joined", bound = "K: Deserialize<'de>")]
            struct Wire<K> {
                changed: Vec<(K, Change)>,
                based: Vec<(Dot, K)>,
                knowledge_grew: bool,
            }
            let wire = Wire::<K>::deserialize(deserializer)?;
            let keys: BTreeSet<&K> = wire.changed.iter().map(|(key, _)| key).collect();
            let dots: BTreeSet<Dot> = wire.based.iter().map(|(dot, _)| *dot).collect();
            if keys.len() < wire.changed.len() || dots.len() < wire.based.len() {
                return Err(D::Error::custom(InvalidBytes::Twice("what a join changed")));
            }
            if dots.iter().any(|dot| dot.counter == 0) {
                return Err(D::Error::custom(InvalidBytes::ZeroCounter));
            }
            if !dots.is_empty() && !wire.knowledge_grew {
                return Err(D::Error::custom(InvalidBytes::NoGrowth));
            }
            Ok(Self {
                changed: wire.changed.into(),
                based: wire.based.into(),
                knowledge_grew: wire.knowledge_grew,
            })
        }
    }
}

impl<K> Default for Joined<K> {
    fn default() -> Self {
        Self {
            changed: SmallVec::new(),
            based: SmallVec::new(),
            knowledge_grew: false,
        }
    }
}
