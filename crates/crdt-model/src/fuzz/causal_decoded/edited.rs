//! How authors change the stores, and what readers see of them.

use crdt::{
    AddWinsSet, CausalContext, Cell, DisableWinsFlag, Dot, DotFun, DotSet, DotStore as _, Edit,
    EnableWinsFlag, LwwCell, MvCell, OrMap, RemoveWinsSet, ResettableCounter, Siblings, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

/// Keys or elements of a change of many: more than any index or chunk starts from.
const MANY: usize = 90;
/// The most siblings that a put may leave.
const SIBLINGS: usize = 3;

/// A store that authors change and readers ask.
pub(super) trait Edited: Cell {
    /// What a reader sees.
    type Shown: PartialEq + Debug;

    /// Makes one change.
    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8);

    /// What a reader sees, after checking that all ways of asking agree.
    fn shown(&self) -> Self::Shown;
}

/// Many keys or elements, from `which` on, with gaps or without.
fn many(which: u8) -> impl Iterator<Item = u8> {
    let gap = 1 + usize::from(which % 2);
    (which..=u8::MAX).step_by(gap).take(MANY)
}

/// What is there, and some of what may not be.
fn asked(there: &BTreeSet<u8>) -> impl Iterator<Item = u8> {
    let others = (0..=u8::MAX).step_by(13);
    there.iter().copied().chain(others)
}

impl Edited for AddWinsSet<u8> {
    type Shown = BTreeSet<u8>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 8 {
            0..=2 => edit.add(which),
            3 | 4 => edit.remove(&which),
            5 => edit.extend(many(which)),
            6 => many(which).for_each(|element| edit.remove(&element)),
            _ => edit.clear(),
        }
    }

    fn shown(&self) -> BTreeSet<u8> {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        let counted = (self.iter().count(), self.len(), self.is_empty());
        let expected = (elements.len(), elements.len(), elements.is_empty());
        assert_eq!(counted, expected, "{self:?}");
        for element in asked(&elements) {
            let is_shown = elements.contains(&element);
            assert_eq!(self.contains(&element), is_shown, "{element} {self:?}");
        }
        elements
    }
}

impl Edited for RemoveWinsSet<u8> {
    type Shown = BTreeSet<u8>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 8 {
            0..=2 => edit.add(which),
            3 | 4 => edit.remove(which),
            5 => edit.extend(many(which)),
            6 => many(which).for_each(|element| edit.remove(element)),
            _ => edit.clear(),
        }
    }

    fn shown(&self) -> BTreeSet<u8> {
        let elements: BTreeSet<u8> = self.iter().copied().collect();
        assert_eq!(self.len(), elements.len(), "{self:?}");
        assert_eq!(self.is_empty(), elements.is_empty(), "{self:?}");
        // A present element and a removed one hold an event each, at least.
        let events = self.dots().count();
        assert!(self.len() + self.tombstone_count() <= events, "{self:?}");
        for element in asked(&elements) {
            let is_shown = elements.contains(&element);
            assert_eq!(self.contains(&element), is_shown, "{element} {self:?}");
        }
        elements
    }
}

impl Edited for EnableWinsFlag {
    type Shown = bool;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, _: u8) {
        match what % 2 {
            0 => edit.enable(),
            _ => edit.disable(),
        }
    }

    fn shown(&self) -> bool {
        self.is_enabled()
    }
}

impl Edited for DisableWinsFlag {
    type Shown = bool;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, _: u8) {
        match what % 2 {
            0 => edit.enable(),
            _ => edit.disable(),
        }
    }

    fn shown(&self) -> bool {
        self.is_enabled()
    }
}

impl Edited for ResettableCounter {
    type Shown = i128;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 4 {
            0 | 1 => edit.add(i64::from(which.cast_signed())),
            2 => edit.add(i64::MAX >> (which % 64)),
            _ => edit.reset(),
        }
    }

    fn shown(&self) -> i128 {
        self.value()
    }
}

impl Edited for MvCell<u8> {
    type Shown = Vec<u8>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 4 {
            0..=2 => edit.set(which),
            _ => edit.unset(),
        }
    }

    fn shown(&self) -> Vec<u8> {
        let siblings: BTreeMap<Dot, u8> =
            self.siblings().map(|(dot, value)| (dot, *value)).collect();
        assert_eq!(self.sibling_count(), siblings.len(), "{self:?}");
        let values: Vec<u8> = self.values().copied().collect();
        assert!(
            siblings.into_values().eq(values.iter().copied()),
            "{self:?}"
        );
        values
    }
}

impl Edited for LwwCell<u8> {
    type Shown = Option<(Timestamp, Option<u8>)>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        let (time, value) = (
            Timestamp(u64::from(what / 2)),
            what.is_multiple_of(2).then_some(which),
        );
        let before = edit.live().cloned();
        let wins = edit.write(time, value);
        assert_eq!(
            wins,
            edit.live() != before.as_ref(),
            "{before:?} {time} {value:?}"
        );
    }

    fn shown(&self) -> Option<(Timestamp, Option<u8>)> {
        let entry = self.live()?;
        let shown = (entry.timestamp, entry.value);
        assert_eq!(self.timestamp(), Some(shown.0));
        assert_eq!(self.value().copied(), shown.1);
        assert_eq!(self.tombstone(), shown.1.is_none().then_some(shown.0));
        Some(shown)
    }
}

impl Edited for Siblings<u8> {
    type Shown = Vec<u8>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        if what % 4 == 3 {
            edit.remove();
            return;
        }
        let before = edit.values().count();
        match edit.put(which, SIBLINGS) {
            Ok(()) => assert!(edit.len() <= SIBLINGS.max(before), "over the limit"),
            Err(_) => assert_eq!(edit.len(), before, "refused, yet changed"),
        }
    }

    fn shown(&self) -> Vec<u8> {
        let values: Vec<u8> = self.values().copied().collect();
        assert!(
            self.iter()
                .map(|(_, value)| *value)
                .eq(values.iter().copied())
        );
        assert_eq!(
            (self.len(), self.is_empty()),
            (values.len(), values.is_empty())
        );
        values
    }
}

impl Edited for DotSet {
    type Shown = usize;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, _: u8) {
        match what % 2 {
            0 => edit.replace(),
            _ => edit.clear(),
        }
    }

    fn shown(&self) -> usize {
        let live = self.dots().count();
        assert_eq!((self.len(), self.is_empty()), (live, live == 0));
        live
    }
}

impl Edited for DotFun<u8> {
    type Shown = Vec<u8>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 4 {
            0 => edit.replace(which),
            1 | 2 => edit.add(which),
            _ => edit.clear(),
        }
    }

    fn shown(&self) -> Vec<u8> {
        for (dot, value) in self.iter() {
            assert_eq!(self.value(dot), Some(value), "{dot} {self:?}");
        }
        let values: Vec<u8> = self.values().copied().collect();
        let counted = (self.len(), self.is_empty());
        assert_eq!(counted, (values.len(), values.is_empty()));
        values
    }
}

impl<A: Edited, B: Edited> Edited for (A, B) {
    type Shown = (A::Shown, B::Shown);

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        match what % 2 {
            0 => A::edit(&mut edit.first(), what / 2, which),
            _ => B::edit(&mut edit.second(), what / 2, which),
        }
    }

    fn shown(&self) -> Self::Shown {
        (self.0.shown(), self.1.shown())
    }
}

/// The low bits of `what` say what happens to the map, and the high bits what to a value.
impl<S: Edited> Edited for OrMap<u8, S> {
    type Shown = BTreeMap<u8, S::Shown>;

    fn edit(edit: &mut Edit<'_, Self>, what: u8, which: u8) {
        let inner = what.rotate_right(3);
        match what % 8 {
            0 | 1 => edit.update(which, |value| S::edit(value, inner, which)),
            2 => edit.update(which % 8, |value| S::edit(value, inner, which / 8)),
            3 | 4 => edit.remove(&which),
            // Not many under each of many.
            5 => edit.extend(many(which).map(|key| (key, key)), |value, key| {
                S::edit(value, inner % 4, key);
            }),
            6 => many(which).for_each(|key| edit.remove(&key)),
            _ => edit.clear(),
        }
    }

    /// A key whose value shows nothing is left out: a purge may take it.
    fn shown(&self) -> Self::Shown {
        let keys: BTreeSet<u8> = self.keys().copied().collect();
        assert_eq!((self.len(), self.is_empty()), (keys.len(), keys.is_empty()));
        assert!(self.iter().map(|(key, _)| *key).eq(keys.iter().copied()));
        for key in asked(&keys) {
            assert_eq!(
                self.contains_key(&key),
                keys.contains(&key),
                "{key}: {self:?}"
            );
        }
        let first = keys.first().copied().unwrap_or_default();
        let behind = self.range(first..).zip(self.range(..=u8::MAX));
        let is_same = |((a, x), (b, y)): ((&u8, &S), (&u8, &S))| a == b && x == y;
        assert_eq!(behind.filter(|pair| is_same(*pair)).count(), keys.len());
        let visible = self.iter().filter(|(_, value)| value.is_visible());
        let visible = visible.map(|(key, value)| {
            assert_eq!(self.get(key), Some(value), "{key}: {self:?}");
            (*key, value.shown())
        });
        visible.collect()
    }
}

/// What is true of every store on its own. Looks at the first events of each run only, as a run may
/// be longer than can be counted.
pub(super) fn sound<S: Edited>(store: &S) {
    assert_eq!(store.validate(), Ok(()), "{store:?}");
    assert_eq!(
        store.is_bottom(),
        store.dot_ranges().next().is_none(),
        "{store:?}"
    );
    assert!(!(store.is_bottom() && store.is_visible()), "{store:?}");
    assert!(
        store.tombstone().is_none() || !store.is_visible(),
        "{store:?}"
    );
    let live: CausalContext = store.dot_ranges().collect();
    for range in store.dot_ranges().take(8) {
        for counter in [range.first, range.last] {
            assert!(store.is_live(Dot::new(range.replica, counter)), "{store:?}");
        }
        let next = Dot::new(range.replica, range.last.saturating_add(1));
        assert_eq!(
            store.is_live(next),
            live.contains(next),
            "{next}: {store:?}"
        );
    }
}
