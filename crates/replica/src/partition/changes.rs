//! Which keys have changed, for drivers that tell others of it.

use bytes::Bytes;
use std::collections::BTreeSet;

use super::Partition;
use crate::Policy;

/// The keys that show something else than when they were last asked for; nothing is kept unless somebody
/// wants to know.
#[derive(Debug, Default)]
pub(super) struct Changes(Option<BTreeSet<Bytes>>);

impl Changes {
    pub(super) fn note(&mut self, key: &Bytes) {
        if let Some(keys) = &mut self.0 {
            keys.insert(key.clone());
        }
    }
}

impl<P: Policy> Partition<P> {
    /// Whether to keep from now on which keys change, for [`take_changed`](Self::take_changed). It is off
    /// at the start. What was kept is forgotten.
    pub fn watch_changes(&mut self, is_watched: bool) {
        self.changes = Changes(is_watched.then(BTreeSet::new));
    }

    /// The keys whose visible entry has changed since the last call, through whichever node: by writes,
    /// synchronisation or a transfer. A key may be among them that shows what it has shown before. Removal
    /// of a tombstone is no change. Empty unless [`watch_changes`](Self::watch_changes) is on. At most all
    /// keys are kept.
    pub fn take_changed(&mut self) -> BTreeSet<Bytes> {
        self.changes
            .0
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }
}
