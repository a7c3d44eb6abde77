//! Hybrid clocks beside `uhlc` and `datacake-crdt`.

use crdt::HybridClock;
use datacake_crdt::HLCTimestamp;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::OURS;
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const TICKS: usize = 200_000;
const THREADS: usize = 2;
const UHLC: Side = Side::Peer("uhlc", "");
const CAS: Side = Side::Floor("compare and swap, with the clock read");
const READ: Side = Side::Floor("clock read alone");

pub fn rows(report: &mut Report) {
    one_thread(report);
    two_threads(report);
    errors(report);
}

fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

fn clock() -> HybridClock {
    HybridClock::new(1, u64::MAX).expect("the slot is small")
}

/// Ticks a clock by compare and swap: physical milliseconds above, a counter below.
fn tick_atomic(last: &AtomicU64) -> u64 {
    const COUNTER_BITS: u32 = 20;
    let physical = unix_ms() << COUNTER_BITS;
    let step = |last: u64| Some(physical.max(last + 1));
    let before = last.fetch_update(Relaxed, Relaxed, step);
    physical.max(before.unwrap_or_default() + 1)
}

/// How many of the timestamps were larger than the one before: all of them.
fn ascending<T: PartialOrd>(mut tick: impl FnMut() -> T) -> u64 {
    let mut last = tick();
    let mut count = 0;
    for _ in 1..TICKS {
        let next = tick();
        count += u64::from(next > last);
        last = next;
    }
    count
}

fn one_thread(report: &mut Report) {
    let name = "hybrid clock: tick with the clock read";
    if !report.wants(name) {
        return;
    }
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(31.0));
    let hlc = uhlc::HLC::default();
    let row = report
        .contest(row)
        .time(
            OURS,
            TICKS,
            clock,
            |mut clock| ascending(|| clock.tick(unix_ms()).expect("no error at any rate")),
            |n| *n,
        )
        .time(
            UHLC,
            TICKS,
            || (),
            |()| ascending(|| hlc.new_timestamp()),
            |n| *n,
        )
        .time(
            CAS,
            TICKS,
            || AtomicU64::new(0),
            |last| ascending(|| tick_atomic(&last)),
            |n| *n,
        )
        .time(
            READ,
            TICKS,
            || (),
            |()| {
                let mut sum = 0u64;
                for _ in 0..TICKS {
                    sum = sum.wrapping_add(unix_ms());
                }
                std::hint::black_box(sum);
                TICKS as u64 - 1
            },
            |n| *n,
        )
        .finish();
    report.add(&row);
}

/// Real time for each tick of each thread: processor time would leave out the waiting.
fn on_threads<T: PartialOrd>(tick: impl Fn() -> T + Sync) -> Sample {
    let barrier = Barrier::new(THREADS);
    let work = || {
        barrier.wait();
        let start = Instant::now();
        let count = ascending(&tick);
        (start.elapsed(), count)
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .map(|t| t.join().expect("a thread finished"))
            .collect()
    });
    let longest = done.iter().map(|d| d.0).max().unwrap_or_default();
    Sample {
        nanos: longest.as_nanos() as f64 / TICKS as f64,
        fingerprint: done.iter().map(|d| d.1).sum(),
    }
}

fn two_threads(report: &mut Report) {
    let name = "hybrid clock: tick with the clock read, shared by 2 threads";
    if !report.wants(name) {
        return;
    }
    let row = Row::new(name, Unit::Nanoseconds).target(Target::AtMost(50.0));
    let shared = crdt::SharedHybridClock::new(clock());
    let tick = || shared.tick(unix_ms()).expect("no error");
    let hlc = uhlc::HLC::default();
    let last = AtomicU64::new(0);
    let row = report
        .contest(row)
        .repeat(OURS, || on_threads(tick))
        .repeat(UHLC, || on_threads(|| hlc.new_timestamp()))
        .repeat(CAS, || on_threads(|| tick_atomic(&last)))
        .finish();
    report.add(&row);
}

fn errors(report: &mut Report) {
    let name = "hybrid clock: errors in a tight loop";
    if !report.wants(name) {
        return;
    }
    let share = |errors: usize| errors as f64 / TICKS as f64 * 100.0;
    let mut ours = clock();
    let frozen = unix_ms();
    let mut theirs = HLCTimestamp::now(0, 1);
    let row = Row::new(name, Unit::Percent)
        .with(
            OURS,
            share((0..TICKS).filter(|_| ours.tick(frozen).is_err()).count()),
        )
        .with(
            Side::Peer("datacake-crdt", ""),
            share((0..TICKS).filter(|_| theirs.send().is_err()).count()),
        )
        .target(Target::AtMost(0.0));
    report.add(&row);
}
