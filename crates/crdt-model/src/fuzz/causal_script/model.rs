//! Every change that was ever made, for ever, with what it added and what it undid.

use std::collections::{BTreeMap, BTreeSet};

use super::subject::Modelled;

/// An operation; what a type lacks stands for another one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Op {
    /// Adds an element under a key.
    Add(u8, u8),
    /// Removes an element under a key.
    Remove(u8, u8),
    /// Empties the set under a key.
    ClearSet(u8),
    /// Counts under a key.
    Count(u8, i8),
    /// Resets the counter under a key.
    Reset(u8),
    /// Removes a key.
    RemoveKey(u8),
    /// Removes all.
    Clear,
}

impl Op {
    pub(super) fn of(which: u8, how: u8) -> Self {
        let (key, element) = (which / 8 % 3, how % 4);
        match which % 8 {
            0 | 1 => Self::Add(key, element),
            2 => Self::Remove(key, element),
            3 => Self::ClearSet(key),
            4 => Self::Count(key, how.cast_signed()),
            5 => Self::Reset(key),
            6 => Self::RemoveKey(key),
            _ => Self::Clear,
        }
    }
}

/// What is live under a key: one of these for each event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Added(u8),
    Removed(u8),
    Counted(i8),
}

/// A mark under its key. The first number is the change that made it.
pub(super) type Part = (usize, u8, Mark);

/// A mark by name: the change that made it, and which of its marks it is.
type Name = (usize, usize);

#[derive(Debug, Default)]
struct Change {
    made: Vec<(u8, Mark)>,
    undid: BTreeSet<Name>,
}

#[derive(Debug, Default)]
pub(super) struct Model {
    changes: Vec<Change>,
}

impl Model {
    /// The marks that the changes `received` made and none of them undid.
    pub(super) fn live(&self, received: &BTreeSet<usize>) -> Vec<Part> {
        self.live_by_name(received).into_values().collect()
    }

    fn live_by_name(&self, received: &BTreeSet<usize>) -> BTreeMap<Name, Part> {
        let mut live = BTreeMap::new();
        for &change in received {
            let made = self.changes[change].made.iter().enumerate();
            live.extend(made.map(|(i, &(key, mark))| ((change, i), (change, key, mark))));
        }
        for &change in received {
            for name in &self.changes[change].undid {
                live.remove(name);
            }
        }
        live
    }

    /// A change by an author that had `received` these changes, and had read no more than `seen`.
    pub(super) fn change<S: Modelled>(
        &mut self,
        received: &BTreeSet<usize>,
        seen: Option<&BTreeSet<usize>>,
        ops: &[Op],
    ) {
        let new = self.changes.len();
        let mut change = Change::default();
        let before = self.live_by_name(received);
        for op in ops {
            let own = change.made.iter().enumerate();
            let own = own.map(|(i, &(key, mark))| ((new, i), (new, key, mark)));
            let visible: BTreeMap<Name, Part> = before
                .iter()
                .map(|(name, part)| (*name, *part))
                .filter(|(name, _)| seen.is_none_or(|seen| seen.contains(&name.0)))
                .chain(own)
                .filter(|(name, _)| !change.undid.contains(name))
                .collect();
            let sees: Vec<Part> = visible.values().copied().collect();
            let (made, undoes) = S::effect(*op, &sees);
            let undone = visible.iter().filter(|(_, part)| undoes(part.1, part.2));
            change.undid.extend(undone.map(|(name, _)| *name));
            change.made.extend(made);
        }
        self.changes.push(change);
    }
}
