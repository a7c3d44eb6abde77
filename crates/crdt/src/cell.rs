//! What one key of a [`CausalMap`](crate::CausalMap) can hold.

mod lww;
mod multi_value;

pub use lww::{LwwCell, LwwEntry};
pub use multi_value::MvCell;

use crate::{DotStore, InvalidBytes, Timestamp};

/// A [`DotStore`] that is the whole content of one key.
pub trait Cell: DotStore {
    /// Whether a non-bottom cell proves by itself which other events of its key are obsolete, because
    /// its order on events is total. A listing of such a cell need not carry the sender's knowledge.
    const PROVES_ITSELF: bool;

    /// Whether a reader sees anything: false for bottom and for a tombstone.
    fn is_visible(&self) -> bool;

    /// Number of values that a reader sees side by side: more than one is a conflict.
    fn sibling_count(&self) -> usize {
        usize::from(self.is_visible())
    }

    /// The time of the tombstone, if the cell is nothing but one.
    fn tombstone(&self) -> Option<Timestamp>;

    /// Checks what decoding cannot see of itself.
    ///
    /// # Errors
    /// The invariant that does not hold.
    fn validate(&self) -> Result<(), InvalidBytes>;
}

#[cfg(test)]
mod tests {
    use core::hash::Hasher as _;
    use std::hash::DefaultHasher;

    use super::*;
    use crate::causal::RemoveWins;
    use crate::{
        AddWinsSet, CausalReplica, DisableWinsFlag, Dot, DotFun, DotMap, DotSet, Edit,
        EnableWinsFlag, ObjectId, RemoveWinsSet, ReplicaId, ResettableCounter, Siblings,
    };

    fn dot(replica: u64, counter: u64) -> Dot {
        Dot::new(ReplicaId(replica), counter)
    }

    fn of<S: FromIterator<Dot>>(dots: impl IntoIterator<Item = Dot>) -> S {
        dots.into_iter().collect()
    }

    fn edited<S: DotStore>(change: impl FnOnce(&mut Edit<'_, S>)) -> S {
        let mut replica = CausalReplica::<S>::new(ObjectId(1), ReplicaId(1));
        let _delta = replica.change(change);
        replica.state().store().clone()
    }

    /// What holds of a cell that is no tombstone, and of bottom.
    fn check<C: Cell>(cell: &C, is_visible: bool) {
        let bottom = C::default();
        assert_eq!(
            (bottom.is_visible(), cell.is_visible()),
            (false, is_visible)
        );
        assert_eq!((bottom.sibling_count(), bottom.tombstone()), (0, None));
        assert_eq!(
            (cell.sibling_count() > 0, cell.tombstone()),
            (is_visible, None)
        );
        assert_eq!((bottom.validate(), cell.validate()), (Ok(()), Ok(())));
        assert!(cell.dots().count() > 0);
        for live in cell.dots() {
            assert!(cell.is_live(live) && !bottom.is_live(live), "{cell:?}");
            for other in [dot(0, live.counter), dot(9, live.counter), dot(1, 100)] {
                assert!(!cell.is_live(other), "{cell:?}");
            }
        }
        let hash = |cell: &C| {
            let mut state = DefaultHasher::new();
            cell.hash(&mut state);
            state.finish()
        };
        assert_ne!(hash(cell), hash(&bottom), "{cell:?}");
        assert_ne!(format!("{cell:?}"), format!("{bottom:?}"));
    }

    #[test]
    fn every_store_is_a_cell_that_shows_what_its_readers_see() {
        check(&of::<DotSet>([dot(1, 1), dot(2, 1)]), true);
        check(&DotFun::from_iter([(dot(1, 1), 'a')]), true);
        check(
            &DotMap::from_ascending([(7, of::<DotSet>([dot(1, 1)]))]),
            true,
        );
        check(&(of::<DotSet>([dot(1, 1)]), DotSet::default()), true);
        check(&(DotSet::default(), of::<DotSet>([dot(1, 1)])), true);
        check(&edited::<MvCell<u8>>(|cell| cell.set(7)), true);
        check(
            &edited::<Siblings<u8>>(|s| s.put(7, 1).expect("room for one")),
            true,
        );
        check(&edited::<EnableWinsFlag>(|flag| flag.enable()), true);
        check(&edited::<DisableWinsFlag>(|flag| flag.enable()), true);
        check(&edited::<DisableWinsFlag>(|flag| flag.disable()), false);
        check(&edited::<RemoveWins>(|marks| marks.add()), true);
        check(&edited::<RemoveWins>(|marks| marks.remove()), false);
        check(&edited::<AddWinsSet<u8>>(|set| set.add(7)), true);
        check(&edited::<RemoveWinsSet<u8>>(|set| set.add(7)), true);
        check(&edited::<RemoveWinsSet<u8>>(|set| set.remove(7)), false);
        check(&edited::<ResettableCounter>(|counter| counter.add(5)), true);
        check(&LwwCell::entry(dot(1, 1), Timestamp(1), Some('a')), true);
    }

    #[test]
    fn a_cell_with_a_counter_zero_is_not_valid() {
        let (zero, one) = (of::<DotSet>([dot(1, 0)]), of::<DotSet>([dot(1, 1)]));
        let refused = Err(InvalidBytes::ZeroCounter);
        assert_eq!(zero.validate(), refused);
        assert_eq!(DotFun::from_iter([(dot(1, 0), 'a')]).validate(), refused);
        let siblings = DotFun::from_iter([(dot(1, 0), 'a')]);
        assert_eq!(Cell::validate(&siblings), refused);
        assert_eq!((zero.clone(), one.clone()).validate(), refused);
        assert_eq!((one, zero.clone()).validate(), refused);
        assert_eq!(DotMap::from_ascending([(7, zero)]).validate(), refused);
        let mut cell = MvCell::default();
        cell.write(dot(1, 0), 'a');
        assert_eq!(cell.validate(), refused);
        assert_eq!(
            LwwCell::entry(dot(1, 0), Timestamp(1), Some('a')).validate(),
            refused
        );
    }
}
