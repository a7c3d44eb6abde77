//! Requests through nodes that do not own the key.

use bytes::Bytes;
use replica::sim::{SimConfig, Simulation};
use replica::{Command, Config, Level, NodeId, PartitionId, Request, RequestError};

const KEY: &[u8] = b"k";

/// A durable store of three nodes in which each key is on one of them; the owner of the key, and another
/// node.
fn cluster() -> (Simulation, NodeId, NodeId) {
    let mut config = Config::new(NodeId(1), 3).with_owners(1);
    config.durable = true;
    config.resend_ms = 20;
    config.request_timeout_ms = 1_000;
    let owner = config.placement().owners(PartitionId(0))[0];
    let asked = NodeId(owner.0 % 3 + 1);
    let simulation = Simulation::new(SimConfig::new(config, 1));
    (simulation, owner, asked)
}

fn put(simulation: &mut Simulation, asked: NodeId, value: &'static str) -> replica::sim::Ticket {
    let put = Command::put(
        Bytes::from_static(KEY),
        Bytes::from_static(value.as_bytes()),
    );
    simulation.ask(asked, Request::new(put, Level::One))
}

fn minted(simulation: &Simulation, owner: NodeId) -> u64 {
    simulation
        .partition(owner)
        .expect("up")
        .replica()
        .own_counter()
}

#[test]
fn a_write_that_is_sent_again_happens_once() {
    let (mut simulation, owner, asked) = cluster();
    simulation.network.duplication = 0.5;
    for n in 1..=20 {
        simulation.network.loss = 0.3;
        let ticket = put(&mut simulation, asked, "v");
        simulation.run_for(500);
        simulation.network.loss = 0.0;
        assert!(simulation.wait(ticket).is_ok());
        assert_eq!(minted(&simulation, owner), n);
    }
}

#[test]
fn a_write_whose_owner_was_restarted_meanwhile_happens_once_and_its_outcome_is_unknown() {
    let (mut simulation, owner, asked) = cluster();
    let ticket = put(&mut simulation, asked, "before");
    assert!(simulation.wait(ticket).is_ok());
    simulation.network.cut(owner, asked);
    let ticket = put(&mut simulation, asked, "v");
    simulation.run_for(50);
    assert_eq!(
        minted(&simulation, owner),
        2,
        "carried out, and the answer lost"
    );
    simulation.fail(owner);
    simulation.restart(owner);
    simulation.network.heal();
    let partition = PartitionId(0);
    let may_take_effect = true;
    let unknown = RequestError::Unreachable {
        partition,
        may_take_effect,
    };
    assert_eq!(simulation.wait(ticket).map(|_| ()), Err(unknown));
    assert_eq!(minted(&simulation, owner), 2);
    let ticket = put(&mut simulation, asked, "after");
    assert!(simulation.wait(ticket).is_ok(), "the new life is known now");
}

#[test]
fn a_write_to_an_owner_that_has_started_again_is_carried_out_if_it_was_seen_to_be_gone() {
    for is_seen in [true, false] {
        let (mut simulation, owner, asked) = cluster();
        let ticket = put(&mut simulation, asked, "before");
        assert!(simulation.wait(ticket).is_ok());
        simulation.fail(owner);
        if is_seen {
            simulation.hint(asked, owner, false);
            simulation.hint(asked, owner, true);
        }
        simulation.restart(owner);
        let ticket = put(&mut simulation, asked, "after");
        let written = simulation.wait(ticket);
        assert_eq!(written.is_ok(), is_seen);
        assert_eq!(minted(&simulation, owner), 1 + u64::from(is_seen));
    }
}

#[test]
fn a_read_is_answered_by_another_owner_when_the_first_is_silent() {
    let config = Config::new(NodeId(1), 4).with_owners(3);
    let owners = config.placement().owners(PartitionId(0));
    let asked = (1..=4)
        .map(NodeId)
        .find(|n| !owners.contains(n))
        .expect("one node owns nothing");
    let mut simulation = Simulation::<replica::Lww>::new(SimConfig::new(config, 1));
    let ticket = put(&mut simulation, asked, "v");
    assert!(simulation.wait(ticket).is_ok());
    assert!(simulation.settle(60_000));
    simulation.network.cut(owners[0], asked);
    let get = Request::new(Command::get(Bytes::from_static(KEY)), Level::One);
    let ticket = simulation.ask(asked, get);
    let read = simulation.wait(ticket).expect("another owner answers");
    assert_eq!(read.value(), Some(&Bytes::from_static(b"v")));
}
