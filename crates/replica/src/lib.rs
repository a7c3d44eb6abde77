//! A pure replication protocol over the `crdt` crate, with drivers that need no network.

mod checksum;
mod clock;
mod cluster;
mod config;
mod identity;
mod majority;
mod message;
mod partition;
mod request;
pub mod sim;
mod storage;

pub use checksum::checksum;
pub use clock::Now;
pub use cluster::{Cluster, ClusterBuilder, ClusterError, NodeHandle, RecoverError, WaitTimeout};
pub use config::{ClockKind, Config, ConfigError, MAX_NODES};
pub use identity::{NodeId, incarnation, incarnation_number, node_of};
pub use majority::{MajorityError, MajorityNode, MajorityStore};
pub use message::{Envelope, Extent, Message, StoreListing, StoredCell, SyncAnswer};
pub use partition::{Counters, Output, Partition, Ready, State, Status};
pub use request::{Command, Level, Outcome, RequestError, RequestId};
pub use storage::{MemoryStorage, Storage, StorageError, Table, Visitor, WriteBatch};
