//! The way of a request through the nodes, in their logs at level `debug`.
//!
//! A client's request has the number under which its node took it: `request="2/client/31"`. One that the node cannot
//! serve is forwarded under another number, which the message carries. With the node that asks and the space that names
//! it in the logs of both: `request="2/strings/17"`; the node that forwards it says which two are the same.

use replica::{NodeId, NodeMessage, RequestError, RequestId};

use super::spaces::Spaces;
use super::wire::SpaceMessage;
use crate::logs::shown;
use crate::policies::StringPolicy;
use crate::store::{Space, StoreAnswer, StoreRequest};

/// Whether any of this is wanted.
fn is_wanted() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// A request that was taken just now, if it is to be followed.
pub(super) type Trail = Option<(NodeId, RequestId, Space)>;

/// A client has asked.
pub(super) fn asked(node: NodeId, id: RequestId, request: &StoreRequest) -> Trail {
    if !is_wanted() {
        return None;
    }
    let (key, operation) = (shown(&request.key), request.operation.name());
    let (level, name) = (request.level, client(node, id));
    tracing::debug!(%node, request = name, %key, operation, ?level, "a client asks");
    Some((node, id, request.operation.space()))
}

/// What a client has asked for is on its way, or another node is asked for it.
pub(super) fn forwarded<S: StringPolicy>(trail: Trail, spaces: &Spaces<S>) {
    if let Some((node, id, space)) = trail
        && let Some(number) = spaces.forwarded_as(space, id)
    {
        let (request, as_request) = (client(node, id), name(node, space, number));
        tracing::debug!(%node, request, as_request, "the request of a client is for another node");
    }
}

/// A client is answered.
pub(super) fn answered(node: NodeId, id: RequestId, result: &Result<StoreAnswer, RequestError>) {
    if !is_wanted() {
        return;
    }
    let request = client(node, id);
    match result {
        Ok(_) => tracing::debug!(%node, request, succeeded = true, "a client is answered"),
        Err(error) => {
            tracing::debug!(%node, request, succeeded = false, %error, "a client is answered");
        }
    }
}

/// The name of a client's request.
fn client(node: NodeId, id: RequestId) -> String {
    format!("{}/client/{}", node.0, id.0)
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
