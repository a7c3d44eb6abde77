//! Purging against a twin that never purges: all interleavings of a few operations, and the schedules that
//! break weaker rules.

use crdt::laws::{check_delta, check_lattice, check_least_difference};
use crdt::{
    BehindFrontier, Causal, CausalReplica, DisableWinsFlag, Edit, IdentityReused, JoinError,
    Lattice, NotStable, ObjectId, OrMap, ReadContext, ReadContextError, RemoveWinsSet, ReplicaId,
    Stability,
};
use std::collections::{BTreeSet, VecDeque};

const OBJECT: ObjectId = ObjectId(1);
const KEY: u8 = 7;
type Flags = OrMap<u8, DisableWinsFlag>;
type Replica = CausalReplica<Flags>;

#[derive(Debug, Clone, Copy)]
enum Op {
    Enable,
    /// Having read nothing: concurrent with all that is there.
    EnableBlindly,
    Disable,
    /// Removal of the key: mints no event.
    Reset,
}

fn change(map: &mut Edit<'_, Flags>, op: Op) {
    match op {
        Op::Enable | Op::EnableBlindly => map.update(KEY, |flag| flag.enable()),
        Op::Disable => map.update(KEY, |flag| flag.disable()),
        Op::Reset => map.remove(&KEY),
    }
}

fn copy(replica: &Replica) -> Replica {
    let (state, frontier) = (replica.state().clone(), replica.frontier().clone());
    Replica::restore_with_frontier(OBJECT, replica.id(), state, frontier)
}

fn shows(state: &Causal<Flags>) -> bool {
    state.get(&KEY).is_some_and(DisableWinsFlag::is_enabled)
}

/// Three replicas and their twins that never purge, and what has been reported to the replicas that may
/// purge. Every replica hears reports on its own, so that they arrive late and in any order.
struct State {
    replicas: [Replica; 3],
    twins: [Replica; 3],
    stability: Vec<Stability>,
    ops: usize,
}

impl State {
    fn start(purgers: usize) -> Self {
        let all = || [1, 2, 3].map(|id| Replica::new(OBJECT, ReplicaId(id)));
        Self {
            replicas: all(),
            twins: all(),
            stability: vec![Stability::new([1, 2, 3].map(ReplicaId)); purgers],
            ops: 0,
        }
    }

    fn copy(&self) -> Self {
        Self {
            replicas: self.replicas.each_ref().map(copy),
            twins: self.twins.each_ref().map(copy),
            stability: self.stability.clone(),
            ops: self.ops,
        }
    }

    fn fingerprint(&self) -> Vec<u8> {
        let of = |r: &Replica| (r.state().clone(), r.frontier().clone());
        let replicas = self.replicas.each_ref().map(of);
        let twins = self.twins.each_ref().map(|r| r.state().clone());
        postcard::to_stdvec(&(replicas, twins, &self.stability)).expect("states encode")
    }

    /// The state after an operation; `None` where a promise forbids it.
    fn operated(&self, at: usize, op: Op) -> Option<Self> {
        let mut next = self.copy();
        next.ops += 1;
        if matches!(op, Op::EnableBlindly) {
            let blind = ReadContext::blind(OBJECT);
            let twin = next.twins[at].change_seen(&blind, |map| change(map, op));
            let _ = twin.expect("twins promise nothing");
            let done = next.replicas[at].change_seen(&blind, |map| change(map, op));
            return done.is_ok().then_some(next);
        }
        let before = next.replicas[at].state().clone();
        let delta = next.replicas[at].change(|map| change(map, op));
        check_delta(&before, next.replicas[at].state(), &delta).expect("a delta");
        let _ = next.twins[at].change(|map| change(map, op));
        Some(next)
    }

    fn successors(&self, ops: &[Op], limit: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for at in 0..3 {
            if self.ops < limit {
                all.extend(ops.iter().filter_map(|op| self.operated(at, *op)));
            }
            for from in (0..3).filter(|from| *from != at) {
                let mut next = self.copy();
                let (state, twin) = (self.replicas[from].state(), self.twins[from].state());
                assert!(next.replicas[at].join(state).is_ok() && next.twins[at].join(twin).is_ok());
                all.push(next);
            }
            // A purger's own report does no harm late, so it is made when it purges.
            for to in (0..self.stability.len()).filter(|to| *to != at) {
                let mut next = self.copy();
                let report = next.replicas[at].report();
                next.stability[to].report(&report);
                all.push(next);
            }
        }
        for at in 0..self.stability.len() {
            let mut next = self.copy();
            let (before, own) = (
                next.replicas[at].state().clone(),
                next.replicas[at].report(),
            );
            next.stability[at].report(&own);
            if let Ok(delta) = next.replicas[at].purge(&next.stability[at])
                && !delta.context().is_empty()
            {
                check_delta(&before, next.replicas[at].state(), &delta).expect("a delta");
                let again = next.replicas[at].purge(&next.stability[at]);
                assert_eq!(
                    again.map(|d| d.context().is_empty()),
                    Ok(true),
                    "idempotent"
                );
                all.push(next);
            }
        }
        all
    }

    /// Every replica, and every join of them, shows what the twins show.
    fn check(&self) -> Result<(), String> {
        let states = self.replicas.each_ref().map(Replica::state);
        let twins = self.twins.each_ref().map(Replica::state);
        for subset in 1_usize..8 {
            let join = |all: [&Causal<Flags>; 3]| {
                let chosen = (0..3).filter(|i| subset & (1 << i) != 0);
                chosen.fold(Causal::default(), |sum: Causal<Flags>, i| {
                    sum.joined(all[i])
                })
            };
            let (purged, twin) = (join(states), join(twins));
            if shows(&purged) != shows(&twin) {
                return Err(format!("subset {subset:03b}: {purged} is not {twin}"));
            }
        }
        let [a, b, c] = states;
        check_lattice(a, b, c).map_err(|e| e.to_string())?;
        check_least_difference(a, b).map_err(|e| e.to_string())
    }
}

/// Visits every reachable state; returns how many there are, and in how many a purge has been felt.
fn explore(ops: &[Op], limit: usize, purgers: usize) -> (usize, usize) {
    let start = State::start(purgers);
    let mut seen = BTreeSet::from([start.fingerprint()]);
    let mut queue = VecDeque::from([start]);
    let mut purged = 0;
    while let Some(state) = queue.pop_front() {
        if let Err(violation) = state.check() {
            panic!("{violation}\n{:#?}\n{:#?}", state.replicas, state.twins);
        }
        let pairs = state.replicas.iter().zip(&state.twins);
        purged += usize::from(pairs.clone().any(|(r, twin)| r.state() != twin.state()));
        for next in state.successors(ops, limit) {
            if seen.insert(next.fingerprint()) {
                queue.push_back(next);
            }
        }
    }
    (seen.len(), purged)
}

#[test]
fn a_purge_changes_no_visible_value_with_removals_that_mint_no_event() {
    let (states, purged) = explore(&[Op::Enable, Op::Disable, Op::Reset], 3, 1);
    assert!(
        states > 10_000 && purged > 1_000,
        "vacuous: {states} {purged}"
    );
}

#[test]
fn a_purge_changes_no_visible_value_with_authors_who_have_read_nothing() {
    let (states, purged) = explore(&[Op::EnableBlindly, Op::Disable], 3, 1);
    assert!(
        states > 10_000 && purged > 1_000,
        "vacuous: {states} {purged}"
    );
}

#[test]
fn purges_at_all_replicas_agree() {
    let (states, purged) = explore(&[Op::Enable, Op::Disable, Op::Reset], 2, 2);
    assert!(
        states > 10_000 && purged > 1_000,
        "vacuous: {states} {purged}"
    );
}

fn three() -> ([Replica; 3], Stability) {
    let stability = Stability::new([1, 2, 3].map(ReplicaId));
    (
        [1, 2, 3].map(|id| Replica::new(OBJECT, ReplicaId(id))),
        stability,
    )
}

/// The enemy of purging early: a concurrent enable that has not arrived here would show without the
/// disable that beats it.
#[test]
fn nothing_is_purged_while_a_concurrent_enable_is_on_its_way() -> Result<(), IdentityReused> {
    let ([mut p, mut q, mut s], mut stability) = three();
    let off = p.change(|map| change(map, Op::Disable));
    let on = q.change(|map| change(map, Op::Enable));
    q.join(&off)?;
    s.join(&off)?;
    for replica in [&mut p, &mut q, &mut s] {
        stability.report(&replica.report());
    }
    let member = q.id();
    assert_eq!(p.purge(&stability), Err(NotStable::NotHere { member }));
    p.join(&on)?;
    let nothing = p.purge(&stability).expect("all is here");
    assert!(
        nothing.context().is_empty(),
        "s has not seen the enable, and could reset the disable"
    );
    s.join(&on)?;
    for replica in [&mut p, &mut s] {
        stability.report(&replica.report());
    }
    let purged = p.purge(&stability).expect("all is here");
    assert_eq!(purged.context().event_count(), 2);
    assert!(p.is_empty() && !shows(p.state()));
    Ok(())
}

/// Contexts alone would not do: s has removed the key with the disable before it saw the enable, which
/// shows there, and no event tells p of the removal.
#[test]
fn a_removal_that_minted_no_event_holds_the_purge_back() -> Result<(), IdentityReused> {
    let ([mut p, mut q, mut s], mut stability) = three();
    let off = p.change(|map| change(map, Op::Disable));
    let on = q.change(|map| change(map, Op::Enable));
    s.join(&off)?;
    let reset = s.change(|map| change(map, Op::Reset));
    for (replica, delta) in [(&mut s, &on), (&mut p, &on), (&mut q, &off)] {
        replica.join(delta)?;
    }
    for replica in [&mut p, &mut q, &mut s] {
        stability.report(&replica.report());
    }
    assert!(shows(s.state()) && !shows(p.state()));
    assert_eq!(p.state().context(), s.state().context());
    assert_eq!(
        p.purge(&stability),
        Err(NotStable::NotHere { member: s.id() })
    );
    p.join(&reset)?;
    let nothing = p.purge(&stability).expect("all is here");
    assert!(nothing.context().is_empty() && shows(p.state()));
    Ok(())
}

#[test]
fn after_a_report_older_contexts_are_refused_also_by_the_restored_handle() {
    let ([mut p, ..], _) = three();
    let before = p.read_context();
    let _ = p.change(|map| change(map, Op::Disable));
    let read = p.read_context();
    let _ = p.report();
    for mut p in [copy(&p), p.into_incarnation(ReplicaId(9))] {
        for old in [&before, &ReadContext::blind(OBJECT)] {
            let refused = p.change_seen(old, |map| change(map, Op::Enable));
            let unseen = Box::new(p.state().context().clone());
            assert_eq!(refused, Err(ReadContextError::TooOld { unseen }));
        }
        assert!(p.change_seen(&read, |map| change(map, Op::Enable)).is_ok());
        assert!(shows(p.state()));
    }
}

/// A clear removes what its author sees, so it makes no difference whether a beaten add is still there.
#[test]
fn a_clear_after_a_purge_is_the_clear_without_one() -> Result<(), IdentityReused> {
    type Set = RemoveWinsSet<u8>;
    let shown_after = |purges: bool| {
        let [mut a, mut b] = [1, 2].map(|id| CausalReplica::<Set>::new(OBJECT, ReplicaId(id)));
        let (beaten, beats) = (b.change(|set| set.add(1)), a.change(|set| set.remove(1)));
        let kept = a.change(|set| set.add(2));
        a.join(&beaten)?;
        b.join(&beats)?;
        b.join(&kept)?;
        let mut stability = Stability::new([1, 2].map(ReplicaId));
        for replica in [&mut a, &mut b] {
            stability.report(&replica.report());
        }
        if purges {
            let purged = a.purge(&stability).expect("all is here");
            assert_eq!(purged.context().event_count(), 2);
        }
        let added = b.change(|set| set.add(1));
        let cleared = a.change(|set| set.clear());
        a.join(&added)?;
        b.join(&cleared)?;
        let joined = a.state().clone().joined(b.state());
        Ok([a.state(), b.state(), &joined].map(|set| set.iter().copied().collect::<Vec<_>>()))
    };
    assert_eq!(shown_after(false)?, [[1], [1], [1]]);
    assert_eq!(shown_after(true)?, [[1], [1], [1]]);
    Ok(())
}

#[test]
fn a_peer_that_lacks_what_was_stable_is_told_to_start_again() -> Result<(), IdentityReused> {
    type Set = RemoveWinsSet<u8>;
    let [mut a, mut b] = [1, 2].map(|id| CausalReplica::<Set>::new(OBJECT, ReplicaId(id)));
    let mut stability = Stability::new([1, 2].map(ReplicaId));
    let newcomer = CausalReplica::<Set>::new(OBJECT, ReplicaId(3));
    b.join(&a.change(|set| set.remove(1)))?;
    let later = a.change(|set| set.add(2));
    assert!(
        a.answer(&newcomer.state().digest()).is_ok(),
        "nothing was purged yet"
    );
    for replica in [&mut a, &mut b] {
        stability.report(&replica.report());
    }
    let purged = a.purge(&stability).expect("all is here");
    assert_eq!(a.tombstone_count(), 0);
    let missing = Box::new(purged.context().clone());
    assert_eq!(
        a.answer(&newcomer.state().digest()),
        Err(BehindFrontier { missing })
    );
    let (state, frontier) = (a.state().clone(), a.frontier().clone());
    let a = CausalReplica::restore_with_frontier(OBJECT, a.id(), state, frontier);
    assert!(a.answer(&newcomer.state().digest()).is_err(), "remembered");
    let answer = a.answer(&b.state().digest()).expect("a member");
    assert!(later.context().event_count() == 1 && answer.contains(&2));
    b.join(&answer)?;
    assert_eq!(a.state(), b.state());
    Ok(())
}

/// What a peer behind the frontier would do if it were let in: a removal that was purged as stable does not
/// beat an add of one who has never heard of either. Its state is refused, and so is it before its deltas are.
#[test]
fn the_state_of_a_peer_behind_the_frontier_is_refused() -> Result<(), JoinError> {
    type Set = RemoveWinsSet<u8>;
    let [mut a, mut b] = [1, 2].map(|id| CausalReplica::<Set>::new(OBJECT, ReplicaId(id)));
    let mut stability = Stability::new([1, 2].map(ReplicaId));
    let mut behind = CausalReplica::<Set>::new(OBJECT, ReplicaId(3));
    b.join(&a.change(|set| set.remove(1)))?;
    let added = behind.change(|set| set.add(1));
    assert_eq!(a.check_peer(behind.state().context()), Ok(()));
    for replica in [&mut a, &mut b] {
        stability.report(&replica.report());
    }
    let missing = Box::new(a.purge(&stability).expect("all is here").context().clone());
    let refused = BehindFrontier { missing };
    let before = a.state().clone();
    assert_eq!(
        a.join_state(behind.state()),
        Err(JoinError::BehindFrontier(refused.clone()))
    );
    assert_eq!(*a.state(), before, "nothing was changed");
    assert_eq!(a.check_peer(behind.state().context()), Err(refused));
    // Joined all the same, it would undo the removal.
    let mut deceived = a.state().clone();
    deceived.join(&added);
    assert!(deceived.contains(&1));

    // A member has all of it, whether it has heard of the purge or not; and who starts again from its state.
    let more = b.change(|set| set.add(2));
    assert_eq!(a.join_state(b.state()), Ok(true));
    assert_eq!(a.join_state(b.state()), Ok(false));
    assert!(more.contains(&2) && a.contains(&2));
    let mut again = CausalReplica::<Set>::restore(OBJECT, ReplicaId(4), b.state().clone());
    let _delta = again.change(|set| set.add(3));
    assert_eq!(a.join_state(again.state()), Ok(true));
    assert!(a.contains(&3) && !a.contains(&1));
    // Other errors come first.
    let twin = CausalReplica::<Set>::restore(OBJECT, ReplicaId(1), b.state().clone());
    let mut late = CausalReplica::<Set>::new(OBJECT, ReplicaId(1));
    let minted_twice = late.change(|set| set.extend([5, 6, 7, 8, 9]));
    assert!(a.join_state(twin.state()).is_ok());
    let refused = a.join_state(&minted_twice);
    assert!(
        matches!(refused, Err(JoinError::IdentityReused(_))),
        "{refused:?}"
    );
    Ok(())
}

#[test]
fn reports_are_a_lattice_and_come_back_from_bytes() -> Result<(), IdentityReused> {
    let ([mut p, mut q, _], none) = three();
    let mut states = vec![
        Stability::default(),
        none,
        Stability::new([9].map(ReplicaId)),
    ];
    assert_eq!(
        states[0]
            .certificate(&p.state().digest())
            .expect_err("nobody"),
        NotStable::NoMembers
    );
    for op in [Op::Enable, Op::Disable, Op::Reset] {
        let delta = p.change(|map| change(map, op));
        q.join(&delta)?;
        for replica in [&mut p, &mut q] {
            let mut state = states[states.len() / 2].clone();
            state.report(&replica.report());
            assert!(!state.report(&replica.report()), "twice is once");
            states.push(state);
        }
    }
    for a in &states {
        for b in &states {
            check_least_difference(a, b).expect("a difference");
            for c in &states {
                check_lattice(a, b, c).expect("a lattice");
            }
        }
        let text = serde_json::to_string(a).expect("reports encode");
        assert_eq!(
            serde_json::from_str::<Stability>(&text).expect("reports decode"),
            *a
        );
    }
    Ok(())
}
