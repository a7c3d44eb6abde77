//! Why a join that looks closer refused a state.

use crate::{BehindFrontier, DotConflict, IdentityReused};

/// Why a state was not joined by one of the joins that look closer. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Another writer uses the identity of this handle, or this replica has lost a part of its state.
    #[error(transparent)]
    IdentityReused(#[from] IdentityReused),
    /// Two writers use one identity.
    #[error(transparent)]
    DotConflict(#[from] DotConflict),
    /// The peer lacks what every member had when this replica purged.
    #[error(transparent)]
    BehindFrontier(#[from] BehindFrontier),
}
