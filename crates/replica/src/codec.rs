//! How values and messages become bytes: the choice of whoever builds the store.
//!
//! The protocol hands out values of Rust, and takes them. [`Postcard`] and [`Json`] turn any of them into bytes;
//! a format of your own implements [`Codec`] for what it is to carry. [`CodedNode`] is a
//! [`Node`](crate::Node) that sends and takes bytes in the format of your choice.

mod node;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use node::{CodedNode, CodedOutput, CodedReady};

/// A format for values of type `M`.
///
/// What was encoded MUST decode to an equal value. Bytes come from other machines: whatever they are, decoding
/// MUST return, and must not take much more memory than they do.
pub trait Codec<M> {
    /// The bytes of a value.
    ///
    /// # Errors
    /// If the format cannot express it.
    fn encode(value: &M) -> Result<Vec<u8>, CodecError>;

    /// Reads the bytes back.
    ///
    /// # Errors
    /// If they are no value of the type.
    fn decode(bytes: &[u8]) -> Result<M, CodecError>;
}

/// Bytes that are no value of the type, or a value that has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("coding: {0}")]
pub struct CodecError(pub String);

impl CodecError {
    /// The same, from what a format says.
    pub fn new(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// The binary format postcard: compact, and what nodes speak unless they are told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postcard;

impl<M: Serialize + DeserializeOwned> Codec<M> for Postcard {
    fn encode(value: &M) -> Result<Vec<u8>, CodecError> {
        postcard::to_stdvec(value).map_err(CodecError::new)
    }

    fn decode(bytes: &[u8]) -> Result<M, CodecError> {
        match postcard::take_from_bytes(bytes) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(CodecError(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(CodecError::new(error)),
        }
    }
}

/// JSON: for people, and for what cannot read postcard. Bytes are arrays of numbers, and take three to four
/// times the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json;

impl<M: Serialize + DeserializeOwned> Codec<M> for Json {
    fn encode(value: &M) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(value).map_err(CodecError::new)
    }

    fn decode(bytes: &[u8]) -> Result<M, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<C: Codec<Vec<String>>>() {
        let value = vec!["tea".to_owned(), String::new()];
        let bytes = C::encode(&value).expect("it has bytes");
        assert_eq!(C::decode(&bytes), Ok(value));
        let longer = [&bytes[..], &[0]].concat();
        for broken in [&bytes[..bytes.len() - 1], &longer, b""] {
            assert!(C::decode(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn what_was_encoded_is_decoded_and_nothing_else() {
        round_trip::<Postcard>();
        round_trip::<Json>();
    }
}
