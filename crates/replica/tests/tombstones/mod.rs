//! Nodes that are driven at random: what is said of a tombstone is what becomes of it, and what is stable at one node is
//! known at all that serve.

use bytes::Bytes;
use crdt::Timestamp;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use replica::{ClockKind, Command, Level, NodeId, Request, State, TombstoneReport};
use std::collections::BTreeSet;

use crate::support::Bench;

const KEYS: [&str; 4] = ["a", "b", "c", "d"];
const STEPS: usize = 250;

/// How often what is checked was there to be checked.
#[derive(Debug, Default)]
struct Seen {
    purged: usize,
    by_the_living: usize,
    by_the_unheard_of: usize,
    by_the_own_clock: usize,
    without_a_horizon: usize,
    not_serving: usize,
    stable: usize,
    stable_after_a_loss: usize,
}

/// The tombstones of a node, with what is said of them.
fn tombstones(bench: &Bench, node: u32) -> Vec<(Bytes, TombstoneReport)> {
    let keys = KEYS
        .map(|key| Bytes::from_static(key.as_bytes()))
        .into_iter();
    let reports = keys.filter_map(|key| {
        let report = bench.node(node).explain(&key).tombstone?;
        Some((key, report))
    });
    reports.collect()
}

/// A tick of a node forgets the tombstones of which it was said that nothing holds them back, and no other: unless
/// incarnations were retired or closed by the same tick, before it purged.
fn tick(bench: &mut Bench, node: u32, seen: &mut Seen) {
    let before = tombstones(bench, node);
    let settled = |bench: &Bench| {
        let counters = bench.node(node).counters();
        (counters.incarnations_retired, counters.incarnations_closed)
    };
    let dead = settled(bench);
    let was_up = bench.is_up(node);
    bench.tick(node);
    let left = tombstones(bench, node);
    let left: BTreeSet<&Bytes> = left.iter().map(|(key, _)| key).collect();
    for (key, report) in &before {
        let is_gone = !left.contains(key);
        let is_exact = settled(bench) == dead && was_up == bench.is_up(node);
        assert!(
            is_gone == report.is_free() || (is_gone && !is_exact),
            "gone: {is_gone}, and it was said that {report}"
        );
        seen.purged += usize::from(is_gone);
        seen.by_the_living += usize::from(!report.held_back_by.is_empty());
        seen.by_the_unheard_of += usize::from(!report.unheard_of.is_empty());
        seen.by_the_own_clock += usize::from(report.own_clock.is_some());
        seen.without_a_horizon += usize::from(report.no_horizon);
        seen.not_serving += usize::from(report.is_not_serving);
    }
}

/// S of docs/design.md.
fn check_stable(bench: &Bench, losses: usize, seen: &mut Seen) {
    for node in bench.owners() {
        let stable = bench.node(node).stable();
        if stable.is_empty() {
            continue;
        }
        seen.stable += 1;
        seen.stable_after_a_loss += usize::from(losses > 0);
        for other in bench.owners() {
            let other = bench.node(other);
            let base = other.replica().knowledge().base();
            assert!(
                other.state() != State::Up || base.includes(stable),
                "{stable} is stable at {node}, and {base} is all that {:?} knows",
                other.incarnation(),
            );
        }
    }
}

fn run(seed: u64, nodes: u32, clock: ClockKind, seen: &mut Seen) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut bench = Bench::new(nodes, |config| {
        config.clock = clock;
        config.durable = true;
        config.chunk_keys = 2;
    });
    let by_caller = clock == ClockKind::Caller;
    let mut losses = 0;
    for step in 0..STEPS {
        let node = random.random_range(1..=nodes);
        match random.random_range(0..100) {
            0..15 => {
                let key = Bytes::from_static(KEYS[random.random_range(0..KEYS.len())].as_bytes());
                let command = match random.random_bool(0.6) {
                    true => Command::delete(key),
                    false => Command::put(key, Bytes::from_static(b"v")),
                };
                let command = match by_caller {
                    true => command.at(Timestamp(random.random_range(0..2 * STEPS as u64))),
                    false => command,
                };
                let level = match random.random_bool(0.5) {
                    true => Level::One,
                    false => Level::Quorum,
                };
                bench.ask(node, Request::new(command, level));
            }
            15..40 => tick(&mut bench, node, seen),
            40..85 if !bench.bag.is_empty() => {
                // A burst in order, then one from anywhere.
                bench.deliver(|f| f.to == node);
                if !bench.bag.is_empty() {
                    let at = random.random_range(0..bench.bag.len());
                    let flight = bench.bag[at].clone();
                    bench.arrive(flight);
                }
            }
            85..90 => bench.bag.retain(|f| f.to != node),
            90..93 if by_caller => {
                let horizon = Timestamp(step as u64);
                bench.feed(node, |p, now| p.handle_horizon(horizon, now));
            }
            // One at a time: what two losses at once may do is another matter.
            93..95 if (1..=nodes).all(|n| bench.is_up(n)) => {
                losses += 1;
                bench.lose_data(node);
            }
            95..97 if bench.has_disk(node) && bench.is_up(node) => {
                let disk = bench.disk(node);
                bench.restart_with(node, disk);
            }
            97..99 => bench.talk(&(1..=nodes).collect::<Vec<_>>()),
            _ => {
                let other = NodeId(random.random_range(1..=nodes));
                bench.hint(node, other.0, random.random_bool(0.7));
            }
        }
        check_stable(&bench, losses, seen);
    }
}

#[test]
#[expect(clippy::disallowed_macros, reason = "a run that fails says its seed")]
fn what_is_explained_is_what_is_done_and_what_is_stable_is_known() {
    let mut seen = Seen::default();
    for seed in 0..60 {
        for clock in [ClockKind::Lamport, ClockKind::Caller] {
            let nodes = if seed % 3 == 0 { 5 } else { 3 };
            println!("seed {seed}, {nodes} nodes, {clock:?}");
            run(seed, nodes, clock, &mut seen);
        }
    }
    let Seen {
        purged,
        by_the_living,
        by_the_unheard_of: _,
        by_the_own_clock,
        without_a_horizon,
        not_serving,
        stable,
        stable_after_a_loss,
    } = seen;
    for often in [
        purged,
        by_the_living,
        by_the_own_clock,
        without_a_horizon,
        not_serving,
        stable,
        stable_after_a_loss,
    ] {
        assert!(often > 0, "{seen:?}");
    }
}
