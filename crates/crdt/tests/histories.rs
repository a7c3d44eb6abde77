//! Random histories of the causal map against a model that keeps every event (see `crdt-model`).
//!
//! `PROPTEST_CASES=n` plays 4 n histories of each suite. A failure prints its smallest script; its seed is
//! kept under `proptest-regressions` and played first from then on.

use crdt_model::{Kind, Lww, Mv, Op, Probes, Script, Setup, run};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use std::cell::RefCell;

/// Histories for each case that proptest is configured for (256 if nothing is said).
const HISTORIES_PER_CASE: u32 = 4;
/// From so many histories on, every situation that the suites are about must have occurred.
const PROBED_FROM: u32 = 500;

fn setup() -> impl Strategy<Value = Setup> {
    let budget = prop_oneof![Just(1), Just(1), Just(2), Just(100)];
    let encoded = prop::bool::weighted(0.25);
    (0_u8..3, budget, any::<bool>(), encoded).prop_map(
        |(replicas, budget, clocks_travel, encoded)| Setup {
            replicas,
            budget,
            clocks_travel,
            encoded,
        },
    )
}

/// Receivers of a write whose copies are lost: none, some, or all.
fn lost() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0), 3 => any::<u8>(), 1 => Just(u8::MAX)]
}

fn op() -> impl Strategy<Value = Op> {
    let (at, key) = (0_u8..4, 0_u8..3);
    let value = prop_oneof![1 => Just(None), 2 => (0_u8..2).prop_map(Some)];
    let write = (at.clone(), key.clone(), value, 0_u8..3, lost()).prop_map(
        |(at, key, value, leap, lost)| Op::Write {
            at,
            key,
            value,
            leap,
            lost,
        },
    );
    let parts = prop_oneof![3 => Just(u8::MAX), 1 => any::<u8>()];
    let again = prop::bool::weighted(0.2);
    let deliver = (any::<u16>(), again, parts, any::<bool>()).prop_map(
        |(message, again, parts, reversed)| Op::Deliver {
            message,
            again,
            parts,
            reversed,
        },
    );
    let late = prop::bool::weighted(0.3);
    let pair = (at.clone(), at.clone());
    let ask = pair.clone().prop_map(|(by, of)| Op::Ask { by, of });
    let repair =
        (pair.clone(), key, late, any::<bool>()).prop_map(|((at, from), key, late, covering)| {
            Op::Repair {
                at,
                from,
                key,
                late,
                covering,
            }
        });
    let purge = at.clone().prop_map(|at| Op::Purge { at });
    let trim = (at.clone(), any::<u8>()).prop_map(|(at, mask)| Op::Trim { at, mask });
    let chunk = (pair, late).prop_map(|((at, from), late)| Op::Chunk { at, from, late });
    let rename = at.prop_map(|at| Op::Rename { at });
    prop_oneof![
        20 => write, 28 => deliver, 20 => ask, 8 => repair, 10 => purge, 3 => trim, 10 => chunk, 1 => rename
    ]
}

fn scripts() -> impl Strategy<Value = Script> {
    (setup(), prop::collection::vec(op(), 0..160)).prop_map(|(setup, ops)| Script { setup, ops })
}

/// Plays random histories; fails with the smallest script that shows a violation.
fn play<K: Kind>() -> (u32, Probes) {
    let mut config = Config {
        source_file: Some(file!()),
        ..Config::default()
    };
    config.cases = config.cases.saturating_mul(HISTORIES_PER_CASE);
    let cases = config.cases;
    let probes = RefCell::new(Probes::default());
    let mut runner = TestRunner::new(config);
    let result = runner.run(&scripts(), |script| {
        let seen = run::<K>(&script).map_err(TestCaseError::fail)?;
        probes.borrow_mut().add(&seen);
        Ok(())
    });
    match result {
        Ok(()) => (cases, probes.into_inner()),
        Err(TestError::Fail(reason, script)) => panic!("{reason}\n{script:#?}"),
        Err(aborted) => panic!("{aborted}"),
    }
}

/// I1, I3, I4, I5 after every step and convergence at the end, for last-writer-wins cells: the winner of
/// all events is shown everywhere, no tombstone and no exception is left, and bytes are equal.
#[test]
fn last_writer_wins_maps_agree_with_the_model_after_every_step() {
    let (cases, probes) = play::<Lww>();
    let Probes {
        lost_writes,
        ties,
        exceptions,
        by_meet,
        cut_answers,
        truncated,
        promises,
        purged,
    } = probes;
    let situations = [
        lost_writes,
        ties,
        exceptions,
        by_meet,
        cut_answers,
        truncated,
        promises,
        purged,
    ];
    assert!(
        cases < PROBED_FROM || situations.iter().all(|&n| n > 0),
        "vacuous: {probes:?}"
    );
}

/// I1, I3, I4, I5 after every step and convergence at the end, for multi-value cells: exactly the writes
/// that no other write has seen are shown everywhere, and no exception is left.
#[test]
fn multi_value_maps_agree_with_the_model_after_every_step() {
    let (cases, probes) = play::<Mv>();
    let situations = [
        probes.exceptions,
        probes.by_meet,
        probes.cut_answers,
        probes.truncated,
        probes.promises,
    ];
    assert!(
        cases < PROBED_FROM || situations.iter().all(|&n| n > 0),
        "vacuous: {probes:?}"
    );
}
