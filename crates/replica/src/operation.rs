//! Names for writes, so that one that is asked for again happens once.

use bytes::Bytes;
use crdt::Dot;
use serde::{Deserialize, Serialize};
use std::fmt;
use twox_hash::XxHash3_128;

/// Names one write of one key, over all attempts to have it carried out. Whoever makes it must never use it
/// for another write of that key: 16 random bytes, or a client's own name with a number that rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OperationId {
    high: u64,
    low: u64,
}

impl OperationId {
    /// The name with these bits.
    pub const fn new(id: u128) -> Self {
        Self {
            high: (id >> 64) as u64,
            low: id as u64,
        }
    }

    /// Its bits.
    pub const fn as_u128(self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }

    /// The name under which owners keep it: an id that was used for two keys by mistake names two writes.
    pub(crate) fn of_key(self, key: &Bytes) -> Self {
        let low = XxHash3_128::oneshot_with_seed(self.low, key);
        let both = XxHash3_128::oneshot_with_seed(self.high, &low.to_be_bytes());
        Self::new(both)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {:032x}", self.as_u128())
    }
}

/// The name of a write, and whether it may have been tried before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Operation {
    /// The name.
    pub id: OperationId,
    /// Whether the write may have been asked for before, at this node or another. At most one request
    /// of an operation may say that it was not.
    pub is_retry: bool,
}

/// What an owner says of an operation that it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OperationAnswer {
    /// It was carried out: this is its event.
    Done(Dot),
    /// It was not carried out as far as the owner knows, and the owner will not begin it any more without
    /// asking the others.
    NotHere,
    /// The owner cannot tell: it has lost its data, and may have lost the operation with it.
    Forgotten,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_another_operation_under_each_key() {
        let of_key = |id, key| OperationId::new(id).of_key(&Bytes::from_static(key));
        let all = [
            of_key(1, b"a"),
            of_key(1, b"b"),
            of_key(1 << 64, b"a"),
            of_key(1 << 64, b"b"),
        ];
        for (i, one) in all.iter().enumerate() {
            assert!(all.iter().skip(i + 1).all(|other| one != other));
        }
        assert_eq!(of_key(7, b"a"), of_key(7, b"a"));
    }
}
