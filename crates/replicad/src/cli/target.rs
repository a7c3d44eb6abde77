//! Which node a subcommand asks, and how it shows who it is.

use std::path::{Path, PathBuf};
use std::{env, fs};

use super::{CliError, DEFAULT_PORT};
use crate::client::{Client, Value};
use crate::transport::tls;

/// The variable of the environment with the password.
const PASSWORD: &str = "REPLICAD_PASSWORD";

/// Which node a subcommand asks.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Target {
    /// Port of the node to ask, on this machine.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
    /// Host and port of the node to ask.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "port")]
    address: Option<String>,
    /// File whose first line is the password. Without it the variable REPLICAD_PASSWORD is looked at.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Speak TLS: the certificate of the authority that signed the node's, as a PEM file.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// A certificate to show, where the node asks for one.
    #[arg(long, value_name = "FILE", requires = "tls_ca", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The name in the node's certificate, if it is not the host of the address.
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
}

impl Target {
    /// A node on this machine.
    #[cfg(test)]
    pub(super) fn local(port: u16) -> Self {
        Self {
            port,
            address: None,
            password_file: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            tls_name: None,
        }
    }

    /// The same with another node.
    pub(super) fn at(&self, address: String) -> Self {
        Self {
            address: Some(address),
            ..self.clone()
        }
    }

    /// Connects, and names the password if there is one.
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        let local = || format!("127.0.0.1:{}", self.port);
        let address = self.address.clone().unwrap_or_else(local);
        let mut client = match &self.tls_ca {
            None => Client::connect_to(&address).await?,
            Some(authority) => {
                let own = self.tls_cert.as_deref().zip(self.tls_key.as_deref());
                let config = tls::for_clients(authority, own).map_err(CliError::other)?;
                let name = self.tls_name.as_deref().unwrap_or_else(|| host(&address));
                Client::connect_in_tls(&address, name, config).await?
            }
        };
        if let Some(password) = self.password()? {
            let reply = client.call(&[b"AUTH", password.as_bytes()]).await?;
            if reply != Value::Bytes("OK".into()) {
                return Err(reply.unexpected("AUTH").into());
            }
        }
        Ok(client)
    }

    fn password(&self) -> Result<Option<String>, CliError> {
        match &self.password_file {
            Some(path) => read_line(path).map(Some),
            None => Ok(env::var(PASSWORD).ok().filter(|word| !word.is_empty())),
        }
    }
}

fn read_line(path: &Path) -> Result<String, CliError> {
    let text = fs::read_to_string(path).map_err(|cause| CliError::File {
        action: "read the password from",
        path: path.display().to_string(),
        cause,
    })?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => {
            let path = path.display();
            Err(CliError::Other(format!(
                "the first line of {path} is empty"
            )))
        }
    }
}

/// The host of an address.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_what_stands_before_the_port() {
        assert_eq!(host("node-1.example:7001"), "node-1.example");
        assert_eq!(host("[::1]:7001"), "::1");
    }

    #[test]
    fn the_first_line_of_a_file_is_the_password_and_an_empty_one_is_none() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("password");
        fs::write(&path, "se cret\nmore\n").expect("written");
        assert_eq!(read_line(&path).expect("a line"), "se cret");
        fs::write(&path, "\n").expect("written");
        assert!(read_line(&path).is_err());
        assert!(read_line(&directory.path().join("none")).is_err());
    }
}
