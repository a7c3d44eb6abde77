//! The data directory of a cluster on this machine.
//!
//! ```text
//! replicad-data/
//!   starting          a first start is under way: nothing has been acknowledged yet
//!   cluster.json      what the directory holds; written once the nodes' first state is durable
//!   node-1/store      the store of node 1; a damaged one is put aside as store.damaged-1
//!   node-2/failed     node 2 was taken down: it has no data, and stays down until it is recovered
//! ```

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Version of the layout; another one is refused.
const FORMAT: u32 = 1;

/// Why a data directory cannot be used. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The system refused.
    #[error("{path}: {cause}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
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
    /// The directory belongs to a cluster of another size.
    #[error("{path} is of a cluster of {found} nodes, not {asked}; start with --nodes {found}")]
    Nodes {
        /// The manifest.
        path: PathBuf,
        /// Nodes of its cluster.
        found: u32,
        /// Nodes asked for.
        asked: u32,
    },
    /// The directory holds something else, or a cluster whose manifest is gone.
    #[error(
        "{path} is not empty and holds no {name}: it is not a data directory, or its {name} is lost; \
         nothing in it was touched",
        name = MANIFEST
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
    },
}

/// The name of the manifest.
const MANIFEST: &str = "cluster.json";

/// An opened data directory.
#[derive(Debug, Clone)]
pub(super) struct DataDir {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    nodes: u32,
}

impl DataDir {
    /// Opens the directory; true beside it if it has never held a cluster.
    pub(super) fn open(path: &Path, nodes: u32) -> Result<(Self, bool), DataDirError> {
        let dir = Self {
            path: path.to_owned(),
        };
        fs::create_dir_all(path).map_err(|e| io_error(path, e))?;
        let manifest = dir.manifest();
        let text = match fs::read_to_string(&manifest) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                dir.begin()?;
                return Ok((dir, true));
            }
            Err(e) => return Err(io_error(&manifest, e)),
        };
        let held: Manifest = serde_json::from_str(&text).map_err(|e| DataDirError::Manifest {
            path: manifest.clone(),
            cause: e.to_string(),
        })?;
        if held.format != FORMAT {
            return Err(DataDirError::Format {
                path: manifest,
                found: held.format,
            });
        }
        if held.nodes != nodes {
            return Err(DataDirError::Nodes {
                path: manifest,
                found: held.nodes,
                asked: nodes,
            });
        }
        Ok((dir, false))
    }

    /// Says durably that a first start is under way. Until it is [established](Self::establish) a start
    /// that was interrupted is made again from the beginning: nothing has been acknowledged. Without
    /// that mark, stores without a manifest are somebody's data, and are left alone.
    fn begin(&self) -> Result<(), DataDirError> {
        let mark = self.starting();
        if mark.exists() {
            return Ok(());
        }
        let mut entries = fs::read_dir(&self.path).map_err(|e| io_error(&self.path, e))?;
        if entries.next().is_some() {
            return Err(DataDirError::Foreign {
                path: self.path.clone(),
            });
        }
        let write = || File::create(&mark)?.sync_all().and_then(|()| self.sync());
        write().map_err(|e| io_error(&mark, e))
    }

    /// Says durably that the directory holds a cluster.
    pub(super) fn establish(&self, nodes: u32) -> Result<(), DataDirError> {
        let text = serde_json::json!(Manifest {
            format: FORMAT,
            nodes
        })
        .to_string();
        let (manifest, mark) = (self.manifest(), self.starting());
        // The mark becomes the manifest in one step: there is no moment with neither or both.
        let write = || {
            let mut file = File::create(&mark)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&mark, &manifest)?;
            self.sync()
        };
        write().map_err(|e| io_error(&manifest, e))
    }

    /// Makes the names in the directory durable.
    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn starting(&self) -> PathBuf {
        self.path.join("starting")
    }

    /// The file of a node's store; its directory is made.
    pub(super) fn store(&self, node: NodeId) -> Result<PathBuf, DataDirError> {
        let dir = self.node(node);
        fs::create_dir_all(&dir).map_err(|e| io_error(&dir, e))?;
        Ok(dir.join("store"))
    }

    /// Makes the name of a node's new store durable: a store is no use if loss of power takes its name.
    pub(super) fn settle(&self, node: NodeId) -> Result<(), DataDirError> {
        let dir = self.node(node);
        let sync = || File::open(&dir)?.sync_all().and_then(|()| self.sync());
        sync().map_err(|e| io_error(&dir, e))
    }

    /// Whether a node has a store.
    pub(super) fn has_store(&self, node: NodeId) -> bool {
        self.node(node).join("store").exists()
    }

    /// Removes a node's store.
    pub(super) fn remove_store(&self, node: NodeId) -> Result<(), DataDirError> {
        remove(&self.node(node).join("store"))
    }

    /// Whether a node was taken down and not recovered.
    pub(super) fn is_failed(&self, node: NodeId) -> bool {
        self.node(node).join("failed").exists()
    }

    /// Notes that a node was taken down, or that it was recovered.
    pub(super) fn set_failed(&self, node: NodeId, failed: bool) -> Result<(), DataDirError> {
        let dir = self.node(node);
        let mark = dir.join("failed");
        match failed {
            true => fs::create_dir_all(&dir)
                .and_then(|()| File::create(&mark).map(drop))
                .map_err(|e| io_error(&mark, e)),
            false => remove(&mark),
        }
    }

    /// The directory itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn manifest(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }

    fn node(&self, node: NodeId) -> PathBuf {
        self.path.join(format!("node-{}", node.0))
    }
}

fn remove(path: &Path) -> Result<(), DataDirError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(io_error(path, e)),
        _ => Ok(()),
    }
}

fn io_error(path: &Path, cause: io::Error) -> DataDirError {
    DataDirError::Io {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_of_another_cluster_is_refused() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().join("data");
        let (dir, is_new) = DataDir::open(&path, 3).expect("a new directory");
        assert!(is_new);
        dir.establish(3).expect("a manifest");
        assert!(!DataDir::open(&path, 3).expect("the same cluster").1);
        let refused = DataDir::open(&path, 5)
            .expect_err("another size")
            .to_string();
        assert!(refused.contains("--nodes 3"), "{refused}");
        fs::write(path.join(MANIFEST), r#"{"format": 9, "nodes": 3}"#).expect("written");
        assert!(matches!(
            DataDir::open(&path, 3),
            Err(DataDirError::Format { found: 9, .. })
        ));
        fs::write(path.join(MANIFEST), "{").expect("written");
        assert!(matches!(
            DataDir::open(&path, 3),
            Err(DataDirError::Manifest { .. })
        ));
    }

    #[test]
    fn stores_without_a_manifest_are_left_alone_and_an_interrupted_start_is_made_again() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().join("data");
        let (dir, _) = DataDir::open(&path, 3).expect("a new directory");
        fs::write(dir.store(NodeId(1)).expect("a place"), "half a store").expect("written");
        assert!(
            DataDir::open(&path, 3).expect("interrupted").1,
            "it is still new"
        );
        dir.establish(3).expect("a manifest");
        fs::remove_file(path.join(MANIFEST)).expect("removed");
        assert!(matches!(
            DataDir::open(&path, 3),
            Err(DataDirError::Foreign { .. })
        ));
        assert!(dir.has_store(NodeId(1)));
    }

    #[test]
    fn somebody_elses_files_are_left_alone() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        fs::write(temporary.path().join("thesis.txt"), "text").expect("written");
        assert!(matches!(
            DataDir::open(temporary.path(), 3),
            Err(DataDirError::Foreign { .. })
        ));
    }
}
