//! The states of nodes, each kept once.
//!
//! A [`Partition`] can be neither copied nor compared, and a model checker needs both. So a state of a
//! node is a number. It stands for the inputs that led there, which are played again when a step from
//! it is taken for the first time, and it is recognised by its text: all that the partition holds, its
//! counters left out. Each step of a node is computed once, however many states of the world it is part of.

use bytes::Bytes;
use replica::{
    Command, Config, Envelope, Floor, Level, MemoryStorage, Message, NodeId, Now, Outcome, Output,
    Partition, Ready, Request, RequestId, State, Storage as _,
};
use std::collections::BTreeMap;
use twox_hash::XxHash3_128;

/// A state of a node.
pub(crate) type NodeState = u32;

/// A message on its way from one node to another.
pub(crate) type Parcel = u32;

/// What a session has seen.
pub(crate) type Seen = u32;

/// The session that has seen nothing.
pub(crate) const NOTHING: Seen = 0;

/// The only key.
const KEY: Bytes = Bytes::from_static(b"k");

/// One operation of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Operation {
    /// The node that is asked.
    pub(crate) node: usize,
    pub(crate) call: Call,
    pub(crate) level: Consistency,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Call {
    Get,
    Put(char),
    Delete,
}

/// A level, with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Consistency {
    One,
    Quorum,
    Linearizable,
}

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Input {
    /// A message arrives.
    Arrives(Parcel),
    /// A client asks, in a session that has seen something.
    Asks(u64, Operation, Seen),
    /// It hears that another can be reached again, and compares knowledge with it.
    Greets(usize),
    /// Its next deadline has come.
    Ticks,
    /// It stops and starts again with what is on its disk.
    Restarts,
}

/// What a client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Read {
        value: Option<char>,
        time: u64,
        seen: Seen,
    },
    Written {
        time: u64,
        seen: Seen,
    },
    Failed,
}

/// What an input brings about.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) next: NodeState,
    pub(crate) sent: Vec<Parcel>,
    pub(crate) answers: Vec<(u64, Answer)>,
    /// Whether a tombstone was forgotten.
    pub(crate) has_purged: bool,
}

#[derive(Debug)]
struct Known {
    node: usize,
    /// How often the node had lost its data.
    life: u64,
    /// The state before and the input that led here; `None` at the start of a life.
    origin: Option<(NodeState, Input)>,
    is_up: bool,
    has_entries: bool,
    has_tombstones: bool,
}

#[derive(Debug)]
struct Sent {
    from: usize,
    to: usize,
    envelope: Envelope,
}

/// Everything that has been seen so far.
#[derive(Debug)]
pub(crate) struct Nodes {
    config: Config,
    states: Vec<Known>,
    states_by_text: BTreeMap<u128, NodeState>,
    parcels: Vec<Sent>,
    parcels_by_bytes: BTreeMap<Vec<u8>, Parcel>,
    floors: Vec<Floor>,
    steps: BTreeMap<(NodeState, Input), Step>,
    settled: BTreeMap<(Vec<NodeState>, Vec<Parcel>), Settled>,
}

/// What all show for the key after everybody has talked to everybody, or what is wrong.
pub(crate) type Settled = Result<Option<char>, String>;

/// A partition that is being played.
struct Live {
    partition: Partition,
    now: Now,
    disk: MemoryStorage,
    /// How often it has been started again with its disk.
    restarts: u64,
}

impl Live {
    /// What the last input has brought about, once it is durable.
    fn take_ready(&mut self) -> Ready {
        let ready = self.partition.take_ready();
        if let Some(batch) = &ready.persist {
            self.disk.commit(batch).expect("memory takes everything");
        }
        ready
    }
}

impl Nodes {
    pub(crate) fn new(nodes: u32, durable: bool) -> Self {
        let mut config = Config::new(NodeId(1), nodes);
        // Nothing is sent again by itself and nothing times out: what is lost stays lost.
        (config.resend_ms, config.request_timeout_ms) = (1 << 40, 1 << 40);
        // The disk is the latest: there is nothing to be confirmed by others.
        (config.durable, config.restart_patience_ms) = (durable, 0);
        Self {
            config,
            states: Vec::new(),
            states_by_text: BTreeMap::new(),
            parcels: Vec::new(),
            parcels_by_bytes: BTreeMap::new(),
            floors: vec![Floor::default()],
            steps: BTreeMap::new(),
            settled: BTreeMap::new(),
        }
    }

    /// A node at the start of a life: the first is that of a new cluster, all later ones begin without
    /// data.
    pub(crate) fn born(&mut self, node: usize, life: u64) -> NodeState {
        let mut live = self.start(node, life);
        let _hellos = live.take_ready();
        self.number(&live, node, life, None)
    }

    pub(crate) fn is_up(&self, state: NodeState) -> bool {
        self.states[state as usize].is_up
    }

    /// Whether it holds anything, a tombstone included.
    pub(crate) fn has_entries(&self, state: NodeState) -> bool {
        self.states[state as usize].has_entries
    }

    /// Whether it holds a tombstone.
    pub(crate) fn has_tombstones(&self, state: NodeState) -> bool {
        self.states[state as usize].has_tombstones
    }

    pub(crate) fn life(&self, state: NodeState) -> u64 {
        self.states[state as usize].life
    }

    /// The sender and the receiver of a message.
    pub(crate) fn ends(&self, parcel: Parcel) -> (usize, usize) {
        let Sent { from, to, .. } = self.parcels[parcel as usize];
        (from, to)
    }

    /// The coordinator that a message is a question of, or an answer to; `None` if it brings entries or
    /// knowledge.
    pub(crate) fn coordinator(&self, parcel: Parcel) -> Option<usize> {
        let Sent { from, to, envelope } = &self.parcels[parcel as usize];
        match envelope.message {
            Message::Read { .. } => Some(*from),
            Message::ReadAnswer { .. }
            | Message::Acknowledged { .. }
            | Message::Superseded { .. }
            | Message::WrittenBack { .. } => Some(*to),
            _ => None,
        }
    }

    /// A message in a few words.
    pub(crate) fn describe(&self, parcel: Parcel) -> String {
        let Sent { from, to, envelope } = &self.parcels[parcel as usize];
        format!("{from} to {to}: {:?}", envelope.message)
    }

    /// The session that has seen both.
    pub(crate) fn join(&mut self, one: Seen, other: Seen) -> Seen {
        let mut floor = self.floors[one as usize].clone();
        floor.join(&self.floors[other as usize]);
        self.note_floor(floor)
    }

    pub(crate) fn time_of(&self, seen: Seen) -> u64 {
        self.floors[seen as usize].time.0
    }

    /// Whether a session that has seen `more` has seen all that one with `less` has.
    pub(crate) fn includes(&self, more: Seen, less: Seen) -> bool {
        let (more, less) = (&self.floors[more as usize], &self.floors[less as usize]);
        more.context >= less.context
    }

    /// What an input does to a node in this state.
    pub(crate) fn step(&mut self, state: NodeState, input: Input) -> Step {
        if let Some(step) = self.steps.get(&(state, input)) {
            return step.clone();
        }
        let mut live = self.replay(state);
        let purged = live.partition.counters().tombstones_purged;
        let ready = self.feed(&mut live, input);
        let Known { node, life, .. } = self.states[state as usize];
        let mut step = self.outcome(&live, (node, life), (state, input), ready);
        step.has_purged = live.partition.counters().tombstones_purged > purged;
        self.steps.insert((state, input), step.clone());
        step
    }

    fn outcome(
        &mut self,
        live: &Live,
        (node, life): (usize, u64),
        origin: (NodeState, Input),
        ready: Ready,
    ) -> Step {
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        for output in ready.outputs {
            match output {
                Output::Send { to, envelope } => {
                    sent.push(self.note_parcel(node, to.0 as usize - 1, envelope));
                }
                Output::Reply { request, result } => {
                    let answer = result.map_or(Answer::Failed, |outcome| self.answer(&outcome));
                    answers.push((request.0, answer));
                }
                other => panic!("an output that the model does not know: {other:?}"),
            }
        }
        let next = self.number(live, node, life, Some(origin));
        Step {
            next,
            sent,
            answers,
            has_purged: false,
        }
    }

    fn answer(&mut self, outcome: &Outcome) -> Answer {
        let seen = self.note_floor(outcome.seen().clone());
        let time = outcome.timestamp().unwrap_or_default().0;
        match outcome {
            Outcome::Read { .. } => Answer::Read {
                value: outcome.value().map(|v| char::from(v[0])),
                time,
                seen,
            },
            _ => Answer::Written { time, seen },
        }
    }

    fn start(&self, node: usize, life: u64) -> Live {
        let id = NodeId(node as u32 + 1);
        let config = Config {
            node: id,
            ..self.config.clone()
        };
        let (random, now) = ((u64::from(id.0) << 8 | life) << 32, Now::default());
        let partition = match life {
            0 => Partition::bootstrap(config, random, now),
            _ => Partition::recover(config, random, now),
        };
        Live {
            partition: partition.expect("a valid configuration"),
            now,
            disk: MemoryStorage::default(),
            restarts: 0,
        }
    }

    /// Starts a node again with its disk. What it had not answered is forgotten.
    fn restart(live: &mut Live) {
        live.restarts += 1;
        let config = live.partition.config().clone();
        let random = (u64::from(config.node.0) << 16 | live.restarts) << 40;
        let restored = Partition::restore(config, &live.disk, random, live.now);
        let restored = restored.expect("a valid disk");
        live.partition = restored.expect("a disk that is not empty");
    }

    fn replay(&self, state: NodeState) -> Live {
        let (mut inputs, mut at) = (Vec::new(), state);
        while let Some((before, input)) = self.states[at as usize].origin {
            inputs.push(input);
            at = before;
        }
        let Known { node, life, .. } = self.states[at as usize];
        let mut live = self.start(node, life);
        let _hellos = live.take_ready();
        for input in inputs.into_iter().rev() {
            let _seen_before = self.feed(&mut live, input);
        }
        live
    }

    fn feed(&self, live: &mut Live, input: Input) -> Ready {
        let Live { partition, now, .. } = live;
        match input {
            Input::Arrives(parcel) => {
                let Sent { from, envelope, .. } = &self.parcels[parcel as usize];
                partition.handle_message(NodeId(*from as u32 + 1), envelope.clone(), *now);
            }
            Input::Asks(id, operation, seen) => {
                let floor = self.floors[seen as usize].clone();
                let request = operation.request().after(floor);
                partition.handle_request(RequestId(id), request, *now);
            }
            Input::Greets(other) => {
                let other = NodeId(other as u32 + 1);
                partition.handle_reachable(other, false, *now);
                partition.handle_reachable(other, true, *now);
            }
            Input::Ticks => {
                now.elapsed_ms = partition.deadline().expect("storage cannot fail");
                partition.handle_timeout(*now);
            }
            Input::Restarts => Self::restart(live),
        }
        let invariants = live.partition.replica().check_invariants();
        assert_eq!(invariants, Ok(()), "after {input:?}");
        live.take_ready()
    }

    /// The number of a state. Its last fields are left out, the view that need not be compared again and the
    /// counters: they say how a node has got there, and nothing that it does depends on them.
    fn number(
        &mut self,
        live: &Live,
        node: usize,
        life: u64,
        origin: Option<(NodeState, Input)>,
    ) -> NodeState {
        let mut text = format!("{:?}", live.partition);
        let history = text.rfind("included: OwnerView").expect("the last but one");
        text.truncate(history);
        text += &format!("{:?}{:?}", live.partition.replica().log(), live.disk);
        let digest = XxHash3_128::oneshot(text.as_bytes());
        let next = self.states.len() as NodeState;
        let number = *self.states_by_text.entry(digest).or_insert(next);
        if number == next {
            let is_up = live.partition.state() == State::Up;
            let replica = live.partition.replica();
            self.states.push(Known {
                node,
                life,
                origin,
                is_up,
                has_entries: !replica.map().is_empty(),
                has_tombstones: replica.tombstone_count() > 0,
            });
        }
        number
    }

    fn note_parcel(&mut self, from: usize, to: usize, envelope: Envelope) -> Parcel {
        let bytes = postcard::to_stdvec(&(from, to, &envelope)).expect("messages serialise");
        let next = self.parcels.len() as Parcel;
        let number = *self.parcels_by_bytes.entry(bytes).or_insert(next);
        if number == next {
            self.parcels.push(Sent { from, to, envelope });
        }
        number
    }

    fn note_floor(&mut self, floor: Floor) -> Seen {
        let known = self.floors.iter().position(|known| *known == floor);
        let number = known.unwrap_or_else(|| {
            self.floors.push(floor);
            self.floors.len() - 1
        });
        number as Seen
    }

    /// Lets everybody talk to everybody until nothing is under way, checks that all agree, delivers the
    /// writes that were `late`, and checks that they change nothing.
    pub(crate) fn settle(&mut self, nodes: &[NodeState], late: &[Parcel]) -> Settled {
        let late: Vec<Parcel> = late.iter().copied().filter(|p| self.is_write(*p)).collect();
        let asked = (nodes.to_vec(), late);
        if let Some(settled) = self.settled.get(&asked) {
            return settled.clone();
        }
        let mut live: Vec<Live> = nodes.iter().map(|state| self.replay(*state)).collect();
        let settled = self.agree(&mut live).and_then(|value| {
            for parcel in &asked.1 {
                let to = self.ends(*parcel).1;
                let _acknowledgement = self.feed(&mut live[to], Input::Arrives(*parcel));
            }
            let after = self.agree(&mut live)?;
            match value == after {
                true => Ok(value),
                false => Err(format!("{value:?} became {after:?} by a late write")),
            }
        });
        self.settled.insert(asked, settled.clone());
        settled
    }

    /// Whether a message brings entries, and nothing follows from it but an acknowledgement.
    fn is_write(&self, parcel: Parcel) -> bool {
        matches!(
            self.parcels[parcel as usize].envelope.message,
            Message::Write { .. } | Message::Repair { .. } | Message::WriteBack { .. }
        )
    }

    fn agree(&self, live: &mut [Live]) -> Settled {
        for _ in 0..4 * live.len() {
            for at in 0..live.len() {
                let ready = self.feed(&mut live[at], Input::Ticks);
                Self::exchange(live, at, ready);
            }
        }
        let first = live[0].partition.replica();
        for other in &live[1..] {
            let other = other.partition.replica();
            if other.knowledge() != first.knowledge() {
                return Err("the nodes do not come to know the same".into());
            }
            if !other.map().visible().eq(first.map().visible()) {
                return Err("the nodes know the same and show different entries".into());
            }
        }
        if live.iter().any(|l| l.partition.state() != State::Up) {
            return Err("a node does not recover".into());
        }
        let cell = first.map().get(&KEY);
        Ok(cell
            .and_then(|c| c.value())
            .map(|value| char::from(value[0])))
    }

    /// Delivers what a node has sent and what follows from it, first come, first served.
    fn exchange(live: &mut [Live], from: usize, ready: Ready) {
        let mut queue: Vec<(usize, Output)> =
            ready.outputs.into_iter().map(|o| (from, o)).collect();
        let mut delivered = 0;
        while delivered < queue.len() {
            let (from, output) = queue[delivered].clone();
            delivered += 1;
            assert!(delivered < 5_000, "the nodes never come to rest");
            let Output::Send { to, envelope } = output else {
                continue;
            };
            let (from, to) = (NodeId(from as u32 + 1), to.0 as usize - 1);
            let Live { partition, now, .. } = &mut live[to];
            partition.handle_message(from, envelope, *now);
            let outputs = partition.take_ready().outputs;
            queue.extend(outputs.into_iter().map(|output| (to, output)));
        }
    }
}

impl Operation {
    fn request(self) -> Request {
        let level = match self.level {
            Consistency::One => Level::One,
            Consistency::Quorum => Level::Quorum,
            Consistency::Linearizable => Level::Linearizable,
        };
        let command = match self.call {
            Call::Get => Command::get(KEY),
            Call::Put(value) => Command::put(KEY, Bytes::copy_from_slice(&[value as u8])),
            Call::Delete => Command::delete(KEY),
        };
        Request::new(command, level)
    }
}
