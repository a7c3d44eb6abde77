//! Rounds: clients work, something strikes, it is mended, all comes to rest, and what was seen is judged.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::{Duration, Instant};

use crate::bites::{Before, Bites, in_the_end, while_it_lasts};
use crate::cluster::{Cluster, Plan, REQUEST_MS};
use crate::faults::Fault;
use crate::ledger::Ledger;
use crate::load::{Load, Work};

/// How many rounds, whatever the test says.
const ROUNDS: &str = "REPLICAD_FAULTS_ROUNDS";

/// The seed; without it another one each time.
const SEED: &str = "REPLICAD_FAULTS_SEED";

/// Writers that are followed through all rounds.
const WRITERS: u32 = 3;

/// After how many rounds it is settled what became of requests without an answer.
const SETTLED_EVERY: u64 = 5;

/// Plays rounds on a new cluster, each with one of the faults at one of the nodes.
///
/// # Panics
/// If anything is seen that must not be, with the seed and the round; or if a kind of fault never took effect.
pub(crate) fn play(name: &str, plan: Plan, work: Work, faults: &[Fault], rounds: u64) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>());
    let given = |name: &str| number(name).map(|number| number.expect("a whole number"));
    let rounds = given(ROUNDS).unwrap_or(rounds);
    let seed = given(SEED).unwrap_or_else(|| getrandom::u64().expect("randomness"));
    let command = format!("tests/faults {name} --rounds {rounds} --seed {seed}");
    println!("{name}: {rounds} rounds, seed {seed}; again: {command}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut cluster = Cluster::begun(plan);
    let mut ledgers: Vec<Ledger> = match work {
        Work::ByTime => (1..=WRITERS).map(Ledger::new).collect(),
        Work::Siblings => Vec::new(),
    };
    let (mut completed, mut unknown, mut damaged) = ([0; 3], 0, 0);
    let (started, mut bites) = (Instant::now(), Bites::default());
    for round in 1..=rounds {
        let fault = match faults.get(round as usize - 1) {
            // Each of them at least once, if there are rounds enough.
            Some(fault) => *fault,
            None => faults[rng.random_range(0..faults.len())],
        };
        let node = rng.random_range(cluster.nodes());
        let load = Load::start(&cluster, work, round, seed, std::mem::take(&mut ledgers));
        std::thread::sleep(Duration::from_millis(rng.random_range(50..300)));
        let before = Before::look(&mut cluster, node);
        fault.strike(&mut cluster, node, &mut rng);
        std::thread::sleep(fault.duration(&mut rng));
        let lasting = while_it_lasts(fault, &cluster, node);
        fault.mend(&mut cluster, node);
        cluster.until_up();
        let (kept, seen, judged) = load.judge(&cluster);
        ledgers = kept;
        let settled = judged.and_then(|()| match round % SETTLED_EVERY {
            0 => settle(&cluster, &mut ledgers),
            _ => Ok(()),
        });
        if let Err(found) = settled {
            panic!("round {round}, {fault:?} at node {node}, again: {command}\n{found}");
        }
        cluster.check_health();
        let put_aside = Fault::clean_up(&cluster, node);
        damaged += put_aside;
        let effects = in_the_end(fault, (&before, lasting), &cluster, node, put_aside);
        bites.note(fault, effects);
        for (sum, completed) in completed.iter_mut().zip(seen.completed) {
            *sum += completed;
        }
        unknown += seen.unknown;
        if round % 10 == 0 || round == rounds {
            let written: u64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
            let undecided: u64 = ledgers.iter().map(|ledger| ledger.undecided).sum();
            let seconds = started.elapsed().as_secs();
            println!(
                "{name}: round {round} after {seconds} s: {written} writes acknowledged and {undecided} \
                 undecided; {completed:?} linearizable, session and sibling operations, {unknown} of \
                 unknown outcome; {damaged} damaged stores put aside; took effect: {bites}"
            );
        }
    }
    bites.check(name);
    let written: u64 = ledgers.iter().map(|ledger| ledger.acknowledged).sum();
    let did = match work {
        Work::ByTime => vec![completed[0], completed[1], written as usize],
        Work::Siblings => vec![completed[2]],
    };
    assert!(
        did.iter().all(|done| *done > 5 * rounds as usize),
        "hardly anything was done of some kind: {did:?}"
    );
}

/// Waits until no request can take effect any more, and takes what all nodes hold for decided.
fn settle(cluster: &Cluster, ledgers: &mut [Ledger]) -> Result<(), String> {
    std::thread::sleep(Duration::from_millis(REQUEST_MS));
    cluster.until_equal();
    ledgers
        .iter_mut()
        .try_for_each(|ledger| ledger.settle(cluster))
}
