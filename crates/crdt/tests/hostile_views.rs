//! Bytes that no replica has sent, of what replicas know of each other: views, promises, closed writers, single
//! cells, and what a join changed.

use crdt::{
    Change, Closed, Dot, Joined, LwwCell, OwnerView, Promise, Promises, ReplicaId, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

type Key = u8;

/// The same shapes, without any rule.
mod unchecked {
    use crdt::{CausalContext, Promise};
    use serde::{Serialize, Serializer};

    #[derive(Serialize)]
    pub(super) struct OwnerView {
        #[serde(serialize_with = "map")]
        pub(super) positions: Vec<(u32, Vec<u64>)>,
    }

    #[derive(Serialize)]
    pub(super) struct Promises {
        #[serde(serialize_with = "map")]
        pub(super) by_replica: Vec<(u64, Promise)>,
    }

    #[derive(Serialize)]
    pub(super) struct Closed {
        pub(super) writers: Vec<u64>,
        pub(super) left: CausalContext,
    }

    fn map<S, K, V>(list: &[(K, V)], serializer: S) -> Result<S::Ok, S::Error>
    where
        S: Serializer,
        K: Serialize,
        V: Serialize,
    {
        serializer.collect_map(list.iter().map(|(key, value)| (key, value)))
    }
}

fn dot(replica: u64, counter: u64) -> Dot {
    Dot::new(ReplicaId(replica), counter)
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    postcard::to_stdvec(value).expect("shapes encode")
}

#[track_caller]
fn accepted<T: DeserializeOwned + Debug>(shape: &impl Serialize) {
    let text = serde_json::to_string(shape).expect("shapes encode");
    let _: T = serde_json::from_str(&text).expect("a shape that keeps the rules");
    let _: T = postcard::from_bytes(&bytes(shape)).expect("a shape that keeps the rules");
}

/// Refused in JSON for the reason given, and in postcard (whose errors carry no text).
#[track_caller]
fn refused<T: DeserializeOwned + Debug>(shape: &impl Serialize, why: &str) {
    let text = serde_json::to_string(shape).expect("shapes encode");
    let error = serde_json::from_str::<T>(&text).expect_err(&text);
    assert!(error.to_string().contains(why), "{text}: {error}");
    let decoded = postcard::from_bytes::<T>(&bytes(shape));
    assert!(decoded.is_err(), "{text} decodes as {decoded:?}");
}

/// Several maps and lists have one order on the wire; in text the entries of an object may be moved about, but
/// none may be there twice.
#[test]
fn views_and_promises_with_entries_out_of_order_or_twice_are_refused() {
    let of = |list: &[(u32, &[u64])]| unchecked::OwnerView {
        positions: list.iter().map(|(p, ids)| (*p, ids.to_vec())).collect(),
    };
    accepted::<OwnerView>(&of(&[(0, &[1, 11]), (1, &[5])]));
    refused::<OwnerView>(&of(&[(0, &[11, 1])]), "ascending");
    refused::<OwnerView>(&of(&[(0, &[1, 1])]), "ascending");
    refused::<OwnerView>(&of(&[(0, &[1]), (0, &[11])]), "ascending");
    let promise = |time| Promise {
        time: Timestamp(time),
        counter: 2,
    };
    let by_replica = |list: &[(u64, u64)]| unchecked::Promises {
        by_replica: list
            .iter()
            .map(|(id, time)| (*id, promise(*time)))
            .collect(),
    };
    accepted::<Promises>(&by_replica(&[(1, 5), (2, 3)]));
    refused::<Promises>(&by_replica(&[(1, 5), (1, 6)]), "ascending");
    let (view, promises) = (of(&[(1, &[5]), (0, &[1])]), by_replica(&[(2, 3), (1, 5)]));
    assert!(postcard::from_bytes::<OwnerView>(&bytes(&view)).is_err());
    assert!(postcard::from_bytes::<Promises>(&bytes(&promises)).is_err());
    let text = serde_json::to_string(&promises).expect("shapes encode");
    let moved: Promises = serde_json::from_str(&text).expect("an object has no order");
    assert_eq!(moved.of(ReplicaId(2)), Some(promise(3)));
}

/// What is left is of a closed writer, and has an end.
#[test]
fn closed_writers_that_no_replica_can_have_noted_are_refused() {
    let shape = |writers: &[u64], left: &[(u64, u64)]| unchecked::Closed {
        writers: writers.to_vec(),
        left: left.iter().map(|&(r, c)| dot(r, c)).collect(),
    };
    accepted::<Closed>(&shape(&[1, 7], &[(7, 1), (7, 3)]));
    refused::<Closed>(&shape(&[7, 1], &[]), "ascending");
    refused::<Closed>(&shape(&[7, 7], &[]), "ascending");
    refused::<Closed>(&shape(&[1], &[(7, 1)]), "not closed");
    refused::<Closed>(&shape(&[7], &[(7, u64::MAX)]), "too large");
}

/// A cell on its own is checked like one in a map.
#[test]
fn a_last_writer_wins_cell_with_a_counter_of_zero_is_refused() {
    let cell = |counter| LwwCell::entry(dot(1, counter), Timestamp(1), Some(7_u8));
    accepted::<LwwCell<u8>>(&cell(1));
    refused::<LwwCell<u8>>(&cell(0), "zero");
}

/// What a join changed names each key and each event once, and no event is new without more being known.
#[test]
fn what_no_join_can_have_changed_is_refused() {
    let shape = |keys: &[Key], dots: &[(u64, u64)], knowledge_grew| Joined {
        changed: keys.iter().map(|key| (*key, Change::Added)).collect(),
        based: dots.iter().map(|&(r, c)| (dot(r, c), 10)).collect(),
        knowledge_grew,
    };
    accepted::<Joined<Key>>(&shape(&[20, 10], &[(2, 1), (1, 1)], true));
    accepted::<Joined<Key>>(&shape(&[10], &[], false));
    refused::<Joined<Key>>(&shape(&[10, 10], &[], true), "twice");
    refused::<Joined<Key>>(&shape(&[10], &[(1, 1), (1, 1)], true), "twice");
    refused::<Joined<Key>>(&shape(&[10], &[(1, 0)], true), "zero");
    refused::<Joined<Key>>(&shape(&[10], &[(1, 1)], false), "grown");
}
