//! Which key of a map holds each live dot.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::memory_use::tree_bytes;
use crate::{Dot, DotRange};

/// From live dots to keys, as runs of consecutive dots.
///
/// It names every live dot; a dot that is no longer live may still be named after a join in which a
/// live event lost against another. A look-up may therefore name a key too many, never one too few, and
/// the index [asks to be dropped](Self::is_worn) before such entries are most of it.
///
/// **Invariants.** No two runs overlap.
#[derive(Debug)]
pub(crate) struct KeyIndex<K> {
    /// By the first dot of the run: counter of the last, and the key.
    runs: BTreeMap<Dot, (u64, K)>,
    /// Number of insertions until it is worn.
    insertions_left: usize,
}

/// A small index is not worth dropping often.
const MIN_INSERTIONS: usize = 64;

impl<K: Clone + Eq> KeyIndex<K> {
    pub(crate) fn new(live: impl Iterator<Item = (DotRange, K)>) -> Self {
        let (runs, insertions_left) = (BTreeMap::new(), usize::MAX);
        let mut index = Self {
            runs,
            insertions_left,
        };
        live.for_each(|(range, key)| index.insert(range, key));
        index.insertions_left = MIN_INSERTIONS.max(2 * index.runs.len());
        index
    }

    /// Whether so much was inserted that a new index may be much smaller.
    pub(crate) const fn is_worn(&self) -> bool {
        self.insertions_left == 0
    }

    /// About how many bytes it holds on the heap, without what the keys hold there.
    pub(crate) fn heap_bytes(&self) -> usize {
        tree_bytes::<(Dot, u64, K)>(self.runs.len())
    }

    pub(crate) fn insert(&mut self, range: DotRange, key: K) {
        self.insertions_left = self.insertions_left.saturating_sub(1);
        self.remove(range);
        let first = Dot::new(range.replica, range.first);
        let before = self.runs.range_mut(..first).next_back();
        if let Some((start, (last, held))) = before
            && start.replica == range.replica
            && *last == range.first - 1
            && *held == key
        {
            *last = range.last;
            return;
        }
        self.runs.insert(first, (range.last, key));
    }

    pub(crate) fn remove(&mut self, range: DotRange) {
        let cut: Vec<Dot> = self.overlapping(range).map(|(run, _)| first(run)).collect();
        for start in cut {
            let Some((last, key)) = self.runs.remove(&start) else {
                continue;
            };
            if last > range.last {
                let rest = Dot::new(range.replica, range.last + 1);
                self.runs.insert(rest, (last, key.clone()));
            }
            if start.counter < range.first {
                self.runs.insert(start, (range.first - 1, key));
            }
        }
    }

    /// The runs that share a dot with `range`, with their keys.
    pub(crate) fn overlapping(&self, range: DotRange) -> impl Iterator<Item = (DotRange, &K)> + '_ {
        let end = Dot::new(range.replica, range.last);
        // Runs do not overlap, so those that start before the range end in order, too.
        let backwards = self.runs.range(..=end).rev();
        backwards
            .map(|(start, (last, key))| {
                let (replica, first, last) = (start.replica, start.counter, *last);
                let run = DotRange {
                    replica,
                    first,
                    last,
                };
                (run, key)
            })
            .take_while(move |(run, _)| run.replica == range.replica && run.last >= range.first)
    }
}

const fn first(range: DotRange) -> Dot {
    Dot::new(range.replica, range.first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    fn run(replica: u64, first: u64, last: u64) -> DotRange {
        let replica = ReplicaId(replica);
        DotRange {
            replica,
            first,
            last,
        }
    }

    fn names(index: &KeyIndex<char>, replica: u64) -> String {
        let named = |counter| {
            let mut hits = index.overlapping(run(replica, counter, counter));
            let hit = hits.next().map_or('.', |(_, key)| *key);
            assert!(hits.next().is_none(), "one dot, one key");
            hit
        };
        (1..=9).map(named).collect()
    }

    #[test]
    fn runs_are_cut_and_extended() {
        let mut index = KeyIndex::new([(run(1, 1, 5), 'a'), (run(2, 2, 2), 'b')].into_iter());
        index.insert(run(1, 6, 6), 'a');
        assert_eq!(
            (names(&index, 1).as_str(), index.runs.len()),
            ("aaaaaa...", 2)
        );
        index.remove(run(1, 3, 4));
        index.insert(run(1, 4, 5), 'c');
        assert_eq!(names(&index, 1), "aa.cca...");
        assert_eq!(names(&index, 2), ".b.......");
        index.remove(run(1, 1, u64::MAX));
        assert_eq!(names(&index, 1), ".........");
        assert_eq!(names(&index, 2), ".b.......");
    }

    #[test]
    fn an_index_wears_out_in_proportion_to_its_size() {
        let mut index = KeyIndex::new((1..=100).map(|n| (run(1, 2 * n, 2 * n), 'a')));
        let mut insertions = 0;
        while !index.is_worn() {
            index.insert(run(2, 7, 7), 'b');
            insertions += 1;
        }
        assert_eq!(insertions, 200);
    }
}
