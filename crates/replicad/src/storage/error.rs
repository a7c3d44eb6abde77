//! Why a store cannot be used.

use redb::DatabaseError;
use std::io;
use std::path::{Path, PathBuf};

use super::{DAMAGED_STORES, StoreOwner};
use replica::StorageError;

/// Why a store cannot be opened, copied or put aside. What it held is still there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// Its bytes are not those that were written: it can only be put aside.
    #[error("{path} is damaged: {cause}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How that shows.
        cause: String,
    },
    /// It was made by another version.
    #[error("{path} has format {found}; this program reads format {expected}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The format of this program.
        expected: u32,
    },
    /// It is sound and no store of this program, or one of a version before the first release.
    #[error("{path} was not made by this version of the program, which leaves it alone")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It belongs to another node or another cluster.
    #[error(
        "{path} belongs to {} of cluster {}, not to {} of cluster {}",
        found.node, found.cluster, expected.node, expected.cluster
    )]
    Owner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: StoreOwner,
        /// Whose it was expected to be.
        expected: StoreOwner,
    },
    /// It is damaged, and too many damaged stores lie beside it already.
    #[error(
        "{path} is damaged ({cause}), and {DAMAGED_STORES} damaged stores lie beside it already: look at \
         the disk, remove them, and start again"
    )]
    DamagedAgain {
        /// The file.
        path: PathBuf,
        /// How the damage shows.
        cause: String,
    },
    /// The store was open and failed.
    #[error("{path}: {cause}")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What failed.
        cause: StorageError,
    },
}

impl StoreError {
    /// What the engine said about a file that it opened. What can only come from wrong bytes is damage;
    /// what the system refuses is not.
    pub(super) fn opening(path: &Path, error: DatabaseError) -> Self {
        let path = path.to_owned();
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse { path },
            DatabaseError::UpgradeRequired(format) => Self::Damaged {
                path,
                cause: format!(
                    "its file format is {format}, which no release of this program wrote"
                ),
            },
            DatabaseError::Storage(redb::StorageError::Io(cause)) if !is_damage(&cause) => {
                Self::Io { path, cause }
            }
            error => Self::Damaged {
                path,
                cause: error.to_string(),
            },
        }
    }

    /// What the engine said later.
    pub(super) fn engine(path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        match error {
            redb::Error::Corrupted(cause) => Self::Damaged { path, cause },
            redb::Error::Io(cause) if is_damage(&cause) => Self::Damaged {
                path,
                cause: cause.to_string(),
            },
            redb::Error::Io(cause) => Self::Io { path, cause },
            error => Self::Failed {
                path,
                cause: StorageError::new("reading the store", error),
            },
        }
    }

    pub(super) fn damaged(path: &Path, cause: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            cause: cause.into(),
        }
    }

    pub(super) fn foreign(path: &Path) -> Self {
        Self::Foreign {
            path: path.to_owned(),
        }
    }

    pub(super) fn io(path: &Path, cause: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            cause,
        }
    }
}

/// Whether the system's error says that a file is not what it should be, rather than out of reach.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}
