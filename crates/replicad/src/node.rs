//! The nodes behind the front end: their stores, their actors, and the cluster that they form in this
//! process.

mod actor;
mod cluster;
mod data_dir;
mod local_node;
mod redb_storage;

pub use cluster::{LocalCluster, StartError};
pub use data_dir::DataDirError;
pub use redb_storage::RedbStorage;
