//! A checksum over what a node shows.

use bytes::Bytes;
use crdt::{CausalMap, Cell};
use serde::Serialize;
use twox_hash::XxHash3_128;

/// A 128-bit checksum of the visible entries, with their events; equal on nodes that show the same.
/// Tombstones do not count, because nodes forget them at different times.
///
/// It is the wrapping sum of a hash of each entry, so that it does not depend on their order, and sums of
/// parts of the key space add up. The hash is XXH3-128 with seed 0 over the length of the key (8 bytes,
/// little endian), the key, and the cell in the binary format postcard, in which equal cells have equal
/// bytes; it is frozen.
///
/// Linear in the entries.
pub fn checksum<C: Cell + Serialize>(map: &CausalMap<Bytes, C>) -> u128 {
    map.visible().fold(0, |sum: u128, (key, cell)| {
        let mut buffer = Vec::from((key.len() as u64).to_le_bytes());
        buffer.extend_from_slice(key);
        let buffer = postcard::to_extend(cell, buffer).expect("cells serialise into memory");
        sum.wrapping_add(XxHash3_128::oneshot(&buffer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoredCell;
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
            22_823_291_546_007_474_817_627_116_453_896_880_883
        );
        let before = checksum(replica.map());
        write(&mut replica, "c", None);
        assert_eq!(checksum(replica.map()), before);
        write(&mut replica, "b", Some("3"));
        assert_ne!(checksum(replica.map()), before);
    }
}
