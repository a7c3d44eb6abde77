//! Requests in bytes, and where replies end.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, BytesMut};

/// Values from this length on are written from where they are.
const SHARED_BYTES: usize = 16 * 1024;

/// What a system understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// The Redis protocol.
    Resp,
    /// The same, and every write waits until one replica has it.
    RespWait,
    /// The JSON gateway of etcd.
    EtcdJson,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Put,
    Get,
    /// One of both in turn.
    Both,
}

/// A command of the Redis protocol.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// The name of a key, 16 bytes.
pub fn key(number: u64) -> String {
    format!("key:{number:012}")
}

impl Wire {
    /// Replies that a request gets.
    pub const fn replies(self, is_put: bool) -> usize {
        match self {
            Self::RespWait if is_put => 2,
            _ => 1,
        }
    }

    /// Appends a request. If true, the value and an end of line are to be sent behind it.
    #[must_use = "the value may be missing"]
    pub fn request(self, out: &mut Vec<u8>, is_put: bool, key: &str, value: &[u8]) -> bool {
        if self == Self::EtcdJson {
            out.extend_from_slice(&etcd(is_put, key, value));
            return false;
        }
        if !is_put {
            out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\n");
            out.extend_from_slice(key.as_bytes());
            out.extend_from_slice(b"\r\n");
            return false;
        }
        out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n");
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
        if value.len() >= SHARED_BYTES {
            return true;
        }
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
        if self == Self::RespWait {
            out.extend_from_slice(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
        }
        false
    }
}

fn etcd(is_put: bool, key: &str, value: &[u8]) -> Vec<u8> {
    let (key, value) = (STANDARD.encode(key), STANDARD.encode(value));
    let (path, body) = match is_put {
        true => ("put", format!(r#"{{"key":"{key}","value":"{value}"}}"#)),
        false => ("range", format!(r#"{{"key":"{key}"}}"#)),
    };
    let length = body.len();
    format!(
        "POST /v3/kv/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Counts replies in what is received, and keeps none of it.
#[derive(Debug, Default)]
pub struct Replies {
    /// Bytes of the current reply that are still to come.
    skip: usize,
    /// Replies that were errors.
    pub errors: u64,
}

impl Replies {
    /// Takes what is there, and says how many replies ended in it.
    pub fn take(&mut self, wire: Wire, buffer: &mut BytesMut) -> usize {
        let mut ended = 0;
        loop {
            if self.skip > 0 {
                let taken = self.skip.min(buffer.len());
                buffer.advance(taken);
                self.skip -= taken;
                if self.skip > 0 {
                    return ended;
                }
                ended += 1;
                continue;
            }
            let head = match wire {
                Wire::EtcdJson => self.http_head(buffer),
                Wire::Resp | Wire::RespWait => self.resp_head(buffer),
            };
            match head {
                None => return ended,
                Some(0) => ended += 1,
                Some(rest) => self.skip = rest,
            }
        }
    }

    /// Takes the first line; what is left is the number of bytes behind it.
    fn resp_head(&mut self, buffer: &mut BytesMut) -> Option<usize> {
        let end = buffer.iter().position(|byte| *byte == b'\n')?;
        let line = buffer.split_to(end + 1);
        self.errors += u64::from(line[0] == b'-');
        if line[0] != b'$' {
            return Some(0);
        }
        let text = std::str::from_utf8(&line[1..end]).unwrap_or_default();
        Some(text.trim().parse::<usize>().map_or(0, |length| length + 2))
    }

    fn http_head(&mut self, buffer: &mut BytesMut) -> Option<usize> {
        let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = buffer.split_to(end + 4);
        let head = String::from_utf8_lossy(&head);
        self.errors += u64::from(!head.starts_with("HTTP/1.1 200"));
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        Some(length.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_counted_however_they_are_cut() {
        let stream = b"+OK\r\n$3\r\nabc\r\n$-1\r\n-ERR no\r\n:5\r\n$0\r\n\r\n";
        for cut in 0..stream.len() {
            let (mut replies, mut buffer) = (Replies::default(), BytesMut::new());
            let mut ended = 0;
            for part in [&stream[..cut], &stream[cut..]] {
                buffer.extend_from_slice(part);
                ended += replies.take(Wire::Resp, &mut buffer);
            }
            assert_eq!(
                (ended, replies.errors, buffer.len()),
                (6, 1, 0),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn an_http_reply_ends_where_its_length_says() {
        let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 503 no\r\ncontent-length: 0\r\n\r\n"[..]);
        let mut replies = Replies::default();
        assert_eq!(replies.take(Wire::EtcdJson, &mut buffer), 2);
        assert_eq!((replies.errors, buffer.len()), (1, 0));
    }
}
