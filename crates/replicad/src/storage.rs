//! A node's storage: one file for all that it holds, and the directory around it.
//!
//! [`Store`] is the file. It takes what one turn of the node has changed, in all partitions of both key
//! spaces, as one transaction: that is the group commit. [`SyncPolicy`] says how much of it a crash may
//! take. [`PartitionStore`] shows one partition of it as [`replica::Storage`], to start a node from.
//!
//! # What a store remembers of itself
//!
//! The store keeps, in the same transactions as the data, whose it is and how its last run ended.
//! [`Store::standing`] draws the conclusion: whether the node may go on as the incarnation that it was, has
//! to take a new one with the data as a head start, or has nothing. A stop that may have lost
//! acknowledged writes and a restored snapshot are both recognised by it, whatever is configured now.
//!
//! # Damage
//!
//! Every page is checked when a store is opened, and every entry when it is read: its checksum covers key
//! and value, and a scan checks number and order. A damaged store is an error that says so: [`StoreFile`]
//! puts it aside and makes a new one of the partitions that are sound in it. The others come back as those that
//! have lost their data.

mod backend;
mod cluster_id;
mod create;
mod engine;
mod entry;
mod error;
mod hold;
mod metrics;
mod node_dir;
mod options;
mod partition_store;
mod reader;
mod record;
mod restore;
mod salvage;
mod snapshot;
mod state;
mod store;
mod store_file;
mod tables;
mod waiting;

pub use cluster_id::ClusterId;
pub use error::StoreError;
pub(crate) use metrics::StoreMetrics;
pub use node_dir::{NodeDir, NodeDirError};
pub use options::{StoreOptions, StoreOwner, SyncPolicy};
pub use partition_store::PartitionStore;
pub use reader::StoreReader;
pub use restore::{RestoreError, restore_snapshot};
pub use snapshot::{SnapshotManifest, SnapshotReport, read_snapshot_manifest};
pub use state::{HeadStart, Standing};
pub use store::{Room, Store};
pub use store_file::{DAMAGED_STORES, OpenedStore, PutAside, StoreFile};

pub use crate::store::Space;
