//! The map as it travels.

use super::DotMap;
use crate::{DotStore, InvalidBytes};
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;
use serde::de::Error as _;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

impl<K: Serialize, T: Serialize> Serialize for DotMap<K, T> {
    /// A list of (key, value), in key order.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not `collect_seq`: some formats need the length first.
        let mut list = serializer.serialize_seq(Some(self.entries.len()))?;
        for entry in self.entries.iter() {
            list.serialize_element(&entry)?;
        }
        list.end()
    }
}

impl<'de, K, T> Deserialize<'de> for DotMap<K, T>
where
    K: Ord + Clone + Debug + Hash + Deserialize<'de>,
    T: DotStore + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<(K, T)> = Deserialize::deserialize(deserializer)?;
        if entries.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err(D::Error::custom(InvalidBytes::Unsorted("keys of a map")));
        }
        if entries.iter().any(|(_, value)| value.is_bottom()) {
            return Err(D::Error::custom(InvalidBytes::Empty("a value of a map")));
        }
        Ok(Self::from_ascending(entries))
    }
}
