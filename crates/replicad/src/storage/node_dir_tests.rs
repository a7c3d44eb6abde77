//! Tests of the data directory of one node.

use super::*;
use crate::storage::Standing;
use crate::store::ConflictPolicy;

const CLUSTER: ClusterId = ClusterId(7);

fn open(path: &Path) -> NodeDir {
    NodeDir::open(path, NodeId(1)).expect("it is this node's")
}

fn store(dir: &NodeDir) -> OpenedStore {
    dir.open_store(|options| options).expect("it opens")
}

#[test]
fn a_directory_belongs_to_one_node_of_one_cluster_and_one_process() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("data");
    let mut dir = open(&path);
    assert_eq!((dir.cluster(), dir.has_started()), (None, false));
    assert!(matches!(
        dir.open_store(|o| o),
        Err(NodeDirError::NoCluster { .. })
    ));
    dir.join(CLUSTER).expect("it is free");
    assert!(matches!(
        NodeDir::open(&path, NodeId(1)),
        Err(NodeDirError::InUse { .. })
    ));
    assert_eq!(store(&dir).store.standing(), Standing::Empty);
    dir.note_started().expect("written");
    drop(dir);
    let refused = NodeDir::open(&path, NodeId(2)).expect_err("another node's");
    assert!(matches!(
        refused,
        NodeDirError::Node {
            found: NodeId(1),
            ..
        }
    ));
    let mut dir = open(&path);
    assert_eq!((dir.cluster(), dir.has_started()), (Some(CLUSTER), true));
    dir.join(CLUSTER).expect("the same");
    let refused = dir.join(ClusterId(8)).expect_err("another cluster");
    assert!(matches!(refused, NodeDirError::Cluster { .. }), "{refused}");
}

#[test]
fn data_is_read_only_under_the_terms_that_it_was_written_under() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path();
    let terms = StoreTerms::new(ConflictPolicy::Lamport, &replica::Config::new(NodeId(1), 3));
    let mut dir = open(path);
    dir.keep_terms(terms).expect("there is no data yet");
    dir.join(CLUSTER).expect("it is free");
    drop(dir);
    open(path).keep_terms(terms).expect("the same");
    let partitions = terms.partitions * 2;
    let other = StoreTerms {
        partitions,
        ..terms
    };
    let refused = open(path).keep_terms(other).expect_err("other places");
    assert!(
        refused.to_string().contains("store.partitions"),
        "{refused}"
    );
    let write_quorum = 3;
    let stricter = StoreTerms {
        write_quorum,
        ..terms
    };
    open(path).keep_terms(stricter).expect("quorums may change");
    let kept = read_manifest(path)
        .expect("it is whole")
        .expect("it is there");
    assert_eq!(kept.terms, Some(stricter));
    // What is restored was written under terms that are not known; the first start says them.
    write_restored(path, kept.owner).expect("written");
    open(path).keep_terms(other).expect("nothing is known");
    let refused = open(path).keep_terms(terms).expect_err("known now");
    assert!(matches!(refused, NodeDirError::Terms { .. }), "{refused}");
}

#[test]
fn what_is_not_a_data_directory_is_left_alone() {
    let temporary = tempfile::tempdir().expect("a directory");
    fs::write(temporary.path().join("thesis.txt"), "text").expect("written");
    assert!(matches!(
        NodeDir::open(temporary.path(), NodeId(1)),
        Err(NodeDirError::Foreign { .. })
    ));
    let names: Vec<_> = fs::read_dir(temporary.path()).expect("read").collect();
    assert_eq!(names.len(), 1, "{names:?}");
    let manifest = temporary.path().join(MANIFEST);
    fs::write(&manifest, r#"{"format": 2, "layout": "another"}"#).expect("written");
    assert!(matches!(
        NodeDir::open(temporary.path(), NodeId(1)),
        Err(NodeDirError::Format { found: 2, .. })
    ));
    fs::write(&manifest, r#"{"format": 1"#).expect("written");
    assert!(matches!(
        NodeDir::open(temporary.path(), NodeId(1)),
        Err(NodeDirError::Manifest { .. })
    ));
}

#[test]
fn a_damaged_store_is_put_aside_and_the_node_has_nothing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut dir = open(temporary.path());
    dir.join(CLUSTER).expect("it is free");
    drop(store(&dir));
    dir.note_started().expect("written");
    let path = temporary.path().join(STORE);
    for number in 1..=crate::storage::DAMAGED_STORES {
        let garbage = vec![number as u8; 10_000];
        fs::write(&path, &garbage).expect("written");
        let opened = store(&dir);
        assert_eq!(opened.store.standing(), Standing::Empty);
        let aside = opened.put_aside.expect("it was damaged");
        assert!(aside.saved.is_empty());
        assert_eq!(fs::read(aside.path).expect("it is kept"), garbage);
        assert!(dir.has_started(), "so that it is not bootstrapped");
    }
    fs::write(&path, "").expect("written");
    let refused = dir.open_store(|o| o).expect_err("once more");
    assert!(
        matches!(
            refused,
            NodeDirError::Store(StoreError::DamagedAgain { .. })
        ),
        "{refused}"
    );
    assert!(path.exists());
}

#[test]
fn a_store_of_another_node_is_refused_and_not_put_aside() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (first, second) = (temporary.path().join("1"), temporary.path().join("2"));
    let mut one = open(&first);
    one.join(CLUSTER).expect("it is free");
    drop(store(&one));
    let mut two = NodeDir::open(&second, NodeId(2)).expect("a new directory");
    two.join(CLUSTER).expect("it is free");
    fs::copy(first.join(STORE), second.join(STORE)).expect("copied");
    let refused = two.open_store(|o| o).expect_err("it is node 1's");
    assert!(
        matches!(refused, NodeDirError::Store(StoreError::Owner { .. })),
        "{refused}"
    );
    assert!(second.join(STORE).exists());
}
