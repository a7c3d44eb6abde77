//! What nodes say to each other, in bytes.
//!
//! A message is the postcard form of [`WireMessage`], whole: bytes behind it are an error. All but values is small, and a
//! large value is copied once at most on its way to another node:
//!
//! | a value | the sender | the receiver |
//! |---|---|---|
//! | of less than 4 KiB ([`LEAST_PIECE_BYTES`]) | copies it into the frame | copies it out of the frame |
//! | of 4 KiB and more | does not copy it: it is a piece of the [`Frame`] | copies it out of the frame |
//! | that is more than half of a frame of 64 KiB and more ([`OWN_BUFFER_BYTES`]) | does not copy it | does not copy it: it is a slice of the frame |
//!
//! Who keeps a slice keeps the frame in memory: less than as much again, as that frame has a buffer to itself. What is small
//! keeps no frame. Members of sets and keys are copied at both ends, whatever their length.
//!
//! **Versions.** The handshake of the transport agrees on a version for each connection
//! ([`VERSIONS`](crate::transport::VERSIONS), [`Transport::version`](crate::transport::Transport::version)). A later version
//! has more kinds of messages and changes none: so all are decoded in one way, and who encodes leaves out what the
//! version does not have. `tests/golden` freezes the bytes.
//!
//! | version | has |
//! |---|---|
//! | 1 | messages of the protocol, of clusters that begin, and of operators |
//! | 2 | [`WireMessage::Named`] too |

mod pieces;
mod slices;

use bytes::Bytes;
use replica::{
    Message, MessageOf, NodeId, NodeMessage, Outcome, Policy, RequestId, StoreListing, visit_values,
};
use serde::{Deserialize, Serialize};

use super::formation::ClusterStanding;
use super::status::StatusMessage;
use crate::policies::{StringPolicy, Types};
use crate::transport::{Frame, LEAST_PIECE_BYTES, OWN_BUFFER_BYTES};

/// The first version with [`WireMessage::Named`].
const NAMED_SINCE: u16 = 2;

/// What most messages take beside the entries in them.
const SMALL_BYTES: usize = 128;

/// A message between two nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum WireMessage<S: StringPolicy> {
    /// Of the protocol.
    Space(SpaceMessage<S>),
    /// What the sender is to a cluster, new or old.
    Standing(ClusterStanding),
    /// What an operator asks of all nodes.
    Status(StatusMessage),
    /// Of the protocol, for a request that is followed in the logs. Since version 2.
    Named(RequestName, SpaceMessage<S>),
}

/// The name of a client's request, the same at all nodes: the node that took it, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestName {
    /// The node that took it.
    pub node: NodeId,
    /// Its number there, in one life of the process.
    pub number: u64,
}

impl RequestName {
    pub(super) const fn new(node: NodeId, id: RequestId) -> Self {
        Self { node, number: id.0 }
    }

    /// As it is written in logs.
    pub(super) fn text(self) -> String {
        format!("{}/client/{}", self.node.0, self.number)
    }
}

/// A message of the protocol in one of the two spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound = "")]
pub enum SpaceMessage<S: StringPolicy> {
    /// Of the strings.
    Strings(MessageOf<S>),
    /// Of the counters and sets.
    Types(MessageOf<Types>),
}

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMessage {
    /// They cannot be read.
    #[error("not a message: {0}")]
    Malformed(String),
    /// There is a message, and something behind it.
    #[error("{0} bytes behind the message")]
    Rest(usize),
}

impl<S: StringPolicy> WireMessage<S> {
    /// A message of the protocol, with the name of the request that it is for where the version has such.
    pub fn space(message: SpaceMessage<S>, request: Option<RequestName>, version: u16) -> Self {
        match request {
            Some(request) if version >= NAMED_SINCE => Self::Named(request, message),
            _ => Self::Space(message),
        }
    }

    /// The message as it is sent: large values are pieces of it, which are not copied.
    ///
    /// # Panics
    /// Never: these types serialise into memory without fail.
    pub fn frame(&self) -> Frame {
        self.frame_with(LEAST_PIECE_BYTES)
    }

    /// The same with values from this length on as pieces.
    pub(crate) fn frame_with(&self, least_bytes: usize) -> Frame {
        let (Self::Space(message) | Self::Named(_, message)) = self else {
            return pieces::encode(self, Vec::new(), SMALL_BYTES);
        };
        let (weight, mut large) = (message.weight(), Vec::new());
        if weight >= least_bytes {
            message.visit_values(least_bytes, &mut |value| large.push(value.clone()));
        }
        let in_pieces = large.iter().map(Bytes::len).sum();
        pieces::encode(self, large, SMALL_BYTES + weight.saturating_sub(in_pieces))
    }

    /// The bytes of the message, in one piece.
    ///
    /// # Panics
    /// Never, as [`frame`](Self::frame).
    pub fn encode(&self) -> Bytes {
        self.frame().into_bytes()
    }

    /// Reads a message as it was received. A value that is most of a long frame is a slice of it.
    ///
    /// # Errors
    /// If the bytes are not one message.
    pub fn decode_frame(frame: &Bytes) -> Result<Self, InvalidMessage> {
        match frame.len() < OWN_BUFFER_BYTES {
            true => Self::decode(frame),
            false => Self::decode_in_place(frame),
        }
    }

    /// The same of a frame of any length.
    pub(crate) fn decode_in_place(frame: &Bytes) -> Result<Self, InvalidMessage> {
        slices::decode(frame).map_or_else(|| Self::decode(frame), Ok)
    }

    /// Reads a message, and copies all that is in it.
    ///
    /// # Errors
    /// If the bytes are not one message.
    pub fn decode(frame: &[u8]) -> Result<Self, InvalidMessage> {
        match postcard::take_from_bytes(frame) {
            Ok((message, [])) => Ok(message),
            Ok((_, rest)) => Err(InvalidMessage::Rest(rest.len())),
            Err(error) => Err(InvalidMessage::Malformed(error.to_string())),
        }
    }
}

impl<S: StringPolicy> WireMessage<S> {
    /// Whether both are the same message between partitions. Others count as different.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Space(a), Self::Space(b)) => a.is_same(b),
            (Self::Named(of_a, a), Self::Named(of_b, b)) => of_a == of_b && a.is_same(b),
            _ => false,
        }
    }
}

impl<S: StringPolicy> SpaceMessage<S> {
    /// Whether it brings entries to be kept, which take room on the disk. The answers to this node's own
    /// reads are not counted: without them it would not answer any.
    pub(super) fn brings_entries(&self) -> bool {
        match self {
            Self::Strings(message) => brings_entries(message),
            Self::Types(message) => brings_entries(message),
        }
    }

    /// Whether both are the same message between partitions. Others count as different.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Strings(a), Self::Strings(b)) => is_same(a, b),
            (Self::Types(a), Self::Types(b)) => is_same(a, b),
            _ => false,
        }
    }

    /// Shows the values of at least `least_bytes`, in the order in which they are encoded.
    fn visit_values(&self, least_bytes: usize, visit: &mut dyn FnMut(&Bytes)) {
        match self {
            Self::Strings(message) => visit_values::<S>(message, least_bytes, visit),
            Self::Types(message) => visit_values::<Types>(message, least_bytes, visit),
        }
    }

    /// Bytes of entries in it, about.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Strings(message) => weight::<S>(message),
            Self::Types(message) => weight::<Types>(message),
        }
    }
}

fn is_same<C: crdt::Cell, W>(a: &NodeMessage<C, W>, b: &NodeMessage<C, W>) -> bool {
    match (a, b) {
        (
            NodeMessage::Partition {
                partition: of_a,
                envelope: a,
            },
            NodeMessage::Partition {
                partition: of_b,
                envelope: b,
            },
        ) => of_a == of_b && a == b,
        _ => false,
    }
}

fn brings_entries<C, W>(message: &NodeMessage<C, W>) -> bool {
    let NodeMessage::Partition { envelope, .. } = message else {
        return false;
    };
    matches!(
        envelope.message,
        Message::Write { .. }
            | Message::Repair { .. }
            | Message::WriteBack { .. }
            | Message::SyncAnswer(_)
            | Message::TransferAnswer { .. }
    )
}

fn weight<P: Policy>(message: &MessageOf<P>) -> usize {
    match message {
        NodeMessage::Partition { envelope, .. } => {
            let listings = envelope.message.listings().iter();
            listings.map(listing_weight::<P>).sum()
        }
        NodeMessage::Forward { request, .. } => match &request.command {
            replica::Command::Write { write, .. } => P::size(write),
            _ => 0,
        },
        NodeMessage::Answer {
            result: Ok(Outcome::Read { cell, .. }),
            ..
        } => P::weight(cell),
        _ => 0,
    }
}

fn listing_weight<P: Policy>(listing: &StoreListing<P::Cell>) -> usize {
    match listing {
        crdt::Listing::Key(listing) => P::weight(listing.cell()),
        crdt::Listing::Interval(listing) => {
            let cells = listing.cells().iter();
            cells.map(|(key, cell)| key.len() + P::weight(cell)).sum()
        }
    }
}
