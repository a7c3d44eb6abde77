//! How long answers take, so that nothing is sent again that is only waiting its turn.
//!
//! A node or a network that has much to do answers late. Sending everything again after a fixed time would then
//! double the work, and make answers later still. As in TCP the time until a message is sent again follows the
//! time that answers take.

use crate::Config;

/// A sample counts for one part in this many.
const WEIGHT: u64 = 8;

/// A message is sent again after this many times what answers take.
const FACTOR: u64 = 4;

/// The usual time from a request to its answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// In parts of a millisecond, [`WEIGHT`] of them.
    usual: u64,
}

impl Pace {
    /// A request was answered that had waited so long.
    pub(super) const fn note(&mut self, waited_ms: u64) {
        self.usual = (self.usual - self.usual / WEIGHT).saturating_add(waited_ms);
    }

    /// When to send again what was not answered: not before the time that is configured, and so that there is time
    /// for a second answer before the request is given up.
    pub(super) fn resend_after_ms(self, config: &Config) -> u64 {
        let wanted = (self.usual / WEIGHT).saturating_mul(FACTOR);
        wanted
            .min(config.request_timeout_ms / FACTOR)
            .max(config.resend_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeId;

    #[test]
    fn what_is_answered_late_is_sent_again_late_but_in_time() {
        let config = Config::new(NodeId(1), 3);
        let mut pace = Pace::default();
        assert_eq!(pace.resend_after_ms(&config), config.resend_ms);
        (0..100).for_each(|_| pace.note(10));
        assert_eq!(pace.resend_after_ms(&config), config.resend_ms);
        (0..100).for_each(|_| pace.note(150));
        let slow = pace.resend_after_ms(&config);
        assert!((500..=600).contains(&slow), "{slow}");
        (0..100).for_each(|_| pace.note(4_000));
        let most = config.request_timeout_ms / 4;
        assert_eq!(pace.resend_after_ms(&config), most);
        (0..100).for_each(|_| pace.note(1));
        assert_eq!(pace.resend_after_ms(&config), config.resend_ms);
    }
}
