//! Random runs: clients that ask again and again through any node, over a network and disks that fail.

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use replica::{OperationId, RequestError};
use std::cell::RefCell;
use std::collections::BTreeMap;

use super::{Counters, K, add, count, counters};
use crate::support::Bench;

/// Each operation adds a power of this, so that the count says how often each has happened.
const BASE: i64 = 10;
const OPERATIONS: usize = 8;
const NODES: u32 = 3;

#[derive(Debug, Clone)]
enum Step {
    /// A client asks for an operation: for the first time, or again.
    Ask {
        node: u32,
        operation: usize,
    },
    /// What a client asks for is lost on the way.
    AskInVain(usize),
    /// Some of the messages in flight arrive, each chosen by its number.
    Deliver(Vec<usize>),
    Copy(usize),
    Lose(usize),
    Pass {
        node: u32,
        ms: u64,
    },
    Restart(u32),
    LoseData(u32),
}

fn scripts() -> impl Strategy<Value = Vec<Step>> {
    let node = || 1..=NODES;
    let step = prop_oneof![
        5 => (node(), 0..OPERATIONS).prop_map(|(node, operation)| Step::Ask { node, operation }),
        2 => (0..OPERATIONS).prop_map(Step::AskInVain),
        12 => prop::collection::vec(any::<usize>(), 1..8).prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::Copy),
        3 => any::<usize>().prop_map(Step::Lose),
        3 => (node(), prop::sample::select(vec![100, 500, 3_000]))
            .prop_map(|(node, ms)| Step::Pass { node, ms }),
        1 => node().prop_map(Step::Restart),
        1 => node().prop_map(Step::LoseData),
    ];
    prop::collection::vec(step, 10..150)
}

/// What came of the operations.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    acknowledged: u64,
    found: u64,
    begun: u64,
    unknown: u64,
    losses: u64,
}

/// A run: the cluster, and which operation each request is for.
struct World {
    bench: Bench<Counters>,
    asked: BTreeMap<u64, usize>,
    is_tried: [bool; OPERATIONS],
    losses: u64,
}

impl World {
    fn take(&mut self, step: &Step) {
        let bench = &mut self.bench;
        let at = |which: usize, count: usize| (count > 0).then(|| which % count);
        match step {
            Step::Ask { node, operation } => {
                let (id, write) = (OperationId::new(*operation as u128), add(more(*operation)));
                let is_tried = std::mem::replace(&mut self.is_tried[*operation], true);
                let request = match is_tried {
                    true => write.retry_of(id),
                    false => write.named(id),
                };
                let asked = bench.ask(*node, request);
                self.asked.insert(asked, *operation);
            }
            Step::AskInVain(operation) => self.is_tried[*operation] = true,
            Step::Deliver(which) => {
                for which in which {
                    if let Some(at) = at(*which, bench.bag.len()) {
                        let flight = bench.bag.remove(at);
                        bench.arrive(flight);
                    }
                }
            }
            Step::Copy(which) => {
                if let Some(at) = at(*which, bench.bag.len()) {
                    let flight = bench.bag[at].clone();
                    bench.arrive(flight);
                }
            }
            Step::Lose(which) => {
                if let Some(at) = at(*which, bench.bag.len()) {
                    bench.bag.remove(at);
                }
            }
            Step::Pass { node, ms } => bench.pass(*node, *ms),
            Step::Restart(node) => {
                if bench.has_disk(*node) {
                    let disk = bench.disk(*node);
                    bench.restart_with(*node, disk);
                }
            }
            // Of three nodes one at a time may be without its data.
            Step::LoseData(node) => {
                if (1..=NODES).all(|node| bench.is_up(node)) {
                    bench.lose_data(*node);
                    self.losses += 1;
                }
            }
        }
    }
}

fn more(operation: usize) -> i64 {
    BASE.pow(operation as u32)
}

/// How often an operation has happened, by what a node shows.
fn times(bench: &Bench<Counters>, node: u32, operation: usize) -> i128 {
    count(bench, node) / i128::from(more(operation)) % i128::from(BASE)
}

fn run(script: &[Step]) -> Result<Tally, TestCaseError> {
    let mut world = World {
        bench: counters(NODES, |config| config.durable = true),
        asked: BTreeMap::new(),
        is_tried: [false; OPERATIONS],
        losses: 0,
    };
    for step in script {
        world.take(step);
        for (node, operation) in (1..=NODES).flat_map(|n| (0..OPERATIONS).map(move |o| (n, o))) {
            let times = times(&world.bench, node, operation);
            prop_assert!(times <= 1, "{operation} happened {times} times at {node}");
        }
    }
    world.bench.settle();
    let mut tally = Tally {
        losses: world.losses,
        ..Tally::default()
    };
    for (request, operation) in &world.asked {
        match world.bench.reply(*request) {
            Some(Ok(_)) => {
                tally.acknowledged += 1;
                let times = times(&world.bench, 1, *operation);
                prop_assert_eq!(times, 1, "{} was acknowledged", operation);
            }
            Some(Err(RequestError::OutcomeUnknown { .. })) => tally.unknown += 1,
            _ => {}
        }
    }
    for operation in 0..OPERATIONS {
        let times = times(&world.bench, 1, operation);
        prop_assert!(times <= 1, "{operation} happened {times} times of {K}");
    }
    for node in 1..=NODES {
        let counters = world.bench.node(node).counters();
        tally.found += counters.operations_found;
        tally.begun += counters.operations_begun;
    }
    Ok(tally)
}

#[test]
fn no_operation_happens_twice_and_none_that_was_acknowledged_is_missing() {
    let total = RefCell::new(Tally::default());
    let mut runner = TestRunner::new(Cases::default());
    let result = runner.run(&scripts(), |script| {
        let tally = run(&script)?;
        let mut total = total.borrow_mut();
        total.acknowledged += tally.acknowledged;
        total.found += tally.found;
        total.begun += tally.begun;
        total.unknown += tally.unknown;
        total.losses += tally.losses;
        Ok(())
    });
    result.unwrap_or_else(|failure| panic!("{failure}"));
    let total = total.into_inner();
    let happened = [
        total.acknowledged,
        total.found,
        total.begun,
        total.unknown,
        total.losses,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{total:?}");
}
