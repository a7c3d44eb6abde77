//! What is sound in a damaged store.
//!
//! A partition is saved if each of its tables reads back as the newest commit left it: every page has the checksum that
//! its parent names ([`pages`]), every entry its own, and there are as many entries as there should be. What is saved
//! is then exactly what that commit held, and the partition goes on under its identity. Of all others nothing is
//! saved: a partition that lacks a part of what it has shown must not go on as the one that it was.
//!
//! The store's record of itself is read in the same way. Without it nothing is saved, since nobody knows how the last run ended.

mod pages;
#[cfg(test)]
mod tests;

use redb::{Database, StorageBackend, WriteTransaction};
use replica::{PartitionId, Table};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek};
use std::path::Path;

use super::engine::guarded_open;
use super::entry::{CHECKSUM_BYTES, TableName};
use super::record::{RECORD_TABLE, STATE_KEY, put_state, read_life};
use super::state::Life;
use super::{Space, StoreError, StoreOwner};
use pages::{Pages, Tree, Visit, table_of};

/// Bytes of the new store that are kept in memory while it is made.
const CACHE_BYTES: usize = 16 << 20;

/// A partition of a space.
pub(super) type Place = (Space, PartitionId);

/// A damaged store whose record of itself is sound.
pub(super) struct Salvage<'p, F> {
    pages: Pages<F>,
    path: &'p Path,
    owner: StoreOwner,
    life: Life,
    tables: BTreeMap<Place, Vec<(TableName, Option<Tree>)>>,
    gaps: Vec<Gap>,
}

/// Names of tables that are not known: those above the first and up to the second.
struct Gap(Option<String>, Option<String>);

impl Gap {
    fn covers(&self, name: &TableName) -> bool {
        let (Self(after, until), name) = (self, name.as_str());
        after.as_deref().is_none_or(|after| after < name)
            && until.as_deref().is_none_or(|until| name <= until)
    }
}

/// Why a visit ended.
enum Stop {
    /// Something is not what was written.
    Damaged,
    /// The system refuses to read.
    Source(io::Error),
    /// The new store refuses to be written.
    Target(redb::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

impl<'p, F: Read + Seek> Salvage<'p, F> {
    /// Looks into a damaged store, which `path` names in errors; `None` if nothing of it can be saved.
    ///
    /// # Errors
    /// If the file cannot be read, or is somebody else's.
    pub(super) fn of(
        file: F,
        path: &'p Path,
        owner: StoreOwner,
    ) -> Result<Option<Self>, StoreError> {
        let io = |e| StoreError::io(path, e);
        let Some((mut pages, root)) = Pages::open(file).map_err(io)? else {
            return Ok(None);
        };
        let mut list = TableList::default();
        pages.visit(root, &mut list).map_err(io)?;
        let TableList { found, gaps } = list;
        if gaps.is_empty() && found.len() as u64 != root.entries {
            return Ok(None);
        }
        let (mut tables, mut record) = (BTreeMap::<_, Vec<_>>::new(), None);
        for (name, table) in found {
            match (table_of(&table), name.place()) {
                (Some(tree), Some(place)) => tables.entry(place).or_default().push((name, tree)),
                (Some(tree), None) if name.as_str() == RECORD_TABLE => record = tree,
                // What a table of no known use holds would be lost in silence.
                _ => return Ok(None),
            }
        }
        let Some(stored) = record
            .map(|tree| read_record(&mut pages, tree))
            .transpose()
            .map_err(io)?
            .flatten()
        else {
            return Ok(None);
        };
        let life = match read_life(path, &stored, owner) {
            Ok(life) => life,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Self {
            pages,
            path,
            owner,
            life,
            tables,
            gaps,
        }))
    }

    /// Makes a store of what is sound, durably, and says which partitions are in it: exactly as they were. `to` names it
    /// in errors.
    ///
    /// # Errors
    /// If the damaged store cannot be read, or the new one not be written.
    pub(super) fn save(
        mut self,
        medium: impl StorageBackend,
        to: &Path,
    ) -> Result<BTreeSet<Place>, StoreError> {
        let written = |e: redb::Error| StoreError::engine(to, e);
        guarded_open(to, || {
            let database = Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(medium)
                .map_err(|e| StoreError::opening(to, e))?;
            let transaction = database.begin_write().map_err(|e| written(e.into()))?;
            let saved = self.save_all(&transaction).map_err(|stop| match stop {
                Stop::Source(error) => StoreError::io(self.path, error),
                Stop::Target(error) => written(error),
                Stop::Damaged => unreachable!("damage makes a partition lost, and nothing else"),
            })?;
            put_state(&transaction, self.owner, self.life).map_err(written)?;
            transaction.commit().map_err(|e| written(e.into()))?;
            Ok(saved)
        })
    }

    fn save_all(&mut self, to: &WriteTransaction) -> Result<BTreeSet<Place>, Stop> {
        let mut saved = BTreeSet::new();
        for (place, tables) in std::mem::take(&mut self.tables) {
            if self.may_have_more_tables(place) {
                continue;
            }
            let mut all = tables.iter();
            match all.try_for_each(|(name, tree)| self.save_table(name, *tree, to)) {
                Ok(()) => drop(saved.insert(place)),
                Err(Stop::Damaged) => {
                    for (name, _) in &tables {
                        let removed = to.delete_table(name.definition());
                        removed.map_err(|e| Stop::Target(e.into()))?;
                    }
                }
                Err(stop) => return Err(stop),
            }
        }
        Ok(saved)
    }

    /// Whether the name of a table of this partition may be among those that are not known.
    fn may_have_more_tables(&self, (space, partition): Place) -> bool {
        let mut names = Table::ALL
            .into_iter()
            .map(|table| TableName::new(space, partition, table));
        names.any(|name| self.gaps.iter().any(|gap| gap.covers(&name)))
    }

    fn save_table(
        &mut self,
        name: &TableName,
        tree: Option<Tree>,
        to: &WriteTransaction,
    ) -> Result<(), Stop> {
        let table = to.open_table(name.definition());
        let table = table.map_err(|e| Stop::Target(e.into()))?;
        let Some(tree) = tree else {
            return Ok(());
        };
        let mut copy = TableCopy {
            name,
            table,
            entries: 0,
        };
        self.pages.visit(tree, &mut copy)?;
        match copy.entries == tree.entries {
            true => Ok(()),
            false => Err(Stop::Damaged),
        }
    }
}

/// The names of tables and what is said of each.
#[derive(Default)]
struct TableList {
    found: Vec<(TableName, Vec<u8>)>,
    gaps: Vec<Gap>,
}

impl Visit for TableList {
    type Stop = io::Error;

    fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let name = String::from_utf8_lossy(key).into_owned();
        self.found.push((TableName::of(name), value.to_vec()));
        Ok(())
    }

    fn gap(&mut self, after: Option<&[u8]>, until: Option<&[u8]>) -> io::Result<()> {
        // What is between two names may be no text: then the gap is taken to be wider.
        let text = |name: &[u8]| std::str::from_utf8(name).ok().map(str::to_owned);
        self.gaps
            .push(Gap(after.and_then(text), until.and_then(text)));
        Ok(())
    }
}

/// The only entry of the store's record of itself.
fn read_record<F: Read + Seek>(pages: &mut Pages<F>, tree: Tree) -> io::Result<Option<Vec<u8>>> {
    struct Record(Vec<u8>);
    impl Visit for Record {
        type Stop = io::Error;
        fn entry(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
            if key == STATE_KEY {
                self.0 = value.to_vec();
            }
            Ok(())
        }
        // A record that was not found has no checksum either.
        fn gap(&mut self, _: Option<&[u8]>, _: Option<&[u8]>) -> io::Result<()> {
            Ok(())
        }
    }
    let mut record = Record(Vec::new());
    pages.visit(tree, &mut record)?;
    Ok((!record.0.is_empty()).then_some(record.0))
}

/// Copies a table, and checks each entry.
struct TableCopy<'n, 't> {
    name: &'n TableName,
    table: redb::Table<'t, &'static [u8], &'static [u8]>,
    entries: u64,
}

impl Visit for TableCopy<'_, '_> {
    type Stop = Stop;

    fn entry(&mut self, key: &[u8], stored: &[u8]) -> Result<(), Stop> {
        let value = self.name.open(key, stored).ok_or(Stop::Damaged)?;
        let room = self.table.insert_reserve(key, value.len() + CHECKSUM_BYTES);
        let mut into = room.map_err(|e| Stop::Target(e.into()))?;
        self.name.seal(key, value, into.as_mut());
        self.entries += 1;
        Ok(())
    }

    fn gap(&mut self, _: Option<&[u8]>, _: Option<&[u8]>) -> Result<(), Stop> {
        Err(Stop::Damaged)
    }
}
