//! The rules of [`Storage`] as a suite that any implementation can run.
//!
//! [`check`] needs two functions: one makes an empty store, the other takes a store, crashes it (or closes
//! it), and opens again what is left. [`check_failed_commit`] and [`check_failed_scan`] are for
//! implementations whose tests can make them fail.
//!
//! ```
//! use replica::MemoryStorage;
//! use replica::storage::conformance;
//!
//! assert_eq!(conformance::check(MemoryStorage::default, |storage| storage), Ok(()));
//! ```

mod contents;

use std::fmt;

use super::{Storage, StorageError, Table, WriteBatch};
use contents::{Change, Contents, shown};

/// A rule of [`Storage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// S1: all changes of a batch survive a crash, or none.
    Atomic,
    /// S2: what was committed survives a crash.
    Durable,
    /// S3: what survives is a prefix of the commits.
    Ordered,
    /// S4: a failed commit does not show, and leaves all or nothing.
    FailedCommit,
    /// S5: scans are complete and ascend, and errors are passed on.
    Scan,
    /// S6: any bytes, and changes in order.
    AnyBytes,
    /// S7: tables are apart.
    Tables,
}

/// One rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// The rule.
    pub rule: Rule,
    /// What was tried.
    pub case: &'static str,
    /// What was seen.
    pub detail: String,
}

/// Everything that the suite found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaches(pub Vec<Breach>);

impl Breaches {
    /// The rules that were broken, ascending, each once.
    pub fn rules(&self) -> Vec<Rule> {
        let mut rules: Vec<Rule> = self.0.iter().map(|breach| breach.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }
}

impl std::error::Error for Breaches {}

/// Longest key that the suite stores, in bytes: the default limit of a node.
const LONG_KEY_BYTES: usize = 64 << 10;

/// Longest value that the suite stores, in bytes: above the default limit of a node's values, as the
/// node's own state is not bounded by it.
const LONG_VALUE_BYTES: usize = 3 << 20;

/// Commits of the cases that commit often.
const MANY_COMMITS: u32 = 150;

/// Changes of the large batch.
const MANY_CHANGES: u32 = 5_000;

/// Runs the suite: `make` makes an empty store; `reopen` takes one, crashes it and opens what is left.
///
/// # Errors
/// The rules that were broken, case by case.
pub fn check<S: Storage>(
    make: impl FnMut() -> S,
    reopen: impl FnMut(S) -> S,
) -> Result<(), Breaches> {
    let mut subject = Subject { make, reopen };
    let cases = [
        Subject::a_new_store_is_empty,
        Subject::changes_apply_in_order,
        Subject::scans_ascend,
        Subject::tables_are_apart,
        Subject::any_bytes_are_kept,
        Subject::the_visitors_error_stops_a_scan,
        Subject::the_last_batches_survive,
        Subject::every_commit_survives,
        Subject::many_small_commits_survive,
        Subject::a_large_batch_survives,
    ];
    collect(cases.into_iter().map(|case| case(&mut subject)))
}

/// Checks S4 with a storage that can be made to fail: `fail` makes the next commit fail.
///
/// # Errors
/// The rules that were broken.
pub fn check_failed_commit<S: Storage>(
    mut make: impl FnMut() -> S,
    mut fail: impl FnMut(&mut S),
    mut reopen: impl FnMut(S) -> S,
) -> Result<(), Breaches> {
    let wrong = |detail| breach(Rule::FailedCommit, "a commit that fails", detail);
    let mut run = || -> Result<(), Breach> {
        let mut storage = make();
        let (first, second) = (numbered(1), numbered(2));
        let mut before = Contents::default();
        commit(&mut storage, &first, &mut before, "a commit that goes well")?;
        fail(&mut storage);
        if storage.commit(&second).is_ok() {
            return Err(wrong("it did not fail".into()));
        }
        let mut after = before.clone();
        after.apply(&second);
        let shown = read(&storage, "a scan after a failed commit")?;
        if shown != before {
            let differs = shown.differs_from(&before);
            return Err(wrong(format!("it shows before a crash: {differs}")));
        }
        let mut storage = reopen(storage);
        let left = read(&storage, "a scan after a failed commit and a crash")?;
        if left != before && left != after {
            let differs = left.differs_from(&before);
            return Err(wrong(format!("a part of it is there: {differs}")));
        }
        let (third, mut expected) = (numbered(3), left);
        commit(&mut storage, &third, &mut expected, "a commit after that")?;
        expect(&storage, &expected, Rule::Durable, "a commit after that")
    };
    collect([run()])
}

/// Checks that a scan which cannot read everything fails: `fail` makes the scans of a store with two entries
/// in each table fail.
///
/// # Errors
/// The rules that were broken.
pub fn check_failed_scan<S: Storage>(
    mut make: impl FnMut() -> S,
    mut fail: impl FnMut(&mut S),
) -> Result<(), Breaches> {
    let case = "a scan that cannot read";
    let mut run = || -> Result<(), Breach> {
        let mut storage = make();
        let mut contents = Contents::default();
        commit(&mut storage, &numbered(1), &mut contents, case)?;
        fail(&mut storage);
        for table in Table::ALL {
            if storage.scan(table, &mut |_, _| Ok(())).is_ok() {
                let detail = format!("the scan of {table:?} did not fail");
                return Err(breach(Rule::Scan, case, detail));
            }
        }
        Ok(())
    };
    collect([run()])
}

struct Subject<M, R> {
    make: M,
    reopen: R,
}

impl<S: Storage, M: FnMut() -> S, R: FnMut(S) -> S> Subject<M, R> {
    fn a_new_store_is_empty(&mut self) -> Result<(), Breach> {
        let case = "a new store";
        let storage = (self.make)();
        expect(&storage, &Contents::default(), Rule::Scan, case)?;
        let storage = (self.reopen)(storage);
        expect(&storage, &Contents::default(), Rule::Scan, case)
    }

    fn changes_apply_in_order(&mut self) -> Result<(), Breach> {
        let case = "overwriting and removing";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let batches = [
            vec![put("a", "1"), put("b", "1"), put("c", "1")],
            vec![put("a", "2"), remove("b"), remove("never there")],
            vec![],
            vec![put("d", "1"), remove("d"), put("d", "2")],
            vec![remove("a"), put("a", "3"), put("e", "1"), remove("e")],
        ];
        for changes in batches {
            commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
            expect(&storage, &contents, Rule::AnyBytes, case)?;
        }
        Ok(())
    }

    fn scans_ascend(&mut self) -> Result<(), Breach> {
        let case = "a scan of keys that are prefixes of each other";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let keys: [&[u8]; 12] = [
            b"b",
            b"",
            b"ab",
            b"\xff\x00",
            b"a",
            b"\x00",
            b"aa",
            b"\xff",
            b"\x00\x00",
            b"a\xff",
            b"\xff\xff",
            b"a\x00",
        ];
        for table in Table::ALL {
            let changes = keys.map(|key| (table, key.to_vec(), Some(key.to_vec())));
            let changes = changes.into();
            commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
        }
        expect(&storage, &contents, Rule::Scan, case)
    }

    fn tables_are_apart(&mut self) -> Result<(), Breach> {
        let case = "one key in all tables";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let entry = |table, value: Option<&str>| {
            (table, b"key".to_vec(), value.map(|v| v.as_bytes().to_vec()))
        };
        let mut changes = vec![
            entry(Table::Cells, Some("cell")),
            entry(Table::Log, Some("log")),
            entry(Table::Meta, Some("meta")),
        ];
        for last in Table::ALL {
            let batch = WriteBatch { changes };
            commit(&mut storage, &batch, &mut contents, case)?;
            expect(&storage, &contents, Rule::Tables, case)?;
            changes = vec![entry(last, None)];
        }
        Ok(())
    }

    fn any_bytes_are_kept(&mut self) -> Result<(), Breach> {
        let case = "empty, long and binary keys and values";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
        let entries = [
            (Vec::new(), Vec::new()),
            (vec![0], vec![0]),
            (all_bytes.clone(), all_bytes),
            (vec![0xff; LONG_KEY_BYTES], Vec::new()),
            (b"long value".to_vec(), vec![0xa5; LONG_VALUE_BYTES]),
        ];
        for (key, value) in entries {
            let changes = vec![(Table::Cells, key, Some(value))];
            commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
        }
        expect(&storage, &contents, Rule::AnyBytes, case)?;
        let empty = WriteBatch {
            changes: vec![(Table::Cells, Vec::new(), None)],
        };
        commit(&mut storage, &empty, &mut contents, case)?;
        expect(&storage, &contents, Rule::AnyBytes, case)
    }

    fn the_visitors_error_stops_a_scan(&mut self) -> Result<(), Breach> {
        let case = "a visitor that fails";
        let mut storage = (self.make)();
        let changes = ["a", "b", "c", "d"].map(|key| put(key, "1")).into();
        let mut contents = Contents::default();
        commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
        let error = StorageError::new("visiting", "enough");
        let mut visited = 0;
        let result = storage.scan(Table::Cells, &mut |_, _| {
            visited += 1;
            match visited {
                2 => Err(error.clone()),
                _ => Ok(()),
            }
        });
        if (visited, &result) != (2, &Err(error)) {
            let detail =
                format!("{visited} entries visited instead of 2, and the scan: {result:?}");
            return Err(breach(Rule::Scan, case, detail));
        }
        Ok(())
    }

    /// Batches that touch keys of their own and one that all of them touch, so that the rest after a crash
    /// says what was lost.
    fn the_last_batches_survive(&mut self) -> Result<(), Breach> {
        let case = "batches before a crash";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let batches: Vec<WriteBatch> = (1..=8).map(numbered).collect();
        for batch in &batches {
            commit(&mut storage, batch, &mut contents, case)?;
        }
        let storage = (self.reopen)(storage);
        let left = read(&storage, case)?;
        let found: Vec<usize> = batches
            .iter()
            .map(|batch| own_changes(batch).filter(|put| left.shows(put)).count())
            .collect();
        let detail = format!("changes that were left of each batch: {found:?}");
        let is_torn = |(found, batch): (&usize, &WriteBatch)| match *found {
            0 => left.shows(&batch.changes[0]),
            found => found != own_changes(batch).count(),
        };
        if found.iter().zip(&batches).any(is_torn) {
            return Err(breach(Rule::Atomic, case, detail));
        }
        if found.windows(2).any(|pair| pair[0] == 0 && pair[1] != 0) {
            return Err(breach(Rule::Ordered, case, detail));
        }
        if found.contains(&0) {
            return Err(breach(Rule::Durable, case, detail));
        }
        expect(&storage, &contents, Rule::Durable, case)
    }

    fn every_commit_survives(&mut self) -> Result<(), Breach> {
        let case = "a crash after each commit";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        for n in 1..=10 {
            let mut batch = numbered(n);
            if n > 2 {
                let removed = numbered(n - 2).changes;
                let removals = removed
                    .into_iter()
                    .map(|(table, key, _)| (table, key, None));
                batch.changes.extend(removals.skip(1));
            }
            commit(&mut storage, &batch, &mut contents, case)?;
            storage = (self.reopen)(storage);
            expect(&storage, &contents, Rule::Durable, case)?;
        }
        Ok(())
    }

    fn many_small_commits_survive(&mut self) -> Result<(), Breach> {
        let case = "many small commits before a crash";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        for n in 0..MANY_COMMITS {
            let table = Table::ALL[n as usize % Table::ALL.len()];
            let value = (n % 7 != 6).then(|| n.to_be_bytes().to_vec());
            let key = (n % 50).to_be_bytes().to_vec();
            let changes = vec![(table, key, value)];
            commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
        }
        expect(&storage, &contents, Rule::Scan, case)?;
        let storage = (self.reopen)(storage);
        expect(&storage, &contents, Rule::Durable, case)
    }

    fn a_large_batch_survives(&mut self) -> Result<(), Breach> {
        let case = "a large batch before a crash";
        let mut storage = (self.make)();
        let mut contents = Contents::default();
        let entry = |n: u32| {
            let table = Table::ALL[n as usize % Table::ALL.len()];
            let key = n.wrapping_mul(0x9e37_79b9).to_be_bytes().to_vec();
            (table, key, Some(vec![n as u8; 100]))
        };
        let changes = (0..MANY_CHANGES).map(entry).collect();
        commit(&mut storage, &WriteBatch { changes }, &mut contents, case)?;
        let storage = (self.reopen)(storage);
        let left = read(&storage, case)?;
        if left == contents {
            return Ok(());
        }
        let rule = match left.0.is_empty() {
            true => Rule::Durable,
            false => Rule::Atomic,
        };
        Err(breach(rule, case, left.differs_from(&contents)))
    }
}

fn put(key: &str, value: &str) -> Change {
    (Table::Cells, key.into(), Some(value.into()))
}

fn remove(key: &str) -> Change {
    (Table::Cells, key.into(), None)
}

/// A batch that changes one key common to all, and two keys of its own in each table.
fn numbered(n: u8) -> WriteBatch {
    let common = (Table::Cells, b"common".to_vec(), Some(vec![n]));
    let own = Table::ALL
        .into_iter()
        .flat_map(|table| [0, 1].map(|i| (table, vec![n, i], Some(vec![n, i, n]))));
    WriteBatch {
        changes: std::iter::once(common).chain(own).collect(),
    }
}

/// The changes of a numbered batch to keys of its own.
fn own_changes(batch: &WriteBatch) -> impl Iterator<Item = &Change> {
    batch.changes.iter().skip(1)
}

fn commit(
    storage: &mut impl Storage,
    batch: &WriteBatch,
    contents: &mut Contents,
    case: &'static str,
) -> Result<(), Breach> {
    contents.apply(batch);
    storage
        .commit(batch)
        .map_err(|error| breach(Rule::AnyBytes, case, error.to_string()))
}

/// Reads all tables, and checks the order of each.
fn read(storage: &impl Storage, case: &'static str) -> Result<Contents, Breach> {
    let mut contents = Contents::default();
    for table in Table::ALL {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let scanned = storage.scan(table, &mut |key, value| {
            contents.0.insert((table, key.to_vec()), value.to_vec());
            keys.push(key.to_vec());
            Ok(())
        });
        scanned.map_err(|error| breach(Rule::Scan, case, error.to_string()))?;
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] >= pair[1]) {
            let (first, second) = (shown(&pair[0]), shown(&pair[1]));
            let detail = format!("{table:?}: {first} came before {second}");
            return Err(breach(Rule::Scan, case, detail));
        }
    }
    Ok(contents)
}

fn expect(
    storage: &impl Storage,
    expected: &Contents,
    rule: Rule,
    case: &'static str,
) -> Result<(), Breach> {
    let found = read(storage, case)?;
    if found == *expected {
        return Ok(());
    }
    Err(breach(rule, case, found.differs_from(expected)))
}

const fn breach(rule: Rule, case: &'static str, detail: String) -> Breach {
    Breach { rule, case, detail }
}

fn collect(results: impl IntoIterator<Item = Result<(), Breach>>) -> Result<(), Breaches> {
    let breaches: Vec<Breach> = results.into_iter().filter_map(Result::err).collect();
    match breaches.is_empty() {
        true => Ok(()),
        false => Err(Breaches(breaches)),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Atomic => "S1 (atomic)",
            Self::Durable => "S2 (durable)",
            Self::Ordered => "S3 (ordered)",
            Self::FailedCommit => "S4 (failed commits)",
            Self::Scan => "S5 (scans)",
            Self::AnyBytes => "S6 (any bytes)",
            Self::Tables => "S7 (tables)",
        })
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule, self.case, self.detail)
    }
}

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, breach) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "; " };
            write!(f, "{comma}{breach}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
