//! The name of a cluster, so that nodes and stores of different ones are never mixed.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What tells one cluster from every other: random bits, drawn when the cluster is bootstrapped.
/// For people it is written as 32 hexadecimal digits, in messages and stores as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u128);

/// Text that is no cluster id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id has 32 hexadecimal digits; this is {0:?}")]
pub struct ParseClusterIdError(String);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for ClusterId {
    type Err = ParseClusterIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseClusterIdError(text.chars().take(64).collect());
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(refused());
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| refused())
    }
}

impl Serialize for ClusterId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match serializer.is_human_readable() {
            true => serializer.collect_str(self),
            false => serializer.serialize_u128(self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ClusterId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if !deserializer.is_human_readable() {
            return u128::deserialize(deserializer).map(Self);
        }
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_id_is_read_as_it_is_written_and_nothing_else_is() {
        for id in [0, 1, u128::MAX, 0x0123_4567_89ab_cdef] {
            let id = ClusterId(id);
            assert_eq!(id.to_string().parse(), Ok(id));
            let json = serde_json::to_string(&id).expect("text");
            assert_eq!(json, format!("\"{id}\""));
            assert_eq!(serde_json::from_str::<ClusterId>(&json).ok(), Some(id));
            let bytes = postcard::to_stdvec(&id).expect("bytes");
            assert_eq!(postcard::from_bytes(&bytes), Ok(id));
        }
        let long = "0".repeat(33);
        for text in ["", "0", "+1234567890123456789012345678901", &long, "é"] {
            assert!(text.parse::<ClusterId>().is_err(), "{text:?}");
        }
    }
}
