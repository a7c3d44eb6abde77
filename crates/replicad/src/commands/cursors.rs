//! Where unfinished scans stand.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The positions of unfinished scans of one node, by cursor number. Bounded: the oldest position is
/// forgotten when there is no room. A scan holds two, so that a client that lost a reply can repeat
/// its last call.
pub(super) struct Cursors {
    capacity: usize,
    table: Mutex<Table>,
}

struct Table {
    positions: BTreeMap<u64, Position>,
    next: u64,
}

struct Position {
    /// The last key that was returned.
    after: Bytes,
    /// The cursor of the call before, 0 if there was none.
    previous: u64,
}

impl Cursors {
    /// An empty table for `capacity` positions. Numbers start at a random point, so that a cursor of
    /// another node or of an earlier run is not taken for one of this table.
    pub(super) fn new(capacity: usize) -> Self {
        let random = RandomState::new().hash_one(0_u64) >> 33;
        let table = Table {
            positions: BTreeMap::new(),
            next: (random << 32) + 1,
        };
        Self {
            capacity: capacity.max(2),
            table: Mutex::new(table),
        }
    }

    /// Remembers a position reached from the cursor `previous` and returns its number, never 0.
    pub(super) fn insert(&self, after: &Bytes, previous: u64) -> u64 {
        let mut table = self.lock();
        if table.positions.len() >= self.capacity {
            table.positions.pop_first();
        }
        let cursor = table.next;
        table.next += 1;
        // A key may be a slice of something larger, which must not stay in memory with it.
        let after = Bytes::copy_from_slice(after);
        table.positions.insert(cursor, Position { after, previous });
        cursor
    }

    /// The key behind which the scan goes on; `None` if the cursor is not known. Forgets the position
    /// before it.
    pub(super) fn resume(&self, cursor: u64) -> Option<Bytes> {
        let mut table = self.lock();
        let position = table.positions.get(&cursor)?;
        let (after, previous) = (position.after.clone(), position.previous);
        table.positions.remove(&previous);
        Some(after)
    }

    /// The table is whole after every statement that changes it, so a panic elsewhere does not spoil
    /// it.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_can_be_used_again_until_its_successor_is() {
        let cursors = Cursors::new(10);
        let first = cursors.insert(&Bytes::from("a"), 0);
        let second = cursors.insert(&Bytes::from("b"), first);
        assert_eq!(cursors.resume(first), Some(Bytes::from("a")));
        assert_eq!(cursors.resume(second), Some(Bytes::from("b")));
        assert_eq!(cursors.resume(first), None);
    }

    #[test]
    fn the_oldest_position_makes_room() {
        let cursors = Cursors::new(3);
        let numbers: Vec<_> = (0..4)
            .map(|_| cursors.insert(&Bytes::from("a"), 0))
            .collect();
        assert_eq!(cursors.resume(numbers[0]), None);
        assert!(
            numbers[1..]
                .iter()
                .all(|&number| cursors.resume(number).is_some())
        );
    }

    #[test]
    fn a_long_scan_does_not_push_out_another() {
        let cursors = Cursors::new(4);
        let other = cursors.insert(&Bytes::from("z"), 0);
        let mut cursor = 0;
        for _ in 0..100 {
            if cursor != 0 {
                assert!(cursors.resume(cursor).is_some());
            }
            cursor = cursors.insert(&Bytes::from("a"), cursor);
        }
        assert!(cursors.resume(other).is_some());
    }

    #[test]
    fn numbers_fit_the_signed_integers_of_clients() {
        let cursor = Cursors::new(1).insert(&Bytes::new(), 0);
        assert!(cursor > 0 && i64::try_from(cursor).is_ok());
    }
}
