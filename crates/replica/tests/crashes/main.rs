//! Nodes whose storage crashes: what the rules of storage are good for, and what happens without them.
//!
//! `PROPTEST_CASES` sets how many scripts each property runs.

mod world;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use replica::storage::{CommitFault, CrashFault};
use std::cell::RefCell;

use world::{NODES, Tally, World};

const KEYS: [&str; 3] = ["x", "y", "z"];

/// Something that happens to the nodes.
#[derive(Debug, Clone)]
enum Step {
    Write {
        node: u32,
        key: usize,
        deletes: bool,
    },
    Read {
        node: u32,
        key: usize,
    },
    /// Some of the messages in flight arrive, each chosen by its number.
    Deliver(Vec<usize>),
    Copy(usize),
    Lose(usize),
    Pass {
        ms: u64,
    },
    FailCommit {
        node: u32,
        is_kept: bool,
    },
    Stop(u32),
    Restart(u32),
    /// The last commits are lost, as under a weak sync policy.
    LoseTail {
        node: u32,
        commits: usize,
    },
    /// The same at any moment, and the node knows that it may have happened.
    ComeBackAsNew {
        node: u32,
        commits: usize,
    },
}

/// How disks may lose a tail of their commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tails {
    Kept,
    /// The node goes on as it was.
    Lost,
    /// The node takes a new identity.
    KnownToBeLost,
}

fn scripts(tails: Tails) -> impl Strategy<Value = Vec<Step>> {
    let node = || 1..=NODES;
    let write = (node(), 0..KEYS.len(), prop::bool::weighted(0.25));
    let step = prop_oneof![
        6 => write.prop_map(|(node, key, deletes)| Step::Write { node, key, deletes }),
        3 => (node(), 0..KEYS.len()).prop_map(|(node, key)| Step::Read { node, key }),
        12 => prop::collection::vec(any::<usize>(), 1..8).prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::Copy),
        2 => any::<usize>().prop_map(Step::Lose),
        2 => prop::sample::select(vec![1, 200, 500, 2_000]).prop_map(|ms| Step::Pass { ms }),
        1 => (node(), any::<bool>()).prop_map(|(node, is_kept)| Step::FailCommit { node, is_kept }),
        1 => node().prop_map(Step::Stop),
        3 => node().prop_map(Step::Restart),
        u32::from(tails != Tails::Kept) * 3 =>
            (node(), 1..6_usize).prop_map(move |(node, commits)| match tails {
                Tails::KnownToBeLost => Step::ComeBackAsNew { node, commits },
                _ => Step::LoseTail { node, commits },
            }),
    ];
    prop::collection::vec(step, 10..120)
}

fn take(world: &mut World, number: usize, step: &Step) {
    match step {
        Step::Write { node, key, deletes } => {
            let value = (!deletes).then(|| number.to_string());
            world.write(*node, KEYS[*key], value);
        }
        Step::Read { node, key } => world.read(*node, KEYS[*key]),
        Step::Deliver(which) => which.iter().for_each(|which| world.deliver(*which, false)),
        Step::Copy(which) => world.deliver(*which, true),
        Step::Lose(which) => world.lose(*which),
        Step::Pass { ms } => world.pass(*ms),
        Step::FailCommit { node, is_kept } => {
            let fault = match is_kept {
                true => CommitFault::Whole,
                false => CommitFault::Gone,
            };
            world.fail_commit(*node, fault);
        }
        Step::Stop(node) => world.stop(*node),
        Step::Restart(node) => {
            let restarted = world.restart(*node, CrashFault::Clean);
            restarted.expect("a clean crash leaves a store that is read");
        }
        Step::LoseTail { node, commits } => lose_tail(world, *node, *commits),
        Step::ComeBackAsNew { node, commits } => come_back_as_new(world, *node, *commits),
    }
}

/// A node loses its last commits while the others are up, whatever is under way, and comes back under a new
/// identity. Of three nodes one at a time may lose what it has acknowledged.
fn come_back_as_new(world: &mut World, node: u32, commits: usize) {
    world.heal_disks();
    if !(1..=NODES).all(|other| world.is_up(other)) {
        return;
    }
    let before = world.node(node).and_then(|p| p.incarnation());
    world.tally.lost_commits += commits.min(world.disk(node).cached()) as u64;
    let restarted = world.restart_as_new(node, CrashFault::LoseTail(commits));
    restarted.expect("a prefix of the commits is a store that is read");
    assert!(
        !world.is_up(node),
        "it serves before it has heard of others"
    );
    world.heal_disks();
    world.talk(12);
    assert!(world.is_up(node), "it has caught up");
    let after = world.node(node).and_then(|p| p.incarnation());
    assert_ne!(
        after, before,
        "it goes on under an identity that it gave up"
    );
    world.tally.noticed += 1;
}

/// A node loses its last commits while the others are up and nothing is under way, and hears from the others
/// before anything else is asked of it.
fn lose_tail(world: &mut World, node: u32, commits: usize) {
    world.heal_disks();
    world.give_up();
    let others_are_up = (1..=NODES).all(|other| other == node || world.is_up(other));
    if !others_are_up || !world.is_up(node) {
        return;
    }
    let before = world.node(node).and_then(|p| p.incarnation());
    world.tally.lost_commits += commits.min(world.disk(node).cached()) as u64;
    let restarted = world.restart(node, CrashFault::LoseTail(commits));
    restarted.expect("a prefix of the commits is a store that is read");
    let restored = world.node(node).expect("it has started");
    let (id, own_counter) = (restored.incarnation(), restored.replica().own_counter());
    // Whether another node knows of events of this one that it does not know itself.
    let is_ahead = (1..=NODES).any(|other| {
        let knowledge = world.node(other).map(|p| p.replica().knowledge());
        let shown = knowledge.zip(id).map(|(k, id)| k.base().last_counter(id));
        other != node && shown.is_some_and(|shown| shown > own_counter)
    });
    world.talk(12);
    assert!(world.is_up(node), "it has caught up");
    let after = world.node(node).and_then(|p| p.incarnation());
    if is_ahead {
        world.tally.noticed += 1;
        assert_ne!(after, before, "others know more of it than it does itself");
    }
}

/// Runs scripts, and says what happened in all of them together.
fn run(tails: Tails) -> Tally {
    let total = RefCell::new(Tally::default());
    let mut runner = TestRunner::new(Cases::default());
    let result = runner.run(&scripts(tails), |script| {
        let mut world = World::new();
        for (number, step) in script.iter().enumerate() {
            take(&mut world, number, step);
        }
        world.settle(&KEYS);
        prop_assert_eq!(world.history.check(), Ok(()));
        let (mut total, tally) = (total.borrow_mut(), world.tally);
        total.acknowledged += tally.acknowledged;
        total.values_read += tally.values_read;
        total.restarts += tally.restarts;
        total.failed_commits += tally.failed_commits;
        total.lost_commits += tally.lost_commits;
        total.noticed += tally.noticed;
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    total.into_inner()
}

#[test]
fn nothing_acknowledged_is_lost_over_clean_crashes_of_any_nodes_and_failed_commits() {
    let tally = run(Tails::Kept);
    let happened = [
        tally.acknowledged,
        tally.values_read,
        tally.restarts,
        tally.failed_commits,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{tally:?}");
}

#[test]
fn a_node_that_lost_a_tail_notices_at_the_first_contact_and_nothing_acknowledged_is_lost() {
    let tally = run(Tails::Lost);
    let happened = [tally.acknowledged, tally.lost_commits, tally.noticed];
    assert!(happened.iter().all(|count| *count > 0), "{tally:?}");
}

#[test]
fn a_node_that_gives_up_its_identity_may_have_lost_any_tail_at_any_moment() {
    let tally = run(Tails::KnownToBeLost);
    let happened = [
        tally.acknowledged,
        tally.values_read,
        tally.lost_commits,
        tally.noticed,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{tally:?}");
}

#[test]
fn an_older_state_of_another_node_is_a_head_start_and_brings_back_nothing_deleted() {
    let mut world = World::new();
    for (node, key) in [(1, "x"), (2, "y"), (3, "z")] {
        world.write(node, key, Some(format!("{key} first")));
        world.run(&[1, 2, 3]);
    }
    // What node 1 holds now is what node 3 comes back with, long after.
    world.disk(1).flush().expect("memory takes everything");
    world.copy_disk(1, 3);
    world.stop(3);
    world.write(1, "x", None);
    world.write(2, "y", Some("y second".to_owned()));
    world.run(&[1, 2]);
    world.talk(5);
    assert_eq!(world.restart_as_new(3, CrashFault::Clean), Ok(()));
    assert_eq!(world.shown(3, "x").as_deref(), Some(&b"x first"[..]));
    assert!(!world.is_up(3));
    world.settle(&KEYS);
    assert_eq!(world.shown(3, "x"), None);
    assert_eq!(world.shown(3, "y").as_deref(), Some(&b"y second"[..]));
    assert_eq!(world.history.check(), Ok(()));
}

#[test]
fn a_cluster_that_has_nothing_but_copies_of_its_storage_waits_for_the_operator_and_has_their_data()
{
    for copy_of in 1..=NODES {
        let mut world = World::new();
        for (node, key) in [(1, "x"), (2, "y"), (3, "z")] {
            world.write(node, key, Some(format!("{key} kept")));
            world.run(&[1, 2, 3]);
        }
        world.write(2, "y", None);
        world.run(&[1, 2, 3]);
        for node in 1..=NODES {
            world.disk(node).flush().expect("memory takes everything");
        }
        for node in (1..=NODES).filter(|node| *node != copy_of) {
            world.copy_disk(copy_of, node);
        }
        for node in 1..=NODES {
            assert_eq!(world.restart_as_new(node, CrashFault::Clean), Ok(()));
        }
        world.talk(10);
        assert!((1..=NODES).all(|node| !world.is_up(node)), "without a word");
        for node in 1..=NODES {
            world.accept_loss(node);
            world.talk(10);
            assert!(world.is_up(node), "node {node}");
        }
        world.write(1, "x", Some("x after".to_owned()));
        world.settle(&KEYS);
        assert_eq!(world.shown(2, "x").as_deref(), Some(&b"x after"[..]));
        assert_eq!(world.shown(2, "y"), None);
        assert_eq!(world.shown(2, "z").as_deref(), Some(&b"z kept"[..]));
        assert_eq!(world.history.check(), Ok(()));
    }
}

#[test]
fn a_torn_commit_is_refused_at_the_start() {
    // A write is three changes: the cell, its event, and the state that knows of it.
    for kept in 1..3 {
        let mut world = World::new();
        world.write(1, "x", Some("first".to_owned()));
        world.run(&[1, 2, 3]);
        world.write(1, "x", Some("second".to_owned()));
        let error = world.restart(1, CrashFault::Tear(kept));
        assert!(error.is_err(), "{kept} of the changes survived");
    }
    let mut world = World::new();
    world.write(1, "x", Some("only".to_owned()));
    assert_eq!(world.restart(1, CrashFault::Tear(0)), Ok(()));
    world.settle(&KEYS);
}

// The two that follow show why the rules are needed: nothing else makes up for them.

#[test]
fn without_durable_commits_an_acknowledgement_is_forgotten_and_nobody_notices() {
    let lost = |fault| {
        let mut world = World::new();
        world.write(1, "x", Some("v".to_owned()));
        world.run(&[1, 3]);
        assert_eq!(world.tally.acknowledged, 1, "by 1 and 3");
        assert_eq!(world.restart(3, fault), Ok(()));
        world.read(2, "x");
        world.run(&[2, 3]);
        world.history.check().is_err()
    };
    assert!(!lost(CrashFault::Clean));
    assert!(lost(CrashFault::LoseTail(1)));
}

#[test]
fn without_ordered_commits_a_node_never_gets_back_what_it_lost() {
    let shown = |fault| {
        let mut world = World::new();
        world.write(1, "x", Some("v".to_owned()));
        world.run(&[1, 3]);
        assert_eq!(world.tally.acknowledged, 1, "by 1 and 3");
        world.write(3, "y", Some("w".to_owned()));
        assert_eq!(world.restart(3, fault), Ok(()));
        world.talk(40);
        [1, 2, 3].map(|node| world.shown(node, "x").is_some())
    };
    assert_eq!(shown(CrashFault::Clean), [true; 3]);
    assert_eq!(shown(CrashFault::Skip(1)), [true, true, false]);
}
