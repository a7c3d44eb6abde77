//! One client connection: commands start in the order they arrive and overlap in flight; replies go
//! out in the same order.
//!
//! Two halves run as one task. The reading half admits and starts commands; the writing half awaits
//! their replies in turn. The queue between them is bounded in commands and in bytes, and the output
//! buffer in bytes, so a client that sends and never reads stops being read and costs no more memory.

use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::backend::BoxFuture;
use crate::commands::{self, Session, Shared, Started};
use crate::resp::admit::{Admitted, Admitter};
use crate::resp::reply::{Protocol, Reply};
use crate::server::stopped;

/// Bytes read at a time when nothing is known about what comes.
const READ_BYTES: usize = 16 * 1024;
/// What a command costs in memory beside the bytes of its words, per word.
const WORD_OVERHEAD_BYTES: usize = 64;

/// A started command on its way to the writing half.
struct Pending {
    reply: Replying,
    protocol: Protocol,
    /// The command's share of the bytes that may be in flight.
    _permit: Option<OwnedSemaphorePermit>,
}

enum Replying {
    Ready(Reply),
    Waiting(BoxFuture<Reply>),
}

/// Serves a connection until the client closes it, breaks the protocol, or the server stops.
///
/// # Errors
///
/// If the connection is lost.
pub(crate) async fn run(
    mut stream: TcpStream,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let limits = shared.backend.limits();
    let output_bytes = limits.output_buffer_bytes;
    let pipeline_bytes = u32::try_from(limits.max_pipeline_bytes)
        .unwrap_or(u32::MAX)
        .max(1);
    let (queue, pending) = mpsc::channel(limits.max_pipeline.max(1));
    let (reader, writer) = stream.split();
    let reading = Reading {
        reader,
        shutdown,
        admitter: Admitter::new(limits),
        session: Session::new(Arc::clone(&shared)),
        queue,
        pipeline: Arc::new(Semaphore::new(pipeline_bytes as usize)),
        pipeline_bytes,
    };
    tokio::try_join!(reading.run(), send_replies(writer, pending, output_bytes))?;
    Ok(())
}

/// The half that reads commands and starts them.
struct Reading<'a> {
    reader: ReadHalf<'a>,
    shutdown: watch::Receiver<bool>,
    admitter: Admitter,
    session: Session,
    queue: mpsc::Sender<Pending>,
    pipeline: Arc<Semaphore>,
    pipeline_bytes: u32,
}

impl Reading<'_> {
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        while self.start_admitted(&mut buffer).await {
            let missing = self.admitter.missing(&buffer);
            reserve(&mut buffer, missing);
            let read = tokio::select! {
                biased;
                () = stopped(&mut self.shutdown) => 0,
                read = self.reader.read_buf(&mut buffer) => read?,
            };
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Starts every whole command in the buffer. False if no more are to be read.
    async fn start_admitted(&mut self, buffer: &mut BytesMut) -> bool {
        loop {
            match self.admitter.next(buffer) {
                Ok(None) => return true,
                Ok(Some(Admitted::Command(words))) => {
                    if !self.start(&words).await {
                        return false;
                    }
                }
                Ok(Some(Admitted::Refused(refusal))) => {
                    let reply = commands::refused(&self.session, &refusal);
                    if !self.enqueue(Replying::Ready(reply), None).await {
                        return false;
                    }
                }
                Err(error) => {
                    self.enqueue(Replying::Ready(Reply::error(error)), None)
                        .await;
                    return false;
                }
            }
        }
    }

    async fn start(&mut self, words: &[Bytes]) -> bool {
        let size: usize = words
            .iter()
            .map(|word| word.len() + WORD_OVERHEAD_BYTES)
            .sum();
        let share = u32::try_from(size)
            .unwrap_or(u32::MAX)
            .min(self.pipeline_bytes);
        let permit = Arc::clone(&self.pipeline)
            .acquire_many_owned(share)
            .await
            .ok();
        let mut started = commands::start(&mut self.session, words);
        loop {
            match started {
                Started::Ready(reply) => return self.enqueue(Replying::Ready(reply), permit).await,
                Started::Waiting(reply) => {
                    return self.enqueue(Replying::Waiting(reply), permit).await;
                }
                Started::Held(rest) => started = rest.await,
                Started::Last(reply) => {
                    self.enqueue(Replying::Ready(reply), permit).await;
                    return false;
                }
            }
        }
    }

    /// Hands a reply to the writing half, when there is room. False if that half is gone.
    async fn enqueue(&mut self, reply: Replying, permit: Option<OwnedSemaphorePermit>) -> bool {
        let protocol = self.session.protocol();
        self.queue
            .send(Pending {
                reply,
                protocol,
                _permit: permit,
            })
            .await
            .is_ok()
    }
}

/// Makes room for the next read: exactly what is missing of a value, so that storing it wastes
/// nothing, but never more than has arrived before, as the announced length may be a lie.
fn reserve(buffer: &mut BytesMut, missing: usize) {
    let trusted = buffer.len().max(READ_BYTES);
    let room = if missing == 0 {
        READ_BYTES
    } else {
        missing.min(trusted)
    };
    if buffer.capacity() - buffer.len() < room.min(READ_BYTES) {
        buffer.reserve(room);
    }
}

/// Awaits the replies in order and writes them, as many at a time as are ready.
async fn send_replies(
    mut writer: WriteHalf<'_>,
    mut queue: mpsc::Receiver<Pending>,
    output_bytes: usize,
) -> io::Result<()> {
    let mut output = BytesMut::new();
    while let Some(pending) = meanwhile(&mut writer, &mut output, queue.recv()).await? {
        let reply = match pending.reply {
            Replying::Ready(reply) => reply,
            Replying::Waiting(reply) => meanwhile(&mut writer, &mut output, reply).await?,
        };
        reply
            .encode(pending.protocol, &mut output)
            .map_err(io::Error::other)?;
        if output.len() >= output_bytes {
            writer.write_all_buf(&mut output).await?;
            output = BytesMut::new();
        }
    }
    writer.write_all_buf(&mut output).await?;
    writer.shutdown().await
}

/// Awaits the future and writes output until it is complete.
async fn meanwhile<T>(
    writer: &mut WriteHalf<'_>,
    output: &mut BytesMut,
    future: impl Future<Output = T>,
) -> io::Result<T> {
    let mut future = pin!(future);
    loop {
        tokio::select! {
            biased;
            value = &mut future => return Ok(value),
            written = writer.write_buf(output), if !output.is_empty() => {
                if written? == 0 {
                    return Err(io::ErrorKind::WriteZero.into());
                }
            }
        }
    }
}
