//! `replicad verify`: whether the nodes hold the same.

use clap::Args;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::time;

use super::{CliError, Target, ask_json, print_json};
use crate::verification::{ClusterVerification, StoreVerdict, Verdict};

/// How often nodes that are behind are asked again.
const INTERVAL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct VerifyOptions {
    /// Have every node read every entry of its store too.
    #[arg(long)]
    stores: bool,
    /// How long to wait for nodes that are still to hear of writes.
    #[arg(long, default_value_t = 10)]
    timeout_seconds: u64,
    /// Print JSON instead of sentences.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

/// Compares the nodes. The exit status is 0 if all hold the same, 3 if something is damaged, and 4 if nodes are
/// behind or did not answer.
#[expect(
    clippy::print_stdout,
    reason = "the outcome is the output of the subcommand"
)]
pub(super) async fn verify(options: &VerifyOptions) -> Result<ExitCode, CliError> {
    let mut client = options.target.connect().await?;
    let mut words: Vec<&[u8]> = vec![b"REPLICAD", b"VERIFY"];
    if options.stores {
        words.push(b"STORES");
    }
    let deadline = Instant::now() + Duration::from_secs(options.timeout_seconds);
    let verification: ClusterVerification = loop {
        let found: ClusterVerification = ask_json(&mut client, "REPLICAD VERIFY", &words).await?;
        if found.outcome != Verdict::Behind || Instant::now() >= deadline {
            break found;
        }
        time::sleep(INTERVAL).await;
    };
    match options.json {
        true => print_json(&verification)?,
        false => print!("{}", sentences(&verification)),
    }
    Ok(match verification.outcome {
        Verdict::Equal => ExitCode::SUCCESS,
        Verdict::Damaged => ExitCode::from(3),
        Verdict::Behind | Verdict::Incomplete => ExitCode::from(4),
    })
}

/// The outcome as a person reads it.
fn sentences(verification: &ClusterVerification) -> String {
    let mut text = String::new();
    for node in &verification.nodes {
        let _ = match &node.store {
            _ if node.partitions.is_empty() => {
                writeln!(
                    text,
                    "{} did not answer: {}",
                    node.node,
                    node.state.as_str()
                )
            }
            StoreVerdict::Unchecked => Ok(()),
            StoreVerdict::Sound => writeln!(text, "{}: the store is sound", node.node),
            StoreVerdict::Busy => writeln!(text, "{}: another check is going on", node.node),
            StoreVerdict::Damaged(cause) => writeln!(
                text,
                "{}: THE STORE IS DAMAGED: {cause}; start the node again to have it put aside",
                node.node
            ),
        };
    }
    let mut alike = BTreeMap::<_, Vec<String>>::new();
    for partition in &verification.unequal {
        let numbers = alike.entry((partition.space, partition.verdict));
        numbers.or_default().push(partition.partition.to_string());
    }
    for ((space, verdict), numbers) in alike {
        let what = match verdict {
            Verdict::Damaged => "owners know the same and show something else: DAMAGED",
            Verdict::Incomplete => "not all owners answered",
            _ => "some owners are still to hear of writes",
        };
        let _ = writeln!(text, "{space}, partitions {}: {what}", numbers.join(", "));
    }
    let _ = writeln!(
        text,
        "{}",
        match verification.outcome {
            Verdict::Equal => "all nodes hold the same",
            Verdict::Behind =>
                "nothing is damaged as far as can be seen, and some nodes are behind",
            Verdict::Incomplete => "nothing is damaged as far as can be seen, and not all answered",
            Verdict::Damaged => "something is DAMAGED",
        }
    );
    text
}
