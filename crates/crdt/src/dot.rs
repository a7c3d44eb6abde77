//! Who wrote, and which of its writes it was.

use core::fmt;

/// The identity of one writer.
///
/// An identity belongs to one incarnation of one replica: a replica that has lost its state, or part
/// of it, goes on under a new identity. Otherwise it would give a [`Dot`] to two different events,
/// and others would drop its new writes as already seen.
///
/// The number is opaque here; of two identities of the same replica the later one must be larger.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ReplicaId(pub u64);

/// One event: the `counter`-th event of `replica`. Counters start at 1.
///
/// The derived order (replica first) is an arbitrary total order, used for sorted containers and as
/// the last tie-break between events. It says nothing about causality.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dot {
    /// The writer.
    pub replica: ReplicaId,
    /// Which of the writer's events, from 1.
    pub counter: u64,
}

impl Dot {
    /// The `counter`-th event of `replica`.
    pub const fn new(replica: ReplicaId, counter: u64) -> Self {
        Self { replica, counter }
    }
}

impl fmt::Display for ReplicaId {
    /// Small ids print as numbers; larger ones as `high~low`, the high half in decimal and the low
    /// half in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 >> 32 {
            0 => write!(f, "{}", self.0),
            high => write!(f, "{high}~{:08x}", self.0 & u64::from(u32::MAX)),
        }
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaId({self})")
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.replica, self.counter)
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dot({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_dots_read_well() {
        assert_eq!(Dot::new(ReplicaId(3), 7).to_string(), "3.7");
        assert_eq!(ReplicaId((2 << 32) | 0x0001_beef).to_string(), "2~0001beef");
        assert_eq!(format!("{:?}", Dot::new(ReplicaId(3), 7)), "Dot(3.7)");
    }
}
