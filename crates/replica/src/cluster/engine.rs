//! Runs requests and messages to completion on the thread that brings them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime};

use super::background::Background;
use super::builder::ClusterError;
use super::cell::{Delivery, Entered, NodeCell, NodeState};
use super::links::Links;
use super::waiting::{Answer, Place};
use crate::{
    Command, Config, Level, Message, NodeId, Now, Outcome, Output, Partition, RequestError,
    RequestId, StoredCell,
};

/// Messages that a thread still delivers for others once its own request is answered.
const MAX_HELP: usize = 256;

/// The nodes, the links between them, and how they are driven.
#[derive(Debug)]
pub(super) struct Engine {
    cells: Vec<NodeCell>,
    pub(super) links: Links,
    background: Background,
    /// Which nodes are up, as the others have been told. Held over a change of who can reach whom.
    pub(super) announced: Mutex<Vec<bool>>,
    start: Instant,
    /// Milliseconds since 1970 when the cluster started, as the system clock now says.
    start_unix_ms: AtomicU64,
    seed: AtomicU64,
}

/// What one call has to do.
#[derive(Debug, Default)]
pub(super) struct Work {
    queue: VecDeque<Delivery>,
    replies: Vec<(RequestId, Answer)>,
    awaited: Option<(NodeId, RequestId)>,
    answer: Option<Answer>,
}

impl Engine {
    pub(super) fn new(configs: Vec<Config>, seed: u64) -> Result<Self, ClusterError> {
        let links = Links::new(configs.len());
        let mut engine = Self {
            cells: Vec::with_capacity(configs.len()),
            links,
            background: Background::default(),
            announced: Mutex::new(vec![true; configs.len()]),
            start: Instant::now(),
            start_unix_ms: AtomicU64::new(0),
            seed: AtomicU64::new(seed),
        };
        engine.read_clock();
        for config in configs {
            let (random, now) = (engine.random(), engine.now());
            let partition = Partition::bootstrap(config.clone(), random, now)?;
            engine.cells.push(NodeCell::new(config, partition));
        }
        Ok(engine)
    }

    pub(super) fn cells(&self) -> &[NodeCell] {
        &self.cells
    }

    /// A node's cell; panics if there is none, as an index does.
    pub(super) fn cell(&self, node: NodeId) -> &NodeCell {
        let cell = (node.0 as usize)
            .checked_sub(1)
            .and_then(|i| self.cells.get(i));
        cell.unwrap_or_else(|| {
            panic!(
                "there is no {node}: the nodes are 1 to {}",
                self.cells.len()
            )
        })
    }

    pub(super) const fn background(&self) -> &Background {
        &self.background
    }

    /// Looks at a node's state machine; `None` if the node has failed.
    pub(super) fn look<T>(&self, cell: &NodeCell, see: impl FnOnce(&Partition) -> T) -> Option<T> {
        cell.look().partition.as_ref().map(see)
    }

    /// Runs a request and waits for its answer.
    pub(super) fn execute(&self, node: NodeId, command: Command, level: Level) -> Answer {
        let cell = self.cell(node);
        if let (Level::One, Command::Get { key }) = (level, &command) {
            let read = self.look(cell, |partition| {
                let value = partition.read_local(key)?;
                let held = partition.replica().map().get(key);
                let timestamp = held.and_then(StoredCell::timestamp);
                Ok(Outcome::Read { value, timestamp })
            });
            return read.unwrap_or(Err(RequestError::NodeFailed(node)));
        }
        let is_write = command.is_write();
        let mut work = Work::default();
        let mut state = cell.enter();
        state.last_request += 1;
        let (request, panics) = (RequestId(state.last_request), state.panics);
        work.awaited = Some((node, request));
        let now = self.now();
        match &mut state.partition {
            Some(partition) => partition.handle_request(request, command, level, now),
            None => work.answer = Some(Err(RequestError::NodeFailed(node))),
        }
        self.release(cell, state, &mut work);
        self.run(&mut work);
        match work.answer {
            Some(answer) => answer,
            None => self.wait(cell, request, panics, is_write),
        }
    }

    /// Delivers messages until none is left on this call, or this call's request is answered and it has
    /// helped others enough.
    pub(super) fn run(&self, work: &mut Work) {
        let mut helped = 0;
        while let Some(delivery) = work.queue.pop_front() {
            if is_bulk(&delivery.envelope.message) || helped >= MAX_HELP {
                self.background.push(delivery);
                continue;
            }
            helped += usize::from(work.answer.is_some() && work.awaited.is_some());
            self.deliver(delivery, work);
        }
    }

    /// Delivers a message and those behind it to the same node.
    pub(super) fn deliver(&self, delivery: Delivery, work: &mut Work) {
        if self.links.is_cut(delivery.from, delivery.to) {
            return;
        }
        let cell = self.cell(delivery.to);
        let Entered::Guard(mut state) = cell.try_enter() else {
            work.queue.extend(cell.leave(delivery));
            return;
        };
        let now = self.now();
        if let Some(partition) = &mut state.partition {
            partition.handle_message(delivery.from, delivery.envelope, now);
            while let Some(next) = self.next_for(cell.node, &mut work.queue) {
                partition.handle_message(next.from, next.envelope, now);
            }
        }
        self.release(cell, state, work);
    }

    /// The next message, if it is for the same node and no bulk.
    fn next_for(&self, node: NodeId, queue: &mut VecDeque<Delivery>) -> Option<Delivery> {
        let next = queue.front()?;
        let fits = next.to == node
            && !is_bulk(&next.envelope.message)
            && !self.links.is_cut(next.from, node);
        if fits { queue.pop_front() } else { None }
    }

    /// Does what is due at a node, unless it is busy: then it is due at the next tick too.
    pub(super) fn tick(&self, cell: &NodeCell) {
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
        cell: &NodeCell,
        mut state: RwLockWriteGuard<'_, NodeState>,
        work: &mut Work,
    ) {
        if let Some(partition) = &mut state.partition {
            let ready = partition.take_ready();
            debug_assert!(ready.persist.is_none(), "a cluster without storage");
            for output in ready.outputs {
                match output {
                    Output::Send { to, envelope } => work.queue.push_back(Delivery {
                        from: cell.node,
                        to,
                        envelope,
                    }),
                    Output::Reply { request, result } => {
                        work.replies.push((request, result));
                    }
                }
            }
        }
        drop(state);
        work.queue.extend(cell.take_left());
        for (request, answer) in work.replies.drain(..) {
            match work.awaited == Some((cell.node, request)) {
                true => work.answer = Some(answer),
                false => cell.waiting.answer(request, answer),
            }
        }
    }

    /// Waits for an answer that another thread will bring.
    fn wait(&self, cell: &NodeCell, request: RequestId, panics: u64, is_write: bool) -> Answer {
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
        let unix = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let start = (unix.as_millis() as u64).saturating_sub(elapsed_ms);
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
fn is_bulk(message: &Message) -> bool {
    match message {
        Message::Write { .. }
        | Message::Repair { .. }
        | Message::Acknowledged { .. }
        | Message::Superseded { .. }
        | Message::Read { .. }
        | Message::ReadAnswer { .. } => false,
        Message::Hello
        | Message::HelloAnswer { .. }
        | Message::SyncRequest { .. }
        | Message::SyncAnswer(_)
        | Message::TransferRequest { .. }
        | Message::TransferAnswer { .. } => true,
    }
}
