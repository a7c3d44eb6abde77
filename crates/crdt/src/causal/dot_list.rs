//! Sorted dots as small numbers: the gap of the replica to the one before, and the gap of the
//! counter.

use alloc::vec::Vec;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

use crate::{Dot, InvalidBytes, ReplicaId};

/// The state of coding a sorted list of dots.
#[derive(Debug, Default)]
pub(crate) struct DeltaDots {
    replica: u64,
    counter: u64,
}

impl DeltaDots {
    /// The code of the next dot, which is behind the one before.
    pub(crate) fn encode(&mut self, dot: Dot) -> (u64, u64) {
        let replica = dot.replica.0.wrapping_sub(self.replica);
        let before = if replica == 0 { self.counter } else { 0 };
        *self = Self {
            replica: dot.replica.0,
            counter: dot.counter,
        };
        (replica, dot.counter.wrapping_sub(before))
    }

    /// The next dot of a list.
    pub(crate) fn decode(&mut self, (replica, counter): (u64, u64)) -> Result<Dot, InvalidBytes> {
        let before = if replica == 0 { self.counter } else { 0 };
        let unsorted = InvalidBytes::Unsorted("replicas of dots");
        let replica = self.replica.checked_add(replica).ok_or(unsorted)?;
        let counter = before.checked_add(counter);
        let counter = counter.ok_or(InvalidBytes::CounterOverflow)?;
        *self = Self { replica, counter };
        Ok(Dot::new(ReplicaId(replica), counter))
    }
}

/// Decodes a list of coded dots with what belongs to each.
pub(crate) fn decode_dots<V>(coded: Vec<((u64, u64), V)>) -> Result<Vec<(Dot, V)>, InvalidBytes> {
    let mut code = DeltaDots::default();
    let decoded = coded.into_iter();
    decoded
        .map(|(pair, value)| Ok((code.decode(pair)?, value)))
        .collect()
}

/// Sorted dots as a list; in binary formats delta-coded.
pub(crate) fn serialize<S: Serializer>(dots: &[Dot], serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.collect_seq(dots);
    }
    let mut code = DeltaDots::default();
    serializer.collect_seq(dots.iter().map(|dot| code.encode(*dot)))
}

/// The dots of a list; whether they are sorted is for the caller to check.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Dot>, D::Error> {
    if deserializer.is_human_readable() {
        return Deserialize::deserialize(deserializer);
    }
    let coded: Vec<(u64, u64)> = Deserialize::deserialize(deserializer)?;
    let mut code = DeltaDots::default();
    let dots = coded.into_iter().map(|pair| code.decode(pair));
    dots.collect::<Result<_, _>>().map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_dots_are_small_numbers_and_come_back() {
        let dots = [(5, 100), (5, 101), (7, 3), (u64::MAX, u64::MAX)];
        let dots = dots.map(|(r, c)| Dot::new(ReplicaId(r), c));
        let mut code = DeltaDots::default();
        let coded = dots.map(|d| code.encode(d));
        assert_eq!(coded[..3], [(5, 100), (0, 1), (2, 3)]);
        let decoded = decode_dots(coded.map(|c| (c, ())).to_vec());
        assert_eq!(decoded, Ok(dots.map(|d| (d, ())).to_vec()));
    }

    #[test]
    fn numbers_beyond_the_largest_are_refused() {
        let coded = vec![((1, u64::MAX), ()), ((0, 1), ())];
        assert_eq!(decode_dots(coded), Err(InvalidBytes::CounterOverflow));
    }
}
