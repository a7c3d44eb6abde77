//! What stores that keep siblings must show.

use super::{Scenario, Step};
use Step::{AllHold, Arrives, Cut, CutOff, Heal, Holds, Put, Settle};

/// All scenarios of system D.
pub fn all() -> Vec<Scenario> {
    vec![
        concurrent_values(),
        events_of_other_keys(),
        a_late_value(),
        a_write_between(),
        a_write_of_some(),
        a_node_that_was_away(),
        more_nodes(),
    ]
}

/// D1, D2: what is written concurrently is kept; a write that has seen it replaces it.
fn concurrent_values() -> Scenario {
    Scenario {
        name: "concurrent values are kept until a write has seen them",
        nodes: 3,
        steps: vec![
            CutOff(1),
            CutOff(2),
            Put(1, "k", "a"),
            Put(2, "k", "b"),
            Holds(1, "k", vec!["a"]),
            Heal,
            Settle,
            AllHold("k", vec!["a", "b"]),
            AllHold("absent", vec![]),
            Put(3, "k", "c"),
            Holds(3, "k", vec!["c"]),
            Settle,
            AllHold("k", vec!["c"]),
        ],
    }
}

/// D1: that a node knows a later event of an author says nothing about an earlier one of another key.
fn events_of_other_keys() -> Scenario {
    Scenario {
        name: "a write does not replace what its author has not seen of the key",
        nodes: 3,
        steps: vec![
            CutOff(2),
            Put(2, "x", "theirs"),
            Heal,
            Put(2, "y", "y"),
            Arrives(1, "y", vec!["y"]),
            Holds(1, "x", vec![]),
            Put(1, "x", "mine"),
            Holds(1, "x", vec!["mine"]),
            Settle,
            AllHold("x", vec!["mine", "theirs"]),
            AllHold("y", vec!["y"]),
        ],
    }
}

/// D2, D4: a value that comes after the one that has replaced it is dropped, and so is a copy.
fn a_late_value() -> Scenario {
    Scenario {
        name: "a value that comes after its successor is dropped",
        nodes: 3,
        steps: vec![
            Cut(1, 2),
            Cut(3, 1),
            Put(1, "k", "old"),
            Arrives(3, "k", vec!["old"]),
            Holds(2, "k", vec![]),
            Put(3, "k", "new"),
            Arrives(2, "k", vec!["new"]),
            Holds(1, "k", vec!["old"]),
            Heal,
            Settle,
            AllHold("k", vec!["new"]),
            Settle,
            AllHold("k", vec!["new"]),
        ],
    }
}

/// D2: of several writes of one author each replaces those before it, whichever of them arrive.
fn a_write_between() -> Scenario {
    Scenario {
        name: "a write that nobody has heard of is replaced with those before it",
        nodes: 3,
        steps: vec![
            Put(1, "k", "1"),
            Arrives(2, "k", vec!["1"]),
            Arrives(3, "k", vec!["1"]),
            CutOff(1),
            Put(1, "k", "2"),
            Put(3, "k", "other"),
            Arrives(2, "k", vec!["other"]),
            Holds(1, "k", vec!["2"]),
            Put(1, "k", "3"),
            Heal,
            Settle,
            AllHold("k", vec!["3", "other"]),
        ],
    }
}

/// D2: a write replaces the siblings that its author has seen, and leaves the others.
fn a_write_of_some() -> Scenario {
    Scenario {
        name: "a write replaces some of the siblings",
        nodes: 4,
        steps: vec![
            CutOff(1),
            CutOff(2),
            CutOff(3),
            Put(1, "k", "a"),
            Put(2, "k", "b"),
            Put(3, "k", "c"),
            Heal,
            CutOff(3),
            Put(1, "k", "a2"),
            Arrives(4, "k", vec!["a2"]),
            Arrives(2, "k", vec!["a2", "b"]),
            Put(2, "k", "d"),
            Arrives(4, "k", vec!["d"]),
            Arrives(1, "k", vec!["d"]),
            Heal,
            Settle,
            AllHold("k", vec!["c", "d"]),
            Put(4, "k", "e"),
            Settle,
            AllHold("k", vec!["e"]),
        ],
    }
}

/// D4, D5: a node that has missed a part of everything ends with what all have.
fn a_node_that_was_away() -> Scenario {
    Scenario {
        name: "a node that was away ends with what all have",
        nodes: 3,
        steps: vec![
            Put(1, "a", "1"),
            Arrives(3, "a", vec!["1"]),
            Arrives(2, "a", vec!["1"]),
            CutOff(3),
            Put(1, "a", "2"),
            Put(2, "b", "3"),
            Arrives(1, "b", vec!["3"]),
            Put(1, "b", "4"),
            Put(3, "a", "away"),
            Put(3, "c", "alone"),
            Holds(3, "b", vec![]),
            Heal,
            Settle,
            AllHold("a", vec!["2", "away"]),
            AllHold("b", vec!["4"]),
            AllHold("c", vec!["alone"]),
        ],
    }
}

/// D4, D5: nothing ends at a few nodes.
fn more_nodes() -> Scenario {
    let all = ["a", "b", "c", "d", "e", "f", "g"];
    let mut steps: Vec<Step> = (1..=7).map(CutOff).collect();
    steps.extend((1..=7).zip(all).map(|(node, value)| Put(node, "k", value)));
    steps.extend([Heal, Settle, AllHold("k", all.to_vec())]);
    steps.extend([Put(7, "k", "one"), Settle, AllHold("k", vec!["one"])]);
    Scenario {
        name: "seven nodes write at once",
        nodes: 7,
        steps,
    }
}
