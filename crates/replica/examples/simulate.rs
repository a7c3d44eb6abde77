//! Runs simulator seeds of a system and reports every violation with the command that replays it.
//!
//! ```text
//! cargo run --release -p replica --example simulate -- --system A --seeds 0..1000
//! cargo run --release -p replica --example simulate -- --system E --nodes 1000 --fanout 5 --loss 0.1
//! cargo run --release -p replica --example simulate -- --system A --seeds 17..18 --shrink
//! ```

#![expect(clippy::disallowed_macros, reason = "a command-line front prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "a command-line front sets its exit status"
)]

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use replica::Counters;
use replica::sim::{
    Campaign, DiskFaults, NamedWrites, Report, System, record_seed, run_seed, shrink,
};
use std::path::PathBuf;

#[path = "simulate/plot.rs"]
mod plot;

/// Runs simulator seeds of a system under random faults and checks every promise it makes.
#[derive(Debug, Parser)]
struct Options {
    /// The system: A majority, B timestamped, C causal, D siblings, E gossip, L linearizable.
    #[arg(long, default_value = "A", value_parser = parse_system)]
    system: System,
    /// The seeds, as FROM..TO.
    #[arg(long, default_value = "0..100", value_parser = parse_range)]
    seeds: std::ops::Range<u64>,
    /// Random actions in each run; 150 if it is not given. Without it a run of E with more than 100 nodes is
    /// about one write that spreads while messages are lost.
    #[arg(long)]
    actions: Option<usize>,
    /// Number of nodes; drawn from each seed if it is not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(3..=i64::from(replica::MAX_NODES)))]
    nodes: Option<u32>,
    /// Peers that a node gossips with in a round.
    #[arg(long, default_value_t = Campaign::default().fanout, value_parser = clap::value_parser!(u32).range(1..))]
    fanout: u32,
    /// Probability that a message is lost; drawn from each seed if it is not given.
    #[arg(long, value_parser = parse_probability)]
    loss: Option<f64>,
    /// Reduce every seed that fails to a small schedule that still fails, and print it as a test.
    #[arg(long)]
    shrink: bool,
    /// Most runs for reducing one seed.
    #[arg(long, default_value_t = 5_000)]
    shrink_runs: usize,
    /// Print one JSON object for each seed and one for all of them.
    #[arg(long)]
    json: bool,
    /// Write a plot of convergence and of bytes per round to this file.
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// With more nodes than this a run of E is about how a write spreads, unless it is said what happens.
const SPREAD_ABOVE: u32 = 100;

fn main() {
    let options = Options::parse();
    let campaign = Campaign {
        system: options.system,
        spread: options.actions.is_none()
            && options.system == System::Gossip
            && options.nodes > Some(SPREAD_ABOVE),
        actions: options.actions.unwrap_or(Campaign::default().actions),
        nodes: options.nodes,
        fanout: options.fanout,
        loss: options.loss,
        ..Campaign::default()
    };
    let bar = ProgressBar::new(options.seeds.end.saturating_sub(options.seeds.start));
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {pos}/{len} seeds, {eta} left, {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    if options.json {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let mut reports: Vec<Report> = Vec::new();
    let mut violations = 0;
    for seed in options.seeds.clone() {
        let mut report = run_seed(seed, &campaign);
        // Every tenth seed runs twice.
        if seed.is_multiple_of(10) && run_seed(seed, &campaign).trace_hash != report.trace_hash {
            report
                .violations
                .push("the seed does not replay: two runs differ".into());
        }
        violations += report.violations.len();
        if options.json {
            println!("{}", json_of(&report));
        } else if !report.violations.is_empty() {
            bar.suspend(|| println!("{report}"));
        }
        if options.shrink && !report.violations.is_empty() {
            bar.suspend(|| print_shrunk(seed, &campaign, &options));
        }
        bar.set_message(format!("{violations} violations"));
        bar.inc(1);
        reports.push(report);
    }
    bar.finish_and_clear();
    match options.json {
        true => println!("{}", summary(&reports, violations)),
        false => print_table(&options, &reports, violations),
    }
    if let Some(path) = options.svg
        && let Err(error) = std::fs::write(&path, plot::svg(&reports))
    {
        eprintln!("{}: {error}", path.display());
        std::process::exit(2);
    }
    std::process::exit(i32::from(violations > 0));
}

/// Prints the small schedule as a test: with `--json` as a line of its own on standard error.
fn print_shrunk(seed: u64, campaign: &Campaign, options: &Options) {
    let (_, schedule) = record_seed(seed, campaign);
    let fails = |report: &Report| !report.violations.is_empty();
    let small = schedule.and_then(|schedule| shrink(&schedule, options.shrink_runs, fails));
    match small {
        Some(small) if options.json => eprintln!("{small}"),
        Some(small) => println!("{small}"),
        None => eprintln!("seed {seed} cannot be reduced: it is no run of single steps"),
    }
}

fn parse_system(text: &str) -> Result<System, String> {
    let mut letters = text.chars();
    let system = letters.next().and_then(System::of_letter);
    let system = system.filter(|_| letters.next().is_none());
    system.ok_or_else(|| format!("{text:?} is none of A, B, C, D, E, L"))
}

fn parse_range(text: &str) -> Result<std::ops::Range<u64>, String> {
    let (start, end) = text.split_once("..").ok_or("expected FROM..TO")?;
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text:?}: {e}"));
    let range = number(start)?..number(end)?;
    match range.is_empty() {
        true => Err("there is no seed in it".into()),
        false => Ok(range),
    }
}

fn parse_probability(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|e| format!("{text:?}: {e}"))?;
    match (0.0..=1.0).contains(&value) {
        true => Ok(value),
        false => Err(format!("{value} is not between 0 and 1")),
    }
}

fn bytes_per_node(report: &Report) -> u64 {
    report.bytes / u64::from(report.nodes.max(1))
}

fn json_of(report: &Report) -> serde_json::Value {
    serde_json::json!({
        "system": report.system.letter().to_string(),
        "seed": report.seed,
        "nodes": report.nodes,
        "converged": report.converged,
        "rounds": report.rounds.len(),
        "messages": report.messages,
        "bytes_per_node": bytes_per_node(report),
        "violations": report.violations,
        "unjudged": report.unjudged,
    })
}

/// The value below which a share of the sorted values lies.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

fn sorted(reports: &[Report], value: impl Fn(&Report) -> u64) -> Vec<u64> {
    let mut values: Vec<u64> = reports.iter().map(value).collect();
    values.sort_unstable();
    values
}

fn summary(reports: &[Report], violations: usize) -> serde_json::Value {
    let rounds = sorted(reports, |r| r.rounds.len() as u64);
    let (counters, named) = (counters_of(reports), named_of(reports));
    serde_json::json!({
        "seeds": reports.len(),
        "violations": violations,
        "unjudged": reports.iter().map(|r| r.unjudged).sum::<usize>(),
        "rounds_p50": percentile(&rounds, 50),
        "rounds_p99": percentile(&rounds, 99),
        "named": {
            "begun": named.begun,
            "retries": named.retries,
            "answered_elsewhere": named.answered_elsewhere,
            "found": counters.operations_found,
            "carried_out_after_denial": counters.operations_begun,
            "unknown": named.unknown,
            "forgotten": named.forgotten,
            "undecided": named.undecided,
        },
    })
}

fn counters_of(reports: &[Report]) -> Counters {
    let counters = reports.iter().map(|r| r.counters);
    counters.fold(Counters::default(), Counters::plus)
}

fn named_of(reports: &[Report]) -> NamedWrites {
    let named = reports.iter().map(|r| r.named);
    named.fold(NamedWrites::default(), NamedWrites::plus)
}

fn print_table(options: &Options, reports: &[Report], violations: usize) {
    let figures: [(&str, Vec<u64>); 5] = [
        (
            "rounds to converge",
            sorted(reports, |r| r.rounds.len() as u64),
        ),
        ("messages", sorted(reports, |r| r.messages)),
        ("bytes per node", sorted(reports, bytes_per_node)),
        (
            "requests answered",
            sorted(reports, |r| r.succeeded.0 as u64),
        ),
        ("requests refused", sorted(reports, |r| r.refused as u64)),
    ];
    println!(
        "{:<22} {:>12} {:>12} {:>12}",
        "per seed", "median", "99 %", "most"
    );
    for (name, values) in figures {
        let (half, most) = (percentile(&values, 50), percentile(&values, 100));
        println!(
            "{name:<22} {half:>12} {:>12} {most:>12}",
            percentile(&values, 99)
        );
    }
    let (counters, named) = (counters_of(reports), named_of(reports));
    let disks = reports.iter().map(|r| r.disk_faults);
    let disks = disks.fold(DiskFaults::default(), DiskFaults::plus);
    println!("{counters:#?}\n{disks:#?}\n{named:#?}");
    let (system, seeds) = (options.system.letter(), &options.seeds);
    let unjudged: usize = reports.iter().map(|r| r.unjudged).sum();
    if unjudged > 0 {
        println!("{unjudged} keys have histories with too many orders to be judged");
    }
    println!(
        "system {system}, seeds {}..{}: {violations} violations",
        seeds.start, seeds.end
    );
}
