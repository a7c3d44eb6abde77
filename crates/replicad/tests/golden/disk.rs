//! What is on the disk of a node: the rows of its store, and the small files beside it.

use redb::{
    Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
};
use replica::{Command, Level};
use replica::{Config, Lww, MultiValue, Node, NodeId, Now, OperationId, Request, RequestId};
use replicad::node::Offer;
use replicad::policies::Types;
use replicad::storage::{
    ClusterId, NodeDir, Space, Store, StoreOptions, StoreOwner, SyncPolicy, read_snapshot_manifest,
};
use replicad::store::ConflictPolicy;
use replicad::terms::StoreTerms;
use std::fs;
use std::path::Path;

use super::files::{Row, check, check_lines};
use super::values::{Frozen, bytes};

const OWNER: StoreOwner = StoreOwner {
    cluster: ClusterId(7),
    node: NodeId(1),
};

fn config() -> Config {
    Config {
        partitions: 2,
        durable: true,
        ..Config::new(NodeId(1), 3)
    }
}

fn now() -> Now {
    Now {
        elapsed_ms: 5,
        unix_ms: 1_700_000_000_000,
    }
}

/// Commits what a node of a new cluster stores that carries out each write, with and without a name.
fn commit<P: Frozen>(space: Space, store: &mut Store) {
    let mut node = Node::<P>::bootstrap(config(), 3, now()).expect("a valid configuration");
    // A store that gives its own timestamps refuses a write that brings one.
    let writes = P::writes().into_iter();
    let writes: Vec<_> = writes.filter(|w| P::timestamp_of(w).is_none()).collect();
    let mut number = 0;
    for end in 1..=writes.len() {
        for write in &writes[..end] {
            number += 1;
            let key = bytes(&(end - 1).to_string());
            let command = Command::write(key, write.clone());
            // One that waits for others is not stored before they have answered.
            let mut request = Request::new(command, Level::One);
            if number == 1 {
                request = request.named(OperationId::new(9 << 100));
            }
            node.handle_request(RequestId(number), request, now());
        }
    }
    let ready = node.take_ready();
    assert_eq!(ready.persist.len(), 2, "both partitions");
    let batches = ready.persist.into_iter();
    let batches: Vec<_> = batches.map(|(id, batch)| (space, id, batch)).collect();
    store.commit(&batches).expect("it is committed");
}

/// Every row of a store as it lies in the file.
fn rows(of: &str, store: &Path) -> Vec<Row> {
    let database = Database::open(store).expect("a closed store");
    let transaction = database.begin_read().expect("it can be read");
    let tables = transaction.list_tables().expect("it has tables");
    let mut names: Vec<String> = tables.map(|table| table.name().to_owned()).collect();
    names.sort();
    let mut rows = Vec::new();
    for name in names {
        let definition = TableDefinition::<&[u8], &[u8]>::new(&name);
        let table = transaction.open_table(definition).expect("the table");
        for entry in table.iter().expect("it can be read") {
            let (key, value) = entry.expect("an entry");
            let key = key.value().escape_ascii().to_string().replace(' ', "\\x20");
            rows.push((format!("{of}/{name}/{key}"), value.value().to_vec()));
        }
    }
    rows
}

fn stored<S: Frozen>(of: &str, with_types: bool) -> Vec<Row> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("store");
    let options = StoreOptions {
        policy: SyncPolicy::Always,
        ..StoreOptions::new(OWNER)
    };
    let mut store = Store::open(&path, options).expect("a new store");
    store.start(&[]).expect("it starts");
    commit::<S>(Space::Strings, &mut store);
    if with_types {
        commit::<Types>(Space::Types, &mut store);
    }
    store.close().expect("it is closed");
    rows(of, &path)
}

#[test]
fn the_rows_of_a_store_are_frozen() {
    let mut rows = stored::<Lww>("lww", true);
    rows.extend(stored::<MultiValue>("siblings", false));
    for part in [
        "/cells/",
        "/log/",
        "/meta/state",
        "/meta/operation",
        "/store/",
    ] {
        let is_there = rows.iter().any(|(name, _)| name.contains(part));
        assert!(is_there, "no row of {part}");
    }
    check("store.txt", &rows);
}

#[test]
fn the_small_files_of_a_data_directory_are_frozen() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let data = directory.path().join("data");
    let mut dir = NodeDir::open(&data, NodeId(1)).expect("a new directory");
    let terms = StoreTerms::new(ConflictPolicy::Siblings, &config());
    dir.keep_terms(terms).expect("kept");
    let (by, cluster) = (NodeId(2), ClusterId(0x1234_5678));
    dir.keep_offer(Offer { by, cluster }).expect("kept");
    dir.join(cluster).expect("joined");
    dir.note_started().expect("noted");
    let mut lines = Vec::new();
    for name in ["node.json", "offer.json"] {
        let text = fs::read_to_string(data.join(name)).expect("it is there");
        lines.push(format!("{name}:"));
        lines.extend(text.lines().map(str::to_owned));
    }
    check_lines("directory.txt", &lines);
}

#[test]
fn what_a_snapshot_says_of_itself_is_frozen() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let golden = super::files::path("snapshot.txt");
    let text = fs::read_to_string(golden).expect("the golden file is there");
    fs::write(directory.path().join("snapshot.json"), &text).expect("written");
    let manifest = read_snapshot_manifest(directory.path()).expect("it can be read");
    assert_eq!((manifest.owner, manifest.entries), (OWNER, 12));
    let again = serde_json::to_string_pretty(&manifest).expect("it serialises");
    let lines: Vec<String> = again.lines().map(str::to_owned).collect();
    check_lines("snapshot.txt", &lines);
}
