//! Values to be frozen: small, and with something in every field.

use bytes::Bytes;
use crdt::{
    CausalContext, Closed, Dot, Edit, Listing, MapReplica, OwnerView, Promise, Promises, ReplicaId,
    Timestamp,
};
use replica::{Floor, Lww, LwwWrite, MultiValue, Policy, SiblingWrite};
use replicad::policies::{TypedWrite, Types};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

pub(crate) const A: ReplicaId = ReplicaId(1);
pub(crate) const B: ReplicaId = ReplicaId(300);

pub(crate) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn context() -> CausalContext {
    let dots = [(A, 1), (A, 2), (A, 5), (B, 1_000)];
    dots.map(|(r, c)| Dot::new(r, c)).into_iter().collect()
}

pub(crate) fn floor() -> Floor {
    let (context, time) = (context(), Timestamp(1 << 40));
    Floor { context, time }
}

pub(crate) fn view() -> OwnerView {
    let mut view = OwnerView::default();
    for (position, replica) in [(1, A), (1, ReplicaId(11)), (2, B)] {
        view.record(position, replica);
    }
    view
}

pub(crate) fn promises() -> Promises {
    let mut promises = Promises::default();
    let (time, counter) = (Timestamp(300), 2);
    promises.record(B, Promise { time, counter });
    promises
}

pub(crate) fn closed() -> Closed {
    let mut closed = Closed::default();
    closed.record(A, &context());
    closed.record(ReplicaId(11), &context());
    closed
}

/// A conflict policy with writes that show all that its cells can hold.
pub(crate) trait Frozen: Policy {
    /// One of each kind, in the order of the kinds, so that each does something.
    fn writes() -> Vec<Self::Write>;
}

impl Frozen for Lww {
    fn writes() -> Vec<LwwWrite> {
        let write = |value: Option<&str>, timestamp: Option<u64>| LwwWrite {
            value: value.map(bytes),
            timestamp: timestamp.map(Timestamp),
        };
        vec![
            write(Some("blue"), None),
            write(Some(""), Some(7)),
            write(None, None),
        ]
    }
}

impl Frozen for MultiValue {
    fn writes() -> Vec<SiblingWrite> {
        vec![SiblingWrite::Put(bytes("blue")), SiblingWrite::Delete]
    }
}

impl Frozen for Types {
    fn writes() -> Vec<TypedWrite> {
        vec![
            TypedWrite::Increment(-300),
            TypedWrite::Add(vec![bytes("tea"), bytes("rice")]),
            TypedWrite::Remove(vec![bytes("tea")]),
            TypedWrite::Drop,
        ]
    }
}

/// A replica under whose key `n` the first `n + 1` writes were made, and under `both` those of another too.
pub(crate) fn replica<P: Frozen>() -> MapReplica<Bytes, P::Cell> {
    let mut replica = MapReplica::<Bytes, P::Cell>::new(A);
    let writes = P::writes();
    for end in 1..=writes.len() {
        for write in &writes[..end] {
            made::<P>(&mut replica, &(end - 1).to_string(), write);
        }
    }
    let mut other = MapReplica::<Bytes, P::Cell>::new(B);
    let _first = made::<P>(&mut other, "elsewhere", &writes[0]);
    made::<P>(&mut replica, "both", &writes[0]);
    if let Some(listing) = made::<P>(&mut other, "both", &writes[1]) {
        replica.join(&listing).expect("identities are unique");
    }
    replica
}

fn made<P: Policy>(
    replica: &mut MapReplica<Bytes, P::Cell>,
    key: &str,
    write: &P::Write,
) -> Option<Listing<Bytes, P::Cell>> {
    let time = Timestamp(500 + replica.own_counter());
    let time = P::timestamp_of(write).unwrap_or(time);
    let written = replica.edit(bytes(key), None, |edit: &mut Edit<'_, P::Cell>| {
        P::apply(edit, write, time)
    });
    written.map(|written| written.listing)
}

/// How many kinds an enum of messages has: what comes behind the last is refused as no kind at all.
pub(crate) fn kinds<T: DeserializeOwned>() -> usize {
    let is_kind = |n: &u8| {
        let read = postcard::from_bytes::<T>(&[*n]);
        !matches!(read, Err(postcard::Error::SerdeDeCustom))
    };
    (0..=u8::MAX).take_while(is_kind).count()
}

/// Fails unless there is a value of every kind of an enum.
pub(crate) fn check_all_kinds<T: Serialize + DeserializeOwned>(values: &[T]) {
    let kind = |value: &T| usize::from(postcard::to_stdvec(value).expect("it serialises")[0]);
    let shown: BTreeSet<usize> = values.iter().map(kind).collect();
    let all: BTreeSet<usize> = (0..kinds::<T>()).collect();
    assert!(!all.is_empty());
    assert_eq!(
        shown,
        all,
        "a kind of {} has no golden bytes",
        std::any::type_name::<T>()
    );
}
