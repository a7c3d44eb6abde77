//! What a node of the sibling store takes at most, and what it says of more.

use crate::codec::CodecError;

/// What a [`Node`](super::Node) takes at most. All nodes of a store should agree on keys, values, versions and
/// messages: what one takes and another refuses does not reach all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest key, in bytes. The default is 64 KiB.
    pub max_key_bytes: usize,
    /// Longest value, in bytes. The default is 1 MiB.
    pub max_value_bytes: usize,
    /// Longest message, in bytes of its format. The default is 8 MiB: JSON takes some four bytes for each of a
    /// value.
    pub max_message_bytes: usize,
    /// Most versions of one key. Nodes that keep to their ids make no more than one for each node; the default
    /// is 1,024.
    pub max_versions: usize,
    /// Most messages that wait in each direction: to be processed, and to be taken. The default is 1,048,576.
    pub max_queued_messages: usize,
    /// Most bytes of such messages in each direction. The default is 256 MiB.
    pub max_queued_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_key_bytes: 64 << 10,
            max_value_bytes: 1 << 20,
            max_message_bytes: 8 << 20,
            max_versions: 1 << 10,
            max_queued_messages: 1 << 20,
            max_queued_bytes: 256 << 20,
        }
    }
}

impl Limits {
    pub(super) const fn check_content(&self, key: &str, value: &[u8]) -> Result<(), UpdateError> {
        let (size, limit) = (key.len(), self.max_key_bytes);
        if size > limit {
            return Err(UpdateError::KeyTooLarge { size, limit });
        }
        let (size, limit) = (value.len(), self.max_value_bytes);
        if size > limit {
            return Err(UpdateError::ValueTooLarge { size, limit });
        }
        Ok(())
    }

    pub(super) const fn check_message(&self, message: &[u8]) -> Result<(), UpdateError> {
        let (size, limit) = (message.len(), self.max_message_bytes);
        if size > limit {
            return Err(UpdateError::MessageTooLarge { size, limit });
        }
        Ok(())
    }
}

/// A node id that is none of the store's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("node {node_id} is not one of the {total_nodes} nodes from 0")]
pub struct UnknownNode {
    /// The id.
    pub node_id: usize,
    /// Nodes of the store.
    pub total_nodes: usize,
}

/// A write or an update that a node refuses; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateError {
    /// The clock has not one entry for each node.
    #[error("a vector clock of {entries} entries, the store has {nodes} nodes")]
    Entries {
        /// Entries of the clock.
        entries: usize,
        /// Nodes of the store.
        nodes: usize,
    },
    /// The clock counts nothing, so nobody has written it.
    #[error("a vector clock without an event")]
    Empty,
    /// The clock counts more updates of this node than it has made: another node uses its id, or it has
    /// lost its data.
    #[error("the clock counts {claimed} updates of this node, it has made {made}")]
    OwnFuture {
        /// Updates of this node in the clock.
        claimed: u64,
        /// Updates it has made.
        made: u64,
    },
    /// The key is longer than the limit.
    #[error("key of {size} bytes is over the limit of {limit}")]
    KeyTooLarge {
        /// Size of the key in bytes.
        size: usize,
        /// [`Limits::max_key_bytes`].
        limit: usize,
    },
    /// The value is longer than the limit.
    #[error("value of {size} bytes is over the limit of {limit}")]
    ValueTooLarge {
        /// Size of the value in bytes.
        size: usize,
        /// [`Limits::max_value_bytes`].
        limit: usize,
    },
    /// The message is longer than the limit.
    #[error("message of {size} bytes is over the limit of {limit}")]
    MessageTooLarge {
        /// Size of the message in bytes.
        size: usize,
        /// [`Limits::max_message_bytes`].
        limit: usize,
    },
    /// The update would stand beside as many versions of its key as there may be: some node makes up clocks.
    #[error("the key has {versions} versions beside this one, the limit is {limit}")]
    TooManyVersions {
        /// Versions that the update has not seen and that have not seen it.
        versions: usize,
        /// [`Limits::max_versions`].
        limit: usize,
    },
    /// Too many messages wait to be processed, or to be taken.
    #[error(
        "{messages} messages of {bytes} bytes wait to be {what}, the limits are {max_messages} and {max_bytes}"
    )]
    Overloaded {
        /// What they wait for: `processed` or `taken`.
        what: &'static str,
        /// Messages that wait, this one included.
        messages: usize,
        /// Their bytes.
        bytes: usize,
        /// [`Limits::max_queued_messages`].
        max_messages: usize,
        /// [`Limits::max_queued_bytes`].
        max_bytes: usize,
    },
    /// The node has made as many updates as its counter can count.
    #[error("the node has made as many updates as can be counted")]
    CounterExhausted,
    /// The bytes are no update, or the update has no bytes in the format of the node.
    #[error(transparent)]
    Codec(#[from] CodecError),
}
