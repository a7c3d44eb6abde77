//! The file under the engine, with a sync that can be left out and writes that can be held back.

use redb::{BackendError, StorageBackend};
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::hold::Hold;

/// Whether syncs reach the disk; shared by a store and its backend.
#[derive(Debug, Clone)]
pub(super) struct SyncSwitch(Arc<AtomicBool>);

impl SyncSwitch {
    pub(super) fn new(syncs: bool) -> Self {
        Self(Arc::new(AtomicBool::new(syncs)))
    }

    pub(super) fn set(&self, syncs: bool) {
        self.0.store(syncs, Ordering::Relaxed);
    }
}

/// A medium whose syncs do nothing while the switch is off, and which stays as it is while it is held.
#[derive(Debug)]
pub(super) struct SwitchedBackend<B> {
    pub(super) medium: Arc<B>,
    pub(super) switch: SyncSwitch,
    pub(super) hold: Hold,
}

impl<B: StorageBackend> StorageBackend for SwitchedBackend<B> {
    fn len(&self) -> io::Result<u64> {
        match self.hold.is_holding() {
            true => Ok(self.hold.length()),
            false => self.medium.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.hold.is_holding() {
            true => self.hold.read(&*self.medium, offset, out),
            false => self.medium.read(offset, out),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.hold.is_holding() {
            true => self.hold.set_length(len),
            false => self.medium.set_len(len)?,
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        match (
            self.hold.is_holding(),
            self.switch.0.load(Ordering::Relaxed),
        ) {
            (true, _) => self.hold.sync(),
            (false, true) => self.medium.sync_data()?,
            (false, false) => {}
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.hold.is_holding() {
            true => self.hold.write(offset, data),
            false => self.medium.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        self.medium.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.medium.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.query_lock_range(start, end)
    }
}
