//! The way of a request through the nodes, in their logs at level `debug`.
//!
//! A request that a node cannot serve is forwarded under a number that the message carries. With the node that asks
//! and the space it names the request in the logs of both: `request="2/strings/17"`.

use replica::{NodeId, NodeMessage, RequestId};

use super::wire::SpaceMessage;
use crate::logs::shown;
use crate::policies::StringPolicy;
use crate::store::{Space, StoreRequest};

/// Whether any of this is wanted.
fn is_wanted() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// A client has asked.
pub(super) fn asked(node: NodeId, id: RequestId, request: &StoreRequest) {
    if is_wanted() {
        let (key, operation) = (shown(&request.key), request.operation.name());
        tracing::debug!(%node, client_request = id.0, %key, operation, "a client asks");
    }
}

/// A message leaves the node.
pub(super) fn sent<S: StringPolicy>(node: NodeId, to: NodeId, message: &SpaceMessage<S>) {
    if !is_wanted() {
        return;
    }
    match parts(message) {
        Some((space, Part::Forward { number, key })) => {
            let (request, key) = (name(node, space, number), shown(key));
            tracing::debug!(%node, request, %to, %key, "a request is forwarded");
        }
        Some((space, Part::Answer { number, succeeded })) => {
            let request = name(to, space, number);
            tracing::debug!(%node, request, %to, succeeded, "a forwarded request is answered");
        }
        None => {}
    }
}

/// A message reaches the node.
pub(super) fn received<S: StringPolicy>(node: NodeId, from: NodeId, message: &SpaceMessage<S>) {
    if !is_wanted() {
        return;
    }
    match parts(message) {
        Some((space, Part::Forward { number, key })) => {
            let (request, key) = (name(from, space, number), shown(key));
            tracing::debug!(%node, request, %from, %key, "a forwarded request arrives");
        }
        Some((space, Part::Answer { number, succeeded })) => {
            let request = name(node, space, number);
            tracing::debug!(%node, request, %from, succeeded, "the answer to a forwarded request arrives");
        }
        None => {}
    }
}

/// The name of a forwarded request.
fn name(asker: NodeId, space: Space, number: u64) -> String {
    format!("{}/{space}/{number}", asker.0)
}

enum Part<'m> {
    Forward { number: u64, key: &'m [u8] },
    Answer { number: u64, succeeded: bool },
}

fn parts<S: StringPolicy>(message: &SpaceMessage<S>) -> Option<(Space, Part<'_>)> {
    fn of<C, W>(message: &NodeMessage<C, W>) -> Option<Part<'_>> {
        match message {
            NodeMessage::Forward {
                number, request, ..
            } => Some(Part::Forward {
                number: *number,
                key: request.command.key(),
            }),
            NodeMessage::Answer { number, result } => Some(Part::Answer {
                number: *number,
                succeeded: result.is_ok(),
            }),
            _ => None,
        }
    }
    match message {
        SpaceMessage::Strings(message) => of(message).map(|part| (Space::Strings, part)),
        SpaceMessage::Types(message) => of(message).map(|part| (Space::Types, part)),
    }
}
