//! Frames that are written together.

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

use super::frame::{Frame, LEAST_PIECE_BYTES};

/// The encoded frames, in pieces.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: VecDeque<Bytes>,
    copied: BytesMut,
}

impl Batch {
    /// Appends a frame. Its length fits into 32 bits: [`validate`](super::TransportOptions::validate).
    pub(super) fn push(&mut self, frame: Frame) {
        self.copied.put_u32(frame.len() as u32);
        for piece in frame.into_pieces() {
            if piece.len() < LEAST_PIECE_BYTES {
                self.copied.extend_from_slice(&piece);
            } else {
                self.seal();
                self.pieces.push_back(piece);
            }
        }
    }

    /// Makes what was copied the last piece. Called once after the last frame.
    pub(super) fn seal(&mut self) {
        if !self.copied.is_empty() {
            self.pieces.push_back(self.copied.split().freeze());
        }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let filled = out.iter_mut().zip(&self.pieces);
        filled
            .map(|(slot, piece)| *slot = IoSlice::new(piece))
            .count()
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(piece) = self.pieces.front_mut()
            && bytes > 0
        {
            if bytes < piece.len() {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_lengths_and_bytes_however_they_are_cut() {
        let least = LEAST_PIECE_BYTES;
        let frames: [&[usize]; 8] = [
            &[1],
            &[least - 1],
            &[least],
            &[3],
            &[100_000],
            &[50, least, 7],
            &[50, 100_000, 7, 8, 20_000, 9],
            &[2],
        ];
        let (mut expected, mut large) = (Vec::new(), Vec::new());
        let mut batch = Batch::default();
        for (number, pieces) in frames.into_iter().enumerate() {
            let bytes: usize = pieces.iter().sum();
            expected.extend_from_slice(&(bytes as u32).to_be_bytes());
            let mut frame = Frame::default();
            for bytes in pieces {
                let piece = Bytes::from(vec![number as u8; *bytes]);
                expected.extend_from_slice(&piece);
                large.extend((*bytes >= least).then_some(piece.as_ptr()));
                frame.push(piece);
            }
            batch.push(frame);
        }
        batch.seal();
        let shared = batch.pieces.iter().map(|piece| piece.as_ptr());
        assert_eq!(shared.filter(|piece| large.contains(piece)).count(), 5);
        assert_eq!(batch.pieces.len(), 11, "what is small is put together");
        assert_eq!(batch.remaining(), expected.len());
        let (mut written, mut step) = (Vec::new(), 1);
        while batch.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let count = batch.chunks_vectored(&mut slices);
            let all: Vec<u8> = slices[..count]
                .iter()
                .flat_map(|slice| slice.to_vec())
                .collect();
            let part = step.min(all.len());
            written.extend_from_slice(&all[..part]);
            batch.advance(part);
            step = step * 3 % 10_007;
        }
        assert!(written == expected);
    }
}
