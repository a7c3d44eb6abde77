//! The event log: which key each event touched.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::{CausalContext, Dot, DotRange, ReplicaId};

/// Names the key of each event that a peer might still lack.
///
/// Invariant I4: the log names the key of every event of the base outside what it has trimmed. Asked
/// for one that it cannot name, it says so, and the answer to the peer is a transfer, never a guess.
/// Trimming costs transfers, never correctness.
///
/// **Cost.** One entry for each event until it is trimmed; logarithmic time to note and to name.
/// Events far ahead of the others cost no more than any other.
#[derive(Debug, Clone)]
pub struct EventLog<K> {
    writers: BTreeMap<ReplicaId, Keys<K>>,
    len: usize,
}

/// Counters in a block: large enough that what holds the block is small beside it, small enough that an
/// event far from the others costs little.
const BLOCK: u64 = 32;

/// The keys of one writer's events, in blocks of counters. Counters mostly come one after the other, and a
/// block that is filled in order has no room to spare, where a node of a tree is left half empty.
///
/// **Invariants.** No block is empty, counters ascend in a block, `len` is their number.
#[derive(Debug, Clone)]
struct Keys<K> {
    blocks: BTreeMap<u64, Vec<(u64, K)>>,
    len: usize,
}

impl<K> Default for Keys<K> {
    fn default() -> Self {
        Self {
            blocks: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K> Keys<K> {
    fn get(&self, counter: u64) -> Option<&K> {
        let block = self.blocks.get(&(counter / BLOCK))?;
        let at = block.binary_search_by_key(&counter, |(c, _)| *c).ok()?;
        Some(&block[at].1)
    }

    fn iter(&self) -> impl Iterator<Item = &(u64, K)> {
        self.blocks.values().flatten()
    }

    /// Puts a key in; true if the counter had none.
    fn insert(&mut self, counter: u64, key: K) -> bool {
        let block = self.blocks.entry(counter / BLOCK).or_default();
        let is_behind = block.last().is_none_or(|(last, _)| *last < counter);
        let at = match is_behind {
            true => Err(block.len()),
            false => block.binary_search_by_key(&counter, |(c, _)| *c),
        };
        match at {
            Ok(at) => block[at].1 = key,
            Err(at) => block.insert(at, (counter, key)),
        }
        self.len += usize::from(at.is_err());
        at.is_err()
    }

    /// Takes the counters of a range out.
    fn remove(&mut self, first: u64, last: u64, mut see: impl FnMut(u64)) {
        let mut emptied = Vec::new();
        for (id, block) in self.blocks.range_mut(first / BLOCK..=last / BLOCK) {
            let before = block.len();
            block.retain(|(counter, _)| {
                let stays = *counter < first || *counter > last;
                if !stays {
                    see(*counter);
                }
                stays
            });
            self.len -= before - block.len();
            if block.is_empty() {
                emptied.push(*id);
            }
        }
        for id in emptied {
            self.blocks.remove(&id);
        }
    }

    /// Takes the lowest counters out, so many of them.
    fn remove_lowest(&mut self, mut count: usize, mut see: impl FnMut(u64)) {
        while count > 0
            && let Some(mut block) = self.blocks.first_entry()
        {
            let taken = count.min(block.get().len());
            block.get_mut().drain(..taken).for_each(|(c, _)| see(c));
            if block.get().is_empty() {
                block.remove();
            }
            self.len -= taken;
            count -= taken;
        }
    }
}

impl<K> Default for EventLog<K> {
    fn default() -> Self {
        Self {
            writers: BTreeMap::new(),
            len: 0,
        }
    }
}

impl<K> EventLog<K> {
    /// Number of events that can be named.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether no event can be named.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The key that an event touched, if the log still names it.
    pub fn key(&self, dot: Dot) -> Option<&K> {
        self.writers.get(&dot.replica)?.get(dot.counter)
    }

    /// All events with their keys, ascending by dot.
    pub fn iter(&self) -> impl Iterator<Item = (Dot, &K)> + '_ {
        self.writers.iter().flat_map(|(replica, keys)| {
            keys.iter()
                .map(|(counter, key)| (Dot::new(*replica, *counter), key))
        })
    }

    /// The events of a range, ascending, each with the key it touched if the log still names it.
    pub(crate) fn names(&self, range: DotRange) -> impl Iterator<Item = (Dot, Option<&K>)> + '_ {
        let keys = self.writers.get(&range.replica);
        (range.first..=range.last).map(move |counter| {
            (
                Dot::new(range.replica, counter),
                keys.and_then(|keys| keys.get(counter)),
            )
        })
    }

    /// Notes the key that an event touched.
    pub fn note(&mut self, dot: Dot, key: K) {
        let keys = self.writers.entry(dot.replica).or_default();
        self.len += usize::from(keys.insert(dot.counter, key));
    }

    /// Forgets events that every owner is known to have; returns them.
    pub fn trim(&mut self, known_to_all: &CausalContext) -> Vec<Dot> {
        let mut trimmed = Vec::new();
        for range in known_to_all.ranges() {
            let Some(keys) = self.writers.get_mut(&range.replica) else {
                continue;
            };
            keys.remove(range.first, range.last, |counter| {
                trimmed.push(Dot::new(range.replica, counter));
            });
        }
        self.writers.retain(|_, keys| keys.len > 0);
        self.len -= trimmed.len();
        trimmed
    }

    /// Forgets the oldest events of the longest list until at most `limit` remain; returns them.
    pub fn trim_to(&mut self, limit: usize) -> Vec<Dot> {
        let mut trimmed = Vec::new();
        while self.len > limit {
            let longest = self.writers.iter_mut().max_by_key(|(_, keys)| keys.len);
            let Some((replica, keys)) = longest else {
                break;
            };
            let excess = (self.len - limit).min(keys.len.div_ceil(2));
            keys.remove_lowest(excess, |counter| {
                trimmed.push(Dot::new(*replica, counter));
            });
            self.len -= excess;
        }
        self.writers.retain(|_, keys| keys.len > 0);
        trimmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(replica: u64, counter: u64) -> Dot {
        Dot::new(ReplicaId(replica), counter)
    }

    fn log(dots: &[(u64, u64)]) -> EventLog<u64> {
        let mut log = EventLog::default();
        for &(r, c) in dots {
            log.note(dot(r, c), 10 * r + c);
        }
        log
    }

    #[test]
    fn a_hole_is_not_named() {
        let log = log(&[(1, 1), (1, 2), (1, 4)]);
        let range = DotRange {
            replica: ReplicaId(1),
            first: 2,
            last: 4,
        };
        let named: Vec<_> = log
            .names(range)
            .map(|(d, k)| (d.counter, k.copied()))
            .collect();
        assert_eq!(named, [(2, Some(12)), (3, None), (4, Some(14))]);
        let unheard_of = DotRange {
            replica: ReplicaId(9),
            first: 1,
            last: 1,
        };
        assert!(log.names(unheard_of).all(|(_, key)| key.is_none()));
    }

    #[test]
    fn counters_in_any_order_and_far_apart_are_named_and_trimmed_in_order() {
        let far = [u64::MAX, 1, 32, 31, 70, 2, 1 << 40, 33, 2];
        let mut log = log(&far.map(|c| (0, c)));
        let mut sorted = far.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let named = |log: &EventLog<u64>| log.iter().map(|(d, _)| d.counter).collect::<Vec<_>>();
        assert_eq!((named(&log), log.len()), (sorted.clone(), sorted.len()));
        assert!(sorted.iter().all(|c| log.key(dot(0, *c)) == Some(c)));
        let known = core::iter::once(DotRange {
            replica: ReplicaId(0),
            first: 2,
            last: 32,
        });
        let trimmed = log.trim(&known.collect());
        assert_eq!(trimmed, [2, 31, 32].map(|c| dot(0, c)));
        assert_eq!(named(&log), [1, 33, 70, 1 << 40, u64::MAX]);
        assert_eq!(log.trim_to(1), [1, 33, 70, 1 << 40].map(|c| dot(0, c)));
        assert_eq!((named(&log), log.len()), (vec![u64::MAX], 1));
    }

    #[test]
    fn trimming_forgets_what_all_know_and_the_oldest() {
        let mut log = log(&[(1, 1), (1, 2), (1, 4), (2, 1)]);
        assert_eq!(
            log.trim(&[dot(1, 1), dot(2, 1), dot(2, 2)].into_iter().collect())
                .len(),
            2
        );
        assert_eq!(
            (log.len(), log.key(dot(1, 2)), log.key(dot(2, 1))),
            (2, Some(&12), None)
        );
        assert_eq!(log.trim_to(1), [dot(1, 2)]);
        assert_eq!(log.iter().count(), log.len());
        assert_eq!(log.trim_to(0).len(), 1);
        assert!(log.is_empty());
    }
}
