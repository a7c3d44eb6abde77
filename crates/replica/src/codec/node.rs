//! A node that speaks in bytes.

use std::fmt;
use std::marker::PhantomData;

use super::{Codec, CodecError, Postcard};
use crate::{
    MessageOf, Node, NodeId, NodeOutput, Now, Outcome, PartitionId, Policy, RequestError,
    RequestId, WriteBatch,
};

/// A [`Node`] whose messages are bytes, in the format `C`.
///
/// Requests, time and hints go to the node itself ([`node_mut`](Self::node_mut)); messages come in by
/// [`handle_bytes`](Self::handle_bytes), and all that is to be done out of [`take_ready`](Self::take_ready). The
/// rules for drivers are those of [`Partition`](crate::Partition). All nodes of a store speak one format.
///
/// ```
/// use replica::codec::{CodedNode, CodedOutput, Json};
/// use replica::{Command, Config, Level, Lww, Node, NodeId, Now, Request, RequestId};
///
/// let now = Now::default();
/// let start = |i| Node::<Lww>::bootstrap(Config::new(NodeId(i), 3), u64::from(i), now);
/// let mut nodes: [CodedNode<Lww, Json>; 3] = [1, 2, 3].map(|i| CodedNode::new(start(i).unwrap()));
/// let put = Request::new(Command::put("sky".into(), "blue".into()), Level::Quorum);
/// nodes[0].node_mut().handle_request(RequestId(1), put, now);
/// for output in nodes[0].take_ready().outputs {
///     if let CodedOutput::Send { to, bytes } = output {
///         assert_eq!(bytes[0], b'{');
///         nodes[to.0 as usize - 1].handle_bytes(NodeId(1), &bytes, now)?;
///     }
/// }
/// # Ok::<(), replica::codec::CodecError>(())
/// ```
pub struct CodedNode<P: Policy, C = Postcard> {
    node: Node<P>,
    max_bytes: usize,
    codec: PhantomData<fn() -> C>,
}

/// What a driver of a [`CodedNode`] has to do, in this order.
#[derive(Debug)]
#[must_use = "outputs are lost unless they are released, and must not be released before they are durable"]
pub struct CodedReady<P: Policy> {
    /// Changes of each partition that must be durable before any output is released.
    pub persist: Vec<(PartitionId, WriteBatch)>,
    /// Messages and replies, in order.
    pub outputs: Vec<CodedOutput<P>>,
    /// Messages that the format could not express. They count as lost by the network.
    pub unsent: Vec<(NodeId, CodecError)>,
}

/// An effect of a [`CodedNode`].
#[derive(Debug)]
pub enum CodedOutput<P: Policy> {
    /// Send a message.
    Send {
        /// The receiver.
        to: NodeId,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// Answer a client.
    Reply {
        /// The request that is answered.
        request: RequestId,
        /// The answer.
        result: Result<Outcome<P::Cell>, RequestError>,
    },
}

impl<P: Policy, C: Codec<MessageOf<P>>> CodedNode<P, C> {
    /// Longest message that is taken, in bytes, unless [`with_limit`](Self::with_limit) says otherwise.
    pub const MAX_BYTES: usize = 64 << 20;

    /// The node, from now on in bytes.
    pub const fn new(node: Node<P>) -> Self {
        Self {
            node,
            max_bytes: Self::MAX_BYTES,
            codec: PhantomData,
        }
    }

    /// The same, with another limit on the length of a message that comes in. It must leave room for a
    /// value of [`Config::max_value_bytes`](crate::Config::max_value_bytes) and for a chunk of
    /// [`Config::chunk_bytes`](crate::Config::chunk_bytes), each in this format.
    #[must_use]
    pub const fn with_limit(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The node.
    pub const fn node(&self) -> &Node<P> {
        &self.node
    }

    /// The node, for requests, time and hints. What it is made to send comes out of
    /// [`take_ready`](Self::take_ready).
    pub const fn node_mut(&mut self) -> &mut Node<P> {
        &mut self.node
    }

    /// A message from a peer. `from` is the node that the driver received it from.
    ///
    /// # Errors
    /// If the bytes are no message, or more than the limit. Nothing has changed: a driver may drop them, or close the
    /// connection that they came from.
    pub fn handle_bytes(&mut self, from: NodeId, bytes: &[u8], now: Now) -> Result<(), CodecError> {
        let (size, limit) = (bytes.len(), self.max_bytes);
        if size > limit {
            return Err(CodecError(format!(
                "a message of {size} bytes, the limit is {limit}"
            )));
        }
        self.node.handle_message(from, C::decode(bytes)?, now);
        Ok(())
    }

    /// Takes what has to be made durable and what may be released after it.
    pub fn take_ready(&mut self) -> CodedReady<P> {
        let ready = self.node.take_ready();
        let (mut outputs, mut unsent) = (Vec::with_capacity(ready.outputs.len()), Vec::new());
        for output in ready.outputs {
            match output {
                NodeOutput::Send { to, message } => match C::encode(&message) {
                    Ok(bytes) => outputs.push(CodedOutput::Send { to, bytes }),
                    Err(error) => unsent.push((to, error)),
                },
                NodeOutput::Reply { request, result } => {
                    outputs.push(CodedOutput::Reply { request, result });
                }
            }
        }
        CodedReady {
            persist: ready.persist,
            outputs,
            unsent,
        }
    }
}

impl<P: Policy, C> fmt::Debug for CodedNode<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodedNode")
            .field("node", &self.node)
            .field("max_bytes", &self.max_bytes)
            .finish_non_exhaustive()
    }
}
