//! Sets whose elements are removed for good.

use super::*;
use crdt::TwoPhaseSet;
use std::collections::BTreeSet;

fn toggle(set: &mut TwoPhaseSet<u8>, _: ReplicaId, element: u8, action: u8) -> TwoPhaseSet<u8> {
    match action % 3 {
        0 => set.remove(element % 12),
        _ => set.insert(element % 12),
    }
}

proptest! {
    #[test]
    fn two_phase_sets_obey_the_laws(s in script(), p in picks()) {
        obeys::<TwoPhaseSet<u8>>(&s, &p, toggle)?;
    }

    /// Against two plain sets of all that was ever inserted, and ever removed.
    #[test]
    fn what_was_ever_removed_is_not_there(ops in prop::collection::vec((0_usize..3, 0_u8..12, any::<bool>()), 0..40)) {
        let mut replicas = vec![TwoPhaseSet::default(); 3];
        let (mut inserted, mut removed) = (BTreeSet::new(), BTreeSet::new());
        for (at, element, removes) in ops {
            let _delta = match removes {
                true => { removed.insert(element); replicas[at].remove(element) }
                false => { inserted.insert(element); replicas[at].insert(element) }
            };
        }
        let all = replicas.iter().fold(TwoPhaseSet::default(), |all, one| all.joined(one));
        prop_assert!(all.iter().eq(inserted.difference(&removed)));
        prop_assert!(all.removed().eq(&removed));
    }

    #[test]
    fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
        harmless::<TwoPhaseSet<u8>>(&input)?;
    }
}

#[test]
fn removing_an_absent_element_bars_it() {
    let mut set = TwoPhaseSet::default();
    let _delta = set.remove(7);
    assert_eq!(set.insert(7), TwoPhaseSet::default());
    assert!(set.is_empty() && set.is_removed(&7));
    assert_eq!(set.to_string(), "{} removed {7}");
}

#[test]
fn golden_bytes_and_refusals() {
    let mut set = TwoPhaseSet::default();
    let _delta = set.insert(7_u8);
    let _delta = set.insert(8);
    let _delta = set.remove(7);
    assert_eq!(bytes(&set), [1, 8, 1, 7]);
    let text = serde_json::to_string(&set).expect("values encode");
    assert_eq!(text, r#"{"inserted":[8],"removed":[7]}"#);
    let both = serde_json::from_str::<TwoPhaseSet<u8>>(r#"{"inserted":[7],"removed":[7]}"#);
    assert!(both.expect_err("twice").to_string().contains("obsolete"));
}
