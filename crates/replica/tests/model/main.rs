//! The protocol under a model checker: every order in which messages arrive, are lost or arrive twice,
//! with a node that loses its data, or starts again with its disk, at any moment, for a few operations on
//! one key of three nodes.
//!
//! The model runs the code of the store, not a copy of its ideas. What it leaves out is time: nothing
//! is sent again and nothing times out, which is what losing or repeating a message stands for. A
//! recovery and an exchange of what two nodes know are one step each, undisturbed; the simulator
//! interleaves these.
//!
//! Small models are searched to their end, shortest runs first. The others are searched in part: once in
//! depth, and once along random runs from a fixed seed. `REPLICA_MODEL_STATES` sets how large a part.

mod nodes;
mod world;

use nodes::{Call, Consistency, Operation};
use stateright::{Checker, Expectation, Model as _, UniformChooser};
use std::collections::BTreeSet;
use world::{Budget, Scenario, World, Wrong};

/// States of each search in part, unless the environment says otherwise.
const STATES: usize = 30_000;

/// More states than a small model has.
const SMALL: usize = 400_000;

/// The seed of the random runs.
const SEED: u64 = 1;

const fn get(node: usize, level: Consistency) -> Operation {
    let call = Call::Get;
    Operation { node, call, level }
}

const fn put(node: usize, value: char, level: Consistency) -> Operation {
    let call = Call::Put(value);
    Operation { node, call, level }
}

const fn delete(node: usize, level: Consistency) -> Operation {
    let call = Call::Delete;
    Operation { node, call, level }
}

#[expect(clippy::disallowed_methods, reason = "a bound for longer runs")]
fn bound() -> usize {
    let given = std::env::var("REPLICA_MODEL_STATES").ok();
    given.map_or(STATES, |states| states.parse().expect("a number of states"))
}

/// A search to the end finds no promise broken.
fn always_holds(scenario: Scenario) {
    let model = World::new(scenario).checker();
    let checked = model.target_state_count(SMALL).spawn_bfs().join();
    must_be_reached(checked.model(), &must_hold(&checked));
    assert!(checked.state_count() < SMALL, "not searched to its end");
}

/// No promise is broken in the part of the model that is searched.
fn holds(scenario: &Scenario) {
    let model = || {
        let world = World::new(scenario.clone());
        world.checker().target_state_count(bound())
    };
    let in_depth = must_hold(&model().spawn_dfs().join());
    let at_random = must_hold(&model().spawn_simulation(SEED, UniformChooser).join());
    must_be_reached(&World::new(scenario.clone()), &(&in_depth | &at_random));
}

/// The names of what must be reached.
fn aims(model: &World) -> impl Iterator<Item = &'static str> + use<> {
    let properties = model.properties().into_iter();
    let aims = properties.filter(|p| p.expectation == Expectation::Sometimes);
    aims.map(|property| property.name)
}

/// The search was not vacuous.
fn must_be_reached(model: &World, reached: &BTreeSet<&'static str>) {
    for aim in aims(model) {
        assert!(reached.contains(aim), "vacuous, never: {aim}");
    }
}

/// Nothing was found that must not be; returns what was reached.
fn must_hold(checked: &impl Checker<World>) -> BTreeSet<&'static str> {
    let (mut found, model) = (checked.discoveries(), checked.model());
    let aims = aims(model);
    let reached = aims.filter(|aim| found.remove(aim).is_some()).collect();
    if let Some((name, path)) = found.into_iter().next() {
        let last = path.last_state().clone();
        let (wrong, settled) = (last.wrong, model.settled(&last));
        let actions = path.into_actions();
        let actions: Vec<String> = actions.iter().map(|a| model.format_action(a)).collect();
        let run = actions.join("\n");
        panic!("not so: {name}. {wrong:?}; in the end all show {settled:?}; the run:\n{run}");
    }
    reached
}

#[test]
fn a_linearizable_read_beside_a_write() {
    let level = Consistency::Linearizable;
    always_holds(Scenario {
        nodes: 3,
        clients: vec![vec![put(0, 'x', level)], vec![get(2, level)]],
        linearizable: true,
        ..Scenario::default()
    });
}

#[test]
fn linearizable_reads_beside_a_write() {
    let level = Consistency::Linearizable;
    holds(&Scenario {
        nodes: 3,
        clients: vec![vec![put(0, 'x', level)], vec![get(0, level), get(2, level)]],
        linearizable: true,
        budget: Budget {
            copies: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn linearizable_operations_while_a_node_loses_its_data() {
    let level = Consistency::Linearizable;
    holds(&Scenario {
        nodes: 3,
        clients: vec![
            vec![put(0, 'x', level), get(1, level)],
            vec![put(2, 'y', level), delete(1, level)],
        ],
        linearizable: true,
        budget: Budget {
            copies: 1,
            crashes: 1,
            exchanges: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn linearizable_operations_of_five_nodes() {
    let level = Consistency::Linearizable;
    holds(&Scenario {
        nodes: 5,
        clients: vec![vec![put(2, 'x', level)], vec![get(0, level), get(1, level)]],
        linearizable: true,
        budget: Budget {
            crashes: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

/// The negative control: what is searched is enough to break a promise that is not made.
#[test]
fn reads_at_level_quorum_are_refuted_as_linearizable() {
    let level = Consistency::Quorum;
    let model = World::new(Scenario {
        nodes: 3,
        clients: vec![vec![put(0, 'x', level)], vec![get(0, level), get(2, level)]],
        linearizable: true,
        ..Scenario::default()
    });
    let model = model.checker().target_state_count(SMALL);
    let refuted = model.spawn_bfs().join().discovery("no promise is broken");
    let wrong = refuted.and_then(|path| path.last_state().wrong);
    assert_eq!(wrong, Some(Wrong::NotLinearizable));
}

#[test]
fn a_session_reads_what_it_has_written() {
    let level = Consistency::One;
    always_holds(Scenario {
        nodes: 3,
        clients: vec![
            vec![put(0, 'x', level), get(1, level)],
            vec![put(1, 'y', level)],
        ],
        sessions: true,
        ..Scenario::default()
    });
}

#[test]
fn sessions_never_go_back() {
    let level = Consistency::One;
    holds(&Scenario {
        nodes: 3,
        clients: vec![
            vec![
                put(0, 'x', level),
                get(1, level),
                put(2, 'z', level),
                get(0, level),
            ],
            vec![put(1, 'y', level), get(2, level), get(1, level)],
        ],
        sessions: true,
        budget: Budget {
            copies: 1,
            exchanges: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn sessions_while_a_node_loses_its_data() {
    let level = Consistency::One;
    holds(&Scenario {
        nodes: 3,
        clients: vec![
            vec![put(0, 'x', level), get(1, level), put(1, 'z', level)],
            vec![put(1, 'y', level), get(2, level), get(0, level)],
        ],
        sessions: true,
        budget: Budget {
            crashes: 1,
            exchanges: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn a_session_goes_on_at_a_node_that_starts_again_with_its_disk() {
    let level = Consistency::One;
    always_holds(Scenario {
        nodes: 3,
        clients: vec![vec![put(0, 'x', level), get(0, level), put(0, 'y', level)]],
        sessions: true,
        budget: Budget {
            restarts: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn sessions_while_a_node_starts_again_with_its_disk() {
    let level = Consistency::One;
    holds(&Scenario {
        nodes: 3,
        clients: vec![
            vec![put(0, 'x', level), get(1, level), put(1, 'z', level)],
            vec![put(1, 'y', level), get(2, level), get(0, level)],
        ],
        sessions: true,
        budget: Budget {
            restarts: 1,
            exchanges: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn linearizable_operations_while_a_node_starts_again_with_its_disk() {
    let level = Consistency::Linearizable;
    holds(&Scenario {
        nodes: 3,
        clients: vec![
            vec![put(0, 'x', level), get(1, level)],
            vec![put(2, 'y', level), get(0, level)],
        ],
        linearizable: true,
        budget: Budget {
            restarts: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

/// A value is written and deleted, and tombstones are forgotten, while one thing more happens.
fn deletes_and_purges(budget: Budget) -> Scenario {
    let level = Consistency::Quorum;
    Scenario {
        nodes: 3,
        clients: vec![
            vec![put(1, 'v', level), delete(0, level)],
            vec![get(2, level), get(1, level)],
        ],
        deletes_for_good: true,
        budget: Budget {
            exchanges: 3,
            purges: 2,
            ..budget
        },
        ..Scenario::default()
    }
}

#[test]
fn a_deleted_value_does_not_come_back_after_a_purge() {
    holds(&deletes_and_purges(Budget {
        copies: 1,
        crashes: 1,
        ..Budget::default()
    }));
}

/// What the deleted value was written with may still be on its way to the node that deletes it: nobody has promised
/// anything, so nobody may forget the tombstone.
#[test]
fn a_late_value_does_not_come_back_after_a_purge() {
    let level = Consistency::Quorum;
    holds(&Scenario {
        nodes: 3,
        clients: vec![vec![
            put(1, 'v', level),
            delete(0, level),
            get(0, Consistency::One),
        ]],
        deletes_for_good: true,
        budget: Budget {
            purges: 1,
            ..Budget::default()
        },
        ..Scenario::default()
    });
}

#[test]
fn a_purge_holds_when_a_node_starts_again_with_its_disk() {
    holds(&deletes_and_purges(Budget {
        restarts: 1,
        ..Budget::default()
    }));
}
