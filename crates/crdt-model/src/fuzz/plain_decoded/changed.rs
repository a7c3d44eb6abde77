//! How the lattices without a causal store are changed and asked.

mod seen;

use crdt::{
    CausalContext, Difference, Dot, GCounter, GSet, Horizon, Lattice as _, LexicographicPair,
    LwwMap, LwwRegister, LwwSet, MapOf, Max, Min, MvRegister, OwnerView, Pair, PnCounter, Promises,
    ReplicaId, Timestamp, TwoPhaseSet, VersionVector,
};
use std::collections::BTreeSet;

/// Keys of a change of many: more than a chunk of a map holds.
const MANY: u16 = 600;
/// Replicas that write.
const REPLICAS: u8 = 5;

/// A lattice that writers change and readers ask.
pub(super) trait Changed: Difference {
    /// Makes one change and returns its delta: bottom if it changes nothing.
    fn change(&mut self, what: u8, which: u8) -> Self {
        let _ = (what, which);
        Self::default()
    }

    /// Checks that all ways of asking about one state, or about two, agree.
    fn ask(&self, other: &Self) {
        let _ = other;
    }
}

fn replica(which: u8) -> ReplicaId {
    ReplicaId(u64::from(which % REPLICAS))
}

/// An amount: small, or near an overflow.
fn amount(which: u8) -> u64 {
    match which % 4 {
        0 => u64::MAX >> (which / 4),
        _ => u64::from(which / 4),
    }
}

/// What one owner on its own may forget.
fn horizon(which: u8) -> Horizon {
    let own = ReplicaId(1);
    let mut view = OwnerView::default();
    view.record(0, own);
    let clock = Timestamp(u64::from(which));
    let base = CausalContext::default();
    let horizon = Promises::default().horizon(&view, 1, own, &base, clock);
    horizon.expect("nobody else is waited for")
}

impl<K> Changed for LwwMap<K, u8>
where
    K: Ord + Clone + std::fmt::Debug + std::hash::Hash + From<u8> + TryFrom<u16>,
{
    fn change(&mut self, what: u8, which: u8) -> Self {
        let time = Timestamp(u64::from(what / 8));
        match what % 8 {
            0 | 1 => self.insert(which.into(), what, time),
            2 => self.insert((which % 8).into(), which, time),
            3 => self.remove(which.into(), time),
            4 => self.remove((which % 8).into(), time),
            5 | 6 => {
                let first = u16::from(which) * 4;
                let keys = (first..first + MANY).filter_map(|key| K::try_from(key).ok());
                let mut news = Self::default();
                news.extend(keys.map(|key| (key, which, time)));
                let delta = news.difference(self);
                assert_eq!(self.join_owned(news), delta != Self::default(), "{delta:?}");
                delta
            }
            // There is no delta of a purge: the state tells others.
            _ => {
                let tombstones = self.tombstone_count();
                let purged = self.purge(&horizon(which));
                assert_eq!(self.tombstone_count() + purged, tombstones);
                self.clone()
            }
        }
    }

    fn ask(&self, other: &Self) {
        let mut entries = 0;
        for (key, value) in self.iter() {
            assert_eq!(self.get(key), Some(value), "{key:?}");
            assert!(
                self.contains_key(key) && self.timestamp(key).is_some(),
                "{key:?}"
            );
            entries += 1;
        }
        assert_eq!(
            (self.len(), self.is_empty()),
            (entries, entries == 0),
            "{self:?}"
        );
        for (key, _) in other.iter().take(8) {
            let below = self.range(..key).count();
            let from = self.range(key..).count();
            assert_eq!(below + from, entries, "{key:?} {self:?}");
            let behind = (std::ops::Bound::Excluded(key), std::ops::Bound::Unbounded);
            let at = usize::from(self.contains_key(key));
            assert_eq!(self.range(behind).count() + at, from, "{key:?} {self:?}");
            let last = self.range(..=key).next_back();
            assert_eq!(
                last,
                self.iter().rfind(|(held, _)| *held <= key),
                "{self:?}"
            );
        }
        let mut joined = self.clone();
        let plain = self.clone().joined(other);
        let mut owned = self.clone();
        assert_eq!(owned.join_owned(other.clone()), plain != *self);
        assert!(owned == plain, "owned or not: {self:?} {other:?}");
        match joined.join_checked(other) {
            Ok(grew) => assert!(joined == plain && grew == (plain != *self)),
            Err(behind) => {
                assert!(joined == *self && behind.entries > 0, "{self:?} {other:?}");
                assert!(other.purged_up_to() < self.purged_up_to());
            }
        }
    }
}

impl Changed for LwwSet<u8> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let time = Timestamp(u64::from(what / 4));
        match what % 4 {
            0 | 1 => self.insert(which, time),
            2 => self.remove(which, time),
            _ => {
                self.purge(&horizon(which));
                self.clone()
            }
        }
    }

    fn ask(&self, other: &Self) {
        let elements: Vec<u8> = self.iter().copied().collect();
        let counted = (self.len(), self.is_empty(), self.as_map().len());
        assert_eq!(
            counted,
            (elements.len(), elements.is_empty(), elements.len())
        );
        let asked = (0..=u8::MAX).filter(|element| self.contains(element));
        assert!(asked.eq(elements.iter().copied()), "{self:?}");
        let parts = self.range(..100).chain(self.range(100..));
        assert!(parts.eq(elements.iter()), "{self:?}");
        let mut owned = self.clone();
        owned.join_owned(other.clone());
        assert!(owned == self.clone().joined(other), "{self:?} {other:?}");
        let mut checked = self.clone();
        match checked.join_checked(other) {
            Ok(_) => assert!(checked == owned),
            Err(_) => assert!(checked == *self),
        }
    }
}

impl Changed for LwwRegister<u8> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let time = Timestamp(u64::from(what / 4));
        match what % 4 {
            0..=2 => self.write(time, which),
            _ => self.delete(time),
        }
    }

    fn ask(&self, _: &Self) {
        assert!(self.value().is_none() || self.timestamp().is_some());
        assert_eq!(self.timestamp().is_none(), *self == Self::default());
    }
}

impl Changed for MvRegister<u8> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        if what % 4 == 3 {
            let mut clock = VersionVector::default();
            clock.raise(Dot::new(replica(what / 4), amount(which)));
            return self.write_at(clock, which);
        }
        let before = self.clone();
        self.write(replica(what / 4), which).unwrap_or_else(|_| {
            assert!(before == *self, "refused, yet changed: {before:?}");
            Self::default()
        })
    }

    fn ask(&self, _: &Self) {
        assert_eq!(self.is_empty(), self.versions().len() == 0);
        let values = self.versions().map(|version| version.value());
        assert!(values.eq(self.values()), "{self:?}");
        let clock = self.clock();
        for version in self.versions() {
            assert!(clock.dominates(version.clock()), "{self:?}");
        }
        for conflict in self.conflicting_clocks() {
            let same = self
                .versions()
                .filter(|version| version.clock() == conflict);
            assert!(same.count() > 1, "{self:?}");
        }
    }
}

impl Changed for GCounter {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (id, by, before) = (replica(what), amount(which), self.clone());
        match self.increment(id, by) {
            Ok(delta) => {
                assert_eq!(self.value(), before.value() + u128::from(by));
                delta
            }
            Err(overflow) => {
                assert!(overflow.replica == id && before == *self, "{before:?}");
                Self::default()
            }
        }
    }

    fn ask(&self, _: &Self) {
        let counts = self.iter().map(|(id, count)| {
            assert!(count > 0 && self.count_of(id) == count, "{self:?}");
            u128::from(count)
        });
        assert_eq!(counts.sum::<u128>(), self.value());
    }
}

impl Changed for PnCounter {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (id, by, before) = (replica(what / 2), amount(which), self.clone());
        let (delta, change) = match what % 2 {
            0 => (self.increment(id, by), i128::from(by)),
            _ => (self.decrement(id, by), -i128::from(by)),
        };
        match delta {
            Ok(delta) => {
                assert_eq!(self.value(), before.value() + change, "{before:?}");
                delta
            }
            Err(overflow) => {
                assert!(overflow.replica == id && before == *self, "{before:?}");
                Self::default()
            }
        }
    }
}

impl Changed for GSet<u8> {
    fn change(&mut self, _: u8, which: u8) -> Self {
        self.insert(which)
    }

    fn ask(&self, _: &Self) {
        let elements = self.clone().into_elements();
        assert_eq!(
            (self.len(), self.is_empty()),
            (elements.len(), elements.is_empty())
        );
        let asked = (0..=u8::MAX).filter(|element| self.contains(element));
        assert!(asked.eq(elements.iter().copied()) && self.iter().eq(&elements));
    }
}

impl Changed for TwoPhaseSet<u8> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        match what % 2 {
            0 => self.insert(which),
            _ => self.remove(which),
        }
    }

    fn ask(&self, _: &Self) {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        assert_eq!(
            (self.len(), self.is_empty()),
            (elements.len(), elements.is_empty())
        );
        let asked = (0..=u8::MAX).filter(|element| self.contains(element));
        assert!(asked.eq(elements), "{self:?}");
        let removed = (0..=u8::MAX).filter(|element| self.is_removed(element));
        assert!(removed.eq(self.removed().copied()), "{self:?}");
        assert!(!self.removed().any(|element| self.contains(element)));
    }
}

impl<A: Changed, B: Changed> Changed for Pair<A, B> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        match what % 2 {
            0 => self.update_first(|first| first.change(what / 2, which)),
            _ => self.update_second(|second| second.change(what / 2, which)),
        }
    }

    fn ask(&self, other: &Self) {
        self.first.ask(&other.first);
        self.second.ask(&other.second);
    }
}

impl<B: Changed> Changed for LexicographicPair<u8, B> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        if !what.is_multiple_of(4) {
            return self.update(|second| second.change(what / 4, which));
        }
        let mut second = B::default();
        let _ = second.change(what / 4, which);
        self.restart(which, second)
    }

    fn ask(&self, other: &Self) {
        assert_eq!(self.first().is_some(), self.second().is_some());
        if let (Some(mine), Some(theirs)) = (self.second(), other.second()) {
            mine.ask(theirs);
        }
        let later = self.clone().joined(other);
        assert_eq!(later.first(), self.first().max(other.first()));
    }
}

impl<L: Changed> Changed for MapOf<u8, L> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        self.update(which % 8, |value| value.change(what, which / 8))
    }

    fn ask(&self, other: &Self) {
        assert_eq!(
            (self.len(), self.is_empty()),
            (self.iter().count(), self.iter().len() == 0)
        );
        for (key, value) in self.iter() {
            assert_eq!(self.get(key), Some(value));
            assert!(*value != L::default(), "bottom is kept: {self:?}");
            if let Some(theirs) = other.get(key) {
                value.ask(theirs);
            }
        }
    }
}

impl<L: Changed> Changed for Option<L> {
    fn change(&mut self, what: u8, which: u8) -> Self {
        Some(self.get_or_insert_default().change(what, which))
    }

    fn ask(&self, other: &Self) {
        if let (Some(mine), Some(theirs)) = (self, other) {
            mine.ask(theirs);
        }
    }
}

impl Changed for Max<u8> {
    fn change(&mut self, _: u8, which: u8) -> Self {
        self.raise(which)
    }

    fn ask(&self, other: &Self) {
        assert_eq!(
            self.clone().joined(other).get(),
            self.get().max(other.get())
        );
    }
}

impl Changed for Min<u8> {
    fn change(&mut self, _: u8, which: u8) -> Self {
        self.lower(which)
    }

    fn ask(&self, other: &Self) {
        let least = self.get().into_iter().chain(other.get()).min();
        assert_eq!(self.clone().joined(other).get(), least);
    }
}
