//! TLS: mutual between nodes, and for clients.
//!
//! A node's certificate, signed by the cluster's own authority, carries the name `node-3.demo.replicad` for node 3
//! of the cluster named `demo`. Whoever dials checks it as the name of a server; whoever is dialled checks it against
//! the number in the handshake. So a certificate of node 2 cannot speak as node 3, and a certificate for
//! clients, which has no such name, not as any node.

use replica::NodeId;
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, rustls, server};

/// Why certificates cannot be used. No message holds anything of a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is missing or not PEM.
    #[error("cannot read {what} from {path}: {cause}", path = path.display())]
    File {
        /// Certificate or key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The files do not fit together.
    #[error("the certificate {certificate} and its key or authority cannot be used: {cause}", certificate = certificate.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// What rustls says.
        cause: String,
    },
    /// The certificate is that of another node, or of a client.
    #[error(
        "the certificate {certificate} is not for {name}: make one with `replicad cert node --id {id}`",
        certificate = certificate.display(), id = node.0
    )]
    AnotherNode {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The node that it should be for.
        node: NodeId,
        /// The name that it should carry.
        name: String,
    },
}

/// The name of a node in its certificate.
pub fn node_name(node: NodeId, cluster_name: &str) -> String {
    format!("node-{}.{cluster_name}.replicad", node.0)
}

/// What a node needs to speak TLS with its peers.
#[derive(Clone)]
pub struct PeerTls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    own: Identity,
    certificate: PathBuf,
}

impl PeerTls {
    /// Reads the certificate of the cluster's authority, and this node's certificate and key, from PEM files.
    ///
    /// # Errors
    /// If a file cannot be read or the key is not that of the certificate.
    pub fn load(authority: &Path, certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let chain = certificates(certificate)?;
        let own = Identity(chain[0].clone());
        let (roots, key) = (certificates(authority)?, private_key(key)?);
        let configs = peer_configs(roots, chain, key);
        let (client, server) = configs.map_err(|cause| TlsError::Unusable {
            certificate: certificate.to_owned(),
            cause,
        })?;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            own,
            certificate: certificate.to_owned(),
        })
    }

    /// Checks that the certificate is that of `node`, so that a mistake shows at the start and not as peers
    /// that refuse.
    ///
    /// # Errors
    /// If it is for another node or cluster, or for clients.
    pub fn check(&self, node: NodeId, cluster_name: &str) -> Result<(), TlsError> {
        if self.own.is(node, cluster_name) {
            return Ok(());
        }
        Err(TlsError::AnotherNode {
            certificate: self.certificate.clone(),
            node,
            name: node_name(node, cluster_name),
        })
    }

    /// Shakes hands with `to`, whose certificate must be in its name.
    pub(super) async fn connect(
        &self,
        tcp: TcpStream,
        to: NodeId,
        cluster_name: &str,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let name = ServerName::try_from(node_name(to, cluster_name)).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.client))
            .connect(name, tcp)
            .await
    }

    /// Shakes hands with whoever has a certificate of the cluster's authority, and says whose it is.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> io::Result<(server::TlsStream<TcpStream>, Identity)> {
        let stream = TlsAcceptor::from(Arc::clone(&self.server))
            .accept(tcp)
            .await?;
        let presented = stream.get_ref().1.peer_certificates();
        let Some(certificate) = presented.and_then(<[_]>::first) else {
            return Err(io::Error::other("the peer has no certificate"));
        };
        let identity = Identity(certificate.clone().into_owned());
        Ok((stream, identity))
    }
}

impl fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerTls")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A certificate that was verified to be one of the cluster's authority, or is this node's own.
#[derive(Clone)]
pub(super) struct Identity(CertificateDer<'static>);

impl Identity {
    /// Whether it is that of `node`.
    pub(super) fn is(&self, node: NodeId, cluster_name: &str) -> bool {
        let parsed = ParsedCertificate::try_from(&self.0);
        let name = ServerName::try_from(node_name(node, cluster_name));
        matches!((parsed, name), (Ok(parsed), Ok(name)) if verify_server_name(&parsed, &name).is_ok())
    }
}

/// What a node needs to speak TLS 1.2 and 1.3 with clients: certificate and key, from PEM files. With `authority`
/// clients must show a certificate of that authority, otherwise they show none.
///
/// # Errors
/// If a file cannot be read or the key is not that of the certificate.
pub fn client_facing(
    certificate: &Path,
    key: &Path,
    authority: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, key) = (certificates(certificate)?, private_key(key)?);
    let roots = authority.map(certificates).transpose()?;
    let unusable = |cause: String| TlsError::Unusable {
        certificate: certificate.to_owned(),
        cause,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?;
    let builder = match roots {
        Some(roots) => builder.with_client_cert_verifier(
            verifier(root_store(roots).map_err(unusable)?).map_err(unusable)?,
        ),
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_single_cert(chain, key);
    Ok(Arc::new(
        config.map_err(|error| unusable(error.to_string()))?,
    ))
}

/// What a client of a node needs to speak TLS: the authority of the node's certificate, and certificate and key
/// of its own where the node asks for them, from PEM files.
///
/// # Errors
/// If a file cannot be read or the key is not that of the certificate.
pub fn for_clients(
    authority: &Path,
    own: Option<(&Path, &Path)>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let unusable = |cause: String| TlsError::Unusable {
        certificate: own
            .map_or(authority, |(certificate, _)| certificate)
            .to_owned(),
        cause,
    };
    let roots = root_store(certificates(authority)?).map_err(unusable)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(error.to_string()))?
        .with_root_certificates(roots);
    let Some((certificate, key)) = own else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let config = builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?);
    Ok(Arc::new(
        config.map_err(|error| unusable(error.to_string()))?,
    ))
}

fn root_store(authority: Vec<CertificateDer<'static>>) -> Result<Arc<RootCertStore>, String> {
    let mut roots = RootCertStore::empty();
    for root in authority {
        roots.add(root).map_err(|error| error.to_string())?;
    }
    Ok(Arc::new(roots))
}

fn verifier(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, String> {
    WebPkiClientVerifier::builder_with_provider(roots, provider())
        .build()
        .map_err(|error| error.to_string())
}

fn peer_configs(
    authority: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<(ClientConfig, ServerConfig), String> {
    let roots = root_store(authority)?;
    let verifier = verifier(Arc::clone(&roots))?;
    let server = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|config| {
            let config = config.with_client_cert_verifier(verifier);
            config.with_single_cert(chain.clone(), key.clone_key())
        })
        .map_err(|error| error.to_string())?;
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|config| {
            let config = config.with_root_certificates(roots);
            config.with_client_auth_cert(chain, key)
        })
        .map_err(|error| error.to_string())?;
    Ok((client, server))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |cause: String| TlsError::File {
        what: "certificates",
        path: path.to_owned(),
        cause,
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path)
        .map_err(|e| error(e.to_string()))?
        .collect();
    match found {
        Ok(found) if found.is_empty() => Err(error("there is no certificate in it".into())),
        Ok(found) => Ok(found),
        Err(e) => Err(error(e.to_string())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        what: "a private key",
        path: path.to_owned(),
        cause: error.to_string(),
    })
}
