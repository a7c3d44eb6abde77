//! How the entries of a partition lie in the engine's tables.
//!
//! Each table of each partition is a table of the engine, named `space/partition/table`. The engine checks
//! its pages only on request, so each value is followed by a checksum of the table's name, the key and the
//! value: an entry that was altered, or that belongs somewhere else, is noticed when it is read.

use redb::TableDefinition;
use replica::{PartitionId, Table};
use twox_hash::XxHash3_64;

use super::Space;

/// Bytes of the checksum behind each value.
pub(super) const CHECKSUM_BYTES: usize = 8;

/// A table of the engine.
pub(super) type Entries<'n> = TableDefinition<'n, &'static [u8], &'static [u8]>;

/// The name of a table of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableName {
    name: String,
    seed: u64,
}

impl TableName {
    pub(super) fn new(space: Space, partition: PartitionId, table: Table) -> Self {
        let space = match space {
            Space::Strings => "strings",
            Space::Types => "types",
        };
        let table = match table {
            Table::Cells => "cells",
            Table::Log => "log",
            _ => "meta",
        };
        Self::of(format!("{space}/{}/{table}", partition.0))
    }

    /// Which partition it is a table of; `None` if of none.
    pub(super) fn place(&self) -> Option<(Space, PartitionId)> {
        let (space, rest) = self.name.split_once('/')?;
        let (partition, _) = rest.split_once('/')?;
        let space = match space {
            "strings" => Space::Strings,
            "types" => Space::Types,
            _ => return None,
        };
        let partition = PartitionId(partition.parse().ok()?);
        let is_one = |table| Self::new(space, partition, table).name == self.name;
        Table::ALL
            .into_iter()
            .any(is_one)
            .then_some((space, partition))
    }

    /// A table by its full name.
    pub(super) fn of(name: String) -> Self {
        let seed = XxHash3_64::oneshot(name.as_bytes());
        Self { name, seed }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.name
    }

    pub(super) fn definition(&self) -> Entries<'_> {
        TableDefinition::new(&self.name)
    }

    /// Writes a value and its checksum into the space of both.
    pub(super) fn seal(&self, key: &[u8], value: &[u8], into: &mut [u8]) {
        let (bytes, checksum) = into.split_at_mut(value.len());
        bytes.copy_from_slice(value);
        checksum.copy_from_slice(&self.checksum(key, value).to_le_bytes());
    }

    /// The value of a stored entry; `None` if it is not what was stored.
    pub(super) fn open<'v>(&self, key: &[u8], stored: &'v [u8]) -> Option<&'v [u8]> {
        let (value, checksum) = stored.split_last_chunk::<CHECKSUM_BYTES>()?;
        (u64::from_le_bytes(*checksum) == self.checksum(key, value)).then_some(value)
    }

    fn checksum(&self, key: &[u8], value: &[u8]) -> u64 {
        let key = XxHash3_64::oneshot_with_seed(self.seed, key);
        XxHash3_64::oneshot_with_seed(key, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_partition_it_is_a_table_of() {
        for place in [
            (Space::Strings, PartitionId(0)),
            (Space::Types, PartitionId(4095)),
        ] {
            for table in Table::ALL {
                assert_eq!(TableName::new(place.0, place.1, table).place(), Some(place));
            }
        }
        for name in [
            "store",
            "",
            "strings/1",
            "strings/01/log",
            "strings/+1/log",
            "more/1/log",
            "types/1/logs",
        ] {
            assert_eq!(TableName::of(name.to_owned()).place(), None, "{name}");
        }
    }

    #[test]
    fn an_entry_opens_only_under_its_table_and_key_and_unaltered() {
        let name = TableName::new(Space::Strings, PartitionId(3), Table::Cells);
        assert_eq!(name.as_str(), "strings/3/cells");
        for (key, value) in [("", ""), ("key", ""), ("", "value"), ("key", "value")] {
            let (key, value) = (key.as_bytes(), value.as_bytes());
            let mut stored = vec![0; value.len() + CHECKSUM_BYTES];
            name.seal(key, value, &mut stored);
            assert_eq!(name.open(key, &stored), Some(value));
            assert_eq!(name.open(b"another", &stored), None);
            let other = TableName::new(Space::Types, PartitionId(3), Table::Cells);
            assert_eq!(other.open(key, &stored), None);
            for bit in 0..stored.len() * 8 {
                let mut altered = stored.clone();
                altered[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(name.open(key, &altered), None, "bit {bit}");
            }
            assert_eq!(name.open(key, &stored[1..]), None);
        }
    }
}
