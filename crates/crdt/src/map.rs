//! The replicated map: entries, the knowledge they were reached under, and what a replica keeps
//! beside them.

mod causal_map;
mod change;
mod closed;
mod cut;
mod display;
mod entries;
mod event_log;
mod exceptions;
mod extend;
mod knowledge;
mod listing;
mod map_replica;
mod stability;

pub use causal_map::CausalMap;
pub use change::{Change, Joined};
pub use closed::Closed;
pub use cut::{Cut, Interval};
pub use event_log::EventLog;
pub use knowledge::{Knowledge, Known};
pub use listing::{Claim, IntervalListing, KeyListing, Listing};
pub use map_replica::{Budget, Delta, MapReplica, TransferChunk, Truncated, Written};
pub use stability::{HeldBack, Horizon, OwnerView, Promise, Promises};
