//! What a store should hold, and how it differs.

use std::collections::BTreeMap;

use super::super::{Table, WriteBatch};

/// A change of a [`WriteBatch`].
pub(super) type Change = (Table, Vec<u8>, Option<Vec<u8>>);

/// What a store should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Contents(pub(super) BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Contents {
    pub(super) fn apply(&mut self, batch: &WriteBatch) {
        for (table, key, value) in &batch.changes {
            match value {
                Some(value) => self.0.insert((*table, key.clone()), value.clone()),
                None => self.0.remove(&(*table, key.clone())),
            };
        }
    }

    pub(super) fn shows(&self, (table, key, value): &Change) -> bool {
        value.is_some() && self.0.get(&(*table, key.clone())) == value.as_ref()
    }

    /// The first difference, in words.
    pub(super) fn differs_from(&self, expected: &Self) -> String {
        let keys = self.0.keys().chain(expected.0.keys());
        let differs = |key: &&(Table, Vec<u8>)| self.0.get(*key) != expected.0.get(*key);
        let Some(at) = keys.filter(differs).min() else {
            return "nothing differs".to_owned();
        };
        format!(
            "{} entries instead of {}; the first that differs is {:?} {}: {} instead of {}",
            self.0.len(),
            expected.0.len(),
            at.0,
            shown(&at.1),
            self.0.get(at).map_or("absent".into(), |value| shown(value)),
            expected
                .0
                .get(at)
                .map_or("absent".into(), |value| shown(value)),
        )
    }
}

/// The start of a key or value, readable.
pub(super) fn shown(bytes: &[u8]) -> String {
    let start = &bytes[..bytes.len().min(20)];
    format!("\"{}\" ({} bytes)", start.escape_ascii(), bytes.len())
}
