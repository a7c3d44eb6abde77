//! Counters and sets: values that merge.

use bytes::Bytes;
use crdt::{AddWinsSet, Edit, ResettableCounter};
use replica::{CausalValue, CausalWrite, Floor};
use serde::{Deserialize, Serialize};

use super::{StorePolicy, total};
use crate::store::{Contents, Effect, Operation, Record, Space, StoreAnswer};

/// What a key of [`Space::Types`] holds: a counter and a set, each on its own.
pub type StoredRecord = (ResettableCounter, AddWinsSet<Bytes>);

/// The policy of [`Space::Types`].
pub type Types = CausalValue<TypedWrite>;

/// What a client does to a counter or a set.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two increments | the sum |
/// | an increment and a removal of the key | the increment alone |
/// | adding and removing a member | it is there: the removal had not seen the add |
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TypedWrite {
    /// Adds to the counter.
    Increment(i64),
    /// Adds members to the set.
    Add(Vec<Bytes>),
    /// Removes members from the set, as far as the author has seen them.
    Remove(Vec<Bytes>),
    /// Removes counter and set, as far as the author has seen them.
    Drop,
}

impl CausalWrite for TypedWrite {
    type Store = StoredRecord;

    fn apply(&self, record: &mut Edit<'_, StoredRecord>) -> bool {
        match self {
            Self::Increment(by) => {
                record.first().add(*by);
                *by != 0
            }
            Self::Add(members) => {
                record.second().extend(members.iter().cloned());
                !members.is_empty()
            }
            Self::Remove(members) => {
                let mut set = record.second();
                let present = |member: &&Bytes| set.contains(*member);
                let present: Vec<&Bytes> = members.iter().filter(present).collect();
                for member in &present {
                    set.remove(*member);
                }
                !present.is_empty()
            }
            Self::Drop => {
                let is_there = crdt::Cell::is_visible(&**record);
                record.first().reset();
                record.second().clear();
                is_there
            }
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Increment(_) | Self::Drop => 0,
            Self::Add(members) | Self::Remove(members) => total(members),
        }
    }
}

impl StorePolicy for Types {
    const SPACE: Space = Space::Types;

    fn write(operation: Operation) -> Option<TypedWrite> {
        match operation {
            Operation::Increment { by } => Some(TypedWrite::Increment(by)),
            Operation::Add { members } => Some(TypedWrite::Add(members)),
            Operation::Remove { members } => Some(TypedWrite::Remove(members)),
            Operation::Drop => Some(TypedWrite::Drop),
            _ => None,
        }
    }

    fn read_answer(cell: StoredRecord, seen: Floor) -> StoreAnswer {
        let record = record(&cell);
        StoreAnswer::Record { record, seen }
    }

    fn contents((counter, set): &StoredRecord) -> Contents {
        Contents {
            string: false,
            counter: crdt::Cell::is_visible(counter),
            set: !set.is_empty(),
        }
    }
}

/// What a client is shown of a record.
fn record((counter, set): &StoredRecord) -> Record {
    Record {
        counter: counter_value(counter),
        members: (!set.is_empty()).then(|| set.iter().cloned().collect()),
    }
}

fn counter_value(counter: &ResettableCounter) -> Option<i64> {
    let bounded = |sum: i128| match i64::try_from(sum) {
        Ok(sum) => sum,
        Err(_) if sum < 0 => i64::MIN,
        Err(_) => i64::MAX,
    };
    crdt::Cell::is_visible(counter).then(|| bounded(counter.value()))
}

/// What a write does to a record, told from the record before it and after it.
pub(crate) fn effect(
    write: &TypedWrite,
    before: Option<&StoredRecord>,
    after: Option<&StoredRecord>,
) -> Effect {
    let was_in = |member: &&Bytes| before.is_some_and(|(_, set)| set.contains(*member));
    let distinct = |members: &[Bytes]| {
        let distinct: std::collections::BTreeSet<&Bytes> = members.iter().collect();
        let present = distinct.iter().filter(|member| was_in(member)).count();
        (distinct.len() - present, present)
    };
    let (added, removed) = match write {
        TypedWrite::Add(members) => (distinct(members).0, 0),
        TypedWrite::Remove(members) => (0, distinct(members).1),
        TypedWrite::Increment(_) | TypedWrite::Drop => (0, 0),
    };
    Effect {
        counter: after.and_then(|(counter, _)| counter_value(counter)),
        added,
        removed,
    }
}

/// Bytes of the members of a record, about: what it takes in a message beside its frame.
pub(crate) fn weight((counter, set): &StoredRecord) -> usize {
    let runs = crdt::DotStore::dot_ranges(counter).count();
    let members: usize = set.iter().map(|member| member.len() + 16).sum();
    members + runs * 32
}
