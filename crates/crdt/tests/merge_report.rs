//! A merge report says what a comparison of the maps before and after would say.

use crdt::{AddWinsSet, Causal, CausalReplica, Lattice as _, ObjectId, OrMap, ReplicaId};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Map = OrMap<u8, AddWinsSet<u8>>;

fn entries(map: &Map) -> BTreeMap<u8, AddWinsSet<u8>> {
    map.iter().map(|(key, set)| (*key, set.clone())).collect()
}

/// Joins and compares the report with the difference.
fn join(to: &mut CausalReplica<Map>, from: &Causal<Map>) -> Result<(), TestCaseError> {
    let before = to.state().clone();
    let report = to.join_report(from).expect("identities are unique");
    let (old, new) = (entries(&before), entries(to));
    let added: Vec<u8> = new
        .keys()
        .filter(|k| !old.contains_key(k))
        .copied()
        .collect();
    let removed: Vec<u8> = old
        .keys()
        .filter(|k| !new.contains_key(k))
        .copied()
        .collect();
    let differs = |key: &&u8| old.get(key).is_some_and(|set| *set != new[key]);
    let changed: Vec<u8> = new.keys().filter(differs).copied().collect();
    prop_assert_eq!(&report.added, &added);
    prop_assert_eq!(&report.removed, &removed);
    prop_assert_eq!(&report.changed, &changed);
    prop_assert_eq!(report.grew, before != *to.state());
    prop_assert_eq!(&before.joined(from), to.state());
    Ok(())
}

proptest! {
    /// More keys than the maps' index needs, deltas and full states, in any order.
    #[test]
    fn a_report_says_what_a_comparison_says(
        steps in prop::collection::vec((0_usize..3, 0_usize..3, 0_u8..60, 0_u8..8), 0..120),
    ) {
        let mut replicas: Vec<CausalReplica<Map>> = (1..=3)
            .map(|id| CausalReplica::new(ObjectId(1), ReplicaId(id)))
            .collect();
        let mut deltas = Vec::new();
        for (at, other, key, what) in steps {
            let full = replicas[other].state().clone();
            let replica = &mut replicas[at];
            match what {
                0..4 => deltas.push(replica.change(|map| {
                    for key in (key..60).step_by(7) {
                        map.update(key, |set| set.add(what));
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
    }
}
