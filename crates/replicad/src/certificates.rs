//! A private authority for one cluster, and the certificates that it signs.
//!
//! The authority is two files, `ca.pem` and `ca-key.pem`. Whoever has the key can make a node: it belongs on no
//! node, and in no backup of one. All keys are ECDSA on the curve P-256.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use replica::NodeId;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use time::{Duration, OffsetDateTime};

use crate::transport::tls::node_name;

/// Domain of the names of nodes, which no host may have.
const NODE_DOMAIN: &str = ".replicad";

/// How long before it is made a certificate is valid: machines' clocks differ.
const BACKDATED: Duration = Duration::days(1);

/// A certificate could not be made. Files that were there before are unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// A file could not be read or written, or is already there.
    #[error("cannot {action} {path}: {cause}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The files in the directory are no authority, or a name cannot stand in a certificate.
    #[error("cannot make the certificate: {0}")]
    Refused(#[from] rcgen::Error),
    /// A host with the name of a node.
    #[error("the host {0} is not allowed: names that end in {NODE_DOMAIN} are those of nodes")]
    NodeName(String),
    /// The certificate would be valid for longer than can be written.
    #[error("{0} days: a certificate ends before the year 9999")]
    Days(u32),
}

/// The files of a certificate and its key, which were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The certificate.
    pub certificate: PathBuf,
    /// The private key, which only its owner can read.
    pub key: PathBuf,
}

/// Makes an authority for the cluster of this name and writes it to a directory.
///
/// # Errors
/// If the directory has one already or cannot be written.
pub fn make_authority(
    directory: &Path,
    cluster_name: &str,
    days: u32,
) -> Result<Written, CertificateError> {
    let mut params = parameters(&format!("{cluster_name} authority of replicad"), days)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(directory, "ca", &certificate.pem(), &key)
}

/// An authority that signs.
pub struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// Reads the authority of a directory.
    ///
    /// # Errors
    /// If a file is missing or not what it should be.
    pub fn load(directory: &Path) -> Result<Self, CertificateError> {
        let (certificate, key) = paths(directory, "ca");
        let key = KeyPair::from_pem(&read(&key)?)?;
        Ok(Self(Issuer::from_ca_cert_pem(&read(&certificate)?, key)?))
    }

    /// Makes a certificate with which `node` of the cluster of this name speaks to its peers, and to clients that
    /// know it by one of `hosts`, names or IP addresses.
    ///
    /// # Errors
    /// If a host is not allowed, or a file is there already or cannot be written.
    pub fn make_node(
        &self,
        directory: &Path,
        cluster_name: &str,
        node: NodeId,
        hosts: &[String],
        days: u32,
    ) -> Result<Written, CertificateError> {
        let is_a_nodes = |host: &&String| {
            let host = host.to_ascii_lowercase();
            host.trim_end_matches('.').ends_with(NODE_DOMAIN) || host.contains('*')
        };
        if let Some(host) = hosts.iter().find(is_a_nodes) {
            return Err(CertificateError::NodeName(host.clone()));
        }
        let name = node_name(node, cluster_name);
        let mut params = parameters(&name, days)?;
        let names: Vec<String> = [&name].into_iter().chain(hosts).cloned().collect();
        params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        self.sign(params, directory, &format!("node-{}", node.0))
    }

    /// Makes a certificate for a client. It is good for no node.
    ///
    /// # Errors
    /// If a file is there already or cannot be written.
    pub fn make_client(
        &self,
        directory: &Path,
        name: &str,
        days: u32,
    ) -> Result<Written, CertificateError> {
        let mut params = parameters(name, days)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, directory, &format!("client-{name}"))
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        directory: &Path,
        stem: &str,
    ) -> Result<Written, CertificateError> {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.0)?;
        write(directory, stem, &certificate.pem(), &key)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn parameters(common_name: &str, days: u32) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let now = OffsetDateTime::now_utc();
    params.not_before = now - BACKDATED;
    let end = now.checked_add(Duration::days(days.into()));
    params.not_after = end
        .filter(|end| end.year() < 9_999)
        .ok_or(CertificateError::Days(days))?;
    Ok(params)
}

fn paths(directory: &Path, stem: &str) -> (PathBuf, PathBuf) {
    let file = |end: &str| directory.join(format!("{stem}{end}"));
    (file(".pem"), file("-key.pem"))
}

fn read(path: &Path) -> Result<String, CertificateError> {
    fs::read_to_string(path).map_err(|cause| CertificateError::File {
        action: "read",
        path: path.to_owned(),
        cause,
    })
}

fn write(
    directory: &Path,
    stem: &str,
    certificate_pem: &str,
    key: &KeyPair,
) -> Result<Written, CertificateError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| CertificateError::File {
            action: "write",
            path,
            cause,
        }
    };
    fs::create_dir_all(directory).map_err(failed(directory))?;
    let (certificate, key_path) = paths(directory, stem);
    create(&key_path, &key.serialize_pem(), true).map_err(failed(&key_path))?;
    create(&certificate, certificate_pem, false).map_err(failed(&certificate))?;
    Ok(Written {
        certificate,
        key: key_path,
    })
}

/// Writes a file that must not be there.
fn create(path: &Path, text: &str, is_secret: bool) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(if is_secret { 0o600 } else { 0o644 });
    }
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_their_owners_alone_and_files_are_not_overwritten() {
        let dir = tempfile::tempdir().expect("a directory");
        let written = make_authority(dir.path(), "demo", 10).expect("an authority");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(&written.key).expect("a file").permissions();
            assert_eq!(mode.mode() & 0o777, 0o600);
        }
        let before = fs::read(&written.certificate).expect("a file");
        let again = make_authority(dir.path(), "demo", 10).expect_err("it is there");
        assert!(again.to_string().contains("ca-key.pem"), "{again}");
        assert_eq!(fs::read(&written.certificate).expect("a file"), before);
        let authority = Authority::load(dir.path()).expect("an authority");
        assert!(!format!("{authority:?}").contains("PRIVATE"));
    }

    #[test]
    fn no_host_gets_the_name_of_a_node() {
        let dir = tempfile::tempdir().expect("a directory");
        make_authority(dir.path(), "demo", 10).expect("an authority");
        let authority = Authority::load(dir.path()).expect("an authority");
        for host in [
            "node-2.demo.replicad",
            "NODE-2.demo.Replicad.",
            "*.demo.replicad",
            "*",
        ] {
            let made = authority.make_node(dir.path(), "demo", NodeId(1), &[host.into()], 10);
            assert!(matches!(made, Err(CertificateError::NodeName(_))), "{host}");
        }
        let made = authority.make_node(dir.path(), "demo", NodeId(1), &[], u32::MAX);
        assert!(matches!(made, Err(CertificateError::Days(_))));
    }

    #[test]
    fn what_is_no_authority_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(matches!(
            Authority::load(dir.path()),
            Err(CertificateError::File { .. })
        ));
        fs::write(dir.path().join("ca.pem"), "nonsense").expect("written");
        fs::write(dir.path().join("ca-key.pem"), "nonsense").expect("written");
        assert!(matches!(
            Authority::load(dir.path()),
            Err(CertificateError::Refused(_))
        ));
    }
}
