//! Writes and reads, one at a time and many, in memory and on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{Load, Outcome, fill, run};
use super::process::Process;
use super::systems::System;
use super::wire::{Wire, Work};
use crate::report::Report;
use crate::row::{Row, Target, Unit};

/// Keys of the rows whose number of keys is not in their name.
pub const KEYS: u64 = 100_000;
pub const VALUE_BYTES: usize = 64;

const SESSION: &[&[&str]] = &[&["R.LEVEL", "ONE"], &["R.SESSION", "ON"]];
const LINEARIZABLE: &[&[&str]] = &[&["R.LEVEL", "LINEARIZABLE"]];

/// A load with its name and what is to be reached.
struct Scene {
    name: &'static str,
    load: Load,
    /// Commands that our connections begin with.
    ours: &'static [&'static [&'static str]],
    rate: Option<Target>,
    p50: Option<Target>,
    p99: Option<Target>,
}

impl Scene {
    fn new(name: &'static str, work: Work, connections: usize, together: usize) -> Self {
        let load = Load {
            connections,
            together,
            work,
            keys: KEYS,
            value_bytes: VALUE_BYTES,
            warm_up: Duration::ZERO,
            counted: Duration::ZERO,
            period: None,
            prelude: &[],
        };
        Self {
            name,
            load,
            ours: &[],
            rate: None,
            p50: None,
            p99: None,
        }
    }

    /// What is to be reached: operations per second, and milliseconds.
    const fn targets(
        mut self,
        rate: Option<Target>,
        p50: Option<Target>,
        p99: Option<Target>,
    ) -> Self {
        (self.rate, self.p50, self.p99) = (rate, p50, p99);
        self
    }

    const fn ours(mut self, prelude: &'static [&'static [&'static str]]) -> Self {
        self.ours = prelude;
        self
    }
}

/// What is written is in memory when it is acknowledged, and reaches the disk later.
pub fn in_memory(report: &mut Report, program: &Path) {
    use Target::{AtLeast, AtMost};
    let scenes = [
        Scene::new("SET, majority, in memory, 50 connections", Work::Put, 50, 1).targets(
            Some(AtLeast(62_000.0)),
            Some(AtMost(0.75)),
            Some(AtMost(1.9)),
        ),
        Scene::new("SET, majority, in memory, 1 connection", Work::Put, 1, 1).targets(
            None,
            Some(AtMost(0.13)),
            None,
        ),
        Scene::new(
            "SET, majority, in memory, 50 connections, 16 together",
            Work::Put,
            50,
            16,
        )
        .targets(Some(AtLeast(300_000.0)), None, None),
        Scene::new(
            "SET, linearizable, in memory, 50 connections",
            Work::Put,
            50,
            1,
        )
        .ours(LINEARIZABLE),
        Scene::new("GET, linearizable, 50 connections", Work::Get, 50, 1).ours(LINEARIZABLE),
        Scene::new("GET, majority, 50 connections", Work::Get, 50, 1).targets(
            Some(Target::AtLeastBest(1.0)),
            None,
            None,
        ),
        Scene::new("GET, session, 50 connections", Work::Get, 50, 1)
            .ours(SESSION)
            .targets(Some(Target::AtLeastBest(1.0)), None, None),
        Scene::new(
            "GET, majority, 50 connections, 16 together",
            Work::Get,
            50,
            16,
        ),
        Scene::new(
            "GET, session, 50 connections, 16 together",
            Work::Get,
            50,
            16,
        )
        .ours(SESSION)
        .targets(Some(AtLeast(800_000.0)), None, None),
    ];
    let memory = "memory per key, 16 B key and 64 B value, each process";
    if !scenes.iter().any(|scene| report.wants(scene.name)) && !report.wants(memory) {
        return;
    }
    let ours = match System::ours(program, "sync = \"interval\"") {
        Ok(ours) => ours,
        Err(error) => return eprintln!("left out: rows in memory: {error}"),
    };
    let systems: Vec<System> = [Some(ours), System::redis(false), System::redis_replicated()]
        .into_iter()
        .flatten()
        .collect();
    let mut row = Row::new(memory, Unit::Bytes);
    for system in &systems {
        let before = resident(system);
        if let Err(error) = fill(system.addresses[0], 0..KEYS, VALUE_BYTES) {
            return eprintln!("left out: rows in memory: {error}");
        }
        let grown = resident(system).saturating_sub(before);
        let keys = KEYS * system.processes.len() as u64;
        row.put(system.side.clone(), grown as f64 / keys as f64);
    }
    if report.wants(memory) {
        report.add(&row);
    }
    for scene in &scenes {
        // Reads do not wait for replicas.
        let fits = |system: &&System| scene.load.work == Work::Put || system.wire != Wire::RespWait;
        compare(
            report,
            scene,
            &systems.iter().filter(fits).collect::<Vec<_>>(),
        );
    }
}

/// What is written is on disk when it is acknowledged.
pub fn durable(report: &mut Report, program: &Path) {
    use Target::{AtLeast, AtMost};
    let scenes = [
        Scene::new("SET, majority on disk, 64 connections", Work::Put, 64, 1).targets(
            Some(AtLeast(20_000.0)),
            None,
            Some(AtMost(8.0)),
        ),
        Scene::new(
            "SET, linearizable, on disk, 64 connections",
            Work::Put,
            64,
            1,
        )
        .ours(LINEARIZABLE),
        Scene::new("SET, majority on disk, 1 connection", Work::Put, 1, 1),
    ];
    if !scenes.iter().any(|scene| report.wants(scene.name)) {
        return;
    }
    let ours = match System::ours(program, "sync = \"always\"") {
        Ok(ours) => ours,
        Err(error) => return eprintln!("left out: rows on disk: {error}"),
    };
    let systems: Vec<System> = [Some(ours), System::redis(true), System::etcd()]
        .into_iter()
        .flatten()
        .collect();
    for scene in &scenes {
        compare(report, scene, &systems.iter().collect::<Vec<_>>());
    }
}

fn resident(system: &System) -> u64 {
    system.processes.iter().map(Process::resident_bytes).sum()
}

/// Runs a scene on each system in turn, several times, and reports the medians.
fn compare(report: &mut Report, scene: &Scene, systems: &[&System]) {
    if !report.wants(scene.name) {
        return;
    }
    let (rounds, counted) = match report.options.quick {
        true => (1, Duration::from_millis(1_000)),
        false => (3, Duration::from_secs(3)),
    };
    let mut measured: Vec<Vec<Figures>> = vec![Vec::new(); systems.len()];
    for _ in 0..rounds {
        for (system, figures) in systems.iter().zip(&mut measured) {
            let mut load = scene.load.clone();
            (load.warm_up, load.counted) = (counted / 4, counted);
            if system.wire == Wire::Resp && system.side == crate::row::Side::Ours {
                load.prelude = scene.ours;
            }
            match one_run(system, &load) {
                Ok(run) => figures.push(run),
                Err(error) => eprintln!("left out: {}: {:?}: {error}", scene.name, system.side),
            }
        }
    }
    let kinds: [(&str, Unit, Option<Target>); 5] = [
        ("operations per second", Unit::PerSecond, scene.rate),
        ("p50", Unit::Milliseconds, scene.p50),
        ("p99", Unit::Milliseconds, scene.p99),
        ("p99.9", Unit::Milliseconds, None),
        (
            "processor seconds per million operations",
            Unit::Seconds,
            None,
        ),
    ];
    for (index, (kind, unit, target)) in kinds.into_iter().enumerate() {
        let mut row = Row::new(format!("{}: {kind}", scene.name), unit);
        if let Some(target) = target {
            row = row.target(target);
        }
        for (system, figures) in systems.iter().zip(&measured) {
            let mut values: Vec<f64> = figures.iter().map(|figures| figures.0[index]).collect();
            if !values.is_empty() {
                row.put(system.side.clone(), crate::measure::median(&mut values));
            }
        }
        report.add(&row);
    }
}

/// Operations per second, p50, p99, p99.9 in milliseconds, processor seconds per million operations.
#[derive(Debug, Clone, Copy)]
struct Figures([f64; 5]);

fn one_run(system: &System, load: &Load) -> Result<Figures, String> {
    let (warm_up, counted) = (load.warm_up, load.counted);
    let mut cpu = Duration::ZERO;
    let outcomes = run(&[(&system.addresses[..1], system.wire, load)], || {
        std::thread::sleep(warm_up);
        let before = system.cpu();
        std::thread::sleep(counted);
        cpu = system.cpu().saturating_sub(before);
    })?;
    let outcome: &Outcome = &outcomes[0];
    if outcome.errors > 0 {
        return Err(format!(
            "{} of {} were refused",
            outcome.errors, outcome.operations
        ));
    }
    if outcome.operations == 0 {
        return Err("nothing was answered".into());
    }
    Ok(Figures([
        outcome.per_second(),
        outcome.within(0.5),
        outcome.within(0.99),
        outcome.within(0.999),
        cpu.as_secs_f64() * 1e6 / outcome.operations as f64,
    ]))
}

/// Waits until a system takes a write.
///
/// # Errors
/// If it does not.
pub fn until_it_writes(system: &System, patience: Duration) -> Result<(), String> {
    let mut load = Scene::new("", Work::Put, 1, 1).load;
    load.counted = Duration::from_millis(50);
    let start = Instant::now();
    loop {
        match one_run(system, &load) {
            Ok(_) => return Ok(()),
            Err(error) if start.elapsed() > patience => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
