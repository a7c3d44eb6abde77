//! Who a node is and what it takes note of: identities, views, hints of damage, and what it persists.

use bytes::Bytes;
use crdt::{Claim, KeyListing, Listing, OwnerView, Timestamp};
use replica::{
    Config, Envelope, Level, MemoryStorage, Message, NodeId, Now, Partition, Request, RequestError,
    Storage as _, StorageError, StoreListing, Table, incarnation, incarnation_number,
};
use std::sync::Arc;

use crate::support::{Bench, Flight, put};
use crate::{A, B, C, D, E};

const K: &str = "k";

/// A message that changes nothing by itself, from an incarnation, with this view beside it.
fn nothing(id: crdt::ReplicaId, view: OwnerView) -> Envelope {
    Envelope {
        from: Some(id),
        view: Arc::new(view),
        clock: Timestamp::default(),
        message: Message::WrittenBack { read: 0 },
    }
}

fn arrive(bench: &mut Bench, from: u32, to: u32, envelope: Envelope) {
    bench.arrive(Flight { from, to, envelope });
}

/// B repairs a node with this listing.
fn repair(bench: &mut Bench, to: u32, listing: StoreListing) {
    let id = bench.node(B).incarnation().expect("it has one");
    let view = bench.node(B).view().clone();
    let listing = Arc::new(listing);
    let message = Message::Repair { listing };
    let envelope = Envelope {
        message,
        ..nothing(id, view)
    };
    arrive(bench, B, to, envelope);
}

#[test]
fn strangers_are_not_heard() {
    let mut bench = Bench::new(3, |_| ());
    let before = bench.node(A).view().clone();
    let stranger = incarnation(NodeId(9), 1, 1);
    arrive(&mut bench, 9, A, nothing(stranger, OwnerView::default()));
    arrive(
        &mut bench,
        9,
        A,
        Envelope {
            message: Message::Hello,
            ..nothing(stranger, OwnerView::default())
        },
    );
    assert_eq!(bench.node(A).view(), &before);
    assert!(bench.bag.is_empty());
}

#[test]
fn a_sender_is_recorded_though_its_view_does_not_name_it() {
    let mut bench = Bench::new(3, |_| ());
    bench.settle();
    let lacks = |bench: &Bench| bench.node(A).status().lacks;
    assert_eq!(lacks(&bench), [(NodeId(B), 0), (NodeId(C), 0)]);
    let new = incarnation(NodeId(B), 3, 7);
    arrive(&mut bench, B, A, nothing(new, OwnerView::default()));
    assert_eq!(bench.node(A).view().current(B), Some(new));
    assert_eq!(lacks(&bench), [(NodeId(C), 0)], "nobody knows what it has");
    let fenced = bench.node(A).counters().fenced_messages;
    let old = incarnation(NodeId(B), 2, 7);
    arrive(&mut bench, B, A, nothing(old, OwnerView::default()));
    assert_eq!(bench.node(A).counters().fenced_messages, fenced + 1);
    // Whoever speaks for another is not heard either.
    arrive(&mut bench, C, A, nothing(new, OwnerView::default()));
    assert_eq!(bench.node(A).counters().fenced_messages, fenced + 2);
}

#[test]
fn a_node_whose_place_was_taken_goes_on_as_another() {
    let mut bench = Bench::new(3, |_| ());
    let before = bench.node(A).incarnation().expect("it has one");
    let pending = [bench.put(A, K, "v"), bench.get(A, K)];
    bench.lose_all();
    let other = incarnation(NodeId(A), incarnation_number(before) + 4, 7);
    let mut view = bench.node(B).view().clone();
    view.record(A, other);
    let id = bench.node(B).incarnation().expect("it has one");
    arrive(&mut bench, B, A, nothing(id, view));
    assert_eq!(bench.node(A).incarnation(), None);
    assert!(!bench.is_up(A));
    // What it has acknowledged itself counts no more than what another of the dead has.
    for (request, acknowledged) in pending.into_iter().zip([0, 1]) {
        let (needed, may_take_effect) = (2, acknowledged == 0);
        let error = RequestError::NoMajority {
            acknowledged,
            needed,
            may_take_effect,
        };
        assert_eq!(bench.failure(request), &error);
    }
    let refused = bench.get_at(A, K, Level::One);
    let error = RequestError::Recovering {
        node: NodeId(A),
        reconciled: 0,
        needed: 2,
    };
    assert_eq!(bench.failure(refused), &error);
    assert_eq!(bench.node(A).status().recovery, Some((0, 2)));
    assert_eq!(bench.node(A).status().pending, 0);
    assert_eq!(bench.settled(K), Some("v"), "nothing is lost");
    let after = bench.node(A).incarnation().expect("a new one");
    assert_eq!(incarnation_number(after), incarnation_number(other) + 1);
    assert_eq!(bench.node(A).status().recovery, None);
}

/// C loses the last of its commits, and hears of what it has lost by a write, a repair or a chunk, before any
/// synchronisation.
#[test]
fn what_a_node_has_lost_is_noticed_in_whatever_it_is_sent() {
    // B holds C's event; or has overwritten it; or shows it in a chunk of a transfer.
    for way in ["live", "covered", "chunk"] {
        let mut bench = Bench::new(3, |config| config.durable = true);
        bench.write_one(C, "first", Some("v"));
        bench.run(|_| true);
        let old = bench.disk(C);
        bench.write_one(C, K, Some("lost"));
        bench.run(|f| f.goes(C, B));
        bench.lose_all();
        let kept = bench.live(C, "first").expect("it is there");
        bench.restart_with(C, old);
        let before = bench.node(C).incarnation().expect("it has one");
        assert_eq!(kept.replica, before);
        // What it still has is no sign of a loss.
        bench.get(B, "first");
        bench.run(|f| f.among(&[B, C]));
        bench.lose_all();
        bench.write_one(A, "first", Some("overwritten"));
        bench.run(|f| f.goes(A, C));
        assert_eq!(bench.node(C).incarnation(), Some(before));
        match way {
            "live" => {
                bench.get(B, K);
                bench.run(|f| f.among(&[B, C]) && f.kind() != "hello");
            }
            "covered" => {
                let lost = bench.live(B, K).expect("B has it");
                bench.write_one(B, K, Some("newer"));
                bench.lose_all();
                let cell = bench.node(B).replica().map().get(&b"k"[..]).cloned();
                let cell = cell.expect("B has it");
                let key = Bytes::from_static(b"k");
                let listing = KeyListing::new(key, cell, Claim::Itself, [lost]);
                repair(&mut bench, C, Listing::Key(listing.expect("a valid one")));
            }
            _ => {
                let chunk = Envelope {
                    message: Message::TransferRequest {
                        from: crdt::Cut::BelowAll,
                    },
                    ..nothing(before, bench.node(C).view().clone())
                };
                arrive(&mut bench, C, B, chunk);
                bench.run(|f| f.goes(B, C));
            }
        }
        assert_eq!(bench.node(C).incarnation(), None, "noticed by {way}");
        bench.lose_all();
        bench.settle();
        assert!(bench.shows(C, K).is_some());
    }
}

/// A chunk from somebody who knows less of this node's own events than the node itself is no sign of a loss.
#[test]
fn who_knows_less_of_a_node_than_itself_does_not_make_it_give_up_its_identity() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(C, "first", Some("v"));
    bench.run(|_| true);
    bench.write_one(C, K, Some("mine"));
    bench.lose_all();
    let before = bench.node(C).incarnation().expect("it has one");
    let chunk = Envelope {
        message: Message::TransferRequest {
            from: crdt::Cut::BelowAll,
        },
        ..nothing(before, bench.node(C).view().clone())
    };
    arrive(&mut bench, C, B, chunk);
    bench.run(|f| f.goes(B, C));
    let first = bench
        .node(B)
        .replica()
        .list_key(Bytes::from_static(b"first"));
    repair(&mut bench, C, first);
    assert_eq!(bench.node(C).incarnation(), Some(before));
    assert_eq!(bench.settled(K), Some("mine"));
}

/// `k` was written by C and is obsolete at A, which has forgotten the tombstone: the repair leaves C with an
/// exception, and A with none.
#[test]
fn an_exception_is_counted_where_it_is_left() {
    let mut bench = Bench::new(3, |_| ());
    bench.write_one(C, K, Some("u"));
    bench.run(|_| true);
    crate::a_forgotten_delete(&mut bench);
    let left = |bench: &Bench| [A, C].map(|n| bench.node(n).counters().exceptions_left);
    let before = left(&bench);
    bench.get(A, K);
    bench.run(|f| f.among(&[A, C]));
    bench.lose_all();
    let status = bench.node(C).status();
    assert_eq!(status.exceptions, 1);
    assert_eq!(left(&bench), [before[0], before[1] + 1]);
    // Nothing that leaves the exceptions as they are counts.
    bench.write_one(A, "other", Some("x"));
    bench.run(|f| f.goes(A, C));
    assert_eq!(left(&bench), [before[0], before[1] + 1]);
    bench.settle();
    assert_eq!(
        left(&bench),
        [before[0], before[1] + 1],
        "nor what mends them"
    );
}

#[test]
fn what_changes_is_told_once_to_who_wants_to_know() {
    let mut bench = Bench::new(3, |_| ());
    let changed = |bench: &mut Bench, node| {
        let mut keys = Vec::new();
        bench.feed(node, |p, _| keys.extend(p.take_changed()));
        keys
    };
    bench.write_one(A, "before", Some("v"));
    bench.run(|_| true);
    for node in [A, B] {
        assert!(changed(&mut bench, node).is_empty(), "nobody wants to know");
        bench.feed(node, |p, _| p.watch_changes(true));
    }
    bench.write_one(A, K, Some("v"));
    let copy = bench.bag.clone();
    bench.run(|_| true);
    for node in [A, B] {
        assert_eq!(changed(&mut bench, node), [Bytes::from("k")], "at {node}");
    }
    copy.into_iter().for_each(|f| bench.arrive(f));
    bench.delete(C, "absent");
    bench.run(|_| true);
    assert_eq!(
        changed(&mut bench, B),
        Vec::<Bytes>::new(),
        "it shows nothing new"
    );
    bench.delete(C, K);
    bench.run(|_| true);
    assert_eq!(changed(&mut bench, B), [Bytes::from("k")]);
    bench.feed(B, |p, _| p.watch_changes(false));
    bench.write_one(A, K, Some("w"));
    bench.run(|_| true);
    assert!(changed(&mut bench, B).is_empty());
}

/// Keys, events and state that a store holds.
fn contents(disk: &MemoryStorage) -> [usize; 3] {
    [Table::Cells, Table::Log, Table::Meta].map(|table| {
        let mut count = 0;
        disk.scan(table, &mut |_, _| {
            count += 1;
            Ok(())
        })
        .expect("memory is read");
        count
    })
}

#[test]
fn the_log_is_stored_with_the_entries_and_trimmed_with_them() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    for key in ["a", "b"] {
        bench.write_one(A, key, Some("v"));
    }
    bench.run(|f| f.among(&[A, B]));
    bench.lose_all();
    for node in [A, B] {
        assert_eq!(contents(&bench.disk(node)), [2, 2, 1], "at {node}");
        let disk = bench.disk(node);
        bench.restart_with(node, disk);
        assert_eq!(bench.node(node).status().log_events, 2, "at {node}");
    }
    let lacks = |bench: &Bench| bench.node(C).status().lacks;
    assert_eq!(lacks(&bench), []);
    let question = Envelope {
        message: Message::SyncRequest {
            knowledge: Arc::new(bench.node(A).replica().knowledge().clone()),
            want_entries: false,
        },
        ..nothing(
            bench.node(A).incarnation().expect("it has one"),
            bench.node(A).view().clone(),
        )
    };
    arrive(&mut bench, A, C, question);
    assert_eq!(lacks(&bench), [(NodeId(A), 2)]);
    bench.settle();
    assert_eq!(lacks(&bench), [(NodeId(A), 0), (NodeId(B), 0)]);
    for node in [A, B, C] {
        assert_eq!(bench.node(node).status().log_events, 0, "all have them");
        assert_eq!(contents(&bench.disk(node)), [2, 0, 1], "at {node}");
    }
}

#[test]
fn what_brings_nothing_new_is_not_stored() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    bench.write_one(B, K, Some("v"));
    let flight = bench.take(|f| f.goes(B, A)).remove(0);
    bench.arrive(flight.clone());
    let again = |bench: &mut Bench, flight: &Flight| {
        let mut persisted = None;
        let from = NodeId(flight.from);
        bench.feed(A, |p, now| {
            p.handle_message(from, flight.envelope.clone(), now);
            persisted = p.take_ready().persist;
        });
        persisted
    };
    assert_eq!(again(&mut bench, &flight), None);
    bench.write_one(B, K, Some("w"));
    let flight = bench.take(|f| f.goes(B, A)).remove(0);
    assert!(again(&mut bench, &flight).is_some());
}

#[test]
fn a_store_of_another_place_is_refused_by_name() {
    let mut bench = Bench::new(3, |config| config.durable = true);
    bench.write_one(A, K, Some("v"));
    bench.lose_all();
    let disk = bench.disk(A);
    let mut own = Config::new(NodeId(A), 3);
    own.durable = true;
    let refused = |change: &dyn Fn(&mut Config), as_new: bool| {
        let mut config = own.clone();
        change(&mut config);
        let start = match as_new {
            true => Partition::<replica::Lww>::recover_with,
            false => Partition::restore,
        };
        let started = start(config, &disk, 9, Now::default());
        started.map(|p| p.is_some()).map_err(|e| e.operation)
    };
    let other_node = |config: &mut Config| config.node = NodeId(B);
    let more_nodes = |config: &mut Config| {
        *config = Config {
            node: NodeId(A),
            replication_factor: 3,
            write_quorum: 2,
            read_quorum: 2,
            ..Config::new(NodeId(A), 4)
        };
    };
    let fewer_owners = |config: &mut Config| *config = config.clone().with_owners(2);
    let other_partition = |config: &mut Config| {
        config.partitions = 2;
        config.partition = replica::PartitionId(1);
    };
    let other_clock = |config: &mut Config| config.clock = replica::ClockKind::Caller;
    for as_new in [false, true] {
        assert_eq!(refused(&|_| (), as_new), Ok(true));
        for (change, what) in [
            (
                &more_nodes as &dyn Fn(&mut Config),
                "number of nodes of the store",
            ),
            (&fewer_owners, "owners of each key of the store"),
            (&other_partition, "partition of the store"),
            (&other_clock, "clock of the store"),
        ] {
            assert_eq!(refused(change, as_new), Err(what), "as new: {as_new}");
        }
    }
    assert_eq!(refused(&other_node, false), Err("node of the store"));
    assert_eq!(
        refused(&other_node, true),
        Ok(true),
        "whose it was does not matter"
    );
}

#[test]
fn acknowledgements_of_the_dead_are_dropped_one_by_one() {
    let mut bench = Bench::new(5, |config| {
        (config.write_quorum, config.read_quorum) = (5, 1);
    });
    bench.put(A, K, "v");
    bench.run(|f| f.among(&[A, B, C]));
    let read = bench.get_at(A, K, Level::Linearizable);
    bench.run(|f| f.among(&[A, B, C]));
    bench.lose_all();
    assert_eq!(bench.reply(read), None, "D and E have not confirmed");
    bench.lose_data(B);
    bench.talk(&[B, C, D, E]);
    assert_eq!(bench.node(A).counters().acknowledgements_dropped, 0);
    let id = bench.node(C).incarnation().expect("it has one");
    let view = bench.node(C).view().clone();
    arrive(&mut bench, C, A, nothing(id, view));
    assert_eq!(
        bench.node(A).counters().acknowledgements_dropped,
        2,
        "of the write and the read"
    );
}

#[test]
fn a_recovering_node_says_what_it_waits_for() {
    let mut bench = Bench::new(3, |_| ());
    bench.lose_data(C);
    let request = Request::new(put(K, "v"), Level::One);
    let refused = bench.ask(C, request);
    let error = RequestError::Recovering {
        node: NodeId(C),
        reconciled: 0,
        needed: 2,
    };
    assert_eq!(bench.failure(refused), &error);
    assert!(bench.node(C).read_local(b"k").is_err());
    bench.settle();
    assert_eq!(bench.node(C).read_local(b"k"), Ok(None));
}

#[test]
fn a_failure_of_storage_names_its_operation() {
    let error = StorageError::from(replica::ConfigError::Zero("chunk_keys"));
    assert_eq!(
        error.to_string(),
        "configuration: chunk_keys must not be zero"
    );
}
