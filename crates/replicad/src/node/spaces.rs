//! The two key spaces of a node as one state machine: requests and messages go to the space they are of, and
//! what follows from both is taken together.

use bytes::Bytes;
use crdt::{Cut, Interval, MapReplica};
use replica::{
    Level, Node, NodeId, NodeOutput, Now, Partition, PartitionId, Policy, RequestError, RequestId,
    Requester, State, StorageError, Table, WriteBatch,
};
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::wire::SpaceMessage;
use crate::policies::{StorePolicy, StringPolicy, Types, counter_of, new_and_present};
use crate::store::{Contents, Effect, Operation, ScannedKey, Space, StoreAnswer, StoreRequest};

/// The nodes of both spaces.
#[derive(Debug)]
pub(super) struct Spaces<S: StringPolicy> {
    pub(super) strings: Node<S>,
    pub(super) types: Node<Types>,
    /// What the pending writes of types have to tell beside their outcome.
    effects: BTreeMap<RequestId, PendingEffect>,
    /// Keys of types that hold nothing visible: removed counters.
    removed: HashSet<Bytes>,
}

/// The effect of a write whose outcome is not known yet.
#[derive(Debug)]
struct PendingEffect {
    key: Bytes,
    /// `None` if this node does not own the key.
    effect: Option<Effect>,
    /// Whether the write was made when it came, so that the counter in the effect is the one after it.
    is_made: bool,
}

/// What is to be made durable, and what follows from it.
#[derive(Debug)]
pub(super) struct Turn<S: StringPolicy> {
    pub(super) batches: Vec<(Space, PartitionId, WriteBatch)>,
    strings: Vec<NodeOutput<S>>,
    types: Vec<NodeOutput<Types>>,
}

/// Room for what follows from a turn that is kept for the next.
const KEPT_OUTPUTS: usize = 1 << 12;

impl<S: StringPolicy> Default for Turn<S> {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            strings: Vec::new(),
            types: Vec::new(),
        }
    }
}

impl<S: StringPolicy> Turn<S> {
    /// Takes what follows from it for the strings.
    pub(super) fn strings(&mut self) -> impl Iterator<Item = Effectuated<S>> + '_ {
        self.strings.drain(..).map(of_strings)
    }

    /// Whether anything follows from it for the types.
    pub(super) const fn has_types(&self) -> bool {
        !self.types.is_empty()
    }

    /// Empties it for the next turn.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.strings.clear();
        self.types.clear();
        self.strings.shrink_to(KEPT_OUTPUTS);
        self.types.shrink_to(KEPT_OUTPUTS);
    }
}

/// An effect of a node, in the words of the store.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are of the largest variant, and each is made once and taken apart once"
)]
pub(super) enum Effectuated<S: StringPolicy> {
    Send {
        to: NodeId,
        message: SpaceMessage<S>,
    },
    Reply {
        request: RequestId,
        result: Result<StoreAnswer, RequestError>,
    },
}

impl<S: StringPolicy> Spaces<S> {
    pub(super) fn new(strings: Node<S>, types: Node<Types>) -> Self {
        let mut spaces = Self {
            strings,
            types,
            effects: BTreeMap::new(),
            removed: HashSet::new(),
        };
        for (_, partition) in spaces.types.partitions() {
            let empty = partition.replica().map().iter();
            let empty = empty.filter(|(_, cell)| Types::contents(cell).is_empty());
            spaces.removed.extend(empty.map(|(key, _)| key.clone()));
        }
        spaces
    }

    /// The node.
    pub(super) const fn node(&self) -> NodeId {
        self.strings.config().node
    }

    /// Whether this node owns a key.
    pub(super) fn owns(&self, space: Space, key: &[u8]) -> bool {
        match space {
            Space::Strings => partition_of(&self.strings, key).is_some(),
            Space::Types => partition_of(&self.types, key).is_some(),
        }
    }

    /// For whom another node is asked with this message.
    pub(super) fn requester_of_question(&self, message: &SpaceMessage<S>) -> Option<Requester> {
        match message {
            SpaceMessage::Strings(message) => self.strings.requester_of_question(message),
            SpaceMessage::Types(message) => self.types.requester_of_question(message),
        }
    }

    /// Whose request another node answers with this message.
    pub(super) fn requester_of_answer(&self, message: &SpaceMessage<S>) -> Option<Requester> {
        match message {
            SpaceMessage::Strings(message) => self.strings.requester_of_answer(message),
            SpaceMessage::Types(message) => self.types.requester_of_answer(message),
        }
    }

    pub(super) fn handle_request(&mut self, id: RequestId, request: StoreRequest, now: Now) {
        if request.operation.space() == Space::Strings {
            return self.strings.handle_request(id, S::request(request), now);
        }
        if !request.operation.is_write() {
            return self.types.handle_request(id, Types::request(request), now);
        }
        let key = request.key.clone();
        let (pending, minted) = self.expect(&request);
        self.effects.insert(id, pending);
        self.types.handle_request(id, Types::request(request), now);
        let made = partition_of(&self.types, &key).filter(|p| own_events(p) != minted);
        if let Some(partition) = made
            && let Some(pending) = self.effects.get_mut(&id)
        {
            pending.note_made(partition);
        }
    }

    /// What a write of types is about to do, and how many events its partition has minted so far.
    fn expect(&self, request: &StoreRequest) -> (PendingEffect, u64) {
        let partition = partition_of(&self.types, &request.key);
        let record = partition.and_then(|p| p.replica().map().get(&request.key));
        let mut effect = Effect::default();
        match &request.operation {
            Operation::Add { members } => effect.added = new_and_present(record, members).0,
            Operation::Remove { members } => effect.removed = new_and_present(record, members).1,
            _ => {}
        }
        let pending = PendingEffect {
            key: request.key.clone(),
            effect: partition.map(|_| effect),
            is_made: false,
        };
        (pending, partition.map_or(0, own_events))
    }

    pub(super) fn handle_message(&mut self, from: NodeId, message: SpaceMessage<S>, now: Now) {
        match message {
            SpaceMessage::Strings(message) => self.strings.handle_message(from, message, now),
            SpaceMessage::Types(message) => self.types.handle_message(from, message, now),
        }
    }

    pub(super) fn handle_reachable(&mut self, node: NodeId, reachable: bool, now: Now) {
        self.strings.handle_reachable(node, reachable, now);
        self.types.handle_reachable(node, reachable, now);
    }

    pub(super) fn handle_suspected(&mut self, node: NodeId, suspected: bool) {
        self.strings.handle_suspected(node, suspected);
        self.types.handle_suspected(node, suspected);
    }

    pub(super) fn handle_accept_loss(&mut self, now: Now) {
        self.strings.handle_accept_loss(now);
        self.types.handle_accept_loss(now);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is next wanted.
    pub(super) fn deadline(&self) -> Option<u64> {
        let deadlines = [self.strings.deadline(), self.types.deadline()];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        if self.deadline().is_some_and(|due| due <= now.elapsed_ms) {
            self.strings.handle_timeout(now);
            self.types.handle_timeout(now);
        }
    }

    /// Takes what has to be made durable, and what may be released after it.
    pub(super) fn take_turn(&mut self) -> Turn<S> {
        let mut turn = Turn::default();
        self.add_to(&mut turn);
        turn
    }

    /// The same, behind what is in a turn already.
    pub(super) fn add_to(&mut self, turn: &mut Turn<S>) {
        let mut persist = Vec::new();
        self.strings
            .take_ready_into(&mut persist, &mut turn.strings);
        let of = |space| move |(partition, batch)| (space, partition, batch);
        turn.batches
            .extend(persist.drain(..).map(of(Space::Strings)));
        self.types.take_ready_into(&mut persist, &mut turn.types);
        for (partition, batch) in &persist {
            let keys = batch
                .changes
                .iter()
                .filter(|(table, ..)| *table == Table::Cells);
            for (_, key, _) in keys {
                note_removed(&mut self.removed, self.types.partition(*partition), key);
            }
        }
        turn.batches
            .extend(persist.into_iter().map(of(Space::Types)));
    }

    /// What follows from a turn that is durable.
    pub(super) fn effectuate(&mut self, mut turn: Turn<S>) -> Vec<Effectuated<S>> {
        let mut effectuated: Vec<Effectuated<S>> = turn.strings().collect();
        effectuated.extend(self.effectuate_types(&mut turn));
        effectuated
    }

    /// What follows for the types from a turn that is durable.
    pub(super) fn effectuate_types(&mut self, turn: &mut Turn<S>) -> Vec<Effectuated<S>> {
        let outputs = turn.types.drain(..);
        let effects = outputs.map(|output| match output {
            NodeOutput::Send { to, message } => {
                let message = SpaceMessage::Types(message);
                Effectuated::Send { to, message }
            }
            NodeOutput::Reply { request, result } => {
                let result = result.map(Types::answer);
                let result = self.complete(request, result);
                Effectuated::Reply { request, result }
            }
        });
        effects.collect()
    }

    /// Adds to the answer of a write of types what it did.
    fn complete(
        &mut self,
        request: RequestId,
        result: Result<StoreAnswer, RequestError>,
    ) -> Result<StoreAnswer, RequestError> {
        let Some(mut pending) = self.effects.remove(&request) else {
            return result;
        };
        let mut answer = result?;
        if let StoreAnswer::Written { effect, .. } = &mut answer {
            if let Some(partition) = partition_of(&self.types, &pending.key)
                && !pending.is_made
            {
                pending.note_made(partition);
            }
            *effect = pending.effect;
        }
        Ok(answer)
    }

    /// A turn could not be made durable: nothing of it is released, and the node stops serving. What is
    /// left to be said are refusals.
    pub(super) fn handle_storage_failure(
        &mut self,
        error: &StorageError,
        turn: Turn<S>,
    ) -> Vec<Effectuated<S>> {
        fail(&mut self.strings, error, turn.strings);
        fail(&mut self.types, error, turn.types);
        let refusals = self.take_turn();
        self.effectuate(refusals)
    }

    /// Whether it serves: up once both spaces are, failed as soon as one is.
    pub(super) fn state(&self) -> State {
        let strings = self.strings.partitions().map(|(_, p)| p.state());
        let types = self.types.partitions().map(|(_, p)| p.state());
        strings
            .chain(types)
            .fold(State::Up, |worst, state| match (worst, state) {
                (State::StorageFailed, _) | (_, State::StorageFailed) => State::StorageFailed,
                (State::Recovering, _) | (_, State::Recovering) => State::Recovering,
                (State::Returning, _) | (_, State::Returning) => State::Returning,
                _ => state,
            })
    }

    /// Audits that have found damage so far, and how often this node was the one that was damaged.
    pub(super) fn damage_found(&self) -> (u64, u64) {
        let strings = self.strings.partitions().map(|(_, p)| p.counters());
        let types = self.types.partitions().map(|(_, p)| p.counters());
        strings.chain(types).fold((0, 0), |(failed, given_up), c| {
            (failed + c.audits_failed, given_up + c.damages_given_up)
        })
    }

    /// Keys that hold something; one that is in both spaces counts twice.
    pub(super) fn key_count(&self) -> usize {
        fn live<P: Policy>(node: &Node<P>) -> usize {
            let replicas = node.partitions().map(|(_, p)| p.replica());
            let live = |r: &MapReplica<Bytes, P::Cell>| r.map().len() - r.tombstone_count();
            replicas.map(live).sum()
        }
        live(&self.strings) + live(&self.types).saturating_sub(self.removed.len())
    }

    /// What the local replica shows of a key.
    pub(super) fn contents(&self, key: &[u8]) -> Contents {
        let strings = self.contents_in(Space::Strings, key);
        strings.union(self.contents_in(Space::Types, key))
    }

    /// What the local replica shows of a key in one space.
    pub(super) fn contents_in(&self, space: Space, key: &[u8]) -> Contents {
        fn of<P: StorePolicy>(node: &Node<P>, key: &[u8]) -> Contents {
            let cell = partition_of(node, key).and_then(|p| p.replica().map().get(key));
            cell.map_or_else(Contents::default, P::contents)
        }
        match space {
            Space::Strings => of(&self.strings, key),
            Space::Types => of(&self.types, key),
        }
    }

    /// Answers a read at level `One` that the local replica alone can answer.
    pub(super) fn read_one(&self, request: &StoreRequest) -> Option<StoreAnswer> {
        fn of<P: StorePolicy>(node: &Node<P>, request: &StoreRequest) -> Option<StoreAnswer> {
            let partition = partition_of(node, &request.key)?;
            // Errors are told by the way through the inbox.
            let outcome = partition.read_one(&request.key, &request.floor).ok()??;
            Some(P::answer(outcome))
        }
        match request.operation {
            _ if request.level != Level::One => None,
            Operation::Get => of(&self.strings, request),
            Operation::Look => of(&self.types, request),
            _ => None,
        }
    }

    /// Up to `limit` keys that hold something here, ascending, strictly after `after`.
    pub(super) fn scan(
        &self,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<Vec<ScannedKey>, RequestError> {
        let mut keys = BTreeSet::new();
        collect_keys(&self.strings, after, limit, &mut keys)?;
        collect_keys(&self.types, after, limit, &mut keys)?;
        let scanned = |key: Bytes| ScannedKey {
            contents: self.contents(&key),
            key,
        };
        Ok(keys.into_iter().take(limit).map(scanned).collect())
    }

    /// What is known here of a key, for people.
    pub(super) fn explain(&self, key: &Bytes) -> String {
        fn of<P: StorePolicy>(node: &Node<P>, key: &Bytes) -> String {
            let owners = node.placement().owners(node.placement().partition_of(key));
            match partition_of(node, key) {
                Some(partition) => format!("{}: {}", P::SPACE, partition.explain(key)),
                None => format!(
                    "{}: this node does not own the key; {owners:?} do\n",
                    P::SPACE
                ),
            }
        }
        of(&self.strings, key) + &of(&self.types, key)
    }
}

fn of_strings<S: StringPolicy>(output: NodeOutput<S>) -> Effectuated<S> {
    match output {
        NodeOutput::Send { to, message } => {
            let message = SpaceMessage::Strings(message);
            Effectuated::Send { to, message }
        }
        NodeOutput::Reply { request, result } => {
            let result = result.map(S::answer);
            Effectuated::Reply { request, result }
        }
    }
}

impl PendingEffect {
    fn note_made(&mut self, partition: &Partition<Types>) {
        self.is_made = true;
        if let Some(effect) = &mut self.effect {
            effect.counter = counter_of(partition.replica().map().get(&self.key));
        }
    }
}

fn partition_of<'n, P: Policy>(node: &'n Node<P>, key: &[u8]) -> Option<&'n Partition<P>> {
    node.partition(node.placement().partition_of(key))
}

fn own_events(partition: &Partition<Types>) -> u64 {
    partition.replica().own_counter()
}

fn note_removed(removed: &mut HashSet<Bytes>, partition: Option<&Partition<Types>>, key: &[u8]) {
    let record = partition.and_then(|p| p.replica().map().get(key));
    match record.is_some_and(|record| Types::contents(record).is_empty()) {
        true => removed.insert(Bytes::copy_from_slice(key)),
        false => removed.remove(key),
    };
}

fn fail<P: Policy>(node: &mut Node<P>, error: &StorageError, mut dropped: Vec<NodeOutput<P>>) {
    let partitions: Vec<PartitionId> = node.partitions().map(|(id, _)| id).collect();
    for partition in partitions {
        node.handle_storage_failure(partition, error, std::mem::take(&mut dropped));
    }
}

/// Adds the first `limit` keys of each partition that hold something.
fn collect_keys<P: StorePolicy>(
    node: &Node<P>,
    after: Option<&Bytes>,
    limit: usize,
    keys: &mut BTreeSet<Bytes>,
) -> Result<(), RequestError> {
    let from = after.map_or(Cut::BelowAll, |key| Cut::After(key.clone()));
    for (_, partition) in node.partitions() {
        // Refuses where the partition does not serve.
        partition.cell_local(b"")?;
        let Some(rest) = Interval::new(from.clone(), Cut::AboveAll) else {
            continue;
        };
        let held = partition.replica().map().within(&rest);
        let held = held.filter(|(_, cell)| !P::contents(cell).is_empty());
        keys.extend(held.take(limit).map(|(key, _)| key.clone()));
    }
    Ok(())
}
