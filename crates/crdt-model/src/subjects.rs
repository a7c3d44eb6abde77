//! Every replicated type as a [`Subject`](crdt::laws::Subject) of the law kit: with the tests, and the fuzz target,
//! that run the same table of them.
//!
//! The operations are few, on few elements, so that they meet; their specifications know neither dots nor
//! contexts, and share no code with the types.

pub mod causal;
pub mod cells;
pub mod clocks;
pub mod maps;
pub mod marks;
pub mod plain;
pub mod purges;

/// Hands the table of all replicated types to a macro: rows of a name, the subject, and the choices of its small
/// scope, `name: subject, [(what, which), ..];`. Whoever uses it imports all types of `crdt`.
#[macro_export]
macro_rules! subjects {
    ($run:ident) => {
        $run! {
            version_vector: $crate::subjects::clocks::Plain<VersionVector>, [(0, 0), (0, 1)];
            causal_context: $crate::subjects::clocks::Plain<CausalContext>, [(0, 0), (0, 1)];
            owner_view: $crate::subjects::clocks::Plain<OwnerView>, [(0, 0), (0, 1), (1, 0)];
            promises: $crate::subjects::clocks::Plain<Promises>, [(0, 0), (0, 1), (1, 0)];
            closed: $crate::subjects::clocks::Plain<Closed>, [(0, 0), (0, 1), (1, 0)];
            max: $crate::subjects::clocks::Plain<Max<u8>>, [(0, 0), (0, 1)];
            min: $crate::subjects::clocks::Plain<Min<u8>>, [(0, 0), (0, 1)];
            pair: $crate::subjects::clocks::Plain<Pair<Max<u8>, Min<u8>>>, [(0, 0), (0, 1), (1, 0)];
            lexicographic_pair: $crate::subjects::clocks::Plain<LexicographicPair<u8, SetUnion<u8>>>, [(0, 0), (0, 1), (1, 0)];
            option: $crate::subjects::clocks::Plain<Option<Max<u8>>>, [(0, 0), (1, 0), (1, 1)];
            grow_only_set: $crate::subjects::clocks::Plain<GSet<u8>>, [(0, 0), (0, 1)];
            map_of: $crate::subjects::clocks::Plain<MapOf<u8, Max<u8>>>, [(0, 0), (0, 1), (1, 0)];
            grow_only_counter: $crate::subjects::clocks::Plain<GCounter>, [(0, 1), (0, 2)];
            counter: $crate::subjects::clocks::Plain<PnCounter>, [(0, 1), (1, 1), (1, 2)];
            lww_register: $crate::subjects::clocks::Plain<LwwRegister<u8>>, [(0, 0), (0, 1), (2, 0), (4, 0)];
            mv_register: $crate::subjects::clocks::Plain<MvRegister<u8>>, [(0, 0), (0, 1)];
            lww_map: $crate::subjects::clocks::Plain<LwwMap<u8, u8>>, [(0, 0), (0, 1), (2, 0), (4, 4)];
            lww_set: $crate::subjects::clocks::Plain<LwwSet<u8>>, [(0, 0), (2, 0), (4, 0)];
            purged_lww_map: $crate::subjects::purges::Purging<LwwMap<u8, u8>>, [(0, 0), (2, 0), (3, 0), (7, 0)];
            purged_lww_set: $crate::subjects::purges::Purging<LwwSet<u8>>, [(0, 0), (2, 0), (3, 0), (7, 0)];
            two_phase_set: $crate::subjects::clocks::Plain<TwoPhaseSet<u8>>, [(0, 0), (0, 1), (1, 0)];
            dot_fun: $crate::subjects::causal::Object<DotFun<u8>>, [(0, 0), (1, 0), (2, 0)];
            mv_cell: $crate::subjects::causal::Object<MvCell<u8>>, [(0, 0), (0, 1), (1, 0)];
            lww_cell: $crate::subjects::causal::Object<LwwCell<u8>>, [(0, 0), (0, 1), (2, 0), (4, 0)];
            add_wins_set: $crate::subjects::causal::Object<AddWinsSet<u8>>, [(0, 0), (0, 1), (1, 0), (3, 0)];
            or_map: $crate::subjects::causal::Object<OrMap<u8, AddWinsSet<u8>>>, [(0, 0), (0, 3), (1, 0), (3, 0)];
            dot_set: $crate::subjects::causal::Object<DotSet>, [(0, 0), (1, 0)];
            enable_wins_flag: $crate::subjects::causal::Object<EnableWinsFlag>, [(0, 0), (1, 0)];
            disable_wins_flag: $crate::subjects::causal::Object<DisableWinsFlag>, [(0, 0), (1, 0)];
            remove_wins_set: $crate::subjects::causal::Object<RemoveWinsSet<u8>>, [(0, 0), (0, 1), (1, 0)];
            resettable_counter: $crate::subjects::causal::Object<ResettableCounter>, [(0, 0), (0, 2), (1, 0)];
            map_of_lww_cells: $crate::subjects::causal::Object<OrMap<u8, LwwCell<u8>>>, [(0, 0), (0, 3), (2, 0), (4, 0)];
            map_of_counters: $crate::subjects::causal::Object<OrMap<u8, ResettableCounter>>, [(0, 0), (0, 6), (1, 0), (7, 0)];
            siblings: $crate::subjects::marks::Server, [(0, 0), (1, 0), (2, 0)];
            causal_map: $crate::subjects::maps::Map<MvCell<u8>>, [(0, 0), (1, 0), (0, 4)];
            digest: $crate::subjects::maps::Watched<Digest>, [(0, 0), (0, 1), (1, 0)];
            stability: $crate::subjects::maps::Watched<Stability>, [(0, 0), (0, 1), (1, 0)];
            record: $crate::subjects::causal::Object<(MvCell<u8>, AddWinsSet<u8>)>, [(0, 0), (2, 0), (3, 0)];
        }
    };
}
