//! Nodes that are real processes, each in a network of its own, under load from real clients while faults strike.
//!
//! What clients saw is recorded and judged by the checkers of `replica`: registers are linearizable, sessions
//! keep their guarantees, siblings neither vanish nor come back. Beside that, no acknowledged write is lost,
//! nothing that was deleted comes back, increments and members are all there, and after quiet all nodes are
//! equal. On every commit a slice of this runs: kills, restarts, a scenario, partitioned keys, tokens, garbage of a peer. `tests/faults`
//! runs the rest, and as much of it as it is told. A seed is printed with
//! the command that draws the same faults again; what the machine does between them differs from run to run.

mod bites;
mod causal;
mod cluster;
mod crowd;
mod faults;
mod history;
mod ledger;
mod liar;
mod load;
mod raw;
mod rounds;
mod scenarios;
mod talk;
mod world;

use cluster::Plan;
use faults::Fault;
use load::Work;
use rounds::play;
use scenarios::{play_on_processes, play_with_timestamps};
use system_tests::scenarios as data;
use world::isolated;

#[test]
fn kills() {
    isolated("kills", || {
        play("kills", Plan::default(), Work::ByTime, &[Fault::Kill], 3);
    });
}

/// Nodes that know each other by certificates.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn kills_with_tls() {
    isolated("kills_with_tls", || {
        let plan = Plan {
            has_tls: true,
            ..Plan::default()
        };
        let faults = &[Fault::Kill, Fault::Isolate];
        play("kills_with_tls", plan, Work::ByTime, faults, 2);
    });
}

/// What a killed node has not synced is lost there, and nowhere else.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn kills_between_syncs() {
    isolated("kills_between_syncs", || {
        let plan = Plan {
            storage: "reserve_bytes = 0\nsync = \"interval\"".into(),
            ..Plan::default()
        };
        let faults = &[Fault::Kill];
        play("kills_between_syncs", plan, Work::ByTime, faults, 3);
    });
}

/// Three of five nodes hold a key, so that the others forward.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn kills_among_five() {
    isolated("kills_among_five", || {
        let plan = Plan {
            nodes: 5,
            owners: Some(3),
            ..Plan::default()
        };
        let faults = &[Fault::Kill, Fault::Isolate, Fault::WipeAll];
        play("kills_among_five", plan, Work::ByTime, faults, 3);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn networks() {
    const FAULTS: &[Fault] = &[
        Fault::Isolate,
        Fault::CutOneWay,
        Fault::Cut,
        Fault::Lose,
        Fault::Slow,
    ];
    isolated("networks", || {
        play("networks", Plan::default(), Work::ByTime, FAULTS, 3);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn processes() {
    const FAULTS: &[Fault] = &[Fault::Pause, Fault::Stop, Fault::WipeAll];
    isolated("processes", || {
        play("processes", Plan::default(), Work::ByTime, FAULTS, 3);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn stores() {
    const FAULTS: &[Fault] = &[Fault::Flip, Fault::Tear, Fault::Wipe];
    isolated("stores", || {
        play("stores", Plan::default(), Work::ByTime, FAULTS, 3);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn disks() {
    isolated("disks", || {
        let plan = Plan {
            disk_mib: Some(48),
            ..Plan::default()
        };
        play("disks", plan, Work::ByTime, &[Fault::Fill], 2);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn a_disk_that_is_nearly_full_refuses_writes_and_serves_reads() {
    isolated(
        "a_disk_that_is_nearly_full_refuses_writes_and_serves_reads",
        faults::a_disk_that_is_nearly_full_refuses_writes_and_serves_reads,
    );
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn clocks() {
    isolated("clocks", || {
        if !has_clocks("clocks") {
            return;
        }
        let plan = Plan {
            has_clocks: true,
            ..Plan::default()
        };
        play("clocks", plan, Work::ByTime, &[Fault::Clock], 3);
    });
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn siblings() {
    const FAULTS: &[Fault] = &[
        Fault::Isolate,
        Fault::Kill,
        Fault::WipeAll,
        Fault::Cut,
        Fault::Pause,
    ];
    isolated("siblings", || {
        let plan = Plan {
            store: "conflict = \"siblings\"".into(),
            ..Plan::default()
        };
        play("siblings", plan, Work::Siblings, FAULTS, 3);
    });
}

/// The scenario that goes through everything once, on every commit.
#[test]
fn the_worked_scenario() {
    isolated("the_worked_scenario", || {
        play_on_processes(3, 20, &data::worked());
    });
}

/// A2 to A6 and A9: what the scenarios show on threads and in the simulator, processes show.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn scenarios_of_system_a() {
    /// Nodes compare what they know all the time, or never.
    const OFTEN_MS: u64 = 20;
    const NEVER_MS: u64 = 3_600_000;
    isolated("scenarios_of_system_a", || {
        play_on_processes(3, OFTEN_MS, &data::worked());
        play_on_processes(3, OFTEN_MS, &data::copies(3));
        play_on_processes(3, OFTEN_MS, &data::failures(3));
        play_on_processes(3, OFTEN_MS, &data::equal_times("x", "y"));
        play_on_processes(3, OFTEN_MS, &data::equal_times("y", "x"));
        play_on_processes(3, OFTEN_MS, &data::higher_times());
        play_on_processes(3, OFTEN_MS, &data::silent_node(3));
        play_on_processes(3, NEVER_MS, &data::lagging_write());
        play_on_processes(3, NEVER_MS, &data::lagging_delete());
        play_on_processes(3, NEVER_MS, &data::lagging_read());
        play_on_processes(5, OFTEN_MS, &data::without_a_majority());
    });
}

/// B2 to B4 and B10: the same of the caller's timestamps.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn scenarios_of_system_b() {
    isolated("scenarios_of_system_b", || {
        for steps in data::timestamps() {
            play_with_timestamps(3, 20, &steps);
        }
    });
}

/// C2, C3, C7: the same of sessions.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn scenarios_of_system_c() {
    isolated("scenarios_of_system_c", || {
        for steps in data::sessions() {
            play_on_processes(3, 20, &steps);
        }
    });
}

/// B8.
#[test]
fn b8_data_survives_restarts() {
    isolated("b8_data_survives_restarts", causal::data_survives_restarts);
}

/// C1, C6, C7.
#[test]
fn c1_c6_c7_keys_are_partitioned_over_processes() {
    isolated(
        "c1_c6_c7_keys_are_partitioned_over_processes",
        causal::keys_are_partitioned_over_processes,
    );
}

/// C2, C7.
#[test]
fn c2_c7_a_token_goes_from_process_to_process() {
    isolated(
        "c2_c7_a_token_goes_from_process_to_process",
        causal::a_token_goes_from_process_to_process,
    );
}

/// C4.
#[test]
fn c4_requests_go_on_without_some_processes() {
    isolated(
        "c4_requests_go_on_without_some_processes",
        causal::requests_go_on_without_some_processes,
    );
}

/// C5.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn c5_large_values_and_a_thousand_clients() {
    isolated(
        "c5_large_values_and_a_thousand_clients",
        causal::large_values_and_a_thousand_clients,
    );
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn busy_clients_get_all_answers() {
    isolated(
        "busy_clients_get_all_answers",
        crowd::busy_clients_get_all_answers,
    );
}

#[test]
fn garbage_of_a_peer_harms_nobody() {
    isolated("garbage_of_a_peer_harms_nobody", liar::garbage_harms_nobody);
}

#[test]
#[ignore = "long: `tests/faults` runs it"]
fn a_former_life_is_refused() {
    isolated("a_former_life_is_refused", liar::a_former_life_is_refused);
}

#[test]
#[ignore = "fails: forged messages of a peer make honest nodes give up their identities, all at once"]
fn lies_of_a_peer_harm_nobody_for_long() {
    isolated(
        "lies_of_a_peer_harm_nobody_for_long",
        liar::lies_harm_nobody_for_long,
    );
}

/// C3.
#[test]
#[ignore = "long: `tests/faults` runs it"]
fn c3_the_last_writer_wins_whatever_the_clocks_say() {
    const NAME: &str = "c3_the_last_writer_wins_whatever_the_clocks_say";
    isolated(NAME, || {
        if has_clocks(NAME) {
            causal::the_last_writer_wins_whatever_the_clocks_say();
        }
    });
}

/// Whether clocks can be set here; if not, says so.
fn has_clocks(test: &str) -> bool {
    let is_there = cluster::faketime().is_some();
    if !is_there {
        println!("!! SKIPPED {test}: faketime is not installed");
    }
    is_there
}
