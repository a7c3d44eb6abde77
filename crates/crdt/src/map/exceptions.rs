//! Exceptions: what is known beyond the base, for intervals of keys.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::map::cut::{Cut, Interval};
use crate::{CausalContext, Lattice};

/// A step function from keys to contexts beyond the base; nearly always empty.
///
/// An entry says what holds from its cut up to the next one; before the first entry nothing does.
/// **Invariants.** No two neighbours are equal, the first is not empty, the last is empty or reaches
/// to the end of the key space: so equal functions are equal maps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Exceptions<K> {
    steps: BTreeMap<Cut<K>, Arc<CausalContext>>,
    /// All events that any step names: tells in one comparison that there is nothing to strip.
    named: CausalContext,
}

impl<K> Default for Exceptions<K> {
    fn default() -> Self {
        Self {
            steps: BTreeMap::new(),
            named: CausalContext::default(),
        }
    }
}

impl<K: Ord + Clone> Exceptions<K> {
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Number of intervals that have an exception.
    pub(crate) fn len(&self) -> usize {
        self.steps.values().filter(|c| !c.is_empty()).count()
    }

    /// All events that are known of some key beyond the base.
    pub(crate) const fn named(&self) -> &CausalContext {
        &self.named
    }

    /// What is known of `key` beyond the base.
    pub(crate) fn of_key(&self, key: &K) -> Option<&CausalContext> {
        if self.steps.is_empty() {
            return None;
        }
        self.at(&Cut::Before(key.clone()))
    }

    /// What holds in the step that starts at or reaches over `cut`.
    fn at(&self, cut: &Cut<K>) -> Option<&CausalContext> {
        let (_, context) = self.steps.range(..=cut).next_back()?;
        (!context.is_empty()).then_some(&**context)
    }

    /// The intervals that have an exception, in key order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Interval<K>, &Arc<CausalContext>)> + '_ {
        let ends = self.steps.keys().skip(1).cloned().chain([Cut::AboveAll]);
        self.steps
            .iter()
            .zip(ends)
            .filter(|((_, context), _)| !context.is_empty())
            .filter_map(|((start, context), end)| {
                Some((Interval::new(start.clone(), end)?, context))
            })
    }

    /// All steps within `interval`, those without an exception included.
    pub(crate) fn within(
        &self,
        interval: &Interval<K>,
    ) -> Vec<(Interval<K>, Option<&CausalContext>)> {
        let mut out = Vec::new();
        let mut start = interval.start().clone();
        let inner = self
            .steps
            .range(interval.start()..interval.end())
            .map(|(cut, _)| cut.clone());
        for end in inner.chain([interval.end().clone()]) {
            if let Some(step) = Interval::new(start.clone(), end.clone()) {
                out.push((step, self.at(&start)));
            }
            start = end;
        }
        out
    }

    /// Adds `context` to what is known beyond the base in `interval`; true if anything was new.
    pub(crate) fn join(&mut self, interval: &Interval<K>, context: &Arc<CausalContext>) -> bool {
        if context.is_empty() || self.covers(interval, context) {
            return false;
        }
        self.named.join(context);
        self.split_at(interval.start());
        self.split_at(interval.end());
        for (_, step) in self.steps.range_mut(interval.start()..interval.end()) {
            if step.is_empty() {
                *step = Arc::clone(context);
            } else if !step.includes(context) {
                Arc::make_mut(step).join(context);
            }
        }
        self.unite_equal_neighbours(interval);
        true
    }

    /// Removes from every exception what `base` holds. Linear in the exceptions, but only if there is
    /// anything to remove.
    pub(crate) fn strip(&mut self, base: &CausalContext) {
        if !self.named.intersects(base) {
            return;
        }
        self.named = self.named.difference(base);
        for step in self.steps.values_mut().filter(|step| step.intersects(base)) {
            *step = Arc::new(step.difference(base));
        }
        self.unite_equal_neighbours(&Interval::all());
    }

    /// The events known beyond the base of every key there is.
    pub(crate) fn meet(&self) -> Option<CausalContext> {
        // An interval without an exception, nearly always one at either end, makes the meet empty.
        let reaches_both_ends = self
            .steps
            .first_key_value()
            .is_some_and(|(cut, _)| *cut == Cut::BelowAll)
            && self
                .steps
                .values()
                .next_back()
                .is_some_and(|c| !c.is_empty());
        if !reaches_both_ends || self.steps.values().any(|c| c.is_empty()) {
            return None;
        }
        let mut steps = self.steps.values();
        let first = CausalContext::clone(steps.next()?);

        steps.try_fold(first, |meet, step| {
            let meet = meet.intersection(step);
            (!meet.is_empty()).then_some(meet)
        })
    }

    /// Appends a decoded step behind all others; [`is_normal`](Self::is_normal) then says whether the
    /// steps were in order.
    #[cfg(feature = "serde")]
    pub(crate) fn push_step(&mut self, interval: &Interval<K>, context: CausalContext) {
        self.named.join(&context);
        self.steps
            .insert(interval.start().clone(), Arc::new(context));
        if *interval.end() != Cut::AboveAll {
            self.steps.insert(interval.end().clone(), Arc::default());
        }
    }

    /// Whether the steps are in normal form and hold exactly `count` exceptions.
    #[cfg(feature = "serde")]
    pub(crate) fn is_normal(&self, count: usize) -> bool {
        let steps: Vec<_> = self.steps.values().collect();
        self.len() == count
            && steps.windows(2).all(|w| w[0] != w[1])
            && steps.first().is_none_or(|c| !c.is_empty())
    }

    /// Whether `context` is known beyond the base everywhere in `interval`.
    fn covers(&self, interval: &Interval<K>, context: &CausalContext) -> bool {
        let inner = self
            .steps
            .range(interval.start()..interval.end())
            .map(|(_, step)| &**step);
        let first = self
            .at(interval.start())
            .is_some_and(|c| c.includes(context));
        first && inner.into_iter().all(|step| step.includes(context))
    }

    fn split_at(&mut self, cut: &Cut<K>) {
        if *cut == Cut::AboveAll || self.steps.contains_key(cut) {
            return;
        }
        let before = self
            .steps
            .range(..cut)
            .next_back()
            .map(|(_, context)| Arc::clone(context));
        self.steps.insert(cut.clone(), before.unwrap_or_default());
    }

    /// Restores normal form after a change within `interval`.
    fn unite_equal_neighbours(&mut self, interval: &Interval<K>) {
        let before = self.steps.range(..interval.start()).next_back();
        let mut before = before.map(|(_, step)| Arc::clone(step)).unwrap_or_default();
        let mut redundant = Vec::new();
        for (cut, step) in self.steps.range(interval.start()..=interval.end()) {
            if *step == before {
                redundant.push(cut.clone());
            } else {
                before = Arc::clone(step);
            }
        }
        for cut in &redundant {
            self.steps.remove(cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Dot, ReplicaId};
    use alloc::collections::{BTreeMap, BTreeSet};
    use proptest::prelude::*;

    fn context(counters: &BTreeSet<u64>) -> Arc<CausalContext> {
        Arc::new(
            counters
                .iter()
                .map(|&c| Dot::new(ReplicaId(1), c))
                .collect(),
        )
    }

    /// Cut `n` of the key space 0..4: even ones lie before a key, odd ones after it.
    fn cut(n: u8) -> Cut<u8> {
        match n {
            0 => Cut::BelowAll,
            9.. => Cut::AboveAll,
            n if n % 2 == 1 => Cut::Before(n / 2),
            n => Cut::After(n / 2 - 1),
        }
    }

    proptest! {
        #[test]
        fn exceptions_behave_as_a_context_for_each_place(
            script in proptest::collection::vec(
                (0_u8..10, 0_u8..10, proptest::collection::btree_set(1_u64..6, 0..4), any::<bool>()), 0..12)
        ) {
            let mut exceptions = Exceptions::default();
            // The naive model: one set for each of the nine places between ten cuts.
            let mut model: BTreeMap<u8, BTreeSet<u64>> = (0..9).map(|n| (n, BTreeSet::new())).collect();
            for (a, b, counters, strip) in script {
                let c = context(&counters);
                if strip {
                    exceptions.strip(&c);
                    model.values_mut().for_each(|s| s.retain(|n| !counters.contains(n)));
                } else if let Some(interval) = Interval::new(cut(a.min(b)), cut(a.max(b))) {
                    let before = model.clone();
                    (a.min(b)..a.max(b)).for_each(|n| model.entry(n).or_default().extend(&counters));
                    prop_assert_eq!(exceptions.join(&interval, &c), before != model);
                }
                for key in 0_u8..4 {
                    let want = &model[&(2 * key + 1)];
                    let got = exceptions.of_key(&key).cloned().unwrap_or_default();
                    prop_assert_eq!(&got, &*context(want));
                }
                let meet = model.values().cloned().reduce(|a, b| &a & &b).unwrap_or_default();
                prop_assert_eq!(exceptions.meet().unwrap_or_default(), (*context(&meet)).clone());
                let named = model.values().flatten().copied().collect();
                prop_assert_eq!(&exceptions.named, &*context(&named));
                let steps: Vec<_> = exceptions.steps.values().collect();
                prop_assert!(steps.windows(2).all(|w| w[0] != w[1]), "neighbours differ");
                prop_assert!(steps.first().is_none_or(|c| !c.is_empty()), "the first is not empty");
                let everywhere = exceptions.within(&Interval::all());
                prop_assert_eq!(everywhere[0].0.start(), &Cut::BelowAll);
                prop_assert!(everywhere.windows(2).all(|w| w[0].0.end() == w[1].0.start()));
                prop_assert_eq!(exceptions.iter().count(), exceptions.len());
            }
        }
    }
}
