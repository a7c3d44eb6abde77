//! The settings of a node: `node.toml`, the environment, and flags.
//!
//! Every setting has a key such as `limits.max_key_bytes`. Its value is, from weak to strong, the default, what
//! the file says, the environment variable `REPLICAD_LIMITS__MAX_KEY_BYTES`, and the flag
//! `--set limits.max_key_bytes=1000`. [`default_file`] has all of them with their meaning. A key that does
//! not exist, and a value out of its range, is an error wherever it comes from; an error names the place, the key,
//! the value and what is allowed, and all of them are reported together.

mod args;
mod check;
mod convert;
mod error;
mod read;
mod render;
mod settings;
mod table;

#[cfg(test)]
mod tests;

pub use args::ConfigArgs;
pub use error::{SettingsError, SettingsErrors, Source};
pub use render::default_file;
pub use settings::{
    Auth, ClientTlsFiles, Cluster, Conflict, Listen, Log, LogFormat, LogLevel, Metrics, Node,
    NodeEntry, PeerTlsFiles, Settings, SizeLimits, Storage, Store, SyncMode, Timeouts, Tls,
};
pub(crate) use table::is_label;
