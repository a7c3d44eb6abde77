//! Times contestants in turn and takes medians.

use cpu_time::ThreadTime;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::row::{Row, Side};

/// How long a row may take.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Most repetitions of one contestant.
    pub repetitions: usize,
    /// Repetitions that are made whatever they cost, beside the one that warms up; with 0 that one counts if it took too
    /// long for another.
    pub least: usize,
    /// Time after which a contestant, its setups included, gets no more repetitions than the least.
    pub enough: Duration,
}

/// One repetition: the time of one operation, and what shows that the result is right.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub nanos: f64,
    pub fingerprint: u64,
}

struct Contestant<'a> {
    side: Side,
    repeat: Box<dyn FnMut() -> Sample + 'a>,
    nanos: Vec<f64>,
    spent: Duration,
}

/// The contestants of one row; each repetition runs all of them, one after the other.
pub struct Contest<'a> {
    row: Row,
    effort: Effort,
    contestants: Vec<Contestant<'a>>,
}

impl<'a> Contest<'a> {
    pub fn new(row: Row, effort: Effort) -> Self {
        Self {
            row,
            effort,
            contestants: Vec::new(),
        }
    }

    /// Adds a contestant. Each repetition makes a state by `setup`, times `run` on it by the processor time
    /// of this thread, divides by `operations`, and takes the `fingerprint` of what `run` returned, which is
    /// dropped only then. All contestants of a row must have the same fingerprint.
    pub fn time<S, R>(
        self,
        side: Side,
        operations: usize,
        mut setup: impl FnMut() -> S + 'a,
        mut run: impl FnMut(S) -> R + 'a,
        mut fingerprint: impl FnMut(&R) -> u64 + 'a,
    ) -> Self {
        self.repeat(side, move || {
            let state = black_box(setup());
            let start = ThreadTime::now();
            let result = black_box(run(state));
            let elapsed = start.elapsed();
            Sample {
                nanos: elapsed.as_nanos() as f64 / operations as f64,
                fingerprint: fingerprint(&result),
            }
        })
    }

    /// Adds a contestant that takes its own time.
    pub fn repeat(mut self, side: Side, repeat: impl FnMut() -> Sample + 'a) -> Self {
        self.contestants.push(Contestant {
            side,
            repeat: Box::new(repeat),
            nanos: Vec::new(),
            spent: Duration::ZERO,
        });
        self
    }

    /// Runs all and gives the row with their medians.
    ///
    /// # Panics
    /// If the contestants did not come to the same result.
    pub fn finish(mut self) -> Row {
        let mut expected = None;
        // The first repetition warms up and is not counted.
        for round in 0..=self.effort.repetitions {
            for contestant in &mut self.contestants {
                if round > self.effort.least && contestant.spent > self.effort.enough {
                    continue;
                }
                let start = Instant::now();
                let sample = (contestant.repeat)();
                contestant.spent += start.elapsed();
                let (first, fingerprint) =
                    expected.get_or_insert_with(|| (contestant.side.clone(), sample.fingerprint));
                assert_eq!(
                    *fingerprint, sample.fingerprint,
                    "{}: {:?} and {first:?} have different results",
                    self.row.name, contestant.side
                );
                // One repetition was all the time there is.
                let is_last = self.effort.least == 0 && contestant.spent > self.effort.enough;
                if round > 0 || is_last {
                    contestant.nanos.push(sample.nanos);
                }
            }
        }
        for contestant in &mut self.contestants {
            let figure = self.row.unit.of_nanos(median(&mut contestant.nanos));
            self.row.put(contestant.side.clone(), figure);
        }
        self.row
    }
}

/// The middle figure.
pub fn median(nanos: &mut [f64]) -> f64 {
    nanos.sort_by(f64::total_cmp);
    let middle = nanos.len() / 2;
    if nanos.len() % 2 == 1 {
        nanos[middle]
    } else {
        f64::midpoint(nanos[middle - 1], nanos[middle])
    }
}
