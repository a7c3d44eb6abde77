//! The concurrent values of one key of a store whose clients bring their own context.

use core::fmt::{self, Debug};
use core::hash::Hash;

use crate::{
    Causal, CausalReplica, Cell, Dot, DotFun, DotStore, Edit, InvalidBytes, Knows, ReadContext,
    ReadContextError, Timestamp,
};

/// The values of one key of a Dynamo-like store: a put replaces what its client has read, and stands
/// beside the rest, up to a limit.
///
/// The server holds the [`CausalReplica`]; a client reads the values with a [`ReadContext`] and sends the
/// context back with its put. It mints no dots and needs no identity, so there may be any number of
/// clients. This is the dotted version vector set: dots for the values, one context for all.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two puts | both values, side by side |
/// | put and remove | the put stays |
/// | two blind puts, even through one server | both values |
/// | put beyond the limit | refused, nothing changes |
///
/// **Order and join.** That of the [`DotStore`]. A join is never refused, so it may exceed the limit: values
/// that were accepted elsewhere are not lost.
///
/// **Invariants.** Those of [`DotFun`].
///
/// **Cost.** A join is linear in the siblings; one dot for each, and one context for all.
///
/// **Not for** writers that hold a replica themselves: use [`MvCell`](crate::MvCell).
///
/// Source: Almeida, Baquero, Gonçalves, Preguiça, Fonte, *Scalable and Accurate Causality Tracking for
/// Eventually Consistent Stores*, DAIS 2014.
///
/// ```
/// use crdt::{CausalReplica, ObjectId, ReadContext, ReplicaId, Siblings};
///
/// let key = ObjectId(1);
/// let mut server = CausalReplica::<Siblings<&str>>::new(key, ReplicaId(1));
/// server.put(&ReadContext::blind(key), "tea", 10)?;
/// let anne = server.read_context();
/// // Bob has read nothing, and writes while Anne has read the tea.
/// server.put(&ReadContext::blind(key), "water", 10)?;
/// server.put(&anne, "coffee", 10)?;
/// assert_eq!(server.values().collect::<Vec<_>>(), [&"water", &"coffee"]);
/// server.put(&server.read_context(), "milk", 10)?;
/// assert_eq!(server.values().collect::<Vec<_>>(), [&"milk"], "this client had read both");
/// # Ok::<(), crdt::PutError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Siblings<V> {
    values: DotFun<V>,
}

/// A put would leave more siblings than allowed; read, and put with the context of the read. Nothing
/// was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the put would leave more than {limit} siblings; read them first")]
pub struct TooManySiblings {
    /// The limit.
    pub limit: usize,
}

/// Why a put was refused: the client's to repair, by reading again. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PutError {
    /// The context cannot be used here.
    #[error(transparent)]
    Context(#[from] ReadContextError),
    /// There would be too many siblings.
    #[error(transparent)]
    TooMany(#[from] TooManySiblings),
}

impl<V> Siblings<V> {
    /// The siblings with their dots, ascending by dot.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Dot, &V)> + '_ {
        self.values.iter()
    }

    /// The values of the siblings, ascending by dot.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &V> + '_ {
        self.values.values()
    }

    /// Number of siblings.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl<V: Clone + Ord + Debug + Hash> CausalReplica<Siblings<V>> {
    /// Puts a value as a client that has read `seen`: it replaces what the client has read. Returns the
    /// delta.
    ///
    /// # Errors
    /// [`PutError`], if the context cannot be used here, or more than `limit` siblings would be left.
    pub fn put(
        &mut self,
        seen: &ReadContext<Siblings<V>>,
        value: V,
        limit: usize,
    ) -> Result<Causal<Siblings<V>>, PutError> {
        let mut put = Ok(());
        let delta = self.change_seen(seen, |siblings| put = siblings.put(value, limit))?;
        put?;
        Ok(delta)
    }
}

impl<V: Clone + Ord + Debug + Hash> Edit<'_, Siblings<V>> {
    /// Puts a value in place of the siblings that the author has seen.
    ///
    /// # Errors
    /// [`TooManySiblings`], if more than `limit` siblings would be left. No event is minted then.
    pub fn put(&mut self, value: V, limit: usize) -> Result<(), TooManySiblings> {
        let (siblings, _, events) = self.parts();
        let unseen = siblings
            .values
            .iter()
            .filter(|(dot, _)| !events.has_seen(*dot));
        if unseen.count() >= limit {
            return Err(TooManySiblings { limit });
        }
        self.inner().replace(value);
        Ok(())
    }

    /// Removes the siblings that the author has seen.
    pub fn remove(&mut self) {
        self.inner().clear();
    }

    const fn inner(&mut self) -> Edit<'_, DotFun<V>> {
        let (siblings, delta, events) = self.parts();
        Edit::new(&mut siblings.values, &mut delta.values, events)
    }
}

impl<V> Default for Siblings<V> {
    fn default() -> Self {
        Self {
            values: DotFun::default(),
        }
    }
}

impl<V: Clone + Ord + Debug + Hash> DotStore for Siblings<V> {
    fn is_bottom(&self) -> bool {
        self.values.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.values.dots()
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.values.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.values.join(mine, &other.values, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            values: self.values.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        self.values.conflict(&other.values)
    }

    fn heap_bytes(&self) -> usize {
        self.values.heap_bytes()
    }
}

impl<V: Clone + Ord + Debug + Hash> Cell for Siblings<V> {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        !self.is_empty()
    }

    fn sibling_count(&self) -> usize {
        self.len()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.values.validate()
    }
}

impl<V: fmt::Display> fmt::Display for Siblings<V> {
    /// `{1.3: tea, 2.1: coffee}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.values, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IdentityReused, ObjectId, ReplicaId};

    const KEY: ObjectId = ObjectId(1);
    const LIMIT: usize = 3;
    type Server = CausalReplica<Siblings<u8>>;

    fn servers() -> [Server; 2] {
        [1, 2].map(|id| Server::new(KEY, ReplicaId(id)))
    }

    fn put(server: &mut Server, seen: &ReadContext<Siblings<u8>>, value: u8) {
        assert!(server.put(seen, value, LIMIT).is_ok());
    }

    fn values(server: &Server) -> Vec<u8> {
        server.values().copied().collect()
    }

    #[test]
    fn every_row_of_the_outcome_table_holds() -> Result<(), IdentityReused> {
        let [mut a, mut b] = servers();
        put(&mut a, &ReadContext::blind(KEY), 1);
        b.join(a.state())?;
        let (read, also_read) = (a.read_context(), b.read_context());
        put(&mut a, &read, 2);
        put(&mut b, &also_read, 3);
        a.join(b.state())?;
        assert_eq!(values(&a), [2, 3], "two puts");

        let read = a.read_context();
        put(&mut b, &also_read, 4);
        let removed = a.change_seen(&read, |siblings| siblings.remove());
        assert!(removed.is_ok());
        a.join(b.state())?;
        assert_eq!(values(&a), [4], "put and remove");

        put(&mut a, &ReadContext::blind(KEY), 5);
        put(&mut a, &ReadContext::blind(KEY), 6);
        assert_eq!(values(&a), [5, 6, 4], "blind puts");
        let before = a.state().clone();
        let refused = a.put(&ReadContext::blind(KEY), 7, LIMIT);
        assert_eq!(refused, Err(TooManySiblings { limit: LIMIT }.into()));
        assert_eq!(*a.state(), before, "nothing was minted");
        let read = a.read_context();
        put(&mut a, &read, 8);
        assert_eq!(values(&a), [8]);
        let next = a.state().context().last_counter(ReplicaId(1));
        assert_eq!(next, before.context().last_counter(ReplicaId(1)) + 1);
        Ok(())
    }

    #[test]
    fn a_join_may_exceed_the_limit_and_the_next_put_repairs_it() -> Result<(), IdentityReused> {
        let [mut a, mut b] = servers();
        for value in 0..3 {
            put(&mut a, &ReadContext::blind(KEY), value);
            put(&mut b, &ReadContext::blind(KEY), value);
        }
        a.join(b.state())?;
        assert_eq!(a.len(), 2 * LIMIT);
        let read = a.read_context();
        put(&mut a, &read, 9);
        assert_eq!(values(&a), [9]);
        Ok(())
    }

    #[test]
    fn a_context_from_elsewhere_or_ahead_is_refused() {
        let [mut a, mut b] = servers();
        put(&mut b, &ReadContext::blind(KEY), 1);
        let ahead = a.put(&b.read_context(), 2, LIMIT);
        assert!(matches!(
            ahead,
            Err(PutError::Context(ReadContextError::NotYetHere { .. }))
        ));
        let elsewhere = a.put(&ReadContext::blind(ObjectId(2)), 2, LIMIT);
        assert!(matches!(
            elsewhere,
            Err(PutError::Context(ReadContextError::WrongObject { .. }))
        ));
        assert!(a.is_empty() && a.state().context().is_empty());
    }

    #[test]
    fn siblings_are_checked_compared_and_shown_by_dot() {
        let of = |counter, value| Siblings {
            values: DotFun::from_iter([(Dot::new(ReplicaId(1), counter), value)]),
        };
        assert!(Siblings::<u8>::default().is_empty() && !of(1, 7).is_empty());
        assert_eq!(of(0, 7).validate(), Err(InvalidBytes::ZeroCounter));
        assert_eq!(
            of(1, 7).conflict(&of(1, 8)),
            Some(Dot::new(ReplicaId(1), 1))
        );
        assert_eq!(of(1, 7).conflict(&of(1, 7)), None);
        assert_eq!(of(1, 7).to_string(), "{1.1: 7}");
    }
}
