//! Coordinating reads, answering those of others, and repairing what diverges.

use bytes::Bytes;
use crdt::Dot;
use std::collections::BTreeMap;

use super::Partition;
use super::writes::Due;
use crate::message::{Message, StoreListing};
use crate::{Level, NodeId, Outcome, RequestError, RequestId};

/// The reads that this node coordinates. One stays here after it was answered until every owner that
/// can be reached has said what it holds or the deadline has passed, so that the late ones are repaired
/// too. No more of these stay than requests may be pending: owners may be silent for long.
#[derive(Debug)]
pub(super) struct PendingReads {
    reads: BTreeMap<u64, PendingRead>,
    unanswered: usize,
    next: u64,
}

#[derive(Debug)]
struct PendingRead {
    /// `None` once it was answered.
    request: Option<RequestId>,
    key: Bytes,
    /// The event that was live here when the owners were asked.
    asked_with: Option<Dot>,
    /// What is live at each owner that has answered.
    answers: BTreeMap<NodeId, Option<Dot>>,
    due: Due,
}

impl PendingReads {
    /// Numbers start at random: an answer meant for a node's former life must not be taken for one to a
    /// read of this life.
    pub(super) const fn new(random: u64) -> Self {
        Self {
            reads: BTreeMap::new(),
            unanswered: 0,
            next: random,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.unanswered
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.reads.values().map(|r| r.due.next()).min()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        self.unanswered = 0;
        std::mem::take(&mut self.reads)
            .into_values()
            .filter_map(|r| r.request)
    }
}

impl Partition {
    pub(super) fn start_read(&mut self, request: RequestId, key: Bytes, level: Level) {
        if level == Level::One {
            let outcome = self.outcome_of(&key);
            return self.reply(request, Ok(outcome));
        }
        let (needed, reachable) = (self.config.quorum(), self.peers.reachable_count() + 1);
        if reachable < needed {
            let error = RequestError::NoMajority {
                acknowledged: reachable,
                needed,
                may_take_effect: false,
            };
            return self.reply(request, Err(error));
        }
        let read = self.reads.next;
        self.reads.next = self.reads.next.wrapping_add(1);
        self.reads.unanswered += 1;
        let held = self.live_dot(&key);
        for peer in self.peers.all() {
            self.send(
                peer,
                Message::Read {
                    read,
                    key: key.clone(),
                    held,
                },
            );
        }
        let due = Due::new(self.now.elapsed_ms, &self.config);
        let answers = BTreeMap::new();
        let pending = PendingRead {
            request: Some(request),
            key,
            asked_with: held,
            answers,
            due,
        };
        self.reads.reads.insert(read, pending);
    }

    fn outcome_of(&self, key: &[u8]) -> Outcome {
        let live = self.replica.map().get(key).and_then(|cell| cell.live());
        Outcome::Read {
            value: live.and_then(|entry| entry.value.clone()),
            timestamp: live.map(|entry| entry.timestamp),
        }
    }

    /// What this node holds of a key, in a few bytes if the reader holds the same.
    pub(super) fn answer_read(&mut self, from: NodeId, read: u64, key: Bytes, held: Option<Dot>) {
        if !self.is_ready() {
            return;
        }
        let same = self.live_dot(&key) == held;
        let listing = (!same).then(|| self.replica.list_key(key));
        self.send(from, Message::ReadAnswer { read, listing });
    }

    pub(super) fn note_read_answer(
        &mut self,
        from: NodeId,
        read: u64,
        listing: Option<StoreListing>,
    ) {
        let Some(pending) = self.reads.reads.get_mut(&read) else {
            return;
        };
        let live = match &listing {
            Some(crdt::Listing::Key(l)) if *l.key() == pending.key => {
                l.cell().live().map(|e| e.dot)
            }
            Some(_) => return,
            None => pending.asked_with,
        };
        pending.answers.insert(from, live);
        if let Some(listing) = listing {
            self.join_listing(&listing);
        }
        self.finish_read(read);
    }

    /// Answers a read that a quorum has answered; forgets it once all owners have.
    fn finish_read(&mut self, read: u64) {
        let Some(pending) = self.reads.reads.get_mut(&read) else {
            return;
        };
        if pending.answers.len() + 1 < self.config.quorum() {
            return;
        }
        let (key, request) = (pending.key.clone(), pending.request.take());
        let live = self.live_dot(&key);
        let Some(pending) = self.reads.reads.get_mut(&read) else {
            return;
        };
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
        let is_silent = |peer| !pending.answers.contains_key(&peer);
        let waits = self.peers.reachable().any(is_silent);
        let kept = self.reads.reads.len() - self.reads.unanswered;
        if !waits || kept > self.config.max_pending {
            self.reads.reads.remove(&read);
        }
        for node in diverged {
            self.counters.read_repairs += 1;
            let listing = self.replica.list_key(key.clone());
            self.send(node, Message::Repair { listing });
        }
        if let Some(request) = request {
            self.reads.unanswered -= 1;
            let outcome = self.outcome_of(&key);
            self.reply(request, Ok(outcome));
        }
    }

    /// Gives up reads past their deadline and asks again for others.
    pub(super) fn expire_reads(&mut self) {
        let now_ms = self.now.elapsed_ms;
        let (mut expired, mut resend) = (Vec::new(), Vec::new());
        for (read, pending) in &mut self.reads.reads {
            if now_ms >= pending.due.deadline_ms {
                expired.push(*read);
            } else if pending.due.take_resend(now_ms) && pending.request.is_some() {
                let silent = self
                    .peers
                    .all()
                    .filter(|p| !pending.answers.contains_key(p));
                let message = Message::Read {
                    read: *read,
                    key: pending.key.clone(),
                    held: pending.asked_with,
                };
                resend.extend(silent.map(|peer| (peer, message.clone())));
            }
        }
        self.give_up_reads(&expired);
        for (peer, message) in resend {
            self.send(peer, message);
        }
    }

    /// Answers the requests that too few reachable nodes are left for.
    pub(super) fn fail_hopeless(&mut self) {
        self.fail_hopeless_writes();
        if self.peers.reachable_count() + 1 < self.config.quorum() {
            self.abandon_reads();
        }
    }

    /// Answers all pending reads: this node no longer coordinates.
    pub(super) fn abandon_reads(&mut self) {
        let all: Vec<u64> = self.reads.reads.keys().copied().collect();
        self.give_up_reads(&all);
    }

    fn give_up_reads(&mut self, reads: &[u64]) {
        for read in reads {
            let Some(pending) = self.reads.reads.remove(read) else {
                continue;
            };
            let Some(request) = pending.request else {
                continue;
            };
            self.reads.unanswered -= 1;
            let error = RequestError::NoMajority {
                acknowledged: pending.answers.len() + 1,
                needed: self.config.quorum(),
                may_take_effect: false,
            };
            self.reply(request, Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Command, Config, Now, Output};

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
            let get = Command::Get {
                key: Bytes::from_static(b"k"),
            };
            nodes[0].handle_request(RequestId(number), get, Level::Quorum, Now::default());
            assert_eq!(exchange(nodes), 1);
        };
        // Nobody knows that the third node is silent.
        (0..50).for_each(|number| read(&mut nodes, number));
        assert!(nodes[0].reads.reads.len() <= 11);
        // Once it is known, nothing is kept for it.
        nodes[0].handle_reachable(NodeId(3), false, Now::default());
        let kept = nodes[0].reads.reads.len();
        (50..99).for_each(|number| read(&mut nodes, number));
        assert_eq!(nodes[0].reads.reads.len(), kept);
    }
}
