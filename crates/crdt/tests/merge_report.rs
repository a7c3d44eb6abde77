//! A merge report says what a comparison of the maps before and after would say.

use crdt::{
    AddWinsSet, Causal, CausalReplica, Cell, EnableWinsFlag, IdentityReused, Lattice as _, MvCell,
    ObjectId, OrMap, RemoveWinsSet, ReplicaId, Siblings,
};
use proptest::prelude::*;

type Map<S> = OrMap<u8, S>;
type Replica<S> = CausalReplica<Map<S>>;

fn is_one<S: Cell>(value: &S) -> bool {
    value.sibling_count() <= 1
}

/// Joins and compares the report with the difference.
fn join<S: Cell>(to: &mut Replica<S>, from: &Causal<Map<S>>) -> Result<(), TestCaseError> {
    let before = to.state().clone();
    let report = to.join_report(from).expect("identities are unique");
    let keys = |which: fn(Option<&S>, Option<&S>) -> bool| -> Vec<u8> {
        let which = |key: &u8| {
            let (old, new) = (before.get(key), to.get(key));
            old != new && which(old, new)
        };
        (0..=u8::MAX).filter(which).collect()
    };
    let added = keys(|old, new| old.is_none() && new.is_some_and(is_one));
    prop_assert_eq!(&report.added, &added);
    prop_assert_eq!(&report.removed, &keys(|_, new| new.is_none()));
    let overwritten = keys(|old, new| old.is_some() && new.is_some_and(is_one));
    prop_assert_eq!(&report.overwritten, &overwritten);
    let conflicting = keys(|_, new| new.is_some_and(|new| !is_one(new)));
    prop_assert_eq!(&report.conflicting, &conflicting);
    prop_assert_eq!(report.is_empty(), before.store() == to.state().store());
    prop_assert_eq!(report.grew, before != *to.state());
    prop_assert_eq!(&before.joined(from), to.state());
    Ok(())
}

/// At a replica, towards another one, with a key and what to do.
type Step = (usize, usize, u8, u8);

/// More keys than the maps' index needs, deltas and full states, in any order.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0_usize..3, 0_usize..3, 0_u8..60, 0_u8..8), 0..120)
}

fn play<S: Cell>(
    steps: &[Step],
    change: impl Fn(&mut crdt::Edit<'_, S>, u8),
) -> Result<(), TestCaseError> {
    let mut replicas: Vec<Replica<S>> = (1..=3)
        .map(|id| CausalReplica::new(ObjectId(1), ReplicaId(id)))
        .collect();
    let mut deltas = Vec::new();
    for &(at, other, key, what) in steps {
        let full = replicas[other].state().clone();
        let replica = &mut replicas[at];
        match what {
            0..4 => deltas.push(replica.change(|map| {
                for key in (key..60).step_by(7) {
                    map.update(key, |value| change(value, what));
                }
            })),
            4 => deltas.push(replica.change(|map| map.remove(&key))),
            5 => join(replica, &full)?,
            _ if deltas.is_empty() => {}
            _ => {
                let delta = &deltas[usize::from(key) % deltas.len()];
                // Deltas of a replica to itself bring nothing.
                join(replica, delta)?;
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_report_says_what_a_comparison_says(steps in steps()) {
        play::<AddWinsSet<u8>>(&steps, |set, what| set.add(what))?;
    }

    #[test]
    fn values_side_by_side_are_reported_as_conflicts(steps in steps()) {
        play::<MvCell<u8>>(&steps, |cell, what| cell.set(what))?;
        play::<Siblings<u8>>(&steps, |values, what| {
            values.put(what, 9).expect("three writers make three siblings at most");
        })?;
        play::<(EnableWinsFlag, MvCell<u8>)>(&steps, |record, what| match what {
            0 => record.first().enable(),
            _ => record.second().set(what),
        })?;
    }

    /// What a reader does not see makes a key present, too.
    #[test]
    fn marks_that_nobody_sees_make_a_key_present(steps in steps()) {
        play::<RemoveWinsSet<u8>>(&steps, |set, what| match what % 2 {
            0 => set.remove(what / 2),
            _ => set.add(what / 2),
        })?;
    }
}

/// Each list, by name.
#[test]
fn every_kind_of_change_is_told_apart() -> Result<(), IdentityReused> {
    let [mut a, mut b] =
        [1, 2].map(|id| CausalReplica::<OrMap<&str, MvCell<u8>>>::new(ObjectId(1), ReplicaId(id)));
    let set = |key, value| {
        move |map: &mut crdt::Edit<'_, OrMap<&'static str, MvCell<u8>>>| {
            map.update(key, |cell| cell.set(value));
        }
    };
    for key in ["overwritten", "removed", "settled"] {
        b.join(&a.change(set(key, 0)))?;
    }
    let settled = (a.change(set("settled", 1)), b.change(set("settled", 2)));
    a.join(&settled.1)?;
    let _delta = (
        a.change(set("added", 1)),
        a.change(set("overwritten", 1)),
        a.change(set("conflicting", 1)),
        a.change(|map| map.remove("removed")),
    );
    let _delta = b.change(set("conflicting", 2));
    let report = b.join_report(a.state())?;
    assert_eq!(
        (report.added, report.removed),
        (vec!["added"], vec!["removed"])
    );
    assert_eq!(report.overwritten, ["overwritten"]);
    assert_eq!(report.conflicting, ["conflicting", "settled"]);
    let settled = a.change(set("settled", 3));
    assert_eq!(b.join_report(&settled)?.overwritten, ["settled"]);
    assert!(b.join_report(&settled)?.is_empty());
    Ok(())
}
