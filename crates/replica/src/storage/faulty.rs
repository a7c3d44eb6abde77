//! Storage that breaks as disks do, on command or from a seed.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{BTreeMap, VecDeque};

use super::{MemoryStorage, Storage, StorageError, Table, Visitor, WriteBatch};

/// How a commit fails. It returns an error in every case; the next crash shows what became of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// The batch is gone.
    Gone,
    /// All of the batch is there: the disk had it, and could not say so.
    Whole,
    /// The first so many changes of the batch are there. Breaks S1 if that is some of them and not all.
    Prefix(usize),
}

/// What a crash does to the commits that have not been flushed. All of them had returned `Ok`, except that
/// the last may have failed with [`CommitFault::Whole`] or [`CommitFault::Prefix`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrashFault {
    /// All of them survive, as the contract demands.
    #[default]
    Clean,
    /// The last so many are lost, as under a weak sync policy. Breaks S2.
    LoseTail(usize),
    /// Of the last one the first so many changes survive. Breaks S1.
    Tear(usize),
    /// The one so many places before the last is lost, and later ones survive. Breaks S3; with 0 it is the
    /// last one, as with `LoseTail(1)`.
    Skip(usize),
}

/// How often a fault is drawn, in thousandths: of commits, and of crashes. Those of one kind add up to 1000 at
/// most; the rest goes well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FaultRates {
    /// Commits that fail and are [gone](CommitFault::Gone).
    pub commit_gone: u16,
    /// Commits that fail and are [there](CommitFault::Whole) all the same.
    pub commit_whole: u16,
    /// Commits that fail and leave a [prefix](CommitFault::Prefix).
    pub commit_prefix: u16,
    /// Crashes that [lose a tail](CrashFault::LoseTail).
    pub lose_tail: u16,
    /// Crashes that [tear](CrashFault::Tear) the last commit.
    pub tear: u16,
    /// Crashes that [skip](CrashFault::Skip) a commit.
    pub skip: u16,
}

/// A storage with a volatile cache in front of another one: what a crash loses is lost from the cache.
///
/// Commits go into the cache, and scans show them. A [crash](Self::crash) hands to the storage below what
/// survives it, in order, and forgets the rest; then the storage counts as opened again. Without faults it
/// keeps the rules of [`Storage`]. After a failed commit it refuses further ones until it has crashed.
///
/// The cache holds at most [`CACHED_COMMITS`](Self::CACHED_COMMITS) commits; what is older is durable for
/// good. Dropping the value is a loss of the whole cache.
///
/// ```
/// use replica::storage::{CrashFault, FaultyStorage};
/// use replica::{MemoryStorage, Storage, Table, WriteBatch};
///
/// let mut disk = FaultyStorage::new(MemoryStorage::default())?;
/// for name in ["first", "second"] {
///     disk.commit(&WriteBatch { changes: vec![(Table::Meta, name.into(), Some(vec![1]))] })?;
/// }
/// disk.crash(CrashFault::LoseTail(1))?;
/// let mut left = Vec::new();
/// disk.scan(Table::Meta, &mut |key, _| Ok(left.push(key.to_vec())))?;
/// assert_eq!(left, [b"first"]);
/// # Ok::<(), replica::StorageError>(())
/// ```
#[derive(Debug)]
pub struct FaultyStorage<S = MemoryStorage> {
    durable: S,
    /// What scans show: all that was committed with `Ok`.
    volatile: MemoryStorage,
    /// Commits that the storage below does not have, oldest first.
    cached: VecDeque<WriteBatch>,
    /// By number of commit.
    script: BTreeMap<u64, CommitFault>,
    chance: Option<(ChaCha8Rng, FaultRates)>,
    commits: u64,
    has_failed: bool,
    scans_fail_after: Option<usize>,
}

impl<S: Storage> FaultyStorage<S> {
    /// The most commits that a crash can lose.
    pub const CACHED_COMMITS: usize = 64;

    /// A storage over `durable`, without faults.
    ///
    /// # Errors
    /// If `durable` cannot be read.
    pub fn new(durable: S) -> Result<Self, StorageError> {
        Ok(Self {
            volatile: copy(&durable)?,
            durable,
            cached: VecDeque::new(),
            script: BTreeMap::new(),
            chance: None,
            commits: 0,
            has_failed: false,
            scans_fail_after: None,
        })
    }

    /// Draws faults from `seed`: of commits, and of crashes by [`crash_at_random`](Self::crash_at_random).
    /// Equal seeds and equal calls give equal faults.
    #[must_use]
    pub fn with_seed(mut self, seed: u64, rates: FaultRates) -> Self {
        self.chance = Some((ChaCha8Rng::seed_from_u64(seed), rates));
        self
    }

    /// Fails the commits with these numbers; the first commit of all is number 1. The script goes before
    /// what is drawn.
    #[must_use]
    pub fn with_script(mut self, faults: impl IntoIterator<Item = (u64, CommitFault)>) -> Self {
        self.script.extend(faults);
        self
    }

    /// Commits so far, failed ones included.
    pub const fn commits(&self) -> u64 {
        self.commits
    }

    /// Commits that a crash may lose.
    pub fn cached(&self) -> usize {
        self.cached.len()
    }

    /// What would survive the loss of the whole cache.
    pub const fn durable(&self) -> &S {
        &self.durable
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&mut self, fault: CommitFault) {
        self.script.insert(self.commits + 1, fault);
    }

    /// Makes every scan fail after so many entries; `None` ends that.
    pub const fn fail_scans(&mut self, after: Option<usize>) {
        self.scans_fail_after = after;
    }

    /// From now on nothing fails by itself: the script and the seed are forgotten.
    pub fn heal(&mut self) {
        self.script.clear();
        (self.chance, self.scans_fail_after) = (None, None);
    }

    /// Makes all commits durable that returned `Ok`.
    ///
    /// # Errors
    /// If the storage below fails, or a commit has failed since the last crash.
    pub fn flush(&mut self) -> Result<(), StorageError> {
        if self.has_failed {
            return Err(refused("flush"));
        }
        while let Some(batch) = self.cached.pop_front() {
            self.durable.commit(&batch)?;
        }
        Ok(())
    }

    /// Crashes and opens again what is left.
    ///
    /// # Errors
    /// If the storage below fails.
    pub fn crash(&mut self, fault: CrashFault) -> Result<(), StorageError> {
        match fault {
            CrashFault::Clean => {}
            CrashFault::LoseTail(lost) => {
                self.cached.truncate(self.cached.len().saturating_sub(lost));
            }
            CrashFault::Tear(kept) => {
                if let Some(last) = self.cached.back_mut() {
                    last.changes.truncate(kept);
                }
            }
            CrashFault::Skip(before_last) => {
                if let Some(at) = self.cached.len().checked_sub(before_last + 1) {
                    self.cached.remove(at);
                }
            }
        }
        self.has_failed = false;
        self.flush()?;
        self.volatile = copy(&self.durable)?;
        Ok(())
    }

    /// Crashes with a fault drawn from the seed, a clean one without a seed, and says which it was.
    ///
    /// # Errors
    /// If the storage below fails.
    pub fn crash_at_random(&mut self) -> Result<CrashFault, StorageError> {
        let fault = self.draw_crash();
        self.crash(fault)?;
        Ok(fault)
    }

    fn draw_crash(&mut self) -> CrashFault {
        let (cached, changes) = (
            self.cached.len(),
            self.cached.back().map_or(0, |batch| batch.changes.len()),
        );
        let Some((rng, rates)) = &mut self.chance else {
            return CrashFault::Clean;
        };
        match drawn(rng, [rates.lose_tail, rates.tear, rates.skip]) {
            Some(0) => CrashFault::LoseTail(rng.random_range(0..=cached)),
            Some(1) => CrashFault::Tear(rng.random_range(0..=changes)),
            Some(_) => CrashFault::Skip(rng.random_range(0..=cached)),
            None => CrashFault::Clean,
        }
    }

    fn draw_commit(&mut self, changes: usize) -> Option<CommitFault> {
        let (rng, rates) = self.chance.as_mut()?;
        let rates = [rates.commit_gone, rates.commit_whole, rates.commit_prefix];
        Some(match drawn(rng, rates)? {
            0 => CommitFault::Gone,
            1 => CommitFault::Whole,
            _ => CommitFault::Prefix(rng.random_range(0..=changes)),
        })
    }
}

impl<S: Storage> Storage for FaultyStorage<S> {
    fn commit(&mut self, batch: &WriteBatch) -> Result<(), StorageError> {
        if self.has_failed {
            return Err(refused("commit"));
        }
        self.commits += 1;
        let drawn = self.draw_commit(batch.changes.len());
        if let Some(fault) = self.script.remove(&self.commits).or(drawn) {
            let kept = match fault {
                CommitFault::Gone => 0,
                CommitFault::Whole => batch.changes.len(),
                CommitFault::Prefix(kept) => kept.min(batch.changes.len()),
            };
            if kept > 0 {
                let changes = batch.changes[..kept].to_vec();
                self.cached.push_back(WriteBatch { changes });
            }
            self.has_failed = true;
            return Err(StorageError::new("commit", "injected fault"));
        }
        self.volatile.commit(batch)?;
        self.cached.push_back(batch.clone());
        if self.cached.len() > Self::CACHED_COMMITS {
            let oldest = self.cached.pop_front().unwrap_or_default();
            self.durable.commit(&oldest)?;
        }
        Ok(())
    }

    fn scan(&self, table: Table, visit: &mut Visitor<'_>) -> Result<(), StorageError> {
        let Some(limit) = self.scans_fail_after else {
            return self.volatile.scan(table, visit);
        };
        let failed = || StorageError::new("scan", "injected fault");
        let mut visited = 0;
        self.volatile.scan(table, &mut |key, value| {
            if visited == limit {
                return Err(failed());
            }
            visited += 1;
            visit(key, value)
        })?;
        Err(failed())
    }
}

/// What a storage holds.
fn copy(storage: &impl Storage) -> Result<MemoryStorage, StorageError> {
    let mut batch = WriteBatch::default();
    for table in Table::ALL {
        storage.scan(table, &mut |key, value| {
            batch
                .changes
                .push((table, key.to_vec(), Some(value.to_vec())));
            Ok(())
        })?;
    }
    let mut copy = MemoryStorage::default();
    copy.commit(&batch)?;
    Ok(copy)
}

fn refused(operation: &'static str) -> StorageError {
    StorageError::new(operation, "a commit failed before: the storage must crash")
}

/// Which of the faults happens, if any.
fn drawn(rng: &mut ChaCha8Rng, rates: [u16; 3]) -> Option<usize> {
    let mut draw = rng.random_range(0..1000_u32);
    rates.into_iter().position(|rate| {
        let hit = draw < u32::from(rate);
        draw = draw.saturating_sub(u32::from(rate));
        hit
    })
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, Breach, Rule};
    use super::*;

    fn faulty() -> FaultyStorage {
        FaultyStorage::new(MemoryStorage::default()).expect("memory is read")
    }

    fn reopened(mut storage: FaultyStorage, fault: CrashFault) -> FaultyStorage {
        storage.crash(fault).expect("memory takes everything");
        storage
    }

    fn put(names: &[&str]) -> WriteBatch {
        let entry = |name: &&str| (Table::Cells, name.as_bytes().to_vec(), Some(vec![7]));
        WriteBatch {
            changes: names.iter().map(entry).collect(),
        }
    }

    fn names(storage: &FaultyStorage) -> Vec<String> {
        let mut names = Vec::new();
        let scanned = storage.scan(Table::Cells, &mut |key, _| {
            names.push(String::from_utf8_lossy(key).into_owned());
            Ok(())
        });
        assert_eq!(scanned, Ok(()));
        names
    }

    /// The rules that a storage breaks which crashes in this way.
    fn broken_by(fault: CrashFault) -> Vec<Rule> {
        conformance::check(faulty, |s| reopened(s, fault))
            .expect_err("the suite catches it")
            .rules()
    }

    #[test]
    fn without_faults_it_keeps_the_rules_of_storage() {
        let reopen = |s| reopened(s, CrashFault::Clean);
        assert_eq!(conformance::check(faulty, reopen), Ok(()));
        for fault in [CommitFault::Gone, CommitFault::Whole] {
            let checked = conformance::check_failed_commit(
                faulty,
                |storage| storage.fail_next_commit(fault),
                reopen,
            );
            assert_eq!(checked, Ok(()), "{fault:?}");
        }
        for after in 0..3 {
            let fail = |storage: &mut FaultyStorage| storage.fail_scans(Some(after));
            assert_eq!(conformance::check_failed_scan(faulty, fail), Ok(()));
        }
    }

    #[test]
    fn the_suite_catches_torn_commits() {
        for kept in 1..3 {
            let reopen = |s| reopened(s, CrashFault::Tear(kept));
            let breaches = conformance::check(faulty, reopen).expect_err("the suite catches it");
            for case in ["batches before a crash", "a large batch before a crash"] {
                let is_case = |breach: &&Breach| breach.case == case;
                let rule = breaches.0.iter().find(is_case).map(|breach| breach.rule);
                assert_eq!(rule, Some(Rule::Atomic), "{case}: {breaches}");
            }
        }
        let left_over = conformance::check_failed_commit(
            faulty,
            |storage| storage.fail_next_commit(CommitFault::Prefix(2)),
            |s| reopened(s, CrashFault::Clean),
        );
        let breaches = left_over.expect_err("a failed commit left a part");
        assert_eq!(breaches.rules(), [Rule::FailedCommit]);
    }

    #[test]
    fn the_suite_catches_lost_tails() {
        for lost in [1, 2, 1000] {
            let rules = broken_by(CrashFault::LoseTail(lost));
            assert!(rules.contains(&Rule::Durable), "{lost}: {rules:?}");
            assert!(!rules.contains(&Rule::Atomic), "{lost}: {rules:?}");
            assert!(!rules.contains(&Rule::Ordered), "{lost}: {rules:?}");
        }
    }

    #[test]
    fn the_suite_catches_reordered_writes() {
        for before_last in 1..4 {
            let rules = broken_by(CrashFault::Skip(before_last));
            assert!(rules.contains(&Rule::Ordered), "{before_last}: {rules:?}");
            assert!(!rules.contains(&Rule::Atomic), "{before_last}: {rules:?}");
        }
    }

    #[test]
    fn a_failed_commit_does_not_show_and_nothing_follows_it_before_a_crash() {
        let left = [
            (CommitFault::Gone, vec!["a"]),
            (CommitFault::Prefix(1), vec!["a", "b"]),
            (CommitFault::Whole, vec!["a", "b", "c"]),
        ];
        for (fault, expected) in left {
            let mut storage = faulty().with_script([(2, fault)]);
            assert_eq!(storage.commit(&put(&["a"])), Ok(()));
            assert!(storage.commit(&put(&["b", "c"])).is_err());
            assert!(storage.commit(&put(&["d"])).is_err());
            assert!(storage.flush().is_err());
            assert_eq!(names(&storage), ["a"]);
            let mut storage = reopened(storage, CrashFault::Clean);
            assert_eq!(names(&storage), expected, "{fault:?}");
            assert_eq!(storage.commit(&put(&["d"])), Ok(()));
        }
    }

    #[test]
    fn a_healed_storage_fails_no_more() {
        let rates = FaultRates {
            commit_gone: 1000,
            lose_tail: 1000,
            ..FaultRates::default()
        };
        let mut storage = faulty()
            .with_seed(1, rates)
            .with_script([(2, CommitFault::Gone)]);
        storage.fail_scans(Some(0));
        storage.heal();
        for name in ["a", "b"] {
            assert_eq!(storage.commit(&put(&[name])), Ok(()));
        }
        assert_eq!(storage.crash_at_random(), Ok(CrashFault::Clean));
        assert_eq!(names(&storage), ["a", "b"]);
    }

    #[test]
    fn what_has_left_the_cache_is_durable() {
        let mut storage = faulty();
        let all: Vec<String> = (100..200).map(|n| n.to_string()).collect();
        for name in &all {
            assert_eq!(storage.commit(&put(&[name])), Ok(()));
        }
        assert_eq!(
            storage.cached(),
            FaultyStorage::<MemoryStorage>::CACHED_COMMITS
        );
        let storage = reopened(storage, CrashFault::LoseTail(usize::MAX));
        assert_eq!(names(&storage), all[..36]);
        let mut storage = faulty();
        assert_eq!(storage.commit(&put(&["a"])), Ok(()));
        assert_eq!(storage.flush(), Ok(()));
        assert_eq!(names(&reopened(storage, CrashFault::LoseTail(1))), ["a"]);
    }

    #[test]
    fn equal_seeds_give_equal_faults_and_every_kind_is_drawn() {
        let rates = FaultRates {
            commit_gone: 100,
            commit_whole: 100,
            commit_prefix: 100,
            lose_tail: 250,
            tear: 250,
            skip: 250,
        };
        let run = |seed| {
            let mut storage = faulty().with_seed(seed, rates);
            let mut trace = Vec::new();
            for round in 0..200 {
                let name = round.to_string();
                let committed = storage.commit(&put(&[&name, "x", "y"])).is_ok();
                let crash = (!committed || round % 3 == 0)
                    .then(|| storage.crash_at_random().expect("memory takes everything"));
                trace.push((committed, crash, names(&storage).len()));
            }
            trace
        };
        let trace = run(1);
        assert_eq!(trace, run(1));
        assert_ne!(trace, run(2));
        let kinds = [
            |fault: CrashFault| fault == CrashFault::Clean,
            |fault| matches!(fault, CrashFault::LoseTail(_)),
            |fault| matches!(fault, CrashFault::Tear(_)),
            |fault| matches!(fault, CrashFault::Skip(_)),
        ];
        for kind in kinds {
            assert!(trace.iter().any(|(_, crash, _)| crash.is_some_and(kind)));
        }
        assert!(trace.iter().any(|(committed, ..)| !committed));
    }
}
