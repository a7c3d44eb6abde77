//! The one core of everything in which a concurrent removal wins: live adds and live removes.

use crate::{
    CausalContext, Cell, Dot, DotSet, DotStore, Edit, Events, InvalidBytes, Knows, Stable,
    Timestamp,
};

/// The adds and the removes of one element that no later operation has seen.
///
/// Both kinds make obsolete the adds and removes that their author has seen. Present while an add is
/// live and no remove is: a live remove beats every live add, since none of them has seen it.
///
/// **Invariants.** No dot is both an add and a remove.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub(crate) struct RemoveWins {
    adds: DotSet,
    removes: DotSet,
}

impl RemoveWins {
    pub(crate) fn is_present(&self) -> bool {
        !self.adds.is_empty() && self.removes.is_empty()
    }

    /// Whether a remove is live.
    pub(crate) fn is_removed(&self) -> bool {
        !self.removes.is_empty()
    }

    /// Whether an author sees an add and no remove, of the live events that it has seen. A purge does not
    /// change that: it takes only what every later author has seen, the remove with the adds it beats.
    pub(crate) fn is_present_to(&self, events: &Events) -> bool {
        let sees = |marks: &DotSet| marks.dots().any(|dot| events.has_seen(dot));
        sees(&self.adds) && !sees(&self.removes)
    }
}

impl Edit<'_, RemoveWins> {
    /// Makes obsolete what the author has seen, and leaves an add.
    pub(crate) fn add(&mut self) {
        self.clear();
        let (store, delta, events) = self.parts();
        let dot = events.mint();
        store.adds.insert(dot);
        delta.adds.insert(dot);
    }

    /// Makes obsolete what the author has seen, and leaves a remove.
    pub(crate) fn remove(&mut self) {
        self.clear();
        let (store, delta, events) = self.parts();
        let dot = events.mint();
        store.removes.insert(dot);
        delta.removes.insert(dot);
    }

    fn clear(&mut self) {
        let (store, delta, events) = self.parts();
        Edit::new(&mut store.adds, &mut delta.adds, events).clear();
        Edit::new(&mut store.removes, &mut delta.removes, events).clear();
    }
}

impl DotStore for RemoveWins {
    fn is_bottom(&self) -> bool {
        self.adds.is_bottom() && self.removes.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.adds.dots().chain(self.removes.dots())
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.adds.is_live(dot) || self.removes.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.adds.join(mine, &other.adds, theirs) | self.removes.join(mine, &other.removes, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            adds: self.adds.unknown_to(known),
            removes: self.removes.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let mut adds = self.adds.dots();
        let mut removes = self.removes.dots();
        adds.find(|dot| other.removes.is_live(*dot))
            .or_else(|| removes.find(|dot| other.adds.is_live(*dot)))
    }

    /// A live remove shows a reader the same as nothing, whatever adds are live beside it. All go or
    /// none does.
    fn purge(&mut self, stable: &Stable) -> CausalContext {
        let live: CausalContext = self.dots().collect();
        if !self.is_removed() || !stable.context().includes(&live) {
            return CausalContext::default();
        }
        *self = Self::default();
        live
    }

    fn mark_count(&self) -> usize {
        match self.is_removed() {
            true => self.adds.len() + self.removes.len(),
            false => 0,
        }
    }

    fn heap_bytes(&self) -> usize {
        self.adds.heap_bytes() + self.removes.heap_bytes()
    }
}

impl Cell for RemoveWins {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        self.is_present()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.adds.validate()?;
        self.removes.validate()?;
        match self.adds.dots().any(|dot| self.removes.is_live(dot)) {
            true => Err(InvalidBytes::DotTwice),
            false => Ok(()),
        }
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::RemoveWins;
    use crate::{Cell as _, DotSet};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de> Deserialize<'de> for RemoveWins {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            struct Wire {
                adds: DotSet,
                removes: DotSet,
            }
            let Wire { adds, removes } = Wire::deserialize(deserializer)?;
            let store = Self { adds, removes };
            store.validate().map_err(D::Error::custom)?;
            Ok(store)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::{Dot, InvalidBytes, ReplicaId};

        #[test]
        fn a_dot_that_is_an_add_and_a_remove_is_refused() {
            let dots: DotSet = [Dot::new(ReplicaId(1), 1)].into_iter().collect();
            let (adds, removes) = (dots.clone(), dots);
            let both = RemoveWins { adds, removes };
            let json = serde_json::to_string(&both).expect("marks encode");
            let error = serde_json::from_str::<RemoveWins>(&json).expect_err("invalid");
            assert!(
                error
                    .to_string()
                    .contains(&InvalidBytes::DotTwice.to_string())
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ReplicaId;

    #[test]
    fn an_add_and_a_remove_under_one_dot_are_a_conflict() {
        let dots: DotSet = [Dot::new(ReplicaId(1), 1)].into_iter().collect();
        let add = RemoveWins {
            adds: dots.clone(),
            ..RemoveWins::default()
        };
        let remove = RemoveWins {
            removes: dots,
            ..RemoveWins::default()
        };
        let dot = Some(Dot::new(ReplicaId(1), 1));
        assert_eq!((add.conflict(&remove), remove.conflict(&add)), (dot, dot));
        assert_eq!(add.conflict(&add), None);
    }

    #[test]
    fn both_kinds_of_marks_are_validated() {
        let [none, zero, one] = [vec![], vec![0], vec![1]].map(|counters: Vec<u64>| -> DotSet {
            let dots = counters.into_iter();
            dots.map(|counter| Dot::new(ReplicaId(1), counter))
                .collect()
        });
        for (adds, removes, expected) in [
            (&one, &none, Ok(())),
            (&none, &one, Ok(())),
            (&zero, &one, Err(InvalidBytes::ZeroCounter)),
            (&one, &zero, Err(InvalidBytes::ZeroCounter)),
            (&one, &one, Err(InvalidBytes::DotTwice)),
        ] {
            let (adds, removes) = (adds.clone(), removes.clone());
            assert_eq!(RemoveWins { adds, removes }.validate(), expected);
        }
    }
}
