//! The port of one node: accepts connections, bounds their number, and closes them in order.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time;
use tokio_rustls::TlsAcceptor;

use crate::backend::Backend;
use crate::commands::Shared;
use crate::connection;
use crate::password::Password;
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

/// What a client has to bring. Nothing, by default.
#[derive(Clone, Default)]
pub struct Access {
    /// Speaks TLS on the port, and only that.
    pub tls: Option<TlsAcceptor>,
    /// The password, which a client names with `AUTH` or `HELLO` before anything else.
    pub password: Option<Password>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access")
            .field("tls", &self.tls.is_some())
            .field("password", &self.password)
            .finish()
    }
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
    access: Access,
    mut shutdown: watch::Receiver<bool>,
) {
    let server = Arc::new(Server {
        shared: Arc::new(Shared::new(backend, access.password)),
        tls: access.tls,
        addresses: Mutex::default(),
    });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    accept(stream, peer.ip(), &server, &shutdown, &mut connections);
                }
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

/// What the connections of one port share.
struct Server {
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
    /// Connections by address; only addresses that have some are listed.
    addresses: Mutex<BTreeMap<IpAddr, usize>>,
}

impl Server {
    /// Serves one connection, in TLS or plain.
    async fn converse(
        &self,
        mut stream: TcpStream,
        mut shutdown: watch::Receiver<bool>,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let shared = Arc::clone(&self.shared);
        let Some(acceptor) = &self.tls else {
            let (reader, writer) = stream.split();
            return connection::run(reader, writer, shared, shutdown).await;
        };
        let patience = shared.backend.limits().handshake_timeout;
        let accepted = tokio::select! {
            biased;
            () = stopped(&mut shutdown) => return Ok(()),
            accepted = time::timeout(patience, acceptor.accept(stream)) => accepted,
        };
        let stream = accepted.map_err(|_| io::ErrorKind::TimedOut)??;
        let (reader, writer) = tokio::io::split(stream);
        connection::run(reader, writer, shared, shutdown).await
    }

    fn addresses(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(
    stream: TcpStream,
    address: IpAddr,
    server: &Arc<Server>,
    shutdown: &watch::Receiver<bool>,
    connections: &mut JoinSet<io::Result<()>>,
) {
    let slot = match Slot::take(server, address) {
        Ok(slot) => slot,
        Err(refused) => {
            server.shared.metrics.refused.inc();
            if server.tls.is_none() {
                refuse(&stream, &refused);
            }
            return;
        }
    };
    server.shared.metrics.accepted.inc();
    let shutdown = shutdown.clone();
    connections.spawn(async move {
        let result = slot.server.converse(stream, shutdown).await;
        drop(slot);
        result
    });
}

/// Tells a client over a limit so, if that takes no waiting.
fn refuse(stream: &TcpStream, refused: &TooMany) {
    let mut bytes = bytes::BytesMut::new();
    let reply = Reply::error(refused);
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

/// A connection over a limit.
#[derive(Debug, thiserror::Error)]
enum TooMany {
    #[error("max number of clients reached: the limit is {0}")]
    InAll(usize),
    #[error("max number of clients of one address reached: the limit is {0}")]
    OfTheAddress(usize),
}

/// One of the bounded number of connections, given back when dropped.
struct Slot {
    server: Arc<Server>,
    address: IpAddr,
}

impl Slot {
    fn take(server: &Arc<Server>, address: IpAddr) -> Result<Self, TooMany> {
        let limits = server.shared.backend.limits();
        let in_all = server.shared.connections.fetch_add(1, Ordering::Relaxed);
        server.shared.metrics.connections.inc();
        let of_the_address = {
            let mut addresses = server.addresses();
            let count = addresses.entry(address).or_default();
            *count += 1;
            *count
        };
        // Dropped again, and so given back, if it is over a limit.
        let slot = Self {
            server: Arc::clone(server),
            address,
        };
        if in_all >= limits.max_connections {
            Err(TooMany::InAll(limits.max_connections))
        } else if of_the_address > limits.max_connections_per_address {
            Err(TooMany::OfTheAddress(limits.max_connections_per_address))
        } else {
            Ok(slot)
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let shared = &self.server.shared;
        shared.connections.fetch_sub(1, Ordering::Relaxed);
        shared.metrics.connections.dec();
        let mut addresses = self.server.addresses();
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
