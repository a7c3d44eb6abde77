//! Questions of an operator that nodes ask each other: how they are, and what they hold.

use replica::NodeId;
use std::collections::BTreeMap;
use std::sync::PoisonError;
use tokio::sync::oneshot;

use super::network::Network;
use super::status::{StatusMessage, status, without_data};
use super::verifying::{unsaid, verification};
use super::wire::WireMessage;
use crate::backend::{NodeState, NodeStatus};
use crate::policies::StringPolicy;
use crate::verification::{NodeVerification, StoreVerdict};

/// Questions to other nodes that are waited for at once.
const STATUS_QUESTIONS: usize = 1 << 12;

/// Questions to other nodes that wait for their answers.
#[derive(Debug)]
pub(super) struct Questions {
    waiting: BTreeMap<u64, (NodeId, Waiting)>,
    next: u64,
}

/// Who waits for an answer.
#[derive(Debug)]
enum Waiting {
    Status(oneshot::Sender<NodeStatus>),
    Verification(oneshot::Sender<NodeVerification>),
}

impl Waiting {
    fn is_closed(&self) -> bool {
        match self {
            Self::Status(waiting) => waiting.is_closed(),
            Self::Verification(waiting) => waiting.is_closed(),
        }
    }
}

impl Questions {
    /// None yet. The first number is random, so that answers to another life of the node find no question.
    pub(super) const fn new(next: u64) -> Self {
        let waiting = BTreeMap::new();
        Self { waiting, next }
    }
}

impl<S: StringPolicy> Network<S> {
    /// How this node is.
    pub(super) async fn own_status(&self) -> NodeStatus {
        let (node, address) = (self.node, self.address_of(self.node));
        let running = match self.mailbox() {
            Some(mailbox) => status(node, address.clone(), mailbox.clone()).await,
            None => return without_data(node, address, NodeState::Waiting),
        };
        running.unwrap_or_else(|| without_data(node, address, NodeState::Failed))
    }

    /// What this node holds. With `store` every entry of its store is read too.
    pub(super) async fn own_verification(&self, store: bool) -> NodeVerification {
        let without = |verdict| unsaid(self.node, self.state(), verdict);
        let Ok(_turn) = self.verifying.try_acquire() else {
            return without(StoreVerdict::Busy);
        };
        let reader = self.store().filter(|_| store);
        let held = match self.mailbox() {
            Some(mailbox) => verification(self.node, mailbox.clone(), reader).await,
            None => None,
        };
        held.unwrap_or_else(|| without(StoreVerdict::Unchecked))
    }

    /// Asks another node how it is. Whoever waits gives up by dropping the receiver.
    pub(super) fn ask_status(&self, to: NodeId) -> oneshot::Receiver<NodeStatus> {
        let (sender, receiver) = oneshot::channel();
        let number = self.note_question(to, Waiting::Status(sender));
        self.send(to, &WireMessage::Status(StatusMessage::Ask { number }));
        receiver
    }

    /// Asks another node what it holds.
    pub(super) fn ask_verification(
        &self,
        to: NodeId,
        store: bool,
    ) -> oneshot::Receiver<NodeVerification> {
        let (sender, receiver) = oneshot::channel();
        let number = self.note_question(to, Waiting::Verification(sender));
        let question = StatusMessage::Verify { number, store };
        self.send(to, &WireMessage::Status(question));
        receiver
    }

    /// The number of a question to another node.
    fn note_question(&self, to: NodeId, sender: Waiting) -> u64 {
        {
            let mut questions = self
                .questions
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let number = questions.next;
            questions.next = number.wrapping_add(1);
            questions
                .waiting
                .retain(|_, (_, waiting)| !waiting.is_closed());
            if questions.waiting.len() < STATUS_QUESTIONS {
                questions.waiting.insert(number, (to, sender));
            }
            number
        }
    }

    /// Who waits for the answer of a node to a question.
    fn asker(&self, from: NodeId, number: u64) -> Option<Waiting> {
        let mut questions = self
            .questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_asked = questions
            .waiting
            .get(&number)
            .is_some_and(|(node, _)| *node == from);
        match is_asked {
            true => questions
                .waiting
                .remove(&number)
                .map(|(_, waiting)| waiting),
            false => None,
        }
    }

    pub(super) fn note_status(&self, from: NodeId, number: u64, status: NodeStatus) {
        if status.node == from
            && let Some(Waiting::Status(waiting)) = self.asker(from, number)
        {
            // Whoever asked may have gone.
            let _gone = waiting.send(status);
        }
    }

    pub(super) fn note_verification(&self, from: NodeId, number: u64, held: NodeVerification) {
        if held.node == from
            && let Some(Waiting::Verification(waiting)) = self.asker(from, number)
        {
            let _gone = waiting.send(held);
        }
    }
}
