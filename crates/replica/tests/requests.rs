//! Requests and configurations that are refused, each with its reason.

use bytes::Bytes;
use crdt::Timestamp;
use replica::{
    ClockKind, Cluster, ClusterError, Command, Config, ConfigError, Floor, Level, MultiValue,
    NodeId, Request, RequestError,
};

fn cluster(change: impl FnOnce(&mut Config)) -> Cluster {
    Cluster::builder(3)
        .configure(change)
        .build()
        .expect("a valid configuration")
}

fn put() -> Command {
    Command::put(Bytes::from_static(b"k"), Bytes::from_static(b"v"))
}

fn refused(cluster: &Cluster, request: Request) -> Option<RequestError> {
    cluster.node(NodeId(1)).execute(request).err()
}

#[test]
fn the_callers_timestamps_do_not_go_with_what_they_cannot_decide() {
    let by_caller = |config: &mut Config| config.clock = ClockKind::Caller;
    let siblings = Cluster::builder(3)
        .configure(by_caller)
        .build_for::<MultiValue>();
    let expected = ClusterError::Config(ConfigError::TimestampsDecideNothing);
    assert_eq!(siblings.map(|_| ()), Err(expected));
    let store = cluster(by_caller);
    let linearizable = Request::new(put().at(Timestamp(1)), Level::Linearizable);
    let expected = RequestError::TimestampsAreNotMoments;
    assert_eq!(refused(&store, linearizable), Some(expected));
    let (timestamp, session) = (Timestamp(5), Timestamp(6));
    let floor = Floor {
        time: session,
        ..Floor::default()
    };
    let below = Request::new(put().at(timestamp), Level::Quorum).after(floor);
    let expected = RequestError::TimestampBelowSession { timestamp, session };
    assert_eq!(refused(&store, below), Some(expected));
}

#[test]
fn small_quorums_offer_no_linearizable_level() {
    let store = cluster(|config| (config.write_quorum, config.read_quorum) = (1, 2));
    let request = Request::new(put(), Level::Linearizable);
    let (k, w, r) = (3, 1, 2);
    let expected = RequestError::LevelNotOffered { k, w, r };
    assert_eq!(refused(&store, request), Some(expected));
    assert_eq!(refused(&store, Request::new(put(), Level::Quorum)), None);
}

#[test]
fn only_failures_with_an_unknown_outcome_say_that_a_write_may_take_effect() {
    let (size, limit) = (2, 1);
    assert!(!RequestError::ValueTooLarge { size, limit }.may_take_effect());
    assert!(!RequestError::NodeFailed(NodeId(1)).may_take_effect());
    let store = cluster(|config| config.request_timeout_ms = 50);
    for node in [2, 3] {
        store.cut(NodeId(1), NodeId(node));
    }
    let error = refused(&store, Request::new(put(), Level::Quorum)).expect("no majority");
    assert!(error.may_take_effect(), "{error}");
    let get = Request::new(Command::get(Bytes::from_static(b"k")), Level::Quorum);
    let error = refused(&store, get).expect("no majority");
    assert!(!error.may_take_effect(), "{error}");
}

#[test]
fn a_horizon_is_heeded_and_never_falls() {
    let store = cluster(|config| config.clock = ClockKind::Caller);
    store.raise_horizon(Timestamp(10));
    let (timestamp, horizon) = (Timestamp(10), Timestamp(10));
    let at_the_horizon = Request::new(put().at(timestamp), Level::Quorum);
    let expected = RequestError::TimestampBelowHorizon { timestamp, horizon };
    assert_eq!(refused(&store, at_the_horizon), Some(expected));
    store.raise_horizon(Timestamp(5));
    let above = Request::new(put().at(Timestamp(11)), Level::Quorum);
    assert_eq!(
        refused(&store, above),
        None,
        "a horizon never falls, and what is above it is taken"
    );
}

#[test]
fn a_made_up_token_does_not_carry_the_clock_away() {
    let store = cluster(|_| ());
    let floor = Floor {
        time: Timestamp(u64::MAX),
        ..Floor::default()
    };
    let error = refused(&store, Request::new(put(), Level::Quorum).after(floor));
    assert!(
        matches!(error, Some(RequestError::TokenAhead { .. })),
        "{error:?}"
    );
    assert_eq!(refused(&store, Request::new(put(), Level::Quorum)), None);
}
