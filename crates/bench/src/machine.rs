//! How this machine compares with the one that the absolute targets were measured on.
//!
//! A target like "at most 30 ns" was set beside figures of plain code and of peers on one machine. The same
//! code, timed here in the same run, tells by how much the target moves; what counts is the ratio.

use cpu_time::ThreadTime;
use std::hint::black_box;
use std::sync::OnceLock;

use crate::peers::crdts;

/// Elements of the workloads.
const N: u64 = 100_000;
/// Recorded: one pass that merges two disjoint sorted vectors of 100,000 pairs, in nanoseconds.
const RECORDED_SORTED_VECTORS: f64 = 550_000.0;
/// Recorded: comparing two flat version vectors of 100 replicas, in nanoseconds.
const RECORDED_FLAT_VECTORS: f64 = 60.8;
/// Recorded: `crdts` merges two identical sets of 100,000 elements by 3 writers, in nanoseconds.
const RECORDED_CRDTS_SETS: f64 = 20_600_000.0;

/// How many times longer this machine takes: the median of the three workloads.
pub fn factor() -> f64 {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    *FACTOR.get_or_init(|| {
        let mut factors = [
            sorted_vectors() / RECORDED_SORTED_VECTORS,
            flat_vectors() / RECORDED_FLAT_VECTORS,
            crdts_sets() / RECORDED_CRDTS_SETS,
        ];
        factors.sort_by(f64::total_cmp);
        factors[1]
    })
}

/// The median time of some repetitions, in nanoseconds.
fn median<S>(repetitions: usize, mut setup: impl FnMut() -> S, mut run: impl FnMut(S)) -> f64 {
    let mut times: Vec<f64> = (0..repetitions)
        .map(|_| {
            let state = setup();
            let start = ThreadTime::now();
            run(state);
            start.elapsed().as_nanos() as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[repetitions / 2]
}

fn sorted_vectors() -> f64 {
    let pairs = |offset: u64| (0..N).map(|i| (2 * i + offset, i)).collect::<Vec<_>>();
    median(
        15,
        || (pairs(0), pairs(1)),
        |(a, b)| {
            let mut merged = Vec::with_capacity(a.len() + b.len());
            let (mut i, mut j) = (0, 0);
            while i < a.len() && j < b.len() {
                if a[i].0 < b[j].0 {
                    merged.push(a[i]);
                    i += 1;
                } else {
                    merged.push(b[j]);
                    j += 1;
                }
            }
            merged.extend_from_slice(&a[i..]);
            merged.extend_from_slice(&b[j..]);
            black_box(merged);
        },
    )
}

fn flat_vectors() -> f64 {
    const TIMES: usize = 10_000;
    let flat = |offset: u64| {
        (0..100)
            .map(|i| (7 * i, i + offset))
            .collect::<Vec<(u64, u64)>>()
    };
    let (a, b) = (flat(0), flat(1));
    let pass = |()| {
        for _ in 0..TIMES {
            let (mut same, mut below, mut above) = (true, true, true);
            for (x, y) in black_box(&a).iter().zip(black_box(&b)) {
                same &= x.0 == y.0;
                below &= x.1 <= y.1;
                above &= x.1 >= y.1;
            }
            black_box((same, below, above));
        }
    };
    median(15, || (), pass) / TIMES as f64
}

fn crdts_sets() -> f64 {
    use ::crdts::CvRDT as _;
    let adds: Vec<(u64, u64)> = (0..N).map(|i| (i % 3 + 1, i)).collect();
    let (a, b) = (crdts::set(&adds, &[]), crdts::set(&adds, &[]));
    median(
        3,
        || (a.clone(), b.clone()),
        |(mut a, b)| {
            a.merge(b);
            black_box(&a);
        },
    )
}
