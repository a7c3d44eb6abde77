//! Everything that can happen to a few replicas with a few changes.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use crate::Lattice;
use crate::laws::run::{Run, check_least, hash_of};
use crate::laws::{
    LawViolation, Script, Step, Subject, check, check_difference, check_lattice,
    check_least_difference, join,
};

/// A scope that is small enough to try everything in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmallScope {
    /// Number of replicas: 2 to 5.
    pub replicas: u8,
    /// Number of changes in one history.
    pub changes: usize,
    /// The operations that every replica may make, as the two numbers of a change.
    pub choices: Vec<(u8, u8)>,
}

impl SmallScope {
    /// Three replicas and two changes, each one of these.
    pub fn of(choices: impl IntoIterator<Item = (u8, u8)>) -> Self {
        Self {
            replicas: 3,
            changes: 2,
            choices: choices.into_iter().collect(),
        }
    }

    /// The same choices with another number of replicas and of changes.
    #[must_use]
    pub fn with(self, replicas: u8, changes: usize) -> Self {
        Self {
            replicas,
            changes,
            ..self
        }
    }
}

/// Explores, breadth first, every state of the replicas that any script of a scope can reach, however its
/// changes, deltas and whole states cross each other; returns the number of different states, so
/// that a test can assert that it was not vacuous.
///
/// Every step is checked as by [`check_script`](crate::laws::check_script). In every state, the laws of the lattice
/// and of the difference are checked on all pairs and triples of the states and deltas that exist
/// together, and everything is exchanged, after which all replicas must be equal. The first violation found is one of
/// the shortest.
///
/// A state is told from another by 64 bits of hash. The number of states grows steeply with the
/// number of changes: begin with two on three replicas, or three on two.
///
/// # Errors
/// The first law that does not hold, with the script that shows it.
pub fn check_small_scope<S: Subject>(scope: &SmallScope) -> Result<usize, LawViolation> {
    let replicas = Script::new(scope.replicas, []).replica_count();
    let start = Run::<S>::new(replicas);
    let mut explored = Explored::default();
    explored.runs.insert(start.fingerprint());
    explored.check(start)?;
    let mut frontier = VecDeque::from([Vec::new()]);
    while let Some(steps) = frontier.pop_front() {
        for step in successors(&play::<S>(replicas, &steps)?, scope) {
            let mut longer: Vec<Step> = steps.clone();
            longer.push(step);
            let in_script = |violation: LawViolation| {
                let script = Script::new(scope.replicas, longer.iter().copied());
                violation.in_script(&script, longer.len())
            };
            let mut run = play::<S>(replicas, &steps)?;
            run.step(&step).map_err(in_script)?;
            if explored.runs.insert(run.fingerprint()) {
                explored.check(run).map_err(in_script)?;
                frontier.push_back(longer);
            }
        }
    }
    Ok(explored.runs.len())
}

/// A subject need not be `Clone`: a run is made again from its steps.
fn play<S: Subject>(replicas: usize, steps: &[Step]) -> Result<Run<S>, LawViolation> {
    let mut run = Run::new(replicas);
    for step in steps {
        run.step(step)?;
    }
    Ok(run)
}

fn successors<S: Subject>(run: &Run<S>, scope: &SmallScope) -> Vec<Step> {
    let mut steps = run.exchanges();
    if run.change_count() < scope.changes {
        for at in 0..run.replica_count() {
            let choices = scope.choices.iter();
            steps.extend(choices.map(|&(what, which)| Step::change(at, what, which)));
        }
    }
    steps
}

/// What has been seen and need not be checked again.
#[derive(Default)]
struct Explored {
    runs: BTreeSet<u64>,
    pairs: BTreeSet<[u64; 2]>,
    triples: BTreeSet<[u64; 3]>,
}

impl Explored {
    fn check<S: Subject>(&mut self, run: Run<S>) -> Result<(), LawViolation> {
        run.check_orders()?;
        let mut all = run.states();
        all.extend(run.deltas().iter().cloned());
        let hashes: Vec<u64> = all.iter().map(hash_of).collect();
        for (i, a) in all.iter().enumerate() {
            for (j, b) in all.iter().enumerate() {
                if self.pairs.insert([hashes[i], hashes[j]]) {
                    check_lattice(a, b, a)?;
                    check_difference(a, b)?;
                    if S::DIFFERENCE_IS_LEAST {
                        check_least_difference(a, b)?;
                        check_least(a, b, &all)?;
                    }
                }
                for (k, c) in all.iter().enumerate().skip(j) {
                    let distinct = i < j && j < k;
                    if distinct && self.triples.insert([hashes[i], hashes[j], hashes[k]]) {
                        check_associative(a, b, c)?;
                    }
                }
            }
        }
        run.exchange_all().map(drop)
    }
}

/// All ways to bracket three states; their orders follow from the laws of pairs.
fn check_associative<L: Lattice>(a: &L, b: &L, c: &L) -> Result<(), LawViolation> {
    let left = join(a, b).joined(c);
    for other in [a.clone().joined(&join(b, c)), join(a, c).joined(b)] {
        check(left == other, "associativity", &[a, b, c])?;
    }
    Ok(())
}
