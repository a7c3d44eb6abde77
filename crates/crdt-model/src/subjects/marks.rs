//! Subjects: bare events, flags, sets and counters made of marks that later operations replace, and
//! siblings that clients put with a context of their own.

use crdt::laws::{Choice, History, Subject};
use crdt::{
    Causal, CausalReplica, DisableWinsFlag, DotSet, Edit, EnableWinsFlag, ObjectId, OrMap,
    ReadContext, RemoveWinsSet, ReplicaId, ResettableCounter, Siblings,
};
use std::collections::{BTreeMap, BTreeSet};

use super::causal::Edited;

/// Whether the flag is switched on or off.
type Switch = bool;

fn switch(Choice { what, .. }: Choice) -> Switch {
    what.is_multiple_of(2)
}

/// An event that replaces what was seen, or the removal of it.
impl Edited for DotSet {
    type Op = Switch;
    type Value = usize;

    fn op(choice: Choice) -> Switch {
        switch(choice)
    }

    fn edit(edit: &mut Edit<'_, Self>, on: &Switch) {
        match on {
            true => edit.replace(),
            false => edit.clear(),
        }
    }

    fn shown(&self) -> usize {
        self.len()
    }

    fn expected(history: &History<'_, Switch>) -> usize {
        let live = history.survivors(|_, _| true);
        live.filter(|event| event.op).count()
    }
}

impl Edited for EnableWinsFlag {
    type Op = Switch;
    type Value = bool;

    fn op(choice: Choice) -> Switch {
        switch(choice)
    }

    fn edit(edit: &mut Edit<'_, Self>, on: &Switch) {
        match on {
            true => edit.enable(),
            false => edit.disable(),
        }
    }

    fn shown(&self) -> bool {
        self.is_enabled()
    }

    fn expected(history: &History<'_, Switch>) -> bool {
        history.survivors(|_, _| true).any(|event| event.op)
    }
}

impl Edited for DisableWinsFlag {
    type Op = Switch;
    type Value = bool;

    fn op(choice: Choice) -> Switch {
        switch(choice)
    }

    fn edit(edit: &mut Edit<'_, Self>, on: &Switch) {
        match on {
            true => edit.enable(),
            false => edit.disable(),
        }
    }

    fn shown(&self) -> bool {
        self.is_enabled()
    }

    fn expected(history: &History<'_, Switch>) -> bool {
        let mut last = history.survivors(|_, _| true).peekable();
        last.peek().is_some() && last.all(|event| event.op)
    }
}

/// Elements up to which a set is filled: enough for every index.
const MANY: u8 = 70;

/// A change of a set: an element, or all below `MANY`, goes in or out.
#[derive(Debug, Clone)]
pub struct Mark {
    adds: bool,
    element: Option<u8>,
}

impl Mark {
    fn touches(&self, element: u8) -> bool {
        self.element.is_none_or(|e| e == element)
    }
}

impl Edited for RemoveWinsSet<u8> {
    type Op = Mark;
    type Value = BTreeSet<u8>;

    fn op(Choice { what, which, .. }: Choice) -> Mark {
        let element = (what % 16 != 15).then_some(which % 3);
        let adds = what % 3 != 1;
        Mark { adds, element }
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &Mark) {
        for element in (0..MANY).filter(|element| op.touches(*element)) {
            match op.adds {
                true => edit.add(element),
                false => edit.remove(element),
            }
        }
    }

    fn shown(&self) -> BTreeSet<u8> {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        assert_eq!(self.len(), elements.len());
        assert!((0..MANY).all(|e| self.contains(&e) == elements.contains(&e)));
        elements
    }

    fn expected(history: &History<'_, Mark>) -> BTreeSet<u8> {
        let is_present = |element: &u8| {
            let touching = history.events().filter(|event| event.op.touches(*element));
            let mut last = touching
                .filter(|event| !history.is_undone(event, |later| later.touches(*element)))
                .peekable();
            last.peek().is_some() && last.all(|event| event.op.adds)
        };
        (0..MANY).filter(is_present).collect()
    }
}

/// An amount to add, or a reset.
type Count = Option<i64>;

fn count(Choice { what, which, .. }: Choice) -> Count {
    // Equal amounts often follow each other.
    (what % 4 != 1).then(|| [1, 1, -2, 5, i64::MAX, 0][usize::from(which % 6)])
}

fn edit_count(edit: &mut Edit<'_, ResettableCounter>, op: Count) {
    match op {
        Some(amount) => edit.add(amount),
        None => edit.reset(),
    }
}

impl Edited for ResettableCounter {
    type Op = Count;
    type Value = i128;

    fn op(choice: Choice) -> Count {
        count(choice)
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &Count) {
        edit_count(edit, *op);
    }

    fn shown(&self) -> i128 {
        self.value()
    }

    fn expected(history: &History<'_, Count>) -> i128 {
        let kept = history.survivors(|later, _| later.is_none());
        kept.filter_map(|event| event.op.map(i128::from)).sum()
    }
}

/// A change of the counter under a key, or, without one, the removal of the key.
type KeyedCount = (u8, Option<Count>);

impl Edited for OrMap<u8, ResettableCounter> {
    type Op = KeyedCount;
    type Value = BTreeMap<u8, i128>;

    fn op(choice: Choice) -> KeyedCount {
        let key = choice.which / 6 % 2;
        (key, (choice.what % 8 != 7).then(|| count(choice)))
    }

    fn edit(edit: &mut Edit<'_, Self>, (key, op): &KeyedCount) {
        match op {
            Some(op) => edit.update(*key, |counter| edit_count(counter, *op)),
            None => edit.remove(key),
        }
    }

    fn shown(&self) -> Self::Value {
        let entries = self.iter();
        entries
            .map(|(key, counter)| (*key, counter.value()))
            .collect()
    }

    /// A key is there while an increment of it is left, and shows the sum of what is left.
    fn expected(history: &History<'_, KeyedCount>) -> Self::Value {
        let mut map = BTreeMap::new();
        let resets = |later: &KeyedCount| matches!(later.1, None | Some(None));
        for event in history.survivors(|later, e| later.0 == e.op.0 && resets(later)) {
            let (key, op) = event.op;
            // To add zero is no event.
            if let Some(amount) = op.flatten().filter(|amount| *amount != 0) {
                *map.entry(key).or_default() += i128::from(amount);
            }
        }
        map
    }
}

/// What clients ask of the server of one key.
#[derive(Debug, Clone)]
pub enum Request {
    /// A put of a client that has just read.
    Put(u8),
    /// A put of a client that has read nothing.
    Blind(u8),
    /// A removal of what is there.
    Remove,
}

/// One server of one key.
#[derive(Debug)]
pub struct Server(CausalReplica<Siblings<u8>>);

impl Subject for Server {
    type State = Causal<Siblings<u8>>;
    type Op = Request;
    type Value = Vec<u8>;

    fn new(replica: ReplicaId) -> Self {
        Self(CausalReplica::new(ObjectId(1), replica))
    }

    fn state(&self) -> &Self::State {
        self.0.state()
    }

    fn join(&mut self, other: &Self::State) -> bool {
        self.0
            .join(other)
            .expect("every replica has its own identity")
    }

    fn op(Choice { what, which, .. }: Choice) -> Request {
        match what % 4 {
            0 | 3 => Request::Put(which % 4),
            1 => Request::Blind(which % 4),
            _ => Request::Remove,
        }
    }

    fn apply(&mut self, op: &Request) -> Self::State {
        let blind = ReadContext::blind(self.0.object());
        let delta = match op {
            Request::Put(value) => self.0.put(&self.0.read_context(), *value, usize::MAX),
            Request::Blind(value) => self.0.put(&blind, *value, usize::MAX),
            Request::Remove => Ok(self.0.change(|siblings| siblings.remove())),
        };
        delta.expect("the context is of this object, and there is no limit")
    }

    fn value(state: &Self::State) -> Vec<u8> {
        let mut values: Vec<u8> = state.values().copied().collect();
        values.sort_unstable();
        values
    }

    /// A blind put has seen nothing, whatever was at the server.
    fn expected(history: &History<'_, Request>) -> Vec<u8> {
        let live = history.survivors(|later, _| !matches!(later, Request::Blind(_)));
        let mut values: Vec<u8> = live
            .filter_map(|event| match event.op {
                Request::Put(value) | Request::Blind(value) => Some(value),
                Request::Remove => None,
            })
            .collect();
        values.sort_unstable();
        values
    }
}
