//! Generators with shrinking for quickcheck.

use ::quickcheck::{Arbitrary, Gen};
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::laws::{Script, Step};
use crate::strategies::{COUNTERS, ENTRIES, REPLICAS, SCRIPT_REPLICAS};
use crate::{CausalContext, Dot, ReplicaId, Timestamp, VersionVector};

/// A number from `first` to `last`.
fn within(g: &mut Gen, first: u64, last: u64) -> u64 {
    first + u64::arbitrary(g) % (last - first + 1)
}

fn replica(g: &mut Gen) -> u8 {
    u8::arbitrary(g) % SCRIPT_REPLICAS.end()
}

impl Arbitrary for Script {
    /// As many steps as the generator is large, at most.
    fn arbitrary(g: &mut Gen) -> Self {
        let spread = SCRIPT_REPLICAS.end() - SCRIPT_REPLICAS.start() + 1;
        Self {
            replicas: SCRIPT_REPLICAS.start() + u8::arbitrary(g) % spread,
            steps: Vec::arbitrary(g),
        }
    }

    /// Fewer and smaller steps first, then fewer replicas.
    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let replicas = self.replicas;
        let shorter = self.steps.shrink();
        let shorter = shorter.map(move |steps| Self { replicas, steps });
        let steps = self.steps.clone();
        let fewer = (*SCRIPT_REPLICAS.start()..replicas).map(move |replicas| Self {
            replicas,
            steps: steps.clone(),
        });
        Box::new(shorter.chain(fewer))
    }
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        match within(g, 0, 9) {
            0..=3 => Self::change(replica(g), u8::arbitrary(g), u8::arbitrary(g)),
            4..=6 => Self::join(replica(g), replica(g)),
            _ => Self::deliver(u8::arbitrary(g), replica(g)),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        match *self {
            Self::Change { at, what, which } => {
                let smaller = (at, what, which).shrink();
                Box::new(smaller.map(|(at, what, which)| Self::change(at, what, which)))
            }
            Self::Join { from, to } => {
                let smaller = (from, to).shrink();
                Box::new(smaller.map(|(from, to)| Self::join(from, to)))
            }
            Self::Deliver { delta, to } => {
                let smaller = (delta, to).shrink();
                Box::new(smaller.map(|(delta, to)| Self::deliver(delta, to)))
            }
        }
    }
}

impl Arbitrary for ReplicaId {
    fn arbitrary(g: &mut Gen) -> Self {
        match within(g, 0, 9) {
            0 => Self(u64::arbitrary(g)),
            _ => Self(within(g, 1, REPLICAS)),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

impl Arbitrary for Timestamp {
    fn arbitrary(g: &mut Gen) -> Self {
        match within(g, 0, 9) {
            0 => Self(u64::arbitrary(g)),
            _ => Self(within(g, 0, COUNTERS)),
        }
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

impl Arbitrary for Dot {
    fn arbitrary(g: &mut Gen) -> Self {
        Self::new(ReplicaId::arbitrary(g), within(g, 1, COUNTERS))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let smaller = (self.replica, self.counter).shrink();
        // Counters start at 1.
        let events = smaller.filter(|(_, counter)| *counter > 0);
        Box::new(events.map(|(replica, counter)| Self::new(replica, counter)))
    }
}

impl Arbitrary for VersionVector {
    fn arbitrary(g: &mut Gen) -> Self {
        let entries = 0..within(g, 0, ENTRIES as u64);
        entries
            .map(|_| (ReplicaId::arbitrary(g), within(g, 1, COUNTERS)))
            .collect()
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let entries: Vec<(ReplicaId, u64)> = self.iter().collect();
        Box::new(entries.shrink().map(Self::from_iter))
    }
}

impl Arbitrary for CausalContext {
    fn arbitrary(g: &mut Gen) -> Self {
        let dots = 0..within(g, 0, ENTRIES as u64);
        dots.map(|_| Dot::arbitrary(g)).collect()
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        let dots: Vec<Dot> = self.dots().collect();
        Box::new(dots.shrink().map(Self::from_iter))
    }
}
