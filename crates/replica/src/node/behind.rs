//! Whose request a message is about: for who follows a request through the nodes.

use super::{MessageOf, Node, NodeMessage, Origin};
use crate::{NodeId, Policy, RequestId};

/// Who has asked for what a node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requester {
    /// A client of this node.
    Client(RequestId),
    /// Another node has forwarded it, under this number of its own.
    Peer {
        /// The node.
        node: NodeId,
        /// Its number for the request.
        number: u64,
    },
}

impl<P: Policy> Node<P> {
    /// For whom this node asks another with this message, if that waits for an answer. What is done for nobody, such as
    /// synchronisation, and what nobody waits for, such as a write at level `One`, is for no requester.
    ///
    /// Time: logarithmic in the pending requests, and linear in those of the same key.
    pub fn requester_of_question(&self, message: &MessageOf<P>) -> Option<Requester> {
        match message {
            NodeMessage::Partition {
                partition,
                envelope,
            } => {
                let partition = self.partitions.get(partition)?;
                self.requester(partition.request_behind_question(&envelope.message)?)
            }
            NodeMessage::Forward { number, .. } => self.forwarder(*number),
            _ => None,
        }
    }

    /// Whose pending request another node answers with this message.
    pub fn requester_of_answer(&self, message: &MessageOf<P>) -> Option<Requester> {
        match message {
            NodeMessage::Partition {
                partition,
                envelope,
            } => {
                let partition = self.partitions.get(partition)?;
                self.requester(partition.request_behind_answer(&envelope.message)?)
            }
            NodeMessage::Answer { number, .. } => self.forwarder(*number),
            _ => None,
        }
    }

    fn requester(&self, request: RequestId) -> Option<Requester> {
        self.origins.get(&request).map(|origin| match *origin {
            Origin::Client(request) => Requester::Client(request),
            Origin::Peer(node, _, number) => Requester::Peer { node, number },
        })
    }

    fn forwarder(&self, number: u64) -> Option<Requester> {
        self.forwards.request_of(number).map(Requester::Client)
    }
}
