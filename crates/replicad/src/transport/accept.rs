//! Receiving: the listener, and one task for each connection that a peer has opened.

use bytes::BytesMut;
use replica::NodeId;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time;
use tokio_util::codec::Decoder as _;

use super::error::LinkError;
use super::handshake::{self, Answer, Hello, Lane, Refusal, Welcome};
use super::lane::HEARTBEAT;
use super::receiving::{Receiving, codec};
use super::stream::Stream;
use super::{Shared, stopped};
use crate::storage::ClusterId;

/// How long to wait after the system refused a connection, which it does when it lacks resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The connection of each lane of each peer: dropping the sender closes it. A later one takes the place of
/// the earlier.
type Current = Arc<Mutex<BTreeMap<(NodeId, Lane), oneshot::Sender<()>>>>;

/// A connection of a peer whose handshake is done.
struct Incoming {
    stream: Stream,
    from: NodeId,
    lane: Lane,
    cluster: Option<ClusterId>,
    buffer: BytesMut,
}

/// Accepts connections until the transport stops.
pub(super) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let handshakes = Arc::new(Semaphore::new(shared.options.limits.max_handshakes));
    let current = Current::default();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of a peer");
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        shared.counters.accepted.fetch_add(1, Relaxed);
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            shared.counters.crowded.fetch_add(1, Relaxed);
            continue;
        };
        let (shared, current) = (Arc::clone(&shared), Arc::clone(&current));
        connections.spawn(async move {
            let Some(incoming) = welcome(tcp, &shared, permit, &address.to_string()).await else {
                return;
            };
            let node = incoming.from.0;
            let lane = incoming.lane;
            let error = receive(incoming, &shared, &current).await;
            tracing::debug!(node, ?lane, %error, "a peer's connection has ended");
        });
    }
    drop(listener);
    connections.shutdown().await;
}

/// Shakes hands, or says why not.
async fn welcome(
    tcp: TcpStream,
    shared: &Shared,
    _permit: OwnedSemaphorePermit,
    address: &str,
) -> Option<Incoming> {
    let limit = shared.options.timeouts.handshake;
    let greeted = time::timeout(limit, greet(tcp, shared)).await;
    match greeted.unwrap_or(Err(LinkError::HandshakeTimeout(limit))) {
        Ok(incoming) => Some(incoming),
        Err(error) => {
            shared.counters.refused.fetch_add(1, Relaxed);
            // Strangers do not fill the log.
            if shared.may_warn() {
                tracing::warn!(address, %error, "a connection from a peer is not accepted");
            } else {
                tracing::debug!(address, %error, "a connection from a peer is not accepted");
            }
            None
        }
    }
}

async fn greet(tcp: TcpStream, shared: &Shared) -> Result<Incoming, LinkError> {
    tcp.set_nodelay(true)?;
    let options = &shared.options;
    let (mut stream, identity): (Stream, _) = match &options.tls {
        Some(tls) => {
            let (stream, identity) = tls.accept(tcp).await.map_err(LinkError::Tls)?;
            (Box::new(stream), Some(identity))
        }
        None => (Box::new(tcp), None),
    };
    let mut buffer = BytesMut::new();
    let frame = read_frame(&mut stream, &mut buffer, handshake::MAX_BYTES).await?;
    let checked = Hello::decode(&frame, options.versions).and_then(|hello| {
        if let Some(identity) = &identity
            && !identity.is(hello.node, &options.cluster_name)
        {
            return Err(Refusal::Certificate(hello.node).into());
        }
        hello.check(shared)?;
        Ok(hello)
    });
    let hello = match checked {
        Ok(hello) => hello,
        Err(error) => {
            if let LinkError::Refused(refusal) = &error {
                let answer = Answer::refused(refusal).encode(options.versions);
                write_frame(&mut stream, &answer).await?;
                stream.shutdown().await?;
            }
            return Err(error);
        }
    };
    let ours = *shared.cluster.borrow();
    let answer = Answer::Welcome(Welcome {
        node: options.node,
        cluster: ours,
        nonce: hello.nonce,
    });
    write_frame(&mut stream, &answer.encode(options.versions)).await?;
    if let (None, Some(theirs)) = (ours, hello.cluster) {
        shared.handler.cluster(hello.node, theirs);
    }
    tracing::debug!(node = hello.node.0, lane = ?hello.lane, process = hello.process, "accepted");
    Ok(Incoming {
        stream,
        from: hello.node,
        lane: hello.lane,
        cluster: hello.cluster,
        buffer,
    })
}

/// Hands on what the peer sends, and answers heartbeats, until something ends that. Returns what did.
async fn receive(incoming: Incoming, shared: &Shared, current: &Current) -> LinkError {
    let (keep, mut replaced) = oneshot::channel();
    let (from, lane) = (incoming.from, incoming.lane);
    let before = current
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .insert((from, lane), keep);
    drop(before);
    shared.peers[&from].was_heard_of();
    let mut cluster = shared.cluster.subscribe();
    let theirs = incoming.cluster;
    let mut reader = Reader::new(incoming, shared);
    loop {
        tokio::select! {
            biased;
            _ = &mut replaced => return LinkError::Replaced,
            another = cluster.wait_for(|ours| handshake::same_cluster(*ours, theirs).is_err()) => {
                return match another.map(|ours| handshake::same_cluster(*ours, theirs)) {
                    Ok(Err(refusal)) => refusal.into(),
                    _ => LinkError::Closed,
                };
            }
            read = reader.read_some() => if let Err(error) = read {
                return error;
            },
        }
    }
}

/// Takes frames out of what is received.
struct Reader<'a> {
    stream: Stream,
    receiving: Receiving,
    from: NodeId,
    shared: &'a Shared,
}

impl<'a> Reader<'a> {
    fn new(incoming: Incoming, shared: &'a Shared) -> Self {
        let limit = shared.options.limits.max_frame_bytes;
        Self {
            receiving: Receiving::new(incoming.buffer, incoming.lane, limit),
            stream: incoming.stream,
            from: incoming.from,
            shared,
        }
    }

    /// Reads once, and hands on the frames that are complete. Nothing is lost if it is dropped while it waits
    /// for bytes.
    async fn read_some(&mut self) -> Result<(), LinkError> {
        let dead = self.shared.options.timeouts.dead;
        let read = time::timeout(dead, self.stream.read_buf(self.receiving.room())).await;
        let bytes = read.map_err(|_| LinkError::Dead(dead))??;
        if bytes == 0 {
            return Err(LinkError::Closed);
        }
        self.shared.handler.heard(self.from);
        let (mut frames, mut is_asked) = (0, false);
        while let Some(frame) = self.receiving.next()? {
            if frame.is_empty() {
                is_asked = true;
            } else {
                frames += 1;
                self.shared.handler.message(self.from, frame);
            }
        }
        let counters = &self.shared.peers[&self.from].counters;
        counters.frames_received.fetch_add(frames, Relaxed);
        counters.bytes_received.fetch_add(bytes as u64, Relaxed);
        if is_asked {
            // One answer to any number of heartbeats. A peer that does not take it is given up.
            let answer = async {
                self.stream.write_all(&HEARTBEAT).await?;
                self.stream.flush().await
            };
            let answered = time::timeout(dead, answer).await;
            answered.map_err(|_| LinkError::Dead(dead))??;
        }
        Ok(())
    }
}

/// Reads one frame of at most `max_bytes`; what comes after it stays in `buffer`.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    max_bytes: usize,
) -> Result<BytesMut, LinkError> {
    let mut codec = codec(max_bytes);
    loop {
        match codec.decode(buffer) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(_) => return Err(LinkError::Malformed("its first frame is too long")),
        }
        if stream.read_buf(buffer).await? == 0 {
            return Err(LinkError::Closed);
        }
    }
}

/// Writes one frame of a handshake.
pub(super) async fn write_frame(
    stream: &mut (impl AsyncWrite + Unpin),
    frame: &[u8],
) -> io::Result<()> {
    let mut bytes = (frame.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    stream.write_all(&bytes).await?;
    stream.flush().await
}
