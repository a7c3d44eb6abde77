//! Runs requests and messages to completion on the thread that brings them.

use std::collections::VecDeque;
use std::time::Duration;

use super::background::Background;
use super::builder::ClusterError;
use super::cell::{Delivery, Entered, NodeCell, NodeState, lock};
use super::latency::Latency;
use super::links::Links;
use super::waiting::{Answer, Place};
use crate::sync::{AtomicU64, Moment, Mutex, Ordering, RwLockWriteGuard, unix_ms};
use crate::{
    Command, Config, Level, Message, NodeId, Now, Output, Partition, PartitionId, Placement,
    Policy, Request, RequestError, RequestId,
};

/// Messages that a thread still delivers for others once its own request is answered.
const MAX_HELP: usize = 256;

/// The nodes, the links between them, and how they are driven.
#[derive(Debug)]
pub(super) struct Engine<P: Policy> {
    nodes: u32,
    placement: Placement,
    /// The cells, by node and then by partition.
    cells: Vec<NodeCell<P>>,
    /// Where the cell of a node and a partition is among them, by partition and then by node.
    index: Vec<Option<u32>>,
    pub(super) links: Links,
    /// `None` if messages are direct calls.
    latency: Option<Latency>,
    background: Background<P::Cell>,
    /// Which nodes are up, as the others have been told. Held over a change of who can reach whom.
    pub(super) announced: Mutex<Vec<bool>>,
    start: Moment,
    /// Milliseconds since 1970 when the cluster started, as the system clock now says.
    start_unix_ms: AtomicU64,
    seed: AtomicU64,
}

/// What one call has to do.
#[derive(Debug)]
pub(super) struct Work<C> {
    queue: VecDeque<Delivery<C>>,
    replies: Vec<(RequestId, Answer<C>)>,
    awaited: Option<(NodeId, PartitionId, RequestId)>,
    answer: Option<Answer<C>>,
}

impl<C> Default for Work<C> {
    fn default() -> Self {
        Self {
            queue: VecDeque::new(),
            replies: Vec::new(),
            awaited: None,
            answer: None,
        }
    }
}

impl<P: Policy> Engine<P> {
    /// The nodes of a configuration, each with its partitions.
    pub(super) fn new(
        config: &Config,
        seed: u64,
        latency: Option<Latency>,
    ) -> Result<Self, ClusterError> {
        let (nodes, placement) = (config.nodes, config.placement());
        let links = Links::new(nodes as usize);
        let mut engine = Self {
            nodes,
            placement,
            cells: Vec::new(),
            index: vec![None; nodes as usize * config.partitions as usize],
            links,
            latency,
            background: Background::default(),
            announced: Mutex::new(vec![true; nodes as usize]),
            start: Moment::now(),
            start_unix_ms: AtomicU64::new(0),
            seed: AtomicU64::new(seed),
        };
        engine.read_clock();
        let mut owned: Vec<(NodeId, PartitionId)> = Vec::new();
        for partition in placement.partitions() {
            let owners = placement.owners(partition);
            owned.extend(owners.into_iter().map(|node| (node, partition)));
        }
        owned.sort();
        for (node, partition) in owned {
            let config = Config {
                node,
                partition,
                ..config.clone()
            };
            let (random, now) = (engine.random(), engine.now());
            let state = Partition::bootstrap(config.clone(), random, now)?;
            let place = engine.place(node, partition);
            engine.index[place] = u32::try_from(engine.cells.len()).ok();
            engine.cells.push(NodeCell::new(config, state));
        }
        Ok(engine)
    }

    pub(super) fn cells(&self) -> &[NodeCell<P>] {
        &self.cells
    }

    pub(super) const fn placement(&self) -> Placement {
        self.placement
    }

    /// All nodes.
    pub(super) fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + use<P> {
        (1..self.nodes + 1).map(NodeId)
    }

    /// The node, if there is one; panics otherwise, as an index does.
    pub(super) fn known(&self, node: NodeId) -> NodeId {
        let nodes = self.nodes;
        assert!(
            (1..=nodes).contains(&node.0),
            "there is no {node}: the nodes are 1 to {nodes}"
        );
        node
    }

    /// The cells of a node, one for each partition that it owns.
    pub(super) fn cells_of(&self, node: NodeId) -> &[NodeCell<P>] {
        let node = self.known(node);
        let start = self.cells.partition_point(|cell| cell.node < node);
        let count = self.cells[start..].partition_point(|cell| cell.node == node);
        &self.cells[start..start + count]
    }

    /// The cell of a node for a partition, if the node owns it.
    pub(super) fn cell(&self, node: NodeId, partition: PartitionId) -> Option<&NodeCell<P>> {
        let at = self.index[self.place(self.known(node), partition)]?;
        self.cells.get(at as usize)
    }

    const fn place(&self, node: NodeId, partition: PartitionId) -> usize {
        partition.0 as usize * self.nodes as usize + node.0 as usize - 1
    }

    pub(super) const fn background(&self) -> &Background<P::Cell> {
        &self.background
    }

    /// Looks at a state machine; `None` if its node has failed.
    pub(super) fn look<T>(
        &self,
        cell: &NodeCell<P>,
        see: impl FnOnce(&Partition<P>) -> T,
    ) -> Option<T> {
        cell.look().partition.as_ref().map(see)
    }

    /// Whether a node is up, serving or not.
    pub(super) fn is_up(&self, node: NodeId) -> bool {
        let cells = self.cells_of(node);
        // A node that owns nothing is up as long as it has not been failed.
        cells.first().map_or_else(
            || lock(&self.announced)[node.0 as usize - 1],
            |cell| cell.look().partition.is_some(),
        )
    }

    /// Runs a request at the node asked, or, if it does not own the key, at an owner, and waits for the
    /// answer.
    pub(super) fn execute(&self, node: NodeId, request: Request<P::Write>) -> Answer<P::Cell> {
        let partition = self.placement.partition_of(request.command.key());
        match self.cell(node, partition) {
            Some(cell) => self.execute_at(cell, request),
            None => self.forward(node, partition, &request),
        }
    }

    /// Asks the owners of a partition in their order of preference, the next one where nothing was
    /// changed and another may do better.
    fn forward(
        &self,
        node: NodeId,
        partition: PartitionId,
        request: &Request<P::Write>,
    ) -> Answer<P::Cell> {
        if !self.is_up(node) {
            return Err(RequestError::NodeFailed(node));
        }
        let may_take_effect = false;
        let mut refused = RequestError::Unreachable {
            partition,
            may_take_effect,
        };
        for owner in self.placement.owners(partition) {
            let is_cut = self.links.is_cut(node, owner) || self.links.is_cut(owner, node);
            let Some(cell) = self.cell(owner, partition).filter(|_| !is_cut) else {
                continue;
            };
            match self.execute_at(cell, request.clone()) {
                Err(
                    error @ (RequestError::NodeFailed(_)
                    | RequestError::Recovering { .. }
                    | RequestError::NoMajority {
                        may_take_effect: false,
                        ..
                    }),
                ) => refused = error,
                answer => return answer,
            }
        }
        Err(refused)
    }

    fn execute_at(&self, cell: &NodeCell<P>, request: Request<P::Write>) -> Answer<P::Cell> {
        let node = cell.node;
        if let (Level::One, Command::Get { key }) = (request.level, &request.command) {
            let read = self.look(cell, |partition| partition.read_one(key, &request.floor));
            match read.unwrap_or(Err(RequestError::NodeFailed(node))) {
                Ok(Some(outcome)) => return Ok(outcome),
                Ok(None) => {}
                Err(error) => return Err(error),
            }
        }
        let is_write = request.command.is_write();
        let mut work = Work::default();
        let mut state = cell.enter();
        state.last_request += 1;
        let (id, panics) = (RequestId(state.last_request), state.panics);
        work.awaited = Some((node, cell.config.partition, id));
        let now = self.now();
        match &mut state.partition {
            Some(partition) => partition.handle_request(id, request, now),
            None => work.answer = Some(Err(RequestError::NodeFailed(node))),
        }
        self.release(cell, state, &mut work);
        self.run(&mut work);
        match work.answer {
            Some(answer) => answer,
            None => self.wait(cell, id, panics, is_write),
        }
    }

    /// Delivers messages until none is left on this call, or this call's request is answered and it has
    /// helped others enough.
    pub(super) fn run(&self, work: &mut Work<P::Cell>) {
        let mut helped = 0;
        while let Some(delivery) = work.queue.pop_front() {
            if let Some(latency) = &self.latency
                && !delivery.has_travelled
            {
                let arrives_at = Moment::now().plus(latency.draw());
                self.background.push_at(arrives_at, delivery);
                continue;
            }
            if is_bulk(&delivery.envelope.message) || helped >= MAX_HELP {
                self.background.push(delivery);
                continue;
            }
            helped += usize::from(work.answer.is_some() && work.awaited.is_some());
            self.deliver(delivery, work);
        }
    }

    /// Delivers a message and those behind it to the same node.
    pub(super) fn deliver(&self, delivery: Delivery<P::Cell>, work: &mut Work<P::Cell>) {
        if self.links.is_cut(delivery.from, delivery.to) {
            return;
        }
        let Some(cell) = self.cell(delivery.to, delivery.partition) else {
            return;
        };
        let Entered::Guard(mut state) = cell.try_enter() else {
            work.queue.extend(cell.leave(delivery));
            return;
        };
        let now = self.now();
        if let Some(partition) = &mut state.partition {
            partition.handle_message(delivery.from, delivery.envelope, now);
            while let Some(next) = self.next_for(cell, &mut work.queue) {
                partition.handle_message(next.from, next.envelope, now);
            }
        }
        self.release(cell, state, work);
    }

    /// The next message, if it is for the same node and no bulk.
    fn next_for(
        &self,
        cell: &NodeCell<P>,
        queue: &mut VecDeque<Delivery<P::Cell>>,
    ) -> Option<Delivery<P::Cell>> {
        let next = queue.front()?;
        let fits = next.to == cell.node
            && next.partition == cell.config.partition
            && !is_bulk(&next.envelope.message)
            && (next.has_travelled || self.latency.is_none())
            && !self.links.is_cut(next.from, cell.node);
        if fits { queue.pop_front() } else { None }
    }

    /// Does what is due at a node, unless it is busy: then it is due at the next tick too.
    pub(super) fn tick(&self, cell: &NodeCell<P>) {
        let Some(state) = cell.peek() else { return };
        let due = state.partition.as_ref().and_then(Partition::deadline);
        drop(state);
        if due.is_none_or(|due| due > self.now().elapsed_ms) {
            return;
        }
        let Entered::Guard(mut state) = cell.try_enter() else {
            return;
        };
        let now = self.now();
        if let Some(partition) = &mut state.partition {
            partition.handle_timeout(now);
        }
        let mut work = Work::default();
        self.release(cell, state, &mut work);
        self.run(&mut work);
    }

    /// Gives up a node's lock and takes over what its inputs have brought about, with what was left in
    /// front of it meanwhile.
    pub(super) fn release(
        &self,
        cell: &NodeCell<P>,
        mut state: RwLockWriteGuard<'_, NodeState<P>>,
        work: &mut Work<P::Cell>,
    ) {
        if let Some(partition) = &mut state.partition {
            let ready = partition.take_ready();
            debug_assert!(ready.persist.is_none(), "a cluster without storage");
            for output in ready.outputs {
                match output {
                    Output::Send { to, envelope } => work.queue.push_back(Delivery {
                        from: cell.node,
                        to,
                        partition: cell.config.partition,
                        envelope,
                        has_travelled: false,
                    }),
                    Output::Reply { request, result } => {
                        work.replies.push((request, result));
                    }
                }
            }
        }
        state.tell_subscribers();
        drop(state);
        work.queue.extend(cell.take_left());
        for (request, answer) in work.replies.drain(..) {
            match work.awaited == Some((cell.node, cell.config.partition, request)) {
                true => work.answer = Some(answer),
                false => cell.waiting.answer(request, answer),
            }
        }
    }

    /// Waits for an answer that another thread will bring.
    fn wait(
        &self,
        cell: &NodeCell<P>,
        request: RequestId,
        panics: u64,
        is_write: bool,
    ) -> Answer<P::Cell> {
        let place = match cell.waiting.register(request) {
            Place::Answered(answer) => return answer,
            Place::Waits(place) => place,
        };
        if cell.look().panics != panics {
            cell.waiting.answer(request, cell.no_answer());
        }
        // The node itself answers by the deadline; the rest is for a node that is very late.
        let limit_ms = 2 * cell.config.request_timeout_ms + 1_000;
        let answer = cell.waiting.wait(&place, Duration::from_millis(limit_ms));
        let answer = answer.unwrap_or_else(|| cell.no_answer());
        match answer {
            Err(RequestError::NoMajority {
                acknowledged,
                needed,
                ..
            }) if !is_write => Err(RequestError::NoMajority {
                acknowledged,
                needed,
                may_take_effect: false,
            }),
            answer => answer,
        }
    }

    /// The time, read under the lock of the node it is for, so that it never goes back there.
    pub(super) fn now(&self) -> Now {
        let elapsed_ms = self.start.elapsed().as_millis() as u64;
        let unix_ms = self.start_unix_ms.load(Ordering::Relaxed) + elapsed_ms;
        Now {
            elapsed_ms,
            unix_ms,
        }
    }

    /// Follows the system clock, which may be set.
    pub(super) fn read_clock(&self) {
        let elapsed_ms = self.start.elapsed().as_millis() as u64;
        let start = unix_ms().saturating_sub(elapsed_ms);
        self.start_unix_ms.store(start, Ordering::Relaxed);
    }

    /// The next seed of a node's random bits.
    pub(super) fn random(&self) -> u64 {
        let step = self
            .seed
            .fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        (step ^ (step >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }
}

/// Messages that are large, or cause large ones, and that no client waits for.
fn is_bulk<C>(message: &Message<C>) -> bool {
    match message {
        Message::Write { .. }
        | Message::Repair { .. }
        | Message::Acknowledged { .. }
        | Message::Superseded { .. }
        | Message::Read { .. }
        | Message::WriteBack { .. }
        | Message::WrittenBack { .. }
        | Message::ReadAnswer { .. } => false,
        Message::Hello
        | Message::HelloAnswer { .. }
        | Message::Audit { .. }
        | Message::Probe { .. }
        | Message::SyncRequest { .. }
        | Message::SyncAnswer(_)
        | Message::TransferRequest { .. }
        | Message::TransferAnswer { .. } => true,
    }
}
