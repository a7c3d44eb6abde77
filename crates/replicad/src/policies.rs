//! The policies of a node's two spaces, and how what clients ask is said to each.

mod counter;
mod strings;
mod types;

use crdt::CausalContext;
use replica::{Command, Floor, Outcome, Policy, Request};
use std::sync::Arc;

use crate::store::{ConflictPolicy, Contents, Operation, Space, StoreAnswer, StoreRequest};

pub use counter::{Count, Counter};
pub use types::{MAX_SET_BYTES, MEMBER_BYTES, StoredRecord, TypedWrite, Types};
pub(crate) use types::{counter_of, new_and_present};

/// A conflict policy of `replica` as one space of a store: what an operation means to it, and what its
/// outcome means to a client.
pub trait StorePolicy: Policy {
    /// The space that it is for.
    const SPACE: Space;

    /// The write that an operation asks for; `None` for a read.
    fn write(operation: Operation) -> Option<Self::Write>;

    /// The answer to a read.
    fn read_answer(cell: Self::Cell, seen: Floor, stable: Arc<CausalContext>) -> StoreAnswer;

    /// What a key with this cell holds.
    fn contents(cell: &Self::Cell) -> Contents;

    /// The request as the protocol has it.
    fn request(request: StoreRequest) -> Request<Self::Write> {
        let StoreRequest {
            key,
            operation,
            level,
            floor,
            context,
            timeout_ms,
            share: _,
        } = request;
        debug_assert_eq!(
            operation.space(),
            Self::SPACE,
            "of another space: {operation:?}"
        );
        let command = match Self::write(operation) {
            Some(write) => Command::Write {
                key,
                write,
                context,
            },
            None => Command::get(key),
        };
        let mut request = Request::new(command, level).after(floor);
        request.timeout_ms = timeout_ms;
        request
    }

    /// The outcome as a client is told it.
    fn answer(outcome: Outcome<Self::Cell>) -> StoreAnswer {
        match outcome {
            Outcome::Read {
                cell, seen, stable, ..
            } => Self::read_answer(cell, seen, stable),
            Outcome::Written {
                timestamp,
                seen,
                stable,
                took_effect,
                acknowledged,
                ..
            } => StoreAnswer::Written {
                took_effect,
                timestamp: Self::BY_TIME.then_some(timestamp),
                acknowledged,
                seen,
                stable,
                effect: None,
            },
            _ => unreachable!("there are two outcomes"),
        }
    }
}

/// A policy for the strings of a store.
pub trait StringPolicy: StorePolicy {
    /// Whether this is the one that a store with this setting uses.
    fn serves(conflict: ConflictPolicy) -> bool;
}

fn string_contents(is_visible: bool) -> Contents {
    Contents {
        string: is_visible,
        ..Contents::default()
    }
}
