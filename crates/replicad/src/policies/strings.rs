//! Strings: the last writer wins, or all concurrent ones are kept.

use crdt::{CausalContext, Cell as _, LwwCell, MvCell};
use replica::{Floor, Lww, LwwWrite, MultiValue, SiblingWrite};
use std::sync::Arc;

use super::{StorePolicy, StringPolicy, string_contents};
use crate::store::{ConflictPolicy, Contents, Operation, Space, StoreAnswer};

impl StorePolicy for Lww {
    const SPACE: Space = Space::Strings;

    fn write(operation: Operation) -> Option<LwwWrite> {
        let (value, timestamp) = match operation {
            Operation::Put { value, timestamp } => (Some(value), timestamp),
            Operation::Delete { timestamp } => (None, timestamp),
            _ => return None,
        };
        Some(LwwWrite { value, timestamp })
    }

    fn read_answer(
        cell: LwwCell<bytes::Bytes>,
        seen: Floor,
        stable: Arc<CausalContext>,
    ) -> StoreAnswer {
        StoreAnswer::Values {
            values: cell.value().cloned().into_iter().collect(),
            timestamp: cell.timestamp(),
            seen,
            stable,
        }
    }

    fn contents(cell: &LwwCell<bytes::Bytes>) -> Contents {
        string_contents(cell.is_visible())
    }
}

impl StringPolicy for Lww {
    fn serves(conflict: ConflictPolicy) -> bool {
        conflict != ConflictPolicy::Siblings
    }
}

impl StorePolicy for MultiValue {
    const SPACE: Space = Space::Strings;

    /// A timestamp has no meaning here and is left out; the front end refuses one.
    fn write(operation: Operation) -> Option<SiblingWrite> {
        match operation {
            Operation::Put { value, .. } => Some(SiblingWrite::Put(value)),
            Operation::Delete { .. } => Some(SiblingWrite::Delete),
            _ => None,
        }
    }

    fn read_answer(
        cell: MvCell<bytes::Bytes>,
        seen: Floor,
        stable: Arc<CausalContext>,
    ) -> StoreAnswer {
        StoreAnswer::Values {
            values: cell.values().cloned().collect(),
            timestamp: None,
            seen,
            stable,
        }
    }

    fn contents(cell: &MvCell<bytes::Bytes>) -> Contents {
        string_contents(cell.is_visible())
    }
}

impl StringPolicy for MultiValue {
    fn serves(conflict: ConflictPolicy) -> bool {
        conflict == ConflictPolicy::Siblings
    }
}
