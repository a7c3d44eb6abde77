//! Running a cluster.

use clap::{Args, value_parser};
use std::path::PathBuf;

use super::DEFAULT_PORT;
use crate::limits::Limits;

/// What a cluster on this machine looks like.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct RunOptions {
    /// Directory of the nodes' stores; made if missing.
    #[arg(long, default_value = "./replicad-data")]
    pub data_dir: PathBuf,
    /// Port of node 1; node i listens on the i-th port from here.
    #[arg(long, default_value_t = DEFAULT_PORT, value_parser = value_parser!(u16).range(1..))]
    pub port: u16,
    /// Number of nodes.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(3..=100))]
    pub nodes: u32,
    /// Largest value accepted, in bytes.
    #[arg(
        long,
        default_value_t = Limits::default().max_value_bytes as u64,
        value_parser = value_parser!(u64).range(1..=MAX_LIMIT_BYTES)
    )]
    pub max_value_bytes: u64,
    /// Largest key accepted, in bytes.
    #[arg(
        long,
        default_value_t = Limits::default().max_key_bytes as u64,
        value_parser = value_parser!(u64).range(1..=MAX_LIMIT_BYTES)
    )]
    pub max_key_bytes: u64,
}

/// Largest limit that can be chosen for a key or value: half of a command that is buffered.
const MAX_LIMIT_BYTES: u64 = 32 * 1024 * 1024;

impl RunOptions {
    /// The limits of the front end of each node.
    pub fn limits(&self) -> Limits {
        let defaults = Limits::default();
        Limits {
            max_key_bytes: usize::try_from(self.max_key_bytes).unwrap_or(defaults.max_key_bytes),
            max_value_bytes: usize::try_from(self.max_value_bytes)
                .unwrap_or(defaults.max_value_bytes),
            ..defaults
        }
    }
}
