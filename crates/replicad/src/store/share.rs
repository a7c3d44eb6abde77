//! What a request holds of the bytes that may be in progress at a node.

use std::fmt;
use std::sync::{Arc, Weak};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A part of the bytes that may be in progress, or nothing. It is given back when the last copy is dropped.
#[derive(Clone, Default)]
pub struct Share(Option<Arc<OwnedSemaphorePermit>>);

impl Share {
    /// Takes a part as soon as there is room for it; those who wait are served in turn. More than there is in all
    /// counts as all. Nothing once the bytes are no longer given out.
    pub(crate) async fn take(bytes: usize, of: &Bound) -> Self {
        let part = u32::try_from(bytes.min(of.bytes)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&of.room).acquire_many_owned(part).await;
        Self(permit.ok().map(Arc::new))
    }

    /// The same for those who may use it as long as somebody holds it.
    pub(crate) fn weak(&self) -> WeakShare {
        WeakShare(self.0.as_ref().map(Arc::downgrade))
    }
}

/// A part that somebody else may hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct WeakShare(Option<Weak<OwnedSemaphorePermit>>);

impl WeakShare {
    /// The part, if it is still held; nothing otherwise.
    pub(crate) fn upgrade(&self) -> Share {
        Share(self.0.as_ref().and_then(Weak::upgrade))
    }
}

/// Shares do not tell requests apart.
impl PartialEq for Share {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Share {}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_ref().map_or(0, |permit| permit.num_permits());
        f.debug_tuple("Share").field(&bytes).finish()
    }
}

/// Bytes that may be in progress together.
#[derive(Debug)]
pub(crate) struct Bound {
    room: Arc<Semaphore>,
    bytes: usize,
}

impl Bound {
    /// So many bytes, as far as they can be counted.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes
            .clamp(1, u32::MAX as usize)
            .min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(bytes)),
            bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_share_is_given_back_with_its_last_copy() {
        let bound = Bound::new(100);
        let first = Share::take(60, &bound).await;
        let copy = first.clone();
        let mut second = std::pin::pin!(Share::take(1_000, &bound));
        for held in [Some(first), Some(copy), None] {
            let is_held = held.is_some();
            let waits = tokio::select! {
                biased;
                share = &mut second => Err(share),
                () = tokio::task::yield_now() => Ok(()),
            };
            match waits {
                Ok(()) => assert!(is_held, "there is room for it"),
                Err(share) => {
                    assert!(!is_held, "there is no room for it");
                    assert_eq!(bound.room.available_permits(), 0, "it takes all there is");
                    drop(share);
                }
            }
            drop(held);
        }
        assert_eq!(bound.room.available_permits(), 100);
    }
}
