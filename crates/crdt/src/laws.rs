//! The laws as functions, and the harness that puts a type to them.
//!
//! Each check returns the law that does not hold, with the states that show it.

mod history;
mod run;
mod script;
mod small_scope;
mod subject;

pub use history::{Event, History};
pub use run::{check_script, reached_states};
pub use script::{Script, Step};
pub use small_scope::{SmallScope, check_small_scope};
pub use subject::{Choice, Subject};

use std::cmp::Ordering;
use std::fmt::{self, Debug};

use crate::{Difference, Lattice};

/// A law that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LawViolation {
    /// The law.
    pub law: &'static str,
    /// The states that show it.
    pub states: String,
    /// The script that reached them, up to the step that shows it, if a script did.
    pub script: Option<Script>,
}

impl LawViolation {
    /// The same violation, found behind the first `steps` steps of a script.
    fn in_script(mut self, script: &Script, steps: usize) -> Self {
        let steps = script.steps.iter().take(steps).copied();
        self.script = Some(Script::new(script.replicas, steps));
        self
    }
}

impl fmt::Display for LawViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.law, self.states)?;
        match &self.script {
            Some(script) => write!(f, "\nin {script}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for LawViolation {}

fn check(holds: bool, law: &'static str, states: &[&dyn Debug]) -> Result<(), LawViolation> {
    if holds {
        return Ok(());
    }
    Err(LawViolation {
        law,
        states: format!("{states:#?}"),
        script: None,
    })
}

fn join<L: Lattice>(a: &L, b: &L) -> L {
    a.clone().joined(b)
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

/// Checks an encoding on two states: each comes back as it went, encodes to the same bytes again, and
/// equal states have equal bytes. Call it on pairs that are equal by different routes, such as the last of
/// [`reached_states`].
///
/// # Errors
/// The first law that does not hold.
///
/// ```
/// use crdt::{laws, Dot, CausalContext, ReplicaId};
///
/// let dots = [1, 2, 3].map(|counter| Dot::new(ReplicaId(7), counter));
/// let forwards: CausalContext = dots.into_iter().collect();
/// let backwards: CausalContext = dots.into_iter().rev().collect();
/// laws::check_canonical(
///     &forwards,
///     &backwards,
///     |context| serde_json::to_vec(context).expect("contexts encode"),
///     |bytes| serde_json::from_slice(bytes).ok(),
/// )?;
/// # Ok::<(), laws::LawViolation>(())
/// ```
pub fn check_canonical<T: PartialEq + Debug>(
    a: &T,
    b: &T,
    encode: impl Fn(&T) -> Vec<u8>,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> Result<(), LawViolation> {
    let bytes = [a, b].map(&encode);
    for (state, bytes) in [a, b].into_iter().zip(&bytes) {
        let decoded = decode(bytes);
        let law = "a state comes back as it went";
        check(decoded.as_ref() == Some(state), law, &[state, &decoded])?;
        let law = "a state that came back has the same bytes";
        let again = decoded.as_ref().map(&encode);
        check(again.as_ref() == Some(bytes), law, &[state, &bytes, &again])?;
    }
    let law = "equal states have equal bytes";
    check((a == b) == (bytes[0] == bytes[1]), law, &[a, b, &bytes])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalContext, Dot, ReplicaId};

    /// A context that its replica adds dots to; `DEAF` ones never show what others did.
    struct Seen<const DEAF: bool>(ReplicaId, CausalContext);

    impl<const DEAF: bool> Subject for Seen<DEAF> {
        type State = CausalContext;
        type Op = ();
        type Value = Vec<Dot>;

        fn new(replica: ReplicaId) -> Self {
            Self(replica, CausalContext::default())
        }

        fn state(&self) -> &CausalContext {
            &self.1
        }

        fn join(&mut self, other: &CausalContext) -> bool {
            self.1.join(other)
        }

        fn op(_: Choice) {}

        fn apply(&mut self, (): &()) -> CausalContext {
            let dot = Dot::new(self.0, self.1.last_counter(self.0) + 1);
            self.1.insert(dot);
            [dot].into_iter().collect()
        }

        fn value(state: &CausalContext) -> Vec<Dot> {
            state.dots().collect()
        }

        fn expected(history: &History<'_, ()>) -> Vec<Dot> {
            let events = history.survivors(|(), _| DEAF);
            let mut dots: Vec<Dot> = events.map(|event| event.dot).collect();
            dots.sort_unstable();
            dots
        }
    }

    #[test]
    fn a_small_scope_visits_every_crossing_of_deltas_and_states() {
        let scope = SmallScope::of([(0, 0)]);
        // The start; and one change, by any of three replicas, that has or has not reached each of the others.
        assert_eq!(
            check_small_scope::<Seen<false>>(&scope.clone().with(3, 1)),
            Ok(13)
        );
        let states = check_small_scope::<Seen<false>>(&scope).expect("contexts obey");
        assert!(states > 100, "{states}");
    }

    #[test]
    fn a_violation_carries_the_shortest_script_that_shows_it() {
        let violation = check_small_scope::<Seen<true>>(&SmallScope::of([(0, 0)]));
        let violation = violation.expect_err("the second change undoes the first");
        assert_eq!(violation.law, "a replica shows what its history specifies");
        let script = violation.script.expect("a script found it");
        let steps = [Step::change(0, 0, 0), Step::change(0, 0, 0)];
        assert_eq!(script, Script::new(3, steps));
        assert!(check_script::<Seen<true>>(&script).is_err());
        assert_eq!(check_script::<Seen<false>>(&script), Ok(()));
    }

    #[test]
    fn values_are_compared_only_where_nothing_overtook() {
        let [first, second] = [Step::change(0, 0, 0); 2];
        let overtaken = [first, second, Step::deliver(1, 1)];
        let states = reached_states::<Seen<false>>(&Script::new(3, overtaken)).expect("lawful");
        assert_eq!(states[3].to_string(), "<1:0+2>");
        assert_eq!(
            check_script::<Seen<false>>(&Script::new(3, overtaken)),
            Ok(())
        );
    }
}
