//! What a campaign has measured, as JSON and as a table.

use replica::sim::{Lag, Probes, Report, System};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One seed.
pub(crate) fn of_seed(report: &Report) -> Value {
    let lags = sorted_lags(std::slice::from_ref(report));
    json!({
        "system": report.system.letter().to_string(),
        "seed": report.seed,
        "nodes": report.nodes,
        "converged": report.converged,
        "rounds": report.rounds.len(),
        "messages": report.messages,
        "bytes_per_node": bytes_per_node(report),
        "violations": report.violations,
        "unjudged": report.unjudged,
        "converge_ms": report.converge_ms,
        "rounds_after_new_writes": report.live_rounds,
        "messages_sent_again": report.counters.messages_sent_again,
        "client_retries": report.named.retries,
        "staleness": staleness(&lags),
    })
}

/// All seeds.
pub(crate) fn summary(system: System, reports: &[Report], violations: usize) -> Value {
    let rounds = sorted(reports, |r| r.rounds.len() as u64);
    let times = sorted(reports, |r| r.converge_ms);
    let probes = probes_of(reports);
    let reached = probes.all().into_iter();
    let reached = reached.map(|(path, times)| (path.to_owned(), Value::from(times)));
    json!({
        "seeds": reports.len(),
        "violations": violations,
        "unjudged": unjudged(reports),
        "rounds_p50": percentile(&rounds, 50),
        "rounds_p99": percentile(&rounds, 99),
        "converge_ms_p50": percentile(&times, 50),
        "converge_ms_p99": percentile(&times, 99),
        "rounds_after_new_writes_most": percentile(&sorted(reports, |r| r.live_rounds as u64), 100),
        "messages_sent_again": total(reports, |r| r.counters.messages_sent_again),
        "client_retries": total(reports, |r| r.named.retries),
        "staleness": staleness(&sorted_lags(reports)),
        "reached": Value::Object(reached.collect()),
        "never_reached": probes.missing(system),
    })
}

/// How far reads at level `One` were behind, of all of them and of those that were.
fn staleness(lags: &[Lag]) -> Value {
    let times = |percent| percentile(&of(lags, |lag| lag.ms), percent);
    let writes = |percent| percentile(&of(lags, |lag| lag.writes), percent);
    json!({
        "reads": lags.len(),
        "stale": stale(lags),
        "ms_p50": times(50),
        "ms_p99": times(99),
        "writes_p50": writes(50),
        "writes_p99": writes(99),
    })
}

/// All seeds, for people.
pub(crate) fn table(system: System, reports: &[Report]) -> String {
    let mut out = String::new();
    let mut row = |name: &str, values: &[u64]| {
        let [half, most, all] = [50, 99, 100].map(|percent| percentile(values, percent));
        // Writing into a string does not fail.
        let _ = writeln!(out, "{name:<34} {half:>12} {most:>12} {all:>12}");
    };
    let lags = sorted_lags(reports);
    let per_seed: [(&str, Figure); 9] = [
        ("rounds to converge", |r| r.rounds.len() as u64),
        ("milliseconds to converge", |r| r.converge_ms),
        ("rounds after new writes", |r| r.live_rounds as u64),
        ("messages", |r| r.messages),
        ("bytes per node", bytes_per_node),
        ("messages sent again", |r| r.counters.messages_sent_again),
        ("retries of clients", |r| r.named.retries),
        ("requests answered", |r| r.succeeded.0 as u64),
        ("requests refused", |r| r.refused as u64),
    ];
    for (name, figure) in per_seed {
        row(name, &sorted(reports, figure));
    }
    row(
        "staleness of a read at One, in ms",
        &of(&lags, |lag| lag.ms),
    );
    row("the same, in writes missed", &of(&lags, |lag| lag.writes));
    let heading = format!(
        "{:<34} {:>12} {:>12} {:>12}\n",
        "per seed", "median", "99 %", "most"
    );
    let mut out = heading + &out;
    let _ = writeln!(
        out,
        "{} of {} reads at level One were behind\n\n{:<34} {:>12}",
        stale(&lags),
        lags.len(),
        "reached",
        "times"
    );
    let probes = probes_of(reports);
    for (path, times) in probes.all() {
        let _ = writeln!(out, "{path:<34} {times:>12}");
    }
    let missing = probes.missing(system);
    if !missing.is_empty() {
        let _ = writeln!(out, "\nnever reached: {}", missing.join(", "));
    }
    let unjudged = unjudged(reports);
    if unjudged > 0 {
        let _ = writeln!(
            out,
            "{unjudged} keys have histories with too many orders to be judged"
        );
    }
    out
}

type Figure = fn(&Report) -> u64;

fn bytes_per_node(report: &Report) -> u64 {
    report.bytes / u64::from(report.nodes.max(1))
}

fn probes_of(reports: &[Report]) -> Probes {
    let mut probes = Probes::default();
    for report in reports {
        probes.note(report);
    }
    probes
}

fn total(reports: &[Report], figure: Figure) -> u64 {
    reports.iter().map(figure).sum()
}

fn unjudged(reports: &[Report]) -> usize {
    reports.iter().map(|r| r.unjudged).sum()
}

fn sorted(reports: &[Report], figure: Figure) -> Vec<u64> {
    let mut values: Vec<u64> = reports.iter().map(figure).collect();
    values.sort_unstable();
    values
}

/// All lags, by time.
fn sorted_lags(reports: &[Report]) -> Vec<Lag> {
    let lags = reports
        .iter()
        .flat_map(|report| report.lags.iter().copied());
    let mut lags: Vec<Lag> = lags.collect();
    lags.sort_unstable();
    lags
}

fn of(lags: &[Lag], figure: fn(&Lag) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = lags.iter().map(figure).collect();
    values.sort_unstable();
    values
}

fn stale(lags: &[Lag]) -> usize {
    lags.iter().filter(|lag| lag.writes > 0).count()
}

/// The value below which a share of the sorted values lies.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}
