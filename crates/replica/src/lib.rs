//! A pure replication protocol over the `crdt` crate, with drivers that need no network.
//!
//! The protocol refuses to decide when and where anything happens. It has no clock: time is an
//! argument. It has no sockets: messages are values that a driver moves, and may lose. It has no disk:
//! changes are handed out to be made durable. It starts no threads, draws no randomness, does not find
//! its peers, and does not judge who is down: hints steer requests, and safety never depends on them.
//! What it does decide is what a lattice cannot: how many owners must agree, which answers count, when
//! a node that lost its data may serve again, and when a tombstone may go.
//!
//! A [`Partition`] is one node's state machine. Inputs are its `handle_*` methods; what there is to do
//! afterwards comes from [`Partition::take_ready`]. A driver in a few lines, without durability and
//! without loss:
//!
//! ```
//! use bytes::Bytes;
//! use replica::{Command, Config, Level, NodeId, Now, Output, Partition, Request, RequestId};
//!
//! let now = Now::default();
//! let start = |i| Partition::bootstrap(Config::new(NodeId(i), 3), u64::from(i), now);
//! let mut nodes: [Partition; 3] = [start(1)?, start(2)?, start(3)?];
//! let put = Command::put(Bytes::from("sky"), Bytes::from("blue"));
//! nodes[0].handle_request(RequestId(1), Request::new(put, Level::Quorum), now);
//! let mut reply = None;
//! for sender in [1, 2, 3, 1] {
//!     for output in nodes[sender - 1].take_ready().outputs {
//!         match output {
//!             Output::Send { to, envelope } => {
//!                 nodes[to.0 as usize - 1].handle_message(NodeId(sender as u32), envelope, now);
//!             }
//!             Output::Reply { result, .. } => reply = Some(result),
//!             _ => {}
//!         }
//!     }
//! }
//! assert!(matches!(reply, Some(Ok(_))), "a majority holds the write");
//! assert_eq!(nodes[2].read_local(b"sky")?.as_deref(), Some(&b"blue"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | I need | use |
//! |---|---|
//! | to drive a node from my own network and clock | [`Partition`], [`Output`], [`Ready`], [`Now`] |
//! | to say how large a cluster is and what it accepts | [`Config`], [`ClockKind`] |
//! | to ask for a write again, so that it happens once | [`Request::retry_of`] |
//! | to know what to send and what comes back | [`Command`], [`Level`], [`Outcome`], [`RequestError`] |
//! | to carry messages | [`Envelope`], [`Message`]; both serialise; [`codec`] for a format of my choice; [`visit_values`] to carry large values without copying them |
//! | state that survives a restart | [`Storage`], [`WriteBatch`], [`MemoryStorage`], [`Partition::restore`] |
//! | to write a storage of my own, and test it | [`storage`] |
//! | to bring back a node that lost its data | [`Partition::recover`] |
//! | to look at a node, and compare two | [`Status`], [`Counters`], [`checksum()`] |
//! | a cluster inside my own program | [`Cluster`]; [`MajorityStore`] for strings |
//! | to learn which keys change | [`NodeHandle::subscribe`]; [`Partition::watch_changes`] |
//! | to test under faults that replay from a seed | [`sim`] |
//! | to judge what clients saw, of any store | [`check`] |
//! | a guess of who can be reached | [`liveness`] |
//!
//! Unless [`Config`] says otherwise every node owns every key, and a write or read at [`Level::Quorum`] needs a majority of
//! the nodes. With partitions ([`Config::partitions`], [`Config::with_owners`]) each key is on `K` of them, and `W` of those
//! hold a write, `R` are joined for a read.

mod causal;
pub mod check;
mod checksum;
mod clock;
mod cluster;
pub mod codec;
mod config;
mod gossip;
mod identity;
pub mod liveness;
mod majority;
mod message;
mod node;
mod operation;
mod partition;
mod placement;
mod policy;
mod request;
mod session;
pub mod siblings;
pub mod sim;
pub mod storage;
mod sync;
mod timestamped;

pub use causal::{CausalSession, CausalStore, SessionError};
pub use checksum::checksum;
pub use clock::Now;
pub use cluster::{
    Cluster, ClusterBuilder, ClusterError, NodeHandle, RecoverError, Subscription,
    SubscriptionError, WaitTimeout,
};
pub use config::{
    ClockKind, Config, ConfigError, GivenUp, Gossip, MAX_NODES, MAX_OPERATION_MEMORY,
    MAX_PARTITIONS,
};
pub use gossip::{GossipNode, GossipStore};
pub use identity::{NodeId, incarnation, incarnation_number, node_of};
pub use majority::{MajorityError, MajorityNode, MajorityStore};
pub use message::{
    Envelope, Extent, Message, StoreListing, StoredCell, SyncAnswer, map_values, visit_values,
};
pub use node::{MessageOf, Node, NodeMessage, NodeOutput, NodeReady, Requester};
pub use operation::{Operation, OperationAnswer, OperationId};
pub use partition::{
    Counters, Explanation, Output, Partition, Ready, State, Status, TombstoneReport,
};
pub use placement::{PartitionId, Placement};
pub use policy::{
    CausalValue, CausalWrite, Lww, LwwWrite, MultiValue, Policy, SiblingWrite, Verdict,
};
pub use request::{Command, Floor, Level, Met, Outcome, Request, RequestError, RequestId};
pub use session::{Guarantees, InvalidToken, Session, Token, TokenTooLarge};
pub use storage::{MemoryStorage, Storage, StorageError, Table, Visitor, WriteBatch};
pub use timestamped::{ReadMode, TimestampedNode, TimestampedStore};
