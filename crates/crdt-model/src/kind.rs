//! The two kinds of cells, and what the known events of a key resolve to.

use crdt::{Cell, Dot, LwwCell, LwwEntry, MvCell, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Keys of a world. There is room between and around them, so that intervals without keys occur.
pub type Key = u8;
/// Values of a world.
pub type Value = u8;
/// All keys that scripts touch.
pub const KEYS: [Key; 3] = [10, 20, 30];

/// What is live under a key: dot, time (0 where the kind has none) and value (`None`: a tombstone),
/// ascending by dot.
pub type Content = Vec<(Dot, Timestamp, Option<Value>)>;

/// An event as the model keeps it, for ever.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name.
    pub dot: Dot,
    /// The key it touched.
    pub key: Key,
    /// When it was written.
    pub timestamp: Timestamp,
    /// What was written; `None` for a delete.
    pub value: Option<Value>,
    /// The live events that its writer saw under the key.
    pub superseded: Vec<Dot>,
}

/// A kind of cell with its naive semantics.
pub trait Kind: Debug + Clone + 'static {
    /// The cell under test.
    type Cell: Cell + Serialize + DeserializeOwned;

    /// Makes a write or a delete.
    fn write(cell: &mut Self::Cell, dot: Dot, timestamp: Timestamp, value: Option<Value>);

    /// What is live in a cell.
    fn content(cell: &Self::Cell) -> Content;

    /// What events of one key resolve to: the oracle of invariant I5.
    fn resolve(events: &[&Event]) -> Content;
}

/// Last writer wins.
#[derive(Debug, Clone)]
pub struct Lww;

/// Multi-value.
#[derive(Debug, Clone)]
pub struct Mv;

impl Kind for Lww {
    type Cell = LwwCell<Value>;

    fn write(cell: &mut Self::Cell, dot: Dot, timestamp: Timestamp, value: Option<Value>) {
        cell.write(LwwEntry {
            dot,
            timestamp,
            value,
        });
    }

    fn content(cell: &Self::Cell) -> Content {
        let live = cell.live().map(|e| (e.dot, e.timestamp, e.value));
        live.into_iter().collect()
    }

    fn resolve(events: &[&Event]) -> Content {
        // The frozen order, written out a second time: latest; value before tombstone; smaller value;
        // smaller dot.
        let order = |e: &&&Event| {
            (
                std::cmp::Reverse(e.timestamp),
                e.value.is_none(),
                e.value,
                e.dot,
            )
        };
        let winner = events.iter().min_by_key(order);
        winner
            .map(|e| (e.dot, e.timestamp, e.value))
            .into_iter()
            .collect()
    }
}

impl Kind for Mv {
    type Cell = MvCell<Value>;

    fn write(cell: &mut Self::Cell, dot: Dot, _: Timestamp, value: Option<Value>) {
        match value {
            Some(value) => cell.write(dot, value),
            None => cell.clear(),
        }
    }

    fn content(cell: &Self::Cell) -> Content {
        let siblings = cell.siblings();
        siblings
            .map(|(dot, value)| (dot, Timestamp(0), Some(*value)))
            .collect()
    }

    fn resolve(events: &[&Event]) -> Content {
        let mut live: Content = events
            .iter()
            .filter(|e| e.value.is_some() && !events.iter().any(|f| f.superseded.contains(&e.dot)))
            .map(|e| (e.dot, Timestamp(0), e.value))
            .collect();
        live.sort_unstable();
        live
    }
}
