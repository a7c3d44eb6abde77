//! The laws of section 3.6 for every type that carries no dots, on states that runs of operations on
//! several replicas have reached; and what travels of them.

use crdt::laws::{check_delta, check_lattice, check_least_difference};
use crdt::{Difference, Lattice, ReplicaId};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::{Debug, Display};

mod counters;
mod lattices;
mod registers;
mod timed;
mod two_phase;

const REPLICAS: usize = 3;

/// One step of a run: which replica, what it does, and two arguments.
type Step = [u8; 4];

/// A delta mutator of a type: of a state, by a replica, with two arguments.
type Mutate<L> = fn(&mut L, ReplicaId, u8, u8) -> L;

/// What a run reached: every state on the way, and every delta.
struct Run<L> {
    replicas: Vec<L>,
    states: Vec<L>,
    deltas: Vec<L>,
}

fn run<L: Lattice>(script: &[Step], mutate: Mutate<L>) -> Result<Run<L>, TestCaseError> {
    let mut run = Run {
        replicas: vec![L::default(); REPLICAS],
        states: vec![L::default()],
        deltas: Vec::new(),
    };
    for &[at, action, a, b] in script {
        let at = usize::from(at) % REPLICAS;
        let before = run.replicas[at].clone();
        match action % 8 {
            0 | 1 => {
                let other = run.replicas[usize::from(a) % REPLICAS].clone();
                run.replicas[at].join(&other);
            }
            2 if !run.deltas.is_empty() => {
                let delta = run.deltas[usize::from(a) % run.deltas.len()].clone();
                run.replicas[at].join(&delta);
            }
            _ => {
                let delta = mutate(&mut run.replicas[at], ReplicaId(at as u64), a, b);
                lawful(check_delta(&before, &run.replicas[at], &delta))?;
                run.deltas.push(delta);
            }
        }
        run.states.push(run.replicas[at].clone());
    }
    Ok(run)
}

fn lawful(result: Result<(), crdt::laws::LawViolation>) -> Result<(), TestCaseError> {
    result.map_err(|violation| TestCaseError::fail(violation.to_string()))
}

/// Every law, on states, deltas and differences of one run.
fn obeys<L>(script: &[Step], picks: &[[usize; 3]], mutate: Mutate<L>) -> Result<(), TestCaseError>
where
    L: Difference + Serialize + DeserializeOwned + std::hash::Hash + Display + Send + Sync,
{
    let Run {
        replicas,
        mut states,
        deltas,
    } = run(script, mutate)?;
    states.extend(deltas.iter().cloned());
    for pick in picks {
        let [a, b, c] = pick.map(|i| states[i % states.len()].clone());
        lawful(check_lattice(&a, &b, &c))?;
        lawful(check_least_difference(&a, &b))?;
        states.push(a.difference(&b));
    }
    // The deltas alone, backwards and twice, bring a fresh replica to what all replicas know.
    let all = replicas
        .iter()
        .fold(L::default(), |all, one| all.joined(one));
    let twice = deltas.iter().rev().chain(&deltas);
    let by_deltas = twice.fold(L::default(), |all, one| all.joined(one));
    prop_assert_eq!(&by_deltas, &all);
    prop_assert_eq!(bytes(&by_deltas), bytes(&all), "equal states, equal bytes");
    states.iter().try_for_each(round_trip)
}

fn bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("values encode")
}

fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    value: &T,
) -> Result<(), TestCaseError> {
    let decoded: T = postcard::from_bytes(&bytes(value)).expect("bytes decode");
    prop_assert_eq!(&decoded, value, "postcard");
    let json = serde_json::to_string(value).expect("values encode");
    let decoded: T = serde_json::from_str(&json).expect(&json);
    prop_assert_eq!(&decoded, value, "JSON: {}", json);
    Ok(())
}

fn script() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<Step>(), 1..40)
}

fn picks() -> impl Strategy<Value = Vec<[usize; 3]>> {
    prop::collection::vec(any::<[usize; 3]>(), 24)
}

/// Bytes that decode stand for a state: it can be joined, and comes back as it went.
fn harmless<L: Lattice + Serialize + DeserializeOwned>(input: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(state) = postcard::from_bytes::<L>(input) {
        round_trip(&state)?;
        lawful(check_lattice(&state, &L::default(), &state))?;
    }
    Ok(())
}
