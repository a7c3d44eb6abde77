//! Keys whose last change is not durable yet.

use replica::{Table, WriteBatch};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use twox_hash::XxHash3_64;

const BITS: usize = 1 << 16;
const WORD: usize = u64::BITS as usize;

/// A set of keys that may say yes of a key that is not in it, and never no of one that is.
///
/// The actor marks keys while it holds the lock on its spaces for writing, and readers ask while they hold it for
/// reading: the lock orders the two.
#[derive(Debug)]
pub(super) struct Unsettled(Box<[AtomicU64]>);

impl Default for Unsettled {
    fn default() -> Self {
        Self((0..BITS / WORD).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Unsettled {
    /// Marks the keys that a batch changes, and those of the events in it.
    pub(super) fn mark(&self, batch: &WriteBatch) {
        for (table, key, value) in &batch.changes {
            match (table, value) {
                (Table::Cells, _) => self.mark_key(key),
                (Table::Log, Some(key)) => self.mark_key(key),
                _ => {}
            }
        }
    }

    fn mark_key(&self, key: &[u8]) {
        let bit = bit(key);
        let word = &self.0[bit / WORD];
        word.store(word.load(Relaxed) | 1 << (bit % WORD), Relaxed);
    }

    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let bit = bit(key);
        self.0[bit / WORD].load(Relaxed) & 1 << (bit % WORD) != 0
    }

    /// All is durable.
    pub(super) fn clear(&self) {
        for word in &self.0 {
            if word.load(Relaxed) != 0 {
                word.store(0, Relaxed);
            }
        }
    }
}

fn bit(key: &[u8]) -> usize {
    (XxHash3_64::oneshot(key) % BITS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_it_from_its_change_until_all_is_durable() {
        let unsettled = Unsettled::default();
        let changes = vec![
            (Table::Cells, b"written".to_vec(), Some(b"cell".to_vec())),
            (Table::Log, vec![0; 16], Some(b"of an event".to_vec())),
            (Table::Log, vec![1; 16], None),
        ];
        unsettled.mark(&WriteBatch { changes });
        assert!(unsettled.contains(b"written") && unsettled.contains(b"of an event"));
        assert!(!unsettled.contains(b"another"));
        unsettled.clear();
        assert!(!unsettled.contains(b"written") && !unsettled.contains(b"of an event"));
    }
}
