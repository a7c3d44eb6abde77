//! A small client of the protocol, for the subcommands.

use bytes::{Bytes, BytesMut};
use redis_protocol::resp2::{decode::decode_bytes_mut, types::BytesFrame};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};
use tokio_util::io::{poll_read_buf, poll_write_buf};

/// Bytes of one reply that are accepted; nothing that the subcommands ask for is longer.
const MAX_REPLY_BYTES: usize = 512 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing accepted the connection.
    #[error("cannot connect to {address}: {cause}; is `replicad` running?")]
    Connect {
        /// The address tried.
        address: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The connection broke. Whatever was not answered may or may not have taken effect.
    #[error("lost the connection to {address}: {cause}")]
    Lost {
        /// The address of the server.
        address: String,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// No encrypted conversation came about.
    #[error("cannot speak TLS with {address}: {cause}")]
    Tls {
        /// The address of the server.
        address: String,
        /// What was wrong.
        #[source]
        cause: io::Error,
    },
    /// The server does not speak the protocol.
    #[error("{address} does not answer in the Redis protocol: {reason}")]
    Protocol {
        /// The address of the server.
        address: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// The server refused a command.
    #[error("{0}")]
    Refused(String),
    /// The server answered something that the command does not answer.
    #[error("unexpected answer to {command}: {reply}")]
    Unexpected {
        /// The command.
        command: &'static str,
        /// The answer.
        reply: String,
    },
}

/// One reply of the server.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// A status or any bytes.
    Bytes(Bytes),
    /// A number.
    Integer(i64),
    /// Nothing is there.
    Null,
    /// A sequence.
    Array(Vec<Value>),
    /// The command was refused, and why. The general code `ERR` is left out, others are part of it.
    Error(String),
}

impl Value {
    /// The value, with a refusal as an error.
    ///
    /// # Errors
    ///
    /// If the command was refused.
    pub fn accepted(self) -> Result<Self, ClientError> {
        match self {
            Self::Error(message) => Err(ClientError::Refused(message)),
            other => Ok(other),
        }
    }

    /// The error for a reply that `command` does not give.
    pub fn unexpected(&self, command: &'static str) -> ClientError {
        let reply = format!("{self:?}").chars().take(200).collect();
        ClientError::Unexpected { command, reply }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.fmt(f),
            Self::Integer(number) => number.fmt(f),
            Self::Null => f.write_str("null"),
            Self::Array(items) => items.fmt(f),
            Self::Error(message) => write!(f, "error {message}"),
        }
    }
}

impl From<BytesFrame> for Value {
    fn from(frame: BytesFrame) -> Self {
        match frame {
            BytesFrame::SimpleString(bytes) | BytesFrame::BulkString(bytes) => Self::Bytes(bytes),
            BytesFrame::Integer(number) => Self::Integer(number),
            BytesFrame::Null => Self::Null,
            BytesFrame::Array(items) => Self::Array(items.into_iter().map(Self::from).collect()),
            BytesFrame::Error(message) => {
                Self::Error(message.strip_prefix("ERR ").unwrap_or(&message).to_owned())
            }
        }
    }
}

/// A connection, plain or in TLS.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A connection to one node. Commands are queued and their replies received in the same order;
/// several may be under way.
pub struct Client {
    address: String,
    stream: Box<dyn Stream>,
    output: BytesMut,
    /// Whether all that was written has left this process. TLS keeps some back until it is told.
    is_flushed: bool,
    input: BytesMut,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

async fn open(address: &str) -> Result<TcpStream, ClientError> {
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    connected.await.map_err(|cause| ClientError::Connect {
        address: address.to_owned(),
        cause,
    })
}

impl Client {
    /// Connects to a port on loopback.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn connect(port: u16) -> Result<Self, ClientError> {
        Self::connect_to(&format!("{}:{port}", Ipv4Addr::LOCALHOST)).await
    }

    /// Connects to an address, as `host:port`.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn connect_to(address: &str) -> Result<Self, ClientError> {
        let stream = open(address).await?;
        Ok(Self::over(address.to_owned(), Box::new(stream)))
    }

    /// Connects to an address, and speaks TLS with whoever has a certificate for `name` there.
    ///
    /// # Errors
    ///
    /// If nothing listens there, or the server is not who it should be.
    pub async fn connect_in_tls(
        address: &str,
        name: &str,
        config: Arc<ClientConfig>,
    ) -> Result<Self, ClientError> {
        let stream = open(address).await?;
        let spoken = async {
            let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
            TlsConnector::from(config).connect(name, stream).await
        };
        let stream = spoken.await.map_err(|cause| ClientError::Tls {
            address: address.to_owned(),
            cause,
        })?;
        Ok(Self::over(address.to_owned(), Box::new(stream)))
    }

    fn over(address: String, stream: Box<dyn Stream>) -> Self {
        Self {
            address,
            stream,
            output: BytesMut::new(),
            is_flushed: true,
            input: BytesMut::new(),
        }
    }

    /// Queues a command; it is sent when a reply is waited for.
    pub fn queue(&mut self, words: &[&[u8]]) {
        use std::fmt::Write;
        // Writing to a buffer in memory cannot fail.
        let _ = write!(self.output, "*{}\r\n", words.len());
        for word in words {
            let _ = write!(self.output, "${}\r\n", word.len());
            self.output.extend_from_slice(word);
            self.output.extend_from_slice(b"\r\n");
        }
    }

    /// Bytes of queued commands that have not been sent.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Waits for the next reply, sending queued commands meanwhile. No reply is lost if the returned
    /// future is dropped.
    ///
    /// # Errors
    ///
    /// If the connection breaks or the server does not speak the protocol.
    pub async fn receive(&mut self) -> Result<Value, ClientError> {
        loop {
            if let Some(value) = self.decode()? {
                return Ok(value);
            }
            self.input.reserve(READ_BYTES);
            match poll_fn(|context| self.advance(context)).await {
                Ok(0) => return Err(self.lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(cause) => return Err(self.lost(cause)),
            }
        }
    }

    /// Sends one command and waits for its reply; a refusal is an error.
    ///
    /// # Errors
    ///
    /// If the command is refused or cannot be asked.
    pub async fn call(&mut self, words: &[&[u8]]) -> Result<Value, ClientError> {
        self.queue(words);
        self.receive().await?.accepted()
    }

    /// Writes what the server takes, and reads what there is: the bytes that came, 0 at the end.
    fn advance(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut stream = Pin::new(&mut *self.stream);
        while !self.output.is_empty() {
            self.is_flushed = false;
            match poll_write_buf(stream.as_mut(), context, &mut self.output) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if self.output.is_empty() && !self.is_flushed {
            match stream.as_mut().poll_flush(context) {
                Poll::Ready(Ok(())) => self.is_flushed = true,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        let read = ready!(poll_read_buf(stream, context, &mut self.input));
        Poll::Ready(read)
    }

    /// Takes a whole reply off the input, if there is one.
    fn decode(&mut self) -> Result<Option<Value>, ClientError> {
        if self.input.is_empty() {
            return Ok(None);
        }
        match decode_bytes_mut(&mut self.input) {
            Ok(Some((frame, _, _))) => Ok(Some(frame.into())),
            Ok(None) if self.input.len() > MAX_REPLY_BYTES => {
                Err(self.protocol(format!("a reply is over {MAX_REPLY_BYTES} bytes")))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(self.protocol(error.to_string())),
        }
    }

    fn lost(&self, cause: io::Error) -> ClientError {
        ClientError::Lost {
            address: self.address.clone(),
            cause,
        }
    }

    fn protocol(&self, reason: String) -> ClientError {
        ClientError::Protocol {
            address: self.address.clone(),
            reason,
        }
    }
}
