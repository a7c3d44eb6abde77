//! A counter that has counted very far is one run of events, wherever it lies: in a map, nested, or beside
//! another store. Whatever counted the events out one by one would not end within the life of a test.

use crdt::{
    Budget, Causal, CausalContext, CausalMap, CausalReplica, Cut, Difference, Dot, DotRange,
    DotStore, IdentityReused, Knowledge, Lattice, Listing, MapReplica, ObjectId, OrMap, ReplicaId,
    ResettableCounter,
};

/// How far the counter has counted.
const FAR: u64 = 1_000_000_000_000;

const WRITER: ReplicaId = ReplicaId(1);
const BUDGET: Budget = Budget {
    events: 10,
    bytes: 1_000,
};

type Replica = MapReplica<u8, ResettableCounter>;

fn run(first: u64, last: u64) -> DotRange {
    DotRange {
        replica: WRITER,
        first,
        last,
    }
}

fn far() -> ResettableCounter {
    serde_json::from_value(serde_json::json!([
        {"replica": 1, "first": 1, "last": FAR, "amount": 1}
    ]))
    .expect("a run is a counter")
}

fn known(range: DotRange) -> Knowledge<u8> {
    let base: CausalContext = [range].into_iter().collect();
    let json = serde_json::json!({"base": base, "exceptions": []});
    serde_json::from_value(json).expect("a base is knowledge")
}

/// A replica of a map in which one counter has counted far; its log is trimmed.
fn counted(id: ReplicaId) -> Replica {
    Replica::restore(id, [(7, far())], known(run(1, FAR)), []).expect("the parts agree")
}

fn value(replica: &Replica) -> Option<i128> {
    replica.map().get(&7).map(ResettableCounter::value)
}

fn add(replica: &mut Replica, amount: i64) -> Listing<u8, ResettableCounter> {
    let written = replica.edit(7, None, |counter| {
        counter.add(amount);
        true
    });
    written.expect("an increment changes the cell").listing
}

fn reset(replica: &mut Replica) -> Listing<u8, ResettableCounter> {
    let written = replica.edit(7, None, |counter| {
        counter.reset();
        true
    });
    written.expect("a reset is an event of a map").listing
}

#[test]
fn a_map_answers_and_joins_by_runs() -> Result<(), IdentityReused> {
    let (mut a, mut b) = (counted(WRITER), counted(ReplicaId(2)));
    let before = b.knowledge().clone();
    let more = add(&mut a, 1);
    assert_eq!(value(&a), Some(i128::from(FAR) + 1));
    let delta = a.delta_since(&before, BUDGET, |_, _| 1);
    let delta = delta.expect("the log names the last event");
    assert!(delta.complete);
    for listing in &delta.listings {
        b.join(listing)?;
    }
    assert!(!b.join(&more)?.knowledge_grew);
    assert_eq!(a.map(), b.map());
    // A reset that has seen all but the last increment, and one that has seen that too.
    let (early, all) = (
        reset(&mut counted(ReplicaId(3))),
        reset(&mut counted(ReplicaId(4))),
    );
    a.join(&early)?;
    assert_eq!(value(&a), Some(1));
    a.join(&all)?;
    assert_eq!(value(&a), Some(1));
    let rest = reset(&mut a);
    b.join(&rest)?;
    assert_eq!((value(&a), value(&b)), (None, None));
    Ok(())
}

#[test]
fn a_full_transfer_lists_the_run() -> Result<(), IdentityReused> {
    let (from, mut to) = (counted(WRITER), Replica::new(ReplicaId(2)));
    assert!(from.delta_since(to.knowledge(), BUDGET, |_, _| 1).is_err());
    let mut next = Some(Cut::BelowAll);
    while let Some(cut) = next {
        let chunk = from.transfer_chunk(&cut, BUDGET, |_, _| 1);
        for listing in &chunk.listings {
            to.join(listing)?;
        }
        next = chunk.next;
    }
    assert_eq!(from.map(), to.map());
    let used = to.memory_use(|_, _| 0);
    assert_eq!((used.live, used.ranges), (1, 1));
    Ok(())
}

#[test]
fn maps_compare_and_tell_differences_by_runs() {
    let (full, mut late) = (counted(WRITER), counted(WRITER));
    let _reset = reset(&mut late);
    let (full, late) = (full.map().clone(), late.map().clone());
    assert!(full < late && late.difference(&full) <= late);
    let mut joined = full.clone();
    joined.join(&late.difference(&full));
    assert_eq!(joined, late);
    let mut empty = CausalMap::default();
    assert!(empty < full && empty.join(&full.difference(&empty)));
    assert_eq!(empty, full);
    assert_eq!(full.difference(&late), CausalMap::default());
}

/// What a closed writer has left includes the run, where it is known beyond the base.
#[test]
fn a_writer_is_closed_by_runs() -> Result<(), IdentityReused> {
    let mut replica = Replica::new(ReplicaId(2));
    let listing = counted(WRITER).list_key(7);
    replica.join(&listing)?;
    assert!(replica.knowledge().exceptions().next().is_some());
    assert!(replica.close(WRITER));
    let left: CausalContext = [run(1, FAR)].into_iter().collect();
    assert!(replica.closed().lost_of(&left).is_empty());
    let beyond: CausalContext = [run(FAR + 1, FAR + 1)].into_iter().collect();
    assert_eq!(replica.closed().lost_of(&beyond), beyond);
    assert_eq!(value(&replica), Some(i128::from(FAR)));
    Ok(())
}

type Nested = OrMap<u8, (ResettableCounter, OrMap<u8, ResettableCounter>)>;

#[test]
fn nested_stores_find_events_by_runs() {
    let json = |counter: &ResettableCounter| {
        serde_json::json!({
            "store": [[7, [[], [[1, counter]]]]],
            "context": [[1, [format!("1-{FAR}")]]],
        })
    };
    let state: Causal<Nested> = serde_json::from_value(json(&far())).expect("a state");
    assert!(state.is_live(Dot::new(WRITER, FAR)) && !state.is_live(Dot::new(WRITER, FAR + 1)));
    let used = state.memory_use(|_| 0);
    assert_eq!(u64::try_from(used.live), Ok(FAR));
    assert!(
        used.bytes < 1_000,
        "a run takes no more than its ends: {used:?}"
    );
    let mut other = CausalReplica::<Nested>::new(ObjectId(1), ReplicaId(2));
    assert_eq!(other.join(&state), Ok(true));
    let _removed = other.change(|map| map.remove(&7));
    assert_eq!(state.clone().join_checked(other.state()), Ok(true));
    // The same events in the other part: two writers use one identity.
    let across = serde_json::json!({
        "store": [[7, [far(), []]]],
        "context": [[1, [format!("1-{FAR}")]]],
    });
    let across: Causal<Nested> = serde_json::from_value(across).expect("a state");
    let error = state
        .clone()
        .join_checked(&across)
        .expect_err("one dot in two places");
    assert_eq!(error.dot, Dot::new(WRITER, 1));
}
