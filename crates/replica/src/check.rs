//! Checkers of histories: what clients did and saw, whatever store they talked to.
//!
//! A [`History`] holds operations with the moments of their invocation and completion. It comes from a
//! simulation, a cluster in one process, or from processes that each write their part as JSON lines. All
//! moments of a history are read from one clock, or are steps of one total order.
//!
//! | checker | judges | by |
//! |---|---|---|
//! | [`sessions`] | read your writes, monotonic reads and writes, writes follow reads, causality across keys | versions of a last-writer-wins store |
//! | [`linearizability`] | single keys as registers | values alone |
//! | [`siblings`] | multi-value keys: nothing vanishes, comes back, or comes from nowhere; replicas converge | dots and contexts |
//!
//! An operation without completion has an unknown outcome: it may take effect at any later moment, or
//! never. An operation that certainly had no effect must not be in the history.
//!
//! Checkers never judge what they cannot know, so what they find is wrong; but writes of one key should have
//! values of their own, or less is found.
//!
//! ```
//! use replica::check::{Call, History, SessionId, linearizability};
//!
//! let mut history = History::default();
//! let read = |value: &'static str| Call::Read { value: Some(value.into()), version: None };
//! let write = Call::Write { value: Some("blue".into()), version: None };
//! let id = history.invoke(SessionId(1), None, "sky", write.clone(), 1);
//! history.complete(id, 4, write);
//! for (session, value, at) in [(2, "blue", 2), (3, "grey", 5)] {
//!     let id = history.invoke(SessionId(session), None, "sky", read(value), at);
//!     history.complete(id, at + 1, read(value));
//! }
//! let error = linearizability::check(&history).expect_err("grey was never written");
//! assert!(error.to_string().contains("session 3 read sky = \"grey\" at 5..6"));
//! ```

mod history;
pub mod linearizability;
pub mod sessions;
pub mod siblings;

pub use history::{
    Call, FinalState, HandOver, History, HistoryError, Operation, OperationId, SessionId, Sibling,
    Version, Witness,
};

use bytes::Bytes;
use std::fmt;

/// Everything that a checker found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violations<V>(pub Vec<V>);

impl<V> Violations<V> {
    fn none_in(found: Vec<V>) -> Result<(), Self> {
        match found.is_empty() {
            true => Ok(()),
            false => Err(Self(found)),
        }
    }
}

impl<V: fmt::Display> fmt::Display for Violations<V> {
    /// One line for each.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, violation) in self.0.iter().enumerate() {
            let end = if i == 0 { "" } else { "\n" };
            write!(f, "{end}{violation}")?;
        }
        Ok(())
    }
}

impl<V: fmt::Debug + fmt::Display> std::error::Error for Violations<V> {}

/// A value, or that there is none, readable.
fn shown(value: Option<&Bytes>) -> String {
    match value {
        Some(value) => format!("\"{}\"", value.escape_ascii()),
        None => "absent".to_owned(),
    }
}
