//! Merging one sorted map into another: one pass over both, or one search for each entry of a small
//! one.

use std::cmp::Ordering;
use std::sync::Arc;
use std::{slice, vec};

use super::{Chunk, SortedMap};

/// From how many times more entries on the own side the entries of the other are searched for one by
/// one.
const SEARCH_FROM: usize = 32;

/// Whether an entry of the other map is taken, given the value held under its key; and what to do then.
///
/// `takes` depends on its arguments only, and is false for two equal values: shared chunks are skipped.
pub(crate) trait Policy<V> {
    /// Whether `theirs` is to replace `mine`, or to be added where nothing is held.
    fn takes(&self, mine: Option<&V>, theirs: &V) -> bool;

    /// Takes note, once for each entry that is taken.
    fn took(&mut self, mine: Option<&V>, theirs: &V);
}

impl<K: Ord + Clone, V: Clone, const MAX: usize> SortedMap<K, V, MAX> {
    /// Takes those entries of `other` that `policy` says. True if there were any.
    ///
    /// O(n + m) for n entries here and m there, without copying what stays; chunks that both share are
    /// skipped; O(m log n) where m is much smaller.
    pub(crate) fn merge_with(&mut self, other: &Self, policy: &mut impl Policy<V>) -> bool {
        match other.len * SEARCH_FROM < self.len {
            true => self.merge_by_search(other, policy),
            false => self.merge_by_pass(other, policy),
        }
    }

    pub(super) fn merge_by_search(&mut self, other: &Self, policy: &mut impl Policy<V>) -> bool {
        let chunks = other.chunks.iter();
        chunks.fold(false, |changed, chunk| {
            self.search_each(Borrowed(chunk.entries.iter()), policy) | changed
        })
    }

    pub(super) fn merge_by_pass(&mut self, other: &Self, policy: &mut impl Policy<V>) -> bool {
        let mut pass = Pass::over(self, policy);
        for chunk in &other.chunks {
            if !pass.takes_whole(chunk) {
                pass.absorb(Borrowed(chunk.entries.iter()));
            }
        }
        pass.finish(self)
    }

    /// As [`merge_with`](Self::merge_with), but moves entries out of chunks that `other` alone holds.
    pub(crate) fn merge_owned(&mut self, other: Self, policy: &mut impl Policy<V>) -> bool {
        let owned = |chunk: Chunk<K, V>| Owned(Arc::unwrap_or_clone(chunk.entries).into_iter());
        if other.len * SEARCH_FROM < self.len {
            let chunks = other.chunks.into_iter();
            return chunks.fold(false, |changed, chunk| {
                self.search_each(owned(chunk), policy) | changed
            });
        }
        let mut pass = Pass::over(self, policy);
        for chunk in other.chunks {
            if !pass.takes_whole(&chunk) {
                pass.absorb(owned(chunk));
            }
        }
        pass.finish(self)
    }

    fn search_each(&mut self, mut run: impl Run<K, V>, policy: &mut impl Policy<V>) -> bool {
        let mut changed = false;
        while let Some((key, theirs)) = run.left().first() {
            let place = self.find(key);
            let mine = place
                .ok()
                .map(|(chunk, at)| &self.chunks[chunk].entries[at].1);
            if !policy.takes(mine, theirs) {
                run.skip(1);
                continue;
            }
            policy.took(mine, theirs);
            changed = true;
            let (key, theirs) = run.take();
            match place {
                Ok((chunk, at)) => {
                    Arc::make_mut(&mut self.chunks[chunk].entries)[at].1 = theirs;
                }
                Err(place) => self.insert_at(place, key, theirs),
            }
        }
        changed
    }
}

/// Entries of the other map, which are taken by cloning or by moving them.
trait Run<K, V> {
    fn left(&self) -> &[(K, V)];
    fn take(&mut self) -> (K, V);
    fn skip(&mut self, count: usize);
}

struct Borrowed<'a, K, V>(slice::Iter<'a, (K, V)>);

struct Owned<K, V>(vec::IntoIter<(K, V)>);

impl<K: Clone, V: Clone> Run<K, V> for Borrowed<'_, K, V> {
    fn left(&self) -> &[(K, V)] {
        self.0.as_slice()
    }

    fn take(&mut self) -> (K, V) {
        self.0.next().cloned().expect("an entry is left")
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
        self.0.next().expect("an entry is left")
    }

    fn skip(&mut self, count: usize) {
        self.0.by_ref().take(count).for_each(drop);
    }
}

/// One ordered pass. Chunks go from `rest` through `current` to `done`; what is to change in `current`
/// is collected and applied when it is left, so a chunk that stays as it is is not copied.
struct Pass<'p, K, V, P, const MAX: usize> {
    policy: &'p mut P,
    done: Vec<Chunk<K, V>>,
    /// The chunk that entries of the other map fall into; `None` before the first.
    current: Option<Chunk<K, V>>,
    rest: vec::IntoIter<Chunk<K, V>>,
    /// Entries of `current` before this one are below all that is still to come.
    at: usize,
    replaced: Vec<(usize, V)>,
    /// New entries, each with the place in `current` before which it belongs.
    inserted: Vec<(usize, (K, V))>,
    len: usize,
    changed: bool,
}

impl<'p, K: Ord + Clone, V: Clone, P: Policy<V>, const MAX: usize> Pass<'p, K, V, P, MAX> {
    fn over(map: &mut SortedMap<K, V, MAX>, policy: &'p mut P) -> Self {
        let map = std::mem::take(map);
        let mut rest = map.chunks.into_iter();
        Self {
            policy,
            done: Vec::with_capacity(rest.len()),
            current: rest.next(),
            rest,
            at: 0,
            replaced: Vec::new(),
            inserted: Vec::new(),
            len: map.len,
            changed: false,
        }
    }

    fn finish(mut self, map: &mut SortedMap<K, V, MAX>) -> bool {
        self.apply();
        self.done.extend(self.current);
        self.done.extend(self.rest);
        map.chunks = self.done;
        map.len = self.len;
        self.changed
    }

    fn held(&self) -> &[(K, V)] {
        self.current.as_ref().map_or(&[], |chunk| &chunk.entries)
    }

    /// Makes the chunk current that `key` falls into.
    fn seek(&mut self, key: &K) {
        while self
            .rest
            .as_slice()
            .first()
            .is_some_and(|next| next.first <= *key)
        {
            self.apply();
            let next = self.rest.next();
            self.done.extend(std::mem::replace(&mut self.current, next));
            self.at = 0;
        }
    }

    /// Deals with a chunk of the other map without looking at its entries one by one: one that is
    /// shared already, or that fits between two chunks and can be shared.
    fn takes_whole(&mut self, theirs: &Chunk<K, V>) -> bool {
        self.seek(&theirs.first);
        let is_same = |mine: &Chunk<K, V>| Arc::ptr_eq(&mine.entries, &theirs.entries);
        if self.at == 0 && self.current.as_ref().is_some_and(is_same) {
            self.at = theirs.entries.len();
            return true;
        }
        if !self.fits_between(theirs) {
            return false;
        }
        self.apply();
        self.done.extend(self.current.replace(theirs.clone()));
        self.at = theirs.entries.len();
        self.len += self.at;
        self.changed = true;
        theirs
            .entries
            .iter()
            .for_each(|entry| self.policy.took(None, &entry.1));
        true
    }

    fn fits_between(&self, theirs: &Chunk<K, V>) -> bool {
        // Small chunks are not worth a place of their own.
        let (Some(last), true) = (
            theirs.entries.last(),
            theirs.entries.len() >= SortedMap::<K, V, MAX>::LIMIT / 2,
        ) else {
            return false;
        };
        let behind = |mine: &(K, V)| mine.0 < theirs.first;
        let before = |next: &Chunk<K, V>| last.0 < next.first;
        self.held().last().is_none_or(behind)
            && self.rest.as_slice().first().is_none_or(before)
            && theirs
                .entries
                .iter()
                .all(|entry| self.policy.takes(None, &entry.1))
    }

    fn absorb(&mut self, mut run: impl Run<K, V>) {
        while let Some((key, _)) = run.left().first() {
            self.seek(key);
            let count = match self.rest.as_slice().first() {
                Some(next) => run.left().partition_point(|entry| entry.0 < next.first),
                None => run.left().len(),
            };
            self.scan(&mut run, count);
        }
    }

    /// Compares the next `count` entries of `run`, which all fall into the current chunk, with its own.
    fn scan(&mut self, run: &mut impl Run<K, V>, count: usize) {
        let held: &[(K, V)] = self.current.as_ref().map_or(&[], |chunk| &chunk.entries);
        let (mut at, end) = (self.at, run.left().len() - count);
        loop {
            // Mostly the same keys are on both sides, and nothing is to be done.
            let both = held[at..].iter().zip(&run.left()[..run.left().len() - end]);
            let stays = |(mine, theirs): &(&(K, V), &(K, V))| {
                mine.0 == theirs.0 && !self.policy.takes(Some(&mine.1), &theirs.1)
            };
            let same = both.take_while(stays).count();
            at += same;
            run.skip(same);
            if run.left().len() == end {
                break;
            }
            let (key, theirs) = &run.left()[0];
            let mut order = Ordering::Greater;
            while let Some(entry) = held.get(at) {
                order = entry.0.cmp(key);
                if order.is_ge() {
                    break;
                }
                at += 1;
            }
            let mine = held.get(at).filter(|_| order.is_eq()).map(|entry| &entry.1);
            if !self.policy.takes(mine, theirs) {
                run.skip(1);
                continue;
            }
            self.policy.took(mine, theirs);
            match mine {
                Some(_) => self.replaced.push((at, run.take().1)),
                None => self.inserted.push((at, run.take())),
            }
            at += usize::from(mine.is_some());
        }
        self.at = at;
    }

    /// Applies what was collected for the current chunk. All that is still to come lies behind it.
    fn apply(&mut self) {
        if self.replaced.is_empty() && self.inserted.is_empty() {
            return;
        }
        self.changed = true;
        let mut held = Vec::new();
        if let Some(chunk) = &mut self.current {
            let entries = Arc::make_mut(&mut chunk.entries);
            for (at, value) in self.replaced.drain(..) {
                entries[at].1 = value;
            }
            if self.inserted.is_empty() {
                return;
            }
            held = std::mem::take(entries);
        }
        self.len += self.inserted.len();
        let total = held.len() + self.inserted.len();
        let mut held = held.into_iter();
        let mut inserted = self.inserted.drain(..).peekable();
        let mut at = 0;
        let mut both = std::iter::from_fn(|| {
            if inserted.peek().is_some_and(|(before, _)| *before == at) {
                return inserted.next().map(|(_, entry)| entry);
            }
            at += 1;
            held.next()
        });
        // Evenly, so that no piece is less than half full.
        let size = total.div_ceil(total.div_ceil(SortedMap::<K, V, MAX>::LIMIT));
        let mut last = None;
        let mut left = total;
        while left > 0 {
            let mut piece = Vec::with_capacity(size.min(left));
            piece.extend(both.by_ref().take(size));
            left -= piece.len();
            self.at = piece.len();
            self.done.extend(last.replace(Chunk::new(piece)));
        }
        self.current = last;
    }
}
