//! The invariants, checked against the model.

use crdt::{CausalMap, Change, Dot, DotStore as _, Knows as _, Lattice as _, Listing};
use std::collections::BTreeSet;

use crate::copy_of;
use crate::kind::{Content, Event, KEYS, Key, Kind};
use crate::world::{Site, World};

impl<K: Kind> World<K> {
    /// Joins a listing and checks that the result tells truly what changed, that the listing acts as the
    /// small map it is, and that joining it again changes nothing.
    pub(crate) fn join(
        &mut self,
        at: usize,
        listing: &Listing<Key, K::Cell>,
    ) -> Result<(), String> {
        let site = &mut self.sites[at];
        let before = site.replica.map().clone();
        let joined = site.replica.join(listing).map_err(|e| e.to_string())?;
        let after = site.replica.map();
        let small = as_map(listing);
        if before.clone().joined(&small) != *after {
            return Err(format!("{listing:?} does not act as the map {small:?}"));
        }
        if !(before <= *after && small <= *after) {
            return Err(format!("joining {listing:?} did not give an upper bound"));
        }
        let changed: Vec<Key> = KEYS
            .into_iter()
            .filter(|key| before.get(key) != after.get(key))
            .collect();
        let mut told = joined.changed.to_vec();
        told.sort_unstable_by_key(|(key, _)| *key);
        let shown = |map: &CausalMap<Key, K::Cell>, key| {
            let cell = map.get(&key);
            cell.map(|cell| visible(&K::content(cell)))
        };
        let changed: Vec<(Key, Change)> = changed
            .into_iter()
            .map(|key| (key, change(shown(&before, key), shown(after, key))))
            .collect();
        if told != changed {
            return Err(format!("told {told:?} changed, but {changed:?} did"));
        }
        if joined.knowledge_grew != (before.knowledge() != after.knowledge()) {
            return Err("knowledge_grew is not true".into());
        }
        let grown = after
            .knowledge()
            .base()
            .difference(before.knowledge().base());
        let based: BTreeSet<_> = joined.based.iter().map(|(dot, _)| *dot).collect();
        if !based.iter().all(|dot| grown.contains(*dot)) {
            return Err(format!("told {based:?} are new in the base, {grown} are"));
        }
        let by_meet: Vec<_> = grown.dots().filter(|dot| !based.contains(dot)).collect();
        self.probes.by_meet += by_meet.len();
        site.nameless.extend(by_meet);
        self.probes.exceptions += usize::from(after.knowledge().exception_count() > 0);
        let mut again = copy_of(&site.replica);
        let twice = again.join_checked(listing).map_err(|e| e.to_string())?;
        if twice.knowledge_grew || !twice.changed.is_empty() || again.map() != site.replica.map() {
            return Err(format!("joining {listing:?} again changed something"));
        }
        Ok(())
    }

    /// Checks the invariants of one replica, and I3 against all others.
    pub(crate) fn check(&self, at: usize) -> Result<(), String> {
        let site = &self.sites[at];
        let fail = |e: String| format!("{e}, at replica {at}: {:?}", site.replica);
        site.replica.check_invariants().map_err(fail)?;
        self.check_log(site).map_err(fail)?;
        for key in KEYS {
            self.check_key(site, key).map_err(fail)?;
        }
        self.check_equal_bases(site).map_err(fail)
    }

    /// I4: every event of the base is named, or was trimmed, or came by a transfer.
    fn check_log(&self, site: &Site<K>) -> Result<(), String> {
        for dot in site.replica.knowledge().base().dots() {
            let event = self.events.get(&dot).ok_or("the base names no event")?;
            match site.replica.log().key(dot) {
                Some(key) if *key != event.key => {
                    return Err(format!("I4: {dot} touched {}, named {key}", event.key));
                }
                None if !site.nameless.contains(&dot) => {
                    return Err(format!("I4: {dot} has no name"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// I1: live dots are known. I5: the visible cell is what the known events of the key resolve to.
    fn check_key(&self, site: &Site<K>, key: Key) -> Result<(), String> {
        let known = site.replica.knowledge().of_key(&key);
        let cell = site.replica.map().get(&key);
        if let Some(dot) = cell.and_then(|c| c.dots().find(|dot| !known.knows(*dot))) {
            return Err(format!("I1: {dot} is live under {key} and unknown"));
        }
        let events: Vec<&Event> = self
            .events
            .values()
            .filter(|e| e.key == key && known.knows(e.dot))
            .collect();
        let held = cell.map(K::content).unwrap_or_default();
        let want = K::resolve(&events);
        let purged = held.is_empty() && visible(&want).is_empty();
        if held != want && !purged {
            return Err(format!(
                "I5: {key} holds {held:?}, known events give {want:?}"
            ));
        }
        Ok(())
    }

    /// I3: equal bases and no exceptions imply equal visible entries.
    fn check_equal_bases(&self, site: &Site<K>) -> Result<(), String> {
        let knowledge = site.replica.knowledge();
        if knowledge.exception_count() > 0 {
            return Ok(());
        }
        for other in &self.sites {
            if other.replica.knowledge() == knowledge
                && !site
                    .replica
                    .map()
                    .visible()
                    .eq(other.replica.map().visible())
            {
                return Err(format!("I3: {:?} shows something else", other.replica));
            }
        }
        Ok(())
    }
}

/// What became of what a reader sees.
fn change(before: Option<Content>, after: Option<Content>) -> Change {
    let was_visible = before.is_some_and(|content| !content.is_empty());
    match after.unwrap_or_default().as_slice() {
        [] if was_visible => Change::Removed,
        [] => Change::Hidden,
        [_] if was_visible => Change::Overwritten,
        [_] => Change::Added,
        _ => Change::Conflicting,
    }
}

/// What a reader sees of a cell.
pub(crate) fn visible(content: &Content) -> Content {
    let entries = content.iter().copied();
    entries.filter(|(_, _, value)| value.is_some()).collect()
}

/// A listing is a small state of the same lattice: this is it.
pub(crate) fn as_map<C: crdt::Cell>(listing: &Listing<Key, C>) -> CausalMap<Key, C> {
    let mut map = CausalMap::default();
    map.join_listing(listing);
    map
}

/// The law of delta mutators. A cell that proves itself is listed with its live dot covered, even where
/// the writer itself knows that dot of some keys only: then the delta says more than the full state, but
/// of nothing that is live.
pub(crate) fn check_delta<C: crdt::Cell>(
    before: &CausalMap<Key, C>,
    after: &CausalMap<Key, C>,
    delta: &CausalMap<Key, C>,
) -> Result<(), String> {
    if delta <= after {
        return crdt::laws::check_delta(before, after, delta).map_err(|e| e.to_string());
    }
    let joined = before.clone().joined(delta);
    let more = joined
        .knowledge()
        .base()
        .difference(after.knowledge().base());
    let live: BTreeSet<Dot> = delta.entries().flat_map(|(_, cell)| cell.dots()).collect();
    match joined.entries().eq(after.entries()) && more.dots().all(|dot| live.contains(&dot)) {
        true => Ok(()),
        false => Err(format!(
            "a delta brings something else: {before:?} {delta:?} {after:?}"
        )),
    }
}
