//! System A, the majority store: every requirement A1 to A9, through the public interface. Scenarios
//! are played on real threads and in the simulator.

mod majority_stress;

use replica::{
    Cluster, ClusterError, Command, Level, MajorityError, MajorityStore, NodeId, RecoverError,
    RequestError, State,
};
use std::time::Duration;
use system_tests::scenario::{
    Driver as _, Expect, Request, Simulated, Step, config, get, play, play_everywhere, put,
};
use system_tests::scenarios::{self, ask_put, no_majority};

/// Nodes compare what they know all the time.
const OFTEN_MS: u64 = 20;

/// Nodes never compare what they know: one that has missed something lags.
const NEVER_MS: u64 = 3_600_000;

const PATIENCE: Duration = Duration::from_secs(30);

fn store(nodes: u32) -> MajorityStore {
    MajorityStore::new(nodes).expect("a valid number of nodes")
}

/// A1: strings in UTF-8 are inserted, read and deleted.
#[test]
fn a1_strings_are_inserted_read_and_deleted() {
    let store = store(3);
    let (a, b) = (store.node(1), store.node(2));
    assert_eq!(a.get("schlüssel"), Ok(None));
    assert_eq!(a.insert("schlüssel", "värde ✓"), Ok(()));
    assert_eq!(b.get("schlüssel"), Ok(Some("värde ✓".into())));
    assert_eq!(b.insert("schlüssel", ""), Ok(()));
    assert_eq!(
        a.get("schlüssel"),
        Ok(Some(String::new())),
        "empty is not absent"
    );
    assert_eq!(a.delete("schlüssel"), Ok(()));
    assert_eq!(b.get("schlüssel"), Ok(None));
    assert_eq!(b.delete("never there"), Ok(()));
    let key = "a value that is no text";
    let put = Command::put(key.into(), vec![0xff].into());
    let written = store
        .cluster()
        .node(NodeId(1))
        .execute(replica::Request::new(put, Level::Quorum));
    assert!(written.is_ok());
    assert_eq!(b.get(key), Err(MajorityError::NotUtf8));
}

/// A2: a fixed number of nodes, three or more, each with its own copy of everything.
#[test]
fn a2_every_node_has_its_own_copy() {
    for nodes in [3, 5, 7] {
        play_everywhere(nodes, OFTEN_MS, &scenarios::copies(nodes));
    }
    let refused = MajorityStore::new(2).map(|_| ());
    assert!(matches!(refused, Err(ClusterError::Config(_))));
}

/// A3: a client may talk to any live node; a write succeeds once a majority holds it.
#[test]
fn a3_any_node_takes_writes_and_shows_those_of_others() {
    let mut steps = Vec::new();
    for (node, value) in (1..=5).zip(["1", "2", "3", "4", "5"]) {
        steps.push(put(node, "k", value));
        steps.extend((1..=5).map(|other| get(other, "k", value)));
    }
    play_everywhere(5, OFTEN_MS, &steps);
}

/// A3: a write without a majority fails, says how many acknowledged and how many were needed, and may
/// still take effect; one that nobody has been asked to hold will not.
#[test]
fn a3_a_write_without_a_majority_says_how_far_it_got() {
    play_everywhere(5, OFTEN_MS, &scenarios::without_a_majority());
}

/// A3: the texts of the errors.
#[test]
fn a3_the_error_is_a_sentence() {
    let builder = Cluster::builder(3).configure(|c| c.request_timeout_ms = 100);
    let store = MajorityStore::from(builder.build().expect("a valid configuration"));
    store.cluster().cut(NodeId(1), NodeId(2));
    store.cluster().cut(NodeId(1), NodeId(3));
    let silent = store.node(1).insert("k", "v").expect_err("no majority");
    assert_eq!(
        silent.to_string(),
        "no majority: 1 of the 2 needed nodes answered; the write may still take effect"
    );
    store.fail(2);
    store.fail(3);
    let known = store.node(1).insert("k", "v").expect_err("no majority");
    assert_eq!(
        known.to_string(),
        "no majority: 1 of the 2 needed nodes answered"
    );
    let read = store.node(1).get("k").expect_err("no majority");
    assert_eq!(read, known);
}

/// A4: of two writes with equal Lamport times the smaller value wins, on every node, whichever was
/// acknowledged.
#[test]
fn a4_at_equal_times_the_smaller_value_wins_everywhere() {
    for (alone, acknowledged) in [("x", "y"), ("y", "x")] {
        let steps = scenarios::equal_times(alone, acknowledged);
        play_everywhere(3, OFTEN_MS, &steps);
    }
}

/// A4: the higher Lamport time wins whatever the value, and a clock advances with every local operation
/// and every message.
#[test]
fn a4_the_higher_time_wins_whatever_the_value() {
    play_everywhere(3, OFTEN_MS, &scenarios::higher_times());
}

/// A4: writes at the same time through all nodes resolve to one of them, the same on every node.
#[test]
fn a4_concurrent_writes_resolve_to_one_winner() {
    let values = ["1", "2", "3", "4", "5"];
    let writes = (1..=5)
        .zip(values)
        .map(|(node, v)| (node, Request::Put("k", v)));
    let mut steps = vec![Step::Concurrent(writes.collect()), Step::Settle];
    let one_of = Expect::OneOf(values.to_vec());
    steps.extend((1..=5).map(|node| Step::Ask(node, Request::Get("k"), one_of.clone())));
    for seed in 0..20 {
        let mut simulated = Simulated::new(&config(5, OFTEN_MS), seed);
        play(&mut simulated, &steps).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    for _ in 0..20 {
        play_everywhere(5, OFTEN_MS, &steps);
    }
}

/// A4: a write that starts after another was acknowledged wins over it through a node that has missed
/// everything, although its first time ties with the other's and its value would lose the tie.
#[test]
fn a4_a_later_write_wins_through_a_lagging_node() {
    for played in play_everywhere(3, NEVER_MS, &scenarios::lagging_write()) {
        assert!(
            played.counters.writes_minted_again > 0,
            "the first time lost"
        );
    }
}

/// A4: so does a delete, which would lose the tie against any value.
#[test]
fn a4_a_later_delete_wins_through_a_lagging_node() {
    for played in play_everywhere(3, NEVER_MS, &scenarios::lagging_delete()) {
        assert!(
            played.counters.writes_minted_again > 0,
            "the first time lost"
        );
    }
}

/// A4: a node that lags far behind joins what it reads, and repairs those that lag.
#[test]
fn a4_a_lagging_node_reads_what_was_acknowledged() {
    play_everywhere(3, NEVER_MS, &scenarios::lagging_read());
}

/// A5: with up to (N-1)/2 nodes down every operation succeeds through the others; with one more down
/// writes and reads fail cleanly; a node comes back empty, catches up, and never uses an identity again.
#[test]
fn a5_operations_go_on_while_a_majority_is_up() {
    for nodes in [3, 5, 7] {
        play_everywhere(nodes, OFTEN_MS, &scenarios::failures(nodes));
    }
}

/// A5, A8: a node that comes back holds nothing and serves nothing until it has caught up.
#[test]
fn a5_a_recovering_node_serves_nothing() {
    let store = store(3);
    assert_eq!(store.node(1).insert("k", "v"), Ok(()));
    store.fail(3);
    for other in [1, 2] {
        store.cluster().cut(NodeId(other), NodeId(3));
    }
    assert_eq!(store.recover(3), Ok(()));
    let status = store
        .cluster()
        .status(NodeId(3))
        .expect("it has not failed");
    assert_eq!((status.state, status.entries), (State::Recovering, 0));
    let node = store.node(3);
    let refused = MajorityError::NodeRecovering(NodeId(3));
    assert_eq!(node.get("k"), Err(refused.clone()));
    assert_eq!(node.insert("k", "w"), Err(refused.clone()));
    assert_eq!(node.delete("k"), Err(refused));
    let local = store.cluster().node(NodeId(3)).read_local(b"k");
    assert!(matches!(local, Err(RequestError::Recovering { .. })));
    assert_eq!(store.recover(3), Err(RecoverError::Recovering(NodeId(3))));
    store.cluster().heal();
    assert_eq!(store.wait_until_up(3, PATIENCE), Ok(()));
    assert_eq!(node.get("k"), Ok(Some("v".into())));
}

/// A5: the refusal to recover from too few names the way out.
#[test]
fn a5_recovery_from_too_few_is_refused_and_says_what_to_do() {
    let store = store(5);
    assert_eq!(store.recover(4), Err(RecoverError::NotFailed(NodeId(4))));
    for node in [3, 4, 5] {
        store.fail(node);
    }
    let refused = store
        .recover(4)
        .expect_err("two are left, three are needed");
    let expected = RecoverError::TooFewSources {
        node: NodeId(4),
        reconciled: 2,
        needed: 3,
    };
    assert_eq!(refused, expected);
    assert!(refused.to_string().contains("accept-loss"), "{refused}");
    assert_eq!(store.cluster().recover_accepting_loss(NodeId(4)), Ok(()));
    assert_eq!(store.wait_until_up(4, PATIENCE), Ok(()));
}

/// A6: a node that answers nothing, which nobody knows, holds up nobody: if any of these operations
/// waited for it, it would run into its deadline.
#[test]
fn a6_a_silent_node_does_not_hold_up_the_others() {
    for nodes in [3, 5] {
        play_everywhere(nodes, OFTEN_MS, &scenarios::silent_node(nodes));
    }
}

/// A8: a failed node answers every operation with an error of its own kind, and is never served from.
#[test]
fn a8_a_failed_node_is_an_error_of_its_own() {
    let store = store(3);
    assert_eq!(store.node(1).insert("k", "v"), Ok(()));
    store.fail(3);
    let node = store.node(3);
    let failed = MajorityError::NodeFailed(NodeId(3));
    assert_eq!(node.get("k"), Err(failed.clone()));
    assert_eq!(node.insert("k", "w"), Err(failed.clone()));
    assert_eq!(node.delete("k"), Err(failed.clone()));
    assert_eq!(
        failed.to_string(),
        "node 3 has failed and serves nothing until it is recovered"
    );
    let handle = store.cluster().node(NodeId(3));
    let failed = RequestError::NodeFailed(NodeId(3));
    assert_eq!(handle.read_local(b"k"), Err(failed.clone()));
    assert_eq!(handle.snapshot().map(|_| ()), Err(failed.clone()));
    for level in [Level::One, Level::Quorum] {
        let get = Command::get("k".into());
        assert_eq!(
            handle.execute(replica::Request::new(get, level)),
            Err(failed.clone())
        );
    }
    assert!(store.cluster().status(NodeId(3)).is_none());
    store.fail(2);
    let replication = store.node(1).insert("k", "w");
    assert!(matches!(
        replication,
        Err(MajorityError::Replication { .. })
    ));
    let too_large = store.node(1).insert(&"k".repeat(1 << 20), "v");
    assert!(matches!(
        too_large,
        Err(MajorityError::Refused(RequestError::KeyTooLarge { .. }))
    ));
}

/// A9: the worked scenario.
#[test]
fn a9_the_worked_scenario() {
    play_everywhere(3, OFTEN_MS, &scenarios::worked());
}

/// A9: by the rule of A4 it is the smaller value that wins when neither write has seen the other: here
/// A's reaches C after B's was acknowledged, with the same Lamport time.
#[test]
fn a9_the_smaller_value_wins_the_worked_conflict() {
    let mut simulated = Simulated::new(&config(3, NEVER_MS), 1);
    let steps = [
        Step::CutOff(1),
        ask_put(1, "key1", "value1", no_majority(1, 2, true)),
        put(2, "key1", "value2"),
        Step::Heal,
        get(1, "key1", "value1"),
        get(2, "key1", "value1"),
        get(3, "key1", "value1"),
    ];
    play(&mut simulated, &steps).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(simulated.node_count(), 3);
}
