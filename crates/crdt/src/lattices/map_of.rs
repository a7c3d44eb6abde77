//! A lattice for each key.

use alloc::collections::BTreeMap;
use alloc::format;
use core::borrow::Borrow;
use core::cmp::Ordering;
use core::fmt;

use crate::laws::product_order;
use crate::{Difference, Lattice};

/// A map whose values are lattices; a key that is not there stands for bottom.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | updates of two keys | both |
/// | two updates of one key | what the values make of them |
///
/// **Order and join.** For each key that of its values.
///
/// **Invariants.** No entry at bottom is kept, so equal maps are equal values with equal bytes.
///
/// **Cost.** A join takes O(log n) for each entry of the other side, besides the joins of values; no
/// metadata of its own.
///
/// **Not for** maps from which keys are removed: use [`LwwMap`](crate::LwwMap) or
/// [`CausalMap`](crate::CausalMap).
///
/// Source: Baquero, Almeida, Cunha, Ferreira, *Composition in State-based Replicated Data Types*,
/// 2017, section 4 (functions to a lattice).
///
/// ```
/// use crdt::{Lattice, MapOf, Max};
///
/// let (mut left, mut right) = (MapOf::default(), MapOf::default());
/// let one = left.update("height", |max: &mut Max<u32>| max.raise(170));
/// let two = right.update("height", |max: &mut Max<u32>| max.raise(180));
/// left.join(&two);
/// right.join(&one);
/// assert_eq!(left, right);
/// assert_eq!(left.to_string(), "{height: max(180)}");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MapOf<K, L> {
    entries: BTreeMap<K, L>,
}

impl<K: Ord, L> MapOf<K, L> {
    /// The value of `key`; `None` if it is at bottom. O(log n).
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&L>
    where
        K: Borrow<Q>,
    {
        self.entries.get(key)
    }

    /// The entries that are not at bottom, in key order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &L)> + ExactSizeIterator {
        self.entries.iter()
    }

    /// Number of entries that are not at bottom.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether every key is at bottom.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<K: Ord + Clone, L: Lattice> MapOf<K, L> {
    /// Applies a delta mutator to the value of `key`; O(log n).
    #[must_use = "the delta is what other replicas join"]
    pub fn update(&mut self, key: K, mutate: impl FnOnce(&mut L) -> L) -> Self {
        let delta = match self.entries.get_mut(&key) {
            Some(value) => mutate(value),
            None => {
                let mut value = L::default();
                let delta = mutate(&mut value);
                if value != L::default() {
                    self.entries.insert(key.clone(), value);
                }
                delta
            }
        };
        [(key, delta)].into_iter().collect()
    }
}

impl<K, L> Default for MapOf<K, L> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

impl<K: Ord + Clone + fmt::Debug, L: Lattice> Lattice for MapOf<K, L> {
    fn join(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (key, theirs) in &other.entries {
            match self.entries.get_mut(key) {
                Some(mine) => grew |= mine.join(theirs),
                None => {
                    self.entries.insert(key.clone(), theirs.clone());
                    grew = true;
                }
            }
        }
        grew
    }
}

impl<K: Ord + Clone + fmt::Debug, L: Difference> Difference for MapOf<K, L> {
    fn difference(&self, other: &Self) -> Self {
        let lacking = self.entries.iter().map(|(key, mine)| {
            let lacking = match other.entries.get(key) {
                Some(theirs) => mine.difference(theirs),
                None => mine.clone(),
            };
            (key.clone(), lacking)
        });
        lacking.collect()
    }
}

impl<K: Ord, L: PartialOrd> PartialOrd for MapOf<K, L> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let mut shared = 0;
        let mut order = Ordering::Equal;
        for (key, mine) in &self.entries {
            let of_key = match other.entries.get(key) {
                Some(theirs) => {
                    shared += 1;
                    mine.partial_cmp(theirs)?
                }
                None => Ordering::Greater,
            };
            order = product_order(order, of_key)?;
        }
        match shared < other.entries.len() {
            true => product_order(order, Ordering::Less),
            false => Some(order),
        }
    }
}

/// Joins the values of a key that comes more than once.
impl<K: Ord, L: Lattice> FromIterator<(K, L)> for MapOf<K, L> {
    fn from_iter<I: IntoIterator<Item = (K, L)>>(iter: I) -> Self {
        let mut entries: BTreeMap<K, L> = BTreeMap::new();
        for (key, value) in iter {
            if value != L::default() {
                entries.entry(key).or_default().join(&value);
            }
        }
        Self { entries }
    }
}

impl<K: fmt::Display, L: fmt::Display> fmt::Display for MapOf<K, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter();
        crate::text::list(f, "{", entries.map(|(k, v)| format!("{k}: {v}")), "}")
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::MapOf;
    use crate::{InvalidBytes, Lattice};
    use alloc::vec::Vec;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl<K: Serialize, L: Serialize> Serialize for MapOf<K, L> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(&self.entries)
        }
    }

    impl<'de, K, L> Deserialize<'de> for MapOf<K, L>
    where
        K: Ord + Deserialize<'de>,
        L: Lattice + Deserialize<'de>,
    {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let entries: Vec<(K, L)> = crate::wire::ascending_keys(deserializer, "a map")?;
            if entries.iter().any(|(_, value)| *value == L::default()) {
                let error = InvalidBytes::Empty("an entry of a map");
                return Err(serde::de::Error::custom(error));
            }
            Ok(entries.into_iter().collect())
        }
    }
}
