//! When a request gives up, and when it asks again.

use super::pace::Pace;
use crate::Config;

/// When a request gives up, and when it asks again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    asked_ms: u64,
    pub(super) deadline_ms: u64,
    pub(super) resend_ms: u64,
    pub(super) resend_after_ms: u64,
}

impl Due {
    pub(super) fn new(now_ms: u64, config: &Config, pace: Pace, timeout_ms: Option<u64>) -> Self {
        let limit_ms = config.request_timeout_ms;
        let resend_after_ms = pace.resend_after_ms(config);
        Self {
            asked_ms: now_ms,
            deadline_ms: now_ms + timeout_ms.map_or(limit_ms, |ms| ms.min(limit_ms)),
            resend_ms: now_ms + resend_after_ms,
            resend_after_ms,
        }
    }

    /// How long it has taken by now.
    pub(super) const fn waited_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.asked_ms)
    }

    pub(super) fn next(&self) -> u64 {
        self.deadline_ms.min(self.resend_ms)
    }

    /// Whether it is time to ask again; the next time is twice as far off.
    pub(super) const fn take_resend(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.resend_ms;
        if due {
            self.resend_after_ms = self.resend_after_ms.saturating_mul(2);
            self.resend_ms = now_ms.saturating_add(self.resend_after_ms);
        }
        due
    }
}
