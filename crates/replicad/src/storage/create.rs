//! Making a store, and durable names.

use redb::{Database, backends::FileBackend};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::engine::guarded_open;
use super::record::note_life;
use super::state::Life;
use super::{StoreError, StoreOptions};

/// Makes an empty store at `path`. The name appears, durably, once the store is complete: what is found
/// under it was a store once.
pub(super) fn create(path: &Path, options: &StoreOptions) -> Result<(), StoreError> {
    let partial = with_suffix(path, "new");
    let io = |e| StoreError::io(&partial, e);
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&partial)
        .map_err(io)?;
    let medium = FileBackend::new(file).map_err(|e| StoreError::opening(&partial, e))?;
    guarded_open(&partial, || {
        let made = Database::builder().create_with_backend(medium);
        let database = made.map_err(|e| StoreError::opening(&partial, e))?;
        note_life(&database, options.owner, Life::New).map_err(|e| StoreError::engine(&partial, e))
    })?;
    rename(&partial, path).map_err(|e| StoreError::io(path, e))
}

/// Renames a file or directory, durably.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(directory(to))
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The directory that a file is in.
pub(super) fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// A name beside `path`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
