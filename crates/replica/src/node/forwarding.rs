//! Requests that another node carries out, on the side that asks and on the side that is asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{MessageOf, NodeMessage};
use crate::{Config, NodeId, Now, Outcome, PartitionId, Policy, Request, RequestError, RequestId};

/// A forwarded request: who asks, in which life, and the number in that life.
type Asked = (NodeId, u64, u64);

type Answer<P> = Result<Outcome<<P as Policy>::Cell>, RequestError>;

/// The requests that this node has forwarded, and those that were forwarded to it.
pub(super) struct Forwards<P: Policy> {
    pending: BTreeMap<u64, Pending<P>>,
    /// Nothing is due before this time; it may be earlier than the first is.
    due_ms: Option<u64>,
    next: u64,
    /// A random number that stands for this life of the node.
    life: u64,
    /// The lives of the owners that have told theirs.
    lives: BTreeMap<NodeId, u64>,
    avoided: Avoided,
    /// Writes that were forwarded to this node by the present lives of their askers, with the answers that are
    /// kept.
    served: BTreeMap<Asked, Option<Answer<P>>>,
    /// Those of them that were answered, the oldest first.
    answered: VecDeque<Asked>,
    /// Reads that were forwarded to this node and are not answered. One that is asked for again is made again.
    reading: BTreeSet<Asked>,
    /// Who has forwarded writes to this node.
    askers: BTreeMap<NodeId, Asker>,
    /// How many answers are kept.
    max_kept: usize,
    /// How often a request was sent again.
    sent_again: u64,
}

/// What is remembered of a node that has forwarded writes to this one: of its present life alone.
///
/// A write that an earlier life has sent could come late and be carried out once more. So what this node calls its
/// own life towards an asker changes with each life of the asker: such a write is meant for another.
struct Asker {
    life: u64,
    /// How many lives it has had here before.
    before: u64,
    /// The highest number whose answer was forgotten.
    forgotten: Option<u64>,
}

/// The nodes that requests are steered around, if others will do.
struct Avoided {
    unreachable: BTreeSet<NodeId>,
    suspected: BTreeSet<NodeId>,
}

impl Avoided {
    const fn new() -> Self {
        Self {
            unreachable: BTreeSet::new(),
            suspected: BTreeSet::new(),
        }
    }

    fn contains(&self, node: NodeId) -> bool {
        self.unreachable.contains(&node) || self.suspected.contains(&node)
    }
}

struct Pending<P: Policy> {
    request: RequestId,
    partition: PartitionId,
    forwarded: Request<P::Write>,
    owners: Vec<NodeId>,
    /// Which of the owners was asked last.
    asked: usize,
    /// The life of that owner that it was sent to; a write is carried out in no other.
    life: Option<u64>,
    /// How often another owner was tried after a refusal.
    refusals: usize,
    /// Whether an owner that was asked before, or another life of it, may have carried out the write.
    is_doubtful: bool,
    deadline_ms: u64,
    resend_ms: u64,
    resend_after_ms: u64,
}

/// What comes next for a forwarded request.
pub(super) enum Next<P: Policy> {
    Send {
        to: NodeId,
        message: MessageOf<P>,
    },
    Reply {
        request: RequestId,
        result: Answer<P>,
    },
}

/// Whether a forwarded request was seen before.
pub(super) enum Served<P: Policy> {
    New,
    Pending,
    /// A write that is meant for another life than this one, the one that it has for the asker.
    OtherLife(u64),
    /// So old that nobody knows any more whether it was carried out.
    Forgotten,
    Answered(Answer<P>),
}

impl<P: Policy> Forwards<P> {
    /// Numbers start at random, so that answers to a former life of this node are not taken for answers
    /// to this one; in the lower half, so that they rise for longer than any node lives.
    pub(super) const fn new(random: u64, max_kept: usize) -> Self {
        Self {
            pending: BTreeMap::new(),
            due_ms: None,
            next: random >> 1,
            life: random.rotate_left(32) ^ 0x5851_f42d_4c95_7f2d,
            lives: BTreeMap::new(),
            avoided: Avoided::new(),
            served: BTreeMap::new(),
            answered: VecDeque::new(),
            reading: BTreeSet::new(),
            askers: BTreeMap::new(),
            max_kept,
            sent_again: 0,
        }
    }

    pub(super) fn set_reachable(&mut self, node: NodeId, reachable: bool) {
        if reachable {
            self.avoided.unreachable.remove(&node);
        } else {
            self.avoided.unreachable.insert(node);
            self.forget_life(node);
        }
    }

    pub(super) fn set_suspected(&mut self, node: NodeId, suspected: bool) {
        if suspected {
            self.avoided.suspected.insert(node);
            self.forget_life(node);
        } else {
            self.avoided.suspected.remove(&node);
        }
    }

    /// An owner that was gone may come back in another life. A write that is sent to no life is carried out in
    /// none, so it is sent once more to the one that the owner tells; one that is sent to a life that has ended
    /// fails, since that life may have carried it out.
    fn forget_life(&mut self, node: NodeId) {
        self.lives.remove(&node);
    }

    /// Nothing is due before this.
    pub(super) const fn next_due(&self) -> Option<u64> {
        self.due_ms
    }

    /// The client's request that is on its way under this number.
    pub(super) fn request_of(&self, number: u64) -> Option<RequestId> {
        self.pending.get(&number).map(|pending| pending.request)
    }

    /// Forwards a request to the preferred owner that can be reached.
    pub(super) fn start(
        &mut self,
        request: RequestId,
        partition: PartitionId,
        owners: Vec<NodeId>,
        forwarded: Request<P::Write>,
        config: &Config,
        now: Now,
    ) -> Option<Next<P>> {
        let limit = config.max_pending;
        if self.pending.len() >= limit {
            let pending = self.pending.len();
            let result = Err(RequestError::Overloaded { pending, limit });
            return Some(Next::Reply { request, result });
        }
        let limit_ms = config.request_timeout_ms;
        let timeout_ms = forwarded.timeout_ms.map_or(limit_ms, |ms| ms.min(limit_ms));
        let first = owners.iter().position(|o| !self.avoided.contains(*o));
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let life = self.lives.get(&owners[first.unwrap_or(0)]).copied();
        let pending = Pending {
            request,
            life,
            partition,
            forwarded,
            owners,
            asked: first.unwrap_or(0),
            refusals: 0,
            is_doubtful: false,
            deadline_ms: now.elapsed_ms + timeout_ms,
            resend_ms: now.elapsed_ms + config.resend_ms,
            resend_after_ms: config.resend_ms,
        };
        let next = pending.send(number, self.life, now);
        let due_ms = pending.due_ms();
        self.due_ms = Some(self.due_ms.map_or(due_ms, |held| held.min(due_ms)));
        self.pending.insert(number, pending);
        Some(next)
    }

    /// An owner's answer: passed on, unless it refused and changed nothing, and others are left to ask.
    pub(super) fn note_answer(
        &mut self,
        from: NodeId,
        number: u64,
        result: Answer<P>,
        now: Now,
    ) -> Option<Next<P>> {
        let pending = self.pending.get_mut(&number)?;
        let is_refusal = matches!(
            result,
            Err(RequestError::NodeFailed(_)
                | RequestError::Recovering { .. }
                | RequestError::NoRoom { .. }
                | RequestError::NoMajority {
                    may_take_effect: false,
                    ..
                })
        );
        if is_refusal && pending.owners.get(pending.asked) != Some(&from) {
            // A late refusal of one that is no longer asked.
            return None;
        }
        if is_refusal && pending.refusals + 1 < pending.owners.len() {
            pending.refusals += 1;
            pending.ask_next(&self.lives, &self.avoided);
            return Some(pending.send(number, self.life, now));
        }
        let pending = self.pending.remove(&number)?;
        let result = result.map_err(|error| pending.as_far_as_known(error));
        let request = pending.request;
        Some(Next::Reply { request, result })
    }

    /// An owner has not carried out a write that was meant for another life of it. If it was never told
    /// which, it is now; otherwise that other life may have carried it out.
    pub(super) fn note_life(
        &mut self,
        from: NodeId,
        number: u64,
        life: u64,
        now: Now,
    ) -> Option<Next<P>> {
        self.lives.insert(from, life);
        let pending = self.pending.get_mut(&number)?;
        if pending.owners.get(pending.asked) != Some(&from) || pending.life == Some(life) {
            return None;
        }
        let is_new = pending.life.is_none();
        if is_new || pending.become_retry() {
            pending.is_doubtful |= !is_new;
            pending.life = Some(life);
            return Some(pending.send(number, self.life, now));
        }
        let pending = self.pending.remove(&number)?;
        let (request, partition) = (pending.request, pending.partition);
        let may_take_effect = true;
        let result = Err(RequestError::Unreachable {
            partition,
            may_take_effect,
        });
        Some(Next::Reply { request, result })
    }

    /// Gives up what is past its deadline and asks again for the rest: for a read, and for a write that has a
    /// name, another owner.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Next<P>> {
        let mut next = Vec::new();
        let now_ms = now.elapsed_ms;
        if self.due_ms.is_none_or(|due| due > now_ms) {
            return next;
        }
        let expired = self.pending.iter();
        let expired = expired.filter(|(_, p)| now_ms >= p.deadline_ms);
        let expired: Vec<u64> = expired.map(|(number, _)| *number).collect();
        for pending in expired.into_iter().filter_map(|n| self.pending.remove(&n)) {
            let may_take_effect = pending.forwarded.command.is_write();
            let is_cut_off = |owner: &NodeId| self.avoided.unreachable.contains(owner);
            let result = Err(match pending.owners.iter().all(is_cut_off) {
                true => RequestError::Unreachable {
                    partition: pending.partition,
                    may_take_effect,
                },
                false => RequestError::Deadline {
                    answered: 0,
                    needed: 1,
                    may_take_effect,
                },
            });
            let request = pending.request;
            next.push(Next::Reply { request, result });
        }
        for (number, pending) in &mut self.pending {
            if now_ms >= pending.resend_ms {
                self.sent_again += 1;
                pending.resend_after_ms = pending.resend_after_ms.saturating_mul(2);
                pending.resend_ms = now_ms.saturating_add(pending.resend_after_ms);
                let is_write = pending.forwarded.command.is_write();
                if !is_write || pending.become_retry() {
                    pending.is_doubtful |= is_write;
                    pending.ask_next(&self.lives, &self.avoided);
                }
                next.push(pending.send(*number, self.life, now));
            }
        }
        self.due_ms = self.pending.values().map(Pending::due_ms).min();
        next
    }

    /// How often a request was sent again, since no answer had come in time.
    pub(super) const fn sent_again(&self) -> u64 {
        self.sent_again
    }

    /// Takes note of a forwarded read; false if it is being made.
    pub(super) fn serve_read(&mut self, asked: Asked) -> bool {
        self.reading.insert(asked)
    }

    /// Takes note of a forwarded write. It is carried out in the life that it is meant for, and once: what other
    /// lives have carried out is not remembered.
    pub(super) fn serve_write(&mut self, asked: Asked, meant_for: Option<u64>) -> Served<P> {
        let (from, asker, number) = asked;
        let life = self.life_for(from, asker);
        if meant_for != Some(life) {
            return Served::OtherLife(life);
        }
        let forgotten = self.askers.get(&from).and_then(|asker| asker.forgotten);
        if forgotten.is_some_and(|last| number <= last) {
            return Served::Forgotten;
        }
        match self.served.get(&asked) {
            Some(Some(answer)) => Served::Answered(answer.clone()),
            Some(None) => Served::Pending,
            None => {
                self.served.insert(asked, None);
                Served::New
            }
        }
    }

    /// The life of this node for a life of an asker. What was kept for its other lives is forgotten.
    fn life_for(&mut self, from: NodeId, asker: u64) -> u64 {
        let known = self.askers.entry(from).or_insert(Asker {
            life: asker,
            before: 0,
            forgotten: None,
        });
        if known.life != asker {
            let before = known.before + 1;
            *known = Asker {
                life: asker,
                before,
                forgotten: None,
            };
            self.served.retain(|(node, ..), _| *node != from);
            self.answered.retain(|(node, ..)| *node != from);
        }
        let step = known.before.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.life.wrapping_add(step)
    }

    /// Keeps the answer to a forwarded write for those who ask again.
    pub(super) fn note_served(&mut self, asked: Asked, answer: &Answer<P>) {
        if self.reading.remove(&asked) {
            return;
        }
        // Whoever asked has started anew since, if it is not there.
        let Some(kept) = self.served.get_mut(&asked) else {
            return;
        };
        *kept = Some(answer.clone());
        self.answered.push_back(asked);
        while self.answered.len() > self.max_kept {
            let Some(oldest) = self.answered.pop_front() else {
                return;
            };
            self.served.remove(&oldest);
            let (from, _, number) = oldest;
            if let Some(asker) = self.askers.get_mut(&from) {
                asker.forgotten = asker.forgotten.max(Some(number));
            }
        }
    }

    /// The answer that was kept was never durable: the asker is told this one.
    pub(super) fn replace_served(&mut self, to: NodeId, number: u64, answer: &Answer<P>) {
        let kept = self.served.iter_mut();
        for (_, kept) in kept.filter(|((from, _, n), _)| (*from, *n) == (to, number)) {
            *kept = Some(answer.clone());
        }
    }
}

impl<P: Policy> Pending<P> {
    /// Turns a write into a retry of itself, which any owner may see to; false if it has no name.
    const fn become_retry(&mut self) -> bool {
        match &mut self.forwarded.operation {
            Some(operation) => {
                operation.is_retry = true;
                true
            }
            None => false,
        }
    }

    /// What the asker is told of an error: an owner speaks for itself, and not for one that was asked before.
    fn as_far_as_known(&self, error: RequestError) -> RequestError {
        match self.is_doubtful && !error.may_take_effect() {
            true => RequestError::OutcomeUnknown {
                denied: 0,
                owners: self.owners.len(),
            },
            false => error,
        }
    }

    fn due_ms(&self) -> u64 {
        self.deadline_ms.min(self.resend_ms)
    }

    /// Turns to the next owner, one that is not avoided if there is one.
    fn ask_next(&mut self, lives: &BTreeMap<NodeId, u64>, avoided: &Avoided) {
        let count = self.owners.len();
        let mut others = (1..count).map(|step| (self.asked + step) % count);
        let usable = others.find(|next| !avoided.contains(self.owners[*next]));
        self.asked = usable.unwrap_or((self.asked + 1) % count);
        self.life = lives.get(&self.owners[self.asked]).copied();
    }

    /// The request, with the time that is left for it, to the owner whose turn it is.
    fn send(&self, number: u64, asker: u64, now: Now) -> Next<P> {
        let mut request = self.forwarded.clone();
        request.timeout_ms = Some(self.deadline_ms.saturating_sub(now.elapsed_ms));
        Next::Send {
            to: self.owners[self.asked],
            message: NodeMessage::Forward {
                number,
                asker,
                life: self.life,
                request,
            },
        }
    }
}

#[cfg(test)]
mod tests;
