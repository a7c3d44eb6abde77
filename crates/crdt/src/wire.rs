//! Parts of wire forms that several types share.

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
