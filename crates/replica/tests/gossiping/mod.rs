//! Nodes that gossip, message by message: whom they tell, and what an answer costs.

use replica::{Envelope, Gossip, Message, NodeId, incarnation};

use crate::support::{Bench, Flight};
use crate::{A, B};

const K: &str = "k";

/// Six nodes, each of which tells two others.
fn bench() -> Bench {
    Bench::new(6, |config| {
        let (fanout, peers) = (2, Vec::new());
        config.gossip = Some(Gossip { fanout, peers });
    })
}

fn probes(bench: &mut Bench, node: u32) -> Vec<Flight> {
    bench.tick(node);
    bench.take(|f| matches!(f.envelope.message, Message::Probe { .. }))
}

#[test]
fn who_knows_the_same_says_nothing_and_who_does_not_asks() {
    let mut bench = bench();
    let told = probes(&mut bench, A);
    assert_eq!(told.len(), 2);
    assert!(bench.bag.is_empty(), "a digest is all that is sent");
    let same = told[0].to;
    told.into_iter().for_each(|f| bench.arrive(f));
    assert!(bench.bag.is_empty());
    assert_eq!(bench.node(same).counters().probes_differed, 0);
    bench.write_one(A, K, Some("v"));
    assert_eq!(bench.bag.len(), 2, "new writes go out at once, as far");
    bench.lose_all();
    for probe in probes(&mut bench, A) {
        let node = probe.to;
        bench.arrive(probe);
        assert_eq!(bench.node(node).counters().probes_differed, 1);
        bench.run(|f| f.among(&[A, node]));
        assert_eq!(bench.shows(node, K), Some("v"));
    }
    let lacks = bench.node(A).status().lacks;
    assert!(
        lacks.is_empty(),
        "nobody keeps what so many know: {lacks:?}"
    );
}

#[test]
fn logs_are_trimmed_by_their_size() {
    let mut bench = Bench::new(3, |config| {
        let (fanout, peers) = (1, Vec::new());
        config.gossip = Some(Gossip { fanout, peers });
        config.max_log_events = 1;
    });
    for key in ["a", "b", "c"] {
        bench.write_one(A, key, Some("v"));
    }
    bench.tick(A);
    assert_eq!(bench.node(A).status().log_events, 1);
}

#[test]
fn nobody_speaks_for_another() {
    let mut bench = bench();
    bench.write_one(B, K, Some("v"));
    let flight = bench.bag.remove(0);
    bench.lose_all();
    let to = flight.to;
    let stranger = incarnation(NodeId(60), 1, 1);
    for from in [Some(stranger), None] {
        let envelope = Envelope {
            from,
            ..flight.envelope.clone()
        };
        let fenced = bench.node(to).counters().fenced_messages;
        bench.arrive(Flight {
            envelope,
            ..flight.clone()
        });
        assert_eq!(bench.node(to).counters().fenced_messages, fenced + 1);
        assert_eq!(bench.shows(to, K), None);
    }
    bench.arrive(flight);
    assert_eq!(bench.shows(to, K), Some("v"));
}
