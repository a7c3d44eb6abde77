//! Writing a message without copying its large values: each becomes a piece of the frame.

use bytes::Bytes;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use std::iter::Peekable;
use std::vec::IntoIter;

use crate::transport::Frame;

/// The postcard form of a message. The bytes of `large`, which are values in it in the order in which they are encoded,
/// are not copied; all else has about `room` bytes.
pub(super) fn encode(message: &impl Serialize, large: Vec<Bytes>, room: usize) -> Frame {
    let small = Vec::with_capacity(room);
    let frame = match large.is_empty() {
        true => postcard::to_extend(message, small).map(Frame::from),
        false => {
            let pieces = Pieces {
                large: large.into_iter().peekable(),
                small,
                cuts: Vec::new(),
            };
            postcard::serialize_with_flavor(message, pieces)
        }
    };
    frame.expect("messages serialise into memory")
}

/// What has been written.
struct Pieces {
    /// The values that are not to be copied and are still to come.
    large: Peekable<IntoIter<Bytes>>,
    /// All that is between them.
    small: Vec<u8>,
    /// Where in `small` each of them belongs.
    cuts: Vec<(usize, Bytes)>,
}

impl Flavor for Pieces {
    type Output = Frame;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.small.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        // The very bytes, not equal ones: what is written is what was to be written in any case.
        let is_next = |value: &Bytes| std::ptr::eq(&value[..], bytes);
        match self.large.next_if(is_next) {
            Some(value) => self.cuts.push((self.small.len(), value)),
            None => self.small.extend_from_slice(bytes),
        }
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Frame> {
        let small = Bytes::from(self.small);
        let (mut frame, mut start) = (Frame::default(), 0);
        for (end, value) in self.cuts {
            frame.push(small.slice(start..end));
            frame.push(value);
            start = end;
        }
        frame.push(small.slice(start..));
        Ok(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_values_are_pieces_and_what_is_not_expected_is_copied() {
        let values = ["first", "second", "", "third", "fourth"].map(Bytes::from);
        let whole = postcard::to_stdvec(&values).expect("bytes serialise");
        let pieces_of = |large: &[usize]| {
            let large = large.iter().map(|i| values[*i].clone()).collect();
            let frame = encode(&values, large, 0);
            let pieces: Vec<Bytes> = frame.pieces().cloned().collect();
            assert_eq!(frame.into_bytes(), whole);
            let shared = |value: &&Bytes| pieces.iter().any(|p| p.as_ptr() == value.as_ptr());
            (pieces.len(), values.iter().filter(shared).count())
        };
        assert_eq!(pieces_of(&[]), (1, 0));
        assert_eq!(pieces_of(&[1]), (3, 1));
        assert_eq!(pieces_of(&[0, 1, 4]), (6, 3));
        assert_eq!(pieces_of(&[3, 0]), (3, 1), "out of order");
    }
}
