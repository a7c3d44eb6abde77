//! Nodes whose stores are damaged.

use bytes::Bytes;
use crdt::ReplicaId;
use replica::{Config, Level, Lww, Node, NodeId, Now, PartitionId, Storage, StorageError};
use replicad::node::NetworkOptions;
use replicad::policies::Types;
use replicad::storage::{NodeDir, Space, Standing, Store};
use replicad::store::Operation;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::cluster::Cluster;
use super::{counter, put, values};

const PARTITIONS: u32 = 4;

const KEYS: u32 = 200;

/// The partition of the strings that is damaged.
const DAMAGED: PartitionId = PartitionId(2);

type Incarnations = BTreeMap<(Space, u32), ReplicaId>;

fn configure(options: &mut NetworkOptions) {
    for config in [&mut options.configs.strings, &mut options.configs.types] {
        config.partitions = PARTITIONS;
    }
}

/// Under which incarnation each partition of a node that is stopped would go on.
fn incarnations(cluster: &Cluster, node: u32) -> Incarnations {
    let dir = NodeDir::open(&cluster.data_dir(node), NodeId(node)).expect("its own directory");
    let opened = dir.open_store(|options| options).expect("it opens");
    assert_eq!(
        (opened.put_aside, opened.store.standing()),
        (None, Standing::Intact)
    );
    let mut found = Incarnations::new();
    collect::<Lww>(
        &opened.store,
        Space::Strings,
        &cluster.options(node).configs.strings,
        &mut found,
    );
    collect::<Types>(
        &opened.store,
        Space::Types,
        &cluster.options(node).configs.types,
        &mut found,
    );
    assert_eq!(found.len() as u32, 2 * PARTITIONS);
    found
}

fn collect<P: replica::Policy>(
    store: &Store,
    space: Space,
    config: &Config,
    found: &mut Incarnations,
) {
    let now = Now {
        elapsed_ms: 0,
        unix_ms: 0,
    };
    let partitions = config.placement().partitions();
    let stores: BTreeMap<_, _> = partitions
        .map(|id| (id, store.partition(space, id)))
        .collect();
    let stored = |id| stores.get(&id).map(|store| store as &dyn Storage);
    let node: Result<Node<P>, StorageError> = Node::restore(config.clone(), stored, 1, now);
    let node = node.expect("it holds a node");
    let ids = node
        .partitions()
        .filter_map(|(id, p)| Some(((space, id.0), p.incarnation()?)));
    found.extend(ids);
}

/// Changes a value in the file, in every place where it lies.
fn damage(store: &Path, value: &[u8]) {
    let mut bytes = fs::read(store).expect("a store");
    let mut places = 0;
    for at in 0..bytes.len() - value.len() {
        if bytes[at..].starts_with(value) {
            bytes[at + value.len() / 2] ^= 0x01;
            places += 1;
        }
    }
    assert!(places > 0, "the value is there");
    fs::write(store, bytes).expect("written");
}

fn value(name: &str) -> String {
    format!("the value of {name}, which is nowhere else").repeat(3)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_store_only_the_partition_that_is_damaged_is_fetched_anew() {
    let mut cluster = Cluster::bootstrapped(configure).await;
    for n in 0..KEYS {
        let name = format!("k{n}");
        let written = cluster.ask(n % 3 + 1, &name, put(&value(&name))).await;
        written.expect("a quorum");
        let count = Operation::Increment {
            by: i64::from(n) + 1,
        };
        cluster
            .ask(n % 3 + 1, &name, count)
            .await
            .expect("a quorum");
    }
    cluster.until_equal().await;
    let placement = cluster.node(1).backend().placement(Space::Strings);
    let of = |name: &String| placement.partition_of(name.as_bytes());
    let names: Vec<String> = (0..KEYS).map(|n| format!("k{n}")).collect();
    let damaged = names
        .iter()
        .find(|name| of(name) == DAMAGED)
        .expect("one of many");
    let sound = names
        .iter()
        .find(|name| of(name) != DAMAGED)
        .expect("one of many");
    cluster.stop(3).await;
    let before = incarnations(&cluster, 3);
    // Both get something new while the node is away.
    for name in [damaged, sound] {
        let written = cluster.ask(1, name, put("newer")).await;
        written.expect("two of three");
    }
    damage(
        &cluster.data_dir(3).join("store"),
        value(damaged).as_bytes(),
    );
    cluster.start(3).await;
    cluster.until_up().await;
    cluster.until_equal().await;
    for (n, name) in names.iter().enumerate() {
        let read = cluster.ask_at(3, name, Operation::Get, Level::One).await;
        let expected = match [damaged, sound].contains(&name) {
            true => "newer".to_owned(),
            false => value(name),
        };
        assert_eq!(values(read.expect("it is there")), [Bytes::from(expected)]);
        let look = cluster.ask_at(3, name, Operation::Look, Level::One).await;
        assert_eq!(counter(look.expect("it is there")), Some(n as i64 + 1));
    }
    cluster.stop(3).await;
    assert!(cluster.data_dir(3).join("store.damaged-1").exists());
    let after = incarnations(&cluster, 3);
    let changed: Vec<_> = before
        .keys()
        .filter(|place| before[place] != after[place])
        .collect();
    assert_eq!(changed, [&(Space::Strings, DAMAGED.0)]);
    cluster.stop_all().await;
}
