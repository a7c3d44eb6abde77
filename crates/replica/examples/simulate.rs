//! Runs simulator seeds for the majority store (system A) and reports every violation with the command
//! that replays it.
//!
//! ```text
//! cargo run --release -p replica --example simulate -- --seeds 0..1000
//! ```

#![expect(clippy::disallowed_macros, reason = "a command-line front prints")]
#![expect(
    clippy::disallowed_methods,
    reason = "a command-line front sets its exit status"
)]

use replica::Counters;
use replica::sim::{Campaign, run_seed};

fn main() {
    let mut campaign = Campaign::default();
    let mut seeds = 0..100_u64;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let understood = match argument.as_str() {
            "--seeds" => parse_range(&value).map(|range| seeds = range),
            "--actions" => value.parse().ok().map(|actions| campaign.actions = actions),
            _ => None,
        };
        if understood.is_none() {
            eprintln!(
                "usage: simulate [--seeds FROM..TO] [--actions N]; not understood: {argument} {value}"
            );
            std::process::exit(2);
        }
    }
    let (mut bad, mut counters, mut messages) = (0, Counters::default(), 0);
    for seed in seeds.clone() {
        let report = run_seed(seed, &campaign);
        counters = counters.plus(report.counters);
        messages += report.messages;
        if run_seed_differs(seed, &campaign, report.trace_hash) {
            println!("seed {seed} does not replay: two runs differ");
            bad += 1;
        }
        if !report.violations.is_empty() {
            println!("{report}");
            bad += 1;
        }
    }
    println!(
        "seeds {}..{}: {bad} bad, {messages} messages, {counters:#?}",
        seeds.start, seeds.end
    );
    std::process::exit(i32::from(bad > 0));
}

/// Every tenth seed runs twice.
fn run_seed_differs(seed: u64, campaign: &Campaign, hash: u128) -> bool {
    seed.is_multiple_of(10) && run_seed(seed, campaign).trace_hash != hash
}

fn parse_range(text: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = text.split_once("..")?;
    Some(start.parse().ok()?..end.parse().ok()?)
}
