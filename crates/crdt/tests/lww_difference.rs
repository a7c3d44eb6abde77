//! What a difference of last-writer-wins cells names: no dot that could be left out, though no least
//! difference exists; and why what wins is never removed.

use crdt::{
    Causal, CausalContext, Difference, DotRange, DotSet, DotStore, Lattice, LwwCell, MvCell, OrMap,
};
use serde_json::{Value, json};

type Object = Causal<LwwCell<u8>>;

/// One event of each of four writers, in the order in which they win: the last wins over all.
const WRITERS: [u64; 4] = [1, 2, 3, 4];

fn entry(writer: u64) -> Value {
    json!({"dot": {"replica": writer, "counter": 1}, "timestamp": writer, "value": 7})
}

fn context(writers: &[u64]) -> Value {
    writers.iter().map(|writer| json!([writer, [1]])).collect()
}

fn object(live: Option<u64>, seen: &[u64]) -> Object {
    let state = json!({"store": live.map(entry), "context": context(seen)});
    serde_json::from_value(state).expect("a live event is known")
}

/// All states over the events of these writers, also those that no history leads to.
fn all(writers: &[u64]) -> Vec<Object> {
    let mut states = Vec::new();
    for chosen in 0_u32..(1 << writers.len()) {
        let bits = writers.iter().enumerate();
        let seen: Vec<u64> = bits
            .filter(|(bit, _)| chosen & (1 << bit) != 0)
            .map(|(_, writer)| *writer)
            .collect();
        states.push(object(None, &seen));
        states.extend(seen.iter().map(|live| object(Some(*live), &seen)));
    }
    states
}

fn without(delta: &Object, left_out: DotRange) -> Object {
    let left_out: CausalContext = [left_out].into_iter().collect();
    let (store, context) = (delta.store(), delta.context().difference(&left_out));
    serde_json::from_value(json!({"store": store, "context": context})).expect("a delta")
}

#[test]
fn a_difference_names_no_dot_that_could_be_left_out() {
    let states = all(&WRITERS);
    assert_eq!(states.len(), 48);
    for (a, b) in states
        .iter()
        .flat_map(|a| states.iter().map(move |b| (a, b)))
    {
        let (difference, both) = (a.difference(b), a.clone().joined(b));
        assert_eq!(b.clone().joined(&difference), both, "{a:?} {b:?}");
        assert_eq!(
            difference.clone().joined(a),
            *a,
            "{a:?} {b:?} {difference:?}"
        );
        let live: CausalContext = difference.digest().live().clone();
        for dot in difference.context().difference(&live).ranges() {
            let less = without(&difference, dot);
            assert_ne!(b.clone().joined(&less), both, "{a:?} {b:?} {difference:?}");
        }
    }
}

#[test]
fn the_loser_is_not_named_where_the_winner_is_sent() {
    let (a, b) = (object(Some(2), &[1, 2]), object(Some(1), &[1]));
    assert_eq!(a.difference(&b), object(Some(2), &[2]));
    // From the digest alone nobody can tell whether the winner wins over what the peer holds.
    assert_eq!(a.delta_since(&b.digest()), a);
    // It loses: then the event that it replaced must be named.
    let (a, b) = (object(Some(1), &[1, 2]), object(Some(2), &[2]));
    assert_eq!(a.difference(&b), a);
    assert_eq!(b.joined(&a.difference(&object(Some(2), &[2]))), a);
}

#[test]
fn the_loser_is_not_named_inside_a_map_either() {
    type Map = Causal<OrMap<char, LwwCell<u8>>>;
    let map = |cells: Value, seen: &[u64]| -> Map {
        let state = json!({"store": cells, "context": context(seen)});
        serde_json::from_value(state).expect("live events are known")
    };
    let a = map(json!([['k', entry(2)], ['l', entry(3)]]), &[1, 2, 3, 4]);
    let b = map(json!([['k', entry(1)], ['m', entry(4)]]), &[1, 4]);
    // The event under `m` was removed: nothing that is sent wins over it.
    let difference = map(json!([['k', entry(2)], ['l', entry(3)]]), &[2, 3, 4]);
    assert_eq!(a.difference(&b), difference);
    assert_eq!(b.clone().joined(&difference), b.joined(&a));
}

#[test]
fn the_loser_is_not_named_in_either_part_of_a_record() {
    type Record = Causal<(LwwCell<u8>, LwwCell<u8>)>;
    let record = |parts: [Option<u64>; 2], seen: &[u64]| -> Record {
        let state = json!({"store": parts.map(|live| live.map(entry)), "context": context(seen)});
        serde_json::from_value(state).expect("live events are known")
    };
    let a = record([Some(2), Some(4)], &[1, 2, 3, 4]);
    let b = record([Some(1), Some(3)], &[1, 3]);
    assert_eq!(a.difference(&b), record([Some(2), Some(4)], &[2, 4]));
}

/// The counterexample: one state knows of two lost events, the other of neither. The difference is minimal
/// among all that can be made of what is left, two states with a forgotten content are smaller, and
/// nothing below both will do.
#[test]
fn no_least_difference_exists() {
    let (a, b) = (object(Some(3), &[1, 2, 3]), object(Some(3), &[3]));
    let both = a.clone().joined(&b);
    let difference = a.difference(&b);
    assert_eq!(difference, object(None, &[1, 2]));
    let (first, second) = (object(Some(1), &[1, 2]), object(Some(2), &[1, 2]));
    for smaller in [&first, &second] {
        assert!(*smaller < difference);
        assert_eq!(b.clone().joined(smaller), both);
    }
    assert_eq!(first.partial_cmp(&second), None);
    let mut below = 0;
    for state in all(&[1, 2, 3]) {
        if state <= first && state <= second {
            below += 1;
            assert_ne!(
                b.clone().joined(&state),
                both,
                "{state:?} would be the least"
            );
        }
    }
    assert!(below > 1, "there are states below both");
}

/// The counterexample that forbids removals: a write, a greater one, and the removal of the greater alone, made
/// by somebody who had not heard of the other. Whoever hears of the two writes first has forgotten the
/// beaten one; who hears of it last shows it.
#[test]
fn a_winner_that_is_removed_would_show_what_it_had_beaten_on_some_replicas_only() {
    let (beaten, winner) = (object(Some(1), &[1]), object(Some(2), &[2]));
    let removal = object(None, &[2]);
    let early = beaten.clone().joined(&winner).joined(&removal);
    let late = winner.joined(&removal).joined(&beaten);
    assert_eq!(early, object(None, &[1, 2]));
    assert_eq!(late, object(Some(1), &[1, 2]));
    const { assert!(<LwwCell<u8> as DotStore>::FORGETS_LOSERS) };
    const { assert!(<OrMap<u8, OrMap<u8, LwwCell<u8>>> as DotStore>::FORGETS_LOSERS) };
    const { assert!(<(LwwCell<u8>, MvCell<u8>) as DotStore>::FORGETS_LOSERS) };
    const { assert!(<(MvCell<u8>, LwwCell<u8>) as DotStore>::FORGETS_LOSERS) };
    const { assert!(!<OrMap<u8, (MvCell<u8>, DotSet)> as DotStore>::FORGETS_LOSERS) };
}
