//! The one order of last-writer-wins, and the write that it orders.

use core::cmp::Ordering;
use core::fmt;

use crate::Timestamp;

/// The frozen order of writes: the greater one wins. The higher timestamp wins; at equal timestamps a
/// value beats a tombstone (`None`), and the smaller value beats the larger. Where writes are events
/// with dots, equal ones need a further tie-break.
pub(crate) fn write_order<V: Ord>(
    a: (Timestamp, Option<&V>),
    b: (Timestamp, Option<&V>),
) -> Ordering {
    if a.0 != b.0 {
        return a.0.cmp(&b.0);
    }
    match (a.1, b.1) {
        (Some(a), Some(b)) => b.cmp(a),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

/// A write without a dot: two of equal time and value are the same write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(bound(
        serialize = "V: serde::Serialize",
        deserialize = "V: serde::Deserialize<'de>"
    ))
)]
pub(crate) struct LwwWrite<V> {
    pub(crate) timestamp: Timestamp,
    /// `None` for a tombstone.
    #[cfg_attr(feature = "serde", serde(with = "crate::wire::option"))]
    pub(crate) value: Option<V>,
}

impl<V: Ord> LwwWrite<V> {
    fn order(&self, other: &Self) -> Ordering {
        write_order(
            (self.timestamp, self.value.as_ref()),
            (other.timestamp, other.value.as_ref()),
        )
    }
}

/// The greater write wins.
impl<V: Ord> PartialOrd for LwwWrite<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.order(other))
    }
}

impl<V: fmt::Display> fmt::Display for LwwWrite<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{value}{}", self.timestamp),
            None => write!(f, "deleted{}", self.timestamp),
        }
    }
}
