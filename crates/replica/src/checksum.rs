//! A checksum over what a node shows.

use bytes::Bytes;
use crdt::CausalMap;
use twox_hash::XxHash3_128;

use crate::StoredCell;

/// A 128-bit checksum of the visible entries, with their timestamps and events; equal on nodes that
/// show the same. Tombstones do not count, because nodes forget them at different times.
///
/// It is the wrapping sum of a hash of each entry, so that it does not depend on their order. The hash
/// is XXH3-128 with seed 0 over the length of the key (8 bytes, little endian), the key, the value,
/// and timestamp, replica and counter (8 bytes each, little endian); it is frozen.
///
/// Linear in the entries.
pub fn checksum(map: &CausalMap<Bytes, StoredCell>) -> u128 {
    let mut buffer = Vec::new();
    let live = map
        .entries()
        .filter_map(|(key, cell)| Some((key, cell.live()?)));
    live.fold(0, |sum: u128, (key, entry)| {
        let Some(value) = &entry.value else {
            return sum;
        };
        buffer.clear();
        buffer.extend_from_slice(&(key.len() as u64).to_le_bytes());
        buffer.extend_from_slice(key);
        buffer.extend_from_slice(value);
        for number in [entry.timestamp.0, entry.dot.replica.0, entry.dot.counter] {
            buffer.extend_from_slice(&number.to_le_bytes());
        }
        sum.wrapping_add(XxHash3_128::oneshot(&buffer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{LwwEntry, MapReplica, ReplicaId, Timestamp};

    fn write(
        replica: &mut MapReplica<Bytes, StoredCell>,
        key: &'static str,
        value: Option<&'static str>,
    ) {
        let timestamp = Timestamp(replica.own_counter() + 1);
        let value = value.map(|v| Bytes::from_static(v.as_bytes()));
        let _written = replica.write(Bytes::from_static(key.as_bytes()), |cell, dot| {
            cell.write(LwwEntry {
                dot,
                timestamp,
                value,
            });
        });
    }

    #[test]
    fn the_checksum_is_frozen_and_skips_tombstones() {
        let mut replica = MapReplica::new(ReplicaId(1));
        assert_eq!(checksum(replica.map()), 0);
        write(&mut replica, "a", Some("1"));
        write(&mut replica, "b", Some("2"));
        assert_eq!(
            checksum(replica.map()),
            177_684_394_959_479_943_583_189_306_312_879_920_643
        );
        let before = checksum(replica.map());
        write(&mut replica, "c", None);
        assert_eq!(checksum(replica.map()), before);
        write(&mut replica, "b", Some("3"));
        assert_ne!(checksum(replica.map()), before);
    }
}
