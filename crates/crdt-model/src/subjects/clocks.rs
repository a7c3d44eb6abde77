//! Subjects: what replicas know of each other. Their specifications are sets and maxima.

use crdt::laws::{Choice, History, Subject};
use crdt::{CausalContext, Closed, Difference, Dot, OwnerView, Promise, Promises};
use crdt::{ReplicaId, Timestamp, VersionVector};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::Hash;

/// A lattice whose mutators are methods of the state.
pub trait Mutated: Difference + Hash {
    /// A change that a user can make.
    type Op: Clone + Debug;
    /// What a reader sees.
    type Value: PartialEq + Debug;

    /// As [`Subject::op`].
    fn op(choice: Choice) -> Self::Op;
    /// Makes a change and returns its delta.
    fn mutate(&mut self, by: ReplicaId, op: &Self::Op) -> Self;
    /// What a reader sees now.
    fn shown(&self) -> Self::Value;
    /// As [`Subject::expected`].
    fn expected(history: &History<'_, Self::Op>) -> Self::Value;
}

/// One replica of such a lattice.
#[derive(Debug)]
pub struct Plain<L> {
    replica: ReplicaId,
    state: L,
}

impl<L: Mutated> Subject for Plain<L> {
    type State = L;
    type Op = L::Op;
    type Value = L::Value;

    fn new(replica: ReplicaId) -> Self {
        let state = L::default();
        Self { replica, state }
    }

    fn state(&self) -> &L {
        &self.state
    }

    fn join(&mut self, other: &L) -> bool {
        self.state.join(other)
    }

    fn op(choice: Choice) -> L::Op {
        L::op(choice)
    }

    fn apply(&mut self, op: &L::Op) -> L {
        self.state.mutate(self.replica, op)
    }

    fn value(state: &L) -> L::Value {
        state.shown()
    }

    fn expected(history: &History<'_, L::Op>) -> L::Value {
        L::expected(history)
    }
}

/// One more event of the own replica.
impl Mutated for VersionVector {
    type Op = ();
    type Value = BTreeMap<ReplicaId, u64>;

    fn op(_: Choice) {}

    fn mutate(&mut self, by: ReplicaId, (): &()) -> Self {
        let dot = self.increment(by);
        [(by, dot.counter)].into_iter().collect()
    }

    fn shown(&self) -> Self::Value {
        self.iter().collect()
    }

    fn expected(history: &History<'_, ()>) -> Self::Value {
        let mut counts = BTreeMap::new();
        for event in history.events() {
            *counts.entry(event.replica()).or_default() += 1;
        }
        counts
    }
}

/// The next event of the own replica, which leaves gaps where deltas overtake.
impl Mutated for CausalContext {
    type Op = ();
    /// Runs of events: hostile contexts name far too many to list them.
    type Value = Vec<(ReplicaId, u64, u64)>;

    fn op(_: Choice) {}

    fn mutate(&mut self, by: ReplicaId, (): &()) -> Self {
        let dot = Dot::new(by, self.last_counter(by) + 1);
        assert!(self.insert(dot), "the own events are known");
        [dot].into_iter().collect()
    }

    fn shown(&self) -> Self::Value {
        runs(self)
    }

    fn expected(history: &History<'_, ()>) -> Self::Value {
        let mut runs: Self::Value = Vec::new();
        let dots: BTreeSet<Dot> = history.events().map(|event| event.dot).collect();
        for Dot { replica, counter } in dots {
            match runs.last_mut() {
                Some(run) if run.0 == replica && run.2 + 1 == counter => run.2 = counter,
                _ => runs.push((replica, counter, counter)),
            }
        }
        runs
    }
}

/// An incarnation is seen at a position.
impl Mutated for OwnerView {
    type Op = (u32, ReplicaId);
    type Value = BTreeSet<(u32, ReplicaId)>;

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        (u32::from(what % 3), ReplicaId(u64::from(which % 4)))
    }

    fn mutate(&mut self, _: ReplicaId, &(position, replica): &Self::Op) -> Self {
        let mut delta = Self::default();
        delta.record(position, replica);
        self.record(position, replica);
        delta
    }

    fn shown(&self) -> Self::Value {
        let current: BTreeMap<u32, ReplicaId> = self.currents().collect();
        for (position, replica) in self.incarnations() {
            assert_eq!(self.current(position), current.get(&position).copied());
            assert_eq!(
                self.is_fenced(position, replica),
                current[&position] != replica
            );
        }
        self.incarnations().collect()
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        history.events().map(|event| event.op).collect()
    }
}

/// A promise of any incarnation is heard of; the highest counts.
impl Mutated for Promises {
    type Op = (ReplicaId, Promise);
    type Value = BTreeMap<ReplicaId, (Timestamp, u64)>;

    fn op(Choice { what, which, time }: Choice) -> Self::Op {
        let time = Timestamp(time.0 / 2 + u64::from(what % 2));
        let counter = u64::from(which / 3 % 3);
        (ReplicaId(u64::from(which % 3)), Promise { time, counter })
    }

    fn mutate(&mut self, _: ReplicaId, &(replica, promise): &Self::Op) -> Self {
        let mut delta = Self::default();
        delta.record(replica, promise);
        self.record(replica, promise);
        delta
    }

    fn shown(&self) -> Self::Value {
        let all = self.iter();
        all.map(|(replica, promise)| (replica, (promise.time, promise.counter)))
            .collect()
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let mut highest = BTreeMap::new();
        for event in history.events() {
            let (replica, Promise { time, counter }) = event.op;
            let held = highest.entry(replica).or_insert((time, counter));
            *held = (*held).max((time, counter));
        }
        highest
    }
}

/// A writer is closed, and some of its events are left; others may have found other events of it.
impl Mutated for Closed {
    type Op = (ReplicaId, BTreeSet<u64>);
    /// The closed writers, and the runs of what is left: hostile bytes name runs that nobody could list.
    type Value = (BTreeSet<ReplicaId>, Vec<(ReplicaId, u64, u64)>);

    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        let left = (1..=3).filter(|counter| ((which / 4) >> counter) & 1 == 1);
        (ReplicaId(u64::from(what % 3)), left.collect())
    }

    fn mutate(&mut self, _: ReplicaId, (writer, left): &Self::Op) -> Self {
        let left = left.iter().map(|counter| Dot::new(*writer, *counter));
        let left: CausalContext = left.collect();
        let mut delta = Self::default();
        delta.record(*writer, &left);
        let before = self.clone();
        assert_eq!(self.record(*writer, &left), *self != before);
        delta
    }

    fn shown(&self) -> Self::Value {
        let writers: BTreeSet<ReplicaId> = self.writers().collect();
        assert!(writers.iter().all(|writer| self.contains(*writer)));
        assert_eq!(self.is_empty(), writers.is_empty());
        assert!(self.lost_of(self.left()).is_empty());
        (writers, runs(self.left()))
    }

    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let writers = history.events().map(|event| event.op.0);
        let left = history.events().flat_map(|event| {
            let (writer, left) = &event.op;
            left.iter().map(|counter| Dot::new(*writer, *counter))
        });
        (writers.collect(), runs(&left.collect()))
    }
}

fn runs(context: &CausalContext) -> Vec<(ReplicaId, u64, u64)> {
    let ranges = context.ranges();
    ranges
        .map(|run| (run.replica, run.first, run.last))
        .collect()
}
