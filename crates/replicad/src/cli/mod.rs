//! The command line.
//!
//! Without a subcommand the program runs a cluster. The subcommands talk to a running one over the
//! same ports as any other client.

mod cert;
mod config;
mod dump;
mod load;
mod node;
mod password;
mod rows;
mod run;
mod start;
mod status;
mod tsv;

use clap::{Parser, Subcommand, ValueEnum};
use std::fmt::Display;
use std::process::ExitCode;

use crate::client::ClientError;

pub use run::RunOptions;

/// The first port of a cluster, and the one that subcommands ask.
const DEFAULT_PORT: u16 = 7001;

/// A replicated store that speaks the Redis protocol. Without a subcommand: runs a cluster of nodes
/// on this machine.
#[derive(Debug, Parser)]
#[command(name = "replicad", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print all settings of a node with their defaults, or check a file of settings.
    Config(config::ConfigOptions),
    /// Make an authority and certificates for a cluster.
    Cert(cert::CertOptions),
    /// Run one node of a cluster whose nodes are processes.
    Start(start::StartArgs),
    /// Begin a new cluster, once all its nodes have been started. Said once, to any of them.
    Bootstrap(start::BootstrapArgs),
    /// Load keys and values from a file into a running cluster.
    Load(load::LoadOptions),
    /// Write all keys and values of a running node to standard output.
    Dump(dump::DumpOptions),
    /// Show what every node holds and lacks.
    Status(status::StatusOptions),
    /// Take a node down or bring it back.
    Node(node::NodeOptions),
    /// Read a password from standard input and print its hash, for the configuration.
    Password,
}

/// Which node a subcommand asks.
#[derive(Debug, Clone, Copy, clap::Args)]
struct Target {
    /// Port of the node to ask.
    #[arg(long, default_value_t = DEFAULT_PORT)]
    port: u16,
}

/// How keys and values are written in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Two columns, separated by a tab. Further columns are ignored.
    Tsv,
    /// One JSON object per line with the fields `key` and `value`.
    Jsonl,
}

/// Why a subcommand could not do its work.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The cluster could not be asked, or refused.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {cause}")]
    File {
        action: &'static str,
        path: String,
        cause: std::io::Error,
    },
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

/// Does what the command line says. The exit status is 0 on success, 1 on failure (of `load`: also if
/// any row was not loaded) and 2 if the command line is wrong.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let Some(command) = cli.command else {
        return match crate::run::run(cli.run) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(error),
        };
    };
    if let Command::Start(arguments) = &command {
        return match start::start(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(error),
        };
    }
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failure(format!("cannot start: {error}")),
    };
    let result = runtime.block_on(async {
        match command {
            Command::Config(options) => config::config(&options).map(|()| ExitCode::SUCCESS),
            Command::Cert(options) => cert::cert(&options).map(|()| ExitCode::SUCCESS),
            // Runs until it is told to stop, on a runtime of its own: above.
            Command::Start(_) => Ok(ExitCode::SUCCESS),
            Command::Bootstrap(arguments) => start::bootstrap(&arguments)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Load(options) => load::load(&options).await,
            Command::Dump(options) => dump::dump(&options).await.map(|()| ExitCode::SUCCESS),
            Command::Status(options) => status::status(&options).await.map(|()| ExitCode::SUCCESS),
            Command::Node(options) => node::node(&options).await.map(|()| ExitCode::SUCCESS),
            Command::Password => password::password().map(|()| ExitCode::SUCCESS),
        }
    });
    // A thread may still wait for a line on standard input; it ends with the process.
    runtime.shutdown_background();
    result.unwrap_or_else(failure)
}

#[expect(
    clippy::print_stderr,
    reason = "this is where the program reports that it failed"
)]
fn failure(error: impl Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
