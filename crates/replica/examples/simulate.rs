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
use replica::sim::{Campaign, Report, System, record_seed, run_seed, shrink};
use std::path::PathBuf;

#[path = "simulate/figures.rs"]
mod figures;

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
    /// Run each seed once. Otherwise every seed runs twice, and both runs must be the same to the last message.
    #[arg(long)]
    once: bool,
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
        if !options.once && run_seed(seed, &campaign).trace_hash != report.trace_hash {
            report
                .violations
                .push("the seed does not replay: two runs differ".into());
        }
        violations += report.violations.len();
        if options.json {
            println!("{}", figures::of_seed(&report));
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
        true => println!("{}", figures::summary(options.system, &reports, violations)),
        false => {
            print!("{}", figures::table(options.system, &reports));
            let (system, seeds) = (options.system.letter(), &options.seeds);
            let (start, end) = (seeds.start, seeds.end);
            println!("system {system}, seeds {start}..{end}: {violations} violations");
        }
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
