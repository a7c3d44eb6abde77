//! Registers.

use super::*;
use crdt::{LwwRegister, MvRegister, Timestamp, VersionVector};

fn last_write(
    register: &mut LwwRegister<u8>,
    _: ReplicaId,
    time: u8,
    value: u8,
) -> LwwRegister<u8> {
    let time = Timestamp(u64::from(time % 16));
    match value % 4 {
        0 => register.delete(time),
        _ => register.write(time, value),
    }
}

fn clock(entries: &[(u64, u64)]) -> VersionVector {
    let entries = entries
        .iter()
        .map(|&(replica, count)| (ReplicaId(replica), count));
    entries.collect()
}

/// Mostly honest writes; some under clocks that the caller makes, which may name two values.
fn sibling(register: &mut MvRegister<u8>, replica: ReplicaId, a: u8, value: u8) -> MvRegister<u8> {
    match a % 4 {
        0 => register.write_at(clock(&[(5, u64::from(a / 64)), (6, 1)]), value % 2),
        1 => register.write_at(clock(&[(5, u64::from(a / 64))]), value % 2),
        _ => register.write(replica, value).expect("few writes"),
    }
}

proptest! {
    #[test]
    fn last_writer_wins_registers_obey_the_laws(s in script(), p in picks()) {
        obeys::<LwwRegister<u8>>(&s, &p, last_write)?;
    }

    #[test]
    fn multi_value_registers_obey_the_laws(s in script(), p in picks()) {
        obeys::<MvRegister<u8>>(&s, &p, sibling)?;
    }

    /// Against the definition: of all versions that were ever written, those that none replaces.
    #[test]
    fn exactly_the_maximal_versions_are_kept(s in script()) {
        let run = run::<MvRegister<u8>>(&s, sibling)?;
        let mut all: Vec<_> = run.deltas.iter().flat_map(MvRegister::versions).collect();
        all.dedup();
        let replaced = |v: &crdt::Version<u8>| all.iter().any(|w| v.clock() < w.clock());
        let mut maximal: Vec<_> = all.iter().filter(|v| !replaced(v)).collect();
        maximal.sort_by_key(|v| (v.clock().iter().collect::<Vec<_>>(), *v.value()));
        maximal.dedup();
        let joined = run.replicas.iter().fold(MvRegister::default(), |all, one| all.joined(one));
        prop_assert_eq!(joined.versions().collect::<Vec<_>>(), maximal.into_iter().copied().collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
        harmless::<LwwRegister<u8>>(&input)?;
        harmless::<LwwRegister<()>>(&input)?;
        harmless::<MvRegister<u8>>(&input)?;
    }
}

#[test]
fn golden_bytes_and_text() {
    let mut register = LwwRegister::default();
    let _delta = register.write(Timestamp(300), 7_u8);
    assert_eq!(bytes(&register), [1, 0xac, 2, 1, 7]);
    let json = |value: &LwwRegister<u8>| serde_json::to_string(value).expect("values encode");
    assert_eq!(json(&register), r#"{"timestamp":300,"value":{"some":7}}"#);
    assert_eq!(
        json(&register.delete(Timestamp(301))),
        r#"{"timestamp":301,"value":"none"}"#
    );
    let mut siblings = MvRegister::default();
    let _delta = siblings.write_at(clock(&[(1, 2)]), 7_u8);
    let _delta = siblings.write_at(clock(&[(2, 1)]), 8);
    assert_eq!(bytes(&siblings), [2, 1, 1, 2, 7, 1, 2, 1, 8]);
    let text = serde_json::to_string(&siblings).expect("values encode");
    assert_eq!(
        text,
        r#"[{"clock":[[1,2]],"value":7},{"clock":[[2,1]],"value":8}]"#
    );
}

#[test]
fn versions_that_no_register_holds_together_are_refused() {
    let refused = |versions: &str| {
        let error = serde_json::from_str::<MvRegister<u8>>(versions).expect_err(versions);
        error.to_string()
    };
    let old = r#"{"clock":[[1,1]],"value":7}"#;
    let new = r#"{"clock":[[1,2]],"value":7}"#;
    assert!(refused(&format!("[{old},{new}]")).contains("obsolete"));
    assert!(refused(&format!("[{old},{old}]")).contains("ascending"));
    assert!(refused(&format!("[{new},{old}]")).contains("ascending"));
}
