//! The objects, and what each operation means for the model of them.

use crdt::{AddWinsSet, DotStore, Edit, OrMap, RemoveWinsSet, ResettableCounter};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};

use super::model::{Mark, Op, Part};

/// What a reader sees: under each key the elements and the count.
pub(super) type Shown = BTreeMap<u8, (BTreeSet<u8>, i128)>;

/// The marks that an operation makes, under their keys, and which of those that its author sees it
/// undoes.
pub(super) type Effect = (Vec<(u8, Mark)>, Box<dyn Fn(u8, Mark) -> bool>);

type Record = (AddWinsSet<u8>, ResettableCounter);

/// A store beside its model.
pub(super) trait Modelled: DotStore + Serialize + DeserializeOwned {
    /// Whether the type has marks to purge.
    const PURGES: bool = false;

    /// The operation that the type has in place of this one.
    fn adapted(op: Op) -> Op;
    fn edit(edit: &mut Edit<'_, Self>, op: Op);
    /// What an operation does, by an author that sees these marks.
    fn effect(op: Op, sees: &[Part]) -> Effect;
    fn shown(&self) -> Shown;
    fn expected(live: &[Part]) -> Shown;
}

/// The same for all types without marks of removals.
fn plain_effect(op: Op) -> Effect {
    match op {
        Op::Add(key, element) => {
            let added = Mark::Added(element);
            let undoes = move |k, mark| k == key && mark == added;
            (vec![(key, added)], Box::new(undoes))
        }
        Op::Remove(key, element) => {
            let undoes = move |k, mark| k == key && mark == Mark::Added(element);
            (Vec::new(), Box::new(undoes))
        }
        Op::ClearSet(key) => {
            let undoes = move |k, mark| k == key && matches!(mark, Mark::Added(_));
            (Vec::new(), Box::new(undoes))
        }
        Op::Count(key, amount) => {
            let made = (amount != 0).then_some((key, Mark::Counted(amount)));
            (made.into_iter().collect(), Box::new(|_, _| false))
        }
        Op::Reset(key) => {
            let undoes = move |k, mark| k == key && matches!(mark, Mark::Counted(_));
            (Vec::new(), Box::new(undoes))
        }
        Op::RemoveKey(key) => (Vec::new(), Box::new(move |k, _| k == key)),
        Op::Clear => (Vec::new(), Box::new(|_, _| true)),
    }
}

fn plain_expected(live: &[Part]) -> Shown {
    let mut shown = Shown::new();
    for (_, key, mark) in live {
        let (elements, count) = shown.entry(*key).or_default();
        match mark {
            Mark::Added(element) | Mark::Removed(element) => {
                elements.insert(*element);
            }
            Mark::Counted(amount) => *count += i128::from(*amount),
        }
    }
    shown
}

/// A set alone: everything is under one key.
const fn of_a_set(op: Op) -> Op {
    match op {
        Op::Add(_, element) => Op::Add(0, element),
        Op::Remove(_, element) => Op::Remove(0, element),
        Op::Count(key, _) => Op::Add(0, key),
        Op::Reset(key) => Op::Remove(0, key),
        Op::ClearSet(_) | Op::RemoveKey(_) | Op::Clear => Op::ClearSet(0),
    }
}

fn shown_of_a_set(elements: BTreeSet<u8>) -> Shown {
    let is_shown = !elements.is_empty();
    is_shown.then_some((0, (elements, 0))).into_iter().collect()
}

impl Modelled for AddWinsSet<u8> {
    fn adapted(op: Op) -> Op {
        of_a_set(op)
    }

    fn edit(edit: &mut Edit<'_, Self>, op: Op) {
        match op {
            Op::Add(_, element) => edit.add(element),
            Op::Remove(_, element) => edit.remove(&element),
            _ => edit.clear(),
        }
    }

    fn effect(op: Op, _: &[Part]) -> Effect {
        plain_effect(op)
    }

    fn shown(&self) -> Shown {
        shown_of_a_set(self.iter().copied().collect())
    }

    fn expected(live: &[Part]) -> Shown {
        plain_expected(live)
    }
}

impl Modelled for OrMap<u8, Record> {
    fn adapted(op: Op) -> Op {
        op
    }

    fn edit(edit: &mut Edit<'_, Self>, op: Op) {
        match op {
            Op::Add(key, element) => edit.update(key, |record| record.first().add(element)),
            Op::Remove(key, element) => edit.update(key, |record| record.first().remove(&element)),
            Op::ClearSet(key) => edit.update(key, |record| record.first().clear()),
            Op::Count(key, amount) => {
                edit.update(key, |record| record.second().add(i64::from(amount)));
            }
            Op::Reset(key) => edit.update(key, |record| record.second().reset()),
            Op::RemoveKey(key) => edit.remove(&key),
            Op::Clear => edit.clear(),
        }
    }

    fn effect(op: Op, _: &[Part]) -> Effect {
        plain_effect(op)
    }

    fn shown(&self) -> Shown {
        let records = self.iter();
        records
            .map(|(key, (set, counter))| (*key, (set.iter().copied().collect(), counter.value())))
            .collect()
    }

    fn expected(live: &[Part]) -> Shown {
        plain_expected(live)
    }
}

/// A live remove of an element beats every add of it.
impl Modelled for RemoveWinsSet<u8> {
    const PURGES: bool = true;

    fn adapted(op: Op) -> Op {
        of_a_set(op)
    }

    fn edit(edit: &mut Edit<'_, Self>, op: Op) {
        match op {
            Op::Add(_, element) => edit.add(element),
            Op::Remove(_, element) => edit.remove(element),
            _ => edit.clear(),
        }
    }

    /// What an author does not see as present it does not clear, whether its marks were purged or not.
    fn effect(op: Op, sees: &[Part]) -> Effect {
        let (elements, mark): (BTreeSet<u8>, fn(u8) -> Mark) = match op {
            Op::Add(_, element) => ([element].into(), Mark::Added),
            Op::Remove(_, element) => ([element].into(), Mark::Removed),
            _ => (not_removed(sees), Mark::Removed),
        };
        let made = elements.iter().map(|element| (0, mark(*element))).collect();
        let undoes = move |_, mark| match mark {
            Mark::Added(element) | Mark::Removed(element) => elements.contains(&element),
            Mark::Counted(_) => false,
        };
        (made, Box::new(undoes))
    }

    fn shown(&self) -> Shown {
        shown_of_a_set(self.iter().copied().collect())
    }

    fn expected(live: &[Part]) -> Shown {
        shown_of_a_set(not_removed(live))
    }
}

/// The elements that were added and not removed.
fn not_removed(live: &[Part]) -> BTreeSet<u8> {
    let marks = || live.iter().map(|(_, _, mark)| *mark);
    let is_removed = |element| marks().any(|mark| mark == Mark::Removed(element));
    let added = marks().filter_map(|mark| match mark {
        Mark::Added(element) if !is_removed(element) => Some(element),
        _ => None,
    });
    added.collect()
}
