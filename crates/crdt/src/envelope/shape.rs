//! What the payload of an envelope is made of, as one number.

use alloc::borrow::{Cow, ToOwned};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::rc::Rc;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{Dot, DotRange, LwwEntry, ObjectId, ReplicaId, Timestamp};

/// A type whose contents an [envelope](crate::encode) can name, so that a set of numbers is not read as a
/// set of texts.
///
/// Keys, values and elements need it. It is there for the usual types of the standard library and for those
/// of this crate; a type of your own names itself and what is inside it. Give it another name whenever its
/// serialisation changes.
///
/// ```
/// use crdt::{EnvelopeError, GSet, Shape, decode, encode, shape_of};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
/// struct Book(String);
///
/// impl Shape for Book {
///     const SHAPE: u32 = shape_of("example.org/book-1", &[String::SHAPE]);
/// }
///
/// let books: GSet<Book> = [Book("Emma".into())].into_iter().collect();
/// let bytes = encode(&books)?;
/// assert_eq!(decode(&bytes, 100), Ok(books));
/// let as_texts = decode::<GSet<String>>(&bytes, 100);
/// assert!(matches!(as_texts, Err(EnvelopeError::WrongShape { .. })));
/// # Ok::<(), EnvelopeError>(())
/// ```
pub trait Shape {
    /// A digest of the form: equal for types whose bytes mean the same, and but for one in 2^32 pairs
    /// different for all others. Frozen with the serialisation of the type. Made by [`shape_of`].
    const SHAPE: u32;
}

/// The shape of a type with this name that is made of these parts, in this order.
pub const fn shape_of(name: &str, parts: &[u32]) -> u32 {
    let mut hash = Fnv::new();
    let (name, mut i) = (name.as_bytes(), 0);
    while i < name.len() {
        hash = hash.with(name[i]);
        i += 1;
    }
    // No byte of UTF-8: a name does not run on into parts.
    hash = hash.with(0xff);
    i = 0;
    while i < parts.len() {
        let [a, b, c, d] = parts[i].to_le_bytes();
        hash = hash.with(a).with(b).with(c).with(d);
        i += 1;
    }
    hash.folded()
}

/// The hash of Fowler, Noll and Vo, 64 bits, variant 1a: simple enough to be computed by compilers.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    const fn with(self, byte: u8) -> Self {
        let mixed = self.0 ^ byte as u64;
        Self(mixed.wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Both halves in one.
    const fn folded(self) -> u32 {
        let [a, b, c, d, e, f, g, h] = self.0.to_le_bytes();
        u32::from_le_bytes([a ^ e, b ^ f, c ^ g, d ^ h])
    }
}

macro_rules! named {
    ($($name:literal: $($type:ty),+;)*) => {
        $($(impl Shape for $type {
            const SHAPE: u32 = shape_of($name, &[]);
        })+)*
    };
}

// Numbers of any width are written alike, but for those of one byte; one that is too large is refused.
named! {
    "nothing": ();
    "bool": bool;
    "byte": u8;
    "signed byte": i8;
    "unsigned": u16, u32, u64, u128, usize;
    "signed": i16, i32, i64, i128, isize;
    "float 32": f32;
    "float 64": f64;
    "char": char;
    "text": str, String;
    "replica id": ReplicaId;
    "object id": ObjectId;
    "dot": Dot;
    "dot range": DotRange;
    "timestamp": Timestamp;
}

macro_rules! same {
    ($($type:ty),*) => {
        $(impl<T: Shape + ?Sized> Shape for $type {
            const SHAPE: u32 = T::SHAPE;
        })*
    };
}

same!(&T, Box<T>, Rc<T>, Arc<T>);

impl<T: Shape + ToOwned + ?Sized> Shape for Cow<'_, T> {
    const SHAPE: u32 = T::SHAPE;
}

macro_rules! of_parts {
    ($($name:literal: $($type:ty),+ where $($part:ident)+;)*) => {
        $(of_parts!(@each $name, [$($part)+], $($type),+);)*
    };
    (@each $name:literal, $parts:tt, $($type:ty),+) => {
        $(of_parts!(@one $name, $parts, $type);)+
    };
    (@one $name:literal, [$($part:ident)+], $type:ty) => {
        impl<$($part: Shape),+> Shape for $type {
            const SHAPE: u32 = shape_of($name, &[$($part::SHAPE),+]);
        }
    };
}

of_parts! {
    "option": Option<T> where T;
    "list": [T], Vec<T>, VecDeque<T> where T;
    "set": BTreeSet<T> where T;
    "map": BTreeMap<K, V> where K V;
    "tuple": (A,) where A;
    "tuple": (A, B) where A B;
    "tuple": (A, B, C) where A B C;
    "tuple": (A, B, C, D) where A B C D;
    "last writer wins entry": LwwEntry<V> where V;
}

impl<T: Shape, const N: usize> Shape for [T; N] {
    const SHAPE: u32 = shape_of("array", &[T::SHAPE, N as u32]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Causal, GSet, LwwMap, MvCell, OrMap, Packet, SetUnion};

    /// What another program computes: the numbers do not hang on this compiler.
    const FROZEN: [u32; 29] = [
        0xcfba_fe9f,
        0xc568_ea94,
        0x6035_5647,
        0x93d4_58ec,
        0x4fb5_ae5f,
        0xe3ce_3d13,
        0x6a09_afc0,
        0x6b2a_93b1,
        0xeb38_cb50,
        0x1330_287b,
        0xb886_1256,
        0x3cbb_162e,
        0xba4b_a80a,
        0x99d6_c42a,
        0x99a8_61af,
        0xec61_bb96,
        0x7704_181c,
        0x44ba_79e7,
        0xc4ba_f275,
        0x12a4_b29b,
        0x42b0_8439,
        0xc4ee_be24,
        0x7620_5e1f,
        0xf123_8c31,
        0x5591_097e,
        0xa026_88b8,
        0xd85e_a0c5,
        0x23e9_0fc6,
        0x2498_9771,
    ];

    /// Frozen: these numbers are in files.
    #[test]
    fn shapes_do_not_change() {
        let shapes = [
            <()>::SHAPE,
            bool::SHAPE,
            u8::SHAPE,
            i8::SHAPE,
            u64::SHAPE,
            i64::SHAPE,
            f32::SHAPE,
            f64::SHAPE,
            char::SHAPE,
            String::SHAPE,
            ReplicaId::SHAPE,
            ObjectId::SHAPE,
            Dot::SHAPE,
            DotRange::SHAPE,
            Timestamp::SHAPE,
            <Option<u64>>::SHAPE,
            <Vec<u64>>::SHAPE,
            <BTreeSet<u64>>::SHAPE,
            <BTreeMap<u64, String>>::SHAPE,
            <[u64; 3]>::SHAPE,
            <(u64,)>::SHAPE,
            <(u64, String)>::SHAPE,
            <(u64, String, bool)>::SHAPE,
            <(u64, String, bool, u8)>::SHAPE,
            LwwEntry::<u64>::SHAPE,
            GSet::<u64>::SHAPE,
            LwwMap::<u64, String>::SHAPE,
            <Causal<OrMap<String, MvCell<u64>>>>::SHAPE,
            <Packet<Causal<OrMap<String, MvCell<u64>>>>>::SHAPE,
        ];
        assert_eq!(shapes, FROZEN);
        let distinct: BTreeSet<u32> = shapes.into_iter().collect();
        assert_eq!(distinct.len(), shapes.len());
    }

    #[test]
    fn types_with_the_same_bytes_have_one_shape_and_others_do_not() {
        assert_eq!((u16::SHAPE, usize::SHAPE), (u64::SHAPE, u128::SHAPE));
        assert_eq!(<&str>::SHAPE, <Arc<String>>::SHAPE);
        assert_eq!(<Cow<'_, str>>::SHAPE, <Box<str>>::SHAPE);
        assert_eq!(<VecDeque<u64>>::SHAPE, <&[u64]>::SHAPE);
        assert_eq!(GSet::<u32>::SHAPE, SetUnion::<u64>::SHAPE);
        assert_ne!(<(u64, String)>::SHAPE, <(String, u64)>::SHAPE);
        assert_ne!(<[u64; 3]>::SHAPE, <[u64; 4]>::SHAPE);
        assert_ne!(shape_of("a", &[]), shape_of("b", &[]));
        let zero = u32::from_le_bytes(*b"abcd");
        assert_ne!(shape_of("", &[zero]), shape_of("abcd", &[]));
    }
}
