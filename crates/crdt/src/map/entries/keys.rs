//! The places of a run, with eight bytes of each key beside them.

use alloc::vec::Vec;
use core::ops::Range;

use super::order::AsBytes;
use super::slab::Slab;

/// Places in key order, and a hint for each: the eight bytes of its key behind those that all keys of the run
/// have in common, as a number. Hints are ordered as the keys are, but keys with equal hints differ.
///
/// Where it is not known that keys are ordered as bytes all hints are zero.
///
/// **Invariants.** As many hints as places; all keys have the first `skip` bytes in common.
#[derive(Clone)]
pub(super) struct Keys {
    skip: usize,
    hints: Vec<u64>,
    places: Vec<u32>,
}

/// Up to eight bytes from `skip` on, as a number.
fn hint(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    match rest.first_chunk() {
        Some(bytes) => u64::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 8];
            bytes[..rest.len()].copy_from_slice(rest);
            u64::from_be_bytes(bytes)
        }
    }
}

/// How many bytes two keys start with in common.
fn common(one: &[u8], other: &[u8]) -> usize {
    let pairs = one.iter().zip(other);
    pairs.take_while(|(a, b)| a == b).count()
}

impl Keys {
    /// The keys at these places, which are in key order. Linear in them.
    pub(super) fn new<K, C>(
        mut places: Vec<u32>,
        slab: &Slab<K, C>,
        bytes: Option<AsBytes<K>>,
    ) -> Self {
        places.shrink_to_fit();
        let of = |place: u32| bytes.map(|bytes| bytes(slab.get(place).0));
        let ends = [places.first(), places.last()].map(|end| of(*end?));
        let skip = match ends {
            [Some(first), Some(last)] => common(first, last),
            _ => 0,
        };
        let hints = places
            .iter()
            .map(|place| of(*place).map_or(0, |key| hint(key, skip)));
        Self {
            skip,
            hints: hints.collect(),
            places,
        }
    }

    /// The places, in key order.
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// The indices of the keys that cannot be told from `key` by their hints, or the empty range where it
    /// belongs. `first` is the first key of the run, and `key` is not below it.
    pub(super) fn alike(&self, first: &[u8], key: &[u8]) -> Range<usize> {
        if common(first, key) < self.skip {
            // It is above all keys that start as the first one does.
            return self.places.len()..self.places.len();
        }
        let hint = hint(key, self.skip);
        let start = self.hints.partition_point(|held| *held < hint);
        let alike = self.hints[start..].iter().take_while(|held| **held == hint);
        start..start + alike.count()
    }

    /// Inserts a place at an index.
    pub(super) fn insert<K, C>(
        &mut self,
        at: usize,
        place: u32,
        slab: &Slab<K, C>,
        bytes: Option<AsBytes<K>>,
    ) {
        let of = |place: u32| bytes.map(|bytes| bytes(slab.get(place).0));
        let key = of(place);
        if let (Some(key), Some(first)) = (key, self.places.first().and_then(|first| of(*first)))
            && common(first, key) < self.skip
        {
            let mut places = core::mem::take(&mut self.places);
            places.insert(at, place);
            *self = Self::new(places, slab, bytes);
            return;
        }
        self.hints
            .insert(at, key.map_or(0, |key| hint(key, self.skip)));
        self.places.insert(at, place);
    }

    /// Removes the place at an index.
    pub(super) fn remove(&mut self, at: usize) {
        self.hints.remove(at);
        self.places.remove(at);
    }
}

#[cfg(test)]
impl Keys {
    /// Whether the invariants hold.
    pub(super) fn is_valid<K, C>(&self, slab: &Slab<K, C>, bytes: Option<AsBytes<K>>) -> bool {
        let Some(bytes) = bytes else {
            return self.hints == vec![0; self.places.len()];
        };
        let keys = self.places.iter().map(|place| bytes(slab.get(*place).0));
        let first = bytes(slab.get(self.places[0]).0);
        let hints = keys.clone().map(|key| hint(key, self.skip));
        hints.eq(self.hints.iter().copied())
            && keys.map(|key| common(first, key)).all(|c| c >= self.skip)
    }
}
