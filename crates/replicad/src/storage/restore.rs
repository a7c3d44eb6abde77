//! Making a data directory of a snapshot.

use redb::Database;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::create::{directory, rename, sync_directory, with_suffix};
use super::engine::guarded_open;
use super::node_dir::{self, NodeDirError};
use super::record::note_life;
use super::snapshot::{SnapshotManifest, copy_bytes, read_snapshot_manifest, remove_leftover};
use super::state::Life;
use super::{Standing, Store, StoreError, StoreOptions, StoreOwner};

/// Why a snapshot cannot be restored. The snapshot and the target are as they were.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// There is something where the data directory is to be made.
    #[error("{path} is not an empty directory: a snapshot is restored into a new one")]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// The snapshot cannot be used, or not be copied.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The data directory cannot be written.
    #[error(transparent)]
    NodeDir(#[from] NodeDirError),
}

/// Restores a snapshot into a new data directory, for the node that it was made of, or for `owner`: another
/// node, or a node of a new cluster. The directory appears, durably, once it is complete.
///
/// The node does not go on as the incarnation that it was: it has shown others what the snapshot does not
/// hold. The snapshot is a head start, and the rest comes from the other nodes:
///
/// - **Some nodes are restored, enough others run.** A restored node takes a new incarnation, catches up, and
///   serves. Nothing is lost, nothing that was deleted comes back, however old the snapshot is.
/// - **No node is left but restored ones.** They wait, since none of them can know what was acknowledged.
///   An operator accepts the loss at one after the other, at the newest snapshot first. Then the cluster
///   holds what any of the restored snapshots held, less what another of them knows to be deleted or
///   overwritten. What was written after the snapshots is lost. Writes that were acknowledged before the
///   first of a majority of snapshots was begun are all there.
/// - **As a new cluster.** The same, under a new cluster id, so that nodes of the old cluster that turn up
///   later are refused. One snapshot may be restored for each of the nodes. The number of nodes stays.
///
/// # Errors
/// If the target holds anything, the snapshot is damaged, or the system refuses.
pub fn restore_snapshot(
    snapshot: &Path,
    data_dir: &Path,
    owner: Option<StoreOwner>,
) -> Result<SnapshotManifest, RestoreError> {
    check_empty(data_dir)?;
    let manifest = read_snapshot_manifest(snapshot)?;
    let partial = with_suffix(data_dir, "partial");
    let io = |e| StoreError::io(&partial, e);
    remove_leftover(&partial).map_err(io)?;
    let restored = restore_into(&partial, snapshot, &manifest, owner).and_then(|()| {
        // The system renames over an empty directory, and over nothing else.
        rename(&partial, data_dir).map_err(|e| StoreError::io(data_dir, e).into())
    });
    if restored.is_err() {
        // What cannot be removed now is removed by the next attempt.
        let _left = remove_leftover(&partial);
    }
    restored.map(|()| manifest)
}

fn restore_into(
    partial: &Path,
    snapshot: &Path,
    manifest: &SnapshotManifest,
    owner: Option<StoreOwner>,
) -> Result<(), RestoreError> {
    let io = |e| StoreError::io(partial, e);
    fs::create_dir_all(directory(partial)).map_err(io)?;
    fs::create_dir(partial).map_err(io)?;
    let (from, to) = (
        snapshot.join(super::snapshot::STORE),
        partial.join(node_dir::STORE),
    );
    let mut source = File::open(&from).map_err(|e| StoreError::io(&from, e))?;
    let copied = File::create_new(&to).and_then(|mut target| {
        let copied = copy_bytes(&mut source, &mut target)?;
        target.sync_all()?;
        Ok(copied)
    });
    let (bytes, checksum) = copied.map_err(|e| StoreError::io(&to, e))?;
    if (bytes, &checksum) != (manifest.bytes, &manifest.checksum) {
        let cause = format!(
            "{bytes} bytes with checksum {checksum} instead of {} with {}",
            manifest.bytes, manifest.checksum
        );
        return Err(StoreError::damaged(&from, cause).into());
    }
    let store = Store::open(&to, StoreOptions::new(manifest.owner))?;
    if !matches!(store.standing(), Standing::HeadStart(_)) {
        return Err(StoreError::damaged(&from, "it is a store and not the copy of one").into());
    }
    drop(store);
    let owner = owner.unwrap_or(manifest.owner);
    if owner != manifest.owner {
        give_to(&to, owner)?;
    }
    node_dir::write_restored(partial, owner)?;
    sync_directory(partial).map_err(io)?;
    Ok(())
}

/// Makes the copy of a store the copy of somebody else's.
fn give_to(path: &Path, owner: StoreOwner) -> Result<(), StoreError> {
    guarded_open(path, || {
        let database = Database::open(path).map_err(|e| StoreError::opening(path, e))?;
        note_life(&database, owner, Life::Snapshot).map_err(|e| StoreError::engine(path, e))
    })
}

fn check_empty(path: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty {
                path: path.to_owned(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(RestoreError::NotEmpty {
            path: path.to_owned(),
        }),
        Err(error) => Err(StoreError::io(path, error).into()),
    }
}
