//! The table of laws: every replicated type, put to every check, none exempt.
//!
//! Each row names a subject of `crdt-model` and the operations of its small scope. Each row is run on scripts by
//! proptest and by quickcheck, on every crossing of a few changes, through two encodings, and against bytes that
//! no replica has sent.
//!
//! Maps of last-writer-wins cells and bare knowledge are put to the same laws in `laws.rs`, on worlds with
//! exceptions, purges and trimmed logs. There a delta may say more than the full state: the law of deltas
//! needs a case of its own.

mod checks;

use crdt::*;

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

crdt_model::subjects!(table);
