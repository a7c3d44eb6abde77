//! The laws as functions, to be run on states that were reached by operations.
//!
//! Each check returns the law that does not hold, with the states that show it.

use std::cmp::Ordering;
use std::fmt::Debug;

use crate::{Difference, Lattice};

/// A law that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{law} does not hold: {states}")]
pub struct LawViolation {
    /// The law.
    pub law: &'static str,
    /// The states that show it.
    pub states: String,
}

fn check(holds: bool, law: &'static str, states: &[&dyn Debug]) -> Result<(), LawViolation> {
    if holds {
        return Ok(());
    }
    Err(LawViolation {
        law,
        states: format!("{states:#?}"),
    })
}

/// Checks that join is idempotent, commutative and associative, that it says truly whether it grew,
/// that it is the least upper bound of the order, and that `Default` is bottom.
///
/// # Errors
/// The first law that does not hold.
///
/// ```
/// use crdt::{laws, ReplicaId, VersionVector};
///
/// let [a, b, c]: [VersionVector; 3] =
///     [1, 2, 3].map(|n| [(ReplicaId(n), n)].into_iter().collect());
/// laws::check_lattice(&a, &b, &c)?;
/// # Ok::<(), laws::LawViolation>(())
/// ```
pub fn check_lattice<L: Lattice>(a: &L, b: &L, c: &L) -> Result<(), LawViolation> {
    let join = |x: &L, y: &L| x.clone().joined(y);
    let mut ab = a.clone();
    let grew = ab.join(b);
    check(join(a, a) == *a, "idempotence", &[a])?;
    check(ab == join(b, a), "commutativity", &[a, b])?;
    check(
        join(&ab, c) == join(a, &join(b, c)),
        "associativity",
        &[a, b, c],
    )?;
    check(grew == (ab != *a), "join says whether it grew", &[a, b])?;
    check(*a <= ab && *b <= ab, "join is an upper bound", &[a, b, &ab])?;
    check((a <= b) == (ab == *b), "order agrees with join", &[a, b])?;
    check(
        (a == b) == (a.partial_cmp(b) == Some(Ordering::Equal)),
        "order agrees with equality",
        &[a, b],
    )?;
    check(
        L::default() <= *a && join(&L::default(), a) == *a,
        "default is bottom",
        &[a],
    )
}

/// Checks that `after`, made from `before` by a mutator, is not smaller, and that joining the mutator's
/// `delta` into `before` gives the same.
///
/// # Errors
/// The first law that does not hold.
pub fn check_delta<L: Lattice>(before: &L, after: &L, delta: &L) -> Result<(), LawViolation> {
    check(before <= after, "mutators inflate", &[before, after])?;
    check(
        before.clone().joined(delta) == *after,
        "delta equals full state",
        &[before, delta, after],
    )
}

/// Checks that `a.difference(b)` is the optimal delta: it brings `b` to the join of both, is not above
/// `a`, is bottom exactly when `b` lacks nothing, and has no part that `b` already has.
///
/// # Errors
/// The first law that does not hold.
///
/// ```
/// use crdt::{laws, ReplicaId, VersionVector};
///
/// let [a, b]: [VersionVector; 2] = [1, 2].map(|n| [(ReplicaId(n), n)].into_iter().collect());
/// laws::check_difference(&a, &b)?;
/// # Ok::<(), laws::LawViolation>(())
/// ```
pub fn check_difference<L: Difference>(a: &L, b: &L) -> Result<(), LawViolation> {
    let delta = a.difference(b);
    let mut joined = b.clone();
    let news = joined.join_news(a);
    check(
        b.clone().joined(&delta) == b.clone().joined(a),
        "the difference brings what was missing",
        &[a, b, &delta],
    )?;
    check(delta <= *a, "the difference is a part", &[a, b, &delta])?;
    check(
        (delta == L::default()) == (a <= b),
        "nothing missing, nothing sent",
        &[a, b, &delta],
    )?;
    check(
        delta.difference(b) == delta,
        "the difference is minimal",
        &[a, b, &delta],
    )?;
    check(
        news == delta && joined == b.clone().joined(a),
        "joining returns the news",
        &[a, b, &news],
    )
}

/// The order of two states of which it is known whether each includes the other.
pub(crate) const fn order_of_inclusion(a_below_b: bool, b_below_a: bool) -> Option<Ordering> {
    match (a_below_b, b_below_a) {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => None,
    }
}

/// The order of two states of which the orders of two parts are known.
pub(crate) fn product_order(first: Ordering, second: Ordering) -> Option<Ordering> {
    match (first, second) {
        (Ordering::Equal, order) | (order, Ordering::Equal) => Some(order),
        (first, second) => (first == second).then_some(first),
    }
}
