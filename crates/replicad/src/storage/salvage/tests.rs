//! Tests of what is saved of damaged stores.

use redb::backends::InMemoryBackend;
use redb::{Database, TableDefinition};
use replica::{NodeId, Storage as _, StorageError, WriteBatch};
use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::storage::{ClusterId, HeadStart, Standing, Store, StoreOptions, SyncPolicy};

const OWNER: StoreOwner = StoreOwner {
    cluster: ClusterId(7),
    node: NodeId(1),
};

const PAGE: usize = 4096;

/// So many partitions that the tables of all do not fit into one page of names.
const PARTITIONS: u32 = 12;

type Rows = BTreeMap<(Table, Vec<u8>), Vec<u8>>;
type Contents = BTreeMap<Place, Rows>;

fn places() -> impl Iterator<Item = Place> {
    [Space::Strings, Space::Types]
        .into_iter()
        .flat_map(|space| (0..PARTITIONS).map(move |id| (space, PartitionId(id))))
}

/// A commit that gives one partition so many entries that they take several pages, and another a value that takes
/// several.
fn commit_much(store: &mut Store, contents: &mut Contents) {
    let many = (0..250_u32).map(|n| (format!("many {n:04}"), 90));
    let large = [("large".to_owned(), 30_000)];
    let much: [(Place, Vec<(String, usize)>); 2] = [
        ((Space::Strings, PartitionId(5)), many.collect()),
        ((Space::Types, PartitionId(6)), large.into()),
    ];
    let batches = much.map(|(place, entries)| {
        let mut batch = WriteBatch::default();
        for (key, length) in entries {
            let (key, value) = (key.into_bytes(), vec![0x5a; length]);
            let rows = contents.entry(place).or_default();
            rows.insert((Table::Cells, key.clone()), value.clone());
            batch.changes.push((Table::Cells, key, Some(value)));
        }
        (place.0, place.1, batch)
    });
    store.commit(&batches).expect("committed");
}

/// One commit of some changes everywhere; `contents` follows.
fn commit(store: &mut Store, number: u32, contents: &mut Contents) {
    let batches = places().enumerate().map(|(n, place)| {
        let rows = contents.entry(place).or_default();
        let mut batch = WriteBatch::default();
        for i in 0..6 {
            let table = Table::ALL[(i % 3) as usize];
            let key = format!("{}", (number * 5 + i * i) % 40).into_bytes();
            let value = vec![number as u8; 20 + (n * 31 + i as usize * 97) % 200];
            let value = (!(number + i).is_multiple_of(7)).then_some(value);
            match &value {
                Some(value) => rows.insert((table, key.clone()), value.clone()),
                None => rows.remove(&(table, key.clone())),
            };
            batch.changes.push((table, key, value));
        }
        (place.0, place.1, batch)
    });
    let batches: Vec<_> = batches.collect();
    store.commit(&batches).expect("committed");
}

/// A store that has made so many commits, as it was after each of the last two, and what it held then.
struct Made {
    bytes: Vec<u8>,
    contents: Contents,
    /// A commit earlier, while the store was open.
    before: Vec<u8>,
}

fn made(policy: SyncPolicy, is_closed: bool) -> Made {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let options = StoreOptions {
        policy,
        ..StoreOptions::new(OWNER)
    };
    let mut store = Store::open(&path, options).expect("it opens");
    store.start(&[]).expect("it starts");
    let mut contents = Contents::new();
    let read = || fs::read(&path).expect("the file");
    commit_much(&mut store, &mut contents);
    for number in 0..30 {
        commit(&mut store, number, &mut contents);
    }
    store.sync().expect("synced");
    let before = read();
    commit(&mut store, 30, &mut contents);
    store.sync().expect("synced");
    if is_closed {
        store.close().expect("it closes");
    }
    Made {
        bytes: read(),
        contents,
        before,
    }
}

/// A medium that outlives the engine that writes it.
#[derive(Debug, Clone, Default)]
struct Medium(Arc<InMemoryBackend>);

impl Medium {
    fn holding(bytes: &[u8]) -> Self {
        let medium = Self::default();
        medium.set_len(bytes.len() as u64).expect("resized");
        medium.write(0, bytes).expect("written");
        medium
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len().expect("a length") as usize];
        self.read(0, &mut bytes).expect("it is there");
        bytes
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }
}

fn open(medium: Medium) -> Result<Store, StoreError> {
    Store::open_medium(Path::new("store"), medium, StoreOptions::new(OWNER))
}

fn contents(store: &Store) -> Result<Contents, StorageError> {
    let mut contents = Contents::new();
    for place in places() {
        for table in Table::ALL {
            store
                .partition(place.0, place.1)
                .scan(table, &mut |key, value| {
                    let rows = contents.entry(place).or_default();
                    rows.insert((table, key.to_vec()), value.to_vec());
                    Ok(())
                })?;
        }
    }
    Ok(contents)
}

/// The store that is made of a damaged one, and the partitions in it.
fn saved(bytes: &[u8]) -> Option<(Store, BTreeSet<Place>)> {
    let salvage = Salvage::of(Cursor::new(bytes), Path::new("damaged"), OWNER);
    let salvage = salvage.expect("it is read and ours")?;
    let medium = Medium::default();
    let saved = salvage.save(medium.clone(), Path::new("saved"));
    let saved = saved.expect("it is written");
    Some((open(medium).expect("what was saved is sound"), saved))
}

/// What became of damaged stores.
#[derive(Debug, Default)]
struct Tally {
    harmless: u32,
    all_saved: u32,
    one_lost: u32,
    several_lost: u32,
    nothing_saved: u32,
}

impl Tally {
    /// Opens what is left, saves what can be saved, and checks that a partition is as it was or has nothing.
    fn look(&mut self, what: &str, bytes: &[u8], expected: &Contents) {
        let medium = Medium::holding(bytes);
        match open(medium.clone()) {
            Ok(store) => match contents(&store) {
                Ok(found) if found == *expected => return self.harmless += 1,
                Ok(_) => panic!("{what}: shows something else"),
                Err(error) => assert!(store.damage().is_some(), "{what}: {error}"),
            },
            Err(StoreError::Damaged { .. }) => {
                assert!(
                    medium.bytes() == bytes,
                    "{what}: the damaged file has changed"
                );
            }
            Err(error) => panic!("{what}: {error}"),
        }
        let Some((store, saved)) = saved(&medium.bytes()) else {
            return self.nothing_saved += 1;
        };
        assert_eq!(store.standing(), Standing::Intact, "{what}");
        let mut found = contents(&store).expect("it is sound");
        for place in places() {
            let rows = found.remove(&place);
            match saved.contains(&place) {
                true => assert!(rows.as_ref() == expected.get(&place), "{what}: {place:?}"),
                false => assert!(rows.is_none(), "{what}: a part of {place:?}"),
            }
        }
        match places().count() - saved.len() {
            0 => self.all_saved += 1,
            1 => self.one_lost += 1,
            _ => self.several_lost += 1,
        }
    }
}

#[test]
fn of_a_store_with_a_flipped_bit_each_partition_is_as_it_was_or_lost() {
    let made = made(SyncPolicy::Always, true);
    let mut tally = Tally::default();
    for (n, page) in (0..made.bytes.len()).step_by(PAGE).enumerate() {
        // The beginning of a page is its structure, and the end often not in use.
        for at in [n % 4, 4 + n % 60, (n * 7 % PAGE) / 2, n * 577 % PAGE] {
            let mut altered = made.bytes.clone();
            altered[page + at] ^= 1 << (n % 8);
            let what = format!("bit {} of byte {at} of page {n}", n % 8);
            tally.look(&what, &altered, &made.contents);
        }
    }
    assert!(tally.harmless > 100 && tally.one_lost > 50, "{tally:?}");
}

#[test]
fn of_a_store_without_one_of_its_pages_each_partition_is_as_it_was_or_lost() {
    let made = made(SyncPolicy::Always, true);
    let mut tally = Tally::default();
    for (n, page) in (0..made.bytes.len()).step_by(PAGE).enumerate() {
        let mut altered = made.bytes.clone();
        altered[page..page + PAGE].fill(0);
        tally.look(&format!("without page {n}"), &altered, &made.contents);
    }
    // What the engine keeps for itself, entries, names of tables, and what leads to all of them.
    assert!(tally.all_saved > 0, "{tally:?}");
    assert!(tally.one_lost >= 24, "{tally:?}");
    assert!(tally.several_lost > 0, "{tally:?}");
    assert!(tally.nothing_saved > 0, "{tally:?}");
}

/// A write that the disk has reported and not made leaves what was there before: a page that was right once.
#[test]
fn a_page_of_an_older_commit_in_the_place_of_a_newer_one_is_damage() {
    let made = made(SyncPolicy::Always, true);
    let mut tally = Tally::default();
    let pages = made.before.len().min(made.bytes.len()) / PAGE;
    for page in 1..pages {
        let range = page * PAGE..(page + 1) * PAGE;
        if made.before[range.clone()] == made.bytes[range.clone()] {
            continue;
        }
        let mut altered = made.bytes.clone();
        altered[range.clone()].copy_from_slice(&made.before[range]);
        let what = format!("page {page} of the commit before");
        tally.look(&what, &altered, &made.contents);
    }
    assert!(tally.one_lost >= 24, "{tally:?}");
}

#[test]
fn of_a_store_that_was_cut_each_partition_is_as_it_was_or_lost() {
    let made = made(SyncPolicy::Always, true);
    let mut tally = Tally::default();
    for n in 0..60 {
        let length = 1 + n * (made.bytes.len() - 1) / 60;
        let what = format!("cut to {length} bytes");
        tally.look(&what, &made.bytes[..length], &made.contents);
    }
    // Of most, the root is beyond the end.
    assert!(tally.nothing_saved > 0, "{tally:?}");
}

#[test]
fn a_store_that_was_not_closed_is_saved_as_one_that_was_not() {
    let hour = SyncPolicy::Interval(Duration::from_secs(3_600));
    for (policy, standing) in [
        (SyncPolicy::Always, Standing::Intact),
        (hour, Standing::HeadStart(HeadStart::UncleanStop)),
        (
            SyncPolicy::None,
            Standing::HeadStart(HeadStart::UncleanStop),
        ),
    ] {
        let made = made(policy, false);
        let (mut partly, mut none) = (0, 0);
        for page in (PAGE..made.bytes.len()).step_by(PAGE) {
            let mut altered = made.bytes.clone();
            altered[page + 8] ^= 0x40;
            let Some((store, saved)) = saved(&altered) else {
                none += 1;
                continue;
            };
            assert_eq!(store.standing(), standing);
            let expected = made
                .contents
                .iter()
                .filter(|(place, _)| saved.contains(place));
            let found = contents(&store).expect("it is sound");
            assert!(found.iter().eq(expected), "{policy:?}: page at {page}");
            partly += u32::from(saved.len() < made.contents.len());
        }
        assert!(partly >= 24 && none > 0, "{policy:?}: {partly}, {none}");
    }
}

#[test]
fn what_is_no_store_is_not_saved_and_what_is_another_nodes_is_refused() {
    let made = made(SyncPolicy::Always, true);
    assert!(saved(&made.bytes).is_some());
    for bytes in [
        vec![],
        vec![0; PAGE],
        vec![0xa5; 100_000],
        b"redb\x1a\x0a\xa9\x0d\x0a".to_vec(),
    ] {
        assert!(saved(&bytes).is_none());
    }
    // Magic number, geometry, each of the commit slots: one that is damaged may have been the newer one.
    for at in [0, 8, 13, 64, 75, 180, 192, 200, 319] {
        let mut altered = made.bytes.clone();
        altered[at] ^= 0x10;
        assert!(saved(&altered).is_none(), "byte {at}");
    }
    let other = StoreOwner {
        node: NodeId(2),
        ..OWNER
    };
    let refused = Salvage::of(Cursor::new(&made.bytes), Path::new("damaged"), other);
    assert!(matches!(refused, Err(StoreError::Owner { .. })));
}

/// Puts an entry into a table as the engine does, without a look at anything else.
fn insert(bytes: &[u8], table: &str, key: &[u8], stored: &[u8]) -> Vec<u8> {
    let medium = Medium::holding(bytes);
    let database = Database::builder().create_with_backend(medium.clone());
    let database = database.expect("it opens");
    let transaction = database.begin_write().expect("it begins");
    let definition = TableDefinition::<&[u8], &[u8]>::new(table);
    let mut table = transaction.open_table(definition).expect("it opens");
    table.insert(key, stored).expect("inserted");
    drop(table);
    transaction.commit().expect("committed");
    drop(database);
    medium.bytes()
}

#[test]
fn an_entry_with_a_wrong_checksum_in_a_sound_page_loses_its_partition_and_an_unknown_table_everything()
 {
    let made = made(SyncPolicy::Always, true);
    let wrong = b"a value without its checksum";
    let altered = insert(&made.bytes, "types/3/log", b"key", wrong);
    let (store, kept) = saved(&altered).expect("most of it");
    let lost: Vec<_> = places().filter(|place| !kept.contains(place)).collect();
    assert_eq!(lost, [(Space::Types, PartitionId(3))]);
    let mut expected = made.contents.clone();
    expected.remove(&lost[0]);
    assert!(contents(&store).expect("it is sound") == expected);
    assert!(saved(&insert(&made.bytes, "more", b"key", wrong)).is_none());
}

/// The engine does not check what it reads: it builds on an older page, and all checksums are right again.
#[test]
fn a_table_with_fewer_entries_than_it_should_have_loses_its_partition() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store");
    let mut store = Store::open(&path, StoreOptions::new(OWNER)).expect("it opens");
    store.start(&[]).expect("it starts");
    let (place, text) = ((Space::Strings, PartitionId(0)), "a value of its own");
    let mut put = |keys: &[&[u8]], value: &str| {
        let entry = |key: &&[u8]| (Table::Cells, key.to_vec(), Some(value.as_bytes().to_vec()));
        let changes = keys.iter().map(entry).collect();
        let batch = WriteBatch { changes };
        store
            .commit(&[(place.0, place.1, batch)])
            .expect("committed");
    };
    put(&[b"a", b"b", b"c"], text);
    let before = fs::read(&path).expect("the file");
    put(&[b"d"], "the newest value");
    store.close().expect("it closes");
    let bytes = fs::read(&path).expect("the file");
    let page_with = |bytes: &[u8], text: &str| {
        let mut pages = bytes.chunks(PAGE);
        let has = |page: &[u8]| {
            page.windows(text.len())
                .any(|found| found == text.as_bytes())
        };
        pages.position(has).expect("it is there") * PAGE
    };
    let (old, new) = (
        page_with(&before, text),
        page_with(&bytes, "the newest value"),
    );
    let mut altered = bytes.clone();
    altered[new..new + PAGE].copy_from_slice(&before[old..old + PAGE]);
    let name = TableName::new(place.0, place.1, Table::Cells);
    let mut stored = vec![0; text.len() + CHECKSUM_BYTES];
    name.seal(b"e", text.as_bytes(), &mut stored);
    let add = |bytes: &[u8]| insert(bytes, name.as_str(), b"e", &stored);
    let (_, whole) = saved(&add(&bytes)).expect("all of it");
    assert_eq!(whole, BTreeSet::from([place]));
    let (store, kept) = saved(&add(&altered)).expect("the record of the store");
    assert_eq!(
        (kept, store.standing()),
        (BTreeSet::new(), Standing::Intact)
    );
}
