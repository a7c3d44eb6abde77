//! Values from the bytes of a fuzzer.

use ::arbitrary::{Arbitrary, Result, Unstructured};
use alloc::vec::Vec;

use crate::laws::{Script, Step};
use crate::strategies::{COUNTERS, ENTRIES, REPLICAS, SCRIPT_REPLICAS, STEPS};
use crate::{CausalContext, Dot, ReplicaId, Timestamp, VersionVector};

/// As many values as the bytes suffice for, at most `most`.
fn list<'a, T: Arbitrary<'a>>(u: &mut Unstructured<'a>, most: usize) -> Result<Vec<T>> {
    let length = u.arbitrary_len::<T>()?.min(most);
    (0..length).map(|_| u.arbitrary()).collect()
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            replicas: u.int_in_range(SCRIPT_REPLICAS)?,
            steps: list(u, STEPS)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let replica = |u: &mut Unstructured<'a>| u.int_in_range(0..=SCRIPT_REPLICAS.end() - 1);
        Ok(match u.int_in_range(0..=9)? {
            0..=3 => Self::change(replica(u)?, u.arbitrary()?, u.arbitrary()?),
            4..=6 => Self::join(replica(u)?, replica(u)?),
            _ => Self::deliver(u.arbitrary()?, replica(u)?),
        })
    }

    fn size_hint(_: usize) -> (usize, Option<usize>) {
        (3, Some(4))
    }
}

impl<'a> Arbitrary<'a> for ReplicaId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u.ratio(1_u8, 10)? {
            true => u.arbitrary()?,
            false => u.int_in_range(1..=REPLICAS)?,
        }))
    }
}

impl<'a> Arbitrary<'a> for Timestamp {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self(match u.ratio(1_u8, 10)? {
            true => u.arbitrary()?,
            false => u.int_in_range(0..=COUNTERS)?,
        }))
    }
}

impl<'a> Arbitrary<'a> for Dot {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::new(u.arbitrary()?, u.int_in_range(1..=COUNTERS)?))
    }
}

impl<'a> Arbitrary<'a> for VersionVector {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let dots: Vec<Dot> = list(u, ENTRIES)?;
        Ok(dots.into_iter().map(|d| (d.replica, d.counter)).collect())
    }
}

impl<'a> Arbitrary<'a> for CausalContext {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self::from_iter(list::<Dot>(u, ENTRIES)?))
    }
}
