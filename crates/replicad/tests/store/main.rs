//! The store of a node: the rules of storage, lost power, full disks, damage, snapshots.

mod aside;
mod conformance;
mod damage;
mod full_disk;
mod medium;
mod policies;
mod snapshots;

use replica::{NodeId, PartitionId, Storage as _, StorageError, Table, WriteBatch};
use replicad::storage::{
    ClusterId, Space, Store, StoreError, StoreOptions, StoreOwner, SyncPolicy,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use medium::Medium;

const OWNER: StoreOwner = StoreOwner {
    cluster: ClusterId(7),
    node: NodeId(1),
};

/// An interval that no test lives to see the end of.
const NEVER: SyncPolicy = SyncPolicy::Interval(Duration::from_secs(86_400));

/// Where the partitions are that the tests write.
const PLACES: [(Space, PartitionId); 3] = [
    (Space::Strings, PartitionId(0)),
    (Space::Strings, PartitionId(1)),
    (Space::Types, PartitionId(0)),
];

type Contents = BTreeMap<(Space, u32, Table, Vec<u8>), Vec<u8>>;

fn options(policy: SyncPolicy) -> StoreOptions {
    StoreOptions {
        policy,
        cache_bytes: 1 << 20,
        ..StoreOptions::new(OWNER)
    }
}

fn open(medium: Medium, policy: SyncPolicy) -> Result<Store, StoreError> {
    Store::open_medium(Path::new("medium"), medium, options(policy))
}

fn started(medium: Medium, policy: SyncPolicy) -> Store {
    let mut store = open(medium, policy).expect("it opens");
    store.start(&[]).expect("it starts");
    store
}

/// Everything that a store holds, where the tests write.
fn contents(store: &Store) -> Result<Contents, StorageError> {
    let mut contents = Contents::new();
    for (space, partition) in PLACES {
        let tables = store.partition(space, partition);
        for table in Table::ALL {
            tables.scan(table, &mut |key, value| {
                let place = (space, partition.0, table, key.to_vec());
                contents.insert(place, value.to_vec());
                Ok(())
            })?;
        }
    }
    Ok(contents)
}

/// A commit of some changes everywhere, some of which undo earlier ones; `expected` follows.
fn commit(store: &mut Store, number: u32, expected: &mut Contents) -> Result<(), StorageError> {
    let mut after = expected.clone();
    let batches = PLACES.map(|(space, partition)| {
        let mut batch = WriteBatch::default();
        for n in 0..12 {
            let table = Table::ALL[(n % 3) as usize];
            let key = (number.wrapping_mul(7) + n * n).to_be_bytes()[2..].to_vec();
            let length = ((number * 37 + n * 101) % 300) as usize;
            let value =
                (!(number + n).is_multiple_of(5)).then(|| vec![number as u8 ^ n as u8; length]);
            let place = (space, partition.0, table, key.clone());
            match &value {
                Some(value) => after.insert(place, value.clone()),
                None => after.remove(&place),
            };
            batch.changes.push((table, key, value));
        }
        (space, partition, batch)
    });
    store.commit(&batches)?;
    *expected = after;
    Ok(())
}
