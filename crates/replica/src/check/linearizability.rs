//! Whether each key behaves like one register that every operation touches at one moment between its
//! invocation and its completion.
//!
//! Keys are judged alone, as linearizability is local (Herlihy and Wing, 1990). Only [`Call::Write`] and
//! [`Call::Read`] count, and of these only values: a key is absent at first, and a delete makes it absent.
//! A write of unknown outcome may take effect at any moment after its invocation, or never; a read without
//! completion says nothing. Moments that are equal are concurrent.
//!
//! Where no value was written twice, absence aside, a write and the reads of its value are ordered as one:
//! nearly linear time, see `linearizability/blocks.rs`. Otherwise the search is that of Wing and Gong, *Testing
//! and verifying concurrent objects* (1993), with the memoisation of Lowe, *Testing for linearizability* (2017):
//! a set of operations that have taken effect, with the value that they left, is looked at once. A read that
//! fits is taken at once, as it changes nothing. That takes time exponential in the number of writes that
//! overlap, and linear in the length of the history.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{Call, History, Operation, OperationId, Violations, Witness};

mod blocks;

/// The most configurations that [`check`] looks at for one key; each takes some hundred bytes.
pub const MAX_CONFIGURATIONS: usize = 1_000_000;

/// How many of the operations before the dead end are printed.
const SHOWN: usize = 8;

/// A key that is not linearizable, or not surely so.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A read returned a value that no write had begun to write.
    NeverWritten {
        /// The read.
        read: Witness,
    },
    /// No order of the operations explains what was read.
    NotLinearizable {
        /// The key.
        key: Bytes,
        /// One of the longest orders that fit.
        linearized: Vec<Witness>,
        /// What had to come next and does not fit.
        stuck: Witness,
    },
    /// The search was given up.
    TooHard {
        /// The key.
        key: Bytes,
        /// How many configurations were looked at.
        configurations: usize,
    },
}

/// Checks every key.
///
/// # Errors
/// One violation for each key that is not linearizable, or cannot be judged within
/// [`MAX_CONFIGURATIONS`]; and one for each read of a value that nobody wrote.
pub fn check(history: &History) -> Result<(), Violations<Violation>> {
    check_within(history, MAX_CONFIGURATIONS)
}

/// Checks every key with another bound on the search.
///
/// # Errors
/// As [`check`].
pub fn check_within(
    history: &History,
    max_configurations: usize,
) -> Result<(), Violations<Violation>> {
    let mut keys: BTreeMap<&Bytes, Vec<(OperationId, &Operation)>> = BTreeMap::new();
    for (id, operation) in history.operations() {
        keys.entry(&operation.key)
            .or_default()
            .push((id, operation));
    }
    let mut found = Vec::new();
    for (key, operations) in keys {
        let from_nowhere: Vec<Violation> = reads_from_nowhere(&operations).collect();
        if from_nowhere.is_empty() {
            found.extend(check_key(key, &operations, max_configurations).err());
        } else {
            found.extend(from_nowhere);
        }
    }
    Violations::none_in(found)
}

fn reads_from_nowhere<'a>(
    operations: &'a [(OperationId, &Operation)],
) -> impl Iterator<Item = Violation> + 'a {
    operations.iter().filter_map(|(id, read)| {
        let (Call::Read { value, .. }, Some(completed)) = (&read.call, read.completed) else {
            return None;
        };
        let is_source = |write: &Operation| {
            matches!(&write.call, Call::Write { value: written, .. } if written == value)
                && write.invoked <= completed
        };
        let is_known = value.is_none() || operations.iter().any(|(_, write)| is_source(write));
        (!is_known).then(|| Violation::NeverWritten {
            read: Witness::new(*id, read),
        })
    })
}

fn check_key(
    key: &Bytes,
    operations: &[(OperationId, &Operation)],
    max_configurations: usize,
) -> Result<(), Violation> {
    let (steps, sources) = steps(operations);
    let witness_of = |step: usize| {
        let (id, operation) = operations[sources[step]];
        Witness::new(id, operation)
    };
    let judged = blocks::judge(&steps, max_configurations)
        .unwrap_or_else(|| Search::new(&steps).run(max_configurations));
    judged.map_err(|failure| match failure {
        Failure::DeadEnd { prefix, stuck } => Violation::NotLinearizable {
            key: key.clone(),
            linearized: prefix.into_iter().map(witness_of).collect(),
            stuck: witness_of(stuck),
        },
        Failure::TooHard { configurations } => Violation::TooHard {
            key: key.clone(),
            configurations,
        },
    })
}

/// An operation as the search sees it.
#[derive(Debug, Clone, Copy)]
struct Step {
    invoked: u64,
    /// `None`: it may take effect at any time, or never.
    completed: Option<u64>,
    is_write: bool,
    /// The number of the value; 0 is absent.
    value: u32,
}

/// The operations that count, and where each comes from. A write of unknown outcome whose value nobody read
/// is left out: it may never have taken effect.
fn steps(operations: &[(OperationId, &Operation)]) -> (Vec<Step>, Vec<usize>) {
    let mut numbers: BTreeMap<Option<&Bytes>, u32> = BTreeMap::from([(None, 0)]);
    let read: BTreeSet<Option<&Bytes>> = operations
        .iter()
        .filter_map(
            |(_, operation)| match (&operation.call, operation.completed) {
                (Call::Read { value, .. }, Some(_)) => Some(value.as_ref()),
                _ => None,
            },
        )
        .collect();
    let counts = operations.iter().enumerate();
    let counts = counts.filter_map(|(source, (_, operation))| {
        let (is_write, value) = match &operation.call {
            Call::Write { value, .. } => (true, value.as_ref()),
            Call::Read { value, .. } => (false, value.as_ref()),
            _ => return None,
        };
        if operation.completed.is_none() && !(is_write && read.contains(&value)) {
            return None;
        }
        let next = numbers.len() as u32;
        let step = Step {
            invoked: operation.invoked,
            completed: operation.completed,
            is_write,
            value: *numbers.entry(value).or_insert(next),
        };
        Some((step, source))
    });
    counts.unzip()
}

/// Why there is no order.
#[derive(Debug)]
enum Failure {
    /// One of the longest orders, and the step that had to be in it and is not.
    DeadEnd {
        prefix: Vec<usize>,
        stuck: usize,
    },
    TooHard {
        configurations: usize,
    },
}

/// The events of the history as a doubly linked list, from which the steps that have taken effect are
/// lifted. Place 0 is the end of the list, and what comes before its first event.
#[derive(Debug)]
struct Search<'a> {
    steps: &'a [Step],
    /// The step of each place, and whether the place is its completion.
    events: Vec<(usize, bool)>,
    next: Vec<usize>,
    previous: Vec<usize>,
    invocation: Vec<usize>,
    completion: Vec<Option<usize>>,
}

impl<'a> Search<'a> {
    fn new(steps: &'a [Step]) -> Self {
        // At equal moments invocations come first: what touches is concurrent.
        let mut events: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * steps.len());
        for (i, step) in steps.iter().enumerate() {
            events.push((step.invoked, false, i));
            events.extend(step.completed.map(|at| (at, true, i)));
        }
        events.sort_unstable();
        let (mut invocation, mut completion) = (vec![0; steps.len()], vec![None; steps.len()]);
        for (place, (_, is_completion, step)) in (1..).zip(&events) {
            match is_completion {
                true => completion[*step] = Some(place),
                false => invocation[*step] = place,
            }
        }
        let places = events.len() + 1;
        let end = std::iter::once((usize::MAX, true));
        Self {
            steps,
            events: end
                .chain(events.into_iter().map(|(_, completed, i)| (i, completed)))
                .collect(),
            next: (0..places).map(|place| (place + 1) % places).collect(),
            previous: (0..places)
                .map(|place| (place + places - 1) % places)
                .collect(),
            invocation,
            completion,
        }
    }

    fn run(mut self, max_configurations: usize) -> Result<(), Failure> {
        let mut open = self.completion.iter().flatten().count();
        let mut taken = Taken::new(self.steps.len());
        let mut order: Vec<(usize, u32)> = Vec::new();
        let mut looked_at = BTreeSet::new();
        let mut best = (Vec::new(), usize::MAX);
        let (mut value, mut place) = (0, self.next[0]);
        while open > 0 {
            let (step, is_completion) = self.events[place];
            if !is_completion {
                let after = self.steps[step].applied_to(value);
                if let Some(after) = after.filter(|v| looked_at.insert((taken.with(step), *v))) {
                    if looked_at.len() > max_configurations {
                        let configurations = looked_at.len();
                        return Err(Failure::TooHard { configurations });
                    }
                    order.push((step, value));
                    taken.toggle(step);
                    self.lift(step);
                    open -= usize::from(self.completion[step].is_some());
                    (value, place) = (after, self.next[0]);
                } else {
                    place = self.next[place];
                }
                continue;
            }
            // This step had to take effect before: what was taken last was wrong.
            if order.len() > best.0.len() || best.1 == usize::MAX {
                best = (order.iter().map(|(step, _)| *step).collect(), step);
            }
            place = loop {
                let Some((step, before)) = order.pop() else {
                    let (prefix, stuck) = best;
                    return Err(Failure::DeadEnd { prefix, stuck });
                };
                value = before;
                taken.toggle(step);
                self.put_back(step);
                open += usize::from(self.completion[step].is_some());
                // Taking a read that fits is never wrong.
                if self.steps[step].is_write {
                    break self.next[self.invocation[step]];
                }
            };
        }
        Ok(())
    }

    fn lift(&mut self, step: usize) {
        for place in self.places(step) {
            let (previous, next) = (self.previous[place], self.next[place]);
            (self.next[previous], self.previous[next]) = (next, previous);
        }
    }

    /// Undoes the last [`lift`](Self::lift) that was not undone.
    fn put_back(&mut self, step: usize) {
        for place in self.places(step).rev() {
            let (previous, next) = (self.previous[place], self.next[place]);
            (self.next[previous], self.previous[next]) = (place, place);
        }
    }

    fn places(&self, step: usize) -> impl DoubleEndedIterator<Item = usize> + use<> {
        std::iter::once(self.invocation[step]).chain(self.completion[step])
    }
}

impl Step {
    /// The value after this step; `None` if it does not fit.
    fn applied_to(&self, value: u32) -> Option<u32> {
        (self.is_write || self.value == value).then_some(self.value)
    }
}

/// Which steps have taken effect, a bit for each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Taken(Box<[u64]>);

impl Taken {
    fn new(steps: usize) -> Self {
        Self(vec![0; steps.div_ceil(64)].into())
    }

    fn toggle(&mut self, step: usize) {
        self.0[step / 64] ^= 1 << (step % 64);
    }

    fn with(&self, step: usize) -> Self {
        let mut with = self.clone();
        with.toggle(step);
        with
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverWritten { read } => {
                write!(f, "not linearizable: {read}: nobody had written that")
            }
            Self::NotLinearizable {
                key,
                linearized,
                stuck,
            } => {
                let key = key.escape_ascii();
                write!(f, "{key} is not linearizable: {stuck} does not fit")?;
                let left_out = linearized.len().saturating_sub(SHOWN);
                match (left_out, linearized.len()) {
                    (_, 0) => write!(f, " before everything else")?,
                    (0, _) => write!(f, " after")?,
                    _ => write!(f, " after {left_out} operations and")?,
                }
                for (i, witness) in linearized[left_out..].iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma} {witness}")?;
                }
                Ok(())
            }
            Self::TooHard {
                key,
                configurations,
            } => {
                let key = key.escape_ascii();
                write!(f, "{key}: given up after {configurations} configurations")
            }
        }
    }
}

#[cfg(test)]
mod tests;
