//! The table of laws: every replicated type, put to every check, none exempt.
//!
//! Each row names a subject and the operations of its small scope. Each row is run on scripts by proptest and by
//! quickcheck, on every crossing of a few changes, through two encodings, and against bytes that no
//! replica has sent.
//!
//! Maps of last-writer-wins cells and bare knowledge are put to the same laws in `laws.rs`, on worlds with
//! exceptions, purges and trimmed logs. There a delta may say more than the full state: the law of deltas
//! needs a case of its own.

mod causal;
mod cells;
mod checks;
mod clocks;
mod maps;
mod marks;
mod plain;
mod purges;

use crdt::{AddWinsSet, CausalContext, Closed, Digest, DisableWinsFlag, DotFun, DotSet};
use crdt::{
    EnableWinsFlag, GCounter, GSet, LexicographicPair, LwwCell, LwwMap, LwwRegister, LwwSet, MapOf,
    Max,
};
use crdt::{Min, MvCell, MvRegister, OrMap, OwnerView, Pair, PnCounter, Promises, RemoveWinsSet};
use crdt::{ResettableCounter, SetUnion, Stability, TwoPhaseSet, VersionVector};

/// One test for each check of each row.
macro_rules! table {
    ($($name:ident: $subject:ty, $choices:expr;)*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn obeys_the_laws_on_scripts_of_proptest() {
                checks::by_proptest::<$subject>();
            }

            #[test]
            fn obeys_the_laws_on_scripts_of_quickcheck() {
                checks::by_quickcheck::<$subject>();
            }

            #[test]
            fn obeys_the_laws_in_a_small_scope() {
                checks::in_small_scopes::<$subject>(&$choices);
            }

            #[test]
            fn has_one_encoding_for_each_state() {
                checks::canonical::<$subject>();
            }

            #[test]
            fn refuses_or_survives_hostile_bytes() {
                checks::hostile::<$subject>();
            }
        }
    )* };
}

table! {
    version_vector: clocks::Plain<VersionVector>, [(0, 0), (0, 1)];
    causal_context: clocks::Plain<CausalContext>, [(0, 0), (0, 1)];
    owner_view: clocks::Plain<OwnerView>, [(0, 0), (0, 1), (1, 0)];
    promises: clocks::Plain<Promises>, [(0, 0), (0, 1), (1, 0)];
    closed: clocks::Plain<Closed>, [(0, 0), (0, 1), (1, 0)];
    max: clocks::Plain<Max<u8>>, [(0, 0), (0, 1)];
    min: clocks::Plain<Min<u8>>, [(0, 0), (0, 1)];
    pair: clocks::Plain<Pair<Max<u8>, Min<u8>>>, [(0, 0), (0, 1), (1, 0)];
    lexicographic_pair: clocks::Plain<LexicographicPair<u8, SetUnion<u8>>>, [(0, 0), (0, 1), (1, 0)];
    option: clocks::Plain<Option<Max<u8>>>, [(0, 0), (1, 0), (1, 1)];
    grow_only_set: clocks::Plain<GSet<u8>>, [(0, 0), (0, 1)];
    map_of: clocks::Plain<MapOf<u8, Max<u8>>>, [(0, 0), (0, 1), (1, 0)];
    grow_only_counter: clocks::Plain<GCounter>, [(0, 1), (0, 2)];
    counter: clocks::Plain<PnCounter>, [(0, 1), (1, 1), (1, 2)];
    lww_register: clocks::Plain<LwwRegister<u8>>, [(0, 0), (0, 1), (2, 0), (4, 0)];
    mv_register: clocks::Plain<MvRegister<u8>>, [(0, 0), (0, 1)];
    lww_map: clocks::Plain<LwwMap<u8, u8>>, [(0, 0), (0, 1), (2, 0), (4, 4)];
    lww_set: clocks::Plain<LwwSet<u8>>, [(0, 0), (2, 0), (4, 0)];
    purged_lww_map: purges::Purging<LwwMap<u8, u8>>, [(0, 0), (2, 0), (3, 0), (7, 0)];
    purged_lww_set: purges::Purging<LwwSet<u8>>, [(0, 0), (2, 0), (3, 0), (7, 0)];
    two_phase_set: clocks::Plain<TwoPhaseSet<u8>>, [(0, 0), (0, 1), (1, 0)];
    dot_fun: causal::Object<DotFun<u8>>, [(0, 0), (1, 0), (2, 0)];
    mv_cell: causal::Object<MvCell<u8>>, [(0, 0), (0, 1), (1, 0)];
    lww_cell: causal::Object<LwwCell<u8>>, [(0, 0), (0, 1), (2, 0), (4, 0)];
    add_wins_set: causal::Object<AddWinsSet<u8>>, [(0, 0), (0, 1), (1, 0), (3, 0)];
    or_map: causal::Object<OrMap<u8, AddWinsSet<u8>>>, [(0, 0), (0, 3), (1, 0), (3, 0)];
    dot_set: causal::Object<DotSet>, [(0, 0), (1, 0)];
    enable_wins_flag: causal::Object<EnableWinsFlag>, [(0, 0), (1, 0)];
    disable_wins_flag: causal::Object<DisableWinsFlag>, [(0, 0), (1, 0)];
    remove_wins_set: causal::Object<RemoveWinsSet<u8>>, [(0, 0), (0, 1), (1, 0)];
    resettable_counter: causal::Object<ResettableCounter>, [(0, 0), (0, 2), (1, 0)];
    map_of_lww_cells: causal::Object<OrMap<u8, LwwCell<u8>>>, [(0, 0), (0, 3), (2, 0), (4, 0)];
    map_of_counters: causal::Object<OrMap<u8, ResettableCounter>>, [(0, 0), (0, 6), (1, 0), (7, 0)];
    siblings: marks::Server, [(0, 0), (1, 0), (2, 0)];
    causal_map: maps::Map<MvCell<u8>>, [(0, 0), (1, 0), (0, 4)];
    digest: maps::Watched<Digest>, [(0, 0), (0, 1), (1, 0)];
    stability: maps::Watched<Stability>, [(0, 0), (0, 1), (1, 0)];
    record: causal::Object<(MvCell<u8>, AddWinsSet<u8>)>, [(0, 0), (2, 0), (3, 0)];
}
