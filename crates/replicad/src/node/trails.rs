//! The way of a request through the nodes, in their logs at level `debug`.
//!
//! A request has the name of the client's request at the node that took it: `request="2/client/31"`. The messages that
//! this node sends for it carry the name, and so do those that the owner sends to which it was forwarded: all nodes log
//! what they do for it under that name. Only who logs at this level makes messages carry names. A message that does not
//! get through, or that is answered late, does not show.

use replica::{Message, NodeId, NodeMessage, RequestError, RequestId, Requester};
use std::collections::BTreeMap;

use super::spaces::Spaces;
use super::wire::{RequestName, SpaceMessage};
use crate::logs::shown;
use crate::policies::StringPolicy;
use crate::store::{Space, StoreAnswer, StoreRequest};

/// Forwarded requests whose names are kept until they are answered. Of more than these the names end where they
/// were forwarded.
const MAX_NAMES: usize = 1 << 16;

/// Whether any of this is wanted.
fn is_wanted() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// A client has asked.
pub(super) fn asked(node: NodeId, id: RequestId, request: &StoreRequest) {
    if !is_wanted() {
        return;
    }
    let (key, operation) = (shown(&request.key), request.operation.name());
    let (level, request) = (request.level, RequestName::new(node, id));
    tracing::debug!(%node, request = request.text(), %key, operation, ?level, "a client asks");
}

/// A client is answered.
pub(super) fn answered(node: NodeId, id: RequestId, result: &Result<StoreAnswer, RequestError>) {
    if !is_wanted() {
        return;
    }
    let request = RequestName::new(node, id).text();
    match result {
        Ok(_) => tracing::debug!(%node, request, succeeded = true, "a client is answered"),
        Err(error) => {
            tracing::debug!(%node, request, succeeded = false, %error, "a client is answered");
        }
    }
}

/// The names of the requests that were forwarded to a node, by who asks, and the number that the asker gives them.
#[derive(Debug, Default)]
pub(super) struct Trails {
    forwarded: BTreeMap<(NodeId, Space, u64), RequestName>,
}

impl Trails {
    /// A message leaves the node. The name of the request that it is for, if that is known and to be told.
    pub(super) fn sent<S: StringPolicy>(
        &mut self,
        node: NodeId,
        to: NodeId,
        message: &SpaceMessage<S>,
        requester: impl FnOnce() -> Option<Requester>,
    ) -> Option<RequestName> {
        if !is_wanted() {
            return None;
        }
        let (space, part) = part(message)?;
        match part {
            Part::Question(what) => {
                let name = self.name(node, space, requester()?)?;
                let request = name.text();
                tracing::debug!(%node, request, %to, what, "an owner is asked");
                Some(name)
            }
            Part::Forward { key, .. } => {
                let name = self.name(node, space, requester()?)?;
                let (request, key) = (name.text(), shown(key));
                tracing::debug!(%node, request, %to, %key, "a request is forwarded");
                Some(name)
            }
            Part::ForwardAnswer { number, succeeded } => {
                let name = self.forwarded.remove(&(to, space, number))?;
                let request = name.text();
                tracing::debug!(%node, request, %to, succeeded, "a forwarded request is answered");
                Some(name)
            }
            Part::Answer(_) => None,
        }
    }

    /// A message reaches the node, with the name of the request that it is for if its sender has told it.
    pub(super) fn received<S: StringPolicy>(
        &mut self,
        node: NodeId,
        from: NodeId,
        message: &SpaceMessage<S>,
        name: Option<RequestName>,
        spaces: &Spaces<S>,
    ) {
        if !is_wanted() {
            return;
        }
        let Some((space, part)) = part(message) else {
            return;
        };
        match part {
            Part::Question(what) => {
                if let Some(request) = name.map(RequestName::text) {
                    tracing::debug!(%node, request, %from, what, "asked as an owner");
                }
            }
            Part::Forward { number, key } => {
                if let Some(name) = name {
                    self.keep((from, space, number), name);
                    let (request, key) = (name.text(), shown(key));
                    tracing::debug!(%node, request, %from, %key, "a forwarded request arrives");
                }
            }
            Part::Answer(what) => {
                let requester = spaces.requester_of_answer(message);
                if let Some(name) = requester.and_then(|r| self.name(node, space, r)) {
                    let request = name.text();
                    tracing::debug!(%node, request, %from, what, "an owner has answered");
                }
            }
            Part::ForwardAnswer { succeeded, .. } => {
                let requester = spaces.requester_of_answer(message);
                if let Some(name) = requester.and_then(|r| self.name(node, space, r)) {
                    let request = name.text();
                    tracing::debug!(%node, request, %from, succeeded, "the answer to a forwarded request arrives");
                }
            }
        }
    }

    fn name(&self, node: NodeId, space: Space, requester: Requester) -> Option<RequestName> {
        match requester {
            Requester::Client(id) => Some(RequestName::new(node, id)),
            Requester::Peer { node, number } => self.forwarded.get(&(node, space, number)).copied(),
        }
    }

    fn keep(&mut self, asked: (NodeId, Space, u64), name: RequestName) {
        if self.forwarded.len() < MAX_NAMES || self.forwarded.contains_key(&asked) {
            self.forwarded.insert(asked, name);
        }
    }
}

/// What a message is to a request.
enum Part<'m> {
    /// An owner is asked.
    Question(&'static str),
    /// An owner answers.
    Answer(&'static str),
    Forward {
        number: u64,
        key: &'m [u8],
    },
    ForwardAnswer {
        number: u64,
        succeeded: bool,
    },
}

fn part<S: StringPolicy>(message: &SpaceMessage<S>) -> Option<(Space, Part<'_>)> {
    fn of<C, W>(message: &NodeMessage<C, W>) -> Option<Part<'_>> {
        match message {
            NodeMessage::Forward {
                number, request, ..
            } => Some(Part::Forward {
                number: *number,
                key: request.command.key(),
            }),
            NodeMessage::Answer { number, result } => Some(Part::ForwardAnswer {
                number: *number,
                succeeded: result.is_ok(),
            }),
            NodeMessage::Partition { envelope, .. } => match &envelope.message {
                Message::Write { .. } => Some(Part::Question("write")),
                Message::Read { .. } => Some(Part::Question("read")),
                Message::WriteBack { .. } => Some(Part::Question("write back")),
                Message::Acknowledged { .. } => Some(Part::Answer("acknowledged")),
                Message::Superseded { .. } => Some(Part::Answer("superseded")),
                Message::ReadAnswer { .. } => Some(Part::Answer("read")),
                Message::WrittenBack { .. } => Some(Part::Answer("written back")),
                _ => None,
            },
            _ => None,
        }
    }
    match message {
        SpaceMessage::Strings(message) => of(message).map(|part| (Space::Strings, part)),
        SpaceMessage::Types(message) => of(message).map(|part| (Space::Types, part)),
    }
}
