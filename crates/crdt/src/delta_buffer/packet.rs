//! What travels between two buffers.

use core::fmt;

/// The joined deltas `first..=last` of one sender, or its full state, which starts at 1.
///
/// Its payload is reached by [`DeltaBuffer::receive`](crate::DeltaBuffer::receive) alone, which
/// refuses a packet that may not be joined yet.
///
/// ```compile_fail
/// use crdt::{Packet, VersionVector};
/// fn peek(packet: &Packet<VersionVector>) -> &VersionVector {
///     &packet.payload
/// }
/// ```
///
/// **Invariants.** `1 <= first <= last`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[must_use = "the packet must reach the peer it was made for"]
pub struct Packet<L> {
    first: u64,
    last: u64,
    payload: L,
}

impl<L> Packet<L> {
    pub(super) fn new(first: u64, last: u64, payload: L) -> Self {
        debug_assert!(1 <= first && first <= last, "deltas {first} to {last}");
        Self {
            first,
            last,
            payload,
        }
    }

    /// Sequence number of the first delta in it.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Sequence number of the last delta in it.
    pub const fn last(&self) -> u64 {
        self.last
    }

    pub(super) fn into_payload(self) -> L {
        self.payload
    }
}

impl<L: fmt::Display> fmt::Display for Packet<L> {
    /// `2..5: <1:3>`: deltas 2 to 5.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}: {}", self.first, self.last, self.payload)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Packet;
    use crate::InvalidBytes;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de, L: Deserialize<'de>> Deserialize<'de> for Packet<L> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            struct Wire<L> {
                first: u64,
                last: u64,
                payload: L,
            }
            let wire = Wire::deserialize(deserializer)?;
            if wire.first == 0 {
                return Err(D::Error::custom(InvalidBytes::ZeroCounter));
            }
            if wire.first > wire.last {
                return Err(D::Error::custom(InvalidBytes::EmptyInterval));
            }
            Ok(Self::new(wire.first, wire.last, wire.payload))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::VersionVector;

        #[test]
        fn packets_of_no_deltas_are_refused() {
            let decode = |first: u64, last: u64| {
                let text = format!(r#"{{"first":{first},"last":{last},"payload":[]}}"#);
                serde_json::from_str::<Packet<VersionVector>>(&text)
            };
            assert!(decode(3, 3).is_ok());
            for (first, last, why) in [
                (0, 3, InvalidBytes::ZeroCounter),
                (4, 3, InvalidBytes::EmptyInterval),
            ] {
                let error = decode(first, last).expect_err("not a packet").to_string();
                assert!(error.contains(&why.to_string()), "{error}");
            }
        }
    }
}
