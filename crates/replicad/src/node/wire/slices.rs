//! Reading a message without copying a value that is most of it: that becomes a slice of the frame.
//!
//! `Bytes` copies what it deserialises from. So the reader shows nothing where the large value is, notes where that was,
//! and puts a slice of the frame in its place afterwards. It is the only value without bytes then: a frame with others is
//! read again in the plain way. So is any in which what is large turns out to be no value.

use bytes::Bytes;
use postcard::de_flavors::Flavor;
use replica::map_values;
use serde::Deserialize as _;
use std::ops::Range;

use super::{SpaceMessage, WireMessage};
use crate::policies::{StringPolicy, Types};

/// What is no longer may be a number.
const LONGEST_NUMBER_BYTES: usize = 8;

/// Reads a message. A value of more than half of the frame is a slice of it: whoever keeps that keeps less than as much
/// again. `None` if it has to be read in the plain way, which says what is wrong if anything is.
pub(super) fn decode<S: StringPolicy>(frame: &Bytes) -> Option<WireMessage<S>> {
    let mut reader = postcard::Deserializer::from_flavor(Leaving::new(frame));
    let mut message = WireMessage::deserialize(&mut reader).ok()?;
    let read = reader.finalize().ok()?;
    if read.at < frame.len() {
        return None;
    }
    let Some(left) = read.left else {
        return Some(message);
    };
    let is_put = read.empty == 0 && put(&mut message, frame.slice(left));
    is_put.then_some(message)
}

/// Puts a value in the place of the only one without bytes. False if there is none.
fn put<S: StringPolicy>(message: &mut WireMessage<S>, value: Bytes) -> bool {
    let mut value = Some(value);
    let mut fill = |held: Bytes| match held.is_empty() {
        true => value.take().unwrap_or(held),
        false => held,
    };
    let mapped = match message {
        WireMessage::Space(message) | WireMessage::Named(_, message) => match message {
            SpaceMessage::Strings(message) => map_values::<S>(message, &mut fill),
            SpaceMessage::Types(message) => map_values::<Types>(message, &mut fill),
        },
        WireMessage::Standing(_) | WireMessage::Status(_) => return false,
    };
    mapped.is_ok() && value.is_none()
}

/// A frame that is being read.
struct Leaving<'de> {
    frame: &'de [u8],
    /// How far it has been read.
    at: usize,
    /// What was left out.
    left: Option<Range<usize>>,
    /// How often nothing was taken where bytes could have been.
    empty: usize,
}

impl<'de> Leaving<'de> {
    const fn new(frame: &'de [u8]) -> Self {
        Self {
            frame,
            at: 0,
            left: None,
            empty: 0,
        }
    }
}

impl<'de> Flavor<'de> for Leaving<'de> {
    type Remainder = Self;
    type Source = &'de [u8];

    fn pop(&mut self) -> postcard::Result<u8> {
        let byte = self.frame.get(self.at);
        let byte = byte.ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.at += 1;
        Ok(*byte)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.frame.len() - self.at)
    }

    fn try_take_n(&mut self, bytes: usize) -> postcard::Result<&'de [u8]> {
        let taken = self.frame[self.at..].get(..bytes);
        let taken = taken.ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        self.at += bytes;
        Ok(taken)
    }

    /// Values come this way: `Bytes` asks for bytes to be copied.
    fn try_take_n_temp<'a>(&'a mut self, bytes: usize) -> postcard::Result<&'a [u8]>
    where
        'de: 'a,
    {
        let taken = self.try_take_n(bytes)?;
        self.empty += usize::from(bytes == 0);
        if bytes > LONGEST_NUMBER_BYTES.max(self.frame.len() / 2) {
            self.left = Some(self.at - bytes..self.at);
            return Ok(&[]);
        }
        Ok(taken)
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use replica::{Command, Level, Lww, MultiValue, NodeMessage, Request};

    use crate::policies::StorePolicy;
    use crate::store::{Operation, StoreRequest};

    /// A forwarded request.
    fn forward<P: StorePolicy>(key: &Bytes, operation: Operation) -> replica::MessageOf<P> {
        let request = StoreRequest::new(key.clone(), operation).at(Level::One);
        NodeMessage::Forward {
            number: 1,
            asker: 2,
            life: None,
            request: P::request(request),
        }
    }

    /// Whether a message was read with a slice, which it must not differ by.
    fn is_sliced<S: StringPolicy + PartialEq>(message: SpaceMessage<S>) -> bool {
        let message = WireMessage::Space(message);
        let frame = message.encode();
        assert_eq!(WireMessage::decode(&frame).as_ref(), Ok(&message));
        match decode(&frame) {
            Some(read) => {
                assert_eq!(read, message);
                true
            }
            None => false,
        }
    }

    fn puts<S: StringPolicy + PartialEq>(key: usize, value: usize) -> bool {
        let value = Operation::put(Bytes::from(vec![7; value]));
        let message = forward::<S>(&Bytes::from(vec![8; key]), value);
        is_sliced::<S>(SpaceMessage::Strings(message))
    }

    #[test]
    fn only_a_value_that_is_most_of_the_frame_is_left_in_it() {
        fn check<S: StringPolicy + PartialEq>() {
            assert!(puts::<S>(3, 1_000));
            assert!(puts::<S>(400, 400), "nothing is left out");
            assert!(!puts::<S>(1_000, 0), "a key, and the value is empty");
            assert!(!puts::<S>(1_000, 1), "a key, and no value is empty");
            assert!(!puts::<S>(0, 1_000), "the key is empty too");
        }
        check::<Lww>();
        check::<MultiValue>();
    }

    #[test]
    fn members_of_sets_are_read_in_the_plain_way() {
        let of = |bytes: usize| Operation::Add {
            members: vec![Bytes::from(vec![7; bytes]), Bytes::from_static(b"tea")],
        };
        let key = Bytes::from_static(b"key");
        for (bytes, is_read) in [(1_000, false), (2, true)] {
            let message = forward::<Types>(&key, of(bytes));
            assert_eq!(is_sliced::<Lww>(SpaceMessage::Types(message)), is_read);
        }
    }

    #[test]
    fn numbers_are_never_left_out() {
        let bytes = postcard::to_stdvec(&(0.5f64, "t")).expect("it serialises");
        let mut reader = postcard::Deserializer::from_flavor(Leaving::new(&bytes));
        let read = <(f64, String)>::deserialize(&mut reader);
        assert_eq!(read, Ok((0.5, "t".into())));
    }

    /// A message with a value that is most of its frame.
    fn put_forwarded() -> WireMessage<Lww> {
        let (key, value) = (Bytes::from_static(b"k"), Bytes::from(vec![7; 300]));
        let request = Request::new(Command::put(key, value), Level::One);
        WireMessage::Space(SpaceMessage::Strings(NodeMessage::Forward {
            number: 1,
            asker: 2,
            life: None,
            request,
        }))
    }

    #[test]
    fn what_is_no_message_is_not_read() {
        let message = put_forwarded();
        let whole = message.encode();
        for end in 0..whole.len() {
            assert!(decode::<Lww>(&whole.slice(..end)).is_none(), "{end} bytes");
        }
        let more = Bytes::from([&whole[..], &[0]].concat());
        assert!(decode::<Lww>(&more).is_none(), "a byte too many");
        assert_eq!(decode(&whole), Some(message));
    }

    proptest! {
        #[test]
        fn whatever_the_bytes_are_they_are_read_as_in_the_plain_way(
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
            end in any::<proptest::sample::Index>(),
            is_cut in proptest::bool::weighted(0.2),
        ) {
            let mut bytes = put_forwarded().encode().to_vec();
            for (at, with) in changes {
                let at = at.index(bytes.len());
                bytes[at] ^= with;
            }
            if is_cut {
                bytes.truncate(end.index(bytes.len()));
            }
            let frame = Bytes::from(bytes);
            let plain = WireMessage::<Lww>::decode(&frame);
            prop_assert_eq!(WireMessage::decode_in_place(&frame), plain);
        }
    }
}
