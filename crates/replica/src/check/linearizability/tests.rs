use super::super::SessionId;
use super::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};

/// One operation: what it wrote (`=`) or read (`?`), as "=a" or "?a" with "-" for absent.
type Plan<'a> = (&'a str, u64, Option<u64>);

fn history(plan: &[Plan<'_>]) -> History {
    let mut history = History::default();
    for (session, (what, invoked, completed)) in (1..).zip(plan) {
        let (kind, value) = what.split_at(1);
        let value = (value != "-").then(|| Bytes::copy_from_slice(value.as_bytes()));
        let version = None;
        let call = match kind {
            "=" => Call::Write { value, version },
            _ => Call::Read { value, version },
        };
        history.push(Operation {
            session: SessionId(session),
            node: None,
            key: Bytes::from_static(b"k"),
            invoked: *invoked,
            completed: *completed,
            call,
        });
    }
    history
}

fn is_linearizable(plan: &[Plan<'_>]) -> bool {
    check(&history(plan)).is_ok()
}

#[test]
fn operations_that_follow_each_other_have_one_order() {
    let writes = [("=a", 1, Some(2)), ("=b", 3, Some(4))];
    let with = |read: &'static str| [writes.as_slice(), &[(read, 5, Some(6))]].concat();
    assert!(is_linearizable(&with("?b")));
    assert!(!is_linearizable(&with("?a")), "overwritten");
    assert!(!is_linearizable(&with("?-")), "lost");
    assert!(!is_linearizable(&with("?c")), "from nowhere");
    assert!(is_linearizable(&[("?-", 1, Some(2)), ("=a", 3, Some(4))]));
    assert!(
        !is_linearizable(&[("?a", 1, Some(2)), ("=a", 3, Some(4))]),
        "from the future"
    );
}

#[test]
fn a_new_value_that_was_read_is_not_followed_by_the_old_one() {
    let write = ("=b", 1, Some(20));
    let old = ("=a", 0, Some(0));
    let reads = |first, second| [old, write, (first, 2, Some(3)), (second, 4, Some(5))];
    assert!(is_linearizable(&reads("?a", "?a")));
    assert!(is_linearizable(&reads("?a", "?b")));
    assert!(is_linearizable(&reads("?b", "?b")));
    assert!(!is_linearizable(&reads("?b", "?a")));
    let overlapping = [old, write, ("?b", 2, Some(4)), ("?a", 4, Some(5))];
    assert!(
        is_linearizable(&overlapping),
        "moments that touch are concurrent"
    );
}

#[test]
fn concurrent_writes_have_one_order_for_all_readers() {
    let writes = [("=a", 1, Some(9)), ("=b", 1, Some(9))];
    let reads = [("?a", 10, Some(11)), ("?b", 12, Some(13))];
    assert!(!is_linearizable(&[writes.as_slice(), &reads].concat()));
    let during = [("?a", 2, Some(3)), ("?b", 4, Some(5)), ("?b", 10, Some(11))];
    assert!(is_linearizable(&[writes.as_slice(), &during].concat()));
    let twice = [("?a", 2, Some(3)), ("?b", 4, Some(5)), ("?a", 6, Some(7))];
    assert!(
        !is_linearizable(&[writes.as_slice(), &twice].concat()),
        "a write that happens twice"
    );
}

#[test]
fn an_unknown_write_takes_effect_late_or_never_but_once() {
    let unknown = [("=a", 1, None), ("=b", 2, Some(3))];
    let with = |reads: &[Plan<'static>]| [unknown.as_slice(), reads].concat();
    assert!(is_linearizable(&with(&[("?b", 4, Some(5))])), "never");
    assert!(
        is_linearizable(&with(&[("?b", 4, Some(5)), ("?a", 6, Some(7))])),
        "late"
    );
    assert!(
        is_linearizable(&with(&[("?a", 4, Some(5))])),
        "before or after b"
    );
    let back = [("?a", 4, Some(5)), ("?b", 6, Some(7)), ("?a", 8, Some(9))];
    assert!(!is_linearizable(&with(&back)), "twice");
    let deleted = [("=a", 1, Some(2)), ("=-", 3, None)];
    for reads in [["?a", "?a"], ["?a", "?-"], ["?-", "?-"]] {
        let reads = [(reads[0], 4, Some(5)), (reads[1], 6, Some(7))];
        assert!(is_linearizable(&[deleted.as_slice(), &reads].concat()));
    }
    let reads = [("?-", 4, Some(5)), ("?a", 6, Some(7))];
    assert!(
        !is_linearizable(&[deleted.as_slice(), &reads].concat()),
        "deleted, and back"
    );
}

#[test]
fn keys_are_judged_alone_and_only_what_is_wrong_is_reported() {
    let mut both = history(&[("=a", 1, Some(2)), ("?-", 3, Some(4))]);
    let mut other = history(&[("=a", 1, Some(2)), ("?a", 3, Some(4))]);
    let moved: Vec<Operation> = other.operations().map(|(_, op)| op.clone()).collect();
    other = History::default();
    for mut operation in moved {
        operation.key = Bytes::from_static(b"other");
        other.push(operation);
    }
    both.extend(other);
    let found = check(&both).expect_err("k lost a write");
    assert_eq!(
        found.to_string(),
        "k is not linearizable: session 2 read k = absent at 3..4 (operation 1) does not fit after \
         session 1 wrote k = \"a\" at 1..2 (operation 0)"
    );
}

/// Clients of a register that takes each operation at some moment while it runs.
fn run_register(seed: u64, clients: u64, operations: u64) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut history, mut register) = (History::default(), None);
    let mut running: BTreeMap<u64, (OperationId, Call, bool)> = BTreeMap::new();
    let (mut now, mut invoked, mut fresh) = (0, 0, clients);
    let mut names: Vec<u64> = (0..clients).collect();
    while invoked < operations || !running.is_empty() {
        now += 1;
        let at = rng.random_range(0..names.len());
        let client = names[at];
        let Some((id, call, has_happened)) = running.remove(&client) else {
            if invoked < operations {
                invoked += 1;
                let (value, version) = (Some(Bytes::from(invoked.to_string())), None);
                let call = match rng.random_range(0..5) {
                    0..2 => Call::Write { value, version },
                    2 => Call::Write {
                        value: None,
                        version,
                    },
                    _ => Call::Read { value, version },
                };
                let id = history.invoke(SessionId(client), None, "k", call.clone(), now);
                running.insert(client, (id, call, false));
            }
            continue;
        };
        if has_happened {
            history.complete(id, now, call);
            continue;
        }
        let given_up = rng.random_range(0..20) == 0;
        if given_up {
            (names[at], fresh) = (fresh, fresh + 1);
        }
        let call = match call {
            Call::Write { value, version } => {
                if !given_up || rng.random() {
                    register.clone_from(&value);
                }
                Call::Write { value, version }
            }
            _ => Call::Read {
                value: register.clone(),
                version: None,
            },
        };
        if !given_up {
            running.insert(client, (id, call, true));
        }
    }
    history
}

#[test]
fn histories_of_a_register_are_linearizable() {
    for seed in 0..60 {
        let history = run_register(seed, 2 + seed % 7, 250);
        assert_eq!(check(&history), Ok(()), "seed {seed}");
    }
    assert_eq!(check(&run_register(1, 1, 5_000)), Ok(()), "a long one");
}

#[test]
fn corrupted_histories_of_a_register_are_caught() {
    let mut caught = 0;
    for seed in 0..60 {
        let correct = run_register(seed, 3, 60);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let operations: Vec<Operation> = correct.operations().map(|(_, op)| op.clone()).collect();
        // A read takes the value of a read that ended before the last write that completed before it.
        let at = rng.random_range(30..operations.len());
        let Call::Read { value, .. } = &operations[at].call else {
            continue;
        };
        let overwritten = operations
            .iter()
            .filter(|op| op.completed.is_some())
            .find_map(|op| match &op.call {
                Call::Write { value: old, .. } if old.is_some() && old != value => old.clone(),
                _ => None,
            });
        let mut corrupted = History::default();
        for (i, mut operation) in operations.into_iter().enumerate() {
            if i == at {
                operation.call = Call::Read {
                    value: overwritten.clone(),
                    version: None,
                };
                operation.completed.get_or_insert(u64::MAX);
            }
            corrupted.push(operation);
        }
        assert!(
            check(&corrupted).is_err(),
            "seed {seed}: operation {at} reads what was overwritten"
        );
        caught += 1;
    }
    assert!(caught > 10, "only {caught} histories had a read to corrupt");
}

#[test]
fn what_touches_in_time_is_concurrent() {
    let write = ("=a", 5, Some(9));
    assert!(is_linearizable(&[("?a", 1, Some(5)), write]));
    assert!(!is_linearizable(&[("?a", 1, Some(4)), write]));
    assert!(is_linearizable(&[write, ("?-", 9, Some(10))]));
    assert!(!is_linearizable(&[write, ("?-", 10, Some(11))]));
}

#[test]
fn unknown_writes_that_nobody_read_cost_nothing() {
    let writes: Vec<String> = (0..200).map(|n| format!("={n}")).collect();
    let mut plan: Vec<Plan<'_>> = writes.iter().map(|w| (w.as_str(), 1, None)).collect();
    plan.extend([("=a", 2, Some(3)), ("=b", 4, Some(5)), ("?a", 6, Some(7))]);
    let found = check_within(&history(&plan), 10).expect_err("a was overwritten");
    assert!(matches!(&found.0[..], [Violation::NotLinearizable { .. }]));
}

#[test]
fn a_search_that_grows_too_large_is_given_up_and_says_so() {
    // Each value twice: only the search is left.
    let writes: Vec<String> = (0..30).map(|n| format!("={}", n / 2)).collect();
    let mut plan: Vec<Plan<'_>> = writes.iter().map(|w| (w.as_str(), 1, Some(100))).collect();
    plan.extend([("?3", 101, Some(102)), ("?4", 103, Some(104))]);
    let found = check_within(&history(&plan), 1_000).expect_err("a million orders");
    assert_eq!(found.to_string(), "k: given up after 1001 configurations");
}

#[test]
fn values_that_are_written_once_are_judged_whatever_overlaps() {
    let writes: Vec<String> = (0..300).map(|n| format!("={n}")).collect();
    let ends = |n: usize| (!n.is_multiple_of(3)).then_some(5_000);
    let writes = (0..).zip(&writes);
    let mut plan: Vec<Plan<'_>> = writes.map(|(n, w)| (w.as_str(), 1, ends(n))).collect();
    plan.extend((0..100).map(|n| ("=-", 1, ends(n))));
    let reads: Vec<String> = (0..300).map(|n| format!("?{n}")).collect();
    for (at, read) in (1_000..).zip(&reads) {
        plan.push((read, 2 * at, Some(2 * at)));
        if at % 7 == 0 {
            plan.push(("?-", 2 * at + 1, Some(2 * at + 1)));
        }
    }
    assert_eq!(check_within(&history(&plan), 1_000), Ok(()));
    plan.push(("?5", 3_000, Some(3_001)));
    let found = check_within(&history(&plan), 1_000).expect_err("5 was overwritten");
    assert!(matches!(&found.0[..], [Violation::NotLinearizable { .. }]));
}

#[test]
fn deletes_are_used_up_by_the_reads_of_nothing_between_values() {
    let delete = ("=-", 1, None);
    let values = [("=a", 1, Some(90)), ("=b", 1, Some(90))];
    let reads = [
        ("?-", 10, Some(11)),
        ("?a", 20, Some(21)),
        ("?-", 30, Some(31)),
        ("?b", 40, Some(41)),
        ("?-", 50, Some(51)),
    ];
    let with = |deletes: usize| {
        let plan = [vec![delete; deletes], values.to_vec(), reads.to_vec()];
        is_linearizable(&plan.concat())
    };
    assert!(with(2));
    assert!(!with(1), "two values were deleted");
    // One delete has completed before the second value was begun, so it is of no use after it.
    let early = [("=-", 1, Some(2)), ("=b", 3, Some(90)), ("=a", 3, Some(90))];
    let early = |extra: &[Plan<'static>]| {
        let plan = [early.to_vec(), extra.to_vec(), reads.to_vec()];
        is_linearizable(&plan.concat())
    };
    assert!(!early(&[delete]));
    assert!(early(&[delete, delete]));
}

/// A small history of values that are written once: the reads return what somebody might have seen, so that
/// many are linearizable and many are not.
fn small_history(seed: u64) -> History {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut history, mut written) = (History::default(), vec![None]);
    for session in 0..rng.random_range(3..=12) {
        let invoked = rng.random_range(0..24);
        let longest = rng.random_range(1..=12);
        let length = rng.random_range(0..=longest);
        let completed = rng.random_bool(0.85).then_some(invoked + length);
        let version = None;
        let call = match rng.random_range(0..6) {
            0 => {
                let value = None;
                Call::Write { value, version }
            }
            1..3 => {
                let value = Some(Bytes::from(session.to_string()));
                written.push(value.clone());
                Call::Write { value, version }
            }
            _ => {
                let late = written.len() - rng.random_range(1..=written.len().min(3));
                let value = written[late].clone();
                Call::Read { value, version }
            }
        };
        history.push(Operation {
            session: SessionId(session),
            node: None,
            key: Bytes::from_static(b"k"),
            invoked,
            completed,
            call,
        });
    }
    history
}

#[test]
fn blocks_and_the_search_give_the_same_verdict_on_random_small_histories() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..12_000 {
        let history = small_history(seed);
        let operations: Vec<(OperationId, &Operation)> = history.operations().collect();
        if reads_from_nowhere(&operations).next().is_some() {
            continue;
        }
        let (steps, _) = steps(&operations);
        let judged = blocks::judge(&steps, usize::MAX).expect("no value is written twice");
        let searched = Search::new(&steps).run(usize::MAX);
        let moments: Vec<_> = history.operations().map(|(_, op)| op.to_string()).collect();
        assert_eq!(
            judged.is_ok(),
            searched.is_ok(),
            "seed {seed}: {moments:#?}, {judged:?}"
        );
        match searched {
            Ok(()) => good += 1,
            Err(_) => bad += 1,
        }
    }
    assert!(
        good > 2_000 && bad > 2_000,
        "{good} linearizable, {bad} not"
    );
}
