//! What every row of the table is put to.

use crdt::ReplicaId;
use crdt::laws::{
    Choice, History, LawViolation, Script, SmallScope, Subject, check_canonical, check_script,
    check_small_scope, reached_states,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quickcheck::{Gen, QuickCheck, TestResult};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};

/// Scripts for each type and each framework.
const SCRIPTS: u32 = 64;
/// Scripts of which the encodings are compared.
const ENCODED_SCRIPTS: u32 = 24;
/// Steps of one script.
const STEPS: usize = 32;

fn run<T: Debug>(
    cases: u32,
    strategy: &impl Strategy<Value = T>,
    check: impl Fn(T) -> Result<(), LawViolation>,
) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let check = |value| check(value).map_err(|e| TestCaseError::fail(e.to_string()));
    if let Err(error) = TestRunner::new(config).run(strategy, check) {
        panic!("{error}");
    }
}

pub(crate) fn by_proptest<S: Subject>() {
    run(SCRIPTS, &Script::strategy(0..=STEPS), |script| {
        check_script::<S>(&script)
    });
}

pub(crate) fn by_quickcheck<S: Subject + 'static>() {
    #[expect(clippy::needless_pass_by_value, reason = "quickcheck passes by value")]
    fn obeys<S: Subject>(script: Script) -> TestResult {
        match check_script::<S>(&script) {
            Ok(()) => TestResult::passed(),
            Err(violation) => TestResult::error(violation.to_string()),
        }
    }
    QuickCheck::new()
        .rng(Gen::new(STEPS))
        .tests(u64::from(SCRIPTS))
        .quickcheck(obeys::<S> as fn(Script) -> TestResult);
}

/// A subject to which everything comes as bytes and as text, and from which nothing goes that does not come back
/// as it went.
struct Encoded<S>(S);

thread_local! {
    /// The bytes of each state met so far, by type and hash.
    static MET: RefCell<BTreeMap<(&'static str, u64), Vec<u8>>> = RefCell::default();
}

/// The state, decoded. Equal states must have equal bytes, by whatever route they were reached.
fn decoded<S: Serialize + DeserializeOwned + Clone + PartialEq + Debug + Hash>(state: &S) -> S {
    let hash = {
        let mut hasher = DefaultHasher::new();
        state.hash(&mut hasher);
        hasher.finish()
    };
    let bytes = postcard(state);
    let met = MET.with_borrow_mut(|met| {
        let of_state = met.entry((std::any::type_name::<S>(), hash));
        let is_met = matches!(of_state, Entry::Occupied(_));
        assert_eq!(
            *of_state.or_insert_with(|| bytes.clone()),
            bytes,
            "{state:?}"
        );
        is_met
    });
    if !met {
        let of_text: S = serde_json::from_slice(&json(state)).expect("states come back");
        assert_eq!(of_text, *state);
    }
    let of_bytes: S = postcard::from_bytes(&bytes).expect("states come back");
    assert_eq!(of_bytes, *state);
    of_bytes
}

impl<S: Subject> Subject for Encoded<S>
where
    S::State: Serialize + DeserializeOwned,
{
    type State = S::State;
    type Op = S::Op;
    type Value = S::Value;

    const DIFFERENCE_IS_LEAST: bool = S::DIFFERENCE_IS_LEAST;

    fn new(replica: ReplicaId) -> Self {
        Self(S::new(replica))
    }

    fn state(&self) -> &S::State {
        self.0.state()
    }

    fn join(&mut self, other: &S::State) -> bool {
        self.0.join(&decoded(other))
    }

    fn op(choice: Choice) -> S::Op {
        S::op(choice)
    }

    fn apply(&mut self, op: &S::Op) -> S::State {
        let delta = self.0.apply(op);
        decoded(self.0.state());
        decoded(&delta)
    }

    fn value(state: &S::State) -> S::Value {
        S::value(state)
    }

    fn expected(history: &History<'_, S::Op>) -> S::Value {
        S::expected(history)
    }
}

/// Two changes on three replicas, and three on two, everything through both encodings.
pub(crate) fn in_small_scopes<S: Subject>(choices: &[(u8, u8)])
where
    S::State: Serialize + DeserializeOwned,
{
    let scope = SmallScope::of(choices.iter().copied());
    for scope in [scope.clone(), scope.with(2, 3)] {
        match check_small_scope::<Encoded<S>>(&scope) {
            Ok(states) => assert!(states > 200, "vacuous: {states} states"),
            Err(violation) => panic!("{violation}"),
        }
    }
}

fn postcard<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("states encode")
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("states encode")
}

pub(crate) fn canonical<S: Subject>()
where
    S::State: Serialize + DeserializeOwned,
{
    run(ENCODED_SCRIPTS, &Script::strategy(0..=STEPS), |script| {
        let states = reached_states::<S>(&script)?;
        for pair in states.windows(2) {
            let [a, b] = pair else { unreachable!() };
            check_canonical(a, b, postcard, |bytes| postcard::from_bytes(bytes).ok())?;
            check_canonical(a, b, json, |bytes| serde_json::from_slice(bytes).ok())?;
        }
        Ok(())
    });
}

/// How bytes are damaged.
#[derive(Debug, Clone)]
enum Damage {
    Set(usize, u8),
    Cut(usize),
    /// A number that is as large as it can be, where another one or a length was.
    Huge(usize),
    Repeat(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<usize>;
    prop_oneof![
        4 => (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        2 => (at(), 0_u8..4).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => at().prop_map(Damage::Cut),
        2 => at().prop_map(Damage::Huge),
        1 => at().prop_map(Damage::Repeat),
    ]
}

impl Damage {
    fn apply(&self, bytes: &mut Vec<u8>, huge: &[u8]) {
        let at = |at: &usize| at % bytes.len().max(1);
        match self {
            _ if bytes.is_empty() => bytes.extend_from_slice(huge),
            Self::Set(i, byte) => {
                let i = at(i);
                bytes[i] = *byte;
            }
            Self::Cut(i) => bytes.truncate(at(i)),
            Self::Huge(i) => {
                let i = at(i);
                bytes.splice(i..=i, huge.iter().copied());
            }
            Self::Repeat(i) => {
                let tail = bytes[at(i)..].to_vec();
                bytes.extend(tail);
            }
        }
    }
}

/// What still decodes is compared, joined and shown without a panic, and survives its own encoding.
pub(crate) fn hostile<S: Subject>()
where
    S::State: Serialize + DeserializeOwned,
{
    let damages = || prop::collection::vec(damage(), 1..4);
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    let scripts = Script::strategy(4..=STEPS);
    let inputs = (scripts, damages(), damages(), noise);
    run(SCRIPTS, &inputs, |(script, some, others, noise)| {
        let states = reached_states::<S>(&script)?;
        let mut decoded: Vec<S::State> = postcard::from_bytes(&noise).into_iter().collect();
        for state in states.iter().rev().step_by(3) {
            for damages in [&some, &others] {
                let (mut bytes, mut text) = (postcard(state), json(state));
                for damage in damages {
                    // The largest number of 64 bits, as postcard and as JSON write it.
                    damage.apply(&mut bytes, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
                    damage.apply(&mut text, b"18446744073709551615");
                }
                decoded.extend(postcard::from_bytes::<S::State>(&bytes));
                decoded.extend(serde_json::from_slice::<S::State>(&text));
            }
        }
        let known = states.last().expect("the states of all replicas");
        for pair in decoded.windows(2) {
            survive::<S>(&pair[0], known)?;
            survive::<S>(known, &pair[0])?;
            survive::<S>(&pair[0], &pair[1])?;
        }
        Ok(())
    });
}

fn survive<S: Subject>(a: &S::State, b: &S::State) -> Result<(), LawViolation>
where
    S::State: Serialize + DeserializeOwned,
{
    use crdt::{Difference as _, Lattice as _};
    check_canonical(a, b, postcard, |bytes| postcard::from_bytes(bytes).ok())?;
    check_canonical(a, b, json, |bytes| serde_json::from_slice(bytes).ok())?;
    // A hostile state may show anything; it must not take the reader down.
    let joined = a.clone().joined(b);
    let _ = (S::value(&joined), S::value(a), a.partial_cmp(b));
    let _ = (a.difference(b), joined.difference(a));
    Ok(())
}
