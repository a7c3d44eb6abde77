//! Values of 1 MiB and a thousand clients, with small requests beside them.

use std::path::Path;
use std::time::Duration;

use super::load::{Load, Outcome, run};
use super::systems::System;
use super::wire::{Wire, Work};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const CLIENTS: usize = 1_000;
/// A request of each client in this time.
const PERIOD: Duration = Duration::from_secs(10);

pub fn rows(report: &mut Report, program: &Path) {
    let paced = "1 MiB, 1,000 clients, a request of each in 10 s";
    let busy = "1 MiB, 1,000 clients, as fast as answers come";
    if !report.wants(paced) && !report.wants(busy) {
        return;
    }
    let ours = match System::ours(program, "sync = \"interval\"") {
        Ok(ours) => ours,
        Err(error) => return eprintln!("left out: rows of 1 MiB: {error}"),
    };
    let counted = Duration::from_secs(if report.options.quick { 10 } else { 30 });
    for (name, period) in [(paced, Some(PERIOD)), (busy, None)] {
        if !report.wants(name) {
            continue;
        }
        match beside(&ours, counted, period) {
            Ok(outcomes) => add(report, name, &outcomes),
            Err(error) => eprintln!("left out: {name}: {error}"),
        }
    }
}

/// Large requests of a thousand clients, and small ones of 20, a hundred a second each.
fn beside(
    ours: &System,
    counted: Duration,
    period: Option<Duration>,
) -> Result<Vec<Outcome>, String> {
    let large = Load {
        connections: CLIENTS,
        together: 1,
        work: Work::Both,
        keys: 64,
        value_bytes: 1 << 20,
        warm_up: Duration::from_secs(2),
        counted,
        period,
        prelude: &[],
    };
    let small = Load {
        connections: 20,
        keys: 1_000_000,
        value_bytes: super::throughput::VALUE_BYTES,
        period: Some(Duration::from_millis(10)),
        ..large.clone()
    };
    let all = &ours.addresses[..];
    run(
        &[(all, Wire::Resp, &large), (all, Wire::Resp, &small)],
        || (),
    )
}

fn add(report: &mut Report, name: &str, outcomes: &[Outcome]) {
    let (large, small) = (&outcomes[0], &outcomes[1]);
    let ms = Unit::Milliseconds;
    let rows = [
        Row::new(format!("{name}: operations per second"), Unit::PerSecond)
            .with(Side::Ours, large.per_second()),
        Row::new(format!("{name}: p50"), ms)
            .with(Side::Ours, large.within(0.5))
            .target(Target::AtMost(500.0)),
        Row::new(format!("{name}: p99"), ms).with(Side::Ours, large.within(0.99)),
        Row::new(format!("{name}: small requests beside them, p50"), ms)
            .with(Side::Ours, small.within(0.5)),
        Row::new(format!("{name}: small requests beside them, p99"), ms)
            .with(Side::Ours, small.within(0.99))
            .target(Target::AtMost(100.0)),
        Row::new(format!("{name}: refused"), Unit::Percent).with(
            Side::Ours,
            100.0 * large.errors as f64 / (large.operations as f64).max(1.0),
        ),
    ];
    for row in &rows {
        report.add(row);
    }
}
