//! Merging one sorted map into another: one pass over both, or one search for each entry of a small
//! one.

use alloc::sync::Arc;
use alloc::vec;
use core::slice;

use super::pass::Pass;
use super::{Chunk, SortedMap};

/// From how many times more entries on the own side the entries of the other are searched for one by
/// one.
const SEARCH_FROM: usize = 32;

/// What becomes of the entries of two maps. What is asked depends on the arguments alone.
pub(crate) trait Policy<K, V> {
    /// Whether entries that only this side holds may change; otherwise they are not looked at.
    fn looks_at_own(&self) -> bool {
        false
    }

    /// Whether `mine` may change, given what the other side holds under its key. False for two equal
    /// values: shared chunks are skipped.
    fn differs(&self, mine: &V, theirs: Option<&V>) -> bool;

    /// Says what becomes of an entry that differs, and takes note.
    fn meet(&mut self, key: &K, mine: &mut V, theirs: Option<&V>) -> Met;

    /// Whether an entry that only the other side holds is taken as it is.
    fn takes_whole(&self, theirs: &V) -> bool;

    /// Says what is taken of an entry that only the other side holds, and takes note.
    fn fresh(&mut self, key: &K, theirs: &V) -> Fresh<V>;
}

/// What became of an entry that differs.
pub(crate) enum Met {
    /// It is as it was.
    Stays,
    /// The value of the other side is to take its place.
    Replaced,
    /// Its value was changed in place.
    Changed,
    /// It is to go.
    Gone,
}

/// What is taken of an entry that only the other side holds.
pub(crate) enum Fresh<V> {
    Nothing,
    Whole,
    Part(V),
}

impl<K: Ord + Clone, V: Clone, const MAX: usize> SortedMap<K, V, MAX> {
    /// Joins the entries of `other` as `policy` says. True if anything changed.
    ///
    /// O(n + m) for n entries here and m there, without copying what stays; chunks that both share are
    /// skipped; O(m log n) where m is much smaller and own entries are not looked at.
    pub(crate) fn merge_with(&mut self, other: &Self, policy: &mut impl Policy<K, V>) -> bool {
        match !policy.looks_at_own() && other.len * SEARCH_FROM < self.len {
            true => self.merge_by_search(other, policy),
            false => self.merge_by_pass(other, policy),
        }
    }

    pub(super) fn merge_by_search(&mut self, other: &Self, policy: &mut impl Policy<K, V>) -> bool {
        let chunks = other.chunks.iter();
        chunks.fold(false, |changed, chunk| {
            self.search_each(Borrowed(chunk.entries.iter()), policy) | changed
        })
    }

    pub(super) fn merge_by_pass(&mut self, other: &Self, policy: &mut impl Policy<K, V>) -> bool {
        let mut pass = Pass::over(self, policy);
        for chunk in &other.chunks {
            if !pass.takes_chunk(chunk) {
                pass.absorb(Borrowed(chunk.entries.iter()));
            }
        }
        pass.finish(self)
    }

    /// As [`merge_with`](Self::merge_with), but moves entries out of chunks that `other` alone holds.
    pub(crate) fn merge_owned(&mut self, other: Self, policy: &mut impl Policy<K, V>) -> bool {
        let owned = |chunk: Chunk<K, V>| Owned(Arc::unwrap_or_clone(chunk.entries).into_iter());
        if !policy.looks_at_own() && other.len * SEARCH_FROM < self.len {
            let chunks = other.chunks.into_iter();
            return chunks.fold(false, |changed, chunk| {
                self.search_each(owned(chunk), policy) | changed
            });
        }
        let mut pass = Pass::over(self, policy);
        for chunk in other.chunks {
            if !pass.takes_chunk(&chunk) {
                pass.absorb(owned(chunk));
            }
        }
        pass.finish(self)
    }

    fn search_each(&mut self, mut run: impl Run<K, V>, policy: &mut impl Policy<K, V>) -> bool {
        let mut changed = false;
        while let Some((key, theirs)) = run.left().first() {
            let (chunk, at) = match self.find(key) {
                Ok(place) => place,
                Err(place) => {
                    let fresh = policy.fresh(key, theirs);
                    if let Some((key, value)) = run.take_fresh(fresh) {
                        changed = true;
                        self.insert_at(place, key, value);
                    }
                    continue;
                }
            };
            if !policy.differs(&self.chunks[chunk].entries[at].1, Some(theirs)) {
                run.skip(1);
                continue;
            }
            let (key, mine) = &mut Arc::make_mut(&mut self.chunks[chunk].entries)[at];
            let met = policy.meet(key, mine, Some(theirs));
            changed |= !matches!(met, Met::Stays);
            match met {
                Met::Replaced => *mine = run.take().1,
                Met::Stays | Met::Changed => run.skip(1),
                Met::Gone => {
                    run.skip(1);
                    self.remove_at((chunk, at));
                }
            }
        }
        changed
    }
}

/// Entries of the other map, which are taken by cloning or by moving them.
pub(super) trait Run<K, V> {
    fn left(&self) -> &[(K, V)];
    fn take(&mut self) -> (K, V);
    fn take_key(&mut self) -> K;
    fn skip(&mut self, count: usize);

    /// The next entry, as far as it is to be taken; it is skipped otherwise.
    fn take_fresh(&mut self, fresh: Fresh<V>) -> Option<(K, V)> {
        match fresh {
            Fresh::Nothing => {
                self.skip(1);
                None
            }
            Fresh::Whole => Some(self.take()),
            Fresh::Part(value) => Some((self.take_key(), value)),
        }
    }
}

pub(super) struct Borrowed<'a, K, V>(slice::Iter<'a, (K, V)>);

pub(super) struct Owned<K, V>(vec::IntoIter<(K, V)>);

const LEFT: &str = "an entry is left";

impl<K: Clone, V: Clone> Run<K, V> for Borrowed<'_, K, V> {
    fn left(&self) -> &[(K, V)] {
        self.0.as_slice()
    }

    fn take(&mut self) -> (K, V) {
        self.0.next().cloned().expect(LEFT)
    }

    fn take_key(&mut self) -> K {
        self.0.next().expect(LEFT).0.clone()
    }

    fn skip(&mut self, count: usize) {
        self.0 = self.0.as_slice()[count..].iter();
    }
}

impl<K, V> Run<K, V> for Owned<K, V> {
    fn left(&self) -> &[(K, V)] {
        self.0.as_slice()
    }

    fn take(&mut self) -> (K, V) {
        self.0.next().expect(LEFT)
    }

    fn take_key(&mut self) -> K {
        self.0.next().expect(LEFT).0
    }

    fn skip(&mut self, count: usize) {
        self.0.by_ref().take(count).for_each(drop);
    }
}
