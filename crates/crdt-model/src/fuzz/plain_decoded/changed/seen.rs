//! The lattices of what was seen and promised.

use crdt::{
    CausalContext, CausalReplica, Closed, Digest, Dot, DotRange, EnableWinsFlag, Interval,
    Knowledge, Knows as _, Lattice as _, ObjectId, OwnerView, Promise, Promises, ReplicaId,
    Stability, Timestamp, VersionVector,
};
use std::collections::BTreeSet;

use super::{Changed, amount, replica};

impl Changed for VersionVector {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let id = replica(what / 2);
        let next = self.counter(id).checked_add(1);
        let dot = match next.filter(|_| what.is_multiple_of(2)) {
            Some(next) => {
                let dot = self.increment(id);
                assert_eq!(dot.counter, next, "{self:?}");
                dot
            }
            None => {
                let dot = Dot::new(id, amount(which));
                self.raise(dot);
                dot
            }
        };
        assert!(self.contains(dot), "{dot} {self:?}");
        [(id, dot.counter)].into_iter().collect()
    }

    fn ask(&self, other: &Self) {
        assert_eq!(
            (self.iter().count(), self.is_empty()),
            (self.replica_count(), self.replica_count() == 0)
        );
        assert_eq!(self.dominates(other), self >= other, "{self:?} {other:?}");
        assert_eq!(self.is_concurrent(other), self.partial_cmp(other).is_none());
        for (id, counter) in self.iter() {
            assert_eq!(self.counter(id), counter);
            assert!(
                counter > 0 && self.contains(Dot::new(id, counter)),
                "{self:?}"
            );
        }
    }
}

impl Changed for CausalContext {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (id, first) = (replica(what), u64::from(which));
        let last = match what / 32 {
            0 | 1 => first,
            2..=4 => first + u64::from(what / 16),
            5 => first.saturating_sub(1),
            _ => u64::MAX,
        };
        let range = DotRange {
            replica: id,
            first,
            last,
        };
        let is_news = !self.contains_range(DotRange {
            first: first.max(1),
            ..range
        });
        let grew = match first == last {
            true => self.insert(Dot::new(id, first)),
            false => self.insert_range(range),
        };
        assert_eq!(
            grew,
            is_news && last > 0 && first <= last,
            "{range:?} {self}"
        );
        let mut delta = Self::default();
        delta.insert_range(range);
        delta
    }

    fn ask(&self, other: &Self) {
        let both = self.intersection(other);
        let rest = Self::difference(self, other);
        assert_eq!(self.intersects(other), !both.is_empty(), "{self} {other}");
        assert!(!rest.intersects(other) && both.clone().joined(&rest) == *self);
        assert_eq!(self.unknown_of(other), Self::difference(other, self));
        let prefix = Self::from(&self.prefix());
        assert!(self.includes(&prefix), "{self}");
        assert_eq!(self.ranges().count(), self.range_count());
        assert!(self.ranges().collect::<Self>() == *self, "{self}");
        assert_eq!(self.is_empty(), self.event_count() == 0);
        for range in self.ranges() {
            assert!(self.contains_range(range), "{range:?} {self}");
            assert!(self.last_counter(range.replica) >= range.last);
            let is_prefix = self.prefix().counter(range.replica) >= range.last;
            assert_eq!(self.includes_prefix(range.replica, range.last), is_prefix);
            for counter in [range.first, range.last] {
                let dot = Dot::new(range.replica, counter);
                assert_eq!(both.contains(dot), other.contains(dot), "{dot} {other}");
                assert_eq!(
                    both.knows(dot),
                    other.knows_any(dot.into()),
                    "{dot} {other}"
                );
            }
        }
        let few = self.ranges().take(4).map(|range| DotRange {
            last: range.last.min(range.first.saturating_add(70)),
            ..range
        });
        let few: Self = few.collect();
        assert_eq!(few.dots().collect::<Self>(), few);
    }
}

impl Changed for OwnerView {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (position, id) = (u32::from(what % 4), ReplicaId(u64::from(which)));
        let mut delta = Self::default();
        delta.record(position, id);
        let is_new = !self.incarnations().any(|known| known == (position, id));
        assert_eq!(self.record(position, id), is_new, "{self}");
        delta
    }

    fn ask(&self, _: &Self) {
        for (position, id) in self.incarnations() {
            let current = self.current(position).expect("it has an incarnation");
            assert_eq!(self.is_fenced(position, id), id < current, "{self}");
            assert!(self.currents().any(|known| known == (position, current)));
        }
    }
}

impl Changed for Promises {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (time, counter) = (Timestamp(u64::from(what)), u64::from(which / 4));
        let promise = Promise { time, counter };
        let mut delta = Self::default();
        delta.record(replica(which), promise);
        self.record(replica(which), promise);
        assert!(self.of(replica(which)) >= Some(promise), "{self}");
        delta
    }

    /// A horizon waits for everyone in the view, and is no later than any promise.
    fn ask(&self, other: &Self) {
        let own = ReplicaId(u64::MAX);
        let mut view = OwnerView::default();
        view.record(0, own);
        let mut base = CausalContext::default();
        for (position, (id, promise)) in self.iter().enumerate() {
            let (replica, first, last) = (id, 1, promise.counter);
            base.insert_range(DotRange {
                replica,
                first,
                last,
            });
            view.record(position as u32 + 1, id);
        }
        let (owners, clock) = (view.currents().count(), Timestamp(u64::MAX));
        let horizon = self.horizon(&view, owners, own, &base, clock);
        let horizon = horizon.expect("all have promised, and all of it is here");
        let others = self.iter().filter(|(id, _)| *id != own);
        let first = others.map(|(_, promise)| promise.time).min();
        assert_eq!(horizon.time(), first.unwrap_or(clock), "{self}");
        assert!(self.horizon(&view, owners + 1, own, &base, clock).is_none());
        let heard = view
            .incarnations()
            .all(|(_, id)| id == own || other.of(id).is_some());
        let of_other = other.horizon(&view, owners, own, &base, clock);
        assert!(heard || of_other.is_none(), "{other} {view}");
    }
}

impl Changed for Stability {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let mut member = CausalReplica::<EnableWinsFlag>::new(ObjectId(1), replica(which));
        for _ in 0..what % 8 {
            let _ = member.change(|flag| flag.enable());
        }
        let report = member.report();
        let mut delta = Self::default();
        delta.report(&report);
        self.report(&report);
        assert!(!self.report(&report), "twice is once: {self}");
        delta
    }

    /// What is certified for someone who has all that was reported was in every report.
    fn ask(&self, other: &Self) {
        assert!(self.certificate(&Digest::default()).is_err(), "{self}");
        let members: BTreeSet<ReplicaId> = self.members().collect();
        let both = self.clone().joined(other);
        assert!(
            members
                .iter()
                .all(|id| both.members().any(|member| member == *id))
        );
    }
}

impl Changed for Digest {
    fn ask(&self, other: &Self) {
        let mut stability = Stability::default();
        assert!(stability.certificate(self).is_err(), "nobody has reported");
        let mut member = CausalReplica::<EnableWinsFlag>::new(ObjectId(1), ReplicaId(1));
        let _ = member.change(|flag| flag.enable());
        stability.report(&member.report());
        let all = self.clone().joined(other).joined(&member.state().digest());
        let stable = stability.certificate(&all).expect("all of it is here");
        assert_eq!(stable.context(), member.state().context());
        assert!(self.context().includes(self.live()), "{self}");
    }
}

impl Changed for Knowledge<u8> {
    fn ask(&self, other: &Self) {
        assert_eq!(self.exceptions().count(), self.exception_count());
        assert_eq!(self.includes(other), self >= other);
        for key in (0..=u8::MAX).step_by(5) {
            let known = self.of_key(&key);
            assert!(known.includes(self.base()), "{key} {self}");
            let alone = Interval::of_key(&key);
            let context = other.of_key(&key).to_context();
            assert_eq!(
                self.includes_within(&alone, &context),
                known.includes(&context)
            );
            let unknown = known.unknown_of(&context);
            assert_eq!(
                unknown.is_empty(),
                known.includes(&context),
                "{key} {self} {other}"
            );
        }
        for (interval, beyond) in self.exceptions() {
            assert!(!self.base().intersects(beyond), "{self}");
            assert!(self.includes_within(&interval, beyond), "{self}");
            let parts = self.within(&interval);
            assert!(
                parts.iter().all(|(_, known)| known.beyond().is_some()),
                "{self}"
            );
        }
    }
}

impl Changed for Closed {
    fn change(&mut self, what: u8, which: u8) -> Self {
        let (id, before) = (replica(what), self.clone());
        let first = u64::from(which) + 1;
        let left = [first, first + u64::from(what / 8)].map(|counter| Dot::new(id, counter));
        let mut delta = Self::default();
        delta.record(id, &left.into_iter().collect());
        assert_eq!(self.record(id, delta.left()), *self != before, "{self}");
        assert!(self.contains(id), "{self}");
        delta
    }

    /// Of what is seen of closed writers, all is lost but what is left.
    fn ask(&self, other: &Self) {
        assert_eq!(self.is_empty(), self.writers().next().is_none());
        assert!(self.lost_of(self.left()).is_empty(), "{self}");
        let lost = self.lost_of(other.left());
        assert!(!lost.intersects(self.left()), "{self} {other}");
        for range in other.left().ranges() {
            let one = [range].into_iter().collect();
            let is_here = !self.contains(range.replica) || self.left().includes(&one);
            assert_eq!(self.lost_of(&one).is_empty(), is_here, "{self} {other}");
        }
    }
}
