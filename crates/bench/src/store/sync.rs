//! Anti-entropy: one node lacks some entries of another and gets them.

use bytes::Bytes;
use cpu_time::ThreadTime;
use replica::{Level, NodeId};
use std::cell::RefCell;

use super::nodes::{Message, Nodes, encoded, wire_bytes};
use super::reconciliation::{Coded, HASH_BYTES, negentropy_bytes};
use super::{KEYS, OURS, keys, value};
use crate::measure::Sample;
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const VALUE_BYTES: usize = 64;
const FEW_KEYS: usize = 1_000;
const AHEAD: NodeId = NodeId(1);
const BEHIND: NodeId = NodeId(2);
const OVERHEAD_BYTES: f64 = 300.0;
/// How much longer something may take that is to take the same, or in proportion: what a busy machine adds.
const SLACK: f64 = 1.5;
/// Comparisons in one repetition: one alone is shorter than the clock can tell.
const COMPARISONS: usize = 1_000;
const RIBLT: Side = Side::Peer("riblt", "");
const NEGENTROPY: Side = Side::Peer("negentropy", "");
const ALL_HASHES: Side = Side::Floor("a hash of each key");
const RIBLT_ENCODE: Side = Side::Peer("riblt", "encoding at one side, of 8-byte hashes");

pub fn rows(report: &mut Report) {
    let mut large = Lazy::new(KEYS);
    for missing in [1, 1_000] {
        bytes(report, &mut large, missing);
    }
    in_sync(report, &mut large);
    for missing in [1, 1_000] {
        time(report, &mut large, missing);
    }
    proportions(report, &mut large);
}

/// Nodes that are made when the first row asks for them.
struct Lazy {
    n: usize,
    pair: Option<Pair>,
}

impl Lazy {
    const fn new(n: usize) -> Self {
        Self { n, pair: None }
    }

    fn pair(&mut self) -> &mut Pair {
        self.pair.get_or_insert_with(|| Pair::new(self.n))
    }
}

/// Two nodes of three, of which one falls behind and catches up, again and again.
pub struct Pair {
    nodes: Nodes,
    value: Bytes,
    next_key: usize,
}

/// What went over the wire in an exchange.
#[derive(Debug, Clone, Copy, Default)]
pub struct Exchange {
    /// All messages, both ways.
    pub bytes: usize,
    /// The entries that were missing: keys, with values, timestamps and events.
    pub entry_bytes: usize,
    pub entries: usize,
}

impl Pair {
    pub fn new(n: usize) -> Self {
        Self {
            nodes: Nodes::three_with(n, VALUE_BYTES),
            value: value(VALUE_BYTES),
            next_key: n,
        }
    }

    /// Writes so many new keys at one node, whose messages to the others are lost.
    pub fn fall_behind(&mut self, missing: usize) {
        for key in keys(self.next_key..self.next_key + missing) {
            self.nodes.put(AHEAD, &key, &self.value, Level::One);
            self.nodes.queue.clear();
        }
        self.next_key += missing;
    }

    /// Lets the other node ask, and get what it lacks.
    pub fn catch_up(&mut self, see: impl FnMut(&Message)) {
        self.nodes.compare(BEHIND, AHEAD);
        self.nodes.run_between(AHEAD, BEHIND, see);
    }

    pub fn is_even(&self) -> bool {
        let known = |node| self.nodes.node(node).replica().knowledge().base();
        known(AHEAD) == known(BEHIND)
    }

    /// An exchange with its messages encoded.
    pub fn exchange(&mut self, missing: usize) -> Exchange {
        self.fall_behind(missing);
        let mut sum = Exchange::default();
        self.catch_up(|message| {
            sum.bytes += wire_bytes(message);
            for listing in message.envelope.message.listings() {
                let replica::StoreListing::Key(listing) = listing else {
                    continue;
                };
                sum.entry_bytes += encoded(&(listing.key(), listing.cell()));
                sum.entries += 1;
            }
        });
        assert!(self.is_even() && sum.entries == missing);
        sum
    }

    /// The processor time of an exchange at both nodes; what was missing is there at its end.
    pub fn timed(&mut self, missing: usize, operations: usize) -> Sample {
        self.fall_behind(missing);
        let start = ThreadTime::now();
        self.catch_up(|_| ());
        let elapsed = start.elapsed();
        assert!(self.is_even());
        Sample {
            nanos: elapsed.as_nanos() as f64 / operations as f64,
            fingerprint: missing as u64,
        }
    }

    /// The processor time of a comparison of equals.
    pub fn timed_in_sync(&mut self) -> Sample {
        let start = ThreadTime::now();
        for _ in 0..COMPARISONS {
            self.catch_up(|_| ());
        }
        Sample {
            nanos: start.elapsed().as_nanos() as f64 / COMPARISONS as f64,
            fingerprint: 0,
        }
    }
}

fn bytes(report: &mut Report, large: &mut Lazy, missing: usize) {
    let name = format!("anti-entropy: {missing} missing of {KEYS}, bytes beyond the entries");
    if report.wants(&name) {
        let exchange = large.pair().exchange(missing);
        let beyond = exchange.bytes - exchange.entry_bytes;
        let row = Row::new(name, Unit::Bytes)
            .with(OURS, beyond as f64)
            .with(RIBLT, Coded::new(KEYS, missing).bytes())
            .with(NEGENTROPY, negentropy_bytes(KEYS, missing) as f64)
            .with(ALL_HASHES, (HASH_BYTES * KEYS) as f64)
            .target(Target::AtMost(OVERHEAD_BYTES));
        report.add(&row);
    }
    let name =
        format!("anti-entropy: {missing} missing of {KEYS}, bytes of the entries themselves");
    if report.wants(&name) {
        let exchange = large.pair().exchange(missing);
        let row = Row::new(name, Unit::Bytes).with(OURS, exchange.entry_bytes as f64);
        report.add(&row);
    }
}

fn in_sync(report: &mut Report, large: &mut Lazy) {
    let name = format!("anti-entropy: nothing missing of {KEYS}, bytes");
    if report.wants(&name) {
        let row = Row::new(name, Unit::Bytes)
            .with(OURS, large.pair().exchange(0).bytes as f64)
            .target(Target::AtMost(OVERHEAD_BYTES));
        report.add(&row);
    }
    let name = format!("anti-entropy: nothing missing of {KEYS}, time to see it");
    if report.wants(&name) {
        let pair = large.pair();
        let row = Row::new(name, Unit::Nanoseconds);
        let row = report
            .contest(row)
            .repeat(OURS, || pair.timed_in_sync())
            .finish();
        report.add(&row);
    }
}

fn time(report: &mut Report, large: &mut Lazy, missing: usize) {
    let name = format!("anti-entropy: {missing} missing of {KEYS}, find, send and join, each");
    if !report.wants(&name) {
        return;
    }
    let pair = large.pair();
    let coded = Coded::new(KEYS, missing);
    let row = Row::new(name, Unit::Nanoseconds);
    let row = report
        .contest(row)
        .repeat(OURS, || pair.timed(missing, missing))
        .repeat(RIBLT_ENCODE, || coded.timed_encode(missing))
        .finish();
    report.add(&row);
}

/// What must not depend on the number of keys, and what must be in proportion to what is missing.
fn proportions(report: &mut Report, large: &mut Lazy) {
    let mut small = Lazy::new(FEW_KEYS);
    let name =
        format!("anti-entropy: seeing that nothing is missing, of {KEYS} against {FEW_KEYS}");
    if report.wants(&name) {
        let (many, few) = medians(
            report,
            || large.pair().timed_in_sync(),
            || small.pair().timed_in_sync(),
        );
        let row = Row::new(name, Unit::Times).with(OURS, many / few);
        report.add(&row.target(Target::AtMost(SLACK)));
    }
    let name = format!("anti-entropy: 1000 missing, of {KEYS} against {FEW_KEYS}");
    if report.wants(&name) {
        let (many, few) = medians(
            report,
            || large.pair().timed(1_000, 1),
            || Pair::new(FEW_KEYS).timed(1_000, 1),
        );
        let row = Row::new(name, Unit::Times).with(OURS, many / few);
        report.add(&row);
    }
    let name = format!("anti-entropy: 1000 missing against 100 missing, of {KEYS}");
    if report.wants(&name) {
        let pair = RefCell::new(large.pair());
        let (many, few) = medians(
            report,
            || pair.borrow_mut().timed(1_000, 1),
            || pair.borrow_mut().timed(100, 1),
        );
        let row = Row::new(name, Unit::Times).with(OURS, many / few);
        report.add(&row.target(Target::AtMost(10.0 * SLACK)));
    }
}

/// The medians of two, which take turns.
fn medians(
    report: &Report,
    mut one: impl FnMut() -> Sample,
    mut other: impl FnMut() -> Sample,
) -> (f64, f64) {
    let as_one_result = |sample: Sample| Sample {
        fingerprint: 0,
        ..sample
    };
    let row = report
        .contest(Row::new("", Unit::Nanoseconds))
        .repeat(OURS, || as_one_result(one()))
        .repeat(Side::Floor("the other"), || as_one_result(other()))
        .finish();
    row.ours_and_floor()
        .expect("both contestants have a figure")
}
