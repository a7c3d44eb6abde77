//! One ordered pass over two maps.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use super::merge::{Fresh, Met, Policy, Run};
use super::{Chunk, SortedMap};

/// One ordered pass. Chunks go from `rest` through `current` to `done`. As long as no entry of the current
/// chunk comes or goes, values change in place, and a chunk that stays as it is is not copied. From the
/// first that does, what is left of the chunk moves over into `out`, entry by entry.
pub(super) struct Pass<'p, K, V, P, const MAX: usize> {
    policy: &'p mut P,
    done: Vec<Chunk<K, V>>,
    /// The chunk that entries of the other map fall into; `None` before the first, and while it is
    /// rewritten.
    current: Option<Chunk<K, V>>,
    /// Entries of `current` before this one are dealt with.
    at: usize,
    /// What is left of the current chunk while it is rewritten.
    source: Option<vec::IntoIter<(K, V)>>,
    /// The end of what was rewritten: behind all of `done`, and never more than a chunk holds.
    out: Vec<(K, V)>,
    rest: smallvec::IntoIter<[Chunk<K, V>; 1]>,
    len: usize,
    changed: bool,
}

/// The entries of a chunk that is not rewritten.
enum Held<'a, K, V> {
    Own(&'a mut [(K, V)]),
    Shared(&'a [(K, V)]),
}

impl<K, V> Held<'_, K, V> {
    fn entries(&self) -> &[(K, V)] {
        match self {
            Self::Own(entries) => entries,
            Self::Shared(entries) => entries,
        }
    }
}

/// Why no more entries are compared in place.
enum Stop<V> {
    /// The entries of the other map have come to their end.
    End,
    /// An entry of a shared chunk is to change.
    Rewrite,
    /// An entry of the other map is to be inserted.
    Insert(Fresh<V>),
    /// The next own entry is to go.
    Drop,
}

impl<'p, K: Ord + Clone, V: Clone, P: Policy<K, V>, const MAX: usize> Pass<'p, K, V, P, MAX> {
    pub(super) fn over(map: &mut SortedMap<K, V, MAX>, policy: &'p mut P) -> Self {
        let map = core::mem::take(map);
        let mut rest = map.chunks.into_iter();
        Self {
            policy,
            done: Vec::with_capacity(rest.len() + 1),
            current: rest.next(),
            at: 0,
            source: None,
            out: Vec::new(),
            rest,
            len: map.len,
            changed: false,
        }
    }

    pub(super) fn finish(mut self, map: &mut SortedMap<K, V, MAX>) -> bool {
        self.leave();
        if self.policy.looks_at_own() {
            while let Some(next) = self.rest.next() {
                (self.current, self.at) = (Some(next), 0);
                self.leave();
            }
        }
        self.flush();
        self.done.extend(self.rest);
        map.chunks = self.done.into();
        map.len = self.len;
        self.changed
    }

    /// Deals with a chunk of the other map without looking at its entries one by one: one that is
    /// shared already, or that fits between two chunks and can be shared.
    pub(super) fn takes_chunk(&mut self, theirs: &Chunk<K, V>) -> bool {
        self.seek(&theirs.first);
        let is_same = |mine: &Chunk<K, V>| Arc::ptr_eq(&mine.entries, &theirs.entries);
        if self.at == 0 && self.current.as_ref().is_some_and(is_same) {
            self.at = theirs.entries.len();
            return true;
        }
        if !self.fits_between(theirs) {
            return false;
        }
        self.leave();
        self.flush();
        for (key, value) in theirs.entries.iter() {
            let _whole = self.policy.fresh(key, value);
        }
        self.len += theirs.entries.len();
        self.changed = true;
        self.done.push(theirs.clone());
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
        let held = match (&self.source, &self.current) {
            (Some(source), _) => source.as_slice(),
            (None, Some(chunk)) => &chunk.entries[..],
            (None, None) => &[],
        };
        held.last().is_none_or(|mine| mine.0 < theirs.first)
            && (self.rest.as_slice().first()).is_none_or(|next| last.0 < next.first)
            && (theirs.entries.iter()).all(|entry| self.policy.takes_whole(&entry.1))
    }

    pub(super) fn absorb(&mut self, mut run: impl Run<K, V>) {
        while let Some((key, _)) = run.left().first() {
            self.seek(key);
            let count = match self.rest.as_slice().first() {
                Some(next) => run.left().partition_point(|entry| entry.0 < next.first),
                None => run.left().len(),
            };
            let end = run.left().len() - count;
            if self.source.is_none() && self.scan(&mut run, end) {
                continue;
            }
            self.merge(&mut run, end);
        }
    }

    /// Makes the chunk current that `key` falls into.
    fn seek(&mut self, key: &K) {
        let is_ahead = |next: &Chunk<K, V>| next.first <= *key;
        while self.rest.as_slice().first().is_some_and(is_ahead) {
            self.leave();
            (self.current, self.at) = (self.rest.next(), 0);
        }
    }

    /// Deals with what is left of the current chunk, behind which all lies that is still to come of the
    /// other map.
    fn leave(&mut self) {
        if self.source.is_none() && self.policy.looks_at_own() {
            self.scan(&mut Nothing, 0);
        }
        if self.source.is_some() {
            while self.move_own(None).is_some() {
                self.meet_own();
            }
            self.source = None;
        } else if let Some(chunk) = self.current.take() {
            self.flush();
            self.done.push(chunk);
        }
        self.at = 0;
    }

    /// Compares entries of `run` with those of the current chunk, as long as its own stay or change in
    /// place. True if that is so until `end` of them are left; otherwise the chunk is rewritten from here.
    fn scan(&mut self, run: &mut impl Run<K, V>, end: usize) -> bool {
        let stop = match &mut self.current {
            Some(chunk) => {
                let mut held = match Arc::get_mut(&mut chunk.entries) {
                    Some(entries) => Held::Own(entries),
                    None => Held::Shared(&chunk.entries),
                };
                let at = &mut self.at;
                compare(self.policy, &mut held, at, run, end, &mut self.changed)
            }
            None => Stop::Rewrite,
        };
        if matches!(stop, Stop::End) {
            return true;
        }
        self.rewrite();
        match stop {
            Stop::Insert(fresh) => self.insert(run, fresh),
            Stop::Drop => {
                self.source.as_mut().and_then(Iterator::next);
                self.len -= 1;
                self.changed = true;
            }
            Stop::End | Stop::Rewrite => {}
        }
        false
    }

    /// Starts to rewrite the current chunk: entries that were dealt with move over.
    fn rewrite(&mut self) {
        let entries = self.current.take().map(|chunk| chunk.entries);
        let mut source = Arc::unwrap_or_clone(entries.unwrap_or_default()).into_iter();
        for entry in source.by_ref().take(core::mem::take(&mut self.at)) {
            self.push(entry);
        }
        self.source = Some(source);
    }

    /// Deals with entries of either side, in a chunk that is rewritten, until `end` of the run are left.
    fn merge(&mut self, run: &mut impl Run<K, V>, end: usize) {
        while run.left().len() > end {
            let (key, theirs) = &run.left()[0];
            match self.move_own(Some(key)) {
                Some(Ordering::Less) => self.meet_own(),
                Some(Ordering::Equal) => self.meet_both(run),
                Some(Ordering::Greater) | None => {
                    let fresh = self.policy.fresh(key, theirs);
                    self.insert(run, fresh);
                }
            }
        }
    }

    /// Moves own entries over that are below `key` and stay as they are, and tells how the next one
    /// compares with `key`; none if there is no other.
    fn move_own(&mut self, key: Option<&K>) -> Option<Ordering> {
        let looks_at_own = self.policy.looks_at_own();
        let source = self.source.as_mut()?;
        loop {
            let mine = source.as_slice().first()?;
            let order = key.map_or(Ordering::Less, |key| mine.0.cmp(key));
            if order.is_ge() || (looks_at_own && self.policy.differs(&mine.1, None)) {
                return Some(order);
            }
            if self.out.len() >= SortedMap::<K, V, MAX>::LIMIT {
                self.done.push(full_chunk(&mut self.out));
            }
            self.out.extend(source.next());
        }
    }

    /// Deals with an own entry that differs, and whose key the other side does not hold.
    fn meet_own(&mut self) {
        if let Some((key, mut mine)) = self.source.as_mut().and_then(Iterator::next) {
            let met = self.policy.meet(&key, &mut mine, None);
            self.keep(key, mine, &met);
        }
    }

    /// Deals with an entry whose key both sides hold.
    fn meet_both(&mut self, run: &mut impl Run<K, V>) {
        let next = self.source.as_mut().and_then(Iterator::next);
        let (Some((key, mut mine)), Some((_, theirs))) = (next, run.left().first()) else {
            return;
        };
        let met = match self.policy.differs(&mine, Some(theirs)) {
            true => self.policy.meet(&key, &mut mine, Some(theirs)),
            false => Met::Stays,
        };
        match met {
            Met::Replaced => mine = run.take().1,
            Met::Stays | Met::Changed | Met::Gone => run.skip(1),
        }
        self.keep(key, mine, &met);
    }

    /// Keeps an own entry, unless it is to go.
    fn keep(&mut self, key: K, mine: V, met: &Met) {
        self.changed |= !matches!(met, Met::Stays);
        match met {
            Met::Gone => self.len -= 1,
            Met::Stays | Met::Replaced | Met::Changed => self.push((key, mine)),
        }
    }

    #[inline]
    fn insert(&mut self, run: &mut impl Run<K, V>, fresh: Fresh<V>) {
        let entry = match fresh {
            Fresh::Nothing => return run.skip(1),
            Fresh::Whole => run.take(),
            Fresh::Part(value) => (run.take_key(), value),
        };
        self.len += 1;
        self.changed = true;
        self.push(entry);
    }

    #[inline]
    fn push(&mut self, entry: (K, V)) {
        if self.out.len() >= SortedMap::<K, V, MAX>::LIMIT {
            self.done.push(full_chunk(&mut self.out));
        }
        self.out.push(entry);
    }

    /// Ends what was rewritten: a chunk of another kind comes behind it. A small end is united with the
    /// chunk before it, or takes some of it over, so that small chunks do not pile up.
    fn flush(&mut self) {
        let mut end = core::mem::take(&mut self.out);
        if end.is_empty() {
            return;
        }
        let limit = SortedMap::<K, V, MAX>::LIMIT;
        let before = self.done.last_mut().filter(|_| end.len() < limit / 2);
        if let Some(before) = before.and_then(|chunk| Arc::get_mut(&mut chunk.entries)) {
            let total = before.len() + end.len();
            if total <= limit {
                before.append(&mut end);
                return;
            }
            let mut last = before.split_off(total.div_ceil(2));
            last.append(&mut end);
            end = last;
        }
        end.shrink_to_fit();
        self.done.push(Chunk::new(end));
    }
}

/// A chunk of all that `out` holds, which starts anew with room for as much.
#[cold]
fn full_chunk<K: Clone, V>(out: &mut Vec<(K, V)>) -> Chunk<K, V> {
    let next = Vec::with_capacity(out.len());
    Chunk::new(core::mem::replace(out, next))
}

/// No entries of the other map.
struct Nothing;

impl<K, V> Run<K, V> for Nothing {
    fn left(&self) -> &[(K, V)] {
        &[]
    }

    fn take(&mut self) -> (K, V) {
        unreachable!("there is no entry")
    }

    fn take_key(&mut self) -> K {
        unreachable!("there is no entry")
    }

    fn skip(&mut self, _: usize) {}
}

/// Compares entries of `run` with those of a chunk from `at` on, where they are, until `end` of the run are
/// left. If the policy looks at own entries and the run is empty, the chunk is gone over to its end.
fn compare<K: Ord, V>(
    policy: &mut impl Policy<K, V>,
    held: &mut Held<'_, K, V>,
    at: &mut usize,
    run: &mut impl Run<K, V>,
    end: usize,
    changed: &mut bool,
) -> Stop<V> {
    let looks_at_own = policy.looks_at_own();
    let only_own = run.left().is_empty();
    loop {
        let mine = held.entries();
        // Mostly the same keys are on both sides, and nothing is to be done.
        let both = mine[*at..]
            .iter()
            .zip(&run.left()[..run.left().len() - end]);
        let stays = |(mine, theirs): &(&(K, V), &(K, V))| {
            mine.0 == theirs.0 && !policy.differs(&mine.1, Some(&theirs.1))
        };
        let same = both.take_while(stays).count();
        *at += same;
        run.skip(same);
        let next = run.left().first().filter(|_| run.left().len() > end);
        if next.is_none() && !only_own {
            return Stop::End;
        }
        let mut order = Ordering::Less;
        while let Some(entry) = mine.get(*at) {
            order = next.map_or(Ordering::Less, |theirs| entry.0.cmp(&theirs.0));
            if order.is_ge() || (looks_at_own && policy.differs(&entry.1, None)) {
                break;
            }
            *at += 1;
        }
        let theirs = match next {
            Some((key, theirs)) if *at == mine.len() || order.is_gt() => {
                match policy.fresh(key, theirs) {
                    Fresh::Nothing => run.skip(1),
                    fresh => return Stop::Insert(fresh),
                }
                continue;
            }
            None if *at == mine.len() => return Stop::End,
            next => next.map(|entry| &entry.1).filter(|_| order.is_eq()),
        };
        let is_met = theirs.is_some();
        if is_met && !policy.differs(&mine[*at].1, theirs) {
            *at += 1;
            run.skip(1);
            continue;
        }
        let Held::Own(entries) = held else {
            return Stop::Rewrite;
        };
        let (key, value) = &mut entries[*at];
        let met = policy.meet(key, value, theirs);
        *changed |= !matches!(met, Met::Stays);
        match met {
            Met::Replaced => *value = run.take().1,
            Met::Stays | Met::Changed | Met::Gone => run.skip(usize::from(is_met)),
        }
        if matches!(met, Met::Gone) {
            return Stop::Drop;
        }
        *at += 1;
    }
}
