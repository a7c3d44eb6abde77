//! Floors: plain structures that do the same work without encapsulation, deltas or checks.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::data::{Add, Written, fingerprint};

/// An add-wins set as a sorted vector of (element, dot); at most one dot for each element, and at most
/// sixteen writers without gaps.
#[derive(Debug, Clone, Default)]
pub struct SortedSet {
    entries: Vec<(u64, u64)>,
    seen: [u64; 16],
}

const COUNTER_BITS: u32 = 56;

impl SortedSet {
    pub fn new(adds: &[Add], removed: &[u64]) -> Self {
        let mut set = Self::default();
        for &(writer, element) in adds {
            set.seen[writer as usize] += 1;
            let dot = writer << COUNTER_BITS | set.seen[writer as usize];
            set.entries.push((element, dot));
        }
        set.entries.sort_unstable();
        let removed: std::collections::BTreeSet<u64> = removed.iter().copied().collect();
        set.entries.retain(|entry| !removed.contains(&entry.0));
        set
    }

    const fn has_seen(&self, dot: u64) -> bool {
        let counter = dot & ((1 << COUNTER_BITS) - 1);
        self.seen[(dot >> COUNTER_BITS) as usize] >= counter
    }

    pub fn join(&mut self, other: &Self) {
        let (mine, theirs) = (&self.entries, &other.entries);
        let mut merged = Vec::with_capacity(mine.len().max(theirs.len()));
        let (mut i, mut j) = (0, 0);
        while i < mine.len() && j < theirs.len() {
            match mine[i].cmp(&theirs[j]) {
                Ordering::Equal => {
                    merged.push(mine[i]);
                    (i, j) = (i + 1, j + 1);
                }
                Ordering::Less => {
                    merged.extend((!other.has_seen(mine[i].1)).then_some(mine[i]));
                    i += 1;
                }
                Ordering::Greater => {
                    merged.extend((!self.has_seen(theirs[j].1)).then_some(theirs[j]));
                    j += 1;
                }
            }
        }
        merged.extend(mine[i..].iter().filter(|entry| !other.has_seen(entry.1)));
        merged.extend(theirs[j..].iter().filter(|entry| !self.has_seen(entry.1)));
        self.entries = merged;
        for (mine, theirs) in self.seen.iter_mut().zip(other.seen) {
            *mine = theirs.max(*mine);
        }
    }

    pub fn fingerprint(&self) -> u64 {
        fingerprint(self.entries.iter().map(|entry| entry.0))
    }
}

/// (timestamp, value) by key.
pub type Stamped = (u64, u64);
pub type HashLww = hashbrown::HashMap<u64, Stamped>;
pub type BTreeLww = BTreeMap<u64, Stamped>;

/// A last-writer-wins map as a sorted vector.
#[derive(Debug, Clone, Default)]
pub struct SortedLww(Vec<(u64, Stamped)>);

impl SortedLww {
    pub fn new(entries: &[Written]) -> Self {
        let mut sorted: Vec<_> = pairs(entries).collect();
        sorted.sort_unstable();
        Self(sorted)
    }

    pub fn join(&mut self, other: &Self) {
        let (mine, theirs) = (&self.0, &other.0);
        let mut merged = Vec::with_capacity(mine.len() + theirs.len());
        let (mut i, mut j) = (0, 0);
        while i < mine.len() && j < theirs.len() {
            match mine[i].0.cmp(&theirs[j].0) {
                Ordering::Equal => {
                    merged.push(mine[i].max(theirs[j]));
                    (i, j) = (i + 1, j + 1);
                }
                Ordering::Less => {
                    merged.push(mine[i]);
                    i += 1;
                }
                Ordering::Greater => {
                    merged.push(theirs[j]);
                    j += 1;
                }
            }
        }
        merged.extend_from_slice(&mine[i..]);
        merged.extend_from_slice(&theirs[j..]);
        self.0 = merged;
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(key, (_, value))| (*key, *value))
    }
}

/// The entries as pairs of a key and what it holds.
pub fn pairs(entries: &[Written]) -> impl Iterator<Item = (u64, Stamped)> + '_ {
    entries.iter().map(|e| (e.key, (e.timestamp, e.value())))
}

pub fn join_hash(mine: &mut HashLww, theirs: &HashLww) {
    for (key, stamped) in theirs {
        let held = mine.entry(*key).or_insert(*stamped);
        *held = (*held).max(*stamped);
    }
}

pub fn join_btree(mine: &mut BTreeLww, theirs: &BTreeLww) {
    for (key, stamped) in theirs {
        let held = mine.entry(*key).or_insert(*stamped);
        *held = (*held).max(*stamped);
    }
}
