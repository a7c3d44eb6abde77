//! What is sent as one message.

use bytes::{Bytes, BytesMut};

/// From this length on a part of a message is worth a piece of its own. Shorter ones are copied one after the other
/// when they are written, which costs less than a slice for each.
pub const LEAST_PIECE_BYTES: usize = 4 * 1024;

/// The bytes of a message, in pieces that are written one after the other: what is large need not be copied to stand
/// beside the rest. Copies share the bytes.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    /// Nearly all have only this.
    first: Bytes,
    rest: Vec<Bytes>,
}

impl Frame {
    /// Adds a piece at the end.
    pub fn push(&mut self, piece: Bytes) {
        match self.first.is_empty() {
            _ if piece.is_empty() => {}
            true => self.first = piece,
            false => self.rest.push(piece),
        }
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.pieces().map(Bytes::len).sum()
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// The pieces.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        std::iter::once(&self.first).chain(&self.rest)
    }

    /// The same.
    pub(super) fn into_pieces(self) -> impl Iterator<Item = Bytes> {
        std::iter::once(self.first).chain(self.rest)
    }

    /// All bytes in one piece: copied, if there is more than one.
    pub fn into_bytes(self) -> Bytes {
        if self.rest.is_empty() {
            return self.first;
        }
        let mut bytes = BytesMut::with_capacity(self.len());
        self.pieces()
            .for_each(|piece| bytes.extend_from_slice(piece));
        bytes.freeze()
    }
}

impl From<Bytes> for Frame {
    fn from(first: Bytes) -> Self {
        let rest = Vec::new();
        Self { first, rest }
    }
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from(Bytes::from(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_its_pieces_one_after_the_other() {
        let mut frame = Frame::default();
        assert!(frame.is_empty() && frame.clone().into_bytes().is_empty());
        for piece in ["", "one", "", "two", "three"] {
            frame.push(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!((frame.len(), frame.pieces().count()), (11, 3));
        assert!(!frame.is_empty());
        assert_eq!(frame.into_bytes(), "onetwothree");
        let whole = Bytes::from(vec![7; 9]);
        let same = Frame::from(whole.clone()).into_bytes();
        assert_eq!(same.as_ptr(), whole.as_ptr(), "one piece is not copied");
    }
}
