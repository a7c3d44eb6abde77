//! The nodes behind the front end: their stores, their actors, and the clusters that they form, in one
//! process or over the network.

mod actor;
mod cluster;
mod data_dir;
mod disk;
mod formation;
mod forming;
mod local_node;
mod mailbox;
mod network;
mod network_node;
mod process_node;
mod questions;
mod scrape;
mod snapshots;
mod spaces;
mod starting;
mod status;
pub(crate) mod stepped;
mod suspects;
mod trails;
mod verifying;
pub mod wire;

pub use cluster::{LocalCluster, StartError};
pub use data_dir::DataDirError;
pub use formation::{ClusterStanding, Offer};
pub use forming::BeginError;
pub use mailbox::InboxLimits;
pub use network::{NetworkOptions, StoreSettings};
pub use process_node::{ProcessNode, ProcessStartError};
pub use starting::SpaceConfigs;
pub use status::StatusMessage;
