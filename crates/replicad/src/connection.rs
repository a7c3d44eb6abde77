//! One client connection: commands start in the order they arrive and overlap in flight; replies go
//! out in the same order.
//!
//! Two halves run as one task. The reading half admits and starts commands; the writing half awaits
//! their replies in turn. The queue between them is bounded in commands and in bytes, and the output
//! buffer in bytes, so a client that sends and never reads stops being read and costs no more memory.
//! Long commands of all connections together are bounded too: where there is no room a connection waits and is not
//! read, until the node has answered enough of those before.
//!
//! A connection that stands still in the middle of a command or of a reply is cut off after a while.

use bytes::{Bytes, BytesMut};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{self, Instant};

use crate::backend::BoxFuture;
use crate::commands::{self, Session, Shared, Started};
use crate::metrics::{RequestMetrics, Watch};
use crate::resp::admit::{Admitted, Admitter};
use crate::resp::reply::{Protocol, Reply};
use crate::server::stopped;
use crate::store::Share;

/// Bytes read at a time when nothing is known about what comes.
const READ_BYTES: usize = 16 * 1024;
/// Room below which more is made then.
const LEAST_READ_BYTES: usize = 2 * 1024;
/// What a command costs in memory beside the bytes of its words, per word.
const WORD_OVERHEAD_BYTES: usize = 64;

/// Commands of this length and longer are bounded in all connections together. Shorter ones never wait for them.
const LONG_BYTES: usize = 64 * 1024;

/// A started command on its way to the writing half.
struct Pending {
    reply: Replying,
    protocol: Protocol,
    watch: Watch,
    /// The command's share of the bytes that may be in flight.
    _permit: Option<OwnedSemaphorePermit>,
}

enum Replying {
    Ready(Reply),
    Waiting(BoxFuture<Reply>),
    /// Short replies one after the other, as they go out.
    Encoded(BytesMut),
}

/// Replies up to about this length are encoded as soon as they are known; longer ones share their memory with the
/// store until it is their turn.
const SHORT_BYTES: usize = 1024;
/// How much is encoded before it is handed to the writing half.
const ENCODED_BYTES: usize = 16 * 1024;

/// Serves a connection until the client closes it, breaks the protocol, stands still, or the server
/// stops.
///
/// # Errors
///
/// If the connection is lost, or the client does not read.
pub(crate) async fn run(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    shared: Arc<Shared>,
    shutdown: watch::Receiver<bool>,
) -> io::Result<()> {
    let limits = shared.backend.limits();
    let pipeline_bytes = u32::try_from(limits.max_pipeline_bytes)
        .unwrap_or(u32::MAX)
        .max(1);
    let (queue, pending) = mpsc::channel(limits.max_pipeline.max(1));
    let unanswered = Arc::new(AtomicUsize::new(0));
    let output = Output {
        writer,
        buffer: BytesMut::new(),
        is_flushed: true,
        limit_bytes: limits.output_buffer_bytes,
        stall_timeout: limits.stall_timeout,
        metrics: Arc::clone(&shared.metrics),
    };
    let reading = Reading {
        reader,
        shutdown,
        admitter: Admitter::new(limits),
        // A time too far to be reckoned with is none.
        introduction: Instant::now().checked_add(limits.handshake_timeout),
        session: Session::new(Arc::clone(&shared)),
        queue,
        unanswered: Arc::clone(&unanswered),
        encoded: BytesMut::new(),
        encoded_permit: None,
        pipeline: Arc::new(Semaphore::new(pipeline_bytes as usize)),
        pipeline_bytes,
        stall_timeout: limits.stall_timeout,
        idle_timeout: limits.idle_timeout,
        metrics: Arc::clone(&shared.metrics),
        shared,
    };
    tokio::try_join!(reading.run(), send_replies(output, pending, &unanswered))?;
    Ok(())
}

/// The half that reads commands and starts them.
struct Reading<R> {
    reader: R,
    shutdown: watch::Receiver<bool>,
    admitter: Admitter,
    session: Session,
    queue: mpsc::Sender<Pending>,
    /// Commands whose answers the writing half still waits for.
    unanswered: Arc<AtomicUsize>,
    /// Short replies that have not been handed to the writing half, and their commands' share of the bytes in flight.
    encoded: BytesMut,
    encoded_permit: Option<OwnedSemaphorePermit>,
    pipeline: Arc<Semaphore>,
    pipeline_bytes: u32,
    /// When a client that has to name a password must have done so.
    introduction: Option<Instant>,
    stall_timeout: Duration,
    idle_timeout: Option<Duration>,
    metrics: Arc<RequestMetrics>,
    shared: Arc<Shared>,
}

impl<R: AsyncRead + Unpin> Reading<R> {
    async fn run(mut self) -> io::Result<()> {
        let mut buffer = BytesMut::new();
        while self.start_admitted(&mut buffer).await {
            let missing = self.admitter.missing(&buffer);
            reserve(&mut buffer, missing);
            if self.read(&mut buffer).await? == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Reads what there is. Nothing if the client or the server has ended the conversation, or the client
    /// has been silent for too long.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        loop {
            let until = self.until(buffer);
            tokio::select! {
                biased;
                () = stopped(&mut self.shutdown) => return Ok(0),
                read = self.reader.read_buf(buffer) => {
                    if let Ok(bytes) = &read {
                        self.metrics.bytes_received.inc_by(*bytes as u64);
                    }
                    return read;
                }
                () = sleep_until(until) => {
                    if self.session.is_stranger() || !self.awaits_answers() {
                        tracing::debug!("a client has been silent for too long");
                        return Ok(0);
                    }
                }
            }
        }
    }

    /// Until when the next bytes must have come.
    fn until(&self, buffer: &BytesMut) -> Option<Instant> {
        if self.session.is_stranger() {
            return self.introduction;
        }
        let patience = match self.admitter.is_partial(buffer) {
            true => Some(self.stall_timeout),
            false => self.idle_timeout,
        };
        Instant::now().checked_add(patience?)
    }

    /// Whether the client has sent a command whose reply is not written yet: it is not idle then.
    fn awaits_answers(&self) -> bool {
        self.pipeline.available_permits() < self.pipeline_bytes as usize
    }

    /// Starts every whole command in the buffer. False if no more are to be read.
    async fn start_admitted(&mut self, buffer: &mut BytesMut) -> bool {
        let goes_on = self.start_each(buffer).await;
        self.hand_over().await && goes_on
    }

    async fn start_each(&mut self, buffer: &mut BytesMut) -> bool {
        loop {
            self.admitter.set_stranger(self.session.is_stranger());
            match self.admitter.next(buffer) {
                Ok(None) => return true,
                Ok(Some(Admitted::Command(words))) => {
                    if !self.start(&words).await {
                        return false;
                    }
                }
                Ok(Some(Admitted::Refused(refusal))) => {
                    let reply = commands::too_long(&self.session, &refusal);
                    let watch = Watch::begin(None);
                    if !self.enqueue(Replying::Ready(reply), watch, None).await {
                        return false;
                    }
                }
                Err(error) => {
                    let (reply, watch) = (Reply::error(error), Watch::begin(None));
                    self.enqueue(Replying::Ready(reply), watch, None).await;
                    return false;
                }
            }
        }
    }

    async fn start(&mut self, words: &[Bytes]) -> bool {
        let watch = Watch::begin(words.first().map(|name| &name[..]));
        let size: usize = words
            .iter()
            .map(|word| word.len() + WORD_OVERHEAD_BYTES)
            .sum();
        let share = u32::try_from(size)
            .unwrap_or(u32::MAX)
            .min(self.pipeline_bytes);
        let Some(permit) = self.permit(share).await else {
            return false;
        };
        if size >= LONG_BYTES && !self.hold_share(size).await {
            return false;
        }
        self.session
            .set_behind(self.unanswered.load(Ordering::Relaxed) > 0);
        let mut started = commands::start(&mut self.session, words);
        loop {
            match started {
                Started::Ready(reply) => {
                    return self.enqueue(Replying::Ready(reply), watch, permit).await;
                }
                Started::Waiting(reply) => {
                    return self.enqueue(Replying::Waiting(reply), watch, permit).await;
                }
                Started::Held(rest) => {
                    if !self.hand_over().await {
                        return false;
                    }
                    started = rest.await;
                }
                Started::Resumed(rest) => {
                    if !self.hand_over().await {
                        return false;
                    }
                    let resume = rest.await;
                    started = resume(&mut self.session);
                }
                Started::Last(reply) => {
                    self.enqueue(Replying::Ready(reply), watch, permit).await;
                    return false;
                }
            }
        }
    }

    /// Holds a share of the bytes that all connections may have in progress for a long command, when there is room.
    /// False if the writing half is gone.
    async fn hold_share(&mut self, size: usize) -> bool {
        if !self.hand_over().await {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        let share = Share::take(size, &shared.long).await;
        self.session.set_share(share);
        true
    }

    /// A share of the bytes that may be in flight, when there is room. `None` if the writing half is gone.
    async fn permit(&mut self, share: u32) -> Option<Option<OwnedSemaphorePermit>> {
        if let Ok(permit) = Arc::clone(&self.pipeline).try_acquire_many_owned(share) {
            return Some(Some(permit));
        }
        // What is held back here may be what takes the room.
        if !self.hand_over().await {
            return None;
        }
        let permit = Arc::clone(&self.pipeline).acquire_many_owned(share);
        Some(permit.await.ok())
    }

    /// Hands a reply to the writing half, when there is room. False if that half is gone.
    async fn enqueue(
        &mut self,
        reply: Replying,
        watch: Watch,
        permit: Option<OwnedSemaphorePermit>,
    ) -> bool {
        // All that the command asks has been asked, and its client may be slow to read.
        self.session.set_share(Share::default());
        let protocol = self.session.protocol();
        let reply = match reply {
            // With others in the queue each counts as one, so that their number stays bounded.
            Replying::Ready(reply)
                if reply.is_shorter_than(SHORT_BYTES)
                    && self.queue.capacity() == self.queue.max_capacity() =>
            {
                self.metrics.answered(watch, &reply);
                if reply.encode(protocol, &mut self.encoded).is_err() {
                    return false;
                }
                match (&mut self.encoded_permit, permit) {
                    (Some(held), Some(permit)) => held.merge(permit),
                    (held, permit) => *held = held.take().or(permit),
                }
                return self.encoded.len() < ENCODED_BYTES || self.hand_over().await;
            }
            reply => reply,
        };
        if !self.hand_over().await {
            return false;
        }
        if matches!(reply, Replying::Waiting(_)) {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
        self.send(reply, watch, permit).await
    }

    /// Hands what is encoded to the writing half. False if that half is gone.
    async fn hand_over(&mut self) -> bool {
        if self.encoded.is_empty() {
            return true;
        }
        let (encoded, permit) = (self.encoded.split(), self.encoded_permit.take());
        self.send(Replying::Encoded(encoded), Watch::begin(None), permit)
            .await
    }

    async fn send(
        &mut self,
        reply: Replying,
        watch: Watch,
        permit: Option<OwnedSemaphorePermit>,
    ) -> bool {
        let protocol = self.session.protocol();
        self.queue
            .send(Pending {
                reply,
                protocol,
                watch,
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
    let (room, least) = match missing {
        0 => (READ_BYTES, LEAST_READ_BYTES),
        _ => (missing.min(trusted), missing.min(READ_BYTES)),
    };
    if buffer.capacity() - buffer.len() < least {
        buffer.reserve(room);
    }
}

/// A moment that may never come.
async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Awaits the replies in order and writes them, as many at a time as are ready.
async fn send_replies<W: AsyncWrite + Unpin>(
    mut output: Output<W>,
    mut queue: mpsc::Receiver<Pending>,
    unanswered: &AtomicUsize,
) -> io::Result<()> {
    while let Some(pending) = output.meanwhile(queue.recv()).await? {
        let encode = |reply: Reply, buffer: &mut BytesMut| {
            let encoded = reply.encode(pending.protocol, buffer);
            encoded.map_err(io::Error::other)
        };
        match pending.reply {
            Replying::Ready(reply) => {
                output.metrics.answered(pending.watch, &reply);
                encode(reply, &mut output.buffer)?;
            }
            Replying::Waiting(reply) => {
                let reply = output.meanwhile(reply).await?;
                unanswered.fetch_sub(1, Ordering::Relaxed);
                output.metrics.answered(pending.watch, &reply);
                encode(reply, &mut output.buffer)?;
            }
            // Counted when they were encoded.
            Replying::Encoded(encoded) => output.append(encoded),
        }
        if output.buffer.len() >= output.limit_bytes {
            output.drain().await?;
            output.buffer = BytesMut::new();
        }
    }
    output.drain().await?;
    let closed = time::timeout(output.stall_timeout, output.writer.shutdown());
    closed.await.map_err(|_| not_read())?
}

/// Replies on their way to the client.
struct Output<W> {
    writer: W,
    buffer: BytesMut,
    /// Whether all that was written has left this process. TLS keeps some back until it is told.
    is_flushed: bool,
    /// Bytes in the buffer at which nothing more is encoded.
    limit_bytes: usize,
    stall_timeout: Duration,
    metrics: Arc<RequestMetrics>,
}

impl<W: AsyncWrite + Unpin> Output<W> {
    fn append(&mut self, encoded: BytesMut) {
        match self.buffer.is_empty() {
            true => self.buffer = encoded,
            false => self.buffer.extend_from_slice(&encoded),
        }
    }

    fn is_done(&self) -> bool {
        self.buffer.is_empty() && self.is_flushed
    }

    /// Awaits the future and writes until it is complete.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> io::Result<T> {
        let mut future = pin!(future);
        loop {
            tokio::select! {
                biased;
                value = &mut future => return Ok(value),
                advanced = self.advance(), if !self.is_done() => advanced?,
            }
        }
    }

    /// Writes everything.
    async fn drain(&mut self) -> io::Result<()> {
        while !self.is_done() {
            self.advance().await?;
        }
        Ok(())
    }

    /// Writes what the client takes now. Nothing is lost if the returned future is dropped.
    async fn advance(&mut self) -> io::Result<()> {
        let (writer, buffer) = (&mut self.writer, &mut self.buffer);
        let patience = self.stall_timeout;
        if buffer.is_empty() {
            let flushed = time::timeout(patience, writer.flush()).await;
            flushed.map_err(|_| not_read())??;
            self.is_flushed = true;
            return Ok(());
        }
        // Set before the bytes go: whoever awaits this may not come back.
        self.is_flushed = false;
        let written = time::timeout(patience, writer.write_buf(buffer)).await;
        match written.map_err(|_| not_read())?? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            bytes => {
                self.metrics.bytes_sent.inc_by(bytes as u64);
                Ok(())
            }
        }
    }
}

fn not_read() -> io::Error {
    let reason = "the client does not read its replies";
    io::Error::new(io::ErrorKind::TimedOut, reason)
}
