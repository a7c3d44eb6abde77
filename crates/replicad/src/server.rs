//! The port of one node: accepts connections, bounds their number, and closes them in order.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time;

use crate::backend::Backend;
use crate::commands::Shared;
use crate::connection;
use crate::resp::reply::{Protocol, Reply};

/// How long a shutdown waits for clients to read the replies to what they sent.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);
/// How long to wait after the system refused a connection, which it does when it lacks resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on 127.0.0.1:{port}: {cause}; if another program uses the port, choose others \
     with --port"
)]
pub struct BindError {
    /// The port.
    pub port: u16,
    /// What the system said.
    #[source]
    pub cause: io::Error,
}

/// Opens a port on loopback. Connections queue up from here on and are served by [`serve`].
///
/// # Errors
///
/// If the port is in use or may not be opened.
pub async fn bind(port: u16) -> Result<TcpListener, BindError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|cause| BindError { port, cause })
}

/// Serves clients of one node until `shutdown` holds `true` or its sender is gone. Then no further
/// command starts, the replies to those that did are sent, and the connections are closed; clients
/// that do not read theirs are cut off after five seconds.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    mut shutdown: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared::new(backend));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => accept(stream, &shared, &shutdown, &mut connections),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let drained = time::timeout(SHUTDOWN_GRACE, async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(connections = connections.len(), "clients are cut off");
        connections.shutdown().await;
    }
}

/// Completes when the server is to stop.
pub(crate) async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    let _ = shutdown.wait_for(|&stop| stop).await;
}

fn accept(
    stream: TcpStream,
    shared: &Arc<Shared>,
    shutdown: &watch::Receiver<bool>,
    connections: &mut JoinSet<io::Result<()>>,
) {
    let Some(slot) = Slot::take(shared) else {
        refuse(&stream, shared.backend.limits().max_connections);
        return;
    };
    let shutdown = shutdown.clone();
    connections.spawn(async move {
        let result = connection::run(stream, Arc::clone(&slot.0), shutdown).await;
        drop(slot);
        result
    });
}

/// Tells a client over the connection limit so, if that takes no waiting.
fn refuse(stream: &TcpStream, limit: usize) {
    let reply = Reply::error(format!(
        "max number of clients reached: the limit is {limit}"
    ));
    let mut bytes = bytes::BytesMut::new();
    if reply.encode(Protocol::default(), &mut bytes).is_ok() {
        let _ = stream.try_write(&bytes);
    }
}

fn report(ended: Result<io::Result<()>, JoinError>) {
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "connection lost"),
        Err(error) => tracing::error!(%error, "connection task failed"),
    }
}

/// One of the bounded number of connections, given back when dropped.
struct Slot(Arc<Shared>);

impl Slot {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let limit = shared.backend.limits().max_connections;
        let slot = Self(Arc::clone(shared));
        (shared.connections.fetch_add(1, Ordering::Relaxed) < limit).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod tests;
