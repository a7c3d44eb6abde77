//! Replication through delta buffers: on a network that loses, repeats and reorders, in any
//! topology, it gives what full-state replication gives, and sends nothing that is not needed.

mod subjects;

use crdt::{
    AcknowledgeError, AddWinsSet, Causal, CausalContext, CausalReplica, Closed, DeltaBuffer,
    Difference, DisableWinsFlag, DotFun, DotSet, EnableWinsFlag, GCounter, GSet, Gap, Lattice as _,
    LexicographicPair, LwwCell, LwwMap, LwwRegister, LwwSet, MapOf, Max, Min, MvCell, MvRegister,
    ObjectId, OrMap, OwnerView, Packet, Pair, PnCounter, Promises, ReceiveError, Received,
    RemoveWinsSet, ReplicaId, ResettableCounter, Siblings, TwoPhaseSet, VersionVector,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::convert::Infallible;
use subjects::{Digests, Known, Maps, Plain, Reports, Subject};

#[derive(Debug, Clone, Copy)]
enum Topology {
    Line,
    Ring,
    Full,
}

impl Topology {
    fn neighbours(self, at: usize, of: usize) -> Vec<usize> {
        let is_near = |other: &usize| match (self, at.abs_diff(*other)) {
            (_, 0) => false,
            (Self::Full, _) | (_, 1) => true,
            (Self::Ring, distance) => distance == of - 1,
            (Self::Line, _) => false,
        };
        (0..of).filter(is_near).collect()
    }
}

#[derive(Debug, Clone)]
enum Op {
    Change(u8, u8),
    /// Sends to a neighbour, and perhaps takes sending for an acknowledgement.
    Send(u8, u8, bool),
    /// Delivers any message in flight, and perhaps leaves it there to come again.
    Deliver(u8, bool),
    Lose(u8),
    /// Restarts a replica, which takes a new identity and an empty buffer.
    Restart(u8),
}

#[derive(Debug, Clone)]
struct Setup {
    topology: Topology,
    replicas: usize,
    limit: usize,
    /// The planted bug: payloads are joined whatever the inbox says.
    ignores_gaps: bool,
}

enum Content<L> {
    /// A packet, and the full state its sender had when it made it.
    Packet(Packet<L>, L),
    Acknowledge(u64),
    Refuse(Gap),
}

struct Message<L> {
    from: ReplicaId,
    to: ReplicaId,
    content: Content<L>,
}

struct Site<S: Subject> {
    id: ReplicaId,
    subject: S,
    buffer: DeltaBuffer<S::State>,
}

struct World<S: Subject> {
    setup: Setup,
    sites: Vec<Site<S>>,
    flying: Vec<Message<S::State>>,
    dead: Vec<ReplicaId>,
}

fn id(number: usize) -> ReplicaId {
    ReplicaId(number as u64 + 1)
}

/// What only a receiver that breaks the rules does: it passes the packet off as one that starts at
/// 1.
fn pry_open<L: Difference + Serialize + DeserializeOwned>(packet: &Packet<L>) -> L {
    let mut value = serde_json::to_value(packet).expect("packets encode");
    value["first"] = 1.into();
    let forged = serde_json::from_value(value).expect("packets decode");
    let mut nobody = DeltaBuffer::<L>::new(&L::default(), 0);
    match nobody.receive(ReplicaId(1), forged) {
        Ok(Received::News(accepted)) => accepted.payload().clone(),
        other => panic!("{other:?}"),
    }
}

impl<S: Subject> World<S> {
    fn new(setup: Setup) -> Self {
        let site = |number| {
            let subject = S::new(id(number));
            let mut buffer = DeltaBuffer::new(subject.state(), setup.limit);
            let near = setup.topology.neighbours(number, setup.replicas);
            near.into_iter().for_each(|n| buffer.add_peer(id(n)));
            let id = id(number);
            Site {
                id,
                subject,
                buffer,
            }
        };
        Self {
            sites: (0..setup.replicas).map(site).collect(),
            setup,
            flying: Vec::new(),
            dead: Vec::new(),
        }
    }

    fn step(&mut self, op: &Op) -> Result<(), String> {
        let at = |n: u8| usize::from(n) % self.sites.len();
        match *op {
            Op::Change(n, byte) => self.change(at(n), byte),
            Op::Send(n, near, is_rash) => {
                let from = at(n);
                let near_by = self.setup.topology.neighbours(from, self.sites.len());
                self.send(from, near_by[usize::from(near) % near_by.len()], is_rash);
            }
            Op::Deliver(n, again) if !self.flying.is_empty() => {
                let index = usize::from(n) % self.flying.len();
                let message = self.flying.swap_remove(index);
                self.deliver(&message)?;
                if again {
                    self.flying.push(message);
                }
            }
            Op::Lose(n) if !self.flying.is_empty() => {
                self.flying.swap_remove(usize::from(n) % self.flying.len());
            }
            Op::Restart(n) => self.restart(at(n)),
            Op::Deliver(..) | Op::Lose(_) => {}
        }
        Ok(())
    }

    fn change(&mut self, at: usize, byte: u8) {
        let site = &mut self.sites[at];
        let delta = site.subject.change(byte);
        site.buffer.push(delta);
        assert!(site.buffer.len() <= self.setup.limit);
    }

    fn restart(&mut self, at: usize) {
        let new = id(self.sites.len() + self.dead.len());
        let old = self.sites.remove(at);
        self.dead.push(old.id);
        let subject = old.subject.renamed(new);
        let buffer = DeltaBuffer::new(subject.state(), self.setup.limit);
        let id = new;
        self.sites.insert(
            at,
            Site {
                id,
                subject,
                buffer,
            },
        );
    }

    /// Sends what the neighbour needs; false if that is nothing.
    fn send(&mut self, from: usize, to: usize, is_rash: bool) -> bool {
        let to = self.sites[to].id;
        let site = &mut self.sites[from];
        let Some(packet) = site.buffer.packet_for(to, site.subject.state()) else {
            return false;
        };
        if is_rash {
            let sent = site.buffer.acknowledge(to, packet.last());
            sent.expect("so much was sent");
        }
        self.flying.push(Message {
            from: site.id,
            to,
            content: Content::Packet(packet, site.subject.state().clone()),
        });
        true
    }

    fn deliver(&mut self, message: &Message<S::State>) -> Result<(), String> {
        let (from, to) = (message.from, message.to);
        let Some(site) = self.sites.iter_mut().find(|site| site.id == to) else {
            return Ok(());
        };
        let answer = match &message.content {
            Content::Packet(packet, snapshot) => {
                let before = site.subject.state().clone();
                let want = before.clone().joined(snapshot);
                let received = site.buffer.receive_news(from, packet.clone(), |payload| {
                    Ok::<_, Infallible>(site.subject.join_news(payload))
                });
                let answer = match received {
                    Ok(acknowledge) => Content::Acknowledge(acknowledge),
                    Err(ReceiveError::Gap(_)) if self.setup.ignores_gaps => {
                        let news = site.subject.join_news(&pry_open(packet));
                        site.buffer.push_from(from, news);
                        Content::Acknowledge(packet.last())
                    }
                    Err(ReceiveError::Gap(gap)) => {
                        assert_eq!(before, *site.subject.state());
                        Content::Refuse(gap)
                    }
                    Err(error) => return Err(error.to_string()),
                };
                let got = site.subject.state();
                if !matches!(answer, Content::Refuse(_)) && *got != want {
                    return Err(format!("the full state gives {want:?}, this gave {got:?}"));
                }
                answer
            }
            Content::Acknowledge(sequence) => {
                return site
                    .buffer
                    .acknowledge(from, *sequence)
                    .map_err(|e| e.to_string());
            }
            Content::Refuse(gap) => {
                return site.buffer.refused(from, *gap).map_err(|e| e.to_string());
            }
        };
        self.flying.push(Message {
            from: to,
            to: from,
            content: answer,
        });
        Ok(())
    }

    /// Sends and delivers everything until nothing is to be sent; returns the number of packets.
    fn settle(&mut self) -> Result<usize, String> {
        let mut packets = 0;
        for _ in 0..20 {
            let mut sent = 0;
            for from in 0..self.sites.len() {
                for to in self.setup.topology.neighbours(from, self.sites.len()) {
                    sent += usize::from(self.send(from, to, false));
                }
            }
            while let Some(message) = self.flying.pop() {
                self.deliver(&message)?;
            }
            if sent == 0 {
                return Ok(packets);
            }
            packets += sent;
        }
        Err("the replicas go on sending".into())
    }

    fn run(setup: &Setup, ops: &[Op]) -> Result<(), String> {
        let mut world = Self::new(setup.clone());
        for op in ops {
            world.step(op)?;
        }
        while let Some(message) = world.flying.pop() {
            world.deliver(&message)?;
        }
        // A sender that took a lost packet for delivered finds out at the next one.
        for at in 0..world.sites.len() {
            world.change(at, 250);
        }
        world.settle()?;
        let states: Vec<_> = world.sites.iter().map(|s| s.subject.state()).collect();
        if let Some(pair) = states.windows(2).find(|pair| pair[0] != pair[1]) {
            return Err(format!("{pair:?} differ at the end"));
        }
        for site in &mut world.sites {
            for dead in &world.dead {
                site.buffer.forget_peer(*dead);
            }
            if !site.buffer.is_empty() {
                return Err(format!("kept for nobody: {:?}", site.buffer));
            }
        }
        match world.settle()? {
            0 => Ok(()),
            packets => Err(format!("{packets} packets, though all is acknowledged")),
        }
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        6 => any::<(u8, u8)>().prop_map(|(n, byte)| Op::Change(n, byte)),
        8 => (any::<u8>(), any::<u8>(), prop::bool::weighted(0.2))
            .prop_map(|(n, near, is_rash)| Op::Send(n, near, is_rash)),
        8 => (any::<u8>(), prop::bool::weighted(0.3)).prop_map(|(n, again)| Op::Deliver(n, again)),
        2 => any::<u8>().prop_map(Op::Lose),
        1 => any::<u8>().prop_map(Op::Restart),
    ];
    prop::collection::vec(op, 0..60)
}

fn setup() -> impl Strategy<Value = Setup> {
    let topology = prop_oneof![
        Just(Topology::Line),
        Just(Topology::Ring),
        Just(Topology::Full)
    ];
    let limit = prop_oneof![Just(0_usize), Just(2), Just(1_000)];
    (topology, 3_usize..=5, limit).prop_map(|(topology, replicas, limit)| Setup {
        topology,
        replicas,
        limit,
        ignores_gaps: false,
    })
}

/// Every type goes through the same network: a line each.
macro_rules! equals_full_state_replication {
    ($($name:ident: $subject:ty;)*) => {
        proptest! {
            $(#[test]
            fn $name(setup in setup(), ops in ops()) {
                let result = World::<$subject>::run(&setup, &ops);
                prop_assert!(result.is_ok(), "{}", result.unwrap_err());
            })*
        }
    };
}

equals_full_state_replication! {
    version_vectors_replicate_by_deltas_as_by_full_states: Plain<VersionVector>;
    add_wins_sets_replicate_by_deltas_as_by_full_states: CausalReplica<AddWinsSet<u8>>;
    multi_value_cells_replicate_by_deltas_as_by_full_states: CausalReplica<MvCell<u8>>;
    last_writer_wins_cells_replicate_by_deltas_as_by_full_states: CausalReplica<LwwCell<u8>>;
    maps_of_sets_replicate_by_deltas_as_by_full_states: CausalReplica<OrMap<u8, AddWinsSet<u8>>>;
    maps_of_registers_replicate_by_deltas_as_by_full_states: CausalReplica<OrMap<u8, MvCell<u8>>>;
    remove_wins_sets_replicate_by_deltas_as_by_full_states: CausalReplica<RemoveWinsSet<u8>>;
    enable_wins_flags_replicate_by_deltas_as_by_full_states: CausalReplica<EnableWinsFlag>;
    disable_wins_flags_replicate_by_deltas_as_by_full_states: CausalReplica<DisableWinsFlag>;
    resettable_counters_replicate_by_deltas_as_by_full_states: CausalReplica<ResettableCounter>;
    siblings_replicate_by_deltas_as_by_full_states: CausalReplica<Siblings<u8>>;
    pairs_of_stores_replicate_by_deltas_as_by_full_states: CausalReplica<(MvCell<u8>, AddWinsSet<u8>)>;
    maps_of_remove_wins_sets_replicate_by_deltas_as_by_full_states: CausalReplica<OrMap<u8, RemoveWinsSet<u8>>>;
    maps_of_counters_replicate_by_deltas_as_by_full_states: CausalReplica<OrMap<u8, ResettableCounter>>;
    causal_contexts_replicate_by_deltas_as_by_full_states: Plain<CausalContext>;
    grow_only_counters_replicate_by_deltas_as_by_full_states: Plain<GCounter>;
    up_and_down_counters_replicate_by_deltas_as_by_full_states: Plain<PnCounter>;
    grow_only_sets_replicate_by_deltas_as_by_full_states: Plain<GSet<u64>>;
    two_phase_sets_replicate_by_deltas_as_by_full_states: Plain<TwoPhaseSet<u64>>;
    last_writer_wins_registers_replicate_by_deltas_as_by_full_states: Plain<LwwRegister<u8>>;
    multi_value_registers_replicate_by_deltas_as_by_full_states: Plain<MvRegister<u8>>;
    last_writer_wins_maps_replicate_by_deltas_as_by_full_states: Plain<LwwMap<u64, u8>>;
    last_writer_wins_sets_replicate_by_deltas_as_by_full_states: Plain<LwwSet<u64>>;
    maxima_replicate_by_deltas_as_by_full_states: Plain<Max<u64>>;
    minima_replicate_by_deltas_as_by_full_states: Plain<Min<u64>>;
    pairs_replicate_by_deltas_as_by_full_states: Plain<Pair<GCounter, GSet<u64>>>;
    lexicographic_pairs_replicate_by_deltas_as_by_full_states: Plain<LexicographicPair<u64, GCounter>>;
    maps_of_lattices_replicate_by_deltas_as_by_full_states: Plain<MapOf<u8, GCounter>>;
    promises_replicate_by_deltas_as_by_full_states: Plain<Promises>;
    closed_writers_replicate_by_deltas_as_by_full_states: Plain<Closed>;
    options_replicate_by_deltas_as_by_full_states: Plain<Option<GCounter>>;
    owner_views_replicate_by_deltas_as_by_full_states: Plain<OwnerView>;
    sets_of_dots_replicate_by_deltas_as_by_full_states: CausalReplica<DotSet>;
    functions_of_dots_replicate_by_deltas_as_by_full_states: CausalReplica<DotFun<u8>>;
    digests_replicate_by_deltas_as_by_full_states: Digests;
    causal_maps_replicate_by_deltas_as_by_full_states: Maps;
    knowledge_replicates_by_deltas_as_by_full_states: Known;
    reports_replicate_by_deltas_as_by_full_states: Reports;
}

/// The network above would notice a buffer that ignores gaps.
#[test]
fn a_buffer_that_ignores_gaps_is_caught() {
    let mut runner = TestRunner::deterministic();
    let caught = (0..200).any(|_| {
        let tree = (setup(), ops()).new_tree(&mut runner);
        let (mut setup, ops) = tree.expect("a run").current();
        setup.ignores_gaps = true;
        let result = World::<CausalReplica<MvCell<u8>>>::run(&setup, &ops);
        result.is_err_and(|error| error.contains("the full state gives"))
    });
    assert!(caught);
}

type Title = CausalReplica<MvCell<char>>;
type TitleBuffer = DeltaBuffer<Causal<MvCell<char>>>;

fn title(number: usize) -> (Title, TitleBuffer) {
    let title = Title::new(ObjectId(1), id(number));
    let buffer = DeltaBuffer::new(title.state(), 100);
    (title, buffer)
}

fn shown(title: &Title) -> Vec<char> {
    title.values().copied().collect()
}

/// x, y and z are written in turn, each sent as if the one before had arrived; y is lost and x is
/// late.
#[test]
fn a_lost_delta_never_shows_an_old_value_beside_a_new_one() {
    let ((mut a, mut from_a), (mut b, mut from_b)) = (title(0), title(1));
    let mut packets = Vec::new();
    for value in ['x', 'y', 'z'] {
        from_a.push(a.change(|title| title.set(value)));
        let packet = from_a.packet_for(id(1), a.state()).expect("a new delta");
        let sent = from_a.acknowledge(id(1), packet.last());
        sent.expect("a sender may believe what it likes");
        packets.push(packet);
    }
    let [x, _lost, z] = <[_; 3]>::try_from(packets).expect("three packets");
    let refused = from_b.receive_news(id(0), z.clone(), |news| b.join_news(news));
    let gap = Gap {
        expected: 1,
        first: 3,
    };
    assert_eq!(refused, Err(ReceiveError::Gap(gap)));
    assert!(shown(&b).is_empty());
    // The sender hears of it and sends again from where b stands; by now it keeps no deltas.
    assert_eq!(from_a.refused(id(1), gap), Ok(()));
    let all = from_a.packet_for(id(1), a.state()).expect("b lacks all");
    assert_eq!((all.first(), all.last()), (1, 3));
    let joined = from_b.receive_news(id(0), all, |news| b.join_news(news));
    assert_eq!(joined, Ok(3));
    assert_eq!(shown(&b), ['z']);
    for late in [x.clone(), z.clone()] {
        let again = from_b.receive_news(id(0), late, |news| b.join_news(news));
        assert_eq!(again, Ok(3), "a duplicate");
        assert_eq!(shown(&b), ['z']);
    }
    // Without the rule both would be shown.
    let mut careless = title(2).0;
    for packet in [x, z] {
        assert!(careless.join(&pry_open(&packet)).is_ok());
    }
    assert_eq!(shown(&careless), ['x', 'z']);
}

/// The same three writes with acknowledgements that are true: every packet reaches back to what was
/// acknowledged, and may be lost.
#[test]
fn a_packet_reaches_back_to_what_was_acknowledged() {
    let ((mut a, mut from_a), (mut b, mut from_b)) = (title(0), title(1));
    let mut packets = ['x', 'y', 'z'].map(|value| {
        from_a.push(a.change(|title| title.set(value)));
        from_a.packet_for(id(1), a.state()).expect("a new delta")
    });
    packets.reverse();
    for packet in packets {
        assert_eq!(packet.first(), 1);
        let joined = from_b.receive_news(id(0), packet, |news| b.join_news(news));
        assert_eq!(joined, Ok(3));
        assert_eq!(shown(&b), ['z']);
    }
    assert_eq!(from_a.len(), 3);
    assert_eq!(from_a.acknowledge(id(1), 2), Ok(()));
    assert_eq!(from_a.len(), 1, "what all peers have is dropped");
    let rest = from_a
        .packet_for(id(1), a.state())
        .map(|p| (p.first(), p.last()));
    assert_eq!(rest, Some((3, 3)));
    assert_eq!(from_a.acknowledge(id(1), 3), Ok(()));
    assert_eq!(from_a.packet_for(id(1), a.state()), None);
}

#[test]
fn one_write_crosses_a_line_in_as_many_packets_as_it_has_links_and_stops_in_a_ring() {
    for (topology, packets) in [(Topology::Line, 4..=4), (Topology::Ring, 5..=6)] {
        let setup = Setup {
            topology,
            replicas: 5,
            limit: 100,
            ignores_gaps: false,
        };
        let mut world = World::<CausalReplica<MvCell<u8>>>::new(setup);
        world.change(0, 250);
        let sent = world.settle().expect("it settles");
        assert!(packets.contains(&sent), "{sent} packets in a {topology:?}");
        assert_eq!(world.settle(), Ok(0));
    }
}

#[test]
fn a_restarted_sender_is_refused_until_its_full_state_comes() {
    let ((mut a, mut from_a), (mut b, mut from_b)) = (title(0), title(1));
    from_a.push(a.change(|title| title.set('x')));
    let mut a = a.into_incarnation(id(7));
    let mut from_a = DeltaBuffer::new(a.state(), 100);
    from_a.add_peer(id(1));
    from_a.push(a.change(|title| title.set('y')));
    let state = from_a.packet_for(id(1), a.state()).expect("b has nothing");
    assert_eq!((state.first(), state.last()), (1, 2));
    from_a.acknowledge(id(1), 2).expect("a false belief");
    from_a.push(a.change(|title| title.set('z')));
    let interval = from_a.packet_for(id(1), a.state()).expect("a new delta");
    let refused = from_b.receive_news(id(7), interval, |news| b.join_news(news));
    let gap = Gap {
        expected: 1,
        first: 3,
    };
    assert_eq!(refused, Err(ReceiveError::Gap(gap)));
    let joined = from_b.receive_news(id(7), state, |news| b.join_news(news));
    assert_eq!((joined, shown(&b)), (Ok(2), vec!['y']));
}

#[test]
fn beyond_the_limit_peers_get_the_full_state() {
    let (mut a, _) = title(0);
    let mut from_a = DeltaBuffer::new(a.state(), 2);
    from_a.add_peer(id(1));
    for value in ['x', 'y', 'z'] {
        from_a.push(a.change(|title| title.set(value)));
    }
    assert_eq!(from_a.len(), 2);
    let packet = from_a.packet_for(id(1), a.state()).expect("b lacks all");
    assert_eq!((packet.first(), packet.last()), (1, 3));
    assert_eq!(pry_open(&packet), *a.state());
}

#[test]
fn acknowledgements_that_cannot_be_true_are_refused() {
    let (mut a, mut from_a) = title(0);
    from_a.push(a.change(|title| title.set('x')));
    let peer = id(1);
    let unknown = Err(AcknowledgeError::UnknownPeer { peer });
    assert_eq!(from_a.acknowledge(peer, 1), unknown);
    from_a.add_peer(peer);
    let ahead = |sent, acknowledged| {
        Err(AcknowledgeError::AheadOfSent {
            peer,
            sent,
            acknowledged,
        })
    };
    assert_eq!(from_a.acknowledge(peer, 1), ahead(0, 1), "never sent");
    let _lost = from_a.packet_for(peer, a.state());
    assert_eq!(from_a.acknowledge(peer, u64::MAX), ahead(1, u64::MAX));
    let gap = |expected| Gap { expected, first: 1 };
    assert_eq!(from_a.refused(peer, gap(9)), ahead(1, 8));
    assert_eq!(from_a.refused(peer, gap(0)), Ok(()), "nothing was joined");
    assert!(from_a.packet_for(peer, a.state()).is_some(), "still needed");
    from_a.forget_peer(peer);
    assert_eq!(from_a.acknowledge(peer, 1), unknown);
}

/// A sender that lies about its numbers harms its own deltas and no others.
#[test]
fn the_largest_sequence_number_does_not_overflow() {
    let mut buffer = DeltaBuffer::<VersionVector>::new(&VersionVector::default(), 10);
    let mut state = VersionVector::default();
    let packet = |first: u64, last: u64| {
        let text = format!(r#"{{"first":{first},"last":{last},"payload":[[1,1]]}}"#);
        serde_json::from_str::<Packet<VersionVector>>(&text).expect("a packet")
    };
    let mut receive = |packet| {
        buffer.receive_news(ReplicaId(9), packet, |payload| {
            Ok::<_, Infallible>(state.join_news(payload))
        })
    };
    assert_eq!(receive(packet(1, u64::MAX)), Ok(u64::MAX));
    assert_eq!(receive(packet(u64::MAX, u64::MAX)), Ok(u64::MAX));
}

/// A payload that the state refuses leaves the cursor where it was.
#[test]
fn a_payload_that_is_refused_may_come_again() {
    let ((mut a, mut from_a), (mut b, mut from_b)) = (title(0), title(1));
    from_a.push(a.change(|title| title.set('x')));
    let packet = from_a.packet_for(id(1), a.state()).expect("a new delta");
    let refused = from_b.receive_news(id(0), packet.clone(), |_| Err("not today"));
    assert_eq!(refused, Err(ReceiveError::Join("not today")));
    let joined = from_b.receive_news(id(0), packet, |news| b.join_news(news));
    assert_eq!((joined, shown(&b)), (Ok(1), vec!['x']));
}
