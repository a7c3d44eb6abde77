use super::*;
use crate::{Causal, CausalReplica, DotFun, IdentityReused, Lattice, ObjectId, OrMap, ReplicaId};
use proptest::prelude::*;

type Counter = CausalReplica<ResettableCounter>;

fn counter(id: u64) -> Counter {
    CausalReplica::new(ObjectId(1), ReplicaId(id))
}

/// Two operations that have not seen each other, on a counter at ten.
fn concurrently(ops: [fn(&mut Edit<'_, ResettableCounter>); 2]) -> Result<i128, IdentityReused> {
    let (mut a, mut b) = (counter(1), counter(2));
    b.join(&a.change(|c| c.add(10)))?;
    let (by_a, by_b) = (a.change(ops[0]), b.change(ops[1]));
    a.join(&by_b)?;
    b.join(&by_a)?;
    assert_eq!(a.state(), b.state());
    Ok(a.value())
}

#[test]
fn every_row_of_the_outcome_table_holds() -> Result<(), IdentityReused> {
    assert_eq!(concurrently([|c| c.add(1), |c| c.add(-4)])?, 7);
    assert_eq!(concurrently([|c| c.add(1), |c| c.reset()])?, 1);
    assert_eq!(concurrently([|c| c.reset(), |c| c.reset()])?, 0);
    let more = |c: &mut Edit<'_, ResettableCounter>| {
        c.add(5);
        c.reset();
        c.add(3);
    };
    assert_eq!(concurrently([more, |c| c.reset()])?, 3);
    Ok(())
}

#[test]
fn counting_by_one_takes_one_run_until_another_amount_or_a_reset() {
    let mut c = counter(1);
    for _ in 0..100 {
        let _ = c.change(|c| c.add(1));
    }
    assert_eq!((c.value(), c.runs.len()), (100, 1));
    let _ = c.change(|c| c.add(0));
    let _ = c.change(|c| c.add(2));
    let _ = c.change(|c| c.add(1));
    assert_eq!((c.value(), c.runs.len()), (103, 3));
    assert_eq!(
        c.state().context().event_count(),
        102,
        "adding zero is no event"
    );
    let delta = c.change(|c| c.reset());
    assert_eq!((c.value(), c.runs.len()), (0, 0));
    assert_eq!(delta.context().range_count(), 1);
}

#[test]
fn a_reset_that_has_seen_the_middle_of_a_run_leaves_its_ends() {
    let (mut a, mut b) = (counter(1), counter(2));
    let deltas: Vec<_> = (0..5).map(|_| a.change(|c| c.add(1))).collect();
    for seen in [1, 2] {
        assert_eq!(b.join(&deltas[seen]), Ok(true));
    }
    let reset = b.change(|c| c.reset());
    assert_eq!(a.join(&reset), Ok(true));
    assert_eq!((a.value(), a.runs.len()), (3, 2));
    for delta in deltas.iter().rev() {
        assert!(b.join(delta).is_ok());
    }
    assert_eq!(a.state(), b.state());
}

#[test]
fn two_amounts_under_one_dot_are_a_conflict_and_all_keep_the_smaller() {
    let amounts = |amounts: [i64; 3]| {
        let mut c = counter(1);
        for amount in amounts {
            let _ = c.change(|c| c.add(amount));
        }
        c.state().clone()
    };
    let (mut a, b) = (amounts([1, 1, 1]), amounts([1, 2, -3]));
    let error = a.join_checked(&b).expect_err("dots 2 and 3 differ");
    assert_eq!(error.dot, Dot::new(ReplicaId(1), 2));
    assert_eq!(a.clone().joined(&b), b.clone().joined(&a));
    assert_eq!(a.joined(&b).value(), -1);
}

/// The naive model: every increment by itself.
fn model(c: &ResettableCounter) -> DotFun<i64> {
    let each = |run: &Run| {
        let amount = i64::try_from(run.total() / run.dots().count() as i128).expect("small");
        run.dots().map(move |dot| (dot, amount))
    };
    c.runs.iter().flat_map(each).collect()
}

proptest! {
    /// Three replicas count, reset and join in any order: runs behave as single events do.
    #[test]
    fn runs_behave_as_increments_one_by_one(
        steps in proptest::collection::vec((0_usize..3, 0_u8..6, 0_usize..3), 0..40),
    ) {
        let mut replicas = [1, 2, 3].map(counter);
        let mut models = [1, 2, 3].map(|id| {
            CausalReplica::<DotFun<i64>>::new(ObjectId(1), ReplicaId(id))
        });
        for (at, op, from) in steps {
            match op {
                0..=2 => {
                    let amount = if op == 2 { -3 } else { 1 };
                    let _ = replicas[at].change(|c| c.add(amount));
                    let _ = models[at].change(|c| c.add(amount));
                }
                3 => {
                    let _ = replicas[at].change(|c| c.reset());
                    let _ = models[at].change(|c| c.clear());
                }
                _ => {
                    let (state, wanted) = (replicas[from].state().clone(), models[from].state().clone());
                    let delta = replicas[at].state().delta_since(&state.digest());
                    let expected = models[at].state().delta_since(&wanted.digest());
                    prop_assert_eq!(delta.digest(), expected.digest());
                    let grew = replicas[at].join(&state);
                    prop_assert_eq!(grew, models[at].join(&wanted));
                }
            }
            prop_assert_eq!(replicas[at].validate(), Ok(()));
            prop_assert_eq!(&model(&replicas[at]), models[at].state().store());
            prop_assert_eq!(replicas[at].state().digest(), models[at].state().digest());
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn runs_that_no_counter_has_are_refused() {
    let run = |replica: u64, first: u64, last: u64, amount: i64| (replica, first, last, amount);
    for runs in [
        vec![run(1, 0, 1, 1)],
        vec![run(1, 2, 1, 1)],
        vec![run(1, 1, 1, 0)],
        vec![run(1, 4, 5, 1), run(1, 1, 2, 1)],
        vec![run(2, 1, 1, 1), run(1, 1, 1, 1)],
        vec![run(1, 1, 3, 1), run(1, 3, 4, 2)],
        vec![run(1, 1, 3, 1), run(1, 4, 4, 1)],
        vec![run(1, u64::MAX, u64::MAX, 1), run(1, 1, 1, 1)],
    ] {
        let bytes = postcard::to_stdvec(&runs).expect("runs encode");
        assert!(
            postcard::from_bytes::<ResettableCounter>(&bytes).is_err(),
            "{runs:?}"
        );
    }
    let text = r#"[{"replica":1,"first":1,"last":3,"amount":2}]"#;
    let decoded: ResettableCounter = serde_json::from_str(text).expect("a run");
    assert_eq!(decoded.value(), 6);
    assert_eq!(
        serde_json::to_string(&decoded).expect("a counter encodes"),
        text
    );
}

/// A few bytes can name 2^64 events: decoding, comparing, joining and removing must not count them out.
#[cfg(feature = "serde")]
#[test]
fn the_longest_run_costs_no_more_than_the_shortest() {
    type Map = OrMap<u8, ResettableCounter>;
    let text = r#"{"store":[[7,[{"replica":1,"first":1,"last":18446744073709551615,"amount":9223372036854775807}]]],
        "context":[[1,[[0,18446744073709551614]]]]}"#;
    let state: Causal<Map> = serde_json::from_str(text).expect("one run");
    assert_eq!(
        state.get(&7).map(ResettableCounter::value),
        Some(i128::from(i64::MAX) * i128::from(u64::MAX))
    );
    let mut other = CausalReplica::<Map>::new(ObjectId(1), ReplicaId(2));
    let _ = other.change(|map| map.update(7, |c| c.add(1)));
    let difference = state.delta_since(&other.state().digest());
    assert!(other.join(&difference).is_ok());
    assert!(state <= *other.state());
    let mut state = state;
    assert_eq!(state.join_checked(other.state()), Ok(true));
    let _ = other.change(|map| map.remove(&7));
    assert!(other.is_empty());
    let twice = text.replace(
        r#"[[7,[{"#,
        r#"[[6,[{"replica":1,"first":9,"last":9,"amount":1}]],[7,[{"#,
    );
    assert!(
        serde_json::from_str::<Causal<Map>>(&twice).is_err(),
        "event 9 is live twice"
    );
}
