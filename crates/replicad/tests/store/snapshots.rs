//! Snapshots, and data directories made of them.

use replica::NodeId;
use replicad::storage::{
    ClusterId, HeadStart, NodeDir, RestoreError, Standing, Store, StoreError, StoreOwner,
    SyncPolicy, read_snapshot_manifest, restore_snapshot,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Contents, NEVER, OWNER, commit, contents, options};

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).expect("it is read");
        let name = |e: fs::DirEntry| e.file_name().into_string().expect("it is text");
        let mut names: Vec<_> = entries.map(|e| name(e.expect("it is read"))).collect();
        names.sort();
        names
    }

    fn store(&self, policy: SyncPolicy) -> (Store, Contents) {
        let mut store = Store::open(&self.path("store"), options(policy)).expect("it opens");
        store.start(&[]).expect("it starts");
        let mut expected = Contents::new();
        for number in 0..50 {
            commit(&mut store, number, &mut expected).expect("committed");
        }
        (store, expected)
    }
}

fn restored(data: &Path, node: NodeId) -> (NodeDir, Store) {
    let dir = NodeDir::open(data, node).expect("it is this node's");
    let opened = dir.open_store(|o| o).expect("it opens");
    assert_eq!(opened.put_aside, None);
    (dir, opened.store)
}

#[test]
fn a_restored_snapshot_holds_what_the_store_held_and_not_its_identity() {
    for policy in [SyncPolicy::Always, NEVER, SyncPolicy::None] {
        let place = Place::new();
        let (mut store, expected) = place.store(policy);
        let report = store.snapshot(&place.path("snapshot")).expect("it is made");
        assert_eq!(report.manifest.owner, OWNER);
        assert_eq!(report.manifest.entries, expected.len() as u64);
        commit(&mut store, 99, &mut expected.clone()).expect("it goes on");
        let manifest = read_snapshot_manifest(&report.path).expect("it is read");
        assert_eq!(manifest, report.manifest);
        let data = place.path("data");
        restore_snapshot(&report.path, &data, None).expect("it is restored");
        assert_eq!(place.names(), ["data", "snapshot", "store"]);
        let (dir, mut store) = restored(&data, OWNER.node);
        assert!(dir.has_started());
        assert_eq!(dir.cluster(), Some(OWNER.cluster));
        assert_eq!(store.standing(), Standing::HeadStart(HeadStart::Restored));
        assert_eq!(contents(&store).expect("it is read"), expected);
        // Once the node has a new identity the store vouches for it.
        store.start(&[]).expect("it starts");
        drop(store);
        let store = dir.open_store(|o| o).expect("it opens").store;
        assert_eq!(store.standing(), Standing::Intact);
    }
}

#[test]
fn a_snapshot_may_become_another_node_of_another_cluster() {
    let place = Place::new();
    let (store, expected) = place.store(SyncPolicy::Always);
    let snapshot = place.path("snapshot");
    store.snapshot(&snapshot).expect("it is made");
    let owner = StoreOwner {
        cluster: ClusterId(8),
        node: NodeId(3),
    };
    let data = place.path("data");
    restore_snapshot(&snapshot, &data, Some(owner)).expect("it is restored");
    assert!(NodeDir::open(&data, OWNER.node).is_err(), "it is node 3's");
    let (dir, store) = restored(&data, NodeId(3));
    assert_eq!(dir.cluster(), Some(ClusterId(8)));
    assert_eq!(store.standing(), Standing::HeadStart(HeadStart::Restored));
    assert_eq!(contents(&store).expect("it is read"), expected);
}

#[test]
fn a_snapshot_is_of_one_moment_while_the_store_is_written() {
    let place = Place::new();
    let (mut store, mut expected) = place.store(SyncPolicy::None);
    let reader = store.reader();
    let done = AtomicBool::new(false);
    let mut moments = vec![expected.clone()];
    let report = std::thread::scope(|scope| {
        let made = scope.spawn(|| {
            let report = reader.snapshot(&place.path("snapshot"));
            done.store(true, Ordering::Release);
            report
        });
        let mut number = 100;
        while !done.load(Ordering::Acquire) && number < 2_000 {
            commit(&mut store, number, &mut expected).expect("committed");
            moments.push(expected.clone());
            number += 1;
        }
        made.join().expect("it ends")
    });
    let report = report.expect("it is made");
    let data = place.path("data");
    restore_snapshot(&report.path, &data, None).expect("it is restored");
    let (_dir, store) = restored(&data, OWNER.node);
    let found = contents(&store).expect("it is read");
    assert!(moments.contains(&found), "it mixes moments");
}

#[test]
fn a_snapshot_is_restored_into_a_new_directory_only() {
    let place = Place::new();
    let (store, _) = place.store(SyncPolicy::Always);
    let snapshot = place.path("snapshot");
    store.snapshot(&snapshot).expect("it is made");
    assert!(store.snapshot(&snapshot).is_err(), "it exists");
    let data = place.path("data");
    fs::create_dir(&data).expect("made");
    restore_snapshot(&snapshot, &data, None).expect("an empty one will do");
    for target in [&data, &place.path("store")] {
        let refused = restore_snapshot(&snapshot, target, None);
        assert!(
            matches!(refused, Err(RestoreError::NotEmpty { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn what_an_interrupted_snapshot_has_left_is_no_snapshot_and_makes_room_for_the_next() {
    let place = Place::new();
    let (store, _) = place.store(SyncPolicy::Always);
    let partial = place.path("snapshot.partial");
    fs::create_dir(&partial).expect("made");
    fs::write(partial.join("store"), "half").expect("written");
    assert!(restore_snapshot(&partial, &place.path("data"), None).is_err());
    store.snapshot(&place.path("snapshot")).expect("it is made");
    assert_eq!(place.names(), ["snapshot", "store"]);
}

#[test]
fn a_damaged_snapshot_is_refused_and_nothing_is_left() {
    let place = Place::new();
    let (store, _) = place.store(SyncPolicy::Always);
    let snapshot = place.path("snapshot");
    store.snapshot(&snapshot).expect("it is made");
    let file = snapshot.join("store");
    let bytes = fs::read(&file).expect("it is read");
    let data = place.path("data");
    for n in 0..100 {
        let mut altered = bytes.clone();
        match n {
            0 => altered.truncate(bytes.len() / 2),
            1 => altered.clear(),
            n => altered[n * bytes.len() / 101] ^= 1,
        }
        fs::write(&file, altered).expect("written");
        let refused = restore_snapshot(&snapshot, &data, None);
        assert!(
            matches!(
                refused,
                Err(RestoreError::Store(StoreError::Damaged { .. }))
            ),
            "{refused:?}"
        );
        assert_eq!(place.names(), ["snapshot", "store"]);
    }
    fs::write(&file, bytes).expect("written");
    let manifest = snapshot.join("snapshot.json");
    for text in ["", "{}", r#"{"format": 1}"#, "[1, 2", r#"{"format": 2}"#] {
        fs::write(&manifest, text).expect("written");
        assert!(restore_snapshot(&snapshot, &data, None).is_err(), "{text}");
    }
    assert_eq!(place.names(), ["snapshot", "store"]);
}
