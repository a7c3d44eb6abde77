//! Where the elements of a set are among its adds.

use core::borrow::Borrow;
use core::hash::Hash;
use smallvec::SmallVec;

use crate::causal::dot_blocks::{DotBlocks, Place};
use crate::causal::value_index::{self, ValueIndex};

/// Up to this number of adds, looking at each is as fast as the index.
const INDEX_FROM: usize = 16;

/// Where elements are among the adds.
#[derive(Debug, Clone)]
pub(crate) struct Lookup {
    /// The adds of each element, if there are too many to look at all.
    index: Option<ValueIndex>,
    /// Number of elements: fewer than adds where concurrent adds of one element are live.
    distinct: usize,
}

/// An element that is looked for: its hash is taken once, and only where there is an index.
#[derive(Debug)]
pub(crate) struct Wanted<'q, Q: ?Sized> {
    element: &'q Q,
    hash: u64,
}

impl Lookup {
    /// Number of elements.
    pub(crate) const fn distinct(&self) -> usize {
        self.distinct
    }

    /// How many bytes it takes, which are on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.index.as_ref().map_or(0, ValueIndex::heap_bytes)
    }

    /// Whether a set with so many adds needs no more than to look at each of them.
    pub(crate) const fn is_small(adds: usize) -> bool {
        adds <= INDEX_FROM
    }

    /// Of all adds.
    pub(crate) fn of<E: Hash + Eq>(adds: &DotBlocks<E>) -> Self {
        let mut lookup = Self {
            index: (!Self::is_small(adds.len())).then(|| ValueIndex::new(adds.len())),
            distinct: 0,
        };
        for (at, element) in adds.places() {
            let is_new = match &mut lookup.index {
                Some(index) => index.insert(adds, at, element),
                None => adds.places().find(|(_, e)| *e == element).map(|(p, _)| p) == Some(at),
            };
            lookup.distinct += usize::from(is_new);
        }
        lookup
    }

    pub(crate) fn wanted<'q, Q: Hash + ?Sized>(&self, element: &'q Q) -> Wanted<'q, Q> {
        let hash = match &self.index {
            Some(_) => value_index::hash(element),
            None => 0,
        };
        Wanted { element, hash }
    }

    /// Whether an element is present.
    pub(crate) fn contains<E, Q>(&self, adds: &DotBlocks<E>, wanted: &Wanted<'_, Q>) -> bool
    where
        E: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        match &self.index {
            Some(index) => {
                let found = index.place(wanted.hash, |at| holds(adds, at, wanted.element));
                found.is_some()
            }
            None => adds.iter().any(|(_, e)| e.borrow() == wanted.element),
        }
    }

    /// The live adds of an element.
    pub(crate) fn places<E, Q>(
        &self,
        adds: &DotBlocks<E>,
        wanted: &Wanted<'_, Q>,
    ) -> SmallVec<[Place; 2]>
    where
        E: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let is_element = |at: Place| holds(adds, at, wanted.element);
        match &self.index {
            // No element has two adds.
            Some(index) if self.distinct == adds.len() => {
                index.place(wanted.hash, is_element).into_iter().collect()
            }
            Some(index) => index.places(wanted.hash, is_element),
            None => {
                let places = adds.places();
                let places = places.filter(|(_, e)| (*e).borrow() == wanted.element);
                places.map(|(at, _)| at).collect()
            }
        }
    }

    /// An add became live: `adds` holds it.
    pub(crate) fn note_added<E: Hash + Eq>(&mut self, adds: &DotBlocks<E>, at: Place) {
        let element = adds.get_at(at).expect("the add is live");
        let is_new = match &mut self.index {
            Some(index) => index.insert(adds, at, element),
            None if !Self::is_small(adds.len()) => {
                *self = Self::of(adds);
                return;
            }
            None => adds.places().filter(|(_, e)| *e == element).count() == 1,
        };
        self.distinct += usize::from(is_new);
    }

    /// An add of an element with that hash became live, and the element has no other.
    pub(crate) fn note_new<E: Hash + Eq>(&mut self, adds: &DotBlocks<E>, at: Place, hash: u64) {
        match &mut self.index {
            Some(index) => {
                index.insert_new(adds, at, hash);
                self.distinct += 1;
            }
            None => self.note_added(adds, at),
        }
    }

    /// An add is no longer live: `adds` does not hold it any more.
    pub(crate) fn note_removed<E, Q>(
        &mut self,
        adds: &DotBlocks<E>,
        at: Place,
        wanted: &Wanted<'_, Q>,
    ) where
        E: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        if let Some(index) = &mut self.index {
            index.remove(at, wanted.hash);
        }
        // If no element had two adds, this one has none left.
        let is_gone = self.distinct == adds.len() + 1 || !self.contains(adds, wanted);
        self.distinct -= usize::from(is_gone);
    }
}

impl<Q: ?Sized> Wanted<'_, Q> {
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }
}

fn holds<E: Borrow<Q>, Q: Eq + ?Sized>(adds: &DotBlocks<E>, at: Place, element: &Q) -> bool {
    adds.get_at(at).is_some_and(|held| held.borrow() == element)
}
