//! Parts of a partition that show in no single message.

use super::*;
use crate::{Gossip, Level, PartitionId};
use crdt::{CausalContext, Dot, HeldBack};
use std::collections::BTreeSet;

fn config(nodes: u32) -> Config {
    Config::new(NodeId(1), nodes)
}

fn empty(config: Config, random: u64) -> Partition {
    Partition::empty(config, random, Now::default()).expect("a valid configuration")
}

/// Identities, the numbers of reads and the choice of peers all come from here.
#[test]
fn random_numbers_are_those_of_splitmix64() {
    let mut partition = empty(config(3), 1_234_567);
    let expected = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
    ];
    for number in expected {
        assert_eq!(partition.random_number(), number);
    }
    let mut bits = empty(config(3), 1_234_567);
    assert_eq!(bits.random_bits(), (expected[0] >> 48) as u16);
}

#[test]
fn a_key_weighs_what_it_and_its_cell_take() {
    let dot = Dot::new(ReplicaId(1), 1);
    let cell = StoredCell::entry(dot, crdt::Timestamp(1), Some(Bytes::from("value")));
    assert_eq!(weight::<Lww>(&Bytes::from("key"), &cell), 3 + 16 + 5);
}

fn gossiping(nodes: u32, fanout: u32) -> Config {
    let peers = Vec::new();
    Config {
        gossip: Some(Gossip { fanout, peers }),
        ..config(nodes)
    }
}

#[test]
fn gossip_goes_to_as_many_peers_as_the_fanout_says_and_to_each_as_often() {
    let mut partition = empty(gossiping(10, 3), 7);
    let mut chosen = BTreeMap::<NodeId, u32>::new();
    for _ in 0..300 {
        let peers = partition.peers_to_tell();
        let distinct: BTreeSet<NodeId> = peers.iter().copied().collect();
        assert_eq!((peers.len(), distinct.len()), (3, 3));
        for peer in peers {
            *chosen.entry(peer).or_default() += 1;
        }
    }
    assert_eq!(chosen.len(), 9);
    // 100 on average; the standard deviation is 8.
    assert!(
        chosen.values().all(|count| (70..130).contains(count)),
        "{chosen:?}"
    );
    let mut all = empty(gossiping(4, 9), 7);
    assert_eq!(all.peers_to_tell().len(), 3, "there are no more");
    let mut owners = empty(config(4), 7);
    assert_eq!(owners.peers_to_tell(), [2, 3, 4].map(NodeId));
}

/// Where nobody can be asked which numbers were taken, a new writer takes one that no bootstrap takes.
#[test]
fn who_joins_a_gossip_has_an_odd_number() {
    let numbers = (0..40).map(|random| {
        let partition = Partition::<Lww>::recover(gossiping(4, 1), random, Now::default());
        let id = partition.expect("valid").incarnation();
        crate::incarnation_number(id.expect("at once"))
    });
    let numbers: BTreeSet<u16> = numbers.collect();
    assert!(numbers.iter().all(|number| number % 2 == 1), "{numbers:?}");
    assert!(numbers.len() > 30, "{numbers:?}");
}

fn report(change: impl FnOnce(&mut TombstoneReport)) -> TombstoneReport {
    let mut report = TombstoneReport {
        time: crdt::Timestamp(5),
        held_back_by: Vec::new(),
        unheard_of: Vec::new(),
        own_clock: None,
        no_horizon: false,
        is_not_serving: false,
        is_kept_for_good: false,
    };
    change(&mut report);
    report
}

#[test]
fn a_tombstone_is_free_when_nothing_at_all_holds_it_back() {
    let free = report(|_| ());
    assert!(free.is_free());
    assert!(free.to_string().contains("nothing holds it back"));
    let writer = crate::incarnation(NodeId(2), 0, 1);
    let held = [
        report(|r| r.held_back_by = vec![(writer, HeldBack::NoPromise)]),
        report(|r| r.unheard_of = vec![NodeId(3)]),
        report(|r| r.own_clock = Some(crdt::Timestamp(4))),
        report(|r| r.no_horizon = true),
        report(|r| r.is_not_serving = true),
        report(|r| r.is_kept_for_good = true),
    ];
    let words = [
        "by node 2",
        "by node 3",
        "by the own clock",
        "no horizon is set",
        "does not serve",
        "kept for good",
    ];
    for (report, word) in held.into_iter().zip(words) {
        assert!(!report.is_free(), "{word}");
        let told = report.to_string();
        assert!(
            told.contains(word) && !told.contains("nothing holds"),
            "{told}"
        );
    }
}

#[test]
fn the_own_clock_holds_a_tombstone_back_until_it_has_come_as_far() {
    let time = crdt::Timestamp(5);
    for (clock, held_back_at) in [(4, Some(4)), (5, None), (6, None)] {
        let mut partition = empty(config(3), 1);
        partition.clock.resume(crdt::Timestamp(clock));
        let explained = partition.tombstone_report(time);
        assert_eq!(explained.own_clock, held_back_at.map(crdt::Timestamp));
        assert_eq!(explained.unheard_of, [2, 3].map(NodeId));
    }
}

#[test]
fn an_explanation_tells_what_is_out_of_the_ordinary_and_nothing_else() {
    let dot = Dot::new(crate::incarnation(NodeId(2), 0, 1), 1);
    let ordinary = Explanation {
        node: NodeId(1),
        state: State::Up,
        partition: PartitionId(0),
        cell: StoredCell::entry(dot, crdt::Timestamp(1), Some(Bytes::from("v"))),
        is_visible: true,
        live: vec![dot],
        known: [dot].into_iter().collect(),
        beyond_base: CausalContext::default(),
        tombstone: None,
    };
    let told = ordinary.to_string();
    assert!(told.contains("shows a value") && told.contains("written at node 2"));
    assert!(!told.contains("answers no reads") && !told.contains("not for all"));
    let mut special = ordinary;
    special.state = State::Recovering;
    special.beyond_base = [dot].into_iter().collect();
    let told = special.to_string();
    assert!(told.contains("it answers no reads: Recovering"), "{told}");
    assert!(
        told.contains("known for this key and not for all"),
        "{told}"
    );
}

#[test]
fn keys_that_show_a_value_are_scanned_in_order_and_in_parts() {
    let mut partition = Partition::<Lww>::bootstrap(config(3), 1, Now::default()).expect("valid");
    let put = |key: &'static str| Command::put(key.into(), "v".into());
    let commands = ["c", "a", "d", "b"].map(put);
    let delete = Command::delete("b".into());
    for (id, command) in (1..).zip(commands.into_iter().chain([delete])) {
        let request = Request::new(command, Level::One);
        partition.handle_request(RequestId(id), request, Now::default());
    }
    let scan = |after: Option<&'static str>, limit| {
        let after = after.map(Bytes::from);
        let keys = partition
            .scan_local(after.as_ref(), limit)
            .expect("it serves");
        keys.into_iter()
            .map(|k| String::from_utf8_lossy(&k).into_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(scan(None, 9), ["a", "c", "d"]);
    assert_eq!(scan(None, 2), ["a", "c"]);
    assert_eq!(scan(Some("a"), 9), ["c", "d"]);
    assert_eq!(scan(Some("d"), 9), Vec::<String>::new());
    assert_eq!(partition.read_local(b"a"), Ok(Some(Bytes::from("v"))));
    assert_eq!(partition.read_local(b"b"), Ok(None));
    let read = |floor: &crate::Floor| partition.read_one(&Bytes::from("a"), floor);
    let one = read(&crate::Floor::default()).expect("it serves");
    let value = one.as_ref().and_then(Outcome::value);
    assert_eq!(value, Some(&Bytes::from("v")));
    let unseen = crate::Floor {
        context: [Dot::new(ReplicaId(9), 1)].into_iter().collect(),
        ..crate::Floor::default()
    };
    assert_eq!(read(&unseen), Ok(None), "others must be asked");
    let cell = partition.cell_local(b"b").expect("it serves");
    assert!(
        cell.is_some_and(|cell| cell.value().is_none()),
        "a tombstone"
    );
}
