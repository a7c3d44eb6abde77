//! Storages that break one rule each.

use super::super::{MemoryStorage, Visitor};
use super::*;

/// How a storage is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    KeepsOldContents,
    IgnoresRemovals,
    FirstChangeWins,
    FailsOnEmptyBatches,
    ScansBackwards,
    ScansLongKeysLast,
    SkipsTheLastEntry,
    RepeatsAnEntry,
    LosesEmptyKeys,
    CutsLongValues,
    SwallowsTheVisitorsError,
    GoesOnAfterTheVisitorsError,
    ChangesTheVisitorsError,
    MixesTables,
    ForgetsATable,
    ShowsFailedCommits,
    StaysEmptyAfterFailure,
    ScansShortInsteadOfFailing,
}

#[derive(Debug, Clone)]
struct Flawed {
    flaw: Flaw,
    inner: MemoryStorage,
    commit_fails: bool,
    scans_fail: bool,
}

fn flawed(flaw: Flaw) -> Flawed {
    let mut storage = Flawed {
        flaw,
        inner: MemoryStorage::default(),
        commit_fails: false,
        scans_fail: false,
    };
    if flaw == Flaw::KeepsOldContents {
        let changes = vec![put("old", "1")];
        assert_eq!(storage.commit(&WriteBatch { changes }), Ok(()));
    }
    storage
}

impl Flawed {
    fn entries(&self, table: Table) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut entries = Vec::new();
        let scanned = self.inner.scan(table, &mut |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        assert_eq!(scanned, Ok(()));
        entries
    }
}

impl Storage for Flawed {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        let failed = StorageError::new("commit", "injected fault");
        let mut changes = batch.changes.clone();
        match self.flaw {
            Flaw::IgnoresRemovals => changes.retain(|(.., value)| value.is_some()),
            Flaw::FirstChangeWins => changes.reverse(),
            Flaw::FailsOnEmptyBatches if changes.is_empty() => return Err(failed),
            Flaw::LosesEmptyKeys => changes.retain(|(_, key, _)| !key.is_empty()),
            Flaw::CutsLongValues => {
                for (.., value) in &mut changes {
                    if let Some(value) = value {
                        value.truncate(1 << 20);
                    }
                }
            }
            Flaw::MixesTables => {
                for (table, ..) in &mut changes {
                    *table = Table::Cells;
                }
            }
            _ => {}
        }
        if std::mem::take(&mut self.commit_fails) {
            if self.flaw == Flaw::ShowsFailedCommits {
                self.inner.commit(&WriteBatch { changes })?;
            } else if self.flaw == Flaw::StaysEmptyAfterFailure {
                self.inner = MemoryStorage::default();
            }
            return Err(failed);
        }
        self.inner.commit(&WriteBatch { changes })
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        let mut entries = self.entries(table);
        match self.flaw {
            Flaw::ScansBackwards => entries.reverse(),
            Flaw::ScansLongKeysLast => entries.sort_by_key(|(key, _)| key.len()),
            Flaw::SkipsTheLastEntry => drop(entries.pop()),
            Flaw::RepeatsAnEntry => entries.extend(entries.last().cloned()),
            Flaw::ForgetsATable if table == Table::Log => entries.clear(),
            _ => {}
        }
        if self.scans_fail {
            let (key, value) = &entries[0];
            visit(key, value)?;
            return match self.flaw {
                Flaw::ScansShortInsteadOfFailing => Ok(()),
                _ => Err(StorageError::new("scan", "injected fault")),
            };
        }
        for (key, value) in entries {
            let visited = visit(&key, &value);
            match (self.flaw, visited) {
                (_, Ok(())) | (Flaw::GoesOnAfterTheVisitorsError, _) => {}
                (Flaw::SwallowsTheVisitorsError, _) => return Ok(()),
                (Flaw::ChangesTheVisitorsError, _) => {
                    return Err(StorageError::new("scan", "something failed"));
                }
                (_, Err(error)) => return Err(error),
            }
        }
        Ok(())
    }
}

#[test]
fn each_broken_storage_is_caught_by_the_rule_that_it_breaks() {
    let flaws = [
        (Flaw::KeepsOldContents, Rule::Scan),
        (Flaw::IgnoresRemovals, Rule::AnyBytes),
        (Flaw::FirstChangeWins, Rule::AnyBytes),
        (Flaw::FailsOnEmptyBatches, Rule::AnyBytes),
        (Flaw::ScansBackwards, Rule::Scan),
        (Flaw::ScansLongKeysLast, Rule::Scan),
        (Flaw::SkipsTheLastEntry, Rule::Scan),
        (Flaw::RepeatsAnEntry, Rule::Scan),
        (Flaw::LosesEmptyKeys, Rule::AnyBytes),
        (Flaw::CutsLongValues, Rule::AnyBytes),
        (Flaw::SwallowsTheVisitorsError, Rule::Scan),
        (Flaw::GoesOnAfterTheVisitorsError, Rule::Scan),
        (Flaw::ChangesTheVisitorsError, Rule::Scan),
        (Flaw::MixesTables, Rule::Tables),
        (Flaw::ForgetsATable, Rule::Tables),
    ];
    for (flaw, rule) in flaws {
        let breaches = check(|| flawed(flaw), |s| s).expect_err("the suite catches it");
        assert!(breaches.rules().contains(&rule), "{flaw:?}: {breaches}");
    }
}

#[test]
fn storages_that_break_when_they_fail_are_caught() {
    let fail = |storage: &mut Flawed| storage.commit_fails = true;
    for flaw in [Flaw::ShowsFailedCommits, Flaw::StaysEmptyAfterFailure] {
        let breaches = check_failed_commit(|| flawed(flaw), fail, |s| s);
        let breaches = breaches.expect_err("the suite catches it");
        assert_eq!(breaches.rules(), [Rule::FailedCommit], "{flaw:?}");
    }
    let never_fails = check_failed_commit(MemoryStorage::default, |_| (), |s| s);
    assert!(never_fails.is_err(), "the commit was to fail");

    let fail = |storage: &mut Flawed| storage.scans_fail = true;
    let breaches = check_failed_scan(|| flawed(Flaw::ScansShortInsteadOfFailing), fail);
    let breaches = breaches.expect_err("the suite catches it");
    assert_eq!(breaches.rules(), [Rule::Scan]);
    assert_eq!(
        check_failed_scan(|| flawed(Flaw::ScansBackwards), fail),
        Ok(())
    );
}

#[test]
fn breaches_read_well() {
    let breaches = check(|| flawed(Flaw::CutsLongValues), |s| s).expect_err("it is broken");
    assert_eq!(
        breaches.to_string(),
        "S6 (any bytes): empty, long and binary keys and values: 5 entries instead of 5; the first that \
         differs is Cells \"long value\" (10 bytes): \
         \"\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\" \
         (1048576 bytes) instead of \
         \"\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\\xa5\" \
         (3145728 bytes)"
    );
}
