//! Subjects: a map of last-writer-wins cells. Its keys stay; tombstones delete.

use crdt::laws::{Choice, History};
use crdt::{Edit, LwwCell, OrMap, Timestamp};
use std::collections::BTreeMap;

use super::causal::Edited;

/// Keys up to which a map is filled: enough for the index.
const MANY: u8 = 70;

type Write = <LwwCell<u8> as Edited>::Op;

/// A write under one key, or, without a key, of a value under all below `MANY`.
pub type KeyedWrite = (Option<u8>, Write);

impl Edited for OrMap<u8, LwwCell<u8>> {
    type Op = KeyedWrite;
    /// Under each key when its live event was written, and what: no value is a tombstone.
    type Value = BTreeMap<u8, (Timestamp, Option<u8>)>;

    /// As for the cells.
    const DIFFERENCE_IS_LEAST: bool = false;

    fn op(choice: Choice) -> KeyedWrite {
        let write = <LwwCell<u8> as Edited>::op(choice);
        let key = (choice.what % 32 != 31).then_some(choice.which / 3 % 3);
        (key, write)
    }

    fn edit(edit: &mut Edit<'_, Self>, (key, write): &KeyedWrite) {
        let keys = (0..MANY).filter(|k| key.is_none_or(|key| key == *k));
        keys.for_each(|key| edit.update(key, |cell| LwwCell::edit(cell, write)));
    }

    fn shown(&self) -> Self::Value {
        let shown = |cell: &LwwCell<u8>| cell.shown().expect("an empty cell is not kept");
        self.iter().map(|(key, cell)| (*key, shown(cell))).collect()
    }

    fn expected(history: &History<'_, KeyedWrite>) -> Self::Value {
        let mut winners: Self::Value = BTreeMap::new();
        let order = |(time, value): Write| (time, value.is_some(), std::cmp::Reverse(value));
        for event in history.events() {
            let (key, write) = event.op;
            for key in (0..MANY).filter(|k| key.is_none_or(|key| key == *k)) {
                let held = winners.entry(key).or_insert(write);
                *held = std::cmp::max_by_key(*held, write, |write| order(*write));
            }
        }
        winners
    }
}
