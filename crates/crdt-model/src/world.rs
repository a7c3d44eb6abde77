//! Replicas, the network between them, and what a script does to them.

use crdt::{
    Budget, Cut, Delta, Dot, DotStore as _, Knowledge, Knows as _, LamportClock, Lattice as _,
    Listing, MapReplica, OwnerView, Promise, Promises, ReplicaId, Timestamp,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use crate::check::{as_map, check_delta};
use crate::kind::{Event, Key, Kind};
use crate::script::{Op, Script, Setup};

/// Answers never need to be cut.
pub(crate) const UNLIMITED: Budget = Budget {
    events: usize::MAX,
    bytes: usize::MAX,
};

/// What happened in a run: shows that green runs were not vacuous.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Probes {
    /// Writes that lost against what their replica held.
    pub lost_writes: usize,
    /// Events of one key with equal time and equal value.
    pub ties: usize,
    /// Joins after which a replica had an exception.
    pub exceptions: usize,
    /// Events that became known of all keys because they were known of each.
    pub by_meet: usize,
    /// Answers cut by the budget.
    pub cut_answers: usize,
    /// Answers that the log could not give.
    pub truncated: usize,
    /// Promises taken over with a complete answer.
    pub promises: usize,
    /// Tombstones forgotten before the end.
    pub purged: usize,
}

impl Probes {
    /// Adds what happened in another run.
    pub fn add(&mut self, other: &Self) {
        self.lost_writes += other.lost_writes;
        self.ties += other.ties;
        self.exceptions += other.exceptions;
        self.by_meet += other.by_meet;
        self.cut_answers += other.cut_answers;
        self.truncated += other.truncated;
        self.promises += other.promises;
        self.purged += other.purged;
    }
}

/// One replica, with what its driver keeps beside it.
#[derive(Debug)]
pub(crate) struct Site<K: Kind> {
    pub(crate) replica: MapReplica<Key, K::Cell>,
    pub(crate) clock: LamportClock,
    pub(crate) view: OwnerView,
    pub(crate) promises: Promises,
    /// Where the next chunk of the transfer under way starts.
    transfer: Option<Cut<Key>>,
    /// Events of the base that the log may be unable to name: trimmed, or known by a transfer.
    pub(crate) nameless: BTreeSet<Dot>,
    renames: u64,
}

/// What makes an answer complete: it carries promises, and must bring the receiver up to the sender.
#[derive(Debug, Clone)]
pub(crate) struct Whole {
    view: OwnerView,
    promises: Promises,
    knowledge: Knowledge<Key>,
}

#[derive(Debug, Clone)]
enum Message<K: Kind> {
    Listings {
        to: usize,
        listings: Vec<Listing<Key, K::Cell>>,
        whole: Option<Box<Whole>>,
        clock: Timestamp,
    },
    Ask {
        to: usize,
        by: usize,
        knowledge: Box<Knowledge<Key>>,
    },
}

/// Replicas and a network, checked against the model after every step.
#[derive(Debug)]
pub struct World<K: Kind> {
    setup: Setup,
    pub(crate) sites: Vec<Site<K>>,
    pub(crate) events: BTreeMap<Dot, Event>,
    network: Vec<Message<K>>,
    pub(crate) probes: Probes,
}

/// Plays a script to its end, lets all replicas exchange what they lack, and checks that they agree on
/// the winners of all events.
///
/// # Errors
/// The first check that failed, with the step after which it did.
pub fn run<K: Kind>(script: &Script) -> Result<Probes, String> {
    let mut world = World::<K>::new(&script.setup);
    for (step, op) in script.ops.iter().enumerate() {
        world
            .step(op)
            .map_err(|e| format!("after step {step}, {op:?}: {e}"))?;
    }
    world.settle().map_err(|e| format!("at the end: {e}"))?;
    Ok(world.probes)
}

impl<K: Kind> Site<K> {
    fn new(position: usize, replicas: usize) -> Self {
        let mut view = OwnerView::default();
        for p in 0..replicas {
            view.record(number(p), identity(p, 0));
        }
        Self {
            replica: MapReplica::new(identity(position, 0)),
            clock: LamportClock::default(),
            view,
            promises: Promises::default(),
            transfer: None,
            nameless: BTreeSet::new(),
            renames: 0,
        }
    }

    /// What this replica vouches for when it gives a complete answer.
    pub(crate) fn whole(&self) -> Whole {
        let mut promises = self.promises.clone();
        promises.record(
            self.replica.id(),
            Promise {
                time: self.clock.last(),
                counter: self.replica.own_counter(),
            },
        );
        Whole {
            view: self.view.clone(),
            promises,
            knowledge: self.replica.knowledge().clone(),
        }
    }

    /// Forgets what may be forgotten; returns how many tombstones went.
    pub(crate) fn purge(&mut self, owners: usize) -> usize {
        let base = self.replica.knowledge().base();
        let (own, clock) = (self.replica.id(), self.clock.last());
        let horizon = self.promises.horizon(&self.view, owners, own, base, clock);
        horizon.map_or(0, |horizon| self.replica.purge(horizon).len())
    }
}

impl<K: Kind> World<K> {
    /// Empty replicas that know of each other.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let replicas = 2 + usize::from(setup.replicas % 3);
        Self {
            setup: setup.clone(),
            sites: (0..replicas).map(|p| Site::new(p, replicas)).collect(),
            events: BTreeMap::new(),
            network: Vec::new(),
            probes: Probes::default(),
        }
    }

    /// The replica at a position.
    #[must_use]
    pub fn replica(&self, position: usize) -> &MapReplica<Key, K::Cell> {
        &self.sites[position].replica
    }

    /// Number of replicas.
    #[must_use]
    pub fn replicas(&self) -> usize {
        self.sites.len()
    }

    /// The owner view and the promises that the replica at a position could give away now.
    #[must_use]
    pub fn vouches(&self, position: usize) -> (OwnerView, Promises) {
        let whole = self.sites[position].whole();
        (whole.view, whole.promises)
    }

    /// Does one step and checks what it changed.
    ///
    /// # Errors
    /// The check that failed.
    pub fn step(&mut self, op: &Op) -> Result<(), String> {
        match *op {
            Op::Write {
                at,
                key,
                value,
                leap,
                lost,
            } => self.write(self.site(at), Op::key(key), value, leap, lost),
            Op::Deliver {
                message,
                again,
                parts,
                reversed,
            } => self.deliver(message, again, parts, reversed),
            Op::Ask { by, of } => {
                let (by, to) = (self.site(by), self.site(of));
                let knowledge = self.sites[by].replica.knowledge().clone();
                let knowledge = self.carried(knowledge)?;
                if by != to {
                    let knowledge = Box::new(knowledge);
                    self.network.push(Message::Ask { to, by, knowledge });
                }
                Ok(())
            }
            Op::Repair {
                at,
                from,
                key,
                late,
                covering,
            } => {
                let (at, from) = (self.site(at), self.site(from));
                let listing = self.listing(from, Op::key(key), covering);
                self.hand_over(at, from, vec![listing], late)
            }
            Op::Purge { at } => {
                let (at, owners) = (self.site(at), self.sites.len());
                self.probes.purged += self.sites[at].purge(owners);
                self.check(at)
            }
            Op::Trim { at, mask } => self.trim(self.site(at), mask),
            Op::Chunk { at, from, late } => self.chunk(self.site(at), self.site(from), late),
            Op::Rename { at } => self.rename(self.site(at)),
        }
    }

    fn site(&self, index: u8) -> usize {
        usize::from(index) % self.sites.len()
    }

    pub(crate) fn budget(&self) -> Budget {
        let events = usize::from(self.setup.budget);
        Budget {
            events,
            bytes: events.saturating_mul(3),
        }
    }

    fn write(
        &mut self,
        at: usize,
        key: Key,
        value: Option<u8>,
        leap: u8,
        lost: u8,
    ) -> Result<(), String> {
        let site = &mut self.sites[at];
        let leapt = site.clock.last().0 + u64::from(leap);
        site.clock.observe(Timestamp(leapt));
        let timestamp = site.clock.tick().map_err(|e| e.to_string())?;
        let cell = site.replica.map().get(&key);
        let superseded: Vec<Dot> = cell.map(|c| c.dots().collect()).unwrap_or_default();
        let before = site.replica.map().clone();
        let written = site
            .replica
            .write(key, |cell, dot| K::write(cell, dot, timestamp, value));
        let (dot, after) = (written.dot, site.replica.map());
        check_delta(&before, after, &as_map(&written.listing))?;
        if after.get(&key).is_some_and(|c| !c.is_live(dot)) && value.is_some() {
            self.probes.lost_writes += 1;
        }
        let event = Event {
            dot,
            key,
            timestamp,
            value,
            superseded,
        };
        let is_tie = |e: &Event| (e.key, e.timestamp, e.value) == (key, timestamp, value);
        self.probes.ties += usize::from(self.events.values().any(is_tie));
        self.events.insert(dot, event);
        for to in (0..self.sites.len()).filter(|to| *to != at && lost >> to & 1 == 0) {
            self.send(to, vec![written.listing.clone()], None, at)?;
        }
        self.check(at)
    }

    fn deliver(
        &mut self,
        index: u16,
        again: bool,
        parts: u8,
        reversed: bool,
    ) -> Result<(), String> {
        if self.network.is_empty() {
            return Ok(());
        }
        let index = usize::from(index) % self.network.len();
        let message = match again {
            true => self.network[index].clone(),
            false => self.network.swap_remove(index),
        };
        match message {
            Message::Ask { to, by, knowledge } => self.answer(to, by, &knowledge),
            Message::Listings {
                to,
                mut listings,
                whole,
                clock,
            } => {
                let mut i = 0;
                listings.retain(|_| {
                    i += 1;
                    parts >> ((i - 1) % 8) & 1 == 1
                });
                let whole = whole.filter(|_| listings.len() == i);
                if reversed {
                    listings.reverse();
                }
                self.receive(to, &listings, whole.as_deref(), clock)
            }
        }
    }

    /// The listing of a key, with the latest event that its sender knows of it covered or not.
    fn listing(&self, from: usize, key: Key, covering: bool) -> Listing<Key, K::Cell> {
        let replica = &self.sites[from].replica;
        let known = replica.knowledge().of_key(&key);
        let known = |e: &&Event| e.key == key && known.knows(e.dot);
        match self
            .events
            .values()
            .filter(known)
            .max_by_key(|e| e.timestamp)
        {
            Some(latest) if covering => replica.list_written(key, latest.dot),
            _ => replica.list_key(key),
        }
    }

    fn answer(&mut self, of: usize, by: usize, asked: &Knowledge<Key>) -> Result<(), String> {
        match self.delta(of, asked, self.budget())? {
            None => {
                self.sites[by].transfer.get_or_insert(Cut::BelowAll);
                Ok(())
            }
            Some(delta) => {
                let whole = delta.complete.then(|| Box::new(self.sites[of].whole()));
                self.send(by, delta.listings, whole, of)
            }
        }
    }

    /// An answer, checked for what it promises; `None` if the log has been trimmed.
    pub(crate) fn delta(
        &mut self,
        of: usize,
        asked: &Knowledge<Key>,
        budget: Budget,
    ) -> Result<Option<Delta<Key, K::Cell>>, String> {
        let replica = &self.sites[of].replica;
        let missing = replica.knowledge().base().difference(asked.base());
        let all_named = missing.dots().all(|dot| replica.log().key(dot).is_some());
        let weigh = |_: &Key, cell: &K::Cell| 1 + cell.dots().count();
        let Ok(delta) = replica.delta_since(asked, budget, weigh) else {
            self.probes.truncated += 1;
            return match all_named {
                true => Err("I4: truncated, though the log names all that is missing".into()),
                false => Ok(None),
            };
        };
        if delta.complete && !all_named {
            return Err("I4: complete, though the log does not name all that is missing".into());
        }
        let mut told = asked.clone();
        for listing in &delta.listings {
            told.join(as_map(listing).knowledge());
        }
        if told == *asked && !delta.complete {
            return Err(format!("an answer without progress: {:?}", delta.listings));
        }
        if budget == UNLIMITED && !delta.complete {
            return Err("an answer without limits is not complete".into());
        }
        self.probes.cut_answers += usize::from(!delta.complete);
        Ok(Some(delta))
    }

    fn trim(&mut self, at: usize, mask: u8) -> Result<(), String> {
        let site = &mut self.sites[at];
        let named = site.replica.log().iter().map(|(dot, _)| dot);
        let chosen = named
            .filter(|dot| mask >> (dot.counter % 8) & 1 == 1)
            .collect();
        let trimmed = site.replica.log_mut().trim(&chosen);
        site.nameless.extend(trimmed);
        self.check(at)
    }

    fn chunk(&mut self, at: usize, from: usize, late: bool) -> Result<(), String> {
        if at == from {
            return Ok(());
        }
        let start = self.sites[at].transfer.take().unwrap_or(Cut::BelowAll);
        let weigh = |_: &Key, _: &K::Cell| 1;
        let sender = &self.sites[from].replica;
        let chunk = sender.transfer_chunk(&start, self.budget(), weigh);
        self.sites[at].transfer = chunk.next;
        self.hand_over(at, from, chunk.listings, late)
    }

    /// A replica that goes on under a new identity will never write under the old one again, which is
    /// the highest promise there is.
    fn rename(&mut self, at: usize) -> Result<(), String> {
        let site = &mut self.sites[at];
        site.renames += 1;
        let promise = Promise {
            time: Timestamp(u64::MAX),
            counter: site.replica.own_counter(),
        };
        site.promises.record(site.replica.id(), promise);
        site.replica.set_id(identity(at, site.renames));
        site.view.record(number(at), site.replica.id());
        self.check(at)
    }

    fn hand_over(
        &mut self,
        at: usize,
        from: usize,
        listings: Vec<Listing<Key, K::Cell>>,
        late: bool,
    ) -> Result<(), String> {
        if at == from {
            return Ok(());
        }
        self.send(at, listings, None, from)?;
        match (late, self.network.pop()) {
            (true, Some(message)) => self.network.push(message),
            (
                false,
                Some(Message::Listings {
                    listings, clock, ..
                }),
            ) => {
                return self.receive(at, &listings, None, clock);
            }
            _ => {}
        }
        Ok(())
    }

    fn send(
        &mut self,
        to: usize,
        listings: Vec<Listing<Key, K::Cell>>,
        whole: Option<Box<Whole>>,
        from: usize,
    ) -> Result<(), String> {
        self.network.push(Message::Listings {
            to,
            listings: self.carried(listings)?,
            whole,
            clock: self.sites[from].clock.last(),
        });
        Ok(())
    }

    /// What arrives of something sent: the same, if need be after encoding and decoding.
    fn carried<T>(&self, sent: T) -> Result<T, String>
    where
        T: Serialize + DeserializeOwned + PartialEq + Debug,
    {
        if !self.setup.encoded {
            return Ok(sent);
        }
        let bytes = postcard::to_stdvec(&sent).map_err(|e| e.to_string())?;
        let arrived: T =
            postcard::from_bytes(&bytes).map_err(|e| format!("{e}: cannot decode {sent:?}"))?;
        match arrived == sent {
            true => Ok(arrived),
            false => Err(format!("{sent:?} decodes as {arrived:?}")),
        }
    }

    pub(crate) fn receive(
        &mut self,
        at: usize,
        listings: &[Listing<Key, K::Cell>],
        whole: Option<&Whole>,
        clock: Timestamp,
    ) -> Result<(), String> {
        for listing in listings {
            self.join(at, listing)?;
        }
        let site = &mut self.sites[at];
        if self.setup.clocks_travel {
            site.clock.observe(clock);
        }
        if let Some(whole) = whole {
            if !site.replica.knowledge().includes(&whole.knowledge) {
                return Err("a complete answer left something unknown".into());
            }
            site.view.join(&whole.view);
            site.promises.join(&whole.promises);
            self.probes.promises += 1;
        }
        self.check(at)
    }

    pub(crate) fn network_is_empty(&self) -> bool {
        self.network.is_empty()
    }

    /// Delivers the next listings still in flight, latest first; questions get no answer any more.
    pub(crate) fn deliver_late(&mut self) -> Result<(), String> {
        match self.network.pop() {
            Some(Message::Listings {
                to,
                listings,
                whole,
                clock,
            }) => self.receive(to, &listings, whole.as_deref(), clock),
            _ => Ok(()),
        }
    }
}

/// The identity of the incarnation at a position; later ones are larger.
fn identity(position: usize, renames: u64) -> ReplicaId {
    ReplicaId(u64::from(number(position)) + 1 + 10 * renames)
}

fn number(position: usize) -> u32 {
    u32::try_from(position).expect("there are at most four positions")
}
