//! How a store is kept.

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::ClusterId;

/// When what is committed reaches the disk.
///
/// | | before the reply | an ended process loses | lost power loses | after an unclean stop the node |
/// |---|---|---|---|---|
/// | `Always` | synced | nothing | nothing | goes on as it was |
/// | `Interval` | in this process's memory | what came since the last sync | the same | takes a new incarnation, its data a head start |
/// | `None` | with the operating system | nothing | all that the node held, possibly | takes a new incarnation, its data a head start |
///
/// What a node loses is still at the other nodes that acknowledged it, and comes back from them. An
/// acknowledged write is lost for good if all nodes that acknowledged it lose it: under `Always` their
/// disks must break; under `Interval` their processes must end within the same interval; under `None` they
/// must lose power before their systems have written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Every commit is on the disk when it returns.
    Always,
    /// Commits are synced together, at most this long after they were made. The store is consistent
    /// after every crash.
    Interval(Duration),
    /// Commits are written and never synced. After lost power the store may be damaged, which is noticed.
    None,
}

/// Whose store it is. A store of somebody else is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreOwner {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: NodeId,
}

/// How a store is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whose it is.
    pub owner: StoreOwner,
    /// When commits reach the disk.
    pub policy: SyncPolicy,
    /// Bytes of the file that are kept in memory, beside what the operating system keeps.
    pub cache_bytes: usize,
    /// Bytes of commits that are held in memory until they are synced together, with
    /// [`SyncPolicy::Interval`]. Above it, a commit waits until all are on the disk.
    pub waiting_bytes: usize,
    /// Bytes that have to be free on the file system for [`Store::has_room`](super::Store::has_room).
    pub reserve_bytes: u64,
}

impl StoreOptions {
    /// The defaults: `Always`, 64 MiB of cache, 64 MiB that wait, a reserve of 256 MiB.
    pub const fn new(owner: StoreOwner) -> Self {
        Self {
            owner,
            policy: SyncPolicy::Always,
            cache_bytes: 64 << 20,
            waiting_bytes: 64 << 20,
            reserve_bytes: 256 << 20,
        }
    }
}
