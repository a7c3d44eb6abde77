//! Messages that wait, bounded by their number and their bytes.

use std::collections::VecDeque;

use super::limits::{Limits, UpdateError};

/// Messages that wait, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether there is room for another message of this size; `what` says what messages wait for.
    pub(super) fn check_room(
        &self,
        size: usize,
        limits: &Limits,
        what: &'static str,
    ) -> Result<(), UpdateError> {
        let messages = self.messages.len() + 1;
        let bytes = self.bytes.saturating_add(size);
        let (max_messages, max_bytes) = (limits.max_queued_messages, limits.max_queued_bytes);
        if messages <= max_messages && bytes <= max_bytes {
            return Ok(());
        }
        Err(UpdateError::Overloaded {
            what,
            messages,
            bytes,
            max_messages,
            max_bytes,
        })
    }

    pub(super) fn push(&mut self, message: Vec<u8>) {
        self.bytes += message.len();
        self.messages.push_back(message);
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.len();
        Some(message)
    }

    pub(super) fn take(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(self).messages.into()
    }
}
