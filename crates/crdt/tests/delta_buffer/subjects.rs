//! The types that go through the network, and how a byte changes each.

use crdt::{
    AddWinsSet, Causal, CausalContext, CausalMap, CausalReplica, Closed, Difference, Digest,
    DisableWinsFlag, Dot, DotFun, DotSet, DotStore, Edit, EnableWinsFlag, GCounter, GSet,
    Knowledge, Lattice as _, LexicographicPair, LwwCell, LwwMap, LwwRegister, LwwSet, MapOf,
    MapReplica, Max, Min, MvCell, MvRegister, ObjectId, OrMap, OwnerView, Pair, PnCounter, Promise,
    Promises, RemoveWinsSet, ReplicaId, ResettableCounter, Siblings, Stability, Timestamp,
    TwoPhaseSet, VersionVector,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A replica of some type that can be changed by a byte. Bytes from 200 on always change something.
pub(crate) trait Subject: Sized {
    type State: Difference + Serialize + DeserializeOwned;

    fn new(id: ReplicaId) -> Self;
    /// Goes on under another identity.
    fn renamed(self, id: ReplicaId) -> Self;
    fn state(&self) -> &Self::State;
    fn change(&mut self, byte: u8) -> Self::State;
    fn join_news(&mut self, payload: &Self::State) -> Self::State;
}

/// How a byte changes a store.
pub(crate) trait Store: DotStore + Serialize + DeserializeOwned {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8);
}

impl<S: Store> Subject for CausalReplica<S> {
    type State = Causal<S>;

    fn new(id: ReplicaId) -> Self {
        Self::new(ObjectId(1), id)
    }

    fn renamed(self, id: ReplicaId) -> Self {
        self.into_incarnation(id)
    }

    fn state(&self) -> &Causal<S> {
        self.state()
    }

    fn change(&mut self, byte: u8) -> Causal<S> {
        self.change(|edit| S::edit(edit, byte))
    }

    fn join_news(&mut self, payload: &Causal<S>) -> Causal<S> {
        self.join_news(payload).expect("identities are unique")
    }
}

impl Store for AddWinsSet<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..90 => edit.remove(&(byte % 3)),
            90..100 => edit.clear(),
            _ => edit.add(byte % 3),
        }
    }
}

impl Store for RemoveWinsSet<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..90 => edit.remove(byte % 3),
            90..100 => edit.clear(),
            _ => edit.add(byte % 3),
        }
    }
}

impl Store for EnableWinsFlag {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..100 => edit.disable(),
            _ => edit.enable(),
        }
    }
}

impl Store for DisableWinsFlag {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..100 => edit.enable(),
            _ => edit.disable(),
        }
    }
}

impl Store for ResettableCounter {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..60 => edit.reset(),
            _ => edit.add(i64::from(byte) - 150),
        }
    }
}

impl Store for Siblings<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..60 => edit.remove(),
            _ => edit.put(byte, 1).expect("the author has seen all siblings"),
        }
    }
}

impl Store for DotSet {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..60 => edit.clear(),
            _ => edit.replace(),
        }
    }
}

impl Store for DotFun<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..60 => edit.clear(),
            60..120 => edit.replace(byte),
            _ => edit.add(byte),
        }
    }
}

impl Store for MvCell<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..60 => edit.unset(),
            _ => edit.set(byte),
        }
    }
}

impl Store for LwwCell<u8> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        let now = edit.timestamp().map_or(0, |time| time.0);
        match byte {
            0..200 => edit.write(Timestamp(u64::from(byte)), (byte > 60).then_some(byte)),
            _ => edit.write(Timestamp(now + 1), Some(byte)),
        };
    }
}

impl<S: Store> Store for OrMap<u8, S> {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte {
            0..40 => edit.remove(&(byte % 2)),
            _ => edit.update(byte % 2, |value| S::edit(value, byte)),
        }
    }
}

impl<A: Store, B: Store> Store for (A, B) {
    fn edit(edit: &mut Edit<'_, Self>, byte: u8) {
        match byte % 2 {
            0 => A::edit(&mut edit.first(), byte),
            _ => B::edit(&mut edit.second(), byte),
        }
    }
}

/// A state that is no causal object.
pub(crate) struct Plain<L> {
    id: ReplicaId,
    changes: u64,
    state: L,
}

/// How a byte changes a plain state. `fresh` is a number that is given to no other change.
pub(crate) trait PlainState: Difference + Serialize + DeserializeOwned {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self;
}

impl<L: PlainState> Subject for Plain<L> {
    type State = L;

    fn new(id: ReplicaId) -> Self {
        let (changes, state) = (0, L::default());
        Self { id, changes, state }
    }

    fn renamed(self, id: ReplicaId) -> Self {
        Self { id, ..self }
    }

    fn state(&self) -> &L {
        &self.state
    }

    fn change(&mut self, byte: u8) -> L {
        self.changes += 1;
        let fresh = self.changes * 1_000 + self.id.0;
        self.state.edit(self.id, fresh, byte)
    }

    fn join_news(&mut self, payload: &L) -> L {
        self.state.join_news(payload)
    }
}

/// One of a few elements, or from 200 on one that nobody has had.
fn element(fresh: u64, byte: u8) -> u64 {
    match byte {
        0..200 => u64::from(byte % 3),
        _ => fresh,
    }
}

impl PlainState for VersionVector {
    fn edit(&mut self, id: ReplicaId, _: u64, _: u8) -> Self {
        let dot = self.increment(id);
        [(dot.replica, dot.counter)].into_iter().collect()
    }
}

impl PlainState for CausalContext {
    fn edit(&mut self, id: ReplicaId, fresh: u64, _: u8) -> Self {
        let dot = Dot::new(id, fresh);
        self.insert(dot);
        [dot].into_iter().collect()
    }
}

impl PlainState for GCounter {
    fn edit(&mut self, id: ReplicaId, _: u64, byte: u8) -> Self {
        self.increment(id, byte.into()).expect("counts are small")
    }
}

impl PlainState for PnCounter {
    fn edit(&mut self, id: ReplicaId, _: u64, byte: u8) -> Self {
        let changed = match byte % 2 {
            0 => self.increment(id, byte.into()),
            _ => self.decrement(id, byte.into()),
        };
        changed.expect("counts are small")
    }
}

impl PlainState for GSet<u64> {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        self.insert(element(fresh, byte))
    }
}

impl PlainState for TwoPhaseSet<u64> {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        match byte {
            0..60 => self.remove(element(fresh, byte)),
            _ => self.insert(element(fresh, byte)),
        }
    }
}

impl PlainState for LwwRegister<u8> {
    fn edit(&mut self, _: ReplicaId, _: u64, byte: u8) -> Self {
        let next = self.timestamp().map_or(0, |time| time.0) + 1;
        match byte {
            0..60 => self.delete(Timestamp(byte.into())),
            60..200 => self.write(Timestamp(byte.into()), byte),
            _ => self.write(Timestamp(next), byte),
        }
    }
}

impl PlainState for MvRegister<u8> {
    fn edit(&mut self, id: ReplicaId, _: u64, byte: u8) -> Self {
        self.write(id, byte).expect("counters are small")
    }
}

impl PlainState for LwwMap<u64, u8> {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        let (key, time) = (element(fresh, byte), Timestamp(byte.into()));
        match byte {
            0..60 => self.remove(key, time),
            _ => self.insert(key, byte, time),
        }
    }
}

impl PlainState for LwwSet<u64> {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        let (element, time) = (element(fresh, byte), Timestamp(byte.into()));
        match byte {
            0..60 => self.remove(element, time),
            _ => self.insert(element, time),
        }
    }
}

impl PlainState for Max<u64> {
    fn edit(&mut self, _: ReplicaId, _: u64, byte: u8) -> Self {
        match byte {
            0..200 => self.raise(byte.into()),
            _ => self.raise(self.get().map_or(0, |most| *most) + 1),
        }
    }
}

impl PlainState for Min<u64> {
    fn edit(&mut self, _: ReplicaId, _: u64, byte: u8) -> Self {
        let least = self.get().map_or(1 << 20, |least| *least);
        match byte {
            0..200 => self.lower((1 << 20) - u64::from(byte)),
            _ => self.lower(least - 1),
        }
    }
}

impl<A: PlainState, B: PlainState> PlainState for Pair<A, B> {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self {
        match byte % 2 {
            0 => self.update_first(|first| first.edit(id, fresh, byte)),
            _ => self.update_second(|second| second.edit(id, fresh, byte)),
        }
    }
}

impl<B: PlainState> PlainState for LexicographicPair<u64, B> {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self {
        let version = self.first().map_or(0, |version| *version);
        match byte {
            0..200 => self.update(|second| second.edit(id, fresh, byte)),
            _ => self.restart(version + 1, B::default()),
        }
    }
}

impl<B: PlainState> PlainState for MapOf<u8, B> {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self {
        self.update(byte % 2, |value| value.edit(id, fresh, byte))
    }
}

/// From nothing to something, and on from there.
impl<B: PlainState> PlainState for Option<B> {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self {
        let something = self.get_or_insert_default();
        Some(something.edit(id, fresh, byte))
    }
}

/// Incarnations at two positions; from 200 on one that nobody has heard of.
impl PlainState for OwnerView {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        let (position, replica) = (u32::from(byte % 2), ReplicaId(element(fresh, byte)));
        let mut delta = Self::default();
        delta.record(position, replica);
        self.record(position, replica);
        delta
    }
}

impl PlainState for Promises {
    fn edit(&mut self, id: ReplicaId, fresh: u64, byte: u8) -> Self {
        let promise = Promise {
            time: Timestamp(fresh),
            counter: fresh / 1_000 + u64::from(byte % 2),
        };
        let mut delta = Self::default();
        delta.record(id, promise);
        self.record(id, promise);
        delta
    }
}

impl PlainState for Closed {
    fn edit(&mut self, _: ReplicaId, fresh: u64, byte: u8) -> Self {
        let writer = ReplicaId(u64::from(byte % 3));
        let left: CausalContext = [Dot::new(writer, fresh)].into_iter().collect();
        let mut delta = Self::default();
        delta.record(writer, &left);
        self.record(writer, &left);
        delta
    }
}

/// What the writers of an object have reported.
pub(crate) struct Reports {
    writer: CausalReplica<DotSet>,
    state: Stability,
}

impl Subject for Reports {
    type State = Stability;

    fn new(id: ReplicaId) -> Self {
        Self {
            writer: CausalReplica::new(ObjectId(1), id),
            state: Stability::default(),
        }
    }

    fn renamed(self, id: ReplicaId) -> Self {
        let writer = self.writer.into_incarnation(id);
        Self { writer, ..self }
    }

    fn state(&self) -> &Stability {
        &self.state
    }

    fn change(&mut self, _: u8) -> Stability {
        let _own_events_are_enough = self.writer.change(|set| set.replace());
        let report = self.writer.report();
        let mut delta = Stability::default();
        delta.report(&report);
        self.state.report(&report);
        delta
    }

    fn join_news(&mut self, payload: &Stability) -> Stability {
        self.state.join_news(payload)
    }
}

/// What replicas of objects of their own show of these, change by change.
pub(crate) struct Digests {
    writer: CausalReplica<AddWinsSet<u8>>,
    state: Digest,
}

impl Subject for Digests {
    type State = Digest;

    fn new(id: ReplicaId) -> Self {
        Self {
            writer: CausalReplica::new(ObjectId(1), id),
            state: Digest::default(),
        }
    }

    fn renamed(self, id: ReplicaId) -> Self {
        let writer = self.writer.into_incarnation(id);
        Self { writer, ..self }
    }

    fn state(&self) -> &Digest {
        &self.state
    }

    fn change(&mut self, byte: u8) -> Digest {
        let delta = self.writer.change(|set| Store::edit(set, byte)).digest();
        self.state.join(&delta);
        delta
    }

    fn join_news(&mut self, payload: &Digest) -> Digest {
        self.state.join_news(payload)
    }
}

/// A map whose deltas are small maps, and travel whole.
pub(crate) struct Maps {
    id: ReplicaId,
    map: CausalMap<u8, MvCell<u8>>,
}

impl Subject for Maps {
    type State = CausalMap<u8, MvCell<u8>>;

    fn new(id: ReplicaId) -> Self {
        let map = CausalMap::default();
        Self { id, map }
    }

    fn renamed(self, id: ReplicaId) -> Self {
        Self { id, ..self }
    }

    fn state(&self) -> &Self::State {
        &self.map
    }

    fn change(&mut self, byte: u8) -> Self::State {
        let entries = self.map.entries().map(|(key, cell)| (*key, cell.clone()));
        let knowledge = self.map.knowledge().clone();
        let restored = MapReplica::restore(self.id, entries, knowledge, []);
        let mut replica = restored.expect("a state that was reached");
        let written = replica.write(byte % 2, |cell, dot| match byte {
            0..60 => cell.clear(),
            _ => cell.write(dot, byte),
        });
        self.map = replica.map().clone();
        let mut delta = CausalMap::default();
        delta.join_listing(&written.listing);
        delta
    }

    fn join_news(&mut self, payload: &Self::State) -> Self::State {
        self.map.join_news(payload)
    }
}

/// What such maps know, without what they hold.
pub(crate) struct Known {
    map: Maps,
    state: Knowledge<u8>,
}

impl Subject for Known {
    type State = Knowledge<u8>;

    fn new(id: ReplicaId) -> Self {
        let (map, state) = (Maps::new(id), Knowledge::default());
        Self { map, state }
    }

    fn renamed(self, id: ReplicaId) -> Self {
        let map = self.map.renamed(id);
        Self { map, ..self }
    }

    fn state(&self) -> &Knowledge<u8> {
        &self.state
    }

    fn change(&mut self, byte: u8) -> Knowledge<u8> {
        let delta = self.map.change(byte).knowledge().clone();
        self.state.join(&delta);
        delta
    }

    fn join_news(&mut self, payload: &Knowledge<u8>) -> Knowledge<u8> {
        self.state.join_news(payload)
    }
}
