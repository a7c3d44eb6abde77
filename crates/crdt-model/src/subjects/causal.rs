//! Subjects: causal objects. Their specifications ask of every event whether one that had seen it
//! undid it, and know neither dots nor contexts.

use crdt::laws::{Choice, History, Subject};
use crdt::{
    AddWinsSet, Causal, CausalReplica, DotFun, DotStore, Edit, LwwCell, MvCell, ObjectId, OrMap,
    ReplicaId, Timestamp,
};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// A store whose mutators are methods of an edit.
pub trait Edited: DotStore {
    /// A change that a user can make.
    type Op: Clone + Debug;
    /// What a reader sees.
    type Value: PartialEq + Debug;

    /// As [`Subject::DIFFERENCE_IS_LEAST`].
    const DIFFERENCE_IS_LEAST: bool = true;

    /// As [`Subject::op`].
    fn op(choice: Choice) -> Self::Op;
    /// Makes a change.
    fn edit(edit: &mut Edit<'_, Self>, op: &Self::Op);
    /// What a reader sees now.
    fn shown(&self) -> Self::Value;
    /// As [`Subject::expected`].
    fn expected(history: &History<'_, Self::Op>) -> Self::Value;
}

/// One replica of a causal object.
#[derive(Debug)]
pub struct Object<S>(CausalReplica<S>);

impl<S: Edited> Subject for Object<S> {
    type State = Causal<S>;
    type Op = S::Op;
    type Value = S::Value;

    const DIFFERENCE_IS_LEAST: bool = S::DIFFERENCE_IS_LEAST;

    fn new(replica: ReplicaId) -> Self {
        Self(CausalReplica::new(ObjectId(1), replica))
    }

    fn state(&self) -> &Causal<S> {
        self.0.state()
    }

    fn join(&mut self, other: &Causal<S>) -> bool {
        self.0
            .join(other)
            .expect("every replica has its own identity")
    }

    fn op(choice: Choice) -> S::Op {
        S::op(choice)
    }

    fn apply(&mut self, op: &S::Op) -> Causal<S> {
        self.0.change(|edit| S::edit(edit, op))
    }

    fn value(state: &Causal<S>) -> S::Value {
        state.store().shown()
    }

    fn expected(history: &History<'_, S::Op>) -> S::Value {
        S::expected(history)
    }
}

/// A change of a register.
#[derive(Debug, Clone)]
pub enum Write {
    /// In place of what is there.
    Replace(u8),
    /// Beside what is there.
    Add(u8),
    /// Of what is there.
    Clear,
}

/// The values of the writes that no later write or removal undid, sorted.
fn values<O>(history: &History<'_, O>, write: impl Fn(&O) -> Option<&Write>) -> Vec<u8> {
    let undoes = |op: &O| matches!(write(op), Some(Write::Replace(_) | Write::Clear));
    let live = history.survivors(|later, _| undoes(later));
    let mut values: Vec<u8> = live
        .filter_map(|event| match write(&event.op)? {
            Write::Replace(value) | Write::Add(value) => Some(*value),
            Write::Clear => None,
        })
        .collect();
    values.sort_unstable();
    values
}

impl Edited for DotFun<u8> {
    type Op = Write;
    type Value = Vec<u8>;

    fn op(Choice { what, which, .. }: Choice) -> Write {
        match what % 3 {
            0 => Write::Replace(which % 4),
            1 => Write::Add(which % 4),
            _ => Write::Clear,
        }
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &Write) {
        match op {
            Write::Replace(value) => edit.replace(*value),
            Write::Add(value) => edit.add(*value),
            Write::Clear => edit.clear(),
        }
    }

    fn shown(&self) -> Vec<u8> {
        let mut values: Vec<u8> = self.values().copied().collect();
        values.sort_unstable();
        values
    }

    fn expected(history: &History<'_, Write>) -> Vec<u8> {
        values(history, |op| Some(op))
    }
}

impl Edited for MvCell<u8> {
    type Op = Write;
    type Value = Vec<u8>;

    fn op(Choice { what, which, .. }: Choice) -> Write {
        match what % 4 {
            0 | 2 | 3 => Write::Replace(which % 4),
            _ => Write::Clear,
        }
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &Write) {
        match op {
            Write::Replace(value) | Write::Add(value) => edit.set(*value),
            Write::Clear => edit.unset(),
        }
    }

    fn shown(&self) -> Vec<u8> {
        let mut values: Vec<u8> = self.values().copied().collect();
        values.sort_unstable();
        values
    }

    fn expected(history: &History<'_, Write>) -> Vec<u8> {
        values(history, |op| Some(op))
    }
}

/// A write or, without a value, a delete; some with a clock that lags, so that they lose or tie.
impl Edited for LwwCell<u8> {
    type Op = (Timestamp, Option<u8>);
    type Value = Option<Self::Op>;

    /// The value of an event that lost is forgotten. A state that still holds it may be smaller than one
    /// that says that it lost.
    const DIFFERENCE_IS_LEAST: bool = false;

    fn op(Choice { what, which, time }: Choice) -> Self::Op {
        let time = Timestamp(time.0.saturating_sub(u64::from(what / 4 % 3)));
        (time, (what % 4 != 2).then_some(which % 3))
    }

    fn edit(edit: &mut Edit<'_, Self>, &(time, value): &Self::Op) {
        edit.write(time, value);
    }

    fn shown(&self) -> Self::Value {
        self.live().map(|entry| (entry.timestamp, entry.value))
    }

    /// The frozen order, written out once more: latest; value before tombstone; smaller value.
    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let writes = history.events().map(|event| event.op);
        writes.max_by_key(|(time, value)| (*time, value.is_some(), Reverse(*value)))
    }
}

/// Elements up to which a set is filled: several blocks of 64 events.
const MANY: u8 = 70;

/// A change of a set.
#[derive(Debug, Clone)]
pub enum SetOp {
    /// One element goes in.
    Add(u8),
    /// All elements below `MANY`.
    AddMany,
    /// One element goes out.
    Remove(u8),
    /// All go out.
    Clear,
}

impl SetOp {
    fn of(Choice { what, which, .. }: Choice) -> Self {
        match what % 16 {
            15 => Self::AddMany,
            1 | 5 | 9 => Self::Remove(which % 3),
            3 => Self::Clear,
            _ => Self::Add(which % 3),
        }
    }

    fn edit(&self, edit: &mut Edit<'_, AddWinsSet<u8>>) {
        match self {
            Self::Add(element) => edit.add(*element),
            Self::AddMany => edit.extend(0..MANY),
            Self::Remove(element) => edit.remove(element),
            Self::Clear => edit.clear(),
        }
    }

    const fn adds(&self, element: u8) -> bool {
        match self {
            Self::Add(e) => *e == element,
            Self::AddMany => element < MANY,
            Self::Remove(_) | Self::Clear => false,
        }
    }

    const fn removes(&self, element: u8) -> bool {
        match self {
            Self::Remove(e) => *e == element,
            Self::Clear => true,
            Self::Add(_) | Self::AddMany => false,
        }
    }
}

/// The elements with an add that no later operation on the element undid. (A later add stands for the
/// earlier ones it had seen.)
fn present<O>(
    history: &History<'_, O>,
    adds: impl Fn(&O, u8) -> bool,
    removes: impl Fn(&O, u8) -> bool,
) -> BTreeSet<u8> {
    let is_present = |element: &u8| {
        let undoes = |op: &O| adds(op, *element) || removes(op, *element);
        let mut adding = history.events().filter(|event| adds(&event.op, *element));
        adding.any(|event| !history.is_undone(event, undoes))
    };
    (0..MANY).filter(is_present).collect()
}

impl Edited for AddWinsSet<u8> {
    type Op = SetOp;
    type Value = BTreeSet<u8>;

    fn op(choice: Choice) -> SetOp {
        SetOp::of(choice)
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &SetOp) {
        op.edit(edit);
    }

    fn shown(&self) -> BTreeSet<u8> {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        assert_eq!(self.len(), elements.len());
        assert!((0..MANY).all(|e| self.contains(&e) == elements.contains(&e)));
        elements
    }

    fn expected(history: &History<'_, SetOp>) -> BTreeSet<u8> {
        present(history, SetOp::adds, SetOp::removes)
    }
}

/// A change of a map of sets.
#[derive(Debug, Clone)]
pub enum MapOp {
    /// The set under a key changes.
    Update(u8, SetOp),
    /// One element under each key below `MANY`: enough keys for the index.
    Fill,
    /// A key goes out.
    Remove(u8),
    /// All keys go out.
    Clear,
}

impl MapOp {
    const fn adds(&self, key: u8, element: u8) -> bool {
        match self {
            Self::Update(k, op) => *k == key && op.adds(element),
            Self::Fill => key < MANY && element == 0,
            Self::Remove(_) | Self::Clear => false,
        }
    }

    const fn removes(&self, key: u8, element: u8) -> bool {
        match self {
            Self::Update(k, op) => *k == key && op.removes(element),
            Self::Remove(k) => *k == key,
            Self::Clear => true,
            Self::Fill => false,
        }
    }
}

impl Edited for OrMap<u8, AddWinsSet<u8>> {
    type Op = MapOp;
    type Value = BTreeMap<u8, BTreeSet<u8>>;

    fn op(choice: Choice) -> MapOp {
        let key = choice.which / 3 % 3;
        match choice.what % 16 {
            14 => MapOp::Fill,
            13 => MapOp::Clear,
            3 | 7 => MapOp::Remove(key),
            // An inner set is never filled: the map is.
            15 => MapOp::Update(key, SetOp::Add(0)),
            _ => MapOp::Update(key, SetOp::of(choice)),
        }
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &MapOp) {
        match op {
            MapOp::Update(key, op) => edit.update(*key, |set| op.edit(set)),
            MapOp::Fill => (0..MANY).for_each(|key| edit.update(key, |set| set.add(0))),
            MapOp::Remove(key) => edit.remove(key),
            MapOp::Clear => edit.clear(),
        }
    }

    fn shown(&self) -> Self::Value {
        self.iter().map(|(key, set)| (*key, set.shown())).collect()
    }

    fn expected(history: &History<'_, MapOp>) -> Self::Value {
        let mut map = BTreeMap::new();
        let is_touched = |key: &u8| history.events().any(|e| (0..3).any(|x| e.op.adds(*key, x)));
        for key in (0..MANY).filter(is_touched) {
            let adds = |op: &MapOp, element| op.adds(key, element);
            let removes = |op: &MapOp, element| op.removes(key, element);
            map.insert(key, present(history, adds, removes));
        }
        map.retain(|_, set| !set.is_empty());
        map
    }
}

/// A change of one field of a record.
#[derive(Debug, Clone)]
pub enum RecordOp {
    /// Of the register.
    Title(Write),
    /// Of the set.
    Tags(SetOp),
}

impl RecordOp {
    const fn title(&self) -> Option<&Write> {
        match self {
            Self::Title(op) => Some(op),
            Self::Tags(_) => None,
        }
    }

    const fn tags(&self) -> Option<&SetOp> {
        match self {
            Self::Tags(op) => Some(op),
            Self::Title(_) => None,
        }
    }
}

impl Edited for (MvCell<u8>, AddWinsSet<u8>) {
    type Op = RecordOp;
    type Value = (Vec<u8>, BTreeSet<u8>);

    fn op(choice: Choice) -> RecordOp {
        let inner = Choice {
            what: choice.what / 2,
            ..choice
        };
        match choice.what % 2 {
            0 => RecordOp::Title(MvCell::op(inner)),
            _ => RecordOp::Tags(SetOp::of(inner)),
        }
    }

    fn edit(edit: &mut Edit<'_, Self>, op: &RecordOp) {
        match op {
            RecordOp::Title(op) => MvCell::edit(&mut edit.first(), op),
            RecordOp::Tags(op) => op.edit(&mut edit.second()),
        }
    }

    fn shown(&self) -> Self::Value {
        (self.0.shown(), self.1.shown())
    }

    fn expected(history: &History<'_, RecordOp>) -> Self::Value {
        let adds = |op: &RecordOp, e| op.tags().is_some_and(|op| op.adds(e));
        let removes = |op: &RecordOp, e| op.tags().is_some_and(|op| op.removes(e));
        let tags = present(history, adds, removes);
        (values(history, RecordOp::title), tags)
    }
}
