//! What nodes say to each other.

mod runs;
mod values;
mod views;

use bytes::Bytes;
use crdt::{
    Cell, Closed, Cut, Dot, Knowledge, Listing, LwwCell, OwnerView, Promises, ReplicaId, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{OperationAnswer, OperationId};

pub use values::{map_values, visit_values};

/// The cell under each key of a store by time.
pub type StoredCell = LwwCell<Bytes>;

/// The listing of a store's map: the one message that changes entries.
pub type StoreListing<C = StoredCell> = Listing<Bytes, C>;

/// A message with what always travels beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Cell + Serialize",
    deserialize = "C: Cell + serde::de::DeserializeOwned"
))]
pub struct Envelope<C = StoredCell> {
    /// The incarnation that sent it; `None` from a node that has none yet, which may only ask
    /// [`Message::Hello`], and answer it as one that is not reconciled.
    pub from: Option<ReplicaId>,
    /// The sender's owner view, merged before the message is used: an acknowledgement given before a
    /// node lost its data must not be counted beside one given after.
    #[serde(deserialize_with = "views::deserialize")]
    pub view: Arc<OwnerView>,
    /// The sender's clock.
    pub clock: Timestamp,
    /// The message.
    pub message: Message<C>,
}

/// The messages. Any of them may be lost, repeated, delayed or reordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Cell + Serialize",
    deserialize = "C: Cell + serde::de::DeserializeOwned"
))]
#[non_exhaustive]
pub enum Message<C = StoredCell> {
    /// A write, to be joined and acknowledged.
    Write {
        /// The event to be acknowledged.
        dot: Dot,
        /// Its key as the coordinator holds it.
        listing: Arc<StoreListing<C>>,
        /// The writes with names that an acknowledgement of the event may answer, each with its own event:
        /// who acknowledges remembers them.
        operations: Vec<(OperationId, Dot)>,
    },
    /// A listing to be joined, without an answer: a write at level `One`, or a read repair.
    Repair {
        /// A key as the sender holds it.
        listing: Arc<StoreListing<C>>,
    },
    /// The event is live at the sender, or was superseded there by a later event of its own writer.
    Acknowledged {
        /// The event that was asked about.
        dot: Dot,
        /// The event that is held: it, or the later one.
        held: Dot,
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
        /// A digest of the events that are live at the reader.
        held: u128,
        /// Whether what the receiver knows of the key is wanted too, even if it holds the same.
        with_knowledge: bool,
        /// An operation on the key that the reader begins unless it was carried out.
        operation: Option<OperationId>,
    },
    /// The answer to [`Message::Read`].
    ReadAnswer {
        /// The reader's number for this read.
        read: u64,
        /// The key as the sender holds it; `None` if that is what the reader said it holds.
        listing: Option<Arc<StoreListing<C>>>,
        /// What the sender says of the operation that it was asked about.
        operation: Option<OperationAnswer>,
    },
    /// What a linearizable read is about to return, to be joined and confirmed.
    WriteBack {
        /// The reader's number for this read.
        read: u64,
        /// The key with all that the reader knows of it: absence too is written back.
        listing: Arc<StoreListing<C>>,
    },
    /// What was written back is held.
    WrittenBack {
        /// The reader's number for this read.
        read: u64,
    },
    /// Asks for the receiver's view: the first message of a node that has lost its identity.
    Hello,
    /// The answer to [`Message::Hello`]; the envelope carries the view.
    HelloAnswer {
        /// Whether the sender is reconciled.
        reconciled: bool,
    },
    /// Shows what the sender holds, to those that may know the same: they must hold the same then.
    Audit {
        /// A hash of what the sender knows.
        digest: u128,
        /// The [checksum](crate::checksum()) of what it shows.
        checksum: u128,
    },
    /// Shows a digest of what the sender knows, to a peer that probably knows the same.
    Probe {
        /// A hash of it.
        digest: u128,
    },
    /// Shows what the sender knows and asks for what it lacks.
    SyncRequest {
        /// What the sender knows.
        knowledge: Arc<Knowledge<Bytes>>,
        /// Whether entries are wanted, or the receiver's knowledge alone.
        want_entries: bool,
    },
    /// The answer to [`Message::SyncRequest`].
    SyncAnswer(SyncAnswer<C>),
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
        listings: Vec<StoreListing<C>>,
        /// Where the next part starts; `None` after the last.
        next: Option<Cut<Bytes>>,
        /// The writers that the sender knows to be closed: the listings may count all their events as
        /// known.
        closed: Arc<Closed>,
    },
}

/// What a peer lacks, and what the sender knew when it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(bound(
    serialize = "C: Cell + Serialize",
    deserialize = "C: Cell + serde::de::DeserializeOwned"
))]
pub struct SyncAnswer<C = StoredCell> {
    /// The incarnation that asked; an answer to an earlier one proves nothing to a later.
    pub to: ReplicaId,
    /// Whether the sender is reconciled.
    pub reconciled: bool,
    /// Whether it has come back with its data, was reconciled then, and waits for others to confirm it.
    pub returning: bool,
    /// What the sender knows.
    pub knowledge: Arc<Knowledge<Bytes>>,
    /// What the asker lacks, or the first part of it.
    #[serde(with = "runs")]
    pub listings: Vec<StoreListing<C>>,
    /// How much of what the asker lacks is in the listings.
    pub extent: Extent,
    /// The sender's own promise and those it has heard of; only with a complete answer.
    pub promises: Option<Promises>,
    /// For each owner, the incarnation whose predecessors the sender has retired.
    pub retired: BTreeMap<u32, ReplicaId>,
    /// The writers that the sender knows to be closed: the listings may count all their events as known.
    pub closed: Arc<Closed>,
    /// The operations that the sender remembers, where knowledge alone was asked for: as a recovery does.
    /// Without an event it has told another that it does not know it.
    pub operations: Vec<(OperationId, Option<Dot>)>,
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

impl<C> Message<C> {
    /// The listings in the message.
    pub fn listings(&self) -> &[StoreListing<C>] {
        match self {
            Self::Write { listing, .. }
            | Self::Repair { listing }
            | Self::WriteBack { listing, .. } => std::slice::from_ref(listing),
            Self::ReadAnswer { listing, .. } => {
                listing.as_deref().map_or(&[], std::slice::from_ref)
            }
            Self::SyncAnswer(answer) => &answer.listings,
            Self::TransferAnswer { listings, .. } => listings,
            _ => &[],
        }
    }

    /// The same, to be changed. One that others share is copied.
    fn listings_mut(&mut self) -> &mut [StoreListing<C>]
    where
        C: Clone,
    {
        match self {
            Self::Write { listing, .. }
            | Self::Repair { listing }
            | Self::WriteBack { listing, .. }
            | Self::ReadAnswer {
                listing: Some(listing),
                ..
            } => std::slice::from_mut(Arc::make_mut(listing)),
            Self::SyncAnswer(answer) => &mut answer.listings,
            Self::TransferAnswer { listings, .. } => listings,
            _ => &mut [],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::MapReplica;

    #[test]
    fn each_message_shows_its_listings() {
        let mut replica = MapReplica::<Bytes, StoredCell>::new(ReplicaId(1));
        let written = replica.write(Bytes::from_static(b"k"), |cell, dot| {
            *cell = StoredCell::entry(dot, Timestamp(1), None);
        });
        let one = Arc::new(written.listing);
        let (dot, read) = (written.dot, 1);
        let listing = || Arc::clone(&one);
        let count = |mut message: Message| {
            let listings = message.listings().to_vec();
            assert!(listings.iter().all(|l| *l == *one));
            assert_eq!(message.listings_mut(), listings);
            listings.len()
        };
        let answer = |listings| SyncAnswer {
            to: ReplicaId(1),
            reconciled: true,
            returning: false,
            knowledge: Arc::default(),
            listings,
            extent: Extent::Complete,
            promises: None,
            retired: BTreeMap::new(),
            closed: Arc::default(),
            operations: Vec::new(),
        };
        let pair = || vec![(*one).clone(), (*one).clone()];
        let listing_write = Message::Write {
            dot,
            listing: listing(),
            operations: Vec::new(),
        };
        assert_eq!(count(listing_write), 1);
        assert_eq!(count(Message::Repair { listing: listing() }), 1);
        let listing_back = Message::WriteBack {
            read,
            listing: listing(),
        };
        assert_eq!(count(listing_back), 1);
        for (listing, expected) in [(Some(listing()), 1), (None, 0)] {
            let answer = Message::ReadAnswer {
                read,
                listing,
                operation: None,
            };
            assert_eq!(count(answer), expected);
        }
        assert_eq!(count(Message::SyncAnswer(answer(pair()))), 2);
        let transfer = Message::TransferAnswer {
            from: Cut::BelowAll,
            listings: pair(),
            next: None,
            closed: Arc::default(),
        };
        assert_eq!(count(transfer), 2);
        assert_eq!(count(Message::Hello), 0);
    }
}
