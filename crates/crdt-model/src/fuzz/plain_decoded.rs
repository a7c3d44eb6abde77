//! Lattices without a causal store, of any origin.

use crdt::laws::{LawViolation, check_difference, check_lattice};
use crdt::{
    CausalContext, Difference, Digest, GCounter, GSet, Knowledge, LexicographicPair, LwwMap,
    LwwRegister, LwwSet, MapOf, Max, Min, MvRegister, OwnerView, Pair, PnCounter, Promises,
    SetUnion, Stability, TwoPhaseSet, VersionVector,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{round_trip, states_of};

/// Decodes states from the bytes, as a peer could have sent them, and puts them to the laws.
///
/// The first byte chooses the type. Whatever decodes obeys every law and survives encoding, and so does
/// what is joined of it.
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
    ];
    check[usize::from(kind) % check.len()](bytes).unwrap_or_else(|violation| panic!("{violation}"));
}

fn decoded<L>(bytes: &[u8]) -> Result<(), LawViolation>
where
    L: Difference + Serialize + DeserializeOwned,
{
    let (mut states, _) = states_of::<L>(bytes);
    states.iter().for_each(round_trip);
    states.resize_with(super::MAX_STATES, L::default);
    let [a, b, c] = states.as_slice() else {
        unreachable!("resized to {}", super::MAX_STATES)
    };
    for (a, b, c) in [(a, b, c), (b, c, a), (c, a, b)] {
        check_lattice(a, b, c)?;
        check_difference(a, b)?;
        check_difference(b, a)?;
        round_trip(&a.clone().joined(b));
        round_trip(&a.difference(b));
    }
    Ok(())
}
