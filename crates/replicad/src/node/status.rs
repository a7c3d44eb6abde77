//! What a node says of itself to an operator, and how nodes ask each other.

use replica::{Node, NodeId, Status, checksum};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use super::mailbox::Mailbox;
use super::spaces::Spaces;
use crate::backend::{Lack, NodeState, NodeStatus};
use crate::policies::{StorePolicy, StringPolicy};
use crate::verification::NodeVerification;

/// A question of one node to another, or the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusMessage {
    /// How is the receiver?
    Ask {
        /// The asker's number for the question.
        number: u64,
    },
    /// The answer.
    Answer {
        /// The asker's number for the question.
        number: u64,
        /// How the sender is.
        status: Box<NodeStatus>,
    },
    /// What does the receiver hold?
    Verify {
        /// The asker's number for the question.
        number: u64,
        /// Whether every entry of the store is to be read too.
        store: bool,
    },
    /// The answer.
    Verified {
        /// The asker's number for the question.
        number: u64,
        /// What the sender holds.
        verification: Box<NodeVerification>,
    },
}

/// A sum that takes a while to be made.
type Sum = Box<dyn FnOnce() -> u128 + Send>;

/// The status of a node, but for its checksum.
struct Report {
    incarnation: String,
    keys: usize,
    tombstones: usize,
    context: String,
    exceptions: usize,
    log_entries: usize,
    lacks: Vec<Lack>,
    disagreeing: Vec<NodeId>,
    sums: Vec<Sum>,
}

/// The status of a node that runs; `None` if it has stopped.
pub(super) async fn status<S: StringPolicy>(
    node: NodeId,
    address: String,
    mailbox: Mailbox<S>,
) -> Option<NodeStatus> {
    let report = mailbox.inspect(report).await.ok()?;
    let sums = report.sums;
    // Hashing every entry takes a while: not on a thread that serves clients.
    let sum = move || {
        sums.into_iter()
            .fold(0u128, |all, sum| all.wrapping_add(sum()))
    };
    let sum = tokio::task::spawn_blocking(sum).await.ok()?;
    Some(NodeStatus {
        node,
        address,
        state: mailbox.state(),
        incarnation: report.incarnation,
        keys: report.keys,
        tombstones: report.tombstones,
        context: report.context,
        exceptions: report.exceptions,
        log_entries: report.log_entries,
        lacks: report.lacks,
        disagreeing: report.disagreeing,
        checksum: Some(format!("{sum:032x}")),
    })
}

/// The status of a node that holds nothing, or cannot be asked.
pub(super) fn without_data(node: NodeId, address: String, state: NodeState) -> NodeStatus {
    NodeStatus {
        node,
        address,
        state,
        incarnation: String::new(),
        keys: 0,
        tombstones: 0,
        context: String::new(),
        exceptions: 0,
        log_entries: 0,
        lacks: Vec::new(),
        disagreeing: Vec::new(),
        checksum: None,
    }
}

fn report<S: StringPolicy>(spaces: &Spaces<S>) -> Report {
    let mut parts = Vec::new();
    collect(&spaces.strings, &mut parts);
    let strings = parts.len();
    collect(&spaces.types, &mut parts);
    let total = |count: fn(&Status) -> usize| parts.iter().map(|(status, _)| count(status)).sum();
    let incarnation = parts.first().and_then(|(status, _)| status.incarnation);
    let mut lacks = BTreeMap::<NodeId, u64>::new();
    for (node, events) in parts.iter().flat_map(|(status, _)| &status.lacks) {
        let sum = lacks.entry(*node).or_default();
        *sum = sum.saturating_add(*events);
    }
    let disagreeing = parts.iter().flat_map(|(status, _)| &status.disagreeing);
    let disagreeing: BTreeSet<NodeId> = disagreeing.copied().collect();
    let lacks = lacks.into_iter().filter(|(_, events)| *events > 0);
    Report {
        incarnation: incarnation.map(|id| id.to_string()).unwrap_or_default(),
        keys: spaces.key_count(),
        tombstones: total(|status| status.tombstones),
        context: contexts(&parts, strings),
        exceptions: total(|status| status.exceptions),
        log_entries: total(|status| status.log_events),
        disagreeing: disagreeing.into_iter().collect(),
        lacks: lacks.map(|(from, events)| Lack { from, events }).collect(),
        sums: parts.into_iter().map(|(_, sum)| sum).collect(),
    }
}

fn collect<P: StorePolicy>(node: &Node<P>, parts: &mut Vec<(Status, Sum)>) {
    for (id, partition) in node.partitions() {
        let map = partition.replica().map().clone();
        // Sums of both spaces and of all partitions add up, and equal entries in two of them differ.
        let salt = u128::from(id.0) << 1 | u128::from(P::SPACE as u8);
        let sum = move || checksum(&map).wrapping_mul(salt << 1 | 1);
        parts.push((partition.status(), Box::new(sum)));
    }
}

/// What is known: of few partitions as they have it, of many in numbers.
fn contexts(parts: &[(Status, Sum)], strings: usize) -> String {
    let known: Vec<&crdt::CausalContext> =
        parts.iter().map(|(status, _)| &status.context).collect();
    match &known[..] {
        [strings, types] if types.is_empty() => strings.to_string(),
        [strings, types] => format!("{strings} types {types}"),
        _ => {
            // Of an incarnation that is closed every event counts as known, also those that never were.
            let ranges = known.iter().flat_map(|context| context.ranges());
            let minted = ranges.filter(|range| range.last < u64::MAX);
            let events = minted.fold(0u64, |sum, range| {
                sum.saturating_add(range.last - range.first + 1)
            });
            format!("{events} events in {strings} partitions of each space")
        }
    }
}
