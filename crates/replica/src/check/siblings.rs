//! Whether a multi-value store keeps every write that nothing has replaced.
//!
//! Only [`Call::WriteSibling`], [`Call::ReadSiblings`] and [`FinalState`] count, key by key. A write replaces
//! the events of its key that its writer had seen; a delete replaces them and writes nothing. Then
//!
//! - what was read had been written, under that event;
//! - an acknowledged write is there in every later read, or something that replaces it is: a value in the
//!   same read, an acknowledged write, or a delete that had started;
//! - nothing comes back: what an acknowledged write has replaced is not read later, and no read shows a
//!   value beside another that replaces it;
//! - nodes that are quiet show the same.
//!
//! Reads have to be such that see every acknowledged write; those at weaker levels must not be in the history.
//! A write of unknown outcome may be read at any time after its invocation, or never. A write whose event the
//! store did not say is known by its value from the first read that shows it.

use bytes::Bytes;
use crdt::{CausalContext, Dot};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Call, FinalState, History, Operation, OperationId, Sibling, Violations, Witness};

/// Something that shows all values of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A read.
    Read(Witness),
    /// A node at the end, after all operations.
    Final(FinalState),
}

/// What a history shows that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// An acknowledged write is not there, and nothing that was done explains it.
    Vanished {
        /// The write.
        write: Witness,
        /// Where it is missing.
        missing_in: Observation,
    },
    /// A value is shown although something has replaced it.
    Replaced {
        /// Where it is shown.
        shown_in: Observation,
        /// The value.
        sibling: Sibling,
        /// What has replaced it.
        by: Witness,
    },
    /// A value is shown that nobody had begun to write, or under an event that is not its own.
    NeverWritten {
        /// Where it is shown.
        shown_in: Observation,
        /// The value.
        sibling: Sibling,
    },
    /// An event is shown twice at once.
    Repeated {
        /// Where it is shown.
        shown_in: Observation,
        /// The event.
        dot: Dot,
    },
    /// Two writes have one event.
    SameDot {
        /// One.
        first: Witness,
        /// The other.
        second: Witness,
    },
    /// Two nodes show different values at the end.
    Diverged {
        /// One.
        first: FinalState,
        /// The other.
        second: FinalState,
    },
}

/// Checks every key.
///
/// # Errors
/// Everything that must not be.
pub fn check(history: &History) -> Result<(), Violations<Violation>> {
    let mut keys: BTreeMap<&Bytes, Key<'_>> = BTreeMap::new();
    for (id, operation) in history.operations() {
        let key = keys.entry(&operation.key).or_default();
        key.note(id, operation);
    }
    for state in history.finals() {
        let key = keys.entry(&state.key).or_default();
        key.finals.push(state);
        key.views.push(View {
            of: Of::Final(state),
            invoked: u64::MAX,
            completed: u64::MAX,
            siblings: &state.siblings,
        });
    }
    let found = keys.into_values().flat_map(Key::check);
    Violations::none_in(found.collect())
}

#[derive(Debug, Clone, Copy)]
struct Written<'a> {
    id: OperationId,
    operation: &'a Operation,
    value: Option<&'a Bytes>,
    seen: &'a CausalContext,
    /// As the store said, or as reads have shown.
    dot: Option<Dot>,
}

impl Written<'_> {
    fn is_acknowledged_before(&self, moment: u64) -> bool {
        self.operation.completed.is_some_and(|at| at < moment)
    }

    fn replaces(&self, dot: Dot) -> bool {
        self.seen.contains(dot) && self.dot != Some(dot)
    }

    fn witness(&self) -> Witness {
        Witness::new(self.id, self.operation)
    }
}

#[derive(Debug, Clone, Copy)]
enum Of<'a> {
    Read(OperationId, &'a Operation),
    Final(&'a FinalState),
}

/// All values of a key at some moment.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    of: Of<'a>,
    invoked: u64,
    completed: u64,
    siblings: &'a [Sibling],
}

impl View<'_> {
    fn shows(&self, dot: Option<Dot>) -> bool {
        self.siblings.iter().any(|sibling| Some(sibling.dot) == dot)
    }

    fn observation(&self) -> Observation {
        match self.of {
            Of::Read(id, operation) => Observation::Read(Witness::new(id, operation)),
            Of::Final(state) => Observation::Final(state.clone()),
        }
    }
}

#[derive(Debug, Default)]
struct Key<'a> {
    writes: Vec<Written<'a>>,
    views: Vec<View<'a>>,
    finals: Vec<&'a FinalState>,
    found: Vec<Violation>,
}

impl<'a> Key<'a> {
    fn note(&mut self, id: OperationId, operation: &'a Operation) {
        match (&operation.call, operation.completed) {
            (Call::WriteSibling { value, seen, dot }, _) => self.writes.push(Written {
                id,
                operation,
                value: value.as_ref(),
                seen,
                dot: *dot,
            }),
            (Call::ReadSiblings { siblings }, Some(completed)) => self.views.push(View {
                of: Of::Read(id, operation),
                invoked: operation.invoked,
                completed,
                siblings,
            }),
            _ => {}
        }
    }

    fn check(mut self) -> Vec<Violation> {
        self.check_dots();
        self.views.sort_by_key(|view| view.completed);
        let views = std::mem::take(&mut self.views);
        for view in &views {
            self.find_origins(view);
        }
        for view in &views {
            self.check_replaced(view);
            self.check_vanished(view);
        }
        self.check_converged();
        self.found
    }

    /// No two writes have one event.
    fn check_dots(&mut self) {
        let mut seen: BTreeMap<Dot, &Written<'_>> = BTreeMap::new();
        for write in &self.writes {
            let first = write.dot.and_then(|dot| seen.insert(dot, write));
            self.found.extend(first.map(|first| Violation::SameDot {
                first: first.witness(),
                second: write.witness(),
            }));
        }
    }

    /// Finds who wrote what is shown, and learns the events of writes that had none yet.
    fn find_origins(&mut self, view: &View<'_>) {
        let mut dots = BTreeSet::new();
        for sibling in view.siblings {
            if !dots.insert(sibling.dot) {
                self.found.push(Violation::Repeated {
                    shown_in: view.observation(),
                    dot: sibling.dot,
                });
            }
            let fits = |write: &Written<'_>| {
                write.value == Some(&sibling.value) && write.operation.invoked <= view.completed
            };
            let own = |write: &&mut Written<'_>| write.dot == Some(sibling.dot);
            let is_written = match self.writes.iter_mut().find(own) {
                Some(write) => fits(write),
                None => {
                    let mut nameless = self.writes.iter_mut().filter(|write| write.dot.is_none());
                    let write = nameless.find(|write| fits(write));
                    write.map(|write| write.dot = Some(sibling.dot)).is_some()
                }
            };
            if !is_written {
                self.found.push(Violation::NeverWritten {
                    shown_in: view.observation(),
                    sibling: sibling.clone(),
                });
            }
        }
    }

    fn check_replaced(&mut self, view: &View<'_>) {
        for sibling in view.siblings {
            let by = self.writes.iter().find(|write| {
                let has_happened =
                    write.is_acknowledged_before(view.invoked) || view.shows(write.dot);
                has_happened && write.replaces(sibling.dot)
            });
            self.found.extend(by.map(|by| Violation::Replaced {
                shown_in: view.observation(),
                sibling: sibling.clone(),
                by: by.witness(),
            }));
        }
    }

    fn check_vanished(&mut self, view: &View<'_>) {
        for (i, write) in self.writes.iter().enumerate() {
            let must_show = write.value.is_some() && write.is_acknowledged_before(view.invoked);
            if must_show
                && !view.shows(write.dot)
                && !self.is_replaced(i, view, &mut BTreeSet::new())
            {
                self.found.push(Violation::Vanished {
                    write: write.witness(),
                    missing_in: view.observation(),
                });
            }
        }
    }

    /// Whether something that may have happened by then has replaced the write, and is itself accounted for.
    fn is_replaced(&self, write: usize, view: &View<'_>, visited: &mut BTreeSet<usize>) -> bool {
        if !visited.insert(write) {
            return false;
        }
        let replaced = &self.writes[write];
        let may_replace = |by: &Written<'_>| {
            let follows = by
                .operation
                .completed
                .is_none_or(|at| at >= replaced.operation.invoked);
            match replaced.dot {
                Some(dot) => by.replaces(dot),
                // Nobody ever showed its event: whoever came later may have seen it.
                None => follows,
            }
        };
        self.writes.iter().enumerate().any(|(i, by)| {
            i != write
                && by.operation.invoked <= view.completed
                && may_replace(by)
                && (by.value.is_none()
                    || view.shows(by.dot)
                    // If that one is missing too, it is reported itself.
                    || by.is_acknowledged_before(view.invoked)
                    || self.is_replaced(i, view, visited))
        })
    }

    fn check_converged(&mut self) {
        let sorted = |state: &FinalState| state.siblings.iter().cloned().collect::<BTreeSet<_>>();
        let Some((first, others)) = self.finals.split_first() else {
            return;
        };
        for other in others {
            if sorted(other) != sorted(first) {
                self.found.push(Violation::Diverged {
                    first: (*first).clone(),
                    second: (*other).clone(),
                });
            }
        }
    }
}

impl fmt::Display for Observation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(witness) => witness.fmt(f),
            Self::Final(state) => state.fmt(f),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished { write, missing_in } => {
                write!(f, "a value has vanished: {write}; but {missing_in}")
            }
            Self::Replaced {
                shown_in,
                sibling,
                by,
            } => write!(f, "{shown_in}: {sibling} was replaced when {by}"),
            Self::NeverWritten { shown_in, sibling } => {
                write!(f, "{shown_in}: nobody had written {sibling}")
            }
            Self::Repeated { shown_in, dot } => write!(f, "{shown_in}: {dot} is there twice"),
            Self::SameDot { first, second } => {
                write!(f, "two writes have one event: {first}, and {second}")
            }
            Self::Diverged { first, second } => write!(f, "{first}, but {second}"),
        }
    }
}

#[cfg(test)]
mod tests;
