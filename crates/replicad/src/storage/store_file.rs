//! The file of a store: opening it, and what becomes of it when it is damaged.
//!
//! A damaged store is put aside under another name, and what is sound in it goes on in a new one.

use redb::backends::FileBackend;
use replica::PartitionId;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::create::{rename, with_suffix};
use super::salvage::{Place, Salvage};
use super::{Space, Store, StoreError, StoreOptions};

/// Damaged stores that are kept. A disk that has damaged so many needs somebody who looks at it.
pub const DAMAGED_STORES: u32 = 4;

/// The file of a store, and how it is kept.
#[derive(Debug, Clone)]
pub struct StoreFile {
    path: PathBuf,
    options: StoreOptions,
}

/// A store that was opened.
#[derive(Debug)]
pub struct OpenedStore {
    /// The store; a new one if there was none, or a damaged one.
    pub store: Store,
    /// What became of a damaged one.
    pub put_aside: Option<PutAside>,
}

/// A damaged store that was put aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutAside {
    /// Where it is now.
    pub path: PathBuf,
    /// How the damage shows.
    pub cause: String,
    /// The partitions that are in the new store as they were in this one. All others have lost their data.
    pub saved: BTreeSet<(Space, PartitionId)>,
}

impl StoreFile {
    /// The file of a store, which need not exist.
    pub fn new(path: &Path, options: StoreOptions) -> Self {
        Self {
            path: path.to_owned(),
            options,
        }
    }

    /// Opens the store, or makes one. A damaged store is [put aside](Self::put_aside).
    ///
    /// # Errors
    /// If the store cannot be used and is not damaged, or cannot be put aside.
    pub fn open(&self) -> Result<OpenedStore, StoreError> {
        match Store::open(&self.path, self.options) {
            Ok(store) => Ok(OpenedStore {
                store,
                put_aside: None,
            }),
            Err(StoreError::Damaged { cause, .. }) => {
                let aside = self.put_aside(&cause)?;
                Ok(OpenedStore {
                    store: Store::open(&self.path, self.options)?,
                    put_aside: Some(aside),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Puts a damaged store aside, because opening it or [`Store::damage`] says so; it must have been dropped. Each partition
    /// that is sound in it is in the store that is there afterwards, and that remembers of its last run what this
    /// one did. If nothing is sound, no store is there.
    ///
    /// Until it returns, an unclean stop leaves the damaged store where it was, or no store.
    ///
    /// # Errors
    /// If too many lie there already, there is no room for what is sound, or the system refuses.
    pub fn put_aside(&self, cause: &str) -> Result<PutAside, StoreError> {
        let aside = self.free_name(cause)?;
        let partial = with_suffix(&self.path, "saved");
        let saved = self.save(&partial)?;
        rename(&self.path, &aside).map_err(|e| StoreError::io(&self.path, e))?;
        if saved.is_some() {
            rename(&partial, &self.path).map_err(|e| StoreError::io(&partial, e))?;
        }
        Ok(PutAside {
            path: aside,
            cause: cause.to_owned(),
            saved: saved.unwrap_or_default(),
        })
    }

    fn free_name(&self, cause: &str) -> Result<PathBuf, StoreError> {
        for number in 1..=DAMAGED_STORES {
            let aside = with_suffix(&self.path, &format!("damaged-{number}"));
            if !aside.try_exists().map_err(|e| StoreError::io(&aside, e))? {
                return Ok(aside);
            }
        }
        Err(StoreError::DamagedAgain {
            path: self.path.clone(),
            cause: cause.to_owned(),
        })
    }

    /// Makes a store of what is sound, if anything is.
    fn save(&self, to: &Path) -> Result<Option<BTreeSet<Place>>, StoreError> {
        let damaged = File::open(&self.path).map_err(|e| StoreError::io(&self.path, e))?;
        let Some(salvage) = Salvage::of(damaged, &self.path, self.options.owner)? else {
            return Ok(None);
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(to)
            .map_err(|e| StoreError::io(to, e))?;
        let medium = FileBackend::new(file).map_err(|e| StoreError::opening(to, e))?;
        salvage.save(medium, to).map(Some)
    }
}
