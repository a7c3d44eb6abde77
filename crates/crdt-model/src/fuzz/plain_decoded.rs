//! Lattices without a causal store, of any origin.

mod changed;

use crdt::laws::{LawViolation, check_delta, check_lattice, check_least_difference};
use crdt::{
    CausalContext, Closed, Digest, GCounter, GSet, Knowledge, LexicographicPair, LwwMap,
    LwwRegister, LwwSet, MapOf, Max, Min, MvRegister, OwnerView, Pair, PnCounter, Promises,
    SetUnion, Stability, TwoPhaseSet, VersionVector,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{round_trip, states_of, text_round_trip};
use changed::Changed;

/// Bytes of a change.
const CHANGE: usize = 2;
/// Changes made to each state, at most.
const MAX_CHANGES: usize = 4;

/// Decodes states from the bytes, as a peer could have sent them, then changes, and puts them to the laws.
///
/// The first byte chooses the type. Whatever decodes obeys every law and survives encoding, and so does
/// what is joined of it and what changes make of it; what is asked in two ways has one answer.
///
/// # Panics
/// If a law does not hold.
pub fn plain_decoded(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else {
        return;
    };
    let check = [
        decoded::<LwwMap<u8, u8>>,
        decoded::<LwwSet<u8>>,
        decoded::<LwwRegister<u8>>,
        decoded::<MvRegister<u8>>,
        decoded::<GCounter>,
        decoded::<PnCounter>,
        decoded::<GSet<u8>>,
        decoded::<TwoPhaseSet<u8>>,
        decoded::<Pair<GCounter, Max<u8>>>,
        decoded::<LexicographicPair<u8, GSet<u8>>>,
        decoded::<MapOf<u8, PnCounter>>,
        decoded::<Option<MvRegister<u8>>>,
        decoded::<MapOf<u8, LexicographicPair<u8, Option<Pair<Min<u8>, SetUnion<u8>>>>>>,
        decoded::<VersionVector>,
        decoded::<CausalContext>,
        decoded::<OwnerView>,
        decoded::<Promises>,
        decoded::<Stability>,
        decoded::<Digest>,
        decoded::<Knowledge<u8>>,
        decoded::<LwwMap<u16, u8>>,
        decoded::<Closed>,
    ];
    check[usize::from(kind) % check.len()](bytes).unwrap_or_else(|violation| panic!("{violation}"));
}

fn decoded<L>(bytes: &[u8]) -> Result<(), LawViolation>
where
    L: Changed + Serialize + DeserializeOwned,
{
    let (mut states, changes) = states_of::<L>(bytes);
    states.iter().for_each(round_trip);
    states.iter().for_each(text_round_trip);
    states.resize_with(super::MAX_STATES, L::default);
    obey(&states)?;
    let changes = changes.chunks_exact(CHANGE).take(MAX_CHANGES);
    if changes.len() == 0 {
        return Ok(());
    }
    for (i, change) in changes.enumerate() {
        // All states together, then one after the other, so that they differ.
        let changed = if i == 0 { 0..states.len() } else { i - 1..i };
        for state in &mut states[changed] {
            let before = state.clone();
            let delta = state.change(change[0], change[1]);
            check_delta(&before, state, &delta)?;
        }
    }
    obey(&states)
}

/// The laws, on three states.
fn obey<L>(states: &[L]) -> Result<(), LawViolation>
where
    L: Changed + Serialize + DeserializeOwned,
{
    let [a, b, c] = states else {
        unreachable!("resized to {}", super::MAX_STATES)
    };
    for (a, b, c) in [(a, b, c), (b, c, a), (c, a, b)] {
        check_lattice(a, b, c)?;
        check_least_difference(a, b)?;
        check_least_difference(b, a)?;
        round_trip(&a.clone().joined(b));
        round_trip(&a.difference(b));
        a.ask(b);
        b.ask(a);
    }
    Ok(())
}
