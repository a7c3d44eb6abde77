//! Two stores side by side: records of fields with different types.

use crate::{
    CausalContext, Cell, Dot, DotRange, DotStore, Edit, InvalidBytes, Knows, Lattice as _, Stable,
    Timestamp,
};

/// A record of two stores that share one context, for instance a title and tags. Records of more fields
/// are nested pairs.
///
/// **Order and join.** Part by part. Each event lives in one of the parts.
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, MvCell, ObjectId, OrMap, ReplicaId};
///
/// type Note = (MvCell<String>, AddWinsSet<String>);
/// let mut notes = CausalReplica::<OrMap<u32, Note>>::new(ObjectId(1), ReplicaId(1));
/// let delta = notes.change(|notes| {
///     notes.update(7, |note| {
///         note.first().set("Shopping".into());
///         note.second().add("home".into());
///     });
/// });
/// assert_eq!(delta.context().event_count(), 2);
/// let (title, tags) = notes.get(&7).expect("the note was written");
/// assert!(title.values().eq(["Shopping"]) && tags.contains("home"));
/// ```
impl<A: DotStore, B: DotStore> DotStore for (A, B) {
    const FORGETS_LOSERS: bool = A::FORGETS_LOSERS || B::FORGETS_LOSERS;

    fn is_bottom(&self) -> bool {
        self.0.is_bottom() && self.1.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.0.dots().chain(self.1.dots())
    }

    fn dot_ranges(&self) -> impl Iterator<Item = DotRange> + '_ {
        self.0.dot_ranges().chain(self.1.dot_ranges())
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.0.is_live(dot) || self.1.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        let first = self.0.join(mine, &other.0, theirs);
        self.1.join(mine, &other.1, theirs) | first
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        (self.0.unknown_to(known), self.1.unknown_to(known))
    }

    fn losers_in(&self, other: &Self) -> CausalContext {
        self.0
            .losers_in(&other.0)
            .joined(&self.1.losers_in(&other.1))
    }

    fn purge(&mut self, stable: &Stable) -> CausalContext {
        self.0.purge(stable).joined(&self.1.purge(stable))
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        let in_part = self
            .0
            .conflict(&other.0)
            .or_else(|| self.1.conflict(&other.1));
        // By ranges: a few bytes can name a run of very many events.
        in_part.or_else(|| {
            let (mine, theirs) = (
                [live(&self.0), live(&self.1)],
                [live(&other.0), live(&other.1)],
            );
            let across = [(&mine[0], &theirs[1]), (&mine[1], &theirs[0])];
            let mut shared = across.into_iter().map(|(a, b)| a.intersection(b));
            shared.find_map(|both| both.dots().next())
        })
    }

    fn mark_count(&self) -> usize {
        self.0.mark_count() + self.1.mark_count()
    }

    fn heap_bytes(&self) -> usize {
        self.0.heap_bytes() + self.1.heap_bytes()
    }
}

fn live(store: &impl DotStore) -> CausalContext {
    store.dot_ranges().collect()
}

impl<A: Cell, B: Cell> Cell for (A, B) {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        self.0.is_visible() || self.1.is_visible()
    }

    /// That of the part that has more: a record is in conflict if a part is.
    fn sibling_count(&self) -> usize {
        self.0.sibling_count().max(self.1.sibling_count())
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.0.validate().and_then(|()| self.1.validate())
    }
}

impl<A: DotStore, B: DotStore> Edit<'_, (A, B)> {
    /// The first part, to be changed.
    pub const fn first(&mut self) -> Edit<'_, A> {
        let (store, delta, events) = self.parts();
        Edit::new(&mut store.0, &mut delta.0, events)
    }

    /// The second part, to be changed.
    pub const fn second(&mut self) -> Edit<'_, B> {
        let (store, delta, events) = self.parts();
        Edit::new(&mut store.1, &mut delta.1, events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DotFun, DotSet, ReplicaId};

    type Both = (DotSet, DotFun<char>);

    const DOT: Dot = Dot::new(ReplicaId(1), 1);
    const OTHER: Dot = Dot::new(ReplicaId(2), 1);

    fn first() -> Both {
        (DotSet::from_iter([DOT]), DotFun::default())
    }

    fn second(dot: Dot, value: char) -> Both {
        (DotSet::default(), DotFun::from_iter([(dot, value)]))
    }

    #[test]
    fn one_dot_in_two_parts_or_with_two_values_is_a_conflict() {
        let seconds = [second(DOT, 'a'), second(DOT, 'b'), second(OTHER, 'a')];
        assert_eq!(first().conflict(&seconds[0]), Some(DOT));
        assert_eq!(seconds[0].conflict(&first()), Some(DOT));
        assert_eq!(seconds[0].conflict(&seconds[1]), Some(DOT));
        assert_eq!(seconds[0].conflict(&seconds[2]), None);
        assert_eq!(first().conflict(&seconds[2]), None);
        assert_eq!(first().conflict(&first()), None);
    }

    #[test]
    fn a_join_has_changed_something_if_either_part_or_both_have() {
        let nothing = CausalContext::default();
        let seen = CausalContext::from_iter([DOT, OTHER]);
        let both = (first().0, second(OTHER, 'a').1);
        for news in [first(), second(OTHER, 'a'), both] {
            let mut store = Both::default();
            assert!(store.is_bottom() && !news.is_bottom());
            assert!(store.join(&nothing, &news, &seen));
            assert_eq!(store, news);
            assert!(!store.join(&seen, &news, &seen));
        }
    }
}
