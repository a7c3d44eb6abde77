//! The history of client operations, and what must be true of it.

use bytes::Bytes;
use std::collections::BTreeMap;

use crate::NodeId;

/// One operation of a client, with the moments at which it was invoked and completed. Moments are
/// steps of one total order of events, not times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// The node that was asked.
    pub node: NodeId,
    /// The key.
    pub key: Bytes,
    /// What was done.
    pub action: Action,
    /// When it was invoked.
    pub invoked: u64,
    /// When it succeeded; `None` if it has not, or failed with its effect unknown.
    pub completed: Option<u64>,
}

/// What an operation does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A write, or with `None` a delete.
    Write(Option<Bytes>),
    /// A read at level `Quorum`, and what it returned.
    Read(Option<Bytes>),
}

/// A recorded history, from any driver.
///
/// It satisfies what level `Quorum` promises if every read returns a value that was written, by a write
/// that had started before the read ended, and that no other write had replaced: none that was
/// invoked after that write was acknowledged and acknowledged before the read was invoked. So no
/// acknowledged write is lost, and no deleted value comes back. A write that failed with its effect
/// unknown may take effect at any later moment.
#[derive(Debug, Clone, Default)]
pub struct History {
    operations: Vec<Operation>,
    clock: u64,
}

impl History {
    /// The next moment.
    pub fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Adds an operation. A write that certainly had no effect must not be added.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// The operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Adds what a node shows after all is quiet: a read after everything else.
    pub fn push_final_read(&mut self, node: NodeId, key: Bytes, value: Option<Bytes>) {
        let (invoked, completed) = (self.tick(), Some(self.tick()));
        self.push(Operation {
            node,
            key,
            action: Action::Read(value),
            invoked,
            completed,
        });
    }

    /// Checks every read.
    ///
    /// # Errors
    /// One line for each read that the writes do not allow.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut by_key: BTreeMap<&Bytes, Vec<&Operation>> = BTreeMap::new();
        for operation in &self.operations {
            by_key.entry(&operation.key).or_default().push(operation);
        }
        let violations: Vec<String> = by_key.values().flat_map(|ops| check_key(ops)).collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }
}

fn check_key(operations: &[&Operation]) -> Vec<String> {
    let mut violations = Vec::new();
    for read in operations {
        let (Action::Read(value), Some(completed)) = (&read.action, read.completed) else {
            continue;
        };
        // Whether a write acknowledged at `end` was replaced before the read was invoked.
        let replaced = |end: u64| {
            operations.iter().any(|write| {
                matches!(write.action, Action::Write(_))
                    && write.invoked > end
                    && write.completed.is_some_and(|done| done < read.invoked)
            })
        };
        let mut candidates = operations.iter().filter(|write| {
            matches!(&write.action, Action::Write(written) if written == value)
                && write.invoked < completed
        });
        let by_a_write = candidates.any(|write| write.completed.is_none_or(|end| !replaced(end)));
        let initially_absent = value.is_none() && !replaced(0);
        if !by_a_write && !initially_absent {
            violations.push(format!(
                "a read of {:?} through {} at {}..{completed} returned {value:?}, which acknowledged \
                 writes had replaced, or which was never written",
                read.key, read.node, read.invoked,
            ));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(action: Action, invoked: u64, completed: Option<u64>) -> Operation {
        let (node, key) = (NodeId(1), Bytes::from_static(b"k"));
        Operation {
            node,
            key,
            action,
            invoked,
            completed,
        }
    }

    fn write(value: Option<&'static str>, invoked: u64, completed: Option<u64>) -> Operation {
        operation(
            Action::Write(value.map(|v| Bytes::from_static(v.as_bytes()))),
            invoked,
            completed,
        )
    }

    fn read(value: Option<&'static str>, invoked: u64, completed: u64) -> Operation {
        let value = value.map(|v| Bytes::from_static(v.as_bytes()));
        operation(Action::Read(value), invoked, Some(completed))
    }

    fn is_allowed(operations: &[Operation]) -> bool {
        let mut history = History::default();
        operations.iter().for_each(|op| history.push(op.clone()));
        history.check().is_ok()
    }

    #[test]
    fn a_lost_write_is_found() {
        assert!(!is_allowed(&[
            write(Some("a"), 1, Some(2)),
            read(None, 3, 4)
        ]));
        assert!(is_allowed(&[
            write(Some("a"), 1, Some(2)),
            read(Some("a"), 3, 4)
        ]));
        assert!(
            is_allowed(&[write(Some("a"), 1, Some(4)), read(None, 2, 3)]),
            "still in flight"
        );
    }

    #[test]
    fn a_deleted_value_that_comes_back_is_found() {
        let put_and_delete = [write(Some("a"), 1, Some(2)), write(None, 3, Some(4))];
        let with = |op| [put_and_delete.to_vec(), vec![op]].concat();
        assert!(!is_allowed(&with(read(Some("a"), 5, 6))));
        assert!(is_allowed(&with(read(None, 5, 6))));
    }

    #[test]
    fn an_older_write_must_not_win_but_concurrent_ones_may() {
        let sequence = [write(Some("a"), 1, Some(2)), write(Some("b"), 3, Some(4))];
        assert!(!is_allowed(
            &[sequence.to_vec(), vec![read(Some("a"), 5, 6)]].concat()
        ));
        let concurrent = [write(Some("a"), 1, Some(4)), write(Some("b"), 2, Some(3))];
        for value in ["a", "b"] {
            assert!(is_allowed(
                &[concurrent.to_vec(), vec![read(Some(value), 5, 6)]].concat()
            ));
        }
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_but_nothing_comes_from_nowhere() {
        let unknown = [write(Some("a"), 1, None), write(Some("b"), 2, Some(3))];
        assert!(is_allowed(
            &[unknown.to_vec(), vec![read(Some("a"), 5, 6)]].concat()
        ));
        assert!(!is_allowed(&[read(Some("x"), 5, 6)]));
        assert!(
            !is_allowed(&[write(Some("x"), 7, Some(8)), read(Some("x"), 5, 6)]),
            "from the future"
        );
    }
}
