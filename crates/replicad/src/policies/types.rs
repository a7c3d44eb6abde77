//! Counters and sets: values that merge.

use bytes::Bytes;
use crdt::{AddWinsSet, CausalContext, Edit};
use replica::{CausalValue, CausalWrite, Floor};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;

use super::StorePolicy;
use super::counter::{self, Counter};
use crate::store::{Contents, Operation, Record, Space, StoreAnswer};

/// What a key of [`Space::Types`] holds: a counter and a set, each on its own.
pub type StoredRecord = (Counter, AddWinsSet<Bytes>);

/// The policy of [`Space::Types`].
pub type Types = CausalValue<TypedWrite>;

/// The most bytes that the members of one set take, each with [`MEMBER_BYTES`]. A record is one message
/// between nodes and one entry on disk, and neither is split. Concurrent additions may go beyond it by as
/// much as they add.
pub const MAX_SET_BYTES: usize = 1 << 20;

/// What a member takes beside its own bytes, about.
pub const MEMBER_BYTES: usize = 16;

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
    /// Adds members to the set; does nothing if they would not fit into [`MAX_SET_BYTES`].
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
                if *by != 0 {
                    counter::add(&mut record.first(), *by);
                }
                *by != 0
            }
            Self::Add(members) => {
                let mut set = record.second();
                let fits = !members.is_empty() && size_with(&set, members) <= MAX_SET_BYTES;
                if fits {
                    set.extend(members.iter().cloned());
                }
                fits
            }
            Self::Remove(members) => {
                let mut set = record.second();
                let present = members.iter().filter(|member| set.contains(*member));
                let present: Vec<&Bytes> = present.collect();
                for member in &present {
                    set.remove(*member);
                }
                !present.is_empty()
            }
            Self::Drop => {
                let held_members = !record.second().is_empty();
                record.second().clear();
                counter::remove(&mut record.first()) | held_members
            }
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Increment(_) | Self::Drop => 0,
            Self::Add(members) | Self::Remove(members) => members.iter().map(Bytes::len).sum(),
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

    fn read_answer(
        (counter, set): StoredRecord,
        seen: Floor,
        stable: Arc<CausalContext>,
    ) -> StoreAnswer {
        let record = Record {
            counter: counter::value(&counter),
            members: (!set.is_empty()).then(|| set.iter().cloned().collect()),
        };
        StoreAnswer::Record {
            record,
            seen,
            stable,
        }
    }

    fn contents((counter, set): &StoredRecord) -> Contents {
        Contents {
            string: false,
            counter: counter::value(counter).is_some(),
            set: !set.is_empty(),
        }
    }
}

/// The value of the counter of a record.
pub(crate) fn counter_of(record: Option<&StoredRecord>) -> Option<i64> {
    record.and_then(|(counter, _)| counter::value(counter))
}

/// How many distinct members of a write are not in the set, and how many are.
pub(crate) fn new_and_present(record: Option<&StoredRecord>, members: &[Bytes]) -> (usize, usize) {
    let distinct: BTreeSet<&Bytes> = members.iter().collect();
    let is_present = |member: &&&Bytes| record.is_some_and(|(_, set)| set.contains(**member));
    let present = distinct.iter().filter(is_present).count();
    (distinct.len() - present, present)
}

/// The size of a set with these members in it too, as [`MAX_SET_BYTES`] counts it.
fn size_with(set: &AddWinsSet<Bytes>, members: &[Bytes]) -> usize {
    let size = |member: &Bytes| member.len() + MEMBER_BYTES;
    let distinct: BTreeSet<&Bytes> = members.iter().collect();
    let new = distinct.into_iter().filter(|member| !set.contains(*member));
    set.iter().map(size).sum::<usize>() + new.map(size).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{CausalReplica, ObjectId, ReplicaId};

    type Replica = CausalReplica<StoredRecord>;

    fn members(names: &[&'static str]) -> Vec<Bytes> {
        names
            .iter()
            .map(|name| Bytes::from_static(name.as_bytes()))
            .collect()
    }

    fn apply(replica: &mut Replica, write: &TypedWrite) -> bool {
        let mut did = false;
        let _delta = replica.change(|record| did = write.apply(record));
        did
    }

    #[test]
    fn writes_say_whether_they_did_anything() {
        let mut replica = Replica::new(ObjectId(1), ReplicaId(1));
        for (write, does) in [
            (TypedWrite::Increment(0), false),
            (TypedWrite::Drop, false),
            (TypedWrite::Add(vec![]), false),
            (TypedWrite::Remove(members(&["a"])), false),
            (TypedWrite::Add(members(&["a", "b", "a"])), true),
            (TypedWrite::Remove(members(&["a", "x"])), true),
            (TypedWrite::Increment(3), true),
            (TypedWrite::Drop, true),
            (TypedWrite::Drop, false),
        ] {
            assert_eq!(apply(&mut replica, &write), does, "{write:?}");
        }
        let contents = Types::contents(replica.state().store());
        assert!(contents.is_empty(), "{contents:?}");
    }

    #[test]
    fn a_set_grows_to_its_limit_and_not_beyond() {
        let mut replica = Replica::new(ObjectId(1), ReplicaId(1));
        let large = |fill: u8| {
            TypedWrite::Add(vec![Bytes::from(vec![
                fill;
                MAX_SET_BYTES / 2 - MEMBER_BYTES
            ])])
        };
        assert!(apply(&mut replica, &large(1)) && apply(&mut replica, &large(2)));
        assert!(apply(&mut replica, &large(1)), "it is there already");
        assert!(!apply(&mut replica, &TypedWrite::Add(members(&["a"]))));
        assert!(apply(
            &mut replica,
            &TypedWrite::Remove(vec![Bytes::from(vec![1; MAX_SET_BYTES / 2 - MEMBER_BYTES])])
        ));
        assert!(apply(&mut replica, &TypedWrite::Add(members(&["a"]))));
    }

    #[test]
    fn members_are_counted_once_however_often_they_are_named() {
        let mut replica = Replica::new(ObjectId(1), ReplicaId(1));
        assert!(apply(&mut replica, &TypedWrite::Add(members(&["a"]))));
        let record = Some(replica.state().store());
        let named = members(&["a", "b", "b", "a", "c"]);
        assert_eq!(new_and_present(record, &named), (2, 1));
        assert_eq!(new_and_present(None, &named), (3, 0));
    }
}
