//! The event log: which key each event touched.

use std::collections::BTreeMap;

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
    writers: BTreeMap<ReplicaId, BTreeMap<u64, K>>,
    len: usize,
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
        self.writers.get(&dot.replica)?.get(&dot.counter)
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
                keys.and_then(|keys| keys.get(&counter)),
            )
        })
    }

    /// Notes the key that an event touched.
    pub fn note(&mut self, dot: Dot, key: K) {
        if self
            .writers
            .entry(dot.replica)
            .or_default()
            .insert(dot.counter, key)
            .is_none()
        {
            self.len += 1;
        }
    }

    /// Forgets events that every owner is known to have; returns them.
    pub fn trim(&mut self, known_to_all: &CausalContext) -> Vec<Dot> {
        let mut trimmed = Vec::new();
        for range in known_to_all.ranges() {
            let Some(keys) = self.writers.get_mut(&range.replica) else {
                continue;
            };
            while let Some((&counter, _)) = keys.range(range.first..=range.last).next() {
                keys.remove(&counter);
                trimmed.push(Dot::new(range.replica, counter));
            }
        }
        self.writers.retain(|_, keys| !keys.is_empty());
        self.len -= trimmed.len();
        trimmed
    }

    /// Forgets the oldest events of the longest list until at most `limit` remain; returns them.
    pub fn trim_to(&mut self, limit: usize) -> Vec<Dot> {
        let mut trimmed = Vec::new();
        while self.len > limit {
            let longest = self.writers.iter_mut().max_by_key(|(_, keys)| keys.len());
            let Some((replica, keys)) = longest else {
                break;
            };
            let excess = (self.len - limit).min(keys.len().div_ceil(2));
            for _ in 0..excess {
                let Some((counter, _)) = keys.pop_first() else {
                    break;
                };
                trimmed.push(Dot::new(*replica, counter));
            }
            self.len -= excess;
        }
        self.writers.retain(|_, keys| !keys.is_empty());
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
