//! Joining two maps in one ordered pass over both.

use core::fmt::Debug;
use core::hash::Hash;

use super::DotMap;
use crate::causal::dot_store::live_digest;
use crate::sorted_map::{Fresh, Met, Policy};
use crate::{DotStore, Knows};

impl<K: Ord + Clone + Debug + Hash, S: DotStore> DotMap<K, S> {
    /// Joins every key of both sides, and tells of each that changes as
    /// [`join_telling`](Self::join_telling) does.
    pub(super) fn join_all(
        &mut self,
        mine: &impl Knows,
        other: &Self,
        theirs: &impl Knows,
        tell: impl FnMut(&K, bool, Option<&S>),
    ) {
        let contexts = mine.as_context().zip(theirs.as_context());
        let is_disjoint = contexts.is_some_and(|(mine, theirs)| !mine.intersects(theirs));
        let news = if is_disjoint { other.live_digest } else { 0 };
        let mut join = Join {
            mine,
            theirs,
            is_disjoint,
            digest: self.live_digest.wrapping_add(news),
            tell,
        };
        self.entries.merge_with(&other.entries, &mut join);
        self.live_digest = join.digest;
    }
}

/// What a join does with each key.
struct Join<'a, M, T, F> {
    mine: &'a M,
    theirs: &'a T,
    /// Neither side has seen any event of the other, so all that is live on either side stays.
    is_disjoint: bool,
    /// The digest of what is live. If the sides are disjoint, that of the other side is in it from the
    /// start, and leaves it for each key that both hold.
    digest: u128,
    tell: F,
}

impl<M: Knows, T: Knows, F> Join<'_, M, T, F> {
    fn lacks_all(&self, theirs: &impl DotStore) -> bool {
        self.is_disjoint || !theirs.dot_ranges().any(|live| self.mine.knows_any(live))
    }
}

impl<K, S, M, T, F> Policy<K, S> for Join<'_, M, T, F>
where
    S: DotStore,
    M: Knows,
    T: Knows,
    F: FnMut(&K, bool, Option<&S>),
{
    #[inline]
    fn looks_at_own(&self) -> bool {
        !self.is_disjoint
    }

    #[inline]
    fn differs(&self, mine: &S, theirs: Option<&S>) -> bool {
        match theirs {
            Some(theirs) => mine != theirs,
            None => mine.dot_ranges().any(|live| self.theirs.knows_any(live)),
        }
    }

    fn meet(&mut self, key: &K, mine: &mut S, theirs: Option<&S>) -> Met {
        let before = live_digest(mine);
        let changed = match theirs {
            Some(theirs) => mine.join(self.mine, theirs, self.theirs),
            None => mine.join(self.mine, &S::default(), self.theirs),
        };
        let counted = theirs.filter(|_| self.is_disjoint).map_or(0, live_digest);
        self.digest = self.digest.wrapping_sub(counted);
        if !changed {
            return Met::Stays;
        }
        let emptied = mine.is_bottom();
        let others = self.digest.wrapping_sub(before);
        self.digest = others.wrapping_add(live_digest(mine));
        (self.tell)(key, true, (!emptied).then_some(&*mine));
        if emptied { Met::Gone } else { Met::Changed }
    }

    #[inline]
    fn takes_whole(&self, theirs: &S) -> bool {
        self.lacks_all(theirs)
    }

    #[inline]
    fn fresh(&mut self, key: &K, theirs: &S) -> Fresh<S> {
        if self.lacks_all(theirs) {
            if !self.is_disjoint {
                self.digest = self.digest.wrapping_add(live_digest(theirs));
            }
            (self.tell)(key, false, Some(theirs));
            return Fresh::Whole;
        }
        let news = theirs.unknown_to(self.mine);
        if news.is_bottom() {
            return Fresh::Nothing;
        }
        self.digest = self.digest.wrapping_add(live_digest(&news));
        (self.tell)(key, false, Some(&news));
        Fresh::Part(news)
    }
}
