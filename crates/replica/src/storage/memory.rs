//! Storage in memory.

use std::collections::BTreeMap;

use super::{Storage, StorageError, Table, Visitor, WriteBatch};

/// Storage in memory, for tests and simulations. What was committed survives as long as the value.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    entries: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
}

impl Storage for MemoryStorage {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        for (table, key, value) in &batch.changes {
            match value {
                Some(value) => self.entries.insert((*table, key.clone()), value.clone()),
                None => self.entries.remove(&(*table, key.clone())),
            };
        }
        Ok(())
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        let entries = self.entries.range((table, Vec::new())..);
        for ((_, key), value) in entries.take_while(|((t, _), _)| *t == table) {
            visit(key, value)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;

    #[test]
    fn memory_keeps_the_rules_of_storage() {
        assert_eq!(conformance::check(MemoryStorage::default, |s| s), Ok(()));
    }
}
