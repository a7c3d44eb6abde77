//! Subjects: maps and sets by time whose tombstones are purged, at any time, as no honest owner would purge.
//! Their specification adds up what each change said, in the plainest way.

use crdt::laws::{Choice, History, Subject};
use crdt::{CausalContext, Difference, Horizon, LwwMap, LwwSet, OwnerView, Promises};
use crdt::{ReplicaId, Timestamp};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::Hash;

/// A horizon as a store with one owner has it: its own clock.
fn horizon(time: Timestamp) -> Horizon {
    let (mut view, me) = (OwnerView::default(), ReplicaId(1));
    view.record(0, me);
    let (promises, base) = (Promises::default(), CausalContext::default());
    let horizon = promises.horizon(&view, 1, me, &base, time);
    horizon.expect("the only owner promises itself")
}

/// A map of a few keys that can be purged.
pub trait Purged: Difference + Hash {
    /// Writes a value, or removes.
    fn write(&mut self, key: u8, value: Option<u8>, time: Timestamp) -> Self;
    /// Forgets tombstones.
    fn purge(&mut self, horizon: &Horizon);
    /// What a reader sees now.
    fn shown(&self) -> BTreeMap<u8, u8>;
    /// Which of the values there are.
    fn value(value: u8) -> u8;
}

impl Purged for LwwMap<u8, u8> {
    fn write(&mut self, key: u8, value: Option<u8>, time: Timestamp) -> Self {
        match value {
            Some(value) => self.insert(key, value, time),
            None => self.remove(key, time),
        }
    }

    fn purge(&mut self, horizon: &Horizon) {
        self.purge(horizon);
    }

    fn shown(&self) -> BTreeMap<u8, u8> {
        self.iter().map(|(key, value)| (*key, *value)).collect()
    }

    fn value(value: u8) -> u8 {
        value % 3
    }
}

impl Purged for LwwSet<u8> {
    fn write(&mut self, element: u8, value: Option<u8>, time: Timestamp) -> Self {
        match value {
            Some(_) => self.insert(element, time),
            None => self.remove(element, time),
        }
    }

    fn purge(&mut self, horizon: &Horizon) {
        self.purge(horizon);
    }

    fn shown(&self) -> BTreeMap<u8, u8> {
        self.iter().map(|element| (*element, 0)).collect()
    }

    fn value(_: u8) -> u8 {
        0
    }
}

/// A write to a key, or a purge, with its time; some with a clock that lags.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// Of a value, or of a tombstone.
    Write(u8, Option<u8>, Timestamp),
    /// Of the tombstones up to a time.
    Purge(Timestamp),
}

/// One replica of such a map.
#[derive(Debug)]
pub struct Purging<L> {
    map: L,
}

impl<L: Purged> Subject for Purging<L> {
    type State = L;
    type Op = Op;
    type Value = BTreeMap<u8, u8>;

    /// What a purge forgets, no difference can name.
    const DIFFERENCE_IS_LEAST: bool = false;

    fn new(_: ReplicaId) -> Self {
        Self { map: L::default() }
    }

    fn state(&self) -> &L {
        &self.map
    }

    fn join(&mut self, other: &L) -> bool {
        self.map.join(other)
    }

    fn op(Choice { what, which, time }: Choice) -> Op {
        let time = Timestamp(time.0.saturating_sub(u64::from(what / 4 % 3)));
        match what % 4 {
            3 => Op::Purge(time),
            kind => Op::Write(which / 3 % 2, (kind != 2).then(|| L::value(which)), time),
        }
    }

    /// The delta of a purge is the whole state.
    fn apply(&mut self, op: &Op) -> L {
        match *op {
            Op::Write(key, value, time) => self.map.write(key, value, time),
            Op::Purge(time) => {
                self.map.purge(&horizon(time));
                self.map.clone()
            }
        }
    }

    fn value(state: &L) -> Self::Value {
        state.shown()
    }

    fn expected(history: &History<'_, Op>) -> Self::Value {
        let mut said: Vec<(&crdt::laws::Event<Op>, Plain)> = Vec::new();
        for event in history.events() {
            let seen = said
                .iter()
                .filter(|(earlier, _)| history.sees(event, earlier));
            let before = Plain::sum(seen.map(|(_, delta)| delta));
            said.push((event, before.told(event.op)));
        }
        let all = Plain::sum(said.iter().map(|(_, delta)| delta));
        let writes = all.writes.into_iter();
        writes
            .filter_map(|(key, (_, value))| Some((key, value?)))
            .collect()
    }
}

/// A write with its time: `None` removes.
type Write = (Timestamp, Option<u8>);

/// The map once more, without a thought of cost.
#[derive(Clone, Default)]
struct Plain {
    purged: Option<Timestamp>,
    writes: BTreeMap<u8, Write>,
}

/// The frozen order, written out once more: latest; value before tombstone; smaller value.
fn rank(write: &Write) -> (Timestamp, bool, Reverse<Option<u8>>) {
    (write.0, write.1.is_some(), Reverse(write.1))
}

impl Plain {
    fn sum<'a>(deltas: impl Iterator<Item = &'a Self>) -> Self {
        deltas.fold(Self::default(), |sum, delta| sum.joined(delta))
    }

    /// A write at or below what either side has purged counts only if that side holds it.
    fn joined(&self, other: &Self) -> Self {
        let counts = |held_by: &Self, against: &Self, write: &Write| {
            held_by.purged >= against.purged || Some(write.0) > against.purged
        };
        let mut writes: BTreeMap<u8, Write> = BTreeMap::new();
        for (mine, theirs) in [(self, other), (other, self)] {
            for (key, write) in &mine.writes {
                let best = writes.get(key).is_none_or(|held| rank(write) > rank(held));
                if best && counts(mine, theirs, write) {
                    writes.insert(*key, *write);
                }
            }
        }
        let purged = self.purged.max(other.purged);
        Self { purged, writes }
    }

    /// What a change made here tells others.
    fn told(self, op: Op) -> Self {
        match op {
            Op::Purge(time) if Some(time) > self.purged => Self {
                purged: Some(time),
                writes: {
                    let mut writes = self.writes;
                    writes.retain(|_, (at, value)| value.is_some() || *at > time);
                    writes
                },
            },
            Op::Purge(_) => self,
            Op::Write(key, value, time) => {
                let write = (time, value);
                let wins = self
                    .writes
                    .get(&key)
                    .is_none_or(|held| rank(&write) > rank(held));
                let mut delta = Self::default();
                if wins && Some(time) > self.purged {
                    delta.writes.insert(key, write);
                }
                delta
            }
        }
    }
}
