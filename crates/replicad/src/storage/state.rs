//! What a store remembers of itself, and what follows from it.

use serde::{Deserialize, Serialize};

use super::{StoreOwner, SyncPolicy};

/// Version of the layout of the tables; another one is refused.
pub(super) const FORMAT: u32 = 1;

/// What the node may make of what its store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: the store is new. The node is bootstrapped on an operator's word, or recovers.
    Empty,
    /// All that the node has shown to anyone: it goes on as the incarnation that it was.
    Intact,
    /// Possibly less than that: the node has to take a new incarnation. What is there is a head start.
    HeadStart(HeadStart),
}

/// Why a store is not trusted with the node's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadStart {
    /// The last run had a weak sync policy and was not closed.
    UncleanStop,
    /// It is a restored snapshot.
    Restored,
}

/// The store's record of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoreState {
    pub(super) format: u32,
    pub(super) owner: StoreOwner,
    pub(super) life: Life,
}

/// Where a store is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Life {
    /// It was made and never started.
    New,
    /// A run under `Always` has not been closed.
    RunningSynced,
    /// A run under a weaker policy has not been closed.
    RunningUnsynced,
    /// The last run was closed.
    Closed,
    /// It is a copy made by a snapshot.
    Snapshot,
}

impl Life {
    pub(super) const fn running(policy: SyncPolicy) -> Self {
        match policy {
            SyncPolicy::Always => Self::RunningSynced,
            SyncPolicy::Interval(_) | SyncPolicy::None => Self::RunningUnsynced,
        }
    }

    pub(super) const fn is_running(self) -> bool {
        matches!(self, Self::RunningSynced | Self::RunningUnsynced)
    }

    pub(super) const fn standing(self) -> Standing {
        match self {
            Self::New => Standing::Empty,
            Self::RunningSynced | Self::Closed => Standing::Intact,
            Self::RunningUnsynced => Standing::HeadStart(HeadStart::UncleanStop),
            Self::Snapshot => Standing::HeadStart(HeadStart::Restored),
        }
    }
}
