//! The pre-check of the request side: finds whole commands in a stream of bytes.
//!
//! A command is a flat array of bulk strings (`*2\r\n$3\r\nGET\r\n$1\r\nk\r\n`) or, as typed into a
//! telnet session, a line of words. Each byte is looked at a bounded number of times however the
//! stream is cut into pieces, nothing is allocated for announced lengths, and the bytes of a command
//! over a limit are dropped as they arrive, so that the next command is found.

use bytes::{Buf, Bytes, BytesMut};
use redis_protocol::resp2::{decode::decode_bytes, types::BytesFrame};

use crate::limits::Limits;

/// Bytes of an inline command, as in Redis.
const MAX_INLINE_BYTES: usize = 64 * 1024;
/// Bytes of a `*N` or `$N` line with its line end; no number that is accepted needs more than 13.
const MAX_HEADER_BYTES: usize = 32;
const LINE_END: usize = 2;
/// Arguments of one command of a client that has not named the password yet, as in Redis.
const STRANGER_ARGUMENTS: usize = 10;
/// Bytes of each of them.
const STRANGER_ARGUMENT_BYTES: usize = 16 * 1024;

/// Something complete at the head of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// A command: its name and arguments, never empty.
    Command(Vec<Bytes>),
    /// A well-formed command over a limit. All its bytes were dropped.
    Refused(Refusal),
}

/// Which limit a command went over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// One argument is longer than any key or value may be.
    Argument {
        /// The command's name, empty if that is what was too long.
        name: Bytes,
        /// Which argument, the name being 0.
        index: usize,
        /// Its length in bytes.
        size: usize,
    },
    /// The command as a whole is too long to be buffered.
    Frame,
}

/// The stream is not the Redis protocol; there is no telling where the next command starts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: {0}")]
pub(crate) struct ProtocolError(String);

impl ProtocolError {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// Finds the commands of one connection. The buffer given to [`Admitter::next`] must be the same each
/// time, with bytes only appended in between.
#[derive(Debug)]
pub(crate) struct Admitter {
    max_arguments: usize,
    max_argument_bytes: usize,
    max_frame_bytes: usize,
    max_skipped_bytes: usize,
    /// Whether the client has still to name the password: nothing long is read from it then.
    is_stranger: bool,
    /// The array being read, if its first line is known.
    frame: Option<Frame>,
    /// Bytes of the unfinished line that are known to hold no line end.
    searched: usize,
}

/// An array whose first line has been read.
#[derive(Debug)]
struct Frame {
    /// Bulk strings announced.
    arguments: usize,
    /// The bulk string being read.
    index: usize,
    /// Where in the buffer the scan stands. Everything before it belongs to this frame.
    position: usize,
    /// Bytes of the current bulk string, without its line end, from `position` on; `None` while its
    /// header is unread.
    bulk: Option<usize>,
    /// Bytes of the frame so far, with all that is announced.
    size: usize,
    /// Set once the frame is over a limit; its bytes are then dropped instead of kept.
    refusal: Option<Refusal>,
}

impl Admitter {
    /// An admitter at the start of a stream.
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_arguments: limits.max_arguments,
            max_argument_bytes: limits.max_argument_bytes(),
            max_frame_bytes: limits.max_frame_bytes,
            max_skipped_bytes: limits.max_skipped_bytes,
            is_stranger: false,
            frame: None,
            searched: 0,
        }
    }

    /// Says whether the client has still to name the password.
    pub(crate) const fn set_stranger(&mut self, is_stranger: bool) {
        self.is_stranger = is_stranger;
    }

    /// Whether the beginning of a command has arrived and its end has not.
    pub(crate) fn is_partial(&self, buffer: &BytesMut) -> bool {
        self.frame.is_some() || !buffer.is_empty()
    }

    /// How many more bytes the current bulk string needs, 0 if that is unknown.
    pub(crate) fn missing(&self, buffer: &BytesMut) -> usize {
        match &self.frame {
            Some(Frame {
                bulk: Some(length),
                position,
                refusal: None,
                ..
            }) => (position + length + LINE_END).saturating_sub(buffer.len()),
            _ => 0,
        }
    }

    /// Takes the next complete command off the buffer; `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// If the bytes are not a command. The stream is then useless.
    pub(crate) fn next(
        &mut self,
        buffer: &mut BytesMut,
    ) -> Result<Option<Admitted>, ProtocolError> {
        loop {
            let Some(frame) = &self.frame else {
                match buffer.first() {
                    None => return Ok(None),
                    Some(b'*') => {
                        if !self.begin_array(buffer)? {
                            return Ok(None);
                        }
                    }
                    Some(_) => match self.inline(buffer)? {
                        None => return Ok(None),
                        Some(words) if words.is_empty() => {}
                        Some(words) if words.len() > self.max_arguments => {
                            return Ok(Some(Admitted::Refused(Refusal::Frame)));
                        }
                        Some(words) => return Ok(Some(Admitted::Command(words))),
                    },
                }
                continue;
            };
            if frame.index == frame.arguments {
                return self.finish(buffer).map(Some);
            }
            let advanced = match frame.bulk {
                None => self.bulk_header(buffer)?,
                Some(length) => self.bulk_body(buffer, length)?,
            };
            if !advanced {
                return Ok(None);
            }
        }
    }

    /// Reads the `*N` line. False if it is incomplete.
    fn begin_array(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(end) = header_end(buffer, 0)? else {
            return Ok(false);
        };
        let arguments = decimal(&buffer[1..end])
            .filter(|&count| count <= self.max_arguments)
            .ok_or_else(|| ProtocolError::new("invalid multibulk length"))?;
        if self.is_stranger && arguments > STRANGER_ARGUMENTS {
            return Err(ProtocolError::new("unauthenticated multibulk length"));
        }
        let position = end + LINE_END;
        if arguments == 0 {
            buffer.advance(position);
        } else {
            self.frame = Some(Frame {
                arguments,
                index: 0,
                position,
                bulk: None,
                size: position,
                refusal: None,
            });
        }
        Ok(true)
    }

    /// Reads the `$N` line of the current bulk string. False if it is incomplete.
    fn bulk_header(&mut self, buffer: &mut BytesMut) -> Result<bool, ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok(false);
        };
        match buffer.get(frame.position) {
            None => return Ok(false),
            Some(b'$') => {}
            Some(other) => {
                let found = char::from(*other).escape_default();
                return Err(ProtocolError::new(format!("expected '$', got '{found}'")));
            }
        }
        let Some(end) = header_end(buffer, frame.position)? else {
            return Ok(false);
        };
        let length = decimal(&buffer[frame.position + 1..end])
            .filter(|&length| length <= self.max_skipped_bytes)
            .ok_or_else(|| ProtocolError::new("invalid bulk length"))?;
        if self.is_stranger && length > STRANGER_ARGUMENT_BYTES {
            return Err(ProtocolError::new("unauthenticated bulk length"));
        }
        frame.size += (end + LINE_END - frame.position) + length + LINE_END;
        frame.position = end + LINE_END;
        frame.bulk = Some(length);
        if frame.refusal.is_none() {
            if length > self.max_argument_bytes {
                let name = if frame.index == 0 {
                    Bytes::new()
                } else {
                    first_word(buffer)
                };
                frame.refusal = Some(Refusal::Argument {
                    name,
                    index: frame.index,
                    size: length,
                });
            } else if frame.size > self.max_frame_bytes {
                frame.refusal = Some(Refusal::Frame);
            }
        }
        if frame.refusal.is_some() && frame.size > self.max_skipped_bytes {
            return Err(ProtocolError::new("command is too long to be skipped"));
        }
        Ok(true)
    }

    /// Passes the bytes of the current bulk string and its line end, dropping them if the frame is
    /// refused. False if they are incomplete.
    fn bulk_body(&mut self, buffer: &mut BytesMut, length: usize) -> Result<bool, ProtocolError> {
        let Some(frame) = &mut self.frame else {
            return Ok(false);
        };
        let mut length = length;
        if frame.refusal.is_some() {
            buffer.advance(frame.position);
            let dropped = length.min(buffer.len());
            buffer.advance(dropped);
            frame.position = 0;
            length -= dropped;
            frame.bulk = Some(length);
        }
        let end = frame.position + length;
        let Some(line_end) = buffer.get(end..end + LINE_END) else {
            return Ok(false);
        };
        if line_end != b"\r\n" {
            return Err(ProtocolError::new(
                "bulk string is longer than its length says",
            ));
        }
        frame.position = end + LINE_END;
        frame.bulk = None;
        frame.index += 1;
        Ok(true)
    }

    /// Takes the complete frame off the buffer.
    fn finish(&mut self, buffer: &mut BytesMut) -> Result<Admitted, ProtocolError> {
        let Some(frame) = self.frame.take() else {
            return Err(ProtocolError::new("no command"));
        };
        let bytes = buffer.split_to(frame.position).freeze();
        match frame.refusal {
            Some(refusal) => Ok(Admitted::Refused(refusal)),
            None => parse(&bytes).map(Admitted::Command),
        }
    }

    /// Takes a line of words off the buffer; `None` if the line is incomplete, no words if it is
    /// blank.
    fn inline(&mut self, buffer: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
        let first = buffer.first().copied().unwrap_or(b'\n');
        if !first.is_ascii_alphabetic() && !first.is_ascii_whitespace() {
            let found = char::from(first).escape_default();
            return Err(ProtocolError::new(format!("expected '*', got '{found}'")));
        }
        let window = buffer.len().min(MAX_INLINE_BYTES);
        let found = buffer[self.searched..window]
            .iter()
            .position(|&byte| byte == b'\n');
        let Some(offset) = found else {
            if window == MAX_INLINE_BYTES {
                return Err(ProtocolError::new("too big inline request"));
            }
            self.searched = window;
            return Ok(None);
        };
        let line = buffer.split_to(self.searched + offset + 1).freeze();
        self.searched = 0;
        let words: Vec<Bytes> = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .map(|word| line.slice_ref(word))
            .collect();
        // A web page can make a browser send these here; the rest of the request must not run.
        if words.first().is_some_and(|word| is_http(word)) {
            return Err(ProtocolError::new("this is not an HTTP server"));
        }
        Ok(Some(words))
    }
}

fn is_http(word: &[u8]) -> bool {
    word.eq_ignore_ascii_case(b"post") || word.eq_ignore_ascii_case(b"host:")
}

/// Where the header line that starts at `start` ends, without its line end; `None` if that has not
/// arrived.
fn header_end(buffer: &[u8], start: usize) -> Result<Option<usize>, ProtocolError> {
    let line = &buffer[start..buffer.len().min(start + MAX_HEADER_BYTES)];
    match line.iter().position(|&byte| byte == b'\r') {
        Some(offset) => match line.get(offset + 1) {
            Some(b'\n') => Ok(Some(start + offset)),
            None if line.len() < MAX_HEADER_BYTES => Ok(None),
            _ => Err(ProtocolError::new("a line must end in CR LF")),
        },
        None if line.len() < MAX_HEADER_BYTES => Ok(None),
        None => Err(ProtocolError::new("too big count string")),
    }
}

/// A number of at most ten digits and nothing else.
fn decimal(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 10 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The command name of the frame at the head of the buffer, of which at least that has arrived.
fn first_word(buffer: &[u8]) -> Bytes {
    let bulk = buffer
        .iter()
        .position(|&byte| byte == b'\n')
        .map_or(0, |end| end + 1);
    let Ok(Some(end)) = header_end(buffer, bulk) else {
        return Bytes::new();
    };
    let length = decimal(&buffer[bulk + 1..end]).unwrap_or(0);
    let start = end + LINE_END;
    Bytes::copy_from_slice(buffer.get(start..start + length).unwrap_or_default())
}

/// Has the library parse an admitted frame. The arguments share its memory.
fn parse(frame: &Bytes) -> Result<Vec<Bytes>, ProtocolError> {
    match decode_bytes(frame) {
        Ok(Some((BytesFrame::Array(items), used))) if used == frame.len() => items
            .into_iter()
            .map(|item| match item {
                BytesFrame::BulkString(argument) => Ok(argument),
                _ => Err(ProtocolError::new("expected bulk strings")),
            })
            .collect(),
        Ok(_) => Err(ProtocolError::new("expected an array")),
        Err(error) => Err(ProtocolError::new(error.to_string())),
    }
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;
