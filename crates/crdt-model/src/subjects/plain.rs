//! Subjects: the plain lattices, counters, and the types that order writes by a time or a clock of
//! their own. Their specifications are sums, sets and maxima.

use crdt::laws::{Choice, Event, History};
use crdt::{
    Dot, GCounter, Lattice as _, LexicographicPair, LwwMap, LwwRegister, LwwSet, MapOf, Max, Min,
    MvRegister, Pair, PnCounter, ReplicaId, SetUnion, Timestamp, TwoPhaseSet,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::clocks::Mutated;

/// Keys and elements that single operations touch.
const FEW: u8 = 3;

impl Mutated for GCounter {
    type Op = u64;
    type Value = u128;

    fn op(Choice { which, .. }: Choice) -> u64 {
        u64::from(which % 4)
    }

    fn mutate(&mut self, by: ReplicaId, amount: &u64) -> Self {
        self.increment(by, *amount).expect("amounts are small")
    }

    fn shown(&self) -> u128 {
        self.value()
    }

    fn expected(history: &History<'_, u64>) -> u128 {
        history.events().map(|event| u128::from(event.op)).sum()
    }
}

impl Mutated for PnCounter {
    type Op = (bool, u64);
    type Value = i128;

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        (what % 2 == 1, u64::from(which % 4))
    }

    fn mutate(&mut self, by: ReplicaId, &(down, amount): &Self::Op) -> Self {
        let delta = match down {
            true => self.decrement(by, amount),
            false => self.increment(by, amount),
        };
        delta.expect("amounts are small")
    }

    fn shown(&self) -> i128 {
        self.value()
    }

    fn expected(history: &History<'_, Self::Op>) -> i128 {
        let amounts = history.events().map(|event| match event.op {
            (true, amount) => -i128::from(amount),
            (false, amount) => i128::from(amount),
        });
        amounts.sum()
    }
}

impl Mutated for Max<u8> {
    type Op = u8;
    type Value = Option<u8>;

    fn op(Choice { which, .. }: Choice) -> u8 {
        which % 4
    }

    fn mutate(&mut self, _: ReplicaId, value: &u8) -> Self {
        self.raise(*value)
    }

    fn shown(&self) -> Option<u8> {
        self.get().copied()
    }

    fn expected(history: &History<'_, u8>) -> Option<u8> {
        history.events().map(|event| event.op).max()
    }
}

impl Mutated for Min<u8> {
    type Op = u8;
    type Value = Option<u8>;

    fn op(Choice { which, .. }: Choice) -> u8 {
        which % 4
    }

    fn mutate(&mut self, _: ReplicaId, value: &u8) -> Self {
        self.lower(*value)
    }

    fn shown(&self) -> Option<u8> {
        self.get().copied()
    }

    fn expected(history: &History<'_, u8>) -> Option<u8> {
        history.events().map(|event| event.op).min()
    }
}

/// The largest and the smallest of different numbers.
impl Mutated for Pair<Max<u8>, Min<u8>> {
    type Op = (bool, u8);
    type Value = (Option<u8>, Option<u8>);

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        (what % 2 == 0, which % 4)
    }

    fn mutate(&mut self, _: ReplicaId, &(first, value): &Self::Op) -> Self {
        match first {
            true => self.update_first(|max| max.raise(value)),
            false => self.update_second(|min| min.lower(value)),
        }
    }

    fn shown(&self) -> Self::Value {
        (self.first.get().copied(), self.second.get().copied())
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let of = |first| history.events().filter(move |event| event.op.0 == first);
        let firsts = of(true).map(|event| event.op.1);
        (firsts.max(), of(false).map(|event| event.op.1).min())
    }
}

/// A change of a versioned set.
#[derive(Debug, Clone, Copy)]
pub enum Versioned {
    /// A version with one element.
    Restart(u8, u8),
    /// An element goes into the version that is there.
    Insert(u8),
}

impl Mutated for LexicographicPair<u8, SetUnion<u8>> {
    type Op = Versioned;
    type Value = Option<(u8, BTreeSet<u8>)>;

    fn op(Choice { what, which, .. }: Choice) -> Versioned {
        match what % 3 {
            0 => Versioned::Restart(which % 3, which / 3 % 4),
            _ => Versioned::Insert(which % 4),
        }
    }

    fn mutate(&mut self, _: ReplicaId, op: &Versioned) -> Self {
        match op {
            Versioned::Restart(version, element) => {
                self.restart(*version, [*element].into_iter().collect())
            }
            Versioned::Insert(element) => self.update(|set| set.insert(*element)),
        }
    }

    fn shown(&self) -> Self::Value {
        let set = self.second()?.iter().copied().collect();
        Some((*self.first()?, set))
    }

    /// An insert goes into the highest version that its author had; only the highest version of all is
    /// shown. What brings nothing new where it is made tells nobody of its version.
    fn expected(history: &History<'_, Versioned>) -> Self::Value {
        let mut news: BTreeMap<Dot, (u8, u8)> = BTreeMap::new();
        for event in history.events() {
            let seen = |earlier: &&Event<Versioned>| history.sees(event, earlier);
            let held = || {
                history
                    .events()
                    .filter(seen)
                    .filter_map(|e| news.get(&e.dot))
            };
            let highest = held().map(|(version, _)| *version).max();
            let brought = match event.op {
                Versioned::Restart(version, element) => Some((version, element)),
                Versioned::Insert(element) => highest.map(|version| (version, element)),
            };
            let is_new = |new: &(u8, u8)| Some(new.0) >= highest && held().all(|old| old != new);
            if let Some(new) = brought.filter(is_new) {
                news.insert(event.dot, new);
            }
        }
        let highest = news.values().map(|(version, _)| *version).max()?;
        let shown = news
            .into_values()
            .filter(|(version, _)| *version == highest);
        Some((highest, shown.map(|(_, element)| element).collect()))
    }
}

/// Something, if only bottom, or nothing at all.
impl Mutated for Option<Max<u8>> {
    type Op = Option<u8>;
    type Value = Option<Option<u8>>;

    fn op(Choice { what, which, .. }: Choice) -> Option<u8> {
        (what % 2 == 1).then_some(which % 3)
    }

    fn mutate(&mut self, _: ReplicaId, op: &Option<u8>) -> Self {
        let delta = Some(op.map(Max::of).unwrap_or_default());
        self.join(&delta);
        delta
    }

    fn shown(&self) -> Self::Value {
        self.as_ref().map(|max| max.get().copied())
    }

    fn expected(history: &History<'_, Option<u8>>) -> Self::Value {
        // `None` lies below every number here too.
        history.events().map(|event| event.op).max()
    }
}

impl Mutated for SetUnion<u8> {
    type Op = u8;
    type Value = BTreeSet<u8>;

    fn op(Choice { which, .. }: Choice) -> u8 {
        which % 5
    }

    fn mutate(&mut self, _: ReplicaId, element: &u8) -> Self {
        self.insert(*element)
    }

    fn shown(&self) -> BTreeSet<u8> {
        self.iter().copied().collect()
    }

    fn expected(history: &History<'_, u8>) -> BTreeSet<u8> {
        history.events().map(|event| event.op).collect()
    }
}

impl Mutated for MapOf<u8, Max<u8>> {
    type Op = (u8, u8);
    type Value = BTreeMap<u8, u8>;

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        (what % FEW, which % 4)
    }

    fn mutate(&mut self, _: ReplicaId, &(key, value): &Self::Op) -> Self {
        self.update(key, |max| max.raise(value))
    }

    fn shown(&self) -> Self::Value {
        let entries = self.iter();
        let value = |max: &Max<u8>| *max.get().expect("a bottom is not kept");
        entries.map(|(key, max)| (*key, value(max))).collect()
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let mut map = BTreeMap::new();
        for event in history.events() {
            let held = map.entry(event.op.0).or_insert(event.op.1);
            *held = event.op.1.max(*held);
        }
        map
    }
}

/// A write, or a delete, at a time; some with a clock that lags, so that they lose or tie.
type TimedWrite = (Timestamp, Option<u8>);

fn timed_write(Choice { what, which, time }: Choice) -> TimedWrite {
    let time = Timestamp(time.0.saturating_sub(u64::from(what / 4 % 3)));
    (time, (what % 4 != 2).then_some(which % 3))
}

/// The frozen order, written out once more: latest; value before tombstone; smaller value.
fn winner(writes: impl Iterator<Item = TimedWrite>) -> Option<TimedWrite> {
    writes.max_by_key(|(time, value)| (*time, value.is_some(), Reverse(*value)))
}

impl Mutated for LwwRegister<u8> {
    type Op = TimedWrite;
    type Value = Option<TimedWrite>;

    fn op(choice: Choice) -> TimedWrite {
        timed_write(choice)
    }

    fn mutate(&mut self, _: ReplicaId, &(time, value): &TimedWrite) -> Self {
        match value {
            Some(value) => self.write(time, value),
            None => self.delete(time),
        }
    }

    fn shown(&self) -> Self::Value {
        Some((self.timestamp()?, self.value().copied()))
    }

    fn expected(history: &History<'_, TimedWrite>) -> Self::Value {
        winner(history.events().map(|event| event.op))
    }
}

impl Mutated for MvRegister<u8> {
    type Op = u8;
    type Value = Vec<u8>;

    fn op(Choice { which, .. }: Choice) -> u8 {
        which % 4
    }

    fn mutate(&mut self, by: ReplicaId, value: &u8) -> Self {
        self.write(by, *value).expect("there are few writes")
    }

    fn shown(&self) -> Vec<u8> {
        let mut values: Vec<u8> = self.values().copied().collect();
        values.sort_unstable();
        values
    }

    fn expected(history: &History<'_, u8>) -> Vec<u8> {
        let live = history.survivors(|_, _| true);
        let mut values: Vec<u8> = live.map(|event| event.op).collect();
        values.sort_unstable();
        values
    }
}

/// A write to one key, or, without one, to every key there is: more than one chunk of storage holds.
type KeyedWrite = (Option<u8>, TimedWrite);

fn keyed_write(choice: Choice) -> KeyedWrite {
    let key = choice.which / 4 % FEW;
    ((choice.what % 32 != 31).then_some(key), timed_write(choice))
}

fn touches(write: &KeyedWrite, key: u8) -> bool {
    write.0.is_none_or(|k| k == key)
}

/// What the writes leave under each key that one of them touched.
fn winners(history: &History<'_, KeyedWrite>) -> BTreeMap<u8, TimedWrite> {
    let keys = 0..=u8::MAX;
    let of_key = |key| {
        let writes = history.events().map(|event| event.op);
        winner(writes.filter(|op| touches(op, key)).map(|op| op.1)).map(|write| (key, write))
    };
    keys.filter_map(of_key).collect()
}

impl Mutated for LwwMap<u8, u8> {
    type Op = KeyedWrite;
    /// Visible entries, and the times of all, tombstones included.
    type Value = (BTreeMap<u8, u8>, BTreeMap<u8, Timestamp>);

    fn op(choice: Choice) -> KeyedWrite {
        keyed_write(choice)
    }

    fn mutate(&mut self, _: ReplicaId, write: &KeyedWrite) -> Self {
        let (time, value) = write.1;
        let keys = (0..=u8::MAX).filter(|key| touches(write, *key));
        keys.fold(Self::default(), |delta, key| {
            delta.joined(&match value {
                Some(value) => self.insert(key, value, time),
                None => self.remove(key, time),
            })
        })
    }

    fn shown(&self) -> Self::Value {
        let visible: BTreeMap<u8, u8> = self.iter().map(|(k, v)| (*k, *v)).collect();
        assert_eq!(self.len(), visible.len());
        let times = (0..=u8::MAX).filter_map(|key| Some((key, self.timestamp(&key)?)));
        (visible, times.collect())
    }

    fn expected(history: &History<'_, KeyedWrite>) -> Self::Value {
        let winners = winners(history);
        let visible = winners
            .iter()
            .filter_map(|(key, write)| Some((*key, write.1?)));
        let times = winners.iter().map(|(key, write)| (*key, write.0));
        (visible.collect(), times.collect())
    }
}

impl Mutated for LwwSet<u8> {
    type Op = KeyedWrite;
    type Value = BTreeSet<u8>;

    /// There is one value only: an element is in or out.
    fn op(choice: Choice) -> KeyedWrite {
        let (key, (time, value)) = keyed_write(choice);
        (key, (time, value.map(|_| 0)))
    }

    fn mutate(&mut self, _: ReplicaId, write: &KeyedWrite) -> Self {
        let (time, value) = write.1;
        let elements = (0..=u8::MAX).filter(|element| touches(write, *element));
        elements.fold(Self::default(), |delta, element| {
            delta.joined(&match value {
                Some(_) => self.insert(element, time),
                None => self.remove(element, time),
            })
        })
    }

    fn shown(&self) -> BTreeSet<u8> {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        assert_eq!(self.len(), elements.len());
        elements
    }

    fn expected(history: &History<'_, KeyedWrite>) -> BTreeSet<u8> {
        let winners = winners(history).into_iter();
        let present = winners.filter(|(_, write)| write.1.is_some());
        present.map(|(element, _)| element).collect()
    }
}

impl Mutated for TwoPhaseSet<u8> {
    type Op = (bool, u8);
    /// Elements, and what was removed for good.
    type Value = (BTreeSet<u8>, BTreeSet<u8>);

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        (what % 3 == 1, which % 4)
    }

    fn mutate(&mut self, _: ReplicaId, &(removes, element): &Self::Op) -> Self {
        match removes {
            true => self.remove(element),
            false => self.insert(element),
        }
    }

    fn shown(&self) -> Self::Value {
        let elements = self.iter().copied().collect();
        (elements, self.removed().copied().collect())
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let of = |removes| history.events().filter(move |event| event.op.0 == removes);
        let removed: BTreeSet<u8> = of(true).map(|event| event.op.1).collect();
        let inserted = of(false).map(|event| event.op.1);
        (inserted.filter(|e| !removed.contains(e)).collect(), removed)
    }
}
