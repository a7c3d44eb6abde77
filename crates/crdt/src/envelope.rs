//! Bytes that say what they are: for files, and for peers of another version.

mod shape;

use alloc::vec::Vec;
pub use shape::{Shape, shape_of};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::causal::{
    Causal, Digest, DotFun, DotMap, DotSet, Frontier, ReadContext, Report, Stability,
};
use crate::{
    AddWinsSet, CausalContext, CausalMap, Closed, DisableWinsFlag, EnableWinsFlag, GCounter,
    HybridClock, Knowledge, LamportClock, LexicographicPair, Listing, LwwCell, LwwMap, LwwRegister,
    LwwSet, MapOf, Max, Min, MvCell, MvRegister, OwnerView, Packet, Pair, PnCounter, Promises,
    RemoveWinsSet, ResettableCounter, SetUnion, Siblings, TwoPhaseSet, VersionVector,
};

/// What every envelope starts with.
const MAGIC: [u8; 4] = *b"CRDT";

/// The version that [`encode`] writes. [`decode`] reads this one and all before it.
const VERSION: u8 = 2;

/// The version without a shape: what is inside a value was a matter between writer and reader.
const WITHOUT_SHAPE: u8 = 1;

/// Magic, version and kind.
const HEADER: usize = MAGIC.len() + 1 + 2;

/// A type that can be put into an envelope.
///
/// The kind says which type the bytes are of, and its [shape](Shape) what its keys, values and elements
/// are and what is nested in it. A type of your own takes a kind from 0x8000 on, for itself alone; this
/// crate uses none of those.
pub trait Enveloped: Shape {
    /// The number that stands for the type. Frozen: it never changes, and no other type ever gets
    /// it.
    const KIND: u16;
}

/// Why bytes were refused, or could not be made. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// More bytes than the caller takes.
    #[error("an envelope of {size} bytes, the limit is {limit}")]
    TooLarge {
        /// Number of bytes.
        size: usize,
        /// The most that the caller takes.
        limit: usize,
    },
    /// The bytes do not start as an envelope does, or end before it does.
    #[error("not an envelope")]
    NotAnEnvelope,
    /// A later version of this crate wrote them.
    #[error("envelope of version {version}, the latest that is known is {VERSION}")]
    UnknownVersion {
        /// The version.
        version: u8,
    },
    /// They are of another type.
    #[error("kind {found} instead of {expected}")]
    WrongKind {
        /// The kind of the type that was asked for.
        expected: u16,
        /// The kind that the bytes name.
        found: u16,
    },
    /// They are of that type, with other keys, values or elements in it.
    #[error("contents of shape {found:#010x} instead of {expected:#010x}")]
    WrongShape {
        /// The shape of the type that was asked for.
        expected: u32,
        /// The shape that the bytes name.
        found: u32,
    },
    /// The payload is no value of the type, or none that a replica can have produced.
    #[error("invalid payload: {cause}")]
    Invalid {
        /// What the format says.
        #[source]
        cause: postcard::Error,
    },
    /// Bytes are left behind the payload.
    #[error("{count} bytes behind the payload")]
    TrailingBytes {
        /// Number of bytes.
        count: usize,
    },
    /// A key, value or element cannot be encoded.
    #[error("cannot be encoded: {cause}")]
    Unencodable {
        /// What the format says.
        #[source]
        cause: postcard::Error,
    },
}

/// The bytes of a value: equal values give equal bytes.
///
/// An envelope is `CRDT`, one byte of version, the kind as two bytes and the shape as four (both
/// little-endian), and the value in [postcard](https://docs.rs/postcard).
///
/// # Errors
/// [`EnvelopeError::Unencodable`], where the serialisation of a caller's own type fails.
///
/// ```
/// use crdt::{EnvelopeError, ReplicaId, VersionVector, decode, encode};
///
/// let vector: VersionVector = [(ReplicaId(1), 3)].into_iter().collect();
/// let bytes = encode(&vector)?;
/// assert_eq!(decode::<VersionVector>(&bytes, 1_000), Ok(vector));
/// let too_large = EnvelopeError::TooLarge { size: bytes.len(), limit: 5 };
/// assert_eq!(decode::<VersionVector>(&bytes, 5), Err(too_large));
/// # Ok::<(), EnvelopeError>(())
/// ```
pub fn encode<T: Enveloped + Serialize>(value: &T) -> Result<Vec<u8>, EnvelopeError> {
    let mut bytes = Vec::from(MAGIC);
    bytes.push(VERSION);
    bytes.extend(T::KIND.to_le_bytes());
    bytes.extend(T::SHAPE.to_le_bytes());
    postcard::to_extend(value, bytes).map_err(|cause| EnvelopeError::Unencodable { cause })
}

/// The value that bytes hold, checked for all that its type promises. At most `limit` bytes are
/// looked at, and lengths that the bytes announce are not believed: memory grows with what is
/// really there.
///
/// Version 1 named no shape: there the contents are taken for what is asked for, and only what cannot be
/// that is refused.
///
/// # Errors
/// [`EnvelopeError`].
pub fn decode<T: Enveloped + DeserializeOwned>(
    bytes: &[u8],
    limit: usize,
) -> Result<T, EnvelopeError> {
    let size = bytes.len();
    if size > limit {
        return Err(EnvelopeError::TooLarge { size, limit });
    }
    let (header, payload) = bytes
        .split_first_chunk::<HEADER>()
        .ok_or(EnvelopeError::NotAnEnvelope)?;
    let [m0, m1, m2, m3, version, low, high] = *header;
    if [m0, m1, m2, m3] != MAGIC || version == 0 {
        return Err(EnvelopeError::NotAnEnvelope);
    }
    if version > VERSION {
        return Err(EnvelopeError::UnknownVersion { version });
    }
    let (expected, found) = (T::KIND, u16::from_le_bytes([low, high]));
    if found != expected {
        return Err(EnvelopeError::WrongKind { expected, found });
    }
    let payload = match version {
        WITHOUT_SHAPE => payload,
        _ => check_shape(T::SHAPE, payload)?,
    };
    let (value, rest) =
        postcard::take_from_bytes(payload).map_err(|cause| EnvelopeError::Invalid { cause })?;
    match rest.len() {
        0 => Ok(value),
        count => Err(EnvelopeError::TrailingBytes { count }),
    }
}

fn check_shape(expected: u32, bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
    let (shape, payload) = bytes
        .split_first_chunk()
        .ok_or(EnvelopeError::NotAnEnvelope)?;
    match u32::from_le_bytes(*shape) {
        found if found == expected => Ok(payload),
        found => Err(EnvelopeError::WrongShape { expected, found }),
    }
}

/// An object is its store, on another page.
impl<S: Enveloped> Enveloped for Causal<S> {
    const KIND: u16 = 0x100 + S::KIND;
}

impl<S: Shape> Shape for Causal<S> {
    const SHAPE: u32 = shape_of("causal", &[S::SHAPE]);
}

/// A packet is what it carries, on another page.
impl<L: Enveloped> Enveloped for Packet<L> {
    const KIND: u16 = 0x1000 + L::KIND;
}

impl<L: Shape> Shape for Packet<L> {
    const SHAPE: u32 = shape_of("packet", &[L::SHAPE]);
}

macro_rules! kinds {
    ($(
        $kind:literal $name:ident
        $(<$($parameter:ident $(: $bound:ident $(+ $more:ident)*)?),+>)?;
    )*) => {
        $(impl $(<$($parameter: Shape $(+ $bound $(+ $more)*)?),+>)? Enveloped for $name $(<$($parameter),+>)? {
            const KIND: u16 = $kind;
        }

        impl $(<$($parameter: Shape $(+ $bound $(+ $more)*)?),+>)? Shape for $name $(<$($parameter),+>)? {
            const SHAPE: u32 = shape_of("crdt", &[$kind $($(, $parameter::SHAPE)+)?]);
        })*

        #[cfg(test)]
        const KINDS: &[(u16, &str)] = &[$(($kind, stringify!($name))),*];
    };
}

// The frozen table: numbers are only ever added, below 0x100.
kinds! {
    0x01 VersionVector;
    0x02 CausalContext;
    0x03 LamportClock;
    0x04 HybridClock;
    0x05 Digest;
    0x10 Knowledge<K>;
    0x11 CausalMap<K, C>;
    0x12 Listing<K, C>;
    0x13 OwnerView;
    0x14 Promises;
    0x15 Closed;
    0x40 DotSet;
    0x41 DotFun<V>;
    0x42 DotMap<K, S>;
    0x43 MvCell<V>;
    0x44 LwwCell<V>;
    0x45 AddWinsSet<E>;
    0x46 RemoveWinsSet<E>;
    0x47 EnableWinsFlag;
    0x48 DisableWinsFlag;
    0x49 ResettableCounter;
    0x4a Siblings<V>;
    0x06 Stability;
    0x07 Report;
    0x08 Frontier;
    0x09 ReadContext<S>;
    0x20 LwwRegister<V: Ord>;
    0x21 MvRegister<V>;
    0x22 GCounter;
    0x23 PnCounter;
    0x24 SetUnion<T>;
    0x25 TwoPhaseSet<T>;
    0x26 LwwMap<K: Ord + Clone, V: Ord + Clone>;
    0x27 LwwSet<T: Ord + Clone>;
    0x28 Max<T>;
    0x29 Min<T>;
    0x2a Pair<A, B>;
    0x2b LexicographicPair<A, B>;
    0x2c MapOf<K, L>;
}

/// The kind of a pair of stores, whose type has no name; in the table like the others.
const PAIR_OF_STORES: u16 = 0x4b;

impl<A: Shape, B: Shape> Enveloped for (A, B) {
    const KIND: u16 = PAIR_OF_STORES;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{GSet, ReplicaId};

    const LIMIT: usize = 1_000;

    fn vector() -> VersionVector {
        [(ReplicaId(1), 3)].into_iter().collect()
    }

    fn refused(bytes: &[u8]) -> EnvelopeError {
        decode::<VersionVector>(bytes, LIMIT).expect_err("refused")
    }

    #[test]
    fn no_two_types_have_one_kind() {
        let kinds = [KINDS, &[(PAIR_OF_STORES, "(A, B)")]].concat();
        for (i, (kind, name)) in kinds.iter().enumerate() {
            assert!((1..0x100).contains(kind), "{name}");
            let others = &kinds[i + 1..];
            assert!(others.iter().all(|other| other.0 != *kind), "{name}");
        }
        assert_eq!(Packet::<Causal<DotSet>>::KIND, 0x1140);
    }

    #[test]
    fn what_is_no_envelope_of_the_type_is_refused() {
        let bytes = encode(&vector()).expect("vectors encode");
        assert_eq!(bytes[..7], *b"CRDT\x02\x01\x00");
        assert_eq!(bytes[7..11], VersionVector::SHAPE.to_le_bytes());
        assert_eq!(bytes[11..], [1, 1, 3]);
        assert_eq!(decode::<VersionVector>(&bytes, bytes.len()), Ok(vector()));
        let (size, limit) = (bytes.len(), bytes.len() - 1);
        let too_large = EnvelopeError::TooLarge { size, limit };
        assert_eq!(decode::<VersionVector>(&bytes, limit), Err(too_large));
        for short in 0..HEADER + 4 {
            assert_eq!(refused(&bytes[..short]), EnvelopeError::NotAnEnvelope);
        }
        let with = |at: usize, byte| {
            let mut bytes = bytes.clone();
            bytes[at] = byte;
            refused(&bytes)
        };
        assert_eq!(with(0, b'X'), EnvelopeError::NotAnEnvelope);
        assert_eq!(with(4, 0), EnvelopeError::NotAnEnvelope);
        assert_eq!(with(4, 9), EnvelopeError::UnknownVersion { version: 9 });
        let (expected, found) = (1, 2);
        let wrong = EnvelopeError::WrongKind { expected, found };
        assert_eq!(with(5, 2), wrong);
        let expected = VersionVector::SHAPE;
        let found = expected ^ 0xff;
        let other = EnvelopeError::WrongShape { expected, found };
        assert_eq!(with(7, bytes[7] ^ 0xff), other);
        let zero = with(size - 1, 0);
        assert!(matches!(zero, EnvelopeError::Invalid { .. }), "{zero:?}");
        let cut = refused(&bytes[..limit]);
        assert!(matches!(cut, EnvelopeError::Invalid { .. }), "{cut:?}");
        let longer = [bytes.as_slice(), &[0, 0]].concat();
        assert_eq!(refused(&longer), EnvelopeError::TrailingBytes { count: 2 });
    }

    #[test]
    fn a_value_with_other_contents_is_refused() {
        let numbers: GSet<u64> = [7, 300].into_iter().collect();
        let bytes = encode(&numbers).expect("sets encode");
        let (expected, found) = (GSet::<String>::SHAPE, GSet::<u64>::SHAPE);
        let wrong = EnvelopeError::WrongShape { expected, found };
        assert_eq!(decode::<GSet<String>>(&bytes, LIMIT), Err(wrong.clone()));
        let text = format!("contents of shape {found:#010x} instead of {expected:#010x}");
        assert_eq!(wrong.to_string(), text);
        assert_eq!(decode::<GSet<u64>>(&bytes, LIMIT), Ok(numbers));
        // A wider number takes in a narrower one; a narrower one refuses what does not fit.
        let wider: GSet<u128> = [7, 300].into_iter().collect();
        assert_eq!(decode::<GSet<u128>>(&bytes, LIMIT), Ok(wider));
        let large: GSet<u64> = [70_000].into_iter().collect();
        let large = encode(&large).expect("sets encode");
        let narrow = decode::<GSet<u16>>(&large, LIMIT);
        assert!(
            matches!(narrow, Err(EnvelopeError::Invalid { .. })),
            "{narrow:?}"
        );
        type Nested<V> = Causal<DotMap<String, MvCell<V>>>;
        let nested = encode(&Nested::<u64>::default()).expect("maps encode");
        let other = decode::<Nested<String>>(&nested, LIMIT);
        assert!(
            matches!(other, Err(EnvelopeError::WrongShape { .. })),
            "{other:?}"
        );
    }

    /// Version 1 did not say what is inside: a wrong guess is an error where the bytes show it, never a panic.
    #[test]
    fn contents_of_the_first_version_are_taken_for_what_is_asked_for() {
        let first = |payload: &[u8]| {
            let kind = GSet::<u64>::KIND.to_le_bytes();
            [b"CRDT\x01".as_slice(), &kind, payload].concat()
        };
        let bytes = first(&[1, 1, b'a']);
        let texts: GSet<String> = ["a".to_owned()].into_iter().collect();
        assert_eq!(decode::<GSet<String>>(&bytes, LIMIT), Ok(texts));
        let trailing = EnvelopeError::TrailingBytes { count: 1 };
        assert_eq!(decode::<GSet<u64>>(&bytes, LIMIT), Err(trailing));
        let numbers = decode::<GSet<String>>(&first(&[1, 7]), LIMIT);
        assert!(
            matches!(numbers, Err(EnvelopeError::Invalid { .. })),
            "{numbers:?}"
        );
    }
}
