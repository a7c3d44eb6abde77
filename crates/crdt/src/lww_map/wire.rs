//! Decoding, with the checks that types cannot make.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{LwwMap, LwwWrite, SortedMap, Timestamp};
use crate::InvalidBytes;

#[derive(Deserialize)]
#[serde(bound = "K: Ord + Clone + Deserialize<'de>, V: Clone + Deserialize<'de>")]
struct Wire<K, V> {
    purged_up_to: Option<Timestamp>,
    entries: SortedMap<K, LwwWrite<V>>,
}

impl<'de, K, V> Deserialize<'de> for LwwMap<K, V>
where
    K: Ord + Clone + Deserialize<'de>,
    V: Ord + Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire: Wire<K, V> = Deserialize::deserialize(deserializer)?;
        let mut map = Self {
            purged_up_to: wire.purged_up_to,
            entries: wire.entries,
            visible: 0,
        };
        for (_, write) in map.entries.iter() {
            if write.value.is_none() && map.is_past(write.timestamp) {
                return Err(D::Error::custom(InvalidBytes::Obsolete("a tombstone")));
            }
        }
        map.visible = map.iter().count();
        Ok(map)
    }
}
