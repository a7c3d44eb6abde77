//! Frames in what is received.
//!
//! Short frames share a buffer. A long one has one to itself, so that whoever keeps a slice that is most of it keeps
//! little else in memory.

use bytes::{Bytes, BytesMut};
use std::io;
use tokio_util::codec::{Decoder as _, LengthDelimitedCodec};

use super::handshake::Lane;

/// A frame of this length or longer is received into a buffer of its own, which has room for it and nothing else.
pub const OWN_BUFFER_BYTES: usize = 64 * 1024;

/// Free space in the buffer below which a new one is made, and the length of that.
const LEAST_READ_BYTES: usize = 8 * 1024;
const READ_BYTES: usize = OWN_BUFFER_BYTES;
/// Most bytes that are carried over to a new buffer. With more there, they are the beginning of a frame that
/// room has been made for already.
const CARRIED_BYTES: usize = 4 * 1024;
/// Bytes of a length.
const LENGTH_BYTES: usize = 4;

/// Takes frames out of what is received.
pub(super) struct Receiving {
    buffer: BytesMut,
    codec: LengthDelimitedCodec,
    /// Whether the length of the frame that comes next has been taken off the buffer.
    is_inside: bool,
    /// Bytes that are read at once where no frame has begun.
    read_bytes: usize,
}

impl Receiving {
    /// Goes on behind the handshake, with what has come after it. Little is read ahead of a large frame: what has been
    /// read of it when its length is known has to be moved.
    pub(super) fn new(buffer: BytesMut, lane: Lane, max_frame_bytes: usize) -> Self {
        Self {
            buffer,
            codec: codec(max_frame_bytes),
            is_inside: false,
            read_bytes: match lane {
                Lane::Small => READ_BYTES,
                Lane::Large => CARRIED_BYTES,
            },
        }
    }

    /// The buffer, with room for the next read.
    pub(super) fn room(&mut self) -> &mut BytesMut {
        let (held, room) = (self.buffer.len(), self.buffer.capacity());
        if held <= CARRIED_BYTES && room - held < LEAST_READ_BYTES.min(self.read_bytes) {
            self.buffer.reserve(self.read_bytes);
        }
        &mut self.buffer
    }

    /// Takes the next frame, if it is complete.
    ///
    /// # Errors
    /// If it is longer than a frame may be.
    pub(super) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let later = match self.large_ahead() {
            Some(length) => self.begin_own(length),
            None => BytesMut::new(),
        };
        let has_length = self.is_inside || self.buffer.len() >= LENGTH_BYTES;
        let frame = self.codec.decode(&mut self.buffer)?;
        self.is_inside = has_length && frame.is_none();
        if frame
            .as_ref()
            .is_some_and(|frame| frame.len() >= OWN_BUFFER_BYTES)
        {
            // Lets go of the buffer: it is the frame's alone, and is not used again if that is dropped soon.
            self.buffer = later;
        }
        Ok(frame.map(BytesMut::freeze))
    }

    /// The length of the next frame, if it is not begun and needs a buffer of its own.
    fn large_ahead(&self) -> Option<usize> {
        if self.is_inside {
            return None;
        }
        let length = u32::from_be_bytes(*self.buffer.first_chunk::<LENGTH_BYTES>()?) as usize;
        let large = OWN_BUFFER_BYTES..=self.codec.max_frame_length();
        large.contains(&length).then_some(length)
    }

    /// Moves what there is of a frame to a buffer of its own. What comes after it stays, and is returned.
    fn begin_own(&mut self, length: usize) -> BytesMut {
        let whole = LENGTH_BYTES + length;
        let later = self.buffer.split_off(whole.min(self.buffer.len()));
        let mut own = BytesMut::with_capacity(whole);
        own.extend_from_slice(&self.buffer);
        self.buffer = own;
        later
    }
}

/// Frames of at most so many bytes.
pub(super) fn codec(max_frame_bytes: usize) -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder()
        .max_frame_length(max_frame_bytes)
        .new_codec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut as _;

    const MAX_FRAME: usize = 1 << 20;

    fn stream(lengths: &[usize]) -> Vec<u8> {
        let mut stream = Vec::new();
        for (number, length) in lengths.iter().enumerate() {
            stream.put_u32(*length as u32);
            stream.resize(stream.len() + length, number as u8);
        }
        stream
    }

    /// Receives all of a stream, at most `step` bytes with each read. `take` is handed each frame as it comes.
    fn receive(lane: Lane, stream: &[u8], step: usize, mut take: impl FnMut(Bytes)) -> usize {
        let (head, mut rest) = stream.split_at(stream.len().min(3));
        let mut receiving = Receiving::new(BytesMut::from(head), lane, MAX_FRAME);
        let mut reads = 0;
        while !rest.is_empty() {
            let room = receiving.room();
            let bytes = step.min(room.capacity() - room.len()).min(rest.len());
            assert!(bytes > 0, "no room to read into");
            room.extend_from_slice(&rest[..bytes]);
            rest = &rest[bytes..];
            reads += 1;
            while let Some(frame) = receiving.next().expect("of a length that is allowed") {
                take(frame);
            }
        }
        reads
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let own = OWN_BUFFER_BYTES;
        let lengths = [
            0,
            1,
            own,
            0,
            5,
            own - 1,
            own + 1,
            MAX_FRAME,
            3,
            20_000,
            own,
            own,
            9,
        ];
        for lane in Lane::ALL {
            for step in [7, 1_000, 65_536, 10 << 20] {
                let mut received = Vec::new();
                receive(lane, &stream(&lengths), step, |frame| received.push(frame));
                let found: Vec<usize> = received.iter().map(Bytes::len).collect();
                assert_eq!(found, lengths, "{lane:?}, {step} bytes at a time");
                for (number, frame) in received.iter().enumerate() {
                    assert!(frame.iter().all(|byte| *byte == number as u8));
                }
            }
        }
    }

    /// Whether frames are kept or dropped at once, which lets buffers be used again.
    #[test]
    fn a_large_frame_is_alone_in_its_buffer() {
        let lengths = [
            10,
            MAX_FRAME,
            10,
            OWN_BUFFER_BYTES,
            700_000,
            40_000,
            OWN_BUFFER_BYTES,
        ];
        for lane in Lane::ALL {
            for kept in [true, false] {
                let (mut all, mut large) = (Vec::new(), 0);
                receive(lane, &stream(&lengths.repeat(3)), 10 << 20, |frame| {
                    let length = frame.len();
                    if length < OWN_BUFFER_BYTES {
                        return all.push(frame);
                    }
                    large += 1;
                    let buffer = frame.try_into_mut().expect("nobody else has a part of it");
                    assert_eq!(buffer.capacity(), length);
                    if kept {
                        all.push(buffer.freeze());
                    }
                });
                assert_eq!(large, 12);
            }
        }
    }

    #[test]
    fn a_large_frame_takes_few_reads() {
        for (lane, most) in [(Lane::Small, 2), (Lane::Large, 3)] {
            let reads = receive(lane, &stream(&[MAX_FRAME]), 10 << 20, |_| ());
            assert!(reads <= most, "{reads} reads of {lane:?}");
        }
    }

    #[test]
    fn a_frame_that_is_too_long_is_an_error_before_room_is_made_for_it() {
        let head = (MAX_FRAME as u32 + 1).to_be_bytes();
        let mut receiving = Receiving::new(BytesMut::from(&head[..]), Lane::Small, MAX_FRAME);
        let error = receiving.next().expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(receiving.buffer.capacity() < OWN_BUFFER_BYTES);
    }
}
