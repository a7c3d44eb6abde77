//! Subjects: the replicated map, and what replicas show of themselves: digests and reports.

use crdt::laws::{Choice, Event, History, Subject};
use crdt::{
    AddWinsSet, CausalMap, CausalReplica, Cell, Difference, Digest, Dot, Lattice as _, MapReplica,
    MvCell, ObjectId, ReplicaId, Stability,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;

/// A cell, and what can be done to it.
pub trait Written: Cell {
    /// A change that a user can make.
    type Op: Clone + Debug;
    /// What a reader sees.
    type Value: PartialEq + Debug;

    /// As [`Subject::op`].
    fn op(choice: Choice) -> Self::Op;
    /// Makes a change, as this event.
    fn write(&mut self, dot: Dot, op: &Self::Op);
    /// What a reader sees now.
    fn shown(&self) -> Self::Value;
    /// What the operations on one key leave there; `None` if nothing.
    fn left<'a>(
        history: &History<'_, (u8, Self::Op)>,
        of_key: impl Fn(&Event<(u8, Self::Op)>) -> bool + 'a,
    ) -> Option<Self::Value>;
}

/// One replica of a map. Other maps are joined whole, as a small map each.
#[derive(Debug)]
pub struct Map<C> {
    id: ReplicaId,
    map: CausalMap<u8, C>,
}

impl<C: Written> Subject for Map<C> {
    type State = CausalMap<u8, C>;
    type Op = (u8, C::Op);
    type Value = BTreeMap<u8, C::Value>;

    fn new(id: ReplicaId) -> Self {
        let map = CausalMap::default();
        Self { id, map }
    }

    fn state(&self) -> &Self::State {
        &self.map
    }

    fn join(&mut self, other: &Self::State) -> bool {
        self.map.join(other)
    }

    fn op(choice: Choice) -> Self::Op {
        (choice.which / 4 % 2, C::op(choice))
    }

    fn apply(&mut self, (key, op): &Self::Op) -> Self::State {
        let entries = self.map.entries().map(|(key, cell)| (*key, cell.clone()));
        let knowledge = self.map.knowledge().clone();
        let restored = MapReplica::restore(self.id, entries, knowledge, []);
        let mut replica = restored.expect("a state that was reached");
        let written = replica.write(*key, |cell, dot| cell.write(dot, op));
        self.map = replica.map().clone();
        let mut delta = CausalMap::default();
        delta.join_listing(&written.listing);
        delta
    }

    fn value(state: &Self::State) -> Self::Value {
        let entries = state.entries();
        entries.map(|(key, cell)| (*key, cell.shown())).collect()
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let left = |key: u8| C::left(history, move |event| event.op.0 == key);
        (0..2).filter_map(|key| Some((key, left(key)?))).collect()
    }
}

/// A value, or a removal.
impl Written for MvCell<u8> {
    type Op = Option<u8>;
    type Value = Vec<u8>;

    fn op(Choice { what, which, .. }: Choice) -> Option<u8> {
        (what % 3 != 1).then_some(which % 4)
    }

    fn write(&mut self, dot: Dot, op: &Option<u8>) {
        match op {
            Some(value) => Self::write(self, dot, *value),
            None => self.clear(),
        }
    }

    fn shown(&self) -> Vec<u8> {
        let mut values: Vec<u8> = self.values().copied().collect();
        values.sort_unstable();
        values
    }

    fn left<'a>(
        history: &History<'_, (u8, Option<u8>)>,
        of_key: impl Fn(&Event<(u8, Option<u8>)>) -> bool + 'a,
    ) -> Option<Vec<u8>> {
        let live = history.survivors(|later, event| later.0 == event.op.0);
        let mut values: Vec<u8> = live
            .filter(|event| of_key(event))
            .filter_map(|event| event.op.1)
            .collect();
        values.sort_unstable();
        (!values.is_empty()).then_some(values)
    }
}

/// A replica that has objects of its own, and a lattice made of what they show.
pub trait Witness: Difference + Hash {
    /// What a reader sees.
    type Value: PartialEq + Debug;

    /// What is said after a change: first of the change, then of the whole object.
    fn said(change: &Digest, replica: &mut CausalReplica<AddWinsSet<u8>>) -> Self;
    /// What a reader sees now.
    fn shown(&self) -> Self::Value;
    /// As [`Subject::expected`].
    fn expected(history: &History<'_, SetOp>) -> Self::Value;
}

/// An element goes in or out, at the own object alone.
pub type SetOp = (bool, u8);

/// One replica of such a lattice.
#[derive(Debug)]
pub struct Watched<L> {
    object: CausalReplica<AddWinsSet<u8>>,
    known: L,
}

impl<L: Witness> Subject for Watched<L> {
    type State = L;
    type Op = SetOp;
    type Value = L::Value;

    fn new(replica: ReplicaId) -> Self {
        Self {
            object: CausalReplica::new(ObjectId(1), replica),
            known: L::default(),
        }
    }

    fn state(&self) -> &L {
        &self.known
    }

    fn join(&mut self, other: &L) -> bool {
        self.known.join(other)
    }

    fn op(Choice { what, which, .. }: Choice) -> SetOp {
        (what % 3 != 1, which % 3)
    }

    fn apply(&mut self, &(adds, element): &SetOp) -> L {
        let change = self.object.change(|set| match adds {
            true => set.add(element),
            false => set.remove(&element),
        });
        let said = L::said(&change.digest(), &mut self.object);
        self.known.join(&said);
        said
    }

    fn value(state: &L) -> L::Value {
        state.shown()
    }

    fn expected(history: &History<'_, SetOp>) -> L::Value {
        L::expected(history)
    }
}

/// The own adds that are not undone: an object hears of nobody else's.
fn live_adds<'a>(history: &History<'a, SetOp>) -> impl Iterator<Item = &'a Event<SetOp>> {
    let live = history.events().filter(|event| {
        let mut own = history
            .events()
            .filter(|later| later.replica() == event.replica());
        let undoes = |later: &Event<SetOp>| later.op.1 == event.op.1 && history.sees(later, event);
        !own.any(undoes)
    });
    let live: Vec<_> = live.filter(|event| event.op.0).collect();
    live.into_iter()
}

/// Said piece by piece: of each change what it minted and made obsolete.
impl Witness for Digest {
    /// Numbers of events that are live, and of all.
    type Value = (u64, u64);

    fn said(change: &Digest, _: &mut CausalReplica<AddWinsSet<u8>>) -> Self {
        change.clone()
    }

    fn shown(&self) -> Self::Value {
        (self.live().event_count(), self.context().event_count())
    }

    fn expected(history: &History<'_, SetOp>) -> Self::Value {
        let adds = history.events().filter(|event| event.op.0);
        (live_adds(history).count() as u64, adds.count() as u64)
    }
}

/// Said whole, as a report.
impl Witness for Stability {
    /// Who has reported; what it had then is a [`Digest`], of which a row of its own tells.
    type Value = BTreeSet<ReplicaId>;

    fn said(_: &Digest, replica: &mut CausalReplica<AddWinsSet<u8>>) -> Self {
        let mut said = Self::default();
        said.report(&replica.report());
        said
    }

    fn shown(&self) -> Self::Value {
        self.members().collect()
    }

    fn expected(history: &History<'_, SetOp>) -> Self::Value {
        history.events().map(Event::replica).collect()
    }
}
