//! Snapshots: a copy of a store as it was at one moment, made while the node serves.
//!
//! ```text
//! snapshot/
//!   snapshot.json   what it is: format, cluster, node, time, size and checksum
//!   store           a store that is marked as a copy
//! ```

use redb::{Database, ReadTransaction, WriteTransaction, backends::FileBackend};
use replica::StorageError;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use twox_hash::XxHash3_128;

use super::create::{rename, sync_directory, with_suffix};
use super::engine::Engine;
use super::entry::{CHECKSUM_BYTES, TableName};
use super::record::note_life;
use super::state::Life;
use super::tables::{ReadError, data_tables, scan};
use super::{StoreError, StoreOwner};

/// Version of the form of snapshots; another one is refused.
pub(super) const SNAPSHOT_FORMAT: u32 = 1;

/// The name of the manifest in a snapshot.
const MANIFEST: &str = "snapshot.json";

/// The name of the store in a snapshot.
pub(super) const STORE: &str = "store";

/// Longest manifest that is read, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 16;

/// What a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// Version of the form.
    pub format: u32,
    /// Whose store it was made of.
    #[serde(flatten)]
    pub owner: StoreOwner,
    /// When it was made, in milliseconds since 1970.
    pub taken_unix_ms: u64,
    /// Entries of all tables.
    pub entries: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// XXH3 of the file, 128 bits in hexadecimal digits.
    pub checksum: String,
}

/// A snapshot that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotReport {
    /// Where it is.
    pub path: PathBuf,
    /// What it is.
    #[serde(flatten)]
    pub manifest: SnapshotManifest,
}

/// Reads what a snapshot says of itself.
///
/// # Errors
/// If there is none, it cannot be read, or has another format.
pub fn read_snapshot_manifest(snapshot: &Path) -> Result<SnapshotManifest, StoreError> {
    let path = snapshot.join(MANIFEST);
    let io = |e| StoreError::io(&path, e);
    let mut text = String::new();
    let file = File::open(&path).map_err(io)?;
    file.take(MAX_MANIFEST_BYTES)
        .read_to_string(&mut text)
        .map_err(io)?;
    let damaged = |e: serde_json::Error| StoreError::damaged(&path, e.to_string());
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    // A later form may have other fields; its number says so.
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    match format {
        Some(found) if found != u64::from(SNAPSHOT_FORMAT) => Err(StoreError::Format {
            found: u32::try_from(found).unwrap_or(u32::MAX),
            expected: SNAPSHOT_FORMAT,
            path,
        }),
        _ => serde_json::from_value(value).map_err(damaged),
    }
}

impl Engine {
    /// Copies what the store holds at this moment to a new directory. The directory appears, durably,
    /// once it is complete.
    pub(super) fn snapshot(&self, to: &Path) -> Result<SnapshotReport, StorageError> {
        let failed = |cause: &dyn std::fmt::Display| {
            StorageError::new("snapshot", format!("{}: {cause}", to.display()))
        };
        match to.try_exists() {
            Ok(false) => {}
            Ok(true) => return Err(failed(&"it exists already")),
            Err(error) => return Err(failed(&error)),
        }
        let partial = with_suffix(to, "partial");
        remove_leftover(&partial).map_err(|e| failed(&e))?;
        let made = self.snapshot_into(&partial).and_then(|manifest| {
            rename(&partial, to).map_err(|e| failed(&e))?;
            Ok(manifest)
        });
        match made {
            Ok(manifest) => Ok(SnapshotReport {
                path: to.to_owned(),
                manifest,
            }),
            Err(error) => {
                // What cannot be removed now is removed by the next snapshot of this name.
                let _left = remove_leftover(&partial);
                Err(error)
            }
        }
    }

    fn snapshot_into(&self, directory: &Path) -> Result<SnapshotManifest, StorageError> {
        let failed = |cause: &dyn std::fmt::Display| StorageError::new("snapshot", cause);
        fs::create_dir(directory).map_err(|e| failed(&e))?;
        let store = directory.join(STORE);
        let entries = self.read(|from| {
            copy(from, &store, self.options.owner).map_err(|error| match error {
                // The copy ran out of room, say: nothing is wrong with what is copied.
                CopyError::Target(error) => ReadError::Visitor(failed(&error)),
                CopyError::Source(error) => error,
            })
        })?;
        let manifest = || -> io::Result<SnapshotManifest> {
            let (bytes, checksum) = copy_bytes(&mut File::open(&store)?, &mut io::sink())?;
            let taken = SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
            let manifest = SnapshotManifest {
                format: SNAPSHOT_FORMAT,
                owner: self.options.owner,
                taken_unix_ms: u64::try_from(taken.as_millis()).unwrap_or(u64::MAX),
                entries,
                bytes,
                checksum,
            };
            let mut file = File::create(directory.join(MANIFEST))?;
            serde_json::to_writer_pretty(&mut file, &manifest)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            sync_directory(directory)?;
            Ok(manifest)
        };
        manifest().map_err(|e| failed(&e))
    }
}

/// Which side of a copy failed.
enum CopyError {
    Source(ReadError),
    Target(redb::Error),
}

/// Copies all entries, each checked, to a new store that is marked as a copy; returns their number.
fn copy(from: &ReadTransaction, to: &Path, owner: StoreOwner) -> Result<u64, CopyError> {
    let target = |e: redb::Error| CopyError::Target(e);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(to)
        .map_err(|e| target(e.into()))?;
    let medium = FileBackend::new(file).map_err(|e| target(e.into()))?;
    let database = Database::builder()
        .set_cache_size(COPY_CACHE_BYTES)
        .create_with_backend(medium)
        .map_err(|e| target(e.into()))?;
    let transaction = database.begin_write().map_err(|e| target(e.into()))?;
    let mut entries = 0;
    for name in data_tables(from).map_err(CopyError::Source)? {
        entries += copy_table(from, &transaction, &name)?;
    }
    transaction.commit().map_err(|e| target(e.into()))?;
    note_life(&database, owner, Life::Snapshot).map_err(target)?;
    Ok(entries)
}

/// Bytes of a copy that are kept in memory while it is made.
const COPY_CACHE_BYTES: usize = 16 << 20;

fn copy_table(
    from: &ReadTransaction,
    to: &WriteTransaction,
    name: &TableName,
) -> Result<u64, CopyError> {
    let mut table = to
        .open_table(name.definition())
        .map_err(|e| CopyError::Target(e.into()))?;
    let (mut entries, mut refused) = (0, None);
    let scanned = scan(from, name, &mut |key, value| {
        let put = table
            .insert_reserve(key, value.len() + CHECKSUM_BYTES)
            .map(|mut into| name.seal(key, value, into.as_mut()));
        entries += 1;
        put.map_err(|error| {
            let stop = StorageError::new("snapshot", &error);
            refused = Some(error);
            stop
        })
    });
    match (scanned, refused) {
        (_, Some(error)) => Err(CopyError::Target(error.into())),
        (Err(error), None) => Err(CopyError::Source(error)),
        (Ok(()), None) => Ok(entries),
    }
}

/// Copies all bytes; returns their number and checksum.
pub(super) fn copy_bytes(
    from: &mut impl io::Read,
    to: &mut impl io::Write,
) -> io::Result<(u64, String)> {
    let mut hasher = XxHash3_128::new();
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = 0;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.write(&buffer[..read]);
        to.write_all(&buffer[..read])?;
        bytes += read as u64;
    }
    Ok((bytes, format!("{:032x}", hasher.finish_128())))
}

/// Removes what an interrupted run has left.
pub(super) fn remove_leftover(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
