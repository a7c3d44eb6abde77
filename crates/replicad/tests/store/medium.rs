//! A medium that keeps only what was synced, and that can be full, refuse, and be altered.

use redb::StorageBackend;
use std::io;
use std::sync::{Arc, Mutex};

/// A medium with a volatile cache: writes reach what survives only when they are synced.
#[derive(Debug, Clone, Default)]
pub(crate) struct Medium {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    volatile: Vec<u8>,
    /// What is left after the power was cut.
    synced: Vec<u8>,
    /// Whether the medium refuses to sync.
    fails: bool,
    /// Bytes beyond which the medium refuses to grow.
    capacity: Option<usize>,
    /// Syncs so far.
    syncs: u64,
}

impl Medium {
    /// A medium that holds these bytes.
    pub(crate) fn holding(bytes: &[u8]) -> Self {
        let medium = Self::default();
        let mut state = medium.state.lock().expect("not poisoned");
        (state.volatile, state.synced) = (bytes.to_vec(), bytes.to_vec());
        drop(state);
        medium
    }

    /// What a reader sees.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.state.lock().expect("not poisoned").volatile.clone()
    }

    /// Lets the medium grow by so many bytes and no more; `None` lifts the limit.
    pub(crate) fn limit(&self, more: Option<usize>) {
        let mut state = self.state.lock().expect("not poisoned");
        state.capacity = more.map(|more| state.volatile.len() + more);
    }

    /// Syncs so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.state.lock().expect("not poisoned").syncs
    }

    /// Makes every sync fail from now on.
    pub(crate) fn fail(&self) {
        self.state.lock().expect("not poisoned").fails = true;
    }

    /// The medium as it is after the power was cut now.
    pub(crate) fn after_power_loss(&self) -> Self {
        let synced = self.state.lock().expect("not poisoned").synced.clone();
        let state = State {
            volatile: synced.clone(),
            synced,
            ..State::default()
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().expect("not poisoned").volatile.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let state = self.state.lock().expect("not poisoned");
        let end = start + out.len();
        let source = state
            .volatile
            .get(start..end)
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(source);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut state = self.state.lock().expect("not poisoned");
        if state.capacity.is_some_and(|capacity| len > capacity) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.volatile.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.state.lock().expect("not poisoned");
        if state.fails {
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.syncs += 1;
        state.synced = state.volatile.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let mut state = self.state.lock().expect("not poisoned");
        let target = state.volatile.get_mut(start..start + data.len());
        target
            .ok_or(io::ErrorKind::UnexpectedEof)?
            .copy_from_slice(data);
        Ok(())
    }
}

#[test]
fn the_test_medium_does_lose_what_is_not_synced() {
    let medium = Medium::default();
    medium.set_len(4).expect("resized");
    medium.write(0, b"lost").expect("written");
    assert_eq!(medium.after_power_loss().len().expect("a length"), 0);
    medium.sync_data().expect("synced");
    assert_eq!(medium.after_power_loss().bytes(), b"lost");
}
