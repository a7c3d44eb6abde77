//! A node: its partitions, and requests for keys that others own.

mod behind;
mod forwarding;

use std::collections::BTreeMap;
use std::fmt;

use crdt::Cell;
use serde::{Deserialize, Serialize};

use crate::storage::{Storage, StorageError, WriteBatch};
use crate::{
    Config, ConfigError, Envelope, Lww, NodeId, Now, Outcome, Output, Partition, PartitionId,
    Placement, Policy, Request, RequestError, RequestId,
};
pub use behind::Requester;
use forwarding::{Forwards, Served};

/// A node of a store whose key space has partitions: a [`Partition`] for each that it owns, and
/// forwarding for the others.
///
/// It is to its partitions what a switch is to its ports: it has no state of its own that must survive.
/// A driver that wants to run partitions on threads of their own drives them directly and does without.
///
/// **Forwarding.** A request for a key that the node does not own goes to an owner, the preferred one
/// that can be reached first. A read that is not answered goes to the next. A write stays with the owner
/// it was sent to: it is sent again under the same number, which the owner carries out once and answers
/// as often as it is asked. If no answer comes, or the owner was restarted meanwhile and has forgotten
/// what it did, the outcome is unknown, and the error says so. A write that has a name
/// ([`Request::named`]) goes to the next owner as a retry instead.
///
/// Inputs, outputs and the rules for drivers are those of [`Partition`].
pub struct Node<P: Policy = Lww> {
    config: Config,
    placement: Placement,
    partitions: BTreeMap<PartitionId, Partition<P>>,
    forwards: Forwards<P>,
    /// Whose request each request at a partition is.
    origins: BTreeMap<RequestId, Origin>,
    next_request: u64,
    outputs: Vec<NodeOutput<P>>,
    /// Empty between calls, with room for what a partition has to say.
    taken: Vec<Output<P::Cell>>,
}

/// Where the answer to a request goes.
#[derive(Debug, Clone, Copy)]
enum Origin {
    Client(RequestId),
    Peer(NodeId, u64, u64),
}

/// What nodes say to each other: messages between the partitions, and forwarded requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Cell + Serialize, W: Serialize",
    deserialize = "C: Cell + serde::de::DeserializeOwned, W: serde::de::DeserializeOwned"
))]
#[non_exhaustive]
pub enum NodeMessage<C, W> {
    /// A message from an owner of a partition to another.
    Partition {
        /// The partition.
        partition: PartitionId,
        /// The message.
        envelope: Envelope<C>,
    },
    /// A request for a key that the receiver owns and the sender does not.
    Forward {
        /// The sender's number for it.
        number: u64,
        /// The life of the sender, in which it numbers its requests.
        asker: u64,
        /// The life of the receiver that is to carry it out, if the sender knows it.
        life: Option<u64>,
        /// The request, with the time that is left for it.
        request: Request<W>,
    },
    /// A forwarded write was not carried out, because it was meant for another life of the sender, which
    /// cannot tell what became of it then.
    Life {
        /// The asker's number for the request.
        number: u64,
        /// The life that the sender is in.
        life: u64,
    },
    /// The answer to [`NodeMessage::Forward`].
    Answer {
        /// The asker's number for the request.
        number: u64,
        /// The answer.
        result: Result<Outcome<C>, RequestError>,
    },
}

/// The message of a policy.
pub type MessageOf<P> = NodeMessage<<P as Policy>::Cell, <P as Policy>::Write>;

/// An effect of a node.
#[derive(Debug)]
pub enum NodeOutput<P: Policy> {
    /// Send a message.
    Send {
        /// The receiver.
        to: NodeId,
        /// What to send.
        message: MessageOf<P>,
    },
    /// Answer a client.
    Reply {
        /// The request that is answered.
        request: RequestId,
        /// The answer.
        result: Result<Outcome<P::Cell>, RequestError>,
    },
}

/// What a driver of a node has to do, in this order.
#[derive(Debug)]
#[must_use = "outputs are lost unless they are released, and must not be released before they are durable"]
pub struct NodeReady<P: Policy> {
    /// Changes of each partition that must be durable before any output is released.
    pub persist: Vec<(PartitionId, WriteBatch)>,
    /// Messages and replies, in order.
    pub outputs: Vec<NodeOutput<P>>,
}

impl<P: Policy> Node<P> {
    /// Starts a node of a brand-new cluster: [`Partition::bootstrap`].
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn bootstrap(config: Config, random: u64, now: Now) -> Result<Self, ConfigError> {
        Self::start(config, random, |config, random| {
            Partition::bootstrap(config, random, now)
        })
    }

    /// Starts a node that has lost its data: [`Partition::recover`].
    ///
    /// # Errors
    /// If the configuration cannot work.
    pub fn recover(config: Config, random: u64, now: Now) -> Result<Self, ConfigError> {
        Self::start(config, random, |config, random| {
            Partition::recover(config, random, now)
        })
    }

    /// Starts a node with what is in the storage of each of its partitions; a partition whose storage
    /// holds nothing recovers.
    ///
    /// # Errors
    /// If a storage cannot be read, or holds what no node can have stored.
    pub fn restore<'s>(
        config: Config,
        storage: impl Fn(PartitionId) -> Option<&'s dyn Storage>,
        random: u64,
        now: Now,
    ) -> Result<Self, StorageError> {
        Self::start(config, random, |config, random| {
            let restored = match storage(config.partition) {
                Some(storage) => Partition::restore(config.clone(), storage, random, now)?,
                None => None,
            };
            match restored {
                Some(partition) => Ok(partition),
                None => Ok(Partition::recover(config, random, now)?),
            }
        })
    }

    /// Starts a node that may have lost a part of its data, with what is in the storage of each of its
    /// partitions as a head start: [`Partition::recover_with`]. A partition whose storage holds nothing
    /// recovers without.
    ///
    /// # Errors
    /// If a storage cannot be read, or holds what no node can have stored.
    pub fn recover_with<'s>(
        config: Config,
        storage: impl Fn(PartitionId) -> Option<&'s dyn Storage>,
        random: u64,
        now: Now,
    ) -> Result<Self, StorageError> {
        Self::start(config, random, |config, random| {
            let recovered = match storage(config.partition) {
                Some(storage) => Partition::recover_with(config.clone(), storage, random, now)?,
                None => None,
            };
            match recovered {
                Some(partition) => Ok(partition),
                None => Ok(Partition::recover(config, random, now)?),
            }
        })
    }

    fn start<E: From<ConfigError>>(
        config: Config,
        random: u64,
        mut start: impl FnMut(Config, u64) -> Result<Partition<P>, E>,
    ) -> Result<Self, E> {
        config.validate()?;
        let placement = config.placement();
        let mut partitions = BTreeMap::new();
        for partition in placement.partitions() {
            if !placement.owners(partition).contains(&config.node) {
                continue;
            }
            let own = Config {
                partition,
                ..config.clone()
            };
            // Every partition has random numbers of its own.
            let random = random ^ u64::from(partition.0 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            partitions.insert(partition, start(own, random)?);
        }
        Ok(Self {
            forwards: Forwards::new(random, config.max_kept_answers),
            origins: BTreeMap::new(),
            next_request: 0,
            outputs: Vec::new(),
            taken: Vec::new(),
            placement,
            partitions,
            config,
        })
    }

    /// The configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Where the keys are.
    pub const fn placement(&self) -> Placement {
        self.placement
    }

    /// The state machine of a partition that this node owns.
    pub fn partition(&self, partition: PartitionId) -> Option<&Partition<P>> {
        self.partitions.get(&partition)
    }

    /// All of them, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = (PartitionId, &Partition<P>)> + '_ {
        self.partitions
            .iter()
            .map(|(id, partition)| (*id, partition))
    }

    /// How often it has sent a request that it forwards again, since no answer had come in time: what
    /// [`Counters::messages_sent_again`](crate::Counters::messages_sent_again) is to its partitions.
    pub const fn forwards_sent_again(&self) -> u64 {
        self.forwards.sent_again()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next wanted, in `Now::elapsed_ms`.
    pub fn deadline(&self) -> Option<u64> {
        let partitions = self.partitions.values().filter_map(Partition::deadline);
        partitions.chain(self.forwards.next_due()).min()
    }

    /// Takes what has to be made durable and what may be released after it.
    pub fn take_ready(&mut self) -> NodeReady<P> {
        let (mut persist, mut outputs) = (Vec::new(), Vec::new());
        self.take_ready_into(&mut persist, &mut outputs);
        NodeReady { persist, outputs }
    }

    /// The same for a driver that uses its lists again and again: appends to both.
    pub fn take_ready_into(
        &mut self,
        persist: &mut Vec<(PartitionId, WriteBatch)>,
        outputs: &mut Vec<NodeOutput<P>>,
    ) {
        outputs.append(&mut self.outputs);
        let mut taken = std::mem::take(&mut self.taken);
        let mut answers = Vec::new();
        for (id, partition) in &mut self.partitions {
            let batch = partition.take_ready_into(&mut taken);
            persist.extend(batch.map(|batch| (*id, batch)));
            for output in taken.drain(..) {
                match output {
                    Output::Send { to, envelope } => {
                        let partition = *id;
                        let message = NodeMessage::Partition {
                            partition,
                            envelope,
                        };
                        outputs.push(NodeOutput::Send { to, message });
                    }
                    Output::Reply { request, result } => answers.push((request, result)),
                }
            }
        }
        self.taken = taken;
        for (request, result) in answers {
            self.answer(request, result);
        }
        outputs.append(&mut self.outputs);
    }

    /// A client's request. The reply comes as a [`NodeOutput::Reply`] with the same id.
    pub fn handle_request(&mut self, id: RequestId, request: Request<P::Write>, now: Now) {
        let partition = self.placement.partition_of(request.command.key());
        if self.partitions.contains_key(&partition) {
            return self.ask_partition(partition, Origin::Client(id), request, now);
        }
        let owners = self.placement.owners(partition);
        let sent = self
            .forwards
            .start(id, partition, owners, request, &self.config, now);
        self.send_forward(sent);
    }

    /// A message from a peer. `from` is the node that the driver received it from.
    pub fn handle_message(&mut self, from: NodeId, message: MessageOf<P>, now: Now) {
        match message {
            NodeMessage::Partition {
                partition,
                envelope,
            } => {
                if let Some(partition) = self.partitions.get_mut(&partition) {
                    partition.handle_message(from, envelope, now);
                }
            }
            NodeMessage::Forward {
                number,
                asker,
                life,
                request,
            } => self.serve((from, asker, number), life, request, now),
            NodeMessage::Life { number, life } => {
                let next = self.forwards.note_life(from, number, life, now);
                self.send_forward(next);
            }
            NodeMessage::Answer { number, result } => {
                let next = self.forwards.note_answer(from, number, result, now);
                self.send_forward(next);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        for partition in self.partitions.values_mut() {
            if partition
                .deadline()
                .is_some_and(|due| due <= now.elapsed_ms)
            {
                partition.handle_timeout(now);
            }
        }
        for next in self.forwards.expire(now) {
            self.send_forward(Some(next));
        }
    }

    /// A hint that a peer can or cannot be reached. It steers requests; safety never depends on it.
    pub fn handle_reachable(&mut self, node: NodeId, reachable: bool, now: Now) {
        self.forwards.set_reachable(node, reachable);
        for partition in self.partitions.values_mut() {
            partition.handle_reachable(node, reachable, now);
        }
    }

    /// A hint that a peer does not answer, or does again, though it is connected: a failure detector suspects it
    /// ([`liveness`](crate::liveness)). Requests and questions go around it where others will do, and nothing is given
    /// up because of it. It stands beside what [`handle_reachable`](Self::handle_reachable) says.
    pub fn handle_suspected(&mut self, node: NodeId, suspected: bool) {
        self.forwards.set_suspected(node, suspected);
        for partition in self.partitions.values_mut() {
            partition.handle_suspected(node, suspected);
        }
    }

    /// An operator's decision: [`Partition::handle_accept_loss`] for every partition.
    pub fn handle_accept_loss(&mut self, now: Now) {
        for partition in self.partitions.values_mut() {
            partition.handle_accept_loss(now);
        }
    }

    /// Raises the horizon of every partition: [`Partition::handle_horizon`].
    pub fn handle_horizon(&mut self, horizon: crdt::Timestamp, now: Now) {
        for partition in self.partitions.values_mut() {
            partition.handle_horizon(horizon, now);
        }
    }

    /// The last batch of a partition could not be made durable: [`Partition::handle_storage_failure`].
    /// None of the outputs that came with it may be released, but the other partitions go on.
    pub fn handle_storage_failure(
        &mut self,
        partition: PartitionId,
        error: &StorageError,
        dropped: Vec<NodeOutput<P>>,
    ) {
        if let Some(failed) = self.partitions.get_mut(&partition) {
            failed.handle_storage_failure(error, &[]);
        }
        let node = self.config.node;
        let cause = error.to_string();
        let failed = || {
            let cause = cause.clone();
            Err(RequestError::StorageFailed { node, cause })
        };
        for output in dropped {
            match output {
                NodeOutput::Reply { request, .. } => {
                    let result = failed();
                    self.outputs.push(NodeOutput::Reply { request, result });
                }
                // What was kept for those who ask again has never been durable either.
                NodeOutput::Send {
                    to,
                    message: NodeMessage::Answer { number, .. },
                } => {
                    let result = failed();
                    self.forwards.replace_served(to, number, &result);
                    let message = NodeMessage::Answer { number, result };
                    self.outputs.push(NodeOutput::Send { to, message });
                }
                NodeOutput::Send { .. } => {}
            }
        }
    }

    fn ask_partition(
        &mut self,
        partition: PartitionId,
        origin: Origin,
        request: Request<P::Write>,
        now: Now,
    ) {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.origins.insert(id, origin);
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.handle_request(id, request, now);
        }
    }

    /// Carries out what a peer has forwarded; once, however often it comes, and a write only in the life
    /// that it is meant for: what an earlier life has carried out is not remembered.
    fn serve(
        &mut self,
        (from, asker, number): (NodeId, u64, u64),
        meant_for: Option<u64>,
        request: Request<P::Write>,
        now: Now,
    ) {
        let partition = self.placement.partition_of(request.command.key());
        let is_node = (1..=self.config.nodes).contains(&from.0);
        if !self.partitions.contains_key(&partition) || !is_node {
            return;
        }
        let asked = (from, asker, number);
        let is_new = match request.command.is_write() {
            false => self.forwards.serve_read(asked),
            true => match self.forwards.serve_write(asked, meant_for) {
                Served::New => true,
                Served::Pending | Served::Forgotten => false,
                Served::OtherLife(life) => {
                    let message = NodeMessage::Life { number, life };
                    self.outputs.push(NodeOutput::Send { to: from, message });
                    false
                }
                Served::Answered(result) => {
                    let message = NodeMessage::Answer { number, result };
                    self.outputs.push(NodeOutput::Send { to: from, message });
                    false
                }
            },
        };
        if is_new {
            self.ask_partition(partition, Origin::Peer(from, asker, number), request, now);
        }
    }

    fn answer(&mut self, id: RequestId, result: Result<Outcome<P::Cell>, RequestError>) {
        match self.origins.remove(&id) {
            Some(Origin::Client(request)) => {
                self.outputs.push(NodeOutput::Reply { request, result });
            }
            Some(Origin::Peer(from, asker, number)) => {
                self.forwards.note_served((from, asker, number), &result);
                let message = NodeMessage::Answer { number, result };
                self.outputs.push(NodeOutput::Send { to: from, message });
            }
            None => {}
        }
    }

    fn send_forward(&mut self, next: Option<forwarding::Next<P>>) {
        match next {
            Some(forwarding::Next::Send { to, message }) => {
                self.outputs.push(NodeOutput::Send { to, message });
            }
            Some(forwarding::Next::Reply { request, result }) => {
                self.outputs.push(NodeOutput::Reply { request, result });
            }
            None => {}
        }
    }
}

impl<P: Policy> fmt::Debug for Node<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("node", &self.config.node)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
