//! The lattice laws of every type, on states that one run has reached.

use crdt::laws::{
    LawViolation, check_delta, check_difference, check_lattice, check_least_difference,
};
use crdt::{
    Budget, CausalContext, CausalMap, Cell as _, Closed, Cut, Difference, Dot, DotStore as _,
    Knowledge, Lattice, Listing, MapReplica, OwnerView, Promise, Promises, ReplicaId, Timestamp,
    VersionVector,
};
use crdt_model::{Key, Kind, Lww, Mv, Script, World, copy_of, run};
use proptest::prelude::*;

/// Steps between two captures of all states of a run.
const CAPTURE_EVERY: usize = 4;

/// States that one run has reached, and listings that were made on the way.
struct Reached<K: Kind> {
    maps: Vec<CausalMap<Key, K::Cell>>,
    replicas: Vec<MapReplica<Key, K::Cell>>,
    views: Vec<OwnerView>,
    promises: Vec<Promises>,
    listings: Vec<Listing<Key, K::Cell>>,
}

impl<K: Kind> Reached<K> {
    fn by(bytes: &[u8]) -> Self {
        let script = Script::from_bytes(bytes);
        let mut world = World::<K>::new(&script.setup);
        let mut reached = Self {
            maps: Vec::new(),
            replicas: Vec::new(),
            views: Vec::new(),
            promises: Vec::new(),
            listings: Vec::new(),
        };
        for (step, op) in script.ops.iter().enumerate() {
            world.step(op).expect("the suite of histories checks this");
            if step % CAPTURE_EVERY == 0 {
                reached.capture(&world, step);
            }
        }
        reached.capture(&world, 0);
        reached
    }

    fn capture(&mut self, world: &World<K>, step: usize) {
        for position in 0..world.replicas() {
            let replica = world.replica(position);
            let (view, promises) = world.vouches(position);
            self.views.push(view);
            self.promises.push(promises);
            self.maps.push(replica.map().clone());
            self.replicas.push(copy_of(replica));
        }
        let sender = world.replica(step / CAPTURE_EVERY % world.replicas());
        let budget = Budget {
            events: 1 + step % 3,
            bytes: usize::MAX,
        };
        let weigh = |_: &Key, _: &K::Cell| 1;
        let asked = self.maps[step % self.maps.len()].knowledge();
        let delta = sender.delta_since(asked, budget, weigh);
        self.listings
            .extend(delta.into_iter().flat_map(|d| d.listings));
        self.listings
            .push(sender.list_key(crdt_model::KEYS[step % 3]));
        let chunk = sender.transfer_chunk(&Cut::BelowAll, budget, weigh);
        self.listings.extend(chunk.listings);
    }

    fn knowledge(&self) -> Vec<Knowledge<Key>> {
        let all = self.maps.iter().map(CausalMap::knowledge);
        all.cloned().collect()
    }

    /// What bases and exceptions hold.
    fn contexts(&self) -> Vec<CausalContext> {
        let mut all = Vec::new();
        for map in &self.maps {
            all.push(map.knowledge().base().clone());
            let exceptions = map.knowledge().exceptions();
            all.extend(exceptions.map(|(_, context)| CausalContext::clone(context)));
        }
        all
    }

    /// What is closed where some of the others are dead, known or not.
    fn closed(&self) -> Vec<Closed> {
        let closing = |(i, replica): (usize, &MapReplica<Key, K::Cell>)| {
            let mut replica = copy_of(replica);
            let others = [1, 2, 3, 11, 12].map(ReplicaId);
            for writer in others
                .into_iter()
                .filter(|id| !(id.0 as usize + i).is_multiple_of(3))
            {
                assert_eq!(replica.close(writer), writer != replica.id());
            }
            Closed::clone(replica.closed())
        };
        let all = self.replicas.iter().enumerate().map(closing);
        all.chain([Closed::default()]).collect()
    }

    fn vectors(&self) -> Vec<VersionVector> {
        self.contexts().iter().map(CausalContext::prefix).collect()
    }
}

fn lattice<L: Lattice>(states: &[L], picks: &[[usize; 3]]) -> Result<(), LawViolation> {
    for pick in picks {
        let [a, b, c] = pick.map(|i| &states[i % states.len()]);
        check_lattice(a, b, c)?;
    }
    Ok(())
}

fn differences<L: Difference>(states: &[L], picks: &[[usize; 3]]) -> Result<(), LawViolation> {
    differences_by(check_least_difference, states, picks)
}

fn differences_by<L: Difference>(
    check: fn(&L, &L) -> Result<(), LawViolation>,
    states: &[L],
    picks: &[[usize; 3]],
) -> Result<(), LawViolation> {
    for pick in picks {
        let [a, b, c] = pick.map(|i| &states[i % states.len()]);
        check(a, b)?;
        check(&a.clone().joined(b), c)?;
        check(a, &b.clone().joined(c))?;
        check(&a.clone().joined(b), a)?;
    }
    Ok(())
}

/// The smallest knowledge there is: of each key what is missing, and nothing else.
fn knowledge_differences<K: Kind>(
    r: &Reached<K>,
    picks: &[[usize; 3]],
) -> Result<(), LawViolation> {
    let states = r.knowledge();
    differences(&states, picks)?;
    for pick in picks {
        let [a, b, _] = pick.map(|i| &states[i % states.len()]);
        let difference = a.difference(b);
        for key in 0..=40 {
            let [a, b, c] = [a, b, &difference].map(|k| k.of_key(&key).to_context());
            assert_eq!(c, a.difference(&b), "of key {key}");
        }
    }
    Ok(())
}

/// The smallest map there is: no live event that is known there, and of what is known there only what
/// the join makes obsolete.
fn map_differences<K: Kind>(r: &Reached<K>, picks: &[[usize; 3]]) -> Result<(), LawViolation> {
    // A map with a loser that the peer has not seen must send it; the same map behind the join has forgotten it.
    let check = match K::Cell::PROVES_ITSELF {
        true => check_difference,
        false => check_least_difference,
    };
    differences_by(check, &r.maps, picks)?;
    for pick in picks {
        let [a, b, _] = pick.map(|i| &r.maps[i % r.maps.len()]);
        let (difference, joined) = (a.difference(b), b.clone().joined(a));
        for key in 0..=40 {
            let cell = |map: &CausalMap<Key, K::Cell>| map.get(&key).cloned().unwrap_or_default();
            let known = |map: &CausalMap<Key, K::Cell>| map.knowledge().of_key(&key).to_context();
            let (there, told) = (known(b), known(&difference));
            let [new, held, kept] = [&difference, b, &joined].map(cell);
            assert!(new.dots().all(|dot| !there.contains(dot)), "{difference:?}");
            let again = told.intersection(&there);
            let is_lost = |dot| held.is_live(dot) && !kept.is_live(dot);
            assert!(again.dots().all(is_lost), "{difference:?}");
            // A winner that is sent makes the loser obsolete without saying so.
            let says_enough = K::Cell::PROVES_ITSELF && !new.is_bottom();
            assert!(again.is_empty() || !says_enough, "{difference:?}");
        }
    }
    Ok(())
}

type Law<K> = fn(&Reached<K>, &[[usize; 3]]) -> Result<(), LawViolation>;

fn table<K: Kind>() -> [(&'static str, Law<K>); 20] {
    [
        ("VersionVector is a lattice", |r, p| {
            lattice(&r.vectors(), p)
        }),
        ("CausalContext is a lattice", |r, p| {
            lattice(&r.contexts(), p)
        }),
        ("Knowledge is a lattice", |r, p| lattice(&r.knowledge(), p)),
        ("OwnerView is a lattice", |r, p| lattice(&r.views, p)),
        ("Promises is a lattice", |r, p| lattice(&r.promises, p)),
        ("Closed is a lattice", |r, p| lattice(&r.closed(), p)),
        ("CausalMap is a lattice", |r, p| lattice(&r.maps, p)),
        ("VersionVector has differences", |r, p| {
            differences(&r.vectors(), p)
        }),
        ("CausalContext has differences", |r, p| {
            differences(&r.contexts(), p)
        }),
        ("Knowledge has differences", knowledge_differences),
        ("OwnerView has differences", |r, p| differences(&r.views, p)),
        ("Promises has differences", |r, p| {
            differences(&r.promises, p)
        }),
        ("Closed has differences", |r, p| differences(&r.closed(), p)),
        ("CausalMap has differences", map_differences),
        ("VersionVector has deltas", vector_deltas),
        ("CausalContext has deltas", context_deltas),
        ("OwnerView has deltas", view_deltas),
        ("Promises has deltas", promise_deltas),
        ("Closed has deltas", closed_deltas),
        ("CausalMap has deltas", map_deltas),
    ]
}

fn vector_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    for before in r.vectors() {
        for replica in [1, 2, 99].map(ReplicaId) {
            let mut after = before.clone();
            let dot = after.increment(replica);
            let delta = [(replica, dot.counter)].into_iter().collect();
            check_delta(&before, &after, &delta)?;
        }
    }
    Ok(())
}

fn context_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    for before in r.contexts() {
        for counter in 1..6 {
            let mut after = before.clone();
            let dot = Dot::new(ReplicaId(2), counter);
            let grew = after.insert(dot);
            assert_eq!(grew, !before.contains(dot));
            check_delta(&before, &after, &[dot].into_iter().collect())?;
            // The difference is the smallest context that brings the one up to the other.
            let difference = after.difference(&before);
            check_delta(&before, &after, &difference)?;
            assert_eq!(difference.event_count(), u64::from(grew));
        }
    }
    Ok(())
}

fn view_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    for before in &r.views {
        let (mut after, mut delta) = (before.clone(), OwnerView::default());
        after.record(1, ReplicaId(22));
        delta.record(1, ReplicaId(22));
        check_delta(before, &after, &delta)?;
    }
    Ok(())
}

fn promise_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    for before in &r.promises {
        for time in [0, 5, 1_000].map(Timestamp) {
            let promise = Promise { time, counter: 3 };
            let (mut after, mut delta) = (before.clone(), Promises::default());
            after.record(ReplicaId(1), promise);
            delta.record(ReplicaId(1), promise);
            check_delta(before, &after, &delta)?;
        }
    }
    Ok(())
}

/// What a replica notes of one writer that it closes, beside what it had been told.
fn closed_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    let told = r.closed();
    for (replica, before) in r.replicas.iter().zip(&told) {
        let (mut alone, mut with_others) = (copy_of(replica), copy_of(replica));
        with_others.note_closed(before);
        for writer in [2, 99].map(ReplicaId) {
            assert_eq!(alone.close(writer), with_others.close(writer));
        }
        check_delta(before, with_others.closed(), alone.closed())?;
    }
    Ok(())
}

/// A write as a delta. Where exceptions are, the listing of a cell that proves itself may cover more than
/// its writer did; the suite of histories checks that case.
fn map_deltas<K: Kind>(r: &Reached<K>, _: &[[usize; 3]]) -> Result<(), LawViolation> {
    for replica in &r.replicas {
        if replica.knowledge().exception_count() > 0 {
            continue;
        }
        let (mut writer, before) = (copy_of(replica), replica.map());
        for (key, value) in [(10, Some(1)), (15, None), (20, None)] {
            let before = writer.map().clone();
            let written = writer.write(key, |cell, dot| K::write(cell, dot, Timestamp(9), value));
            check_delta(&before, writer.map(), &as_map(&written.listing))?;
        }
        assert!(before < writer.map(), "every mutation is an event");
    }
    Ok(())
}

fn as_map<C: crdt::Cell>(listing: &Listing<Key, C>) -> CausalMap<Key, C> {
    let mut map = CausalMap::default();
    map.join_listing(listing);
    map
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..240)
}

fn picks() -> impl Strategy<Value = Vec<[usize; 3]>> {
    prop::collection::vec(any::<[usize; 3]>(), 24)
}

/// Joins some listings in a given order, some of them twice.
fn deliver<K: Kind>(
    start: &CausalMap<Key, K::Cell>,
    reached: &Reached<K>,
    order: &[usize],
) -> CausalMap<Key, K::Cell> {
    let mut map = start.clone();
    for &i in order {
        map.join_listing(&reached.listings[i % reached.listings.len()]);
    }
    map
}

fn any_order_converges<K: Kind>(
    bytes: &[u8],
    start: usize,
    order: &[usize],
    shuffled: &[usize],
) -> Result<(), TestCaseError> {
    let reached = Reached::<K>::by(bytes);
    let start = &reached.maps[start % reached.maps.len()];
    let once = deliver(start, &reached, order);
    // The same listings, each at least once, in another order and with duplicates.
    let again: Vec<usize> = shuffled.iter().chain(order).copied().collect();
    prop_assert_eq!(&once, &deliver(start, &reached, &again));
    let backwards: Vec<usize> = shuffled.iter().rev().copied().collect();
    prop_assert_eq!(&once, &deliver(start, &reached, &backwards));
    Ok(())
}

proptest! {
    /// Every law of section 3.6, for every lattice, on triples of states of one run with
    /// last-writer-wins cells.
    #[test]
    fn the_laws_hold_on_reachable_states_of_last_writer_wins_maps(bytes in bytes(), picks in picks()) {
        let reached = Reached::<Lww>::by(&bytes);
        for (name, law) in table::<Lww>() {
            prop_assert!(law(&reached, &picks).is_ok(), "{name}: {:?}", law(&reached, &picks));
        }
    }

    /// The same with multi-value cells.
    #[test]
    fn the_laws_hold_on_reachable_states_of_multi_value_maps(bytes in bytes(), picks in picks()) {
        let reached = Reached::<Mv>::by(&bytes);
        for (name, law) in table::<Mv>() {
            prop_assert!(law(&reached, &picks).is_ok(), "{name}: {:?}", law(&reached, &picks));
        }
    }

    /// Any subset of the listings of a run converges, whatever the order and the duplicates.
    #[test]
    fn any_subset_of_listings_in_any_order_converges(
        bytes in bytes(),
        start in any::<usize>(),
        (order, shuffled) in prop::collection::vec(0_usize..500, 1..12)
            .prop_flat_map(|order| (Just(order.clone()), Just(order).prop_shuffle())),
    ) {
        any_order_converges::<Lww>(&bytes, start, &order, &shuffled)?;
        any_order_converges::<Mv>(&bytes, start, &order, &shuffled)?;
    }
}

/// The suite by quickcheck: its generators and its shrinking differ from proptest's.
mod by_quickcheck {
    use super::*;
    use quickcheck::{QuickCheck, TestResult};

    fn context(dots: &[(u8, u8)]) -> CausalContext {
        let dots = dots.iter().map(|&(r, c)| (r % 3, c % 16));
        dots.map(|(r, c)| Dot::new(ReplicaId(r.into()), c.into()))
            .collect()
    }

    /// Contexts are sets of dots: the laws, and union, difference and intersection against each other.
    #[test]
    fn contexts_obey_the_laws() {
        type Dots = Vec<(u8, u8)>;
        fn obeys(a: Dots, b: Dots, c: Dots) -> TestResult {
            let [a, b, c] = [a, b, c].map(|dots| context(&dots));
            if let Err(violation) = check_lattice(&a, &b, &c) {
                return TestResult::error(violation.to_string());
            }
            let (both, only_a) = (a.intersection(&b), a.difference(&b));
            let disjoint = !both.intersects(&only_a) && a.intersects(&b) != both.is_empty();
            let sum = only_a.event_count() + b.event_count();
            TestResult::from_bool(
                disjoint && both.joined(&only_a) == a && a.joined(&b).event_count() == sum,
            )
        }
        QuickCheck::new()
            .tests(2_000)
            .quickcheck(obeys as fn(Dots, Dots, Dots) -> TestResult);
    }

    /// Scripts of operations against the model: I1, I3, I4, I5 after every step, convergence at the end.
    #[test]
    fn maps_agree_with_the_model() {
        #[expect(
            clippy::needless_pass_by_value,
            reason = "quickcheck passes arguments by value"
        )]
        fn agrees(bytes: Vec<u8>) -> TestResult {
            let script = Script::from_bytes(&bytes);
            let results = [run::<Lww>(&script), run::<Mv>(&script)];
            match results.into_iter().find_map(Result::err) {
                Some(error) => TestResult::error(format!("{error}\n{script:#?}")),
                None => TestResult::passed(),
            }
        }
        QuickCheck::new()
            .rng(quickcheck::Gen::new(400))
            .tests(400)
            .quickcheck(agrees as fn(Vec<u8>) -> TestResult);
    }
}
