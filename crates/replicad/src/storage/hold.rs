//! Writes that wait until a file has proved sound.
//!
//! The engine writes to a file as soon as it opens it: that it is open, and what it makes of damage. Until every page has been
//! checked these writes stay in memory, so that a damaged file is left as it was found.

use redb::StorageBackend;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most bytes that are held. The engine writes a page or two to a sound file; to a damaged one what it believes to be
/// free, and that is not to be kept anyway.
const MAX_HELD_BYTES: usize = 64 << 20;

/// What the engine did to the medium, in order.
#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
    bytes: usize,
}

/// Whether writes are held, and those that are; shared by a store and its backend.
#[derive(Clone)]
pub(super) struct Hold {
    is_holding: Arc<AtomicBool>,
    /// Bytes of the medium as it was found.
    found: u64,
    steps: Arc<Mutex<Steps>>,
}

impl Hold {
    /// Holds from now on what is done to a medium of so many bytes.
    pub(super) fn new(found: u64) -> Self {
        Self {
            is_holding: Arc::new(AtomicBool::new(true)),
            found,
            steps: Arc::default(),
        }
    }

    /// Whether what is done to the medium has to pass through here.
    pub(super) fn is_holding(&self) -> bool {
        self.is_holding.load(Ordering::Acquire)
    }

    /// Does to the medium what was held, and holds nothing more. After an error it goes on holding.
    pub(super) fn release(&self, medium: &impl StorageBackend) -> io::Result<()> {
        let mut held = self.steps();
        for step in &held.steps {
            match step {
                Step::Write(offset, data) => medium.write(*offset, data)?,
                Step::Length(length) => medium.set_len(*length)?,
                Step::Sync => medium.sync_data()?,
            }
        }
        *held = Steps::default();
        self.is_holding.store(false, Ordering::Release);
        Ok(())
    }

    /// The length of the medium as the engine has left it.
    pub(super) fn length(&self) -> u64 {
        let held = self.steps();
        let resized = held.steps.iter().rev().find_map(|step| match step {
            Step::Length(length) => Some(*length),
            _ => None,
        });
        resized.unwrap_or(self.found)
    }

    pub(super) fn set_length(&self, length: u64) {
        self.steps().steps.push(Step::Length(length));
    }

    pub(super) fn sync(&self) {
        self.steps().steps.push(Step::Sync);
    }

    pub(super) fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut held = self.steps();
        if held.bytes + data.len() > MAX_HELD_BYTES {
            let why = "the engine writes much to a file that is only being opened";
            return Err(io::Error::other(why));
        }
        held.bytes += data.len();
        held.steps.push(Step::Write(offset, data.to_vec()));
        Ok(())
    }

    /// What the engine would read if nothing were held.
    pub(super) fn read(
        &self,
        medium: &impl StorageBackend,
        offset: u64,
        out: &mut [u8],
    ) -> io::Result<()> {
        if offset + out.len() as u64 > self.length() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let there = within(offset, out.len(), 0, self.found);
        out[there.end..].fill(0);
        if !there.is_empty() {
            medium.read(offset, &mut out[there])?;
        }
        for step in &self.steps().steps {
            match step {
                Step::Write(start, data) => {
                    let range = within(offset, out.len(), *start, start + data.len() as u64);
                    if !range.is_empty() {
                        let from = (offset + range.start as u64 - start) as usize;
                        out[range.clone()].copy_from_slice(&data[from..from + range.len()]);
                    }
                }
                // What is beyond a cut is gone, also if the medium grows again.
                Step::Length(length) => {
                    let range = within(offset, out.len(), *length, u64::MAX);
                    out[range].fill(0);
                }
                Step::Sync => {}
            }
        }
        Ok(())
    }

    fn steps(&self) -> MutexGuard<'_, Steps> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of `length` bytes at `offset` that lies from `start` to `end`, as positions among these bytes.
fn within(offset: u64, length: usize, start: u64, end: u64) -> std::ops::Range<usize> {
    let place = |at: u64| usize::try_from(at.saturating_sub(offset)).unwrap_or(length);
    let (start, end) = (place(start).min(length), place(end).min(length));
    start..end.max(start)
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hold")
            .field("is_holding", &self.is_holding)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::backends::InMemoryBackend;

    fn read(hold: &Hold, medium: &InMemoryBackend, offset: u64, length: usize) -> Vec<u8> {
        let mut out = vec![0xff; length];
        hold.read(medium, offset, &mut out).expect("it is there");
        out
    }

    #[test]
    fn what_is_held_is_read_and_reaches_the_medium_when_it_is_released() {
        let medium = InMemoryBackend::new();
        medium.set_len(6).expect("resized");
        medium.write(0, b"abcdef").expect("written");
        let hold = Hold::new(6);
        hold.write(1, b"BC").expect("held");
        hold.set_length(4);
        hold.sync();
        hold.set_length(8);
        hold.write(6, b"gh").expect("held");
        assert_eq!(hold.length(), 8);
        let seen = *b"aBCd\0\0gh";
        for (start, end) in [(0, 8), (0, 2), (2, 3), (3, 7), (8, 8)] {
            let found = read(&hold, &medium, start as u64, end - start);
            assert_eq!(found, seen[start..end], "{start}..{end}");
        }
        assert!(hold.read(&medium, 7, &mut [0; 2]).is_err(), "beyond it");
        let mut before = [0; 6];
        medium.read(0, &mut before).expect("read");
        assert_eq!(&before, b"abcdef", "nothing has reached it");
        hold.release(&medium).expect("released");
        assert!(!hold.is_holding());
        let mut after = [0; 8];
        medium.read(0, &mut after).expect("read");
        assert_eq!(after, seen);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let hold = Hold::new(0);
        let half = vec![0; MAX_HELD_BYTES / 2];
        assert!(hold.write(0, &half).is_ok() && hold.write(0, &half).is_ok());
        assert!(hold.write(0, b"x").is_err());
    }
}
