//! What a node says of itself to an operator who verifies the cluster.

use crdt::CausalContext;
use replica::{Node, NodeId, checksum};
use twox_hash::XxHash3_128;

use super::mailbox::Mailbox;
use super::spaces::Spaces;
use super::starting::SpaceConfigs;
use crate::backend::NodeState;
use crate::policies::{StorePolicy, StringPolicy};
use crate::storage::StoreReader;
use crate::store::Space;
use crate::verification::{ClusterVerification, NodeVerification, PartitionSum, StoreVerdict};

/// A sum that takes a while to be made.
type Sum = Box<dyn FnOnce() -> PartitionSum + Send>;

/// What a node holds. With `store` every entry of the store is read too.
pub(super) async fn verification<S: StringPolicy>(
    node: NodeId,
    mailbox: Mailbox<S>,
    store: Option<StoreReader>,
) -> Option<NodeVerification> {
    let sums = mailbox.inspect(sums).await.ok()?;
    // Not on a thread that serves clients.
    let work = move || {
        let partitions = sums.into_iter().map(|sum| sum()).collect();
        let verdict = store.map(|store| match store.verify() {
            Ok(()) => StoreVerdict::Sound,
            Err(error) => StoreVerdict::Damaged(error.to_string()),
        });
        (partitions, verdict.unwrap_or(StoreVerdict::Unchecked))
    };
    let (partitions, store) = tokio::task::spawn_blocking(work).await.ok()?;
    if let StoreVerdict::Damaged(cause) = &store {
        tracing::error!(%node, cause, "the store is damaged; it is put aside when the node is started again");
    }
    Some(NodeVerification {
        node,
        state: mailbox.state(),
        partitions,
        store,
    })
}

/// A node that has not said what it holds.
pub(super) const fn unsaid(
    node: NodeId,
    state: NodeState,
    store: StoreVerdict,
) -> NodeVerification {
    NodeVerification {
        node,
        state,
        partitions: Vec::new(),
        store,
    }
}

/// Compares what all nodes of a cluster say.
pub(super) fn compare(
    mut nodes: Vec<NodeVerification>,
    configs: &SpaceConfigs,
) -> ClusterVerification {
    nodes.sort_by_key(|held| held.node);
    let owners = [
        (Space::Strings, configs.strings.placement()),
        (Space::Types, configs.types.placement()),
    ]
    .into_iter()
    .flat_map(|(space, placement)| {
        let all = placement.partitions();
        all.map(move |id| (space, id.0, placement.owners(id)))
    });
    ClusterVerification::compare(nodes, owners)
}

fn sums<S: StringPolicy>(spaces: &Spaces<S>) -> Vec<Sum> {
    let mut sums = Vec::new();
    collect(&spaces.strings, &mut sums);
    collect(&spaces.types, &mut sums);
    sums
}

fn collect<P: StorePolicy>(node: &Node<P>, sums: &mut Vec<Sum>) {
    for (id, partition) in node.partitions() {
        let map = partition.replica().map().clone();
        let status = partition.status();
        sums.push(Box::new(move || PartitionSum {
            space: P::SPACE,
            partition: id.0,
            known: known(&status.context),
            exceptions: status.exceptions,
            checksum: format!("{:032x}", checksum(&map)),
        }));
    }
}

fn known(context: &CausalContext) -> String {
    let bytes = postcard::to_stdvec(context).expect("a context serialises into memory");
    format!("{:032x}", XxHash3_128::oneshot(&bytes))
}
