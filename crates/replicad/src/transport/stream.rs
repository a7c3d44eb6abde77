//! A connection, with or without TLS.

use tokio::io::{AsyncRead, AsyncWrite};

/// Reads and writes bytes.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// A connection of either kind.
pub(super) type Stream = Box<dyn Io>;
