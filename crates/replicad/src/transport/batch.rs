//! Frames that are written together.

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Frames up to this length are copied one after the other, which costs less than a slice of its own for
/// each; longer ones are written from where they are.
const COPIED_BYTES: usize = 4 * 1024;

/// The encoded frames, in pieces.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pieces: VecDeque<Bytes>,
    copied: BytesMut,
}

impl Batch {
    /// Appends a frame. Its length fits into 32 bits: [`validate`](super::TransportOptions::validate).
    pub(super) fn push(&mut self, frame: Bytes) {
        self.copied.put_u32(frame.len() as u32);
        if frame.len() <= COPIED_BYTES {
            self.copied.extend_from_slice(&frame);
        } else {
            self.seal();
            self.pieces.push_back(frame);
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
        let frames = [1, COPIED_BYTES, COPIED_BYTES + 1, 3, 100_000, 2];
        let mut expected = Vec::new();
        let mut batch = Batch::default();
        for (number, bytes) in frames.into_iter().enumerate() {
            let frame = vec![number as u8; bytes];
            expected.extend_from_slice(&(bytes as u32).to_be_bytes());
            expected.extend_from_slice(&frame);
            batch.push(frame.into());
        }
        batch.seal();
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
