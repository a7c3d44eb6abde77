//! The law kit at work: a type of one's own with a planted bug, found by proptest, by quickcheck and by
//! the body of a fuzz target; and the same type without the bug, which passes.
//!
//! The type is `HighScores` of the crate `crdt-model`: a map of best results beside a version
//! vector. Its planted join keeps the first of two results with equal scores.

use crdt::laws::{LawViolation, Script, SmallScope, Step, check_script, check_small_scope};
use crdt_model::{Machine, own_type, own_type_planted};
use quickcheck::{Gen, QuickCheck, TestResult};
use std::panic::catch_unwind;

type Sound = Machine<false>;
type Planted = Machine<true>;

/// Scripts, or inputs, that each framework may try.
const TRIES: u32 = 2_000;

/// The bug needs two results of one player with equal scores that meet: two changes, and a step that brings one
/// to the other (at the latest the exchange at the end).
#[track_caller]
fn assert_is_small(script: &Script) {
    let changes = script.steps.iter();
    let changes = changes.filter(|step| matches!(step, Step::Change { .. }));
    assert_eq!(changes.count(), 2, "{script}");
    assert!(script.steps.len() <= 3, "{script}");
}

mod by_proptest {
    use super::*;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

    fn runner() -> TestRunner {
        let config = Config {
            cases: TRIES,
            failure_persistence: None,
            ..Config::default()
        };
        // How small a script gets depends on where the search starts.
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    }

    fn obeys(result: Result<(), LawViolation>) -> Result<(), TestCaseError> {
        result.map_err(|violation| TestCaseError::fail(violation.to_string()))
    }

    // What a user writes: `Script` is `Arbitrary`, and the check is one call.
    proptest! {
        #[test]
        fn the_sound_type_passes(script: Script) {
            prop_assert_eq!(check_script::<Sound>(&script), Ok(()));
        }
    }

    #[test]
    fn the_planted_bug_is_found_and_shrunk() {
        let found = runner().run(&any::<Script>(), |script| {
            obeys(check_script::<Planted>(&script))
        });
        let Err(TestError::Fail(_, script)) = found else {
            panic!("not found: {found:?}");
        };
        assert_is_small(&script);
    }
}

mod by_quickcheck {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "quickcheck passes by value")]
    fn sound(script: Script) -> TestResult {
        match check_script::<Sound>(&script) {
            Ok(()) => TestResult::passed(),
            Err(violation) => TestResult::error(violation.to_string()),
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "quickcheck passes by value")]
    fn planted(script: Script) -> bool {
        check_script::<Planted>(&script).is_ok()
    }

    fn quickcheck() -> QuickCheck {
        QuickCheck::new().rng(Gen::new(30)).tests(TRIES.into())
    }

    #[test]
    fn the_sound_type_passes() {
        quickcheck().quickcheck(sound as fn(Script) -> TestResult);
    }

    #[test]
    fn the_planted_bug_is_found() {
        let found = quickcheck().quicktest(planted as fn(Script) -> bool);
        let failure = format!("{:?}", found.expect_err("the bug is found"));
        assert!(
            failure.contains("Step::change"),
            "it prints as Rust: {failure}"
        );
    }
}

mod by_fuzzing {
    use super::*;

    /// Inputs as a fuzzer may begin with: numbers of a multiplicative sequence.
    fn inputs() -> impl Iterator<Item = Vec<u8>> {
        let next = |x: &u64| Some(x.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1));
        (0..u64::from(TRIES)).map(move |seed| {
            let numbers = std::iter::successors(Some(seed), next).skip(1);
            numbers.take(120).map(|x| (x >> 56) as u8).collect()
        })
    }

    #[test]
    fn the_sound_type_passes() {
        inputs().for_each(|bytes| own_type(&bytes));
    }

    #[test]
    fn the_planted_bug_is_found() {
        let crashes = inputs().filter(|bytes| catch_unwind(|| own_type_planted(bytes)).is_err());
        assert!(crashes.take(3).count() == 3);
    }
}

/// Without any framework: all that two changes can do to three replicas.
mod by_exhaustion {
    use super::*;

    /// Two results of one player with equal scores, and one of another player.
    fn scope() -> SmallScope {
        SmallScope::of([(0, 0), (0, 1), (1, 0)])
    }

    #[test]
    fn the_sound_type_passes() {
        let states = check_small_scope::<Sound>(&scope()).expect("the type is sound");
        assert!(states > 1_000, "vacuous: {states} states");
    }

    #[test]
    fn the_planted_bug_is_found_by_a_shortest_script() {
        let violation = check_small_scope::<Planted>(&scope()).expect_err("the bug is found");
        let script = violation.script.expect("a script shows it");
        // Two machines reach the same score, each with its own label, and keep their own.
        assert_is_small(&script);
        assert!(check_script::<Planted>(&script).is_err());
        assert_eq!(check_script::<Sound>(&script), Ok(()));
    }
}
