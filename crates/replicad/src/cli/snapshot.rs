//! `replicad snapshot` and `replicad restore`: copies of the store of a node.

use clap::Args;
use replica::NodeId;
use std::path::PathBuf;

use super::{CliError, Target, ask_json, print_json};
use crate::storage::{
    ClusterId, SnapshotReport, StoreOwner, read_snapshot_manifest, restore_snapshot,
};

#[derive(Debug, Args)]
pub(super) struct SnapshotOptions {
    /// The directory to be made, on the machine of the node that is asked.
    directory: PathBuf,
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(super) struct RestoreOptions {
    /// The snapshot.
    snapshot: PathBuf,
    /// The data directory to be made.
    #[arg(long)]
    data_dir: PathBuf,
    /// Number of the node that it is for, if not for the one that the snapshot was made of.
    #[arg(long)]
    node: Option<u32>,
    /// Make it a node of a new cluster with this id, 32 hexadecimal digits, the same for all its nodes. Nodes of
    /// the old cluster are refused.
    #[arg(long, value_name = "ID")]
    as_new_cluster: Option<ClusterId>,
    /// Print JSON instead of a sentence.
    #[arg(long)]
    json: bool,
}

#[expect(
    clippy::print_stdout,
    reason = "where it is, is the output of the subcommand"
)]
pub(super) async fn snapshot(options: &SnapshotOptions) -> Result<(), CliError> {
    let mut client = options.target.connect().await?;
    let directory = options
        .directory
        .to_str()
        .ok_or_else(|| CliError::Other("the path of a snapshot is text in UTF-8".into()))?;
    let words: [&[u8]; 3] = [b"REPLICAD", b"SNAPSHOT", directory.as_bytes()];
    let report: SnapshotReport = ask_json(&mut client, "REPLICAD SNAPSHOT", &words).await?;
    if options.json {
        return print_json(&report);
    }
    println!(
        "a snapshot of {}: {} entries, {} bytes, in {}",
        report.manifest.owner.node,
        report.manifest.entries,
        report.manifest.bytes,
        report.path.display()
    );
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "what was made is the output of the subcommand"
)]
pub(super) fn restore(options: &RestoreOptions) -> Result<(), CliError> {
    let made_of = read_snapshot_manifest(&options.snapshot).map_err(CliError::other)?;
    let owner = StoreOwner {
        cluster: options.as_new_cluster.unwrap_or(made_of.owner.cluster),
        node: options.node.map_or(made_of.owner.node, NodeId),
    };
    let restored = restore_snapshot(&options.snapshot, &options.data_dir, Some(owner));
    let manifest = restored.map_err(CliError::other)?;
    if options.json {
        let report = serde_json::json!({
            "data_dir": options.data_dir,
            "node": owner.node,
            "cluster": owner.cluster,
            "snapshot": manifest,
        });
        return print_json(&report);
    }
    println!(
        "{} is the data directory of {} of cluster {}; it catches up with the others when it is started",
        options.data_dir.display(),
        owner.node,
        owner.cluster
    );
    Ok(())
}
