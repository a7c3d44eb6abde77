//! How a store resolves conflicts.

use bytes::Bytes;
use crdt::{Cell, Dot, DotStore, Edit, LwwCell, MvCell, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::hash::Hash;

/// How a store resolves conflicts: what one key holds, and what a client may do to it.
///
/// The protocol is the same for every policy: it mints events, counts who holds them, and compares
/// knowledge. A policy of your own takes a causal type of the `crdt` crate as its cell and says how a
/// write changes it. [`Lww`] and [`MultiValue`] are examples of both kinds: with an order of time, and
/// without.
pub trait Policy: Debug + Send + Sync + 'static {
    /// What one key holds.
    type Cell: Cell + Clone + Eq + Hash + Debug + Serialize + DeserializeOwned + Send + Sync;

    /// What a client may do to a key.
    type Write: Clone + Debug + Eq + Hash + Serialize + DeserializeOwned + Send + Sync;

    /// Whether the later of two writes wins by time. Such a store mints a write again that has lost to
    /// something a lagging clock had not seen; any other keeps what is concurrent.
    const BY_TIME: bool;

    /// Changes a cell; false if the write does nothing, because what is there wins. Whatever the write
    /// replaces, it replaces only as far as its author has seen it (the [`Edit`] knows).
    fn apply(edit: &mut Edit<'_, Self::Cell>, write: &Self::Write, timestamp: Timestamp) -> bool;

    /// The timestamp that the client gave the write.
    fn timestamp_of(write: &Self::Write) -> Option<Timestamp> {
        let _none = write;
        None
    }

    /// The time that a new write of the key must come above.
    fn time_of(cell: &Self::Cell) -> Option<Timestamp>;

    /// What an owner that has joined the event `dot` of a key says of it.
    fn verdict(cell: Option<&Self::Cell>, dot: Dot) -> Verdict;

    /// Bytes that a cell takes in a message, about.
    fn weight(cell: &Self::Cell) -> usize;

    /// Bytes of a write, for the limit on values.
    fn size(write: &Self::Write) -> usize;

    /// The cell with its values passed through `map`, in the order in which they are encoded. For transports that move
    /// large values without copying them ([`visit_values`](crate::visit_values)); what is not passed through is copied.
    /// Nothing is, unless this is implemented.
    #[must_use]
    fn map_values(cell: Self::Cell, map: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Cell {
        let _none = map;
        cell
    }

    /// The same of a write.
    #[must_use]
    fn map_written(write: Self::Write, map: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Write {
        let _none = map;
        write
    }
}

/// What an owner says of an event that it has joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The event has its effect there: it is live, or this event, which was minted knowing it, is.
    Holds(Dot),
    /// Something else has won, at this time if that is still known.
    Lost(Option<Timestamp>),
}

/// Last writer wins: the highest timestamp, on a tie a value before a tombstone, and the smaller value
/// before the larger. Deletes are writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lww;

/// A write of a store by time.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub struct LwwWrite {
    /// The value, or `None` to delete.
    pub value: Option<Bytes>,
    /// The caller's timestamp, where the store takes them ([`ClockKind::Caller`](crate::ClockKind)).
    pub timestamp: Option<Timestamp>,
}

impl Policy for Lww {
    type Cell = LwwCell<Bytes>;
    type Write = LwwWrite;
    const BY_TIME: bool = true;

    fn apply(edit: &mut Edit<'_, Self::Cell>, write: &LwwWrite, timestamp: Timestamp) -> bool {
        edit.write(timestamp, write.value.clone())
    }

    fn timestamp_of(write: &LwwWrite) -> Option<Timestamp> {
        write.timestamp
    }

    fn time_of(cell: &Self::Cell) -> Option<Timestamp> {
        cell.timestamp()
    }

    fn verdict(cell: Option<&Self::Cell>, dot: Dot) -> Verdict {
        match cell.and_then(LwwCell::live) {
            Some(live) if live.dot.replica == dot.replica && live.dot.counter >= dot.counter => {
                Verdict::Holds(live.dot)
            }
            live => Verdict::Lost(live.map(|entry| entry.timestamp)),
        }
    }

    fn weight(cell: &Self::Cell) -> usize {
        cell.value().map_or(0, Bytes::len) + 16
    }

    fn size(write: &LwwWrite) -> usize {
        write.value.as_ref().map_or(0, Bytes::len)
    }

    fn map_values(cell: Self::Cell, map: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Cell {
        match cell.live() {
            Some(live) => LwwCell::entry(live.dot, live.timestamp, live.value.clone().map(map)),
            None => cell,
        }
    }

    fn map_written(write: LwwWrite, map: &mut dyn FnMut(Bytes) -> Bytes) -> LwwWrite {
        LwwWrite {
            value: write.value.map(map),
            ..write
        }
    }
}

/// Siblings: what was written concurrently is kept side by side until a write has seen it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MultiValue;

/// A write of a store that keeps siblings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
pub enum SiblingWrite {
    /// A value, in place of those that its author has read.
    Put(Bytes),
    /// Removes the values that its author has read.
    Delete,
}

impl Policy for MultiValue {
    type Cell = MvCell<Bytes>;
    type Write = SiblingWrite;
    const BY_TIME: bool = false;

    fn apply(edit: &mut Edit<'_, Self::Cell>, write: &SiblingWrite, _: Timestamp) -> bool {
        match write {
            SiblingWrite::Put(value) => edit.set(value.clone()),
            SiblingWrite::Delete => edit.unset(),
        }
        true
    }

    fn time_of(_: &Self::Cell) -> Option<Timestamp> {
        None
    }

    fn verdict(_: Option<&Self::Cell>, dot: Dot) -> Verdict {
        Verdict::Holds(dot)
    }

    fn weight(cell: &Self::Cell) -> usize {
        cell.values().map(|value| value.len() + 16).sum()
    }

    fn size(write: &SiblingWrite) -> usize {
        match write {
            SiblingWrite::Put(value) => value.len(),
            SiblingWrite::Delete => 0,
        }
    }

    fn map_values(cell: Self::Cell, map: &mut dyn FnMut(Bytes) -> Bytes) -> Self::Cell {
        let siblings = cell.siblings();
        siblings
            .map(|(dot, value)| (dot, map(value.clone())))
            .collect()
    }

    fn map_written(write: SiblingWrite, map: &mut dyn FnMut(Bytes) -> Bytes) -> SiblingWrite {
        match write {
            SiblingWrite::Put(value) => SiblingWrite::Put(map(value)),
            SiblingWrite::Delete => SiblingWrite::Delete,
        }
    }
}

/// Any causal type of the `crdt` crate as the value of a key: counters, flags, sets, maps of them.
///
/// A write is a mutation of your own: implement [`CausalWrite`] for an enum of what clients may do, and
/// store it under `CausalValue<YourWrite>`.
#[derive(Debug)]
pub struct CausalValue<W>(std::marker::PhantomData<fn() -> W>);

/// A mutation of a causal value that clients can ask for.
pub trait CausalWrite:
    Clone + Debug + Eq + Hash + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// The causal type.
    type Store: Cell + Clone + Eq + Hash + Debug + Serialize + DeserializeOwned + Send + Sync;

    /// Carries the mutation out; false if it does nothing.
    fn apply(&self, edit: &mut Edit<'_, Self::Store>) -> bool;

    /// Bytes of the mutation, for the limit on values.
    fn size(&self) -> usize;
}

impl<W: CausalWrite> Policy for CausalValue<W> {
    type Cell = W::Store;
    type Write = W;
    const BY_TIME: bool = false;

    fn apply(edit: &mut Edit<'_, W::Store>, write: &W, _: Timestamp) -> bool {
        write.apply(edit)
    }

    fn time_of(_: &W::Store) -> Option<Timestamp> {
        None
    }

    fn verdict(_: Option<&W::Store>, dot: Dot) -> Verdict {
        Verdict::Holds(dot)
    }

    fn weight(cell: &W::Store) -> usize {
        cell.dot_ranges().count() * 32 + 16
    }

    fn size(write: &W) -> usize {
        write.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{AddWinsSet, MapReplica, ReplicaId};

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    /// The cell of a key after these writes by one replica, and what each said of its effect.
    fn written<P: Policy>(writes: &[P::Write]) -> (P::Cell, Vec<bool>) {
        let mut replica = MapReplica::<Bytes, P::Cell>::new(ReplicaId(1));
        let key = bytes("k");
        let mut effects = Vec::new();
        for (time, write) in (1..).zip(writes) {
            let time = P::timestamp_of(write).unwrap_or(Timestamp(time));
            let _written = replica.edit(key.clone(), None, |edit: &mut Edit<'_, P::Cell>| {
                effects.push(P::apply(edit, write, time));
                effects.last() == Some(&true)
            });
        }
        let cell = replica.map().get(&key).cloned();
        (cell.unwrap_or_default(), effects)
    }

    fn put(value: &'static str, timestamp: Option<u64>) -> LwwWrite {
        LwwWrite {
            value: Some(bytes(value)),
            timestamp: timestamp.map(Timestamp),
        }
    }

    #[test]
    fn a_store_by_time_weighs_its_value_and_says_which_writes_did_nothing() {
        let (cell, effects) = written::<Lww>(&[put("later", Some(9)), put("early", Some(4))]);
        assert_eq!(effects, [true, false]);
        assert_eq!(Lww::time_of(&cell), Some(Timestamp(9)));
        assert_eq!(Lww::weight(&cell), "later".len() + 16);
        let delete = LwwWrite {
            value: None,
            timestamp: None,
        };
        assert_eq!(Lww::size(&put("later", None)), "later".len());
        assert_eq!(Lww::size(&delete), 0);
        assert_eq!(Lww::weight(&written::<Lww>(&[delete]).0), 16);
    }

    #[test]
    fn siblings_weigh_their_values_and_every_write_takes_effect() {
        let writes = [SiblingWrite::Delete, SiblingWrite::Put(bytes("value"))];
        let (cell, effects) = written::<MultiValue>(&writes);
        assert_eq!(effects, [true, true]);
        assert_eq!(MultiValue::weight(&cell), "value".len() + 16);
        assert_eq!(MultiValue::time_of(&cell), None);
        assert_eq!(MultiValue::timestamp_of(&writes[1]), None);
        assert_eq!(writes.each_ref().map(MultiValue::size), [0, 5]);
    }

    /// Adds a word to a set, or does nothing.
    #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
    struct Add(Option<Bytes>);

    impl CausalWrite for Add {
        type Store = AddWinsSet<Bytes>;

        fn apply(&self, edit: &mut Edit<'_, Self::Store>) -> bool {
            let word = self.0.clone();
            word.is_some_and(|word| {
                edit.add(word);
                true
            })
        }

        fn size(&self) -> usize {
            self.0.as_ref().map_or(0, Bytes::len)
        }
    }

    #[test]
    fn causal_values_weigh_their_events_and_know_what_changes_nothing() {
        let writes = ["one", "two"].map(|word| Add(Some(bytes(word))));
        let writes = [writes[0].clone(), Add(None), writes[1].clone()];
        let (cell, effects) = written::<CausalValue<Add>>(&writes);
        assert_eq!(effects, [true, false, true]);
        let ranges = cell.dot_ranges().count();
        assert!(ranges > 0);
        assert_eq!(CausalValue::<Add>::weight(&cell), 32 * ranges + 16);
        assert_eq!(CausalValue::<Add>::time_of(&cell), None);
        assert_eq!(writes.each_ref().map(CausalValue::<Add>::size), [3, 0, 3]);
    }
}
