//! What a join does with two tables, and what it would do.

use smallvec::SmallVec;

use super::{BLOCK, Block, DotBlocks, DotChange, bits};
use crate::Knows;

impl<V> DotBlocks<V> {
    /// The values here of the dots that a join would remove. Looks only at what `theirs` names.
    pub(crate) fn obsolete_in<'a>(
        &'a self,
        other: &'a Self,
        theirs: &'a impl Knows,
    ) -> impl Iterator<Item = &'a V> {
        self.writers.iter().flat_map(move |writer| {
            let held = other.position(writer.replica).map(|p| &other.writers[p]);
            let spans = theirs.spans(writer.replica);
            let blocks = spans.flat_map(|(first, last)| writer.blocks_within(first, last));
            // A block is there again for each span that reaches into it.
            let mut before = None;
            let blocks = blocks.filter(move |b| before.replace(b.number) != Some(b.number));
            blocks.flat_map(move |block| {
                let kept = held
                    .and_then(|w| w.block(block.number))
                    .map_or(0, |b| b.live);
                let gone = match block.live & !kept {
                    0 => 0,
                    only_here => only_here & theirs.mask(writer.replica, block.number * BLOCK),
                };
                bits(gone).map(|bit| &block.values[block.rank(1 << bit)])
            })
        })
    }

    /// The values of the dots that are live here and that `other` neither holds nor, by `known`, has
    /// seen: what a join would add there.
    pub(crate) fn news_for<'a>(
        &'a self,
        other: &'a Self,
        known: &'a impl Knows,
    ) -> impl Iterator<Item = &'a V> {
        self.writers.iter().flat_map(move |writer| {
            let held = other.position(writer.replica).map(|p| &other.writers[p]);
            writer.blocks.iter().flat_map(move |block| {
                let live = held
                    .and_then(|w| w.block(block.number))
                    .map_or(0, |b| b.live);
                let new = match block.live & !live {
                    0 => 0,
                    only_here => only_here & !known.mask(writer.replica, block.number * BLOCK),
                };
                bits(new).map(|bit| &block.values[block.rank(1 << bit)])
            })
        })
    }

    /// Joins `other`, held while knowing `theirs`, into this table, held while knowing `mine`, and
    /// reports each dot that came, went or changed its value. Removals come first. A dot that is live on
    /// both sides keeps its value.
    ///
    /// If `at_once`, each is reported at once, with the table as it then is; otherwise some are reported
    /// together, after all of them were made, which is faster.
    pub(crate) fn join(
        &mut self,
        mine: &impl Knows,
        other: &Self,
        theirs: &impl Knows,
        at_once: bool,
        mut changed: impl FnMut(&Self, DotChange<V>),
    ) where
        V: Clone,
    {
        self.drop_obsolete(other, theirs, at_once, &mut changed);
        for writer in &other.writers {
            let position = self.position_or_insert(writer.replica);
            for block in &writer.blocks {
                self.take_block(position, mine, block, at_once, &mut changed);
            }
        }
    }

    /// Drops the dots that `theirs` knows and `other` does not hold.
    fn drop_obsolete(
        &mut self,
        other: &Self,
        theirs: &impl Knows,
        at_once: bool,
        changed: &mut impl FnMut(&Self, DotChange<V>),
    ) {
        for position in 0..self.writers.len() {
            let replica = self.writers[position].replica;
            let held = other.position(replica).map(|p| &other.writers[p]);
            for (first, last) in theirs.spans(replica) {
                let start = self.writers[position].find(first / BLOCK);
                let mut i = start.unwrap_or_else(|i| i);
                while let Some(block) = self.writers[position].blocks.get(i) {
                    let number = block.number;
                    if number > last / BLOCK {
                        break;
                    }
                    let kept = held.and_then(|w| w.block(number)).map_or(0, |b| b.live);
                    let gone = match block.live & !kept {
                        0 => 0,
                        only_here => only_here & theirs.mask(replica, number * BLOCK),
                    };
                    let together = if at_once {
                        gone & gone.wrapping_neg()
                    } else {
                        gone
                    };
                    self.drop_bits(position, i, together, changed);
                    let stays = self.writers[position].blocks.get(i);
                    let is_done = gone == together;
                    i += usize::from(is_done && stays.is_some_and(|b| b.number == number));
                }
            }
        }
    }

    /// Makes some dots of a block obsolete, and then reports them.
    fn drop_bits(
        &mut self,
        position: usize,
        i: usize,
        gone: u64,
        changed: &mut impl FnMut(&Self, DotChange<V>),
    ) {
        if gone == 0 {
            return;
        }
        let blocks = &mut self.writers[position].blocks;
        let first = blocks[i].number * BLOCK;
        let values = match gone.is_power_of_two() {
            true => SmallVec::from_buf([blocks[i].remove(gone)]),
            false => blocks[i].remove_all(gone),
        };
        if blocks[i].live == 0 {
            blocks.remove(i);
        }
        self.len -= values.len();
        for (bit, value) in bits(gone).zip(values) {
            let at = (position, first + bit);
            changed(self, DotChange::Removed { at, value });
        }
    }

    /// Takes from a block of the other side what is not known here.
    fn take_block(
        &mut self,
        position: usize,
        mine: &impl Knows,
        theirs: &Block<V>,
        at_once: bool,
        changed: &mut impl FnMut(&Self, DotChange<V>),
    ) where
        V: Clone,
    {
        let writer = &mut self.writers[position];
        let (found, first) = (writer.find(theirs.number), theirs.number * BLOCK);
        let live = found.map_or(0, |i| writer.blocks[i].live);
        let new = match theirs.live & !live {
            0 => 0,
            only_there => only_there & !mine.mask(writer.replica, first),
        };
        if at_once {
            for bit in bits(new) {
                let block = self.writers[position].block_or_insert(theirs.number);
                block.insert(1 << bit, theirs.values[theirs.rank(1 << bit)].clone());
                self.len += 1;
                let at = (position, first + bit);
                changed(self, DotChange::Added { at });
            }
            return;
        }
        match found {
            _ if new == 0 => return,
            Ok(i) => writer.blocks[i].insert_copies(theirs, new),
            Err(i) => {
                let block = Block {
                    number: theirs.number,
                    live: new,
                    values: theirs.copies(new),
                };
                writer.blocks.insert(i, block);
            }
        }
        self.len += new.count_ones() as usize;
        for bit in bits(new) {
            let at = (position, first + bit);
            changed(self, DotChange::Added { at });
        }
    }
}
