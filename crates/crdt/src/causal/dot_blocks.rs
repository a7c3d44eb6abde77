//! A map from live dots to values, in blocks of 64 consecutive counters.

use smallvec::SmallVec;
use std::hash::{Hash, Hasher};

use crate::{Dot, Knows, ReplicaId};

/// Counters in a block: one bit of a mask for each.
const BLOCK: u64 = 64;

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
    std::iter::from_fn(move || {
        let bit = mask
            .checked_ilog2()
            .map(|_| u64::from(mask.trailing_zeros()))?;
        mask &= mask - 1;
        Some(bit)
    })
}

impl<V> Block<V> {
    /// Where the value of a bit is, or would be.
    fn rank(&self, bit: u64) -> usize {
        (self.live & (bit - 1)).count_ones() as usize
    }

    fn remove(&mut self, bit: u64) -> V {
        let rank = self.rank(bit);
        self.live &= !bit;
        self.values.remove(rank)
    }

    fn insert(&mut self, bit: u64, value: V) {
        let rank = self.rank(bit);
        self.live |= bit;
        self.values.insert(rank, value);
    }
}

impl<V> Writer<V> {
    /// Where the block of a number is, or would be. Constant time where no block is missing.
    fn find(&self, number: u64) -> Result<usize, usize> {
        let (Some(first), Some(last)) = (self.blocks.first(), self.blocks.last()) else {
            return Err(0);
        };
        if number < first.number {
            return Err(0);
        }
        if number > last.number {
            return Err(self.blocks.len());
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

    fn position(&self, replica: ReplicaId) -> Option<usize> {
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
    fn remove_at(&mut self, (position, counter): Place) -> Option<V> {
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

    /// Joins `other`, held while knowing `theirs`, into this table, held while knowing `mine`, and
    /// reports each dot that came, went or changed its value, at once, with the table as it then is.
    /// Removals come first. A dot that is live on both sides keeps its value.
    pub(crate) fn join(
        &mut self,
        mine: &impl Knows,
        other: &Self,
        theirs: &impl Knows,
        mut changed: impl FnMut(&Self, DotChange<V>),
    ) where
        V: Clone,
    {
        self.drop_obsolete(other, theirs, &mut changed);
        for writer in &other.writers {
            let position = self.position_or_insert(writer.replica);
            for block in &writer.blocks {
                self.take_block(position, mine, block, &mut changed);
            }
        }
    }

    /// Drops the dots that `theirs` knows and `other` does not hold.
    fn drop_obsolete(
        &mut self,
        other: &Self,
        theirs: &impl Knows,
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
                    let gone = block.live & !kept & theirs.mask(replica, number * BLOCK);
                    for bit in bits(gone) {
                        let counter = number * BLOCK + bit;
                        let at = (position, counter);
                        if let Some(value) = self.remove_at(at) {
                            changed(self, DotChange::Removed { at, value });
                        }
                    }
                    let stays = self.writers[position].blocks.get(i);
                    i += usize::from(stays.is_some_and(|b| b.number == number));
                }
            }
        }
    }

    /// Takes from a block of the other side what is not known here.
    fn take_block(
        &mut self,
        position: usize,
        mine: &impl Knows,
        theirs: &Block<V>,
        changed: &mut impl FnMut(&Self, DotChange<V>),
    ) where
        V: Clone,
    {
        let (replica, first) = (self.writers[position].replica, theirs.number * BLOCK);
        let held = self.writers[position].block(theirs.number);
        let live = held.map_or(0, |b| b.live);
        for bit in bits(theirs.live & !live & !mine.mask(replica, first)) {
            let block = self.writers[position].block_or_insert(theirs.number);
            block.insert(1 << bit, theirs.values[theirs.rank(1 << bit)].clone());
            self.len += 1;
            let at = (position, first + bit);
            changed(self, DotChange::Added { at });
        }
    }

    fn search(&self, replica: ReplicaId) -> Result<usize, usize> {
        let replica_at = |p: &u32| self.writers[*p as usize].replica;
        self.sorted.binary_search_by_key(&replica, replica_at)
    }

    fn position_or_insert(&mut self, replica: ReplicaId) -> usize {
        match self.search(replica) {
            Ok(found) => self.sorted[found] as usize,
            Err(place) => {
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

#[cfg(feature = "serde")]
mod wire {
    //! A list of writers, each with its list of (counter, value). In binary formats replicas and counters are
    //! gaps to the ones before.

    use super::DotBlocks;
    use crate::{Dot, InvalidBytes, ReplicaId};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl<V: Serialize> Serialize for DotBlocks<V> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let readable = serializer.is_human_readable();
            let mut writers: Vec<(u64, Vec<(u64, &V)>)> = Vec::new();
            let (mut replica, mut counter) = (0, 0);
            for (dot, value) in self.iter() {
                if writers.is_empty() || dot.replica.0 != replica {
                    let gap = dot.replica.0 - if readable { 0 } else { replica };
                    writers.push((gap, Vec::new()));
                    (replica, counter) = (dot.replica.0, 0);
                }
                let gap = dot.counter - if readable { 0 } else { counter };
                counter = dot.counter;
                if let Some((_, adds)) = writers.last_mut() {
                    adds.push((gap, value));
                }
            }
            writers.serialize(serializer)
        }
    }

    impl<'de, V: Deserialize<'de>> Deserialize<'de> for DotBlocks<V> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let readable = deserializer.is_human_readable();
            let writers: Vec<(u64, Vec<(u64, V)>)> = Deserialize::deserialize(deserializer)?;
            decode(readable, writers).map_err(D::Error::custom)
        }
    }

    fn decode<V>(
        readable: bool,
        writers: Vec<(u64, Vec<(u64, V)>)>,
    ) -> Result<DotBlocks<V>, InvalidBytes> {
        let unsorted = InvalidBytes::Unsorted("dots of a store");
        let mut blocks = DotBlocks::default();
        let mut last_replica = None;
        for (replica, entries) in writers {
            let base = last_replica.filter(|_| !readable).unwrap_or(0_u64);
            let replica = base.checked_add(replica).ok_or(unsorted.clone())?;
            if last_replica.is_some_and(|last| last >= replica) {
                return Err(unsorted);
            }
            if entries.is_empty() {
                return Err(InvalidBytes::Empty("a writer's events"));
            }
            last_replica = Some(replica);
            let mut last = 0_u64;
            for (counter, value) in entries {
                let base = if readable { 0 } else { last };
                let counter = base.checked_add(counter);
                let counter = counter.ok_or(InvalidBytes::CounterOverflow)?;
                match counter {
                    0 => return Err(InvalidBytes::ZeroCounter),
                    _ if counter <= last => return Err(unsorted),
                    _ => blocks.insert(Dot::new(ReplicaId(replica), counter), value),
                };
                last = counter;
            }
        }
        Ok(blocks)
    }
}

#[cfg(test)]
mod tests;
