//! Causal objects of any origin.

mod author;
mod edited;

use crdt::laws::{LawViolation, check_lattice, check_least_difference};
use crdt::{
    AddWinsSet, Causal, CausalContext, Cell, Difference as _, Digest, DisableWinsFlag, DotFun,
    DotSet, DotStore, EnableWinsFlag, Lattice as _, LwwCell, MvCell, OrMap, RemoveWinsSet,
    ResettableCounter, Siblings,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::decoding::take;
use super::{round_trip, states_of, text_round_trip};
use author::{change, purge};
use edited::{Edited, sound};

type Record = (MvCell<u8>, AddWinsSet<u8>);
type Marks = (DisableWinsFlag, RemoveWinsSet<u8>);

/// Decodes causal states from the bytes, as a peer could have sent them, then perhaps a digest, then what an
/// author does, and does with them what a replica does.
///
/// The first byte chooses the type. Nothing may panic or count out a huge run; live dots are known (I1)
/// and live once; what is encoded decodes to the same; joining a state with itself changes nothing. States that
/// give one dot two values have no more in common; all others obey every law, and join as their
/// digests do. (Of last-writer-wins cells that no run reaches the winner may depend on the grouping.)
/// What an author does to one of them is its delta, and a purge shows to nobody.
///
/// # Panics
/// If one of these fails.
pub fn causal_decoded(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind % 13 {
        0 => decoded::<AddWinsSet<u8>>(bytes, lawful),
        1 => decoded::<RemoveWinsSet<u8>>(bytes, lawful),
        2 => decoded::<EnableWinsFlag>(bytes, lawful),
        3 => decoded::<DisableWinsFlag>(bytes, lawful),
        4 => decoded::<ResettableCounter>(bytes, lawful),
        5 => decoded::<MvCell<u8>>(bytes, lawful),
        6 => decoded::<LwwCell<u8>>(bytes, commutative),
        7 => decoded::<Siblings<u8>>(bytes, lawful),
        8 => decoded::<OrMap<u8, AddWinsSet<u8>>>(bytes, reporting),
        9 => decoded::<OrMap<u8, ResettableCounter>>(bytes, reporting),
        10 => decoded::<OrMap<u8, OrMap<u8, Record>>>(bytes, reporting),
        11 => decoded::<OrMap<u8, Marks>>(bytes, reporting),
        _ => decoded::<(DotSet, DotFun<u8>)>(bytes, lawful),
    }
}

/// What states that agree about every dot must obey.
type Laws<S> = fn(&Causal<S>, &Causal<S>, &Causal<S>) -> Result<(), LawViolation>;

fn decoded<S>(bytes: &[u8], laws: Laws<S>)
where
    S: Edited + Serialize + DeserializeOwned,
{
    let (states, rest) = states_of::<Causal<S>>(bytes);
    let (asked, steps) = take(rest).unwrap_or((Digest::default(), rest));
    for a in &states {
        live_dots_are_known(a);
        sound(a.store());
        round_trip(a);
        text_round_trip(a);
        round_trip(&a.digest());
        assert!(a.clone().joined(a) == *a, "idempotence: {a:?}");
        let missing = a.delta_since(&asked);
        assert!(
            missing.digest() == a.digest().difference(&asked),
            "{a:?} {asked:?}"
        );
        purge(a);
        for b in &states {
            two(a, b);
        }
        let changed = change(a, &states, steps);
        if changed != *a {
            live_dots_are_known(&changed);
            round_trip(&changed);
            purge(&changed);
            states.iter().for_each(|b| two(&changed, b));
        }
    }
    let [a, b, c] = states.as_slice() else {
        return;
    };
    let agree = |a: &Causal<S>, b: &Causal<S>| a.conflict(b).is_none();
    if agree(a, b) && agree(b, c) && agree(a, c) {
        laws(a, b, c).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

fn two<S>(a: &Causal<S>, b: &Causal<S>)
where
    S: Edited + Serialize + DeserializeOwned,
{
    let conflict = a.conflict(b);
    let is_known = conflict.is_some() == b.conflict(a).is_some();
    assert!(is_known, "one side finds the conflict: {a:?} {b:?}");
    let ab = a.clone().joined(b);
    assert!(
        ab.context().includes(&ab.digest().live().clone()),
        "I1: {a:?} {b:?}"
    );
    let mut checked = a.clone();
    let joined = checked.join_checked(b);
    if conflict.is_some() {
        assert!(joined.is_err() && checked == *a, "conflict: {a:?} {b:?}");
        return;
    }
    assert_eq!(joined, Ok(ab != *a), "join says whether it grew");
    assert!(checked == ab, "checked or not: {a:?} {b:?}");
    live_dots_are_known(&ab);
    round_trip(&ab);
    assert!(b.clone().joined(a) == ab, "commutativity: {a:?} {b:?}");
    let brought = a.clone().joined(&b.difference(a));
    assert!(brought == ab, "difference: {a:?} {b:?}");
}

/// I1, and that no dot is live twice; by ranges.
fn live_dots_are_known<S: DotStore>(state: &Causal<S>) {
    let live: CausalContext = state.dot_ranges().collect();
    assert!(state.context().includes(&live), "I1: {state:?}");
    let lengths = state.dot_ranges().map(|r| u128::from(r.last - r.first) + 1);
    let once = live
        .ranges()
        .map(|r| u128::from(r.last - r.first) + 1)
        .sum::<u128>();
    assert!(lengths.sum::<u128>() == once, "live twice: {state:?}");
}

fn lawful<S: DotStore>(a: &Causal<S>, b: &Causal<S>, c: &Causal<S>) -> Result<(), LawViolation> {
    check_lattice(a, b, c)?;
    for (a, b) in [(a, b), (b, a), (a, c), (c, a), (b, c), (c, b)] {
        check_least_difference(a, b)?;
        let by_digest = a.digest().joined(&b.digest());
        assert!(a.clone().joined(b).digest() == by_digest, "{a:?} {b:?}");
    }
    Ok(())
}

/// Every pair was put to these laws before. Differences of such cells are not least: a loser must be sent where it
/// is alone, and is forgotten behind the join with its winner.
fn commutative<S: DotStore>(
    _: &Causal<S>,
    _: &Causal<S>,
    _: &Causal<S>,
) -> Result<(), LawViolation> {
    Ok(())
}

fn is_one<S: Cell>(value: &S) -> bool {
    value.sibling_count() <= 1
}

/// The laws, and that the report of a join tells which keys changed.
fn reporting<S: Cell>(
    a: &Causal<OrMap<u8, S>>,
    b: &Causal<OrMap<u8, S>>,
    c: &Causal<OrMap<u8, S>>,
) -> Result<(), LawViolation> {
    lawful(a, b, c)?;
    for (a, b) in [(a, b), (b, a), (a, c), (c, a), (b, c), (c, b)] {
        let mut joined = a.clone();
        let report = joined.join_report(b);
        assert!(
            joined == a.clone().joined(b),
            "reported or not: {a:?} {b:?}"
        );
        assert_eq!(report.grew, joined != *a, "{a:?} {b:?}");
        let keys = |which: fn(Option<&S>, Option<&S>) -> bool| -> Vec<u8> {
            let all = 0..=u8::MAX;
            all.filter(|key| which(a.get(key), joined.get(key)))
                .collect()
        };
        let added = keys(|a, ab| a.is_none() && ab.is_some_and(is_one));
        assert_eq!(report.added, added, "{a:?} {b:?}");
        assert_eq!(report.removed, keys(|a, ab| a.is_some() && ab.is_none()));
        let overwritten = keys(|a, ab| a.is_some() && a != ab && ab.is_some_and(is_one));
        assert_eq!(report.overwritten, overwritten, "{a:?} {b:?}");
        let conflicting = keys(|a, ab| a != ab && ab.is_some_and(|ab| !is_one(ab)));
        assert_eq!(report.conflicting, conflicting, "{a:?} {b:?}");
    }
    Ok(())
}
