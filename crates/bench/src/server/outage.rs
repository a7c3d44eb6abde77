//! A node that is killed under load, one that starts with its data, and one that comes back without.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{Load, fill, run};
use super::systems::System;
use super::throughput::{KEYS, VALUE_BYTES};
use super::wire::{Wire, Work};
use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

/// The node that fails.
const LOST: usize = 2;
/// Bytes of the values of the rows that are not about load.
const RECOVERED_BYTES: usize = 100;

pub fn rows(report: &mut Report, program: &Path) {
    let (recovered, started) = match report.options.quick {
        true => (50_000, 100_000),
        false => (500_000, 1_000_000),
    };
    let stall = "one of three killed under load: longest stall of the others' clients";
    let recovery = format!("recovery of a node without data, {recovered} keys of 100 B");
    let start = format!("start of a node with {started} keys of 100 B, after a stop");
    let crash = format!("start of a node with {started} keys of 100 B, after kill -9");
    if [stall, &recovery, &start, &crash]
        .iter()
        .any(|name| report.wants(name))
    {
        let names = (stall, recovery.as_str(), [start.as_str(), crash.as_str()]);
        if let Err(error) = run_rows(report, program, names, (recovered, started)) {
            eprintln!("left out: rows of outages: {error}");
        }
    }
}

fn run_rows(
    report: &mut Report,
    program: &Path,
    (stall, recovery, starts): (&str, &str, [&str; 2]),
    (recovered, started): (u64, u64),
) -> Result<(), String> {
    let mut ours = System::ours(program, "sync = \"interval\"")?;
    if report.wants(stall) {
        let row = Row::new(stall, Unit::Milliseconds).target(Target::AtMost(1000.0));
        let longest = longest_stall(&mut ours)?;
        report.add(&row.with(Side::Ours, longest));
        ours.restart(LOST)?;
        ours.until_up(LOST)?;
    }
    fill(ours.addresses[0], 0..recovered, RECOVERED_BYTES)?;
    if report.wants(recovery) {
        ours.processes[LOST].kill();
        ours.lose_data(LOST)?;
        let time = time_to_start(&mut ours)?;
        report.add(&Row::new(recovery, Unit::Milliseconds).with(Side::Ours, time));
    }
    if starts.iter().any(|name| report.wants(name)) {
        fill(ours.addresses[0], recovered..started, RECOVERED_BYTES)?;
        ours.processes[LOST]
            .stop()
            .map_err(|error| error.to_string())?;
        let time = time_to_start(&mut ours)?;
        report.add(&Row::new(starts[0], Unit::Milliseconds).with(Side::Ours, time));
        ours.processes[LOST].kill();
        let time = time_to_start(&mut ours)?;
        report.add(&Row::new(starts[1], Unit::Milliseconds).with(Side::Ours, time));
    }
    Ok(())
}

/// Milliseconds from the start of the lost node until it answers a read.
fn time_to_start(ours: &mut System) -> Result<f64, String> {
    let start = Instant::now();
    ours.restart(LOST)?;
    ours.until_up(LOST)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds that the slowest write of the clients of two nodes takes while the third is killed.
fn longest_stall(ours: &mut System) -> Result<f64, String> {
    let load = Load {
        connections: 50,
        together: 1,
        work: Work::Put,
        keys: KEYS,
        value_bytes: VALUE_BYTES,
        warm_up: Duration::from_millis(500),
        counted: Duration::from_secs(5),
        period: None,
        prelude: &[],
    };
    let addresses = ours.addresses[..LOST].to_vec();
    let lost = &mut ours.processes[LOST];
    let outcomes = run(&[(&addresses, Wire::Resp, &load)], move || {
        std::thread::sleep(Duration::from_secs(2));
        lost.kill();
    })?;
    match outcomes[0].errors {
        0 => Ok(outcomes[0].within(1.0)),
        errors => Err(format!(
            "{errors} writes were refused while a node was killed"
        )),
    }
}
