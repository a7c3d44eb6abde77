//! Coordinating reads, answering those of others, and repairing what diverges.
//!
//! A read asks the owners what they hold and joins it into this node's own map. That may be all, or the
//! first step of something else: a linearizable read is written back, and a write whose author has seen
//! more than this node starts once the node has caught up ([`Purpose`]).

use bytes::Bytes;
use crdt::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::Partition;
use super::due::Due;
use super::operations::Retry;
use super::pending_reads::{PendingRead, Purpose};
use super::writes::Start;
use crate::message::{Message, StoreListing};
use crate::{
    Floor, Level, Met, NodeId, OperationAnswer, OperationId, Outcome, Policy, RequestError,
    RequestId,
};

impl<P: Policy> Partition<P> {
    /// Answers a read, from this node's own map alone if that is enough.
    pub(super) fn start_read(
        &mut self,
        request: RequestId,
        key: Bytes,
        level: Level,
        floor: Floor,
        due: Due,
    ) {
        if let Err(error) = self.check_nothing_lost(&floor) {
            return self.reply(request, Err(error));
        }
        let needed = self.owners_needed(level, self.config.read_quorum);
        let met = Met::asked(level, &floor);
        let is_covered = floor.context.is_empty() || self.covers(&key, &floor);
        if needed == 1 && level != Level::Linearizable && is_covered {
            let outcome = self.outcome_of(&key, 1, met);
            return self.reply(request, Ok(outcome));
        }
        self.counters.session_waits += u64::from(!is_covered);
        let purpose = match level {
            Level::Linearizable => Purpose::WriteBack(request),
            _ => Purpose::Answer(request),
        };
        self.ask_owners(purpose, key, needed, (floor, met), due);
    }

    /// Answers a read at level `One` without changing anything, if this node has seen what the session
    /// has; `None` if it has not and others must be asked.
    ///
    /// # Errors
    /// If the node does not serve.
    pub fn read_one(
        &self,
        key: &Bytes,
        floor: &Floor,
    ) -> Result<Option<Outcome<P::Cell>>, RequestError> {
        self.check_serves()?;
        self.check_nothing_lost(floor)?;
        let met = Met::asked(Level::One, floor);
        let is_covered = self.covers(key, floor);
        Ok(is_covered.then(|| self.outcome_of(key, 1, met)))
    }

    /// Starts a write, after a round of questions where it needs to know more than is known here: to get its
    /// place among all writes ([`asks_first`](Self::asks_first)), and where a session has seen what this node has
    /// not and would otherwise be left beside what it has read.
    pub(super) fn prepare_write(&mut self, mut start: Start<P::Write>, floor: Floor) {
        let asks = Self::asks_first(&start);
        let waits = !P::BY_TIME && !floor.context.is_empty() && !self.covers(&start.key, &floor);
        if !asks && !waits {
            return self.start_write(&start);
        }
        if let Err(error) = self.check_nothing_lost(&floor) {
            return self.reply(start.request, Err(error));
        }
        self.counters.session_waits += u64::from(waits);
        let needed = if asks {
            self.config.read_quorum as usize
        } else {
            1
        };
        let (key, met, due) = (start.key.clone(), start.met, start.due);
        start.asked_behind = Some(self.replica.own_counter());
        let purpose = Purpose::Write(Box::new(start));
        self.ask_owners(purpose, key, needed, (floor, met), due);
    }

    /// Refuses a session that has seen events of the dead that nobody has any more: no wait can bring them
    /// back.
    fn check_nothing_lost(&self, floor: &Floor) -> Result<(), RequestError> {
        let nobody_died = self.retired.is_empty() && self.replica.closed().is_empty();
        if nobody_died || floor.context.is_empty() {
            return Ok(());
        }
        let lost = self.lost_of(&floor.context);
        let partition = self.config.partition;
        match lost.is_empty() {
            true => Ok(()),
            false => Err(RequestError::SessionLost {
                partition,
                lost: Box::new(lost),
            }),
        }
    }

    /// Whether what is known here of the key includes all that the session has seen. What is lost for
    /// good is not: that it counts as known must not hide it.
    fn covers(&self, key: &Bytes, floor: &Floor) -> bool {
        let known = self.replica.knowledge().of_key(key);
        known.includes(&floor.context) && self.check_nothing_lost(floor).is_ok()
    }

    /// Answers the pending reads whose session has seen what is lost for good.
    pub(super) fn fail_lost(&mut self) {
        let reads = self.reads.reads.iter();
        let lost = reads.filter(|(_, read)| self.check_nothing_lost(&read.floor).is_err());
        let lost: Vec<u64> = lost.map(|(number, _)| *number).collect();
        self.give_up_reads(&lost);
    }

    /// Asks all owners what became of a write.
    pub(super) fn ask_about(&mut self, retry: Box<Retry<P::Write>>) {
        let Start { key, met, due, .. } = &retry.start;
        let (key, asked, due) = (key.clone(), (Floor::default(), *met), *due);
        self.ask_owners(Purpose::Retry(retry), key, 1, asked, due);
    }

    /// Whether this node asks the others about the operation.
    pub(super) fn is_asking_about(&self, id: OperationId) -> bool {
        self.reads.reads.values().any(|read| read.is_about(id))
    }

    /// Gives up what asks about the operation.
    pub(super) fn give_way(&mut self, id: OperationId) {
        let about = self
            .reads
            .reads
            .iter()
            .filter(|(_, read)| read.is_about(id));
        let about: Vec<u64> = about.map(|(number, _)| *number).collect();
        self.give_up_reads(&about);
    }

    /// Goes on with a retry if it is known what became of the write.
    fn finish_retry(&mut self, read: u64) {
        let pending = self.reads.reads.get(&read);
        let Some(Purpose::Retry(retry)) = pending.and_then(|p| p.purpose.as_ref()) else {
            return;
        };
        let Some(event) = self.settled(retry) else {
            return;
        };
        let pending = self.reads.reads.remove(&read);
        let Some(Purpose::Retry(retry)) = pending.and_then(|p| p.purpose) else {
            return;
        };
        self.reads.unanswered -= 1;
        let mut start = retry.start;
        if let Some(dot) = event {
            return self.complete_operation(&start, dot);
        }
        self.counters.operations_begun += 1;
        start.is_cleared = true;
        self.start_write(&start);
    }

    fn ask_owners(
        &mut self,
        purpose: Purpose<P>,
        key: Bytes,
        needed: usize,
        (floor, met): (Floor, Met),
        due: Due,
    ) {
        let reached = match purpose {
            Purpose::WriteBack(_) => needed.max(self.config.write_quorum as usize),
            _ => needed,
        };
        if let Err(error) = self.check_reachable(reached) {
            return self.reply(purpose.request(), Err(error));
        }
        let read = self.reads.next;
        self.reads.next = self.reads.next.wrapping_add(1);
        self.reads.unanswered += 1;
        let due_ms = due.next();
        self.reads.due_ms = Some(self.reads.due_ms.map_or(due_ms, |held| held.min(due_ms)));
        let pending = PendingRead {
            purpose: Some(purpose),
            asked_with: self.live_digest(&key),
            key,
            needed,
            floor,
            met,
            answers: BTreeMap::new(),
            due,
        };
        let question = pending.question(read);
        self.reads.reads.insert(read, pending);
        for peer in self.peers.all() {
            self.send(peer, question.clone());
        }
        self.finish_read(read);
    }

    fn outcome_of(&self, key: &Bytes, owners: usize, met: Met) -> Outcome<P::Cell> {
        let held = self.replica.map().get(key);
        let seen = self.seen(key, held.and_then(P::time_of).unwrap_or_default());
        let cell = held.cloned().unwrap_or_default();
        Outcome::Read {
            cell,
            seen,
            stable: Arc::clone(self.stable()),
            owners,
            met,
        }
    }

    /// What an operation on the key has seen, no event of it later than `time`.
    pub(super) fn seen(&self, key: &Bytes, time: Timestamp) -> Floor {
        let context = self.replica.events_of_key(key);
        Floor { context, time }
    }

    /// A digest of the live events of a key, tombstones included.
    fn live_digest(&self, key: &Bytes) -> u128 {
        self.replica.map().get(key).map_or(0, crdt::live_digest)
    }

    /// What this node holds of a key, in a few bytes if the reader holds the same.
    pub(super) fn answer_read(
        &mut self,
        from: NodeId,
        read: u64,
        key: Bytes,
        held: u128,
        with_knowledge: bool,
        operation: Option<OperationId>,
    ) {
        if !self.is_ready() {
            return;
        }
        let answer = operation.map(|id| self.answer_about(from, id));
        if answer == Some(None) {
            return;
        }
        let listing = match with_knowledge {
            true => Some(Arc::new(self.replica.list_known(key))),
            false if self.live_digest(&key) == held => None,
            false => Some(Arc::new(self.replica.list_key(key))),
        };
        let message = Message::ReadAnswer {
            read,
            listing,
            operation: answer.flatten(),
        };
        self.send(from, message);
    }

    pub(super) fn note_read_answer(
        &mut self,
        from: NodeId,
        read: u64,
        listing: Option<Arc<StoreListing<P::Cell>>>,
        operation: Option<(OperationAnswer, bool)>,
    ) {
        let Some(pending) = self.reads.reads.get_mut(&read) else {
            return;
        };
        let live = match listing.as_deref() {
            Some(crdt::Listing::Key(l)) if *l.key() == pending.key => crdt::live_digest(l.cell()),
            Some(_) => return,
            None => pending.asked_with,
        };
        let is_first = pending.answers.insert(from, live).is_none();
        if let (Some(Purpose::Retry(retry)), Some((answer, is_current))) =
            (&mut pending.purpose, operation)
        {
            retry.note(from, answer, is_current);
        }
        // What is waited for after that is not answers.
        if is_first && pending.answers.len() + 1 == pending.needed {
            self.pace.note(pending.due.waited_ms(self.now.elapsed_ms));
        }
        if let Some(listing) = listing {
            self.join_listing(&listing);
        }
        self.finish_read(read);
    }

    /// Goes on with a read that enough owners have answered; forgets it once all have.
    fn finish_read(&mut self, read: u64) {
        let Some(pending) = self.reads.reads.get(&read) else {
            return;
        };
        let owners = pending.answers.len() + 1;
        if owners < pending.needed {
            return;
        }
        let (key, met) = (pending.key.clone(), pending.met);
        if pending.purpose.is_some() && !self.covers(&key, &pending.floor) {
            return;
        }
        if let Some(Purpose::WriteBack(request)) = pending.purpose {
            let outcome = self.outcome_of(&key, owners, met);
            return self.start_write_back(read, request, outcome);
        }
        if matches!(pending.purpose, Some(Purpose::Retry(_))) {
            return self.finish_retry(read);
        }
        let live = self.live_digest(&key);
        let Some(pending) = self.reads.reads.get_mut(&read) else {
            return;
        };
        if matches!(pending.purpose, Some(Purpose::WrittenBack(_))) {
            return;
        }
        // An owner that has been told holds what is live here, as far as this read is concerned.
        let diverged = pending
            .answers
            .iter_mut()
            .filter(|(_, held)| **held != live);
        let diverged: Vec<NodeId> = diverged
            .map(|(node, held)| {
                *held = live;
                *node
            })
            .collect();
        let purpose = pending.purpose.take();
        for node in diverged {
            self.counters.read_repairs += 1;
            let listing = Arc::new(self.replica.list_key(key.clone()));
            self.send(node, Message::Repair { listing });
        }
        self.forget_answered(read);
        match purpose {
            Some(Purpose::Answer(request)) => {
                self.reads.unanswered -= 1;
                let outcome = self.outcome_of(&key, owners, met);
                self.reply(request, Ok(outcome));
            }
            Some(Purpose::Write(start)) => {
                self.reads.unanswered -= 1;
                self.start_write(&start);
            }
            _ => {}
        }
    }

    /// Forgets a read that was answered, unless owners that can be reached have still to say what they
    /// hold.
    fn forget_answered(&mut self, read: u64) {
        let Some(pending) = self.reads.reads.get(&read) else {
            return;
        };
        let is_silent = |peer| !pending.answers.contains_key(&peer);
        let waits = self.peers.reachable().any(is_silent);
        let kept = self.reads.reads.len() - self.reads.unanswered;
        if pending.purpose.is_none() && (!waits || kept >= self.config.max_pending) {
            self.reads.reads.remove(&read);
        }
    }

    /// Gives up reads past their deadline and asks again for others.
    pub(super) fn expire_reads(&mut self) {
        let now_ms = self.now.elapsed_ms;
        if self.reads.due_ms.is_none_or(|due| due > now_ms) {
            return;
        }
        let (mut expired, mut resend, mut back) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = None::<u64>;
        for (read, pending) in &mut self.reads.reads {
            if now_ms >= pending.due.deadline_ms {
                expired.push(*read);
                continue;
            }
            let asks_again = pending.due.take_resend(now_ms);
            let due = pending.due.next();
            next = Some(next.map_or(due, |held| held.min(due)));
            match &pending.purpose {
                Some(Purpose::WrittenBack(..)) if asks_again => back.push(*read),
                Some(_) if asks_again => {
                    // Whoever has answered may know more by now, and a session may wait for that.
                    let again = !pending.floor.is_bottom()
                        || matches!(pending.purpose, Some(Purpose::Retry(_)));
                    let is_asked = |p: &NodeId| again || !pending.answers.contains_key(p);
                    let message = pending.question(*read);
                    let asked = self.peers.all().filter(is_asked);
                    resend.extend(asked.map(|peer| (peer, message.clone())));
                }
                _ => {}
            }
        }
        self.reads.due_ms = next;
        for read in expired {
            self.give_up_read(read, |answered, needed| RequestError::Deadline {
                answered,
                needed,
                may_take_effect: false,
            });
        }
        let before = self.outputs.len();
        for (peer, message) in resend {
            self.send(peer, message);
        }
        for read in back {
            self.write_back(read);
        }
        self.count_sent_again(before);
    }

    /// Answers the requests that too few reachable nodes are left for.
    pub(super) fn fail_hopeless(&mut self) {
        self.fail_hopeless_writes();
        let reachable = self.peers.reachable_count() + 1;
        let hopeless = self
            .reads
            .reads
            .iter()
            .filter(|(_, r)| r.progress(self.config.write_quorum).1 > reachable);
        let hopeless: Vec<u64> = hopeless.map(|(read, _)| *read).collect();
        self.give_up_reads(&hopeless);
    }

    /// Answers all pending reads: this node no longer coordinates.
    pub(super) fn abandon_reads(&mut self) {
        let all: Vec<u64> = self.reads.reads.keys().copied().collect();
        self.give_up_reads(&all);
    }

    fn give_up_reads(&mut self, reads: &[u64]) {
        for read in reads {
            self.give_up_read(*read, |acknowledged, needed| RequestError::NoMajority {
                acknowledged,
                needed,
                may_take_effect: false,
            });
        }
    }

    /// Answers a read with what kept it from its answer: of how many were needed, how many have said what is waited
    /// for, unless there is more to say.
    fn give_up_read(&mut self, read: u64, too_few: impl Fn(usize, usize) -> RequestError) {
        let Some(pending) = self.reads.reads.remove(&read) else {
            return;
        };
        let Some(purpose) = &pending.purpose else {
            return;
        };
        self.reads.unanswered -= 1;
        let (answered, needed) = pending.progress(self.config.write_quorum);
        let known = self.replica.events_of_key(&pending.key);
        let missing = pending.floor.context.difference(&known);
        if let Purpose::Retry(retry) = purpose {
            let error = retry.failure(self.config.replication_factor);
            return self.reply(purpose.request(), Err(error));
        }
        let error = match (
            self.check_nothing_lost(&pending.floor),
            missing.ranges().next(),
        ) {
            (Err(lost), _) => lost,
            (Ok(()), Some(first)) if answered >= needed => RequestError::SessionUnmet {
                partition: self.config.partition,
                missing: missing.event_count(),
                first: crdt::Dot::new(first.replica, first.first).to_string(),
                answered,
            },
            _ => too_few(answered, needed),
        };
        self.reply(purpose.request(), Err(error));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Config, Now, Output, Request};

    /// Hands over everything that is under way between the two nodes until nothing is.
    fn exchange(nodes: &mut [Partition; 2]) -> usize {
        let mut replies = 0;
        loop {
            let outputs = [0, 1].map(|i| nodes[i].take_ready().outputs);
            if outputs.iter().all(Vec::is_empty) {
                return replies;
            }
            for (from, output) in (1..)
                .zip(outputs)
                .flat_map(|(i, o)| o.into_iter().map(move |o| (i, o)))
            {
                match output {
                    Output::Send {
                        to: NodeId(to @ 1..=2),
                        envelope,
                    } => {
                        let to = &mut nodes[to as usize - 1];
                        to.handle_message(NodeId(from), envelope, Now::default());
                    }
                    Output::Reply { .. } => replies += 1,
                    Output::Send { .. } => {}
                }
            }
        }
    }

    #[test]
    fn answered_reads_do_not_pile_up_while_an_owner_is_silent() {
        let start = |node| {
            let mut config = Config::new(NodeId(node), 3);
            config.max_pending = 10;
            Partition::bootstrap(config, u64::from(node), Now::default()).expect("valid")
        };
        let mut nodes = [start(1), start(2)];
        let read = |nodes: &mut [Partition; 2], number| {
            let get = Request::new(Command::get(Bytes::from_static(b"k")), Level::Quorum);
            nodes[0].handle_request(RequestId(number), get, Now::default());
            assert_eq!(exchange(nodes), 1);
        };
        // Nobody knows that the third node is silent. Those that wait for it are beside those that are kept.
        for number in 100..103 {
            let get = Request::new(Command::get(Bytes::from_static(b"k")), Level::All);
            nodes[0].handle_request(RequestId(number), get, Now::default());
            assert_eq!(exchange(&mut nodes), 0);
        }
        (0..50).for_each(|number| read(&mut nodes, number));
        assert_eq!(nodes[0].reads.reads.len(), 3 + 10);
        // Once it is known, nothing is kept for it.
        nodes[0].handle_reachable(NodeId(3), false, Now::default());
        assert_eq!(exchange(&mut nodes), 3, "and nothing waits for it");
        let kept = nodes[0].reads.reads.len();
        (50..99).for_each(|number| read(&mut nodes, number));
        assert_eq!(nodes[0].reads.reads.len(), kept);
        let mut nodes = [start(1), start(2)];
        nodes[0].handle_reachable(NodeId(3), false, Now::default());
        read(&mut nodes, 0);
        assert_eq!(nodes[0].reads.reads.len(), 0);
    }
}
