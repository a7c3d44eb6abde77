//! The counter of a key: bounded however far it counts, and reset exactly.
//!
//! `crdt::ResettableCounter` keeps a run of events for each stretch in which one writer did nothing else.
//! The events of a partition are shared by all of its keys, so in a busy store that would be a run for
//! nearly every increment. Here each writer keeps one live event, which holds all that it has counted:
//!
//! - An increment replaces its writer's own [`Count`] by one with a higher number and sum.
//! - A removal touches nobody's sum. It notes, in its writer's count, how far each writer's had come.
//! - The value is the sum of all counts, less what was noted of each as removed.
//!
//! Sums and notes of one writer are ordered by its number, so what two removals note is joined by taking
//! the later: increments that no removal has seen survive, and nothing of the others does. The price: the
//! counts of a removed counter stay, a few dozen bytes for each pair of writers that touched it.
//!
//! Source: Weidner, Almeida, *An Oblivious Observed-Reset Embeddable Replicated Counter*, PaPoC 2022.

use crdt::{Dot, DotFun, Edit, ReplicaId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The counter: the count of each writer, as its one live event.
pub type Counter = DotFun<Count>;

/// What one writer has counted, and what it has removed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Count {
    /// How far it has come.
    reached: Reached,
    /// How far each writer had come that it has removed.
    removed: BTreeMap<ReplicaId, Reached>,
}

/// How far a writer has come: by its number, which rises with each increment.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
struct Reached {
    number: u64,
    sum: i128,
}

/// The sum of what was counted and not removed; `None` if nothing was.
pub(crate) fn value(counter: &Counter) -> Option<i64> {
    let removed = removed(counter);
    let mut sum = None;
    for (writer, reached) in reached(counter) {
        let gone = removed.get(&writer).copied().unwrap_or_default();
        if reached.number > gone.number {
            let more = reached.sum.saturating_sub(gone.sum);
            sum = Some(sum.unwrap_or(0i128).saturating_add(more));
        }
    }
    sum.map(|sum| i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX }))
}

/// Adds an amount.
pub(crate) fn add(counter: &mut Edit<'_, Counter>, by: i64) {
    change_own(counter, |own, _| {
        own.reached.number = own.reached.number.saturating_add(1);
        own.reached.sum = own.reached.sum.saturating_add(i128::from(by));
    });
}

/// Removes the increments that the author has seen; false if there are none.
pub(crate) fn remove(counter: &mut Edit<'_, Counter>) -> bool {
    if value(counter).is_none() {
        return false;
    }
    let removed_before = removed(counter);
    change_own(counter, |own, seen| {
        own.removed = removed_before;
        for (writer, reached) in seen {
            let held = own.removed.entry(*writer).or_default();
            *held = (*held).max(*reached);
        }
    });
    true
}

/// Puts a new event with the writer's changed count in place of its old one. `change` is told how far the
/// writers had come whose events the author has seen.
fn change_own(
    counter: &mut Edit<'_, Counter>,
    change: impl FnOnce(&mut Count, &BTreeMap<ReplicaId, Reached>),
) {
    let (store, delta, events) = counter.parts();
    let writer = events.next_dot().replica;
    let seen = store.iter().filter(|(dot, _)| events.has_seen(*dot));
    let seen: BTreeMap<ReplicaId, Reached> = seen
        .map(|(dot, count)| (dot.replica, count.reached))
        .collect();
    let mut own = Count::default();
    let mut others: Vec<(Dot, Count)> = Vec::new();
    for (dot, count) in store.iter() {
        if dot.replica != writer {
            others.push((dot, count.clone()));
            continue;
        }
        // Its own events are seen, whatever the author has read: a writer goes on from where it was.
        events.supersede(dot);
        own = count.clone();
    }
    change(&mut own, &seen);
    let dot = events.mint();
    *delta = std::iter::once((dot, own.clone())).collect();
    *store = others.into_iter().chain([(dot, own)]).collect();
}

fn reached(counter: &Counter) -> impl Iterator<Item = (ReplicaId, Reached)> + '_ {
    counter
        .iter()
        .map(|(dot, count)| (dot.replica, count.reached))
}

fn removed(counter: &Counter) -> BTreeMap<ReplicaId, Reached> {
    let mut removed = BTreeMap::<ReplicaId, Reached>::new();
    for (writer, reached) in counter.values().flat_map(|count| &count.removed) {
        let held = removed.entry(*writer).or_default();
        *held = (*held).max(*reached);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{CausalReplica, ObjectId};

    type Replica = CausalReplica<Counter>;

    fn replicas() -> [Replica; 3] {
        [1, 2, 3].map(|id| Replica::new(ObjectId(1), ReplicaId(id)))
    }

    #[test]
    fn a_removal_takes_what_it_has_seen_and_nothing_else() {
        let [mut a, mut b, mut c] = replicas();
        let (five, two) = (a.change(|n| add(n, 5)), b.change(|n| add(n, 2)));
        b.join(&five).expect("another's");
        assert_eq!(value(b.state().store()), Some(7));
        // C removes the five, and has not seen the two; A counts on meanwhile.
        c.join(&five).expect("another's");
        let removal = c.change(|n| {
            assert!(remove(n));
        });
        let one = a.change(|n| add(n, 1));
        for delta in [&two, &removal, &one] {
            a.join(delta).expect("another's or known");
            b.join(delta).expect("another's or known");
            c.join(delta).expect("another's or known");
        }
        for replica in [&a, &b, &c] {
            assert_eq!(value(replica.state().store()), Some(3));
        }
        assert_eq!(a.state(), b.state());
        assert_eq!(a.state().store().len(), 3, "one event for each writer");
    }

    #[test]
    fn concurrent_removals_count_once_and_the_later_knowledge_wins() {
        let [mut a, mut b, _] = replicas();
        let four = a.change(|n| add(n, 4));
        b.join(&four).expect("another's");
        let early = b.change(|n| assert!(remove(n)));
        let _more = a.change(|n| add(n, -1));
        let late = a.change(|n| assert!(remove(n)));
        a.join(&early).expect("another's");
        b.join(&late).expect("another's");
        for replica in [&mut a, &mut b] {
            assert_eq!(value(replica.state().store()), None);
            let _again = replica.change(|n| assert!(!remove(n), "nothing is left"));
        }
        let _again = a.change(|n| add(n, 9));
        assert_eq!(value(a.state().store()), Some(9));
    }

    #[test]
    fn a_sum_of_zero_is_there_and_sums_beyond_the_range_saturate() {
        let [mut a, mut b, _] = replicas();
        assert_eq!(value(a.state().store()), None);
        let _up = a.change(|n| add(n, 3));
        let _down = a.change(|n| add(n, -3));
        assert_eq!(value(a.state().store()), Some(0));
        let _most = a.change(|n| add(n, i64::MAX));
        b.join(a.state()).expect("another's");
        let _more = b.change(|n| add(n, i64::MAX));
        assert_eq!(value(b.state().store()), Some(i64::MAX));
    }
}
