//! Where entries stand: places that stay the same until the entry is removed.

use alloc::sync::Arc;
use alloc::vec::Vec;

/// Places in a block. The first write to a block after a snapshot copies it.
const BLOCK: usize = 32;

/// No place: the end of the list of free ones.
const NONE: u32 = u32::MAX;

/// Entries at places that do not change while others come and go. Blocks are shared with clones until one
/// of them writes.
///
/// **Invariants.** The free places form one list that starts at `free`; all places below
/// `blocks.len() * BLOCK` are held or in it.
#[derive(Clone)]
pub(super) struct Slab<K, C> {
    blocks: Arc<Vec<Block<K, C>>>,
    free: u32,
}

type Block<K, C> = Arc<[Slot<K, C>; BLOCK]>;

#[derive(Clone)]
enum Slot<K, C> {
    Held(K, C),
    /// The next free place.
    Free(u32),
}

impl<K, C> Default for Slab<K, C> {
    fn default() -> Self {
        Self {
            blocks: Arc::default(),
            free: NONE,
        }
    }
}

const fn split(place: u32) -> (usize, usize) {
    (place as usize / BLOCK, place as usize % BLOCK)
}

impl<K, C> Slab<K, C> {
    /// Number of places, free ones included.
    pub(super) fn places(&self) -> usize {
        self.blocks.len() * BLOCK
    }

    /// The entry at a place that is held.
    pub(super) fn get(&self, place: u32) -> (&K, &C) {
        let (block, at) = split(place);
        match &self.blocks[block][at] {
            Slot::Held(key, cell) => (key, cell),
            Slot::Free(_) => unreachable!("place {place} is free"),
        }
    }
}

impl<K: Clone, C: Clone> Slab<K, C> {
    fn slot(&mut self, place: u32) -> &mut Slot<K, C> {
        let (block, at) = split(place);
        &mut Arc::make_mut(&mut Arc::make_mut(&mut self.blocks)[block])[at]
    }

    /// The cell at a place that is held, to be changed.
    pub(super) fn get_mut(&mut self, place: u32) -> &mut C {
        match self.slot(place) {
            Slot::Held(_, cell) => cell,
            Slot::Free(_) => unreachable!("place {place} is free"),
        }
    }

    /// Puts an entry at a free place.
    ///
    /// # Panics
    /// If there are 2^32 - 1 entries.
    pub(super) fn insert(&mut self, key: K, cell: C) -> u32 {
        if self.free == NONE {
            self.grow();
        }
        let place = self.free;
        let slot = self.slot(place);
        let Slot::Free(next) = *slot else {
            unreachable!("place {place} is held")
        };
        *slot = Slot::Held(key, cell);
        self.free = next;
        place
    }

    /// Takes an entry out; its place is free.
    pub(super) fn remove(&mut self, place: u32) {
        let free = self.free;
        let held = core::mem::replace(self.slot(place), Slot::Free(free));
        debug_assert!(matches!(held, Slot::Held(..)), "place {place} is free");
        self.free = place;
    }

    /// Makes places, which are filled in ascending order.
    fn grow(&mut self) {
        let first = self.places();
        let end = u32::try_from(first + BLOCK).expect("a map has fewer than 2^32 entries");
        let next = |at: usize| match at + 1 {
            BLOCK => NONE,
            next => end - (BLOCK - next) as u32,
        };
        let block = core::array::from_fn(|at| Slot::Free(next(at)));
        Arc::make_mut(&mut self.blocks).push(Arc::new(block));
        self.free = end - BLOCK as u32;
    }
}
