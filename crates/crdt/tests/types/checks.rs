//! What every row of the table is put to.

use crdt::laws::{
    LawViolation, Script, SmallScope, Subject, check_canonical, check_script, check_small_scope,
    reached_states,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use quickcheck::{Gen, QuickCheck, TestResult};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Scripts for each type and each framework.
const SCRIPTS: u32 = 64;
/// Scripts of which the encodings are compared.
const ENCODED_SCRIPTS: u32 = 24;
/// Steps of one script.
const STEPS: usize = 32;

fn run<T: std::fmt::Debug>(
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

/// Two changes on three replicas, and three on two.
pub(crate) fn in_small_scopes<S: Subject>(choices: &[(u8, u8)]) {
    let scope = SmallScope::of(choices.iter().copied());
    for scope in [scope.clone(), scope.with(2, 3)] {
        match check_small_scope::<S>(&scope) {
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
