//! `replicad cert`: an authority for a cluster, and certificates.

use clap::{Args, Subcommand, value_parser};
use replica::{MAX_NODES, NodeId};
use std::path::PathBuf;

use super::CliError;
use crate::certificates::{Authority, CertificateError, Written, make_authority};
use crate::config::is_label;

#[derive(Debug, Args)]
pub(super) struct CertOptions {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Make the authority of a cluster: ca.pem, which every node gets, and ca-key.pem, which none gets.
    Ca {
        #[command(flatten)]
        name: ClusterName,
        #[command(flatten)]
        common: Common,
    },
    /// Make the certificate of a node, for its peers and for clients.
    Node {
        /// Directory with ca.pem and ca-key.pem.
        #[arg(long)]
        ca: PathBuf,
        /// Number of the node: node.id.
        #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(MAX_NODES)))]
        id: u32,
        /// A name or IP address under which clients know the node. May be given more than once.
        #[arg(long)]
        host: Vec<String>,
        #[command(flatten)]
        name: ClusterName,
        #[command(flatten)]
        common: Common,
    },
    /// Make a certificate for a client, for nodes that ask for one (tls.clients.ca).
    Client {
        /// Directory with ca.pem and ca-key.pem.
        #[arg(long)]
        ca: PathBuf,
        /// Name of the client.
        #[arg(long, value_parser = label)]
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct ClusterName {
    /// Name of the cluster: cluster.name.
    #[arg(long, default_value = "replicad", value_parser = label)]
    cluster: String,
}

#[derive(Debug, Args)]
struct Common {
    /// Directory for the two files; made if missing. Files that are there are never overwritten.
    #[arg(long)]
    out: PathBuf,
    /// How long the certificate is valid. Nodes refuse each other after that.
    #[arg(long, default_value_t = 3650)]
    days: u32,
}

#[expect(
    clippy::print_stdout,
    reason = "what was written is the output of the subcommand"
)]
pub(super) fn cert(options: &CertOptions) -> Result<(), CliError> {
    let written = make(&options.what).map_err(|error| CliError::Other(error.to_string()))?;
    println!("certificate  {}", written.certificate.display());
    println!("private key  {}", written.key.display());
    Ok(())
}

fn make(what: &What) -> Result<Written, CertificateError> {
    match what {
        What::Ca { name, common } => make_authority(&common.out, &name.cluster, common.days),
        What::Node {
            ca,
            id,
            host,
            name,
            common,
        } => Authority::load(ca)?.make_node(
            &common.out,
            &name.cluster,
            NodeId(*id),
            host,
            common.days,
        ),
        What::Client { ca, name, common } => {
            Authority::load(ca)?.make_client(&common.out, name, common.days)
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("1 to 32 of a-z, 0-9 and -, not beginning or ending with -".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;
    use std::path::Path;

    fn run(words: &[&str], out: &Path) -> Result<(), CliError> {
        let out = out.display().to_string();
        let line = ["replicad", "cert"].iter().chain(words);
        let line = line.copied().chain(["--out", &out]);
        match Cli::try_parse_from(line).expect("a command").command {
            Some(Command::Cert(options)) => cert(&options),
            other => panic!("{other:?} is another command"),
        }
    }

    #[test]
    fn an_authority_signs_for_nodes_and_clients() {
        let dir = tempfile::tempdir().expect("a directory");
        let (ca, out) = (dir.path().join("ca"), dir.path().join("out"));
        let ca_text = ca.display().to_string();
        run(&["ca", "--cluster", "demo"], &ca).expect("an authority");
        let node = [
            "node",
            "--ca",
            &ca_text,
            "--id",
            "3",
            "--cluster",
            "demo",
            "--host",
            "::1",
        ];
        run(&node, &out).expect("a certificate");
        run(&["client", "--ca", &ca_text, "--name", "app"], &out).expect("a certificate");
        for file in [
            "node-3.pem",
            "node-3-key.pem",
            "client-app.pem",
            "client-app-key.pem",
        ] {
            assert!(out.join(file).is_file(), "{file}");
        }
        let again = run(&node, &out).expect_err("they are there");
        assert!(again.to_string().contains("node-3-key.pem"), "{again}");
        let nowhere = run(&["client", "--ca", "/nowhere", "--name", "app"], &out);
        assert!(nowhere.is_err());
    }
}
