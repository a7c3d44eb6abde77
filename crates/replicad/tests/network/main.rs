//! Three nodes, each with a store and a transport of its own, connected over TCP.

mod cluster;
mod damage;
mod proxy;
mod silence;

use bytes::Bytes;
use cluster::{Cluster, PATIENCE, until};
use replica::{Level, NodeId, RequestError};
use replicad::backend::{AdminError, NodeState};
use replicad::store::{
    ConflictPolicy, Effect, Operation, Space, StoreAnswer, StoreRequest, StoreSession,
};
use std::time::Instant;

fn key(name: &str) -> Bytes {
    Bytes::copy_from_slice(name.as_bytes())
}

fn put(value: &str) -> Operation {
    Operation::put(key(value))
}

fn add(members: &[&str]) -> Operation {
    let members = members.iter().map(|name| key(name)).collect();
    Operation::Add { members }
}

fn remove(members: &[&str]) -> Operation {
    let members = members.iter().map(|name| key(name)).collect();
    Operation::Remove { members }
}

fn values(answer: StoreAnswer) -> Vec<Bytes> {
    match answer {
        StoreAnswer::Values { values, .. } => values,
        other => panic!("not values: {other:?}"),
    }
}

fn effect(answer: StoreAnswer) -> Effect {
    match answer {
        StoreAnswer::Written { effect, .. } => effect.expect("made by the node asked"),
        other => panic!("not a write: {other:?}"),
    }
}

fn counter(answer: StoreAnswer) -> Option<i64> {
    match answer {
        StoreAnswer::Record { record, .. } => record.counter,
        other => panic!("not a record: {other:?}"),
    }
}

fn members(answer: StoreAnswer) -> Vec<Bytes> {
    match answer {
        StoreAnswer::Record { record, .. } => {
            record.members.unwrap_or_default().into_iter().collect()
        }
        other => panic!("not a record: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_begins_on_a_word_and_serves_through_every_node() {
    let mut cluster = Cluster::new(|_| ());
    cluster.start(1).await;
    cluster.start(2).await;
    let refused = cluster.ask(1, "k", put("v")).await;
    assert!(matches!(refused, Err(RequestError::Recovering { .. })));
    assert_eq!(cluster.node(1).state(), NodeState::Waiting);
    // The word is given while a node is missing; the cluster begins when it has come.
    let word = tokio::spawn(cluster.node(2).backend().bootstrap());
    cluster.start(3).await;
    let id = word.await.expect("no panic").expect("a new cluster");
    cluster.until_up().await;
    cluster.ask(1, "k", put("v")).await.expect("a quorum");
    for node in 1..=3 {
        let read = cluster.ask(node, "k", Operation::Get).await;
        assert_eq!(values(read.expect("a quorum")), ["v"]);
    }
    let again = cluster.node(3).backend().bootstrap().await;
    assert_eq!(again, Err(AdminError::HasCluster { cluster: id }));
    let status = cluster.node(2).backend().status().await.expect("a status");
    let nodes: Vec<u32> = status.nodes.iter().map(|status| status.node.0).collect();
    assert_eq!(nodes, [1, 2, 3]);
    assert!(
        status
            .nodes
            .iter()
            .all(|status| status.state == NodeState::Up)
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_back_with_their_data_and_without_it() {
    let mut cluster = Cluster::bootstrapped(|_| ()).await;
    for n in 0..50 {
        let (name, node) = (format!("k{n}"), n % 3 + 1);
        cluster
            .ask(node, &name, put(&format!("v{n}")))
            .await
            .expect("a quorum");
        let count = Operation::Increment { by: i64::from(n) };
        cluster.ask(node, "count", count).await.expect("a quorum");
    }
    // With its store, and while the others go on.
    cluster.stop(1).await;
    cluster
        .ask(2, "k0", put("newer"))
        .await
        .expect("two of three");
    cluster.start(1).await;
    cluster.until_up().await;
    assert_eq!(
        values(
            cluster
                .ask(1, "k0", Operation::Get)
                .await
                .expect("a quorum")
        ),
        ["newer"]
    );
    // Without its store: the directory says that it has started before.
    cluster.stop(3).await;
    cluster.remove_store(3);
    cluster.start(3).await;
    cluster.until_up().await;
    // Without anything: it has to learn of the cluster from the others, even with the word to bootstrap.
    cluster.stop(2).await;
    cluster.remove_everything(2);
    cluster.start_with(2, true).await;
    cluster.until_up().await;
    cluster.until_equal().await;
    for node in 1..=3 {
        for n in 1..50 {
            let read = cluster
                .ask_at(node, &format!("k{n}"), Operation::Get, Level::One)
                .await;
            assert_eq!(values(read.expect("it is there")), [format!("v{n}")]);
        }
        let count = cluster
            .ask_at(node, "count", Operation::Look, Level::One)
            .await;
        assert_eq!(counter(count.expect("it is there")), Some(49 * 50 / 2));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_increments_through_three_nodes_sum_up_exactly() {
    let cluster = Cluster::bootstrapped(|_| ()).await;
    let mut answers = Vec::new();
    for round in 1..=100_i64 {
        for node in 1..=3 {
            // Other keys between them: a counter takes no more room for that.
            let name = ["a", "b"][round as usize % 2];
            let request = StoreRequest::new(key(name), Operation::Increment { by: round });
            answers.push(cluster.node(node).backend().submit(request));
        }
    }
    for answer in answers {
        answer.await.expect("the node runs").expect("a quorum");
    }
    let sum = |parity: i64| 3 * (1..=100).filter(|n| n % 2 == parity).sum::<i64>();
    for node in 1..=3 {
        for (name, parity) in [("a", 0), ("b", 1)] {
            let look = cluster.ask(node, name, Operation::Look).await;
            assert_eq!(counter(look.expect("a quorum")), Some(sum(parity)));
        }
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_add_wins_over_a_concurrent_removal_and_a_drop_takes_what_it_has_seen() {
    let cluster = Cluster::bootstrapped(|_| ()).await;
    let added = cluster
        .ask(1, "s", add(&["x", "y", "x"]))
        .await
        .expect("a quorum");
    assert_eq!(effect(added).added, 2);
    cluster.until_equal().await;
    // Node 3 is away and removes nothing; what is added again meanwhile stays.
    let seen = cluster
        .ask(2, "s", Operation::Look)
        .await
        .expect("a quorum");
    let seen = seen.seen().clone();
    cluster.ask(1, "s", add(&["x"])).await.expect("a quorum");
    let stale = StoreRequest::new(key("s"), remove(&["x", "y"]));
    let stale = stale.after(seen.clone()).having_read(seen.context.clone());
    cluster.submit(2, stale).await.expect("a quorum");
    for node in 1..=3 {
        let look = cluster
            .ask(node, "s", Operation::Look)
            .await
            .expect("a quorum");
        assert_eq!(members(look), ["x"], "it was added again");
    }
    let count = |by| Operation::Increment { by };
    let counted = cluster.ask(3, "s", count(4)).await.expect("a quorum");
    assert_eq!(effect(counted).counter, Some(4));
    // A drop that has read first takes all of it, wherever it was written.
    let seen = cluster
        .ask(1, "s", Operation::Look)
        .await
        .expect("a quorum");
    let drop = StoreRequest::new(key("s"), Operation::Drop).after(seen.seen().clone());
    cluster.submit(1, drop).await.expect("a quorum");
    let look = cluster
        .ask(2, "s", Operation::Look)
        .await
        .expect("a quorum");
    assert_eq!((counter(look.clone()), members(look)), (None, vec![]));
    cluster.until_equal().await;
    for node in 1..=3 {
        let backend = cluster.node(node).backend();
        assert!(!backend.peek(Space::Types, &key("s")));
        assert_eq!(backend.key_count(), Ok(0));
        assert_eq!(backend.scan(None, 10).await, Ok(vec![]));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_keys_of_others_are_forwarded_and_sessions_go_from_node_to_node() {
    // Each key on two of three nodes, in eight partitions.
    let cluster = Cluster::bootstrapped(|options| {
        for config in [&mut options.configs.strings, &mut options.configs.types] {
            *config = config.clone().with_owners(2);
            config.partitions = 8;
        }
    })
    .await;
    assert!(!cluster.node(1).backend().owns_everything());
    let placement = |space| cluster.node(1).backend().placement(space);
    let mut session = StoreSession::new(placement(Space::Strings), placement(Space::Types));
    for n in 0..60_u32 {
        let (name, node) = (format!("k{n}"), n % 3 + 1);
        for operation in [
            put(&format!("v{n}")),
            Operation::Increment {
                by: i64::from(n) + 1,
            },
        ] {
            let request = StoreRequest::new(key(&name), operation.clone()).at(Level::One);
            let answer = cluster
                .submit(node, session.follow(request))
                .await
                .expect("an owner");
            session
                .note(name.as_bytes(), &operation, &answer)
                .expect("small");
        }
    }
    let text = session.to_text();
    let resumed = StoreSession::resume(
        placement(Space::Strings),
        placement(Space::Types),
        text.as_bytes(),
    )
    .expect("its own token");
    for n in 0..60_u32 {
        let (name, node) = (format!("k{n}"), (n + 1) % 3 + 1);
        let read =
            |operation| resumed.follow(StoreRequest::new(key(&name), operation).at(Level::One));
        let string = cluster
            .submit(node, read(Operation::Get))
            .await
            .expect("it catches up");
        assert_eq!(values(string), [format!("v{n}")]);
        let count = cluster
            .submit(node, read(Operation::Look))
            .await
            .expect("it catches up");
        assert_eq!(counter(count), Some(i64::from(n) + 1));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn siblings_are_kept_and_replaced_by_whoever_has_seen_them() {
    let cluster = Cluster::bootstrapped(|options| {
        options.conflict = ConflictPolicy::Siblings;
        options.configs.strings.clock = replica::ClockKind::Lamport;
    })
    .await;
    let nothing = || StoreRequest::new(key("k"), put("")).having_read(Default::default());
    let write = |value| StoreRequest {
        operation: put(value),
        ..nothing()
    };
    cluster.submit(1, write("one")).await.expect("a quorum");
    cluster.submit(2, write("two")).await.expect("a quorum");
    let read = cluster.ask(3, "k", Operation::Get).await.expect("a quorum");
    let seen = read.seen().clone();
    let mut both = values(read);
    both.sort();
    assert_eq!(both, ["one", "two"]);
    let merged = StoreRequest {
        context: Some(seen.context.clone()),
        ..write("both")
    };
    cluster
        .submit(3, merged.after(seen))
        .await
        .expect("a quorum");
    assert_eq!(
        values(cluster.ask(1, "k", Operation::Get).await.expect("a quorum")),
        ["both"]
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_a_peer_is_counted_and_changes_nothing() {
    let cluster = Cluster::bootstrapped(|_| ()).await;
    cluster.ask(1, "k", put("v")).await.expect("a quorum");
    let before = cluster.node(1).invalid_messages();
    cluster.send_garbage_as(3, 1).await;
    let deadline = Instant::now() + PATIENCE;
    until(deadline, || cluster.node(1).invalid_messages() > before).await;
    cluster.ask(2, "k", put("w")).await.expect("a quorum");
    assert_eq!(
        values(cluster.ask(1, "k", Operation::Get).await.expect("a quorum")),
        ["w"]
    );
    assert_eq!(cluster.node(1).id(), NodeId(1));
    cluster.stop_all().await;
}
