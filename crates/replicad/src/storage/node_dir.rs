//! The data directory of one node.
//!
//! ```text
//! data/
//!   node.json         whose directory it is
//!   offer.json        the new cluster that the node has agreed to, before it is part of one
//!   lock              held by the process that uses it
//!   store             the store
//!   store.damaged-1   a damaged store that was put aside; what was sound in it is in the store
//! ```

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::create::{rename, with_suffix};
use super::{ClusterId, OpenedStore, StoreError, StoreFile, StoreOptions, StoreOwner};
use crate::node::Offer;
use crate::terms::{StoreTerms, TermsDifference};

/// Version of the layout; another one is refused.
const FORMAT: u32 = 1;

/// The name of the manifest.
const MANIFEST: &str = "node.json";

/// The name of the offer.
const OFFER: &str = "offer.json";

/// The name of the file that is locked.
const LOCK: &str = "lock";

/// The name of the store.
pub(super) const STORE: &str = "store";

/// Longest manifest that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 16;

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeDirError {
    /// The system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// Another process uses it.
    #[error("{path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The manifest cannot be read.
    #[error("{path} is damaged: {cause}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The directory was made by another version.
    #[error("{path} has format {found}; this program reads format {FORMAT}")]
    Format {
        /// The manifest.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// It is the directory of another node.
    #[error("{path} belongs to {found}, not to {expected}")]
    Node {
        /// The manifest.
        path: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it was expected to be.
        expected: NodeId,
    },
    /// It is the directory of a node of another cluster.
    #[error("{path} belongs to cluster {found}, not to {expected}")]
    Cluster {
        /// The manifest.
        path: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it was expected to be.
        expected: ClusterId,
    },
    /// The data was written under other settings, and means something else under those of now.
    #[error(
        "{path} was written under other settings: {difference}; go back to the old setting, or start a new cluster \
         and load the data into it"
    )]
    Terms {
        /// The manifest.
        path: PathBuf,
        /// The first that differs. `theirs` is what the data was written under.
        difference: TermsDifference,
    },
    /// The directory holds something else, or a node whose manifest is gone.
    #[error(
        "{path} is not empty and holds no {name}: it is not a data directory, or its {name} is lost; \
         nothing in it was touched",
        name = MANIFEST
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
    /// The node is not part of a cluster yet.
    #[error("{path} is not part of a cluster yet")]
    NoCluster {
        /// The directory.
        path: PathBuf,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    #[serde(flatten)]
    owner: StoreOwner,
    started: bool,
    /// What the data was written under; a restored node has none before its first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<StoreTerms>,
}

/// The data directory of one node, locked for as long as this lives.
#[derive(Debug)]
pub struct NodeDir {
    path: PathBuf,
    node: NodeId,
    manifest: Option<Manifest>,
    /// What the node is told now.
    terms: Option<StoreTerms>,
    offer: Option<Offer>,
    _lock: File,
}

impl NodeDir {
    /// Opens and locks the directory of a node; makes it if it is not there.
    ///
    /// # Errors
    /// If it is in use, belongs to somebody else, cannot be read, or the system refuses.
    pub fn open(path: &Path, node: NodeId) -> Result<Self, NodeDirError> {
        fs::create_dir_all(path).map_err(|e| io_error(path, e))?;
        let manifest = read_manifest(path)?;
        match &manifest {
            Some(manifest) if manifest.owner.node != node => {
                return Err(NodeDirError::Node {
                    path: path.join(MANIFEST),
                    found: manifest.owner.node,
                    expected: node,
                });
            }
            None if !holds_nothing(path)? => {
                return Err(NodeDirError::Foreign {
                    path: path.to_owned(),
                });
            }
            _ => {}
        }
        let lock = lock(path)?;
        // Whoever held the lock until now may have written it.
        let manifest = read_manifest(path)?;
        let offer = read_json(&path.join(OFFER))?;
        Ok(Self {
            path: path.to_owned(),
            node,
            manifest,
            terms: None,
            offer,
            _lock: lock,
        })
    }

    /// Checks that the data was written under these terms, as far as they give it its meaning, and notes them
    /// durably.
    ///
    /// # Errors
    /// If it was written under others, or they cannot be written.
    pub fn keep_terms(&mut self, terms: StoreTerms) -> Result<(), NodeDirError> {
        self.terms = Some(terms);
        let Some(manifest) = &self.manifest else {
            return Ok(());
        };
        if let Some(kept) = &manifest.terms {
            let checked = terms.check_stored(kept);
            checked.map_err(|difference| NodeDirError::Terms {
                path: self.path.join(MANIFEST),
                difference,
            })?;
        }
        if manifest.terms == Some(terms) {
            return Ok(());
        }
        self.write(manifest.clone())
    }

    /// The cluster that the node is part of; `None` in a new directory.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.manifest
            .as_ref()
            .map(|manifest| manifest.owner.cluster)
    }

    /// Whether the node has ever started in this cluster. A node that has must not be bootstrapped, however
    /// empty its store is: it has lost what it held.
    pub fn has_started(&self) -> bool {
        self.manifest
            .as_ref()
            .is_some_and(|manifest| manifest.started)
    }

    /// The new cluster that the node has agreed to.
    pub const fn offer(&self) -> Option<Offer> {
        self.offer
    }

    /// Notes durably to which new cluster the node agrees, in place of an earlier one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn keep_offer(&mut self, offer: Offer) -> Result<(), NodeDirError> {
        write_json(&self.path.join(OFFER), &offer)?;
        self.offer = Some(offer);
        Ok(())
    }

    /// Whether the node is one of a new cluster that has not started in it yet: it agreed to the cluster
    /// when it held nothing, so it has never held any of its data.
    pub fn may_bootstrap(&self) -> bool {
        let agreed = self.offer.map(|offer| offer.cluster);
        agreed.is_some() && agreed == self.cluster() && !self.has_started()
    }

    /// Notes durably which cluster the node is part of, once and for all.
    ///
    /// # Errors
    /// If it is part of another one, or it cannot be written.
    pub fn join(&mut self, cluster: ClusterId) -> Result<(), NodeDirError> {
        match self.cluster() {
            Some(found) if found == cluster => Ok(()),
            Some(found) => Err(NodeDirError::Cluster {
                path: self.path.join(MANIFEST),
                found,
                expected: cluster,
            }),
            None => self.write(Manifest {
                format: FORMAT,
                owner: StoreOwner {
                    cluster,
                    node: self.node,
                },
                started: false,
                terms: None,
            }),
        }
    }

    /// Notes durably that the node has started: to be called once the store holds its first state.
    ///
    /// # Errors
    /// If the node is part of no cluster, or it cannot be written.
    pub fn note_started(&mut self) -> Result<(), NodeDirError> {
        let mut manifest = self.known()?.clone();
        if manifest.started {
            return Ok(());
        }
        manifest.started = true;
        self.write(manifest)
    }

    /// The store. `configure` is given the defaults and says how it is kept.
    ///
    /// # Errors
    /// If the node is part of no cluster yet.
    pub fn store_file(
        &self,
        configure: impl FnOnce(StoreOptions) -> StoreOptions,
    ) -> Result<StoreFile, NodeDirError> {
        let options = configure(StoreOptions::new(self.known()?.owner));
        Ok(StoreFile::new(&self.path.join(STORE), options))
    }

    /// Opens the store, or makes one: [`StoreFile::open`].
    ///
    /// # Errors
    /// If the node is part of no cluster yet, or the store cannot be used.
    pub fn open_store(
        &self,
        configure: impl FnOnce(StoreOptions) -> StoreOptions,
    ) -> Result<OpenedStore, NodeDirError> {
        Ok(self.store_file(configure)?.open()?)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn known(&self) -> Result<&Manifest, NodeDirError> {
        self.manifest
            .as_ref()
            .ok_or_else(|| NodeDirError::NoCluster {
                path: self.path.clone(),
            })
    }

    fn write(&mut self, mut manifest: Manifest) -> Result<(), NodeDirError> {
        manifest.terms = self.terms.or(manifest.terms);
        write_manifest(&self.path, &manifest)?;
        self.manifest = Some(manifest);
        Ok(())
    }
}

/// Writes the manifest of a directory whose store is a restored snapshot.
pub(super) fn write_restored(path: &Path, owner: StoreOwner) -> Result<(), NodeDirError> {
    let manifest = Manifest {
        format: FORMAT,
        owner,
        started: true,
        terms: None,
    };
    write_manifest(path, &manifest)
}

fn write_manifest(directory: &Path, manifest: &Manifest) -> Result<(), NodeDirError> {
    write_json(&directory.join(MANIFEST), manifest)
}

/// Writes a small file as a whole, durably.
fn write_json(path: &Path, contents: &impl Serialize) -> Result<(), NodeDirError> {
    let partial = with_suffix(path, "new");
    let write = || {
        let mut file = File::create(&partial)?;
        serde_json::to_writer_pretty(&mut file, contents)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        rename(&partial, path)
    };
    write().map_err(|e| io_error(path, e))
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>, NodeDirError> {
    let mut text = String::new();
    let read =
        File::open(path).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(path, e)),
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|e| NodeDirError::Manifest {
            path: path.to_owned(),
            cause: e.to_string(),
        })
}

fn read_manifest(directory: &Path) -> Result<Option<Manifest>, NodeDirError> {
    let path = directory.join(MANIFEST);
    let mut text = String::new();
    let read =
        File::open(&path).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(io_error(&path, e)),
    }
    let damaged = |e: serde_json::Error| NodeDirError::Manifest {
        path: path.clone(),
        cause: e.to_string(),
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    // A later layout may have other fields; its number says so.
    if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
        && found != u64::from(FORMAT)
    {
        let found = u32::try_from(found).unwrap_or(u32::MAX);
        return Err(NodeDirError::Format { path, found });
    }
    serde_json::from_value(value).map(Some).map_err(damaged)
}

/// Whether a directory holds nothing, or what a start that was interrupted at once has left.
fn holds_nothing(path: &Path) -> Result<bool, NodeDirError> {
    let io = |e| io_error(path, e);
    for entry in fs::read_dir(path).map_err(io)? {
        let name = entry.map_err(io)?.file_name();
        let passing = [LOCK, OFFER, "offer.json.new", "node.json.new", "lost+found"];
        if !passing.iter().any(|passing| name == *passing) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn lock(directory: &Path) -> Result<File, NodeDirError> {
    let path = directory.join(LOCK);
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| io_error(&path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(NodeDirError::InUse {
            path: directory.to_owned(),
        }),
        Err(TryLockError::Error(e)) => Err(io_error(&path, e)),
    }
}

fn io_error(path: &Path, cause: io::Error) -> NodeDirError {
    NodeDirError::Io {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
#[path = "node_dir_tests.rs"]
mod tests;
