//! A list of writers, each with its list of (counter, value). In binary formats replicas and counters are
//! gaps to the ones before.

use super::DotBlocks;
use crate::{Dot, InvalidBytes, ReplicaId};
use alloc::vec::Vec;
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
