//! Plays a script on the replicas of a subject, and checks every law on what it reaches.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hash, Hasher as _};
use foldhash::quality::FixedState;

use crate::laws::history::{EventSet, MAX_CHANGES};
use crate::laws::{
    Choice, Event, History, LawViolation, Script, Step, Subject, check, check_delta,
    check_difference, check_lattice, check_least_difference,
};
use crate::{Difference, Dot, Lattice, ReplicaId, Timestamp};

/// Triples of reached states on which one script checks the laws of the lattice.
const TRIPLES: usize = 32;
/// Pairs of reached states on which one script checks the difference.
const PAIRS: usize = 16;

/// One replica, and what has arrived there.
struct Site<S> {
    replica: S,
    visible: EventSet,
    /// The largest Lamport time that has arrived.
    clock: u64,
}

/// A run of a script so far.
pub(crate) struct Run<S: Subject> {
    sites: Vec<Site<S>>,
    events: Vec<Event<S::Op>>,
    /// What each event was chosen by.
    choices: Vec<Choice>,
    /// The delta of each event.
    deltas: Vec<S::State>,
}

/// Plays a script and checks the subject against its specification and all laws.
///
/// After every step: what was joined is the least upper bound and `join` says truly whether it grew; the
/// delta of a change does what the change did; and a replica shows what its visible history
/// specifies. (A replica that single deltas reached out of order shows states that no reader need
/// understand; its value is compared again when the missing deltas have arrived.) Afterwards: the laws of
/// the lattice and of the difference, on states and deltas picked from all that were reached; deltas in
/// other orders and with duplicates add up to the same state; and when all states have been
/// exchanged, all replicas are equal, hash equally, and show what the whole history specifies.
///
/// # Errors
/// The first law that does not hold, with the script up to the step that shows it.
pub fn check_script<S: Subject>(script: &Script) -> Result<(), LawViolation> {
    let mut run = Run::<S>::new(script.replica_count());
    run.check_value(0)
        .map_err(|violation| violation.in_script(script, 0))?;
    let mut reached = vec![S::State::default()];
    for (i, step) in script.steps.iter().enumerate() {
        let touched = run
            .step(step)
            .map_err(|violation| violation.in_script(script, i + 1))?;
        if let Some(state) = touched.filter(|state| !reached.contains(state)) {
            reached.push(state);
        }
    }
    reached.extend(run.deltas.iter().cloned());
    run.check_orders()
        .and_then(|()| check_laws::<S>(&reached))
        .and_then(|()| run.exchange_all().map(drop))
        .map_err(|violation| violation.in_script(script, script.steps.len()))
}

/// Every state that a script reaches: bottom, the state after each step and the delta of each change,
/// and at the end the states of all replicas, which are equal by then but were reached by different
/// routes. Equal states are not left out, so that their encodings can be compared, for instance by
/// [`check_canonical`](crate::laws::check_canonical).
///
/// # Errors
/// The first law that a step breaks.
pub fn reached_states<S: Subject>(script: &Script) -> Result<Vec<S::State>, LawViolation> {
    let mut run = Run::<S>::new(script.replica_count());
    let mut reached = vec![S::State::default()];
    for (i, step) in script.steps.iter().enumerate() {
        let touched = run
            .step(step)
            .map_err(|violation| violation.in_script(script, i + 1))?;
        reached.extend(touched);
    }
    reached.extend(run.deltas.iter().cloned());
    let finals = run
        .exchange_all()
        .map_err(|violation| violation.in_script(script, script.steps.len()))?;
    reached.extend(finals);
    Ok(reached)
}

impl<S: Subject> Run<S> {
    pub(crate) fn new(replicas: usize) -> Self {
        let site = |number: usize| Site {
            replica: S::new(ReplicaId(number as u64 + 1)),
            visible: EventSet::default(),
            clock: 0,
        };
        Self {
            sites: (0..replicas).map(site).collect(),
            events: Vec::new(),
            choices: Vec::new(),
            deltas: Vec::new(),
        }
    }

    /// Plays one step, with its checks. The new state of the replica it touched, if it touched one.
    pub(crate) fn step(&mut self, step: &Step) -> Result<Option<S::State>, LawViolation> {
        let position = |number: u8| usize::from(number) % self.sites.len();
        let at = match *step {
            Step::Change { at, what, which } if self.events.len() < MAX_CHANGES => {
                let at = position(at);
                self.change(at, what, which)?;
                at
            }
            Step::Join { from, to } => {
                let (from, to) = (position(from), position(to));
                let from = &self.sites[from];
                let (state, visible) = (from.replica.state().clone(), from.visible);
                let clock = from.clock;
                self.sites[to].receive(&state, visible, clock)?;
                to
            }
            Step::Deliver { delta, to } if !self.deltas.is_empty() => {
                let (index, to) = (usize::from(delta) % self.deltas.len(), position(to));
                let (delta, clock) = (&self.deltas[index], self.choices[index].time.0);
                self.sites[to].receive(delta, EventSet::of(index), clock)?;
                to
            }
            Step::Change { .. } | Step::Deliver { .. } => return Ok(None),
        };
        self.check_value(at)?;
        Ok(Some(self.sites[at].replica.state().clone()))
    }

    fn change(&mut self, at: usize, what: u8, which: u8) -> Result<(), LawViolation> {
        let site = &mut self.sites[at];
        let replica = ReplicaId(at as u64 + 1);
        let own = self.events.iter().filter(|e| e.replica() == replica);
        let dot = Dot::new(replica, own.count() as u64 + 1);
        site.clock += 1;
        let time = Timestamp(site.clock);
        let choice = Choice { what, which, time };
        let op = S::op(choice);
        let before = site.replica.state().clone();
        let delta = site.replica.apply(&op);
        check_delta(&before, site.replica.state(), &delta)?;
        let (index, seen) = (self.events.len(), site.visible);
        site.visible = seen.union(EventSet::of(index));
        self.events.push(Event {
            op,
            dot,
            index,
            seen,
        });
        self.choices.push(choice);
        self.deltas.push(delta);
        Ok(())
    }

    /// What a replica shows, against the specification, if its history is one that a reader can
    /// understand: with every event those that its author had seen.
    fn check_value(&self, at: usize) -> Result<(), LawViolation> {
        let site = &self.sites[at];
        let history = History::new(&self.events, site.visible);
        if !history.is_closed() {
            return Ok(());
        }
        let (shown, expected) = (S::value(site.replica.state()), S::expected(&history));
        if shown == expected {
            return Ok(());
        }
        let events: Vec<_> = history.events().map(|e| (e.dot, &e.op)).collect();
        let state = site.replica.state();
        Err(LawViolation {
            law: "a replica shows what its history specifies",
            states: format!(
                "{state:?} shows {shown:?}, not {expected:?}; its history is {events:#?}"
            ),
            script: None,
        })
    }

    /// Any deltas, in any order, any number of times, add up to one state; and what a replica holds is
    /// the sum of the deltas that have arrived there.
    pub(crate) fn check_orders(&self) -> Result<(), LawViolation> {
        let sum = |order: &mut dyn Iterator<Item = usize>| {
            order.fold(S::State::default(), |sum, i| sum.joined(&self.deltas[i]))
        };
        for site in &self.sites {
            let arrived = sum(&mut site.visible.iter());
            check(
                arrived == *site.replica.state(),
                "a state is the sum of the deltas seen",
                &[&arrived, site.replica.state()],
            )?;
        }
        let all: Vec<usize> = (0..self.deltas.len()).collect();
        let some: Vec<usize> = all.iter().copied().filter(|i| i % 3 != 1).collect();
        for subset in [all, some] {
            let forwards = sum(&mut subset.iter().copied());
            let twice = subset.iter().rev().flat_map(|i| [*i, *i]);
            let backwards = sum(&mut { twice });
            let odd = subset.iter().skip(1).step_by(2);
            let even = subset.iter().step_by(2);
            let mixed = sum(&mut odd.chain(even).chain(&subset).copied());
            let law = "deltas converge in any order";
            check(forwards == backwards, law, &[&forwards, &backwards])?;
            check(forwards == mixed, law, &[&forwards, &mixed])?;
        }
        Ok(())
    }

    /// Exchanges all states, in a different order at each replica, and returns what the replicas hold then.
    pub(crate) fn exchange_all(mut self) -> Result<Vec<S::State>, LawViolation> {
        let states = self.states();
        let latest = self.choices.iter().map(|c| c.time.0).max().unwrap_or(0);
        let all = EventSet::all(self.events.len());
        let count = states.len();
        for at in 0..count {
            for other in 1..count {
                self.sites[at].receive(&states[(at + other) % count], all, latest)?;
            }
            self.check_value(at)?;
        }
        let finals = self.states();
        for state in &finals {
            let law = "replicas that have seen the same are equal";
            check(*state == finals[0], law, &[state, &finals[0]])?;
            let hashes = [state, &finals[0]].map(hash_of);
            let law = "equal states have equal hashes";
            check(hashes[0] == hashes[1], law, &[state, &finals[0]])?;
        }
        Ok(finals)
    }

    /// What each replica holds.
    pub(crate) fn states(&self) -> Vec<S::State> {
        let states = self.sites.iter().map(|site| site.replica.state().clone());
        states.collect()
    }

    /// The delta of each change.
    pub(crate) fn deltas(&self) -> &[S::State] {
        &self.deltas
    }

    /// The steps after which some replica would have seen more, changes aside.
    pub(crate) fn exchanges(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (to, receiver) in self.sites.iter().enumerate() {
            for (from, sender) in self.sites.iter().enumerate() {
                if !receiver.visible.includes(sender.visible) {
                    steps.push(Step::join(number(from), number(to)));
                }
            }
            for delta in 0..self.deltas.len() {
                if !receiver.visible.contains(delta) {
                    steps.push(Step::deliver(number(delta), number(to)));
                }
            }
        }
        steps
    }

    /// What tells two runs apart, whatever the order in which concurrent things happened.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut order: Vec<usize> = (0..self.events.len()).collect();
        order.sort_unstable_by_key(|&i| self.events[i].dot);
        let dots = |set: EventSet| -> Vec<Dot> {
            let events = order.iter().filter(|&&i| set.contains(i));
            events.map(|&i| self.events[i].dot).collect()
        };
        let mut hasher = FixedState::default().build_hasher();
        for &i in &order {
            let event = &self.events[i];
            (event.dot, self.choices[i], dots(event.seen)).hash(&mut hasher);
            self.deltas[i].hash(&mut hasher);
        }
        for site in &self.sites {
            dots(site.visible).hash(&mut hasher);
            site.replica.state().hash(&mut hasher);
        }
        hasher.finish()
    }

    pub(crate) fn change_count(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn replica_count(&self) -> u8 {
        number(self.sites.len())
    }
}

impl<S: Subject> Site<S> {
    /// Joins a state or a delta that brings these events, with the checks of a join.
    fn receive(
        &mut self,
        state: &S::State,
        events: EventSet,
        clock: u64,
    ) -> Result<(), LawViolation> {
        let before = self.replica.state().clone();
        let grew = self.replica.join(state);
        let after = self.replica.state();
        let want = before.clone().joined(state);
        let law = "a replica joins as its state does";
        check(*after == want, law, &[&before, state, after])?;
        let law = "join says whether it grew";
        check(grew == (*after != before), law, &[&before, state, after])?;
        self.visible = self.visible.union(events);
        self.clock = self.clock.max(clock);
        Ok(())
    }
}

/// The laws of the lattice and of the difference, on a fixed choice of triples and pairs.
fn check_laws<S: Subject>(reached: &[S::State]) -> Result<(), LawViolation> {
    let pick = |n: usize| &reached[n % reached.len()];
    for n in 0..TRIPLES {
        // Strides without a common factor, so that late and early states meet.
        check_lattice(pick(n), pick(7 * n + 3), pick(13 * n + 5))?;
    }
    for n in 0..PAIRS {
        let (a, b) = (pick(11 * n + 1), pick(5 * n));
        check_difference(a, b)?;
        if S::DIFFERENCE_IS_LEAST {
            check_least_difference(a, b)?;
            check_least(a, b, reached)?;
        }
    }
    Ok(())
}

/// Against brute force: none of `others` is smaller than the difference and does the same job.
pub(crate) fn check_least<L: Difference>(a: &L, b: &L, others: &[L]) -> Result<(), LawViolation> {
    let difference = a.difference(b);
    let both = b.clone().joined(a);
    let smaller = others.iter().filter(|other| **other < difference);
    for other in smaller {
        check(
            b.clone().joined(other) != both,
            "nothing smaller than the difference will do",
            &[a, b, &difference, other],
        )?;
    }
    Ok(())
}

/// A position as a script writes it.
fn number(position: usize) -> u8 {
    u8::try_from(position).expect("a run has few replicas and changes")
}

pub(crate) fn hash_of<T: Hash>(value: &T) -> u64 {
    FixedState::default().hash_one(value)
}
