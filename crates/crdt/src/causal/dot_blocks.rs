//! A map from live dots to values, in blocks of 64 consecutive counters.

mod joining;
#[cfg(feature = "serde")]
mod wire;

use core::hash::{Hash, Hasher};
use smallvec::SmallVec;

use crate::memory_use::spilled_bytes;
use crate::{Dot, Knows, ReplicaId};

/// Counters in a block: one bit of a mask for each.
const BLOCK: u64 = 64;

/// Up to this number of writers, looking at each is faster than a binary search.
const FEW: usize = 8;

/// The values of live dots.
///
/// The counters of a writer are dense, so its live ones are kept as bits: joining and comparing two
/// tables takes a few operations for 64 events, and an event costs its value and a bit. Writers keep
/// their [`position`](Writers) for as long as the table lives.
#[derive(Debug, Clone)]
pub(crate) struct DotBlocks<V> {
    writers: SmallVec<[Writer<V>; 1]>,
    /// Positions of the writers, ascending by replica.
    sorted: SmallVec<[u32; 2]>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Writer<V> {
    replica: ReplicaId,
    /// Ascending by number; none without a live counter.
    blocks: SmallVec<[Block<V>; 1]>,
}

/// The live counters `64 * number ..= 64 * number + 63` of one writer.
#[derive(Debug, Clone)]
struct Block<V> {
    number: u64,
    /// Bit `i` says whether counter `64 * number + i` is live.
    live: u64,
    /// The values of the live counters, ascending.
    values: SmallVec<[V; 1]>,
}

/// A dot that a join added to or removed from a table.
#[derive(Debug)]
pub(crate) enum DotChange<V> {
    Added {
        at: Place,
    },
    /// With the value that it had.
    Removed {
        at: Place,
        value: V,
    },
}

/// Where a dot is in a table: the position of its writer, and its counter.
pub(crate) type Place = (usize, u64);

fn split(counter: u64) -> (u64, u64) {
    (counter / BLOCK, 1 << (counter % BLOCK))
}

/// The positions of the bits that are set.
fn bits(mut mask: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let bit = mask
            .checked_ilog2()
            .map(|_| u64::from(mask.trailing_zeros()))?;
        mask &= mask - 1;
        Some(bit)
    })
}

impl<V> Block<V> {
    /// Where the value of a bit is, or would be.
    #[inline]
    fn rank(&self, bit: u64) -> usize {
        let all = bit - 1;
        match self.live & all {
            // Mostly nothing is missing, and counting bits takes longer than seeing that.
            below if below == all => bit.trailing_zeros() as usize,
            below => below.count_ones() as usize,
        }
    }

    fn remove(&mut self, bit: u64) -> V {
        let rank = self.rank(bit);
        self.live &= !bit;
        self.values.remove(rank)
    }

    fn insert(&mut self, bit: u64, value: V) {
        let is_last = self.live < bit;
        match is_last {
            true => self.values.push(value),
            false => self.values.insert(self.rank(bit), value),
        }
        self.live |= bit;
    }

    /// Takes out the values of several bits, ascending.
    fn remove_all(&mut self, gone: u64) -> SmallVec<[V; 1]> {
        let (mut kept, mut taken) = (SmallVec::new(), SmallVec::new());
        kept.reserve_exact((self.live & !gone).count_ones() as usize);
        taken.reserve_exact(gone.count_ones() as usize);
        for (bit, value) in bits(self.live).zip(core::mem::take(&mut self.values)) {
            match gone >> bit & 1 {
                0 => kept.push(value),
                _ => taken.push(value),
            }
        }
        (self.live, self.values) = (self.live & !gone, kept);
        taken
    }

    /// Copies of the values of some bits that are live.
    fn copies(&self, wanted: u64) -> SmallVec<[V; 1]>
    where
        V: Clone,
    {
        match self.values.as_slice() {
            [one] => SmallVec::from_buf([one.clone()]),
            all if wanted == self.live => SmallVec::from_vec(all.to_vec()),
            all => {
                let mut copies = SmallVec::new();
                copies.reserve_exact(wanted.count_ones() as usize);
                let live = bits(self.live).zip(all);
                let wanted = live.filter(|(bit, _)| wanted >> bit & 1 == 1);
                copies.extend(wanted.map(|(_, value)| value.clone()));
                copies
            }
        }
    }

    /// Adds copies of the values of bits that are live in `other` and not here.
    fn insert_copies(&mut self, other: &Self, new: u64)
    where
        V: Clone,
    {
        let mut copies = other.copies(new).into_iter();
        let lowest = new & new.wrapping_neg();
        if self.live < lowest {
            self.values.extend(copies);
            self.live |= new;
            return;
        }
        let mut held = core::mem::take(&mut self.values).into_iter();
        self.live |= new;
        self.values.reserve_exact(self.live.count_ones() as usize);
        self.values
            .extend(bits(self.live).filter_map(|bit| match new >> bit & 1 {
                0 => held.next(),
                _ => copies.next(),
            }));
    }
}

impl<V> Writer<V> {
    /// Where the block of a number is, or would be. Constant time where no block is missing.
    fn find(&self, number: u64) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else {
            return Err(0);
        };
        if number >= last.number {
            let behind = self.blocks.len();
            return if number == last.number {
                Ok(behind - 1)
            } else {
                Err(behind)
            };
        }
        if number < first.number {
            return Err(0);
        }
        let guess = usize::try_from(number - first.number).unwrap_or(usize::MAX);
        match self.blocks.get(guess) {
            Some(block) if block.number == number => Ok(guess),
            _ => self.blocks.binary_search_by_key(&number, |b| b.number),
        }
    }

    /// The blocks that hold any of a run of counters.
    fn blocks_within(&self, first: u64, last: u64) -> impl Iterator<Item = &Block<V>> {
        let start = self.find(first / BLOCK).unwrap_or_else(|i| i);
        let blocks = self.blocks[start..].iter();
        blocks.take_while(move |block| block.number <= last / BLOCK)
    }

    fn block(&self, number: u64) -> Option<&Block<V>> {
        self.find(number).ok().map(|i| &self.blocks[i])
    }

    fn block_or_insert(&mut self, number: u64) -> &mut Block<V> {
        let i = self.find(number).unwrap_or_else(|i| {
            let block = Block {
                number,
                live: 0,
                values: SmallVec::new(),
            };
            self.blocks.insert(i, block);
            i
        });
        &mut self.blocks[i]
    }
}

impl<V> DotBlocks<V> {
    /// Number of live dots.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// How many bytes it holds on the heap, without what the values hold there. Linear in the blocks.
    pub(crate) fn heap_bytes(&self) -> usize {
        let writers = self.writers.iter();
        let blocks = writers.clone().flat_map(|writer| &writer.blocks);
        let of_blocks: usize = writers.map(|w| spilled_bytes(&w.blocks)).sum();
        let of_values: usize = blocks.map(|block| spilled_bytes(&block.values)).sum();
        spilled_bytes(&self.writers) + spilled_bytes(&self.sorted) + of_blocks + of_values
    }

    #[inline]
    fn position(&self, replica: ReplicaId) -> Option<usize> {
        if self.writers.len() <= FEW {
            return self.writers.iter().position(|w| w.replica == replica);
        }
        let found = self.search(replica).ok()?;
        Some(self.sorted[found] as usize)
    }

    /// The dot at a place.
    pub(crate) fn dot(&self, (position, counter): Place) -> Dot {
        Dot::new(self.writers[position].replica, counter)
    }

    /// The value of a live dot.
    pub(crate) fn get(&self, dot: Dot) -> Option<&V> {
        self.get_at((self.position(dot.replica)?, dot.counter))
    }

    /// The value of a live dot at a place.
    pub(crate) fn get_at(&self, (position, counter): Place) -> Option<&V> {
        let (number, bit) = split(counter);
        let block = self.writers.get(position)?.block(number)?;
        (block.live & bit != 0).then(|| &block.values[block.rank(bit)])
    }

    /// A table of one live dot.
    pub(crate) fn of_one(dot: Dot, value: V) -> Self {
        let (number, live) = split(dot.counter);
        let block = Block {
            number,
            live,
            values: SmallVec::from_buf([value]),
        };
        let writer = Writer {
            replica: dot.replica,
            blocks: SmallVec::from_buf([block]),
        };
        Self {
            writers: SmallVec::from_buf([writer]),
            sorted: core::iter::once(0).collect(),
            len: 1,
        }
    }

    /// Makes a dot live, and tells where it is. A dot that is live keeps its value.
    pub(crate) fn insert(&mut self, dot: Dot, value: V) -> Place {
        let position = self.position_or_insert(dot.replica);
        let (number, bit) = split(dot.counter);
        let block = self.writers[position].block_or_insert(number);
        if block.live & bit == 0 {
            block.insert(bit, value);
            self.len += 1;
        }
        (position, dot.counter)
    }

    /// Makes a dot obsolete; where it was and its value, if it was live.
    pub(crate) fn remove(&mut self, dot: Dot) -> Option<(Place, V)> {
        let at = (self.position(dot.replica)?, dot.counter);
        self.remove_at(at).map(|value| (at, value))
    }

    /// Makes the dot at a place obsolete; its value, if it was live.
    pub(crate) fn remove_at(&mut self, (position, counter): Place) -> Option<V> {
        let writer = &mut self.writers[position];
        let (number, bit) = split(counter);
        let i = writer.find(number).ok()?;
        let block = &mut writer.blocks[i];
        if block.live & bit == 0 {
            return None;
        }
        let value = block.remove(bit);
        if block.live == 0 {
            writer.blocks.remove(i);
        }
        self.len -= 1;
        Some(value)
    }

    /// The live dots with their values, ascending by dot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &V)> + '_ {
        let writers = self.sorted.iter().map(|p| &self.writers[*p as usize]);
        writers.flat_map(|writer| {
            writer.blocks.iter().flat_map(move |block| {
                let counters = bits(block.live).map(|bit| block.number * BLOCK + bit);
                let dots = counters.map(|counter| Dot::new(writer.replica, counter));
                dots.zip(&block.values)
            })
        })
    }

    /// The values of the live dots, ascending by dot within each writer.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let blocks = self.writers.iter().flat_map(|writer| &writer.blocks);
        blocks.flat_map(|block| &block.values)
    }

    /// The live dots as places with their values.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Place, &V)> + '_ {
        self.writers
            .iter()
            .enumerate()
            .flat_map(|(position, writer)| {
                writer.blocks.iter().flat_map(move |block| {
                    let counters = bits(block.live).map(|bit| block.number * BLOCK + bit);
                    let places = counters.map(move |counter| (position, counter));
                    places.zip(&block.values)
                })
            })
    }

    /// The part whose dots `known` lacks.
    pub(crate) fn unknown_to(&self, known: &impl Knows) -> Self
    where
        V: Clone,
    {
        let mut unknown = Self::default();
        for writer in self.sorted.iter().map(|p| &self.writers[*p as usize]) {
            for block in &writer.blocks {
                let first = block.number * BLOCK;
                for bit in bits(block.live & !known.mask(writer.replica, first)) {
                    let value = &block.values[block.rank(1 << bit)];
                    unknown.insert(Dot::new(writer.replica, first + bit), value.clone());
                }
            }
        }
        unknown
    }

    fn search(&self, replica: ReplicaId) -> Result<usize, usize> {
        let replica_at = |p: &u32| self.writers[*p as usize].replica;
        self.sorted.binary_search_by_key(&replica, replica_at)
    }

    #[inline]
    fn position_or_insert(&mut self, replica: ReplicaId) -> usize {
        match self.position(replica) {
            Some(position) => position,
            None => self.push_writer(replica),
        }
    }

    fn push_writer(&mut self, replica: ReplicaId) -> usize {
        let place = self.search(replica).unwrap_or_else(|place| place);
        let position = self.writers.len();
        self.writers.push(Writer {
            replica,
            blocks: SmallVec::new(),
        });
        let narrow = u32::try_from(position).expect("a table has 2^32 writers");
        self.sorted.insert(place, narrow);
        position
    }
}

impl<V> Default for DotBlocks<V> {
    fn default() -> Self {
        Self {
            writers: SmallVec::new(),
            sorted: SmallVec::new(),
            len: 0,
        }
    }
}

impl<V: PartialEq> PartialEq for DotBlocks<V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<V: Eq> Eq for DotBlocks<V> {}

impl<V: Hash> Hash for DotBlocks<V> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        for entry in self.iter() {
            entry.hash(state);
        }
    }
}

#[cfg(test)]
mod tests;
