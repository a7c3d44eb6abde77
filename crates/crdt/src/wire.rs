//! Parts of wire forms that several types share.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::InvalidBytes;

/// Decodes a list that must be strictly ascending. A `Vec` does not reserve what the input announces.
pub(crate) fn ascending<'de, D, T>(deserializer: D, what: &'static str) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Ord + Deserialize<'de>,
{
    let list: Vec<T> = Deserialize::deserialize(deserializer)?;
    check(list.is_sorted_by(|a, b| a < b), list, what)
}

/// Decodes a map that a compact format writes by ascending keys. In text, where people and tools move the
/// entries of an object about, they may come in any order; but no key twice.
pub(crate) fn ascending_map<'de, D, K, V>(
    deserializer: D,
    what: &'static str,
) -> Result<BTreeMap<K, V>, D::Error>
where
    D: Deserializer<'de>,
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
{
    struct Entries<K, V> {
        is_text: bool,
        what: &'static str,
        of: PhantomData<(K, V)>,
    }

    impl<'de, K: Ord + Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Entries<K, V> {
        type Value = BTreeMap<K, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a map: {}", self.what)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry()? {
                let last = map.last_key_value().map(|(last, _)| last);
                let is_behind = self.is_text || last.is_none_or(|last| *last < key);
                if !is_behind || map.insert(key, value).is_some() {
                    return Err(A::Error::custom(InvalidBytes::Unsorted(self.what)));
                }
            }
            Ok(map)
        }
    }

    let is_text = deserializer.is_human_readable();
    deserializer.deserialize_map(Entries {
        is_text,
        what,
        of: PhantomData,
    })
}

/// Decodes a list of pairs whose keys must be strictly ascending.
pub(crate) fn ascending_keys<'de, D, K, V>(
    deserializer: D,
    what: &'static str,
) -> Result<Vec<(K, V)>, D::Error>
where
    D: Deserializer<'de>,
    K: Ord + Deserialize<'de>,
    V: Deserialize<'de>,
{
    let list: Vec<(K, V)> = Deserialize::deserialize(deserializer)?;
    check(list.is_sorted_by(|a, b| a.0 < b.0), list, what)
}

fn check<T, E: serde::de::Error>(sorted: bool, list: T, what: &'static str) -> Result<T, E> {
    match sorted {
        true => Ok(list),
        false => Err(E::custom(InvalidBytes::Unsorted(what))),
    }
}

/// An option that every format tells from its content: in JSON `None` and `Some(())` are both `null`.
/// The bytes of compact formats are those of `Option`.
pub(crate) mod option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Tagged<T> {
        None,
        Some(T),
    }

    pub(crate) fn serialize<S, T>(option: &Option<T>, serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        T: Serialize,
    {
        match option {
            None => Tagged::None,
            Some(value) => Tagged::Some(value),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
    where
        D: Deserializer<'de>,
        T: Deserialize<'de>,
    {
        Ok(match Tagged::deserialize(deserializer)? {
            Tagged::None => None,
            Tagged::Some(value) => Some(value),
        })
    }
}
