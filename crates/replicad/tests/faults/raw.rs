//! Clients by the thousand, and clients that misbehave: bytes on a socket, without a library.

use std::io;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::cluster::ip;

/// A connection.
pub(crate) struct Raw {
    pub(crate) stream: BufReader<TcpStream>,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A line: a status, a number or an error, with its first character.
    Line(String),
    /// Bytes, or none.
    Bulk(Option<Vec<u8>>),
}

/// The bytes of a command.
pub(crate) fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Raw {
    pub(crate) async fn connect(node: u32) -> io::Result<Self> {
        let stream = TcpStream::connect((ip(node), 7001)).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::new(stream);
        Ok(Self { stream })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    pub(crate) async fn receive(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        let Some(length) = line.strip_prefix('$') else {
            return Ok(Answer::Line(line));
        };
        let length: i64 = length.parse().map_err(io::Error::other)?;
        if length < 0 {
            return Ok(Answer::Bulk(None));
        }
        let mut bytes = vec![0; length as usize + 2];
        self.stream.read_exact(&mut bytes).await?;
        bytes.truncate(length as usize);
        Ok(Answer::Bulk(Some(bytes)))
    }

    pub(crate) async fn ask(&mut self, words: &[&[u8]]) -> io::Result<Answer> {
        self.send(&command(words)).await?;
        self.receive().await
    }
}

impl Answer {
    /// The answer of a write.
    pub(crate) fn ok() -> Self {
        Self::Line("+OK".into())
    }
}

/// A runtime for many clients.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}
