//! What nodes say to each other.

use bytes::Bytes;
use crdt::{Cut, Dot, Knowledge, Listing, LwwCell, OwnerView, Promises, ReplicaId, Timestamp};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The cell under each key.
pub type StoredCell = LwwCell<Bytes>;

/// The listing of this store's map: the one message that changes entries.
pub type StoreListing = Listing<Bytes, StoredCell>;

/// A message with what always travels beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The incarnation that sent it; `None` from a node that has none yet, which may only ask
    /// [`Message::Hello`], and answer it as one that is not reconciled.
    pub from: Option<ReplicaId>,
    /// The sender's owner view, merged before the message is used: an acknowledgement given before a
    /// node lost its data must not be counted beside one given after.
    pub view: Arc<OwnerView>,
    /// The sender's clock.
    pub clock: Timestamp,
    /// The message.
    pub message: Message,
}

/// The messages. Any of them may be lost, repeated, delayed or reordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Message {
    /// A write, to be joined and acknowledged.
    Write {
        /// The event to be acknowledged.
        dot: Dot,
        /// Its key as the coordinator holds it.
        listing: StoreListing,
    },
    /// A listing to be joined, without an answer: a write at level `One`, or a read repair.
    Repair {
        /// A key as the sender holds it.
        listing: StoreListing,
    },
    /// The event is live at the sender, or was superseded there by a later event of its own writer.
    Acknowledged {
        /// The event.
        dot: Dot,
    },
    /// The event is not live at the sender: what it holds wins, or has won.
    Superseded {
        /// The event.
        dot: Dot,
        /// The larger of the winner's time and the sender's clock.
        time: Timestamp,
    },
    /// Asks what the receiver holds for a key.
    Read {
        /// The reader's number for this read.
        read: u64,
        /// The key.
        key: Bytes,
        /// The event that is live at the reader.
        held: Option<Dot>,
    },
    /// The answer to [`Message::Read`].
    ReadAnswer {
        /// The reader's number for this read.
        read: u64,
        /// The key as the sender holds it; `None` if that is what the reader said it holds.
        listing: Option<StoreListing>,
    },
    /// Asks for the receiver's view: the first message of a node that has lost its identity.
    Hello,
    /// The answer to [`Message::Hello`]; the envelope carries the view.
    HelloAnswer {
        /// Whether the sender is reconciled.
        reconciled: bool,
    },
    /// Shows what the sender knows and asks for what it lacks.
    SyncRequest {
        /// What the sender knows.
        knowledge: Arc<Knowledge<Bytes>>,
        /// Whether entries are wanted, or the receiver's knowledge alone.
        want_entries: bool,
    },
    /// The answer to [`Message::SyncRequest`].
    SyncAnswer(SyncAnswer),
    /// Asks for a part of a full transfer.
    TransferRequest {
        /// Where the part starts.
        from: Cut<Bytes>,
    },
    /// The answer to [`Message::TransferRequest`].
    TransferAnswer {
        /// Where the part starts.
        from: Cut<Bytes>,
        /// Listings that tile the key space from there.
        listings: Vec<StoreListing>,
        /// Where the next part starts; `None` after the last.
        next: Option<Cut<Bytes>>,
    },
}

/// What a peer lacks, and what the sender knew when it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncAnswer {
    /// The incarnation that asked; an answer to an earlier one proves nothing to a later.
    pub to: ReplicaId,
    /// Whether the sender is reconciled.
    pub reconciled: bool,
    /// What the sender knows.
    pub knowledge: Arc<Knowledge<Bytes>>,
    /// What the asker lacks, or the first part of it.
    pub listings: Vec<StoreListing>,
    /// How much of what the asker lacks is in the listings.
    pub extent: Extent,
    /// The sender's own promise and those it has heard of; only with a complete answer.
    pub promises: Option<Promises>,
}

/// How much an answer holds of what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extent {
    /// All of it.
    Complete,
    /// A first part; asking again brings more.
    Part,
    /// The log no longer names all of it: a transfer is needed.
    Truncated,
    /// Nothing, as asked for.
    KnowledgeOnly,
}

impl Message {
    /// The listings in the message.
    pub fn listings(&self) -> &[StoreListing] {
        match self {
            Self::Write { listing, .. } | Self::Repair { listing } => std::slice::from_ref(listing),
            Self::ReadAnswer { listing, .. } => listing.as_slice(),
            Self::SyncAnswer(answer) => &answer.listings,
            Self::TransferAnswer { listings, .. } => listings,
            _ => &[],
        }
    }
}
