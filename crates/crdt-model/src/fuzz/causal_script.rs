//! Causal objects beside a model that keeps every change with what it had seen.

mod model;
mod subject;

use crdt::{AddWinsSet, ResettableCounter};
use crdt::{
    Causal, CausalReplica, Lattice as _, ObjectId, OrMap, ReadContext, RemoveWinsSet, ReplicaId,
    Stability,
};
use std::collections::BTreeSet;
use std::fmt::Debug;

use super::round_trip;
use model::{Model, Op};
use subject::Modelled;

/// Replicas of a script.
const REPLICAS: usize = 3;
/// Bytes of a step.
const STEP: usize = 3;
/// Steps played, at most.
const MAX_STEPS: usize = 60;
/// Changes of many keys or elements in a script, at most: the model is slow.
const MAX_FILLS: usize = 2;
/// Keys or elements of such a change: more than the indexes of the types start from.
const MANY: u8 = 48;

/// What the first byte of a step says for a change of many keys or elements.
const FILL: u8 = 4;

/// One step of a script.
#[derive(Debug, Clone)]
enum Step {
    /// One change, of one, two or many operations.
    Change(usize, Vec<Op>),
    /// The same, by an author who has seen what it read last.
    ChangeSeen(usize, Op),
    /// An author reads.
    Read(usize),
    /// The delta of a change arrives: late, again, or before those it builds on.
    Deliver(usize, usize),
    /// The whole state of one replica arrives at another.
    Join(usize, usize),
    /// A report of one replica arrives at another.
    Report(usize, usize),
    /// A replica drops what is stable.
    Purge(usize),
}

/// Plays a script made from the bytes, with a set, with a map, and with a set whose marks are purged.
///
/// # Panics
/// If a replica shows anything else than the model, or the replicas do not converge; with the steps
/// that led there.
pub fn causal_script(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let mut fills = 0;
    let steps = bytes.chunks_exact(STEP).take(MAX_STEPS).map(|bytes| {
        fills += usize::from(bytes[0] % 16 == FILL);
        step(bytes, fills <= MAX_FILLS)
    });
    let steps: Vec<Step> = steps.collect();
    match kind % 3 {
        0 => play::<AddWinsSet<u8>>(&steps),
        1 => play::<OrMap<u8, (AddWinsSet<u8>, ResettableCounter)>>(&steps),
        _ => play::<RemoveWinsSet<u8>>(&steps),
    }
}

fn step(bytes: &[u8], may_fill: bool) -> Step {
    let [what, which, how] = [0, 1, 2].map(|i| bytes.get(i).copied().unwrap_or(0));
    let replica = usize::from(what / 16) % REPLICAS;
    let other = usize::from(which) % REPLICAS;
    match what % 16 {
        FILL if may_fill => {
            let keys = which % 64..which % 64 + MANY;
            Step::Change(
                replica,
                keys.map(|key| Op::Add(key, how % 4 + key)).collect(),
            )
        }
        0..=4 => Step::Change(replica, vec![Op::of(which, how)]),
        5 => Step::Change(replica, vec![Op::of(which, how), Op::of(how, which)]),
        6 => Step::ChangeSeen(replica, Op::of(which, how)),
        7 => Step::Read(replica),
        8..=10 => Step::Deliver(usize::from(which), replica),
        11 | 12 => Step::Join(other, replica),
        13 | 14 => Step::Report(other, replica),
        _ => Step::Purge(replica),
    }
}

/// Three replicas of one object, and what each of them has received of which change.
struct Replicas<S> {
    replicas: Vec<CausalReplica<S>>,
    stability: Vec<Stability>,
    /// What each has read last: for the object and for the model.
    read: Vec<(ReadContext<S>, BTreeSet<usize>)>,
    received: Vec<BTreeSet<usize>>,
    deltas: Vec<Causal<S>>,
    model: Model,
}

fn play<S: Modelled>(steps: &[Step]) {
    let mut world = Replicas::<S>::new();
    for (i, step) in steps.iter().enumerate() {
        if let Some(at) = world.play(step) {
            let shown = world.replicas[at].shown();
            let expected = S::expected(&world.model.live(&world.received[at]));
            let so_far = &steps[..=i];
            assert!(
                shown == expected,
                "{shown:?}, not {expected:?}: {so_far:#?}"
            );
        }
    }
    let mut all = Causal::<S>::default();
    for replica in &world.replicas {
        all.join(replica.state());
    }
    for replica in &mut world.replicas {
        // A delta that arrived nowhere is still with its author.
        let joined = replica.join(&all).expect("identities are not shared");
        assert!(
            *replica.state() == all,
            "convergence ({joined}): {steps:#?}"
        );
    }
    let every = (0..world.deltas.len()).collect();
    let (shown, expected) = (all.shown(), S::expected(&world.model.live(&every)));
    assert!(
        shown == expected,
        "at the end {shown:?}, not {expected:?}: {steps:#?}"
    );
    round_trip(&all);
}

impl<S: Modelled> Replicas<S> {
    fn new() -> Self {
        let ids = (1..=REPLICAS as u64).map(ReplicaId);
        let object = ObjectId(1);
        Self {
            replicas: ids
                .clone()
                .map(|id| CausalReplica::new(object, id))
                .collect(),
            stability: vec![Stability::new(ids); REPLICAS],
            read: vec![(ReadContext::blind(object), BTreeSet::new()); REPLICAS],
            received: vec![BTreeSet::new(); REPLICAS],
            deltas: Vec::new(),
            model: Model::default(),
        }
    }

    /// Plays one step; returns the replica that it may have changed.
    fn play(&mut self, step: &Step) -> Option<usize> {
        match step {
            Step::Change(at, ops) => {
                let ops: Vec<Op> = ops.iter().map(|op| S::adapted(*op)).collect();
                let delta = self.replicas[*at].change(|edit| {
                    ops.iter().for_each(|op| S::edit(edit, *op));
                });
                self.note(*at, None, &ops, delta);
                Some(*at)
            }
            Step::ChangeSeen(at, op) => {
                let (op, (context, seen)) = (S::adapted(*op), self.read[*at].clone());
                let delta = self.replicas[*at].change_seen(&context, |edit| S::edit(edit, op));
                // Refused where it is older than what was reported.
                self.note(*at, Some(&seen), &[op], delta.ok()?);
                Some(*at)
            }
            Step::Read(at) => {
                let context = self.replicas[*at].read_context();
                self.read[*at] = (context, self.received[*at].clone());
                None
            }
            // A purge has no place in the model, so what was purged must arrive with what it was made of.
            Step::Deliver(which, at) if !S::PURGES && !self.deltas.is_empty() => {
                let which = which % self.deltas.len();
                let joined = self.replicas[*at].join(&self.deltas[which]);
                joined.expect("identities are not shared");
                self.received[*at].insert(which);
                Some(*at)
            }
            Step::Deliver(from, at) => self.join(from % REPLICAS, *at),
            Step::Join(from, at) => self.join(*from, *at),
            Step::Report(from, at) => {
                let report = self.replicas[*from].report();
                self.stability[*at].report(&report);
                None
            }
            Step::Purge(at) => {
                let before = self.replicas[*at].state().clone();
                let delta = self.replicas[*at].purge(&self.stability[*at]).ok()?;
                assert!(before.joined(&delta) == *self.replicas[*at].state());
                Some(*at)
            }
        }
    }

    fn join(&mut self, from: usize, at: usize) -> Option<usize> {
        let state = self.replicas[from].state().clone();
        let news = self.replicas[at].join_news(&state);
        let news = news.expect("identities are not shared");
        assert!(news <= state, "news are a part: {news:?} {state:?}");
        let received = self.received[from].clone();
        self.received[at].extend(received);
        Some(at)
    }

    fn note(&mut self, at: usize, seen: Option<&BTreeSet<usize>>, ops: &[Op], delta: Causal<S>) {
        self.model.change::<S>(&self.received[at], seen, ops);
        self.received[at].insert(self.deltas.len());
        self.deltas.push(delta);
    }
}
