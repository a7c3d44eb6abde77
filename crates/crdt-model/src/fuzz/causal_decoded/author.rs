//! Authors who change decoded states, report and purge.

use crdt::{
    Causal, CausalReplica, Digest, Lattice as _, NotStable, ObjectId, ReadContext,
    ReadContextError, ReplicaId, Stability,
};

use super::edited::{Edited, sound};

/// The object that all states are states of.
const OBJECT: ObjectId = ObjectId(1);
/// Bytes of a step.
const STEP: usize = 3;
/// Steps played, at most.
const MAX_STEPS: usize = 12;
/// Counters above which nobody writes: a decoded state may name the last event that there can be.
const LAST_WRITTEN: u64 = u64::MAX / 2;

/// A writer that `state` has not used up, other than `not`.
fn writer<S>(state: &Causal<S>, not: Option<ReplicaId>) -> ReplicaId {
    let has_room = |id: &ReplicaId| state.context().last_counter(*id) < LAST_WRITTEN;
    let mut writers = (1..).map(ReplicaId).filter(|id| Some(*id) != not);
    writers.find(has_room).expect("a state names few writers")
}

/// A writer of whom `state` names nothing.
fn newcomer<S>(state: &Causal<S>) -> ReplicaId {
    let is_new = |id: &ReplicaId| state.context().last_counter(*id) == 0;
    let mut writers = (1..).map(ReplicaId);
    writers.find(is_new).expect("a state names few writers")
}

/// An author takes over `state` and does what the bytes say; a mirror hears the deltas alone. Returns the
/// state at the end.
pub(super) fn change<S: Edited>(
    state: &Causal<S>,
    others: &[Causal<S>],
    steps: &[u8],
) -> Causal<S> {
    let mut author = Author::new(state);
    for step in steps.chunks_exact(STEP).take(MAX_STEPS) {
        let [how, what, which] = [0, 1, 2].map(|i| step[i]);
        match how % 12 {
            0..=5 => author.change(what, which),
            6 => author.change_seen(&ReadContext::blind(OBJECT), what, which),
            7 => author.change_seen(&author.read.clone(), what, which),
            8 => author.read = author.replica.read_context(),
            9 => author.report(),
            _ => {
                if let Some(other) = others.get(usize::from(what) % others.len().max(1)) {
                    author.join(other);
                }
            }
        }
        author.check();
    }
    author.report_is_needed(state);
    author.replica.state().clone()
}

/// A replica that changes, and a state that is told of it.
struct Author<S> {
    replica: CausalReplica<S>,
    mirror: Causal<S>,
    read: ReadContext<S>,
}

impl<S: Edited> Author<S> {
    fn new(state: &Causal<S>) -> Self {
        let replica = CausalReplica::restore(OBJECT, writer(state, None), state.clone());
        Self {
            read: replica.read_context(),
            mirror: state.clone(),
            replica,
        }
    }

    fn change(&mut self, what: u8, which: u8) {
        let before = self.replica.state().digest();
        let delta = self.replica.change(|edit| S::edit(edit, what, which));
        self.tell(&before, &delta);
    }

    /// Refused as too old where the author has reported more, and then nothing changes.
    fn change_seen(&mut self, seen: &ReadContext<S>, what: u8, which: u8) {
        let before = self.replica.state().clone();
        let reported = self.replica.frontier().reported().clone();
        match self
            .replica
            .change_seen(seen, |edit| S::edit(edit, what, which))
        {
            Ok(delta) => {
                assert!(seen.context().includes(&reported), "{before:?}");
                self.tell(&before.digest(), &delta);
            }
            Err(ReadContextError::TooOld { unseen }) => {
                assert!(!unseen.is_empty() && before == *self.replica.state());
            }
            Err(error) => panic!("{error}: {before:?}"),
        }
    }

    fn report(&mut self) {
        let report = self.replica.report();
        assert_eq!(*report.digest(), self.replica.state().digest());
        let reported = self.replica.frontier().reported();
        assert!(reported.includes(self.replica.state().context()));
    }

    /// What the peer says is joined, unless it names events of this author, who then goes on as another.
    fn join(&mut self, other: &Causal<S>) {
        if self.replica.state().conflict(other).is_some() {
            return;
        }
        let before = self.replica.state().clone();
        if let Err(reused) = self.replica.join(other) {
            assert!(before == *self.replica.state() && reused.counter > reused.minted);
            let id = newcomer(&before.joined(other));
            let fresh = CausalReplica::restore_with_frontier(
                OBJECT,
                self.replica.id(),
                self.replica.state().clone(),
                self.replica.frontier().clone(),
            );
            self.replica = fresh.into_incarnation(id);
            let news = self.replica.join_news(other).expect("another identity");
            assert!(news <= *other, "{news:?} {other:?}");
        }
        self.mirror.join(other);
    }

    /// Joins a delta of the author into the mirror.
    fn tell(&mut self, before: &Digest, delta: &Causal<S>) {
        let after = self.replica.state();
        assert!(
            after.digest() == before.clone().joined(&delta.digest()),
            "the digest of {delta:?} in {after:?}"
        );
        self.mirror.join(delta);
    }

    /// The deltas of the author are its state, and both show the same, however they got there.
    fn check(&self) {
        let (state, mirror) = (self.replica.state(), &self.mirror);
        assert!(state == mirror, "delta: {state:?} {mirror:?}");
        assert!(state.digest() == mirror.digest(), "{state:?}");
        assert_eq!(state.shown(), mirror.shown(), "{state:?}");
        sound(state.store());
    }

    /// Who has not heard of a report cannot purge on the strength of it.
    fn report_is_needed(&mut self, before: &Causal<S>) {
        let member = self.replica.id();
        let mut stability = Stability::new([member]);
        let mut late = CausalReplica::restore(OBJECT, writer(before, Some(member)), before.clone());
        stability.report(&self.replica.report());
        let after = self.replica.state();
        let is_known = after <= before;
        let expected = if after.context().is_empty() {
            Some(NotStable::NotReported { member })
        } else {
            (!is_known).then_some(NotStable::NotHere { member })
        };
        assert_eq!(
            late.purge(&stability).err(),
            expected,
            "{before:?} {after:?}"
        );
    }
}

/// The members of an object purge: one tells the other what went, and nobody sees it.
pub(super) fn purge<S: Edited>(state: &Causal<S>) {
    let first = writer(state, None);
    let second = writer(state, Some(first));
    let [mut p, mut q] =
        [first, second].map(|id| CausalReplica::restore(OBJECT, id, state.clone()));
    let mut stability = Stability::new([first, second]);
    stability.report(&p.report());
    let nobody = if state.context().is_empty() {
        first
    } else {
        second
    };
    let too_early = NotStable::NotReported { member: nobody };
    assert_eq!(p.purge(&stability), Err(too_early), "{state:?}");
    stability.report(&q.report());
    let Ok(purged) = p.purge(&stability) else {
        assert!(state.context().is_empty(), "all is here: {state:?}");
        return;
    };
    let told = state.clone().joined(&purged);
    assert!(told == *p.state(), "purge: {state:?} {purged:?}");
    let live = p.state().digest();
    assert!(live == state.digest().joined(&purged.digest()), "{state:?}");
    assert_eq!(p.shown(), state.shown(), "{state:?} {purged:?}");
    sound(p.state().store());
    assert_eq!(
        q.join(&purged),
        Ok(!purged.context().is_empty()),
        "{state:?}"
    );
    assert!(q.state() == p.state(), "told: {state:?} {purged:?}");
    let nothing = p
        .purge(&stability)
        .map(|purged| purged.context().is_empty());
    assert_eq!(nothing, Ok(true), "twice is once: {state:?}");
    let answer = p.answer(&q.state().digest()).expect("a member");
    assert!(answer == Causal::default(), "{answer:?}");
    let behind = p.answer(&Digest::default()).expect_err("no member");
    assert!(
        state.context().includes(&behind.missing),
        "{behind} {state:?}"
    );
}
