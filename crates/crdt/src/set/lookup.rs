//! Where the elements of a set are among its adds.

use smallvec::SmallVec;
use std::borrow::Borrow;
use std::hash::Hash;

use crate::causal::dot_blocks::{DotBlocks, Place};
use crate::causal::value_index::ValueIndex;

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

impl Lookup {
    /// Number of elements.
    pub(crate) const fn distinct(&self) -> usize {
        self.distinct
    }

    /// Of all adds.
    pub(crate) fn of<E: Hash + Eq>(adds: &DotBlocks<E>) -> Self {
        let mut lookup = Self {
            index: (adds.len() > INDEX_FROM).then(|| ValueIndex::new(adds.len())),
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

    /// Whether an element is present.
    pub(crate) fn contains<E, Q>(&self, adds: &DotBlocks<E>, element: &Q) -> bool
    where
        E: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match &self.index {
            Some(index) => index.contains(element, |at| holds(adds, at, element)),
            None => adds.iter().any(|(_, e)| e.borrow() == element),
        }
    }

    /// The live adds of an element.
    pub(crate) fn places<E, Q>(&self, adds: &DotBlocks<E>, element: &Q) -> SmallVec<[Place; 2]>
    where
        E: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match &self.index {
            Some(index) => index.places(element, |at| holds(adds, at, element)),
            None => {
                let places = adds.places().filter(|(_, e)| (*e).borrow() == element);
                places.map(|(at, _)| at).collect()
            }
        }
    }

    /// An add became live: `adds` holds it.
    pub(crate) fn note_added<E: Hash + Eq>(&mut self, adds: &DotBlocks<E>, at: Place) {
        let element = adds.get_at(at).expect("the add is live");
        let is_new = match &mut self.index {
            Some(index) => index.insert(adds, at, element),
            None if adds.len() > INDEX_FROM => {
                *self = Self::of(adds);
                return;
            }
            None => adds.places().filter(|(_, e)| *e == element).count() == 1,
        };
        self.distinct += usize::from(is_new);
    }

    /// An add is no longer live: `adds` does not hold it any more.
    pub(crate) fn note_removed<E: Hash + Eq>(
        &mut self,
        adds: &DotBlocks<E>,
        at: Place,
        element: &E,
    ) {
        if let Some(index) = &mut self.index {
            index.remove(at, element);
        }
        self.distinct -= usize::from(!self.contains(adds, element));
    }
}

fn holds<E: Borrow<Q>, Q: Eq + ?Sized>(adds: &DotBlocks<E>, at: Place, element: &Q) -> bool {
    adds.get_at(at).is_some_and(|held| held.borrow() == element)
}
