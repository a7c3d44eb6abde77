//! Owner views as they come over a wire.
//!
//! A view travels with every message and hardly ever changes. Reading it makes no new one where one that says the
//! same was read before on this thread: whoever keeps it sees by its address that it is the same.

use crdt::{OwnerView, ReplicaId};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use smallvec::SmallVec;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Views that are remembered; a node has one for each of its partitions.
const SLOTS: usize = 256;

/// Incarnations in a view that is remembered, at most.
const MAX_INCARNATIONS: usize = 64;

thread_local! {
    static KNOWN: RefCell<Vec<Option<Arc<OwnerView>>>> = const { RefCell::new(Vec::new()) };
}

/// Reads a view, or finds it among those that were read before.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Arc<OwnerView>, D::Error> {
    let Wire { positions } = Wire::deserialize(deserializer)?;
    Ok(positions.known())
}

/// The form of [`OwnerView`].
#[derive(serde::Deserialize)]
struct Wire {
    positions: Positions,
}

/// The incarnations by position, as they were written.
struct Positions(SmallVec<[(u32, ReplicaId); 8]>);

/// The incarnations of one position.
struct Incarnations(SmallVec<[ReplicaId; 4]>);

impl Positions {
    fn known(&self) -> Arc<OwnerView> {
        if self.0.len() > MAX_INCARNATIONS {
            return Arc::new(self.view());
        }
        KNOWN.with_borrow_mut(|known| {
            known.resize(SLOTS, None);
            let slot = &mut known[self.slot()];
            match slot {
                Some(view) if view.incarnations().eq(self.0.iter().copied()) => Arc::clone(view),
                _ => Arc::clone(slot.insert(Arc::new(self.view()))),
            }
        })
    }

    fn view(&self) -> OwnerView {
        let mut view = OwnerView::default();
        for (position, incarnation) in &self.0 {
            view.record(*position, *incarnation);
        }
        view
    }

    fn slot(&self) -> usize {
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let words = self.0.iter().map(|(p, id)| u64::from(*p) ^ id.0);
        let hash = words.fold(0, |hash: u64, word| mix(hash.rotate_left(23), word));
        (hash >> 32) as usize % SLOTS
    }
}

impl<'de> Deserialize<'de> for Positions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Positions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("incarnations by position")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Positions, A::Error> {
                let mut all = SmallVec::new();
                while let Some((position, incarnations)) = map.next_entry::<u32, Incarnations>()? {
                    if incarnations.0.is_empty() {
                        return Err(A::Error::custom("a position of an owner view is empty"));
                    }
                    all.extend(incarnations.0.into_iter().map(|id| (position, id)));
                }
                Ok(Positions(all))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

impl<'de> Deserialize<'de> for Incarnations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = Incarnations;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("incarnations")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut ids: A) -> Result<Incarnations, A::Error> {
                let mut all = SmallVec::new();
                while let Some(id) = ids.next_element()? {
                    all.push(id);
                }
                Ok(Incarnations(all))
            }
        }
        deserializer.deserialize_seq(Ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Message};

    fn sent(view: &OwnerView) -> Arc<OwnerView> {
        let envelope: Envelope = Envelope {
            from: None,
            view: Arc::new(view.clone()),
            clock: crdt::Timestamp(7),
            message: Message::Hello,
        };
        let bytes = postcard::to_stdvec(&envelope).expect("it serialises");
        let read: Envelope = postcard::from_bytes(&bytes).expect("it is what was written");
        assert_eq!(read, envelope);
        let text = serde_json::to_string(&envelope).expect("it serialises");
        assert_eq!(serde_json::from_str::<Envelope>(&text).ok(), Some(envelope));
        read.view
    }

    #[test]
    fn a_view_that_was_read_before_is_the_same_and_another_is_not() {
        let mut view = OwnerView::default();
        assert_eq!(*sent(&view), view);
        for position in 0..3 {
            view.record(position, ReplicaId(u64::from(position) + 10));
        }
        let first = sent(&view);
        assert!(Arc::ptr_eq(&first, &sent(&view)));
        view.record(1, ReplicaId(99));
        let second = sent(&view);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &sent(&view)));
        for id in 100..400 {
            view.record(2, ReplicaId(id));
            assert_eq!(*sent(&view), view, "many incarnations");
        }
    }

    /// A view of three positions, each of which `first` and its successors have been at.
    fn view_of(first: u64, incarnations: u64) -> OwnerView {
        let mut view = OwnerView::default();
        for i in 0..incarnations {
            view.record(u32::try_from(i % 3).expect("small"), ReplicaId(first + i));
        }
        view
    }

    #[test]
    fn views_of_many_partitions_are_remembered_beside_each_other() {
        let views: Vec<OwnerView> = (0..16).map(|n| view_of(1_000 * n + 1, 3)).collect();
        let first: Vec<Arc<OwnerView>> = views.iter().map(sent).collect();
        let again = views.iter().zip(&first);
        let found = again.filter(|(view, first)| Arc::ptr_eq(&sent(view), first));
        assert!(found.count() >= 12, "some may share a place");
    }

    #[test]
    fn a_view_of_very_many_incarnations_is_not_remembered() {
        for (incarnations, is_remembered) in [(64, true), (65, false)] {
            let view = view_of(7, incarnations);
            let first = sent(&view);
            assert_eq!(Arc::ptr_eq(&first, &sent(&view)), is_remembered);
        }
    }

    #[test]
    fn a_position_without_incarnations_is_refused() {
        let empty = [1, 5, 0];
        assert!(postcard::from_bytes::<Wire>(&empty).is_err());
        assert!(postcard::from_bytes::<OwnerView>(&empty).is_err());
    }

    #[test]
    fn what_is_no_view_is_refused_by_name() {
        for (text, expected) in [
            (r#"{"positions": 5}"#, "expected incarnations by position"),
            (r#"{"positions": {"5": 5}}"#, "expected incarnations"),
            (
                r#"{"positions": {"5": []}}"#,
                "a position of an owner view is empty",
            ),
        ] {
            let refused = serde_json::from_str::<Wire>(text).map(|_| ());
            let error = refused.expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
