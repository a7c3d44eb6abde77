//! Which request a message is about: for who follows a request through the nodes.

use super::Partition;
use crate::{Message, Policy, RequestId};

impl<P: Policy> Partition<P> {
    /// The pending request for which this node asks another owner with this message. Several that one event answers
    /// are known by the one that it was made for.
    pub(crate) fn request_behind_question(&self, message: &Message<P::Cell>) -> Option<RequestId> {
        match message {
            Message::Write { dot, .. } => self.writes.request_of(*dot),
            Message::Read { read, .. } | Message::WriteBack { read, .. } => {
                self.reads.request_of(*read)
            }
            _ => None,
        }
    }

    /// The pending request that another owner answers with this message.
    pub(crate) fn request_behind_answer(&self, message: &Message<P::Cell>) -> Option<RequestId> {
        match message {
            Message::Acknowledged { dot, .. } | Message::Superseded { dot, .. } => {
                self.writes.request_of(*dot)
            }
            Message::ReadAnswer { read, .. } | Message::WrittenBack { read } => {
                self.reads.request_of(*read)
            }
            _ => None,
        }
    }
}
