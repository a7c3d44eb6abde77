//! `replicad status`: what every node holds and lacks.

use clap::Args;
use replica::NodeId;
use std::collections::BTreeSet;
use std::fmt::Write;

use super::{CliError, Target, ask_json, print_json};
use crate::backend::{ClusterStatus, NodeState, NodeStatus};
use crate::client::Client;

#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[expect(
    clippy::print_stdout,
    reason = "the status is the output of the subcommand"
)]
pub(super) async fn status(options: &StatusOptions) -> Result<(), CliError> {
    let mut client = options.target.connect().await?;
    let status = cluster_status(&mut client).await?;
    if options.json {
        return print_json(&status);
    }
    print!("{}", table(&status));
    Ok(())
}

/// Asks a node for the status of the cluster.
pub(super) async fn cluster_status(client: &mut Client) -> Result<ClusterStatus, CliError> {
    ask_json(client, "REPLICAD STATUS", &[b"REPLICAD", b"STATUS"]).await
}

pub(super) const HEAD: [&str; 9] = [
    "NODE",
    "ADDRESS",
    "STATE",
    "INC",
    "KEYS",
    "TOMBSTONES",
    "CONTEXT",
    "LACKS",
    "CHECKSUM",
];

/// The status as a person reads it.
pub(super) fn table(status: &ClusterStatus) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(status.nodes.iter().map(row));
    let mut widths = [0; HEAD.len()];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, &width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let ClusterStatus {
        write_quorum,
        read_quorum,
        data_dir,
        version,
        ..
    } = status;
    let _ = writeln!(
        text,
        "writes are held by {write_quorum} nodes, reads join {read_quorum}; data in {data_dir}; \
         version {version}"
    );
    let _ = writeln!(text, "{}", verdict(&status.nodes));
    text
}

fn row(node: &NodeStatus) -> [String; HEAD.len()] {
    let lacks: Vec<_> = node
        .lacks
        .iter()
        .map(|lack| format!("{} of {}", lack.events, lack.from))
        .collect();
    let failed = !matches!(node.state, NodeState::Up | NodeState::Recovering);
    let shown = |cell: String| if failed { "-".to_owned() } else { cell };
    [
        node.node.0.to_string(),
        node.address.clone(),
        node.state.as_str().to_owned(),
        node.incarnation.clone(),
        shown(node.keys.to_string()),
        shown(node.tombstones.to_string()),
        shown(node.context.clone()),
        shown(if lacks.is_empty() {
            "nothing".into()
        } else {
            lacks.join(", ")
        }),
        node.checksum.clone().unwrap_or_else(|| "-".into()),
    ]
}

/// Whether the nodes that are up hold the same, and which ones are not up.
fn verdict(nodes: &[NodeStatus]) -> String {
    let up: Vec<_> = nodes
        .iter()
        .filter(|node| node.state == NodeState::Up)
        .collect();
    let checksums: BTreeSet<_> = up.iter().map(|node| &node.checksum).collect();
    let mut text = match (up.len(), checksums.len()) {
        (0, _) => "no node is up".to_owned(),
        (1, _) => "one node is up; there is nothing to compare".to_owned(),
        (count, 1) => format!("the checksums of the {count} nodes that are up are equal"),
        (count, _) => format!("the checksums of the {count} nodes that are up DIFFER"),
    };
    for node in nodes.iter().filter(|node| !node.disagreeing.is_empty()) {
        let of: Vec<String> = node.disagreeing.iter().map(NodeId::to_string).collect();
        let _ = write!(
            text,
            "; {} knows the same as {} and holds something else: DAMAGED",
            node.node,
            of.join(", ")
        );
    }
    for node in nodes.iter().filter(|node| node.state != NodeState::Up) {
        let state = match node.state {
            NodeState::Failed => "has failed",
            NodeState::Waiting => "waits for a cluster",
            NodeState::Unreachable => "cannot be reached",
            NodeState::Up | NodeState::Recovering => "is recovering",
        };
        let _ = write!(text, "; {} {state}", node.node);
    }
    text
}
