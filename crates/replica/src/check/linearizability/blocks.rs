//! The judgement of a key whose values are each written once, but for absence, in nearly linear time.
//!
//! Then a write and the reads of its value stand side by side in every order that fits: nothing but another
//! write could come between them. So they are one *block*, and one block comes before another if an operation
//! of the one completed before an operation of the other was invoked (Gibbons and Korach, *Testing shared
//! memories*, 1997). With distinct values alone any order of blocks that keeps to that will do. Absence is
//! written by every delete, and is there at first: which delete a read of nothing has seen is not said, so each
//! delete and each such read is a block of its own. What remains is to choose when the key becomes absent:
//!
//! - while it is absent, a read of nothing that can come next does no harm, as it changes nothing;
//! - while it holds a value, any value that can come next does no harm: no read of nothing fits before the
//!   next delete, and none after it misses the value;
//! - of the deletes that can come next the one that completed first is taken: whatever has to wait for the
//!   other has to wait for this one too, so they can be exchanged. Those of unknown outcome come last, and
//!   only where the key holds a value;
//! - an absent key without a read of nothing that fits takes a value, or another delete for which something
//!   waits. Only here both are tried, and once for each set of blocks that were taken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Failure, Step, Taken};

/// Steps that stand side by side, in the order in which they take effect.
#[derive(Debug)]
struct Block {
    kind: Kind,
    steps: Vec<usize>,
    /// When the last of them was invoked: all that had completed before has to come first.
    last_start: u64,
    /// When the first of them completed, and which; what was invoked later has to come after.
    first_end: Option<(u64, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A write of a value, and the reads of it.
    Value,
    Delete,
    /// A read that has found nothing.
    Nothing,
}

/// Looks for an order of the steps; `None` if a value was written twice.
pub(super) fn judge(steps: &[Step], max_configurations: usize) -> Option<Result<(), Failure>> {
    let blocks = blocks(steps)?;
    Some(Orders::new(&blocks).run(max_configurations))
}

fn blocks(steps: &[Step]) -> Option<Vec<Block>> {
    let mut by_value: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    let mut blocks = Vec::new();
    for (i, step) in steps.iter().enumerate() {
        match (step.value, step.is_write) {
            (0, true) => blocks.push(block(Kind::Delete, vec![i], steps)),
            (0, false) => blocks.push(block(Kind::Nothing, vec![i], steps)),
            (value, _) => by_value.entry(value).or_default().push(i),
        }
    }
    for (_, mut members) in by_value {
        // The write comes first, and then one read after the other.
        members.sort_by_key(|i| (!steps[*i].is_write, steps[*i].invoked));
        if members.iter().filter(|i| steps[**i].is_write).count() != 1 {
            return None;
        }
        blocks.push(block(Kind::Value, members, steps));
    }
    Some(blocks)
}

fn block(kind: Kind, members: Vec<usize>, steps: &[Step]) -> Block {
    let starts = members.iter().map(|i| steps[*i].invoked);
    let ends = members
        .iter()
        .filter_map(|i| Some((steps[*i].completed?, *i)));
    Block {
        kind,
        last_start: starts.max().unwrap_or(0),
        first_end: ends.min(),
        steps: members,
    }
}

/// A moment and a block; for a block that has none, the end of time.
type Moment = (u64, usize);

/// The blocks that were taken so far, and those that are left.
#[derive(Debug)]
struct Orders<'a> {
    blocks: &'a [Block],
    is_absent: bool,
    order: Vec<usize>,
    taken: Taken,
    /// By their last start.
    values_left: BTreeSet<Moment>,
    nothings_left: BTreeSet<Moment>,
    /// By their first end.
    deletes_left: BTreeSet<Moment>,
    /// All that have completed, by their first end.
    ends_left: BTreeSet<Moment>,
}

impl<'a> Orders<'a> {
    fn new(blocks: &'a [Block]) -> Self {
        let mut orders = Self {
            blocks,
            is_absent: true,
            order: Vec::new(),
            taken: Taken::new(blocks.len()),
            values_left: BTreeSet::new(),
            nothings_left: BTreeSet::new(),
            deletes_left: BTreeSet::new(),
            ends_left: BTreeSet::new(),
        };
        (0..blocks.len()).for_each(|block| orders.leave(block));
        orders
    }

    fn run(mut self, max_configurations: usize) -> Result<(), Failure> {
        // How many blocks were taken before a choice, and what else could have been taken.
        let mut choices: Vec<(usize, usize)> = Vec::new();
        let mut looked_at = BTreeSet::new();
        let mut best = (Vec::new(), None);
        loop {
            self.take_what_does_no_harm();
            let Some((_, ends_first)) = self.ends_left.first().copied() else {
                return Ok(());
            };
            let mut options = self.options();
            let is_choice = options.len() > 1 && !self.nothings_left.is_empty();
            if is_choice && !looked_at.insert(self.taken.clone()) {
                options.clear();
            }
            if looked_at.len() > max_configurations {
                let configurations = looked_at.len();
                return Err(Failure::TooHard { configurations });
            }
            if let Some(block) = options.first() {
                let other = options.get(1).filter(|_| is_choice);
                choices.extend(other.map(|other| (self.order.len(), *other)));
                self.take(*block);
                continue;
            }
            if best.1.is_none() || self.order.len() > best.0.len() {
                best = (self.order.clone(), Some(ends_first));
            }
            let Some((before, other)) = choices.pop() else {
                return Err(self.dead_end(&best.0, best.1.unwrap_or(ends_first)));
            };
            self.go_back_to(before);
            self.take(other);
        }
    }

    fn take_what_does_no_harm(&mut self) {
        loop {
            let waiting = match self.is_absent {
                true => &self.nothings_left,
                false => &self.values_left,
            };
            match self.first_that_fits(waiting) {
                Some(block) => self.take(block),
                None => return,
            }
        }
    }

    /// What can come next: one of these, the first rather than the second.
    fn options(&self) -> Vec<usize> {
        let mut deletes = self.deletes_left.iter().map(|(_, block)| *block);
        if !self.is_absent {
            return deletes
                .find(|block| self.fits(*block))
                .into_iter()
                .collect();
        }
        let has_ended = |block: &usize| self.blocks[*block].first_end.is_some();
        let delete = deletes.find(|block| has_ended(block) && self.fits(*block));
        let value = self.first_that_fits(&self.values_left);
        let mut options: Vec<usize> = delete.into_iter().chain(value).collect();
        options.sort_by_key(|block| self.blocks[*block].first_end);
        options
    }

    /// The first of a set, by their last start, that can come next.
    fn first_that_fits(&self, waiting: &BTreeSet<Moment>) -> Option<usize> {
        let (_, first) = *waiting.first()?;
        if self.fits(first) {
            return Some(first);
        }
        // What ends first does not wait for itself.
        let (_, ends_first) = *self.ends_left.first()?;
        let start = self.blocks[ends_first].last_start;
        let is_there = waiting.contains(&(start, ends_first));
        (is_there && self.fits(ends_first)).then_some(ends_first)
    }

    /// Whether no other block that is left has to come first.
    fn fits(&self, block: usize) -> bool {
        let mut ends = self.ends_left.iter().filter(|(_, other)| *other != block);
        let first_end = ends.next().map_or(u64::MAX, |(end, _)| *end);
        self.blocks[block].last_start <= first_end
    }

    fn take(&mut self, block: usize) {
        let kind = self.blocks[block].kind;
        let (start, end) = self.moments(block);
        match kind {
            Kind::Value => self.values_left.remove(&start),
            Kind::Delete => self.deletes_left.remove(&end),
            Kind::Nothing => self.nothings_left.remove(&start),
        };
        self.ends_left.remove(&end);
        self.taken.toggle(block);
        self.order.push(block);
        self.is_absent = kind != Kind::Value;
    }

    /// Puts back what was taken since; the key was absent then, as wherever there was a choice.
    fn go_back_to(&mut self, before: usize) {
        for block in self.order.split_off(before) {
            self.taken.toggle(block);
            self.leave(block);
        }
        self.is_absent = true;
    }

    fn leave(&mut self, block: usize) {
        let (start, end) = self.moments(block);
        match self.blocks[block].kind {
            Kind::Value => self.values_left.insert(start),
            Kind::Delete => self.deletes_left.insert(end),
            Kind::Nothing => self.nothings_left.insert(start),
        };
        if self.blocks[block].first_end.is_some() {
            self.ends_left.insert(end);
        }
    }

    fn moments(&self, block: usize) -> (Moment, Moment) {
        let Block {
            last_start,
            first_end,
            ..
        } = &self.blocks[block];
        let end = first_end.map_or(u64::MAX, |(end, _)| end);
        ((*last_start, block), (end, block))
    }

    fn dead_end(&self, order: &[usize], stuck: usize) -> Failure {
        let steps = order.iter().flat_map(|block| &self.blocks[*block].steps);
        let stuck = &self.blocks[stuck];
        Failure::DeadEnd {
            prefix: steps.copied().collect(),
            stuck: stuck.first_end.map_or(stuck.steps[0], |(_, step)| step),
        }
    }
}
