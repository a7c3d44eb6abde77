//! Sending: one task for each lane of each peer, which connects, writes, and connects again.

use bytes::{Buf as _, BytesMut};
use replica::NodeId;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{self, Instant, MissedTickBehavior};

use super::backoff::Backoff;
use super::batch::Batch;
use super::error::LinkError;
use super::frame::Frame;
use super::handshake::{self, Answer, Hello, Lane};
use super::peer::Peer;
use super::stream::Stream;
use super::{Shared, accept, stopped};
use crate::storage::ClusterId;

/// Most frames and bytes that are written with one call of the system, as far as it takes them.
const BATCH_FRAMES: usize = 1024;
const BATCH_BYTES: usize = 256 * 1024;
/// Most pieces that are handed to the system at once.
const SLICES: usize = 64;
/// A frame of no bytes.
pub(super) const HEARTBEAT: [u8; 4] = [0; 4];

/// Why a connection that was good is not used any further.
enum End {
    /// The transport stops; everything that was queued has been written.
    Stopped,
    /// It was made without the cluster's id, or with another.
    ClusterChanged,
}

/// One lane to one peer.
struct Dialler {
    shared: Arc<Shared>,
    to: NodeId,
    lane: Lane,
    cluster: watch::Receiver<Option<ClusterId>>,
}

/// Keeps a lane connected until the transport stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    to: NodeId,
    lane: Lane,
    mut stop: watch::Receiver<bool>,
) {
    let times = shared.options.timeouts.clone();
    let mut backoff = Backoff::new(times.reconnect_min, times.reconnect_max);
    let cluster = shared.cluster.subscribe();
    let mut dialler = Dialler {
        shared,
        to,
        lane,
        cluster,
    };
    loop {
        let connected = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            connected = dialler.connect() => connected,
        };
        let ended = match connected {
            Ok(stream) => {
                let since = Instant::now();
                dialler.is_up();
                let ended = dialler.drive(stream, &mut stop).await;
                if since.elapsed() > times.reconnect_max {
                    backoff.reset();
                }
                ended
            }
            Err(error) => Err(error),
        };
        match ended {
            Ok(End::Stopped) => break,
            Ok(End::ClusterChanged) => continue,
            Err(error) => dialler.is_down(&error),
        }
        let wait = async {
            let long = time::sleep(backoff.wait());
            time::sleep(times.reconnect_min).await;
            tokio::select! {
                () = dialler.peer().heard_of(lane) => {}
                () = long => {}
            }
        };
        tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            () = wait => {}
        }
    }
}

impl Dialler {
    fn peer(&self) -> &Peer {
        &self.shared.peers[&self.to]
    }

    fn is_up(&self) {
        let (shared, to, lane) = (&self.shared, self.to, self.lane);
        self.peer()
            .counters
            .lane(lane)
            .connects
            .fetch_add(1, Relaxed);
        self.peer().lane_is_up(lane, || {
            tracing::info!(node = to.0, "connected");
            shared.handler.reachable(to, true);
        });
    }

    fn is_down(&self, error: &LinkError) {
        let (shared, to, lane) = (&self.shared, self.to, self.lane);
        self.peer()
            .counters
            .lane(lane)
            .failures
            .fetch_add(1, Relaxed);
        let changed = || shared.handler.reachable(to, false);
        match self.peer().lane_is_down(lane, error.to_string(), changed) {
            true => tracing::warn!(node = to.0, %error, "not connected"),
            false => tracing::debug!(node = to.0, ?lane, %error, "not connected"),
        }
    }

    /// Opens a connection and shakes hands.
    async fn connect(&mut self) -> Result<Stream, LinkError> {
        let times = self.shared.options.timeouts.clone();
        let address = self.peer().address.clone();
        let tcp = match time::timeout(times.connect, TcpStream::connect(&address)).await {
            Ok(Ok(tcp)) => tcp,
            Ok(Err(cause)) => return Err(LinkError::Connect { address, cause }),
            Err(_) => {
                let after = times.connect;
                return Err(LinkError::ConnectTimeout { address, after });
            }
        };
        let greeted = time::timeout(times.handshake, self.greet(tcp)).await;
        greeted.unwrap_or(Err(LinkError::HandshakeTimeout(times.handshake)))
    }

    async fn greet(&mut self, tcp: TcpStream) -> Result<Stream, LinkError> {
        tcp.set_nodelay(true)?;
        let options = &self.shared.options;
        let mut stream: Stream = match &options.tls {
            Some(tls) => {
                let connected = tls.connect(tcp, self.to, &options.cluster_name).await;
                Box::new(connected.map_err(LinkError::Tls)?)
            }
            None => Box::new(tcp),
        };
        let hello = Hello {
            node: options.node,
            to: self.to,
            lane: self.lane,
            cluster_name: options.cluster_name.clone(),
            cluster: *self.cluster.borrow_and_update(),
            nonce: getrandom::u64().map_err(io::Error::other)?,
            process: self.shared.process,
            terms: options.terms,
        };
        accept::write_frame(&mut stream, &hello.encode(options.versions)).await?;
        let mut buffer = BytesMut::new();
        let answer = accept::read_frame(&mut stream, &mut buffer, handshake::MAX_BYTES).await?;
        let (welcome, version) = Answer::decode(&answer, options.versions)?;
        welcome.check(self.to, &hello)?;
        if !buffer.is_empty() {
            return Err(LinkError::Malformed("it says more than was asked for"));
        }
        if let (None, Some(theirs)) = (hello.cluster, welcome.cluster) {
            self.shared.handler.cluster(self.to, theirs);
        }
        self.peer().note_version(self.lane, version);
        Ok(stream)
    }

    /// Writes what is queued, and heartbeats, until something ends that.
    async fn drive(
        &mut self,
        mut stream: Stream,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<End, LinkError> {
        let shared = Arc::clone(&self.shared);
        let (peer, times) = (&shared.peers[&self.to], &shared.options.timeouts);
        let dead = times.dead;
        let mut writer = Writer::new(peer, self.lane, dead);
        let mut ticks = time::interval(times.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut echo = [0; 64];
        loop {
            tokio::select! {
                biased;
                read = stream.read(&mut echo) => match read? {
                    0 => return Err(LinkError::Closed),
                    count if echo[..count].iter().all(|byte| *byte == 0) => {
                        writer.alive = Instant::now();
                        shared.handler.heard(self.to);
                    }
                    _ => return Err(LinkError::Malformed("it sends where it may only answer")),
                },
                () = stopped(stop) => {
                    while writer.write_some(&mut stream).await? {}
                    stream.shutdown().await?;
                    return Ok(End::Stopped);
                }
                _ = self.cluster.changed() => return Ok(End::ClusterChanged),
                _ = ticks.tick() => {
                    if writer.alive.elapsed() > dead {
                        return Err(LinkError::Dead(dead));
                    }
                    writer.write_heartbeat(&mut stream).await?;
                }
                () = peer.queue(self.lane).filled() => {
                    writer.write_some(&mut stream).await?;
                }
            }
        }
    }
}

/// Writes batches.
struct Writer<'a> {
    peer: &'a Peer,
    lane: Lane,
    dead: Duration,
    /// When the peer last showed that it takes what is sent.
    alive: Instant,
    batch: Batch,
    frames: Vec<Frame>,
}

impl<'a> Writer<'a> {
    fn new(peer: &'a Peer, lane: Lane, dead: Duration) -> Self {
        Self {
            peer,
            lane,
            dead,
            alive: Instant::now(),
            batch: Batch::default(),
            frames: Vec::new(),
        }
    }

    /// Writes the oldest frames of the queue. False if there were none.
    async fn write_some(&mut self, stream: &mut Stream) -> Result<bool, LinkError> {
        let queue = self.peer.queue(self.lane);
        if !queue.take(&mut self.frames, BATCH_FRAMES, BATCH_BYTES) {
            return Ok(false);
        }
        let count = self.frames.len();
        let bytes = self.frames.iter().map(Frame::len).sum();
        for frame in self.frames.drain(..) {
            self.batch.push(frame);
        }
        self.batch.seal();
        self.write_batch(stream).await?;
        let counters = self.peer.counters.lane(self.lane);
        queue.written(count, bytes, counters);
        counters.frames_sent.fetch_add(count as u64, Relaxed);
        let with_lengths = (bytes + 4 * count) as u64;
        counters.bytes_sent.fetch_add(with_lengths, Relaxed);
        Ok(true)
    }

    async fn write_heartbeat(&mut self, stream: &mut Stream) -> Result<(), LinkError> {
        let write = async {
            stream.write_all(&HEARTBEAT).await?;
            stream.flush().await
        };
        let written = time::timeout(self.dead, write).await;
        Ok(written.map_err(|_| LinkError::Dead(self.dead))??)
    }

    /// Writes the batch. A peer that does not take a byte for too long is dead; one that takes some of what
    /// had to wait is alive.
    async fn write_batch(&mut self, stream: &mut Stream) -> Result<(), LinkError> {
        while self.batch.has_remaining() {
            let mut waited = false;
            let write = poll_fn(|context| {
                let mut slices = [IoSlice::new(&[]); SLICES];
                let count = self.batch.chunks_vectored(&mut slices);
                let polled = Pin::new(&mut *stream).poll_write_vectored(context, &slices[..count]);
                waited |= polled.is_pending();
                polled
            });
            let written = time::timeout(self.dead, write).await;
            let written = written.map_err(|_| LinkError::Dead(self.dead))??;
            if written == 0 {
                return Err(LinkError::Closed);
            }
            if waited {
                self.alive = Instant::now();
            }
            self.batch.advance(written);
        }
        let flushed = time::timeout(self.dead, stream.flush()).await;
        Ok(flushed.map_err(|_| LinkError::Dead(self.dead))??)
    }
}
