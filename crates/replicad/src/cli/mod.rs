//! The command line.
//!
//! Without a subcommand the program runs a cluster. The subcommands talk to a running one over the
//! same ports as any other client.

mod cert;
mod config;
mod dump;
mod explain;
mod load;
mod node;
mod password;
mod rows;
mod run;
mod snapshot;
mod start;
mod status;
mod target;
mod tsv;
mod verify;

use target::Target;

use clap::{Parser, Subcommand, ValueEnum};
use std::fmt::Display;
use std::process::ExitCode;

use crate::client::{Client, ClientError, Value};

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
    /// Write all strings of a running node to standard output. Counters and sets are left out.
    Dump(dump::DumpOptions),
    /// Show what every node holds and lacks.
    Status(status::StatusOptions),
    /// Show what a node knows of a key.
    Explain(explain::ExplainOptions),
    /// Compare what the nodes hold.
    Verify(verify::VerifyOptions),
    /// Copy the store of a running node to a new directory on its machine.
    Snapshot(snapshot::SnapshotOptions),
    /// Make the data directory of a node of a snapshot.
    Restore(snapshot::RestoreOptions),
    /// Take a node down or bring it back.
    Node(node::NodeOptions),
    /// Read a password from standard input and print its hash, for the configuration.
    Password,
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

impl CliError {
    /// An error of another part, in its words.
    fn other(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Prints an answer as JSON.
#[expect(clippy::print_stdout, reason = "it is the output of a subcommand")]
fn print_json(answer: &impl serde::Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(answer).map_err(CliError::other)?;
    println!("{json}");
    Ok(())
}

/// Asks a question whose answer is JSON.
async fn ask_json<T: serde::de::DeserializeOwned>(
    client: &mut Client,
    command: &'static str,
    words: &[&[u8]],
) -> Result<T, CliError> {
    match client.call(words).await? {
        Value::Bytes(json) => serde_json::from_slice(&json).map_err(|error| {
            CliError::Other(format!("cannot read the answer to {command}: {error}"))
        }),
        other => Err(other.unexpected(command).into()),
    }
}

/// Does what the command line says. The exit status is 0 on success, 1 on failure (of `load`: also if
/// any row was not loaded) and 2 if the command line is wrong; of `verify` also 3 if something is damaged and 4
/// if that is not known.
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
            Command::Explain(options) => {
                explain::explain(&options).await.map(|()| ExitCode::SUCCESS)
            }
            Command::Verify(options) => verify::verify(&options).await,
            Command::Snapshot(options) => snapshot::snapshot(&options)
                .await
                .map(|()| ExitCode::SUCCESS),
            Command::Restore(options) => snapshot::restore(&options).map(|()| ExitCode::SUCCESS),
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
