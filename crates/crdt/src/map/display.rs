//! How maps and what belongs to them read in logs.

use core::fmt::{self, Debug, Display};
use core::hash::Hash;

use crate::map::causal_map::CausalMap;
use crate::map::closed::Closed;
use crate::map::cut::{Cut, Interval};
use crate::map::listing::{Claim, IntervalListing, KeyListing, Listing};
use crate::map::map_replica::MapReplica;
use crate::map::stability::{OwnerView, Promise, Promises};
use crate::{Cell, LwwCell, text};

/// Writes `{a: 1, b: 2}`.
fn entries<K: Display, V: Display>(
    f: &mut fmt::Formatter<'_>,
    entries: impl Iterator<Item = (K, V)>,
) -> fmt::Result {
    f.write_str("{")?;
    for (i, (key, value)) in entries.enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{key}: {value}")?;
    }
    f.write_str("}")
}

impl<V: Display> Display for LwwCell<V> {
    /// `tea@5`, `deleted@5`, or `absent`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.live().map(|live| (&live.value, live.timestamp)) {
            None => f.write_str("absent"),
            Some((None, time)) => write!(f, "deleted{time}"),
            Some((Some(value), time)) => write!(f, "{value}{time}"),
        }
    }
}

impl<K: Ord + Clone + Debug + Display + Hash, C: Cell + Display> Display for CausalMap<K, C> {
    /// `{drink: {1.1: tea, 2.1: coffee}} <1:1, 2:1>`: the cells, tombstones included, and what is
    /// known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        entries(f, self.entries())?;
        write!(f, " {}", self.knowledge())
    }
}

impl<K: Ord + Hash + Clone + Debug + Display, C: Cell + Display> Display for MapReplica<K, C> {
    /// `2: {drink: {1.1: tea}} <1:1>`: who writes, and the map.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.id(), self.map())
    }
}

impl Display for Closed {
    /// `{7} leaving <7:3>`: the writers, and their events that are left.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::list(f, "{", self.writers(), "}")?;
        write!(f, " leaving {}", self.left())
    }
}

impl<K: Ord + Display> Display for Interval<K> {
    /// `[a, b)`: brackets include a key, parentheses do not; `..` is an end of the key space.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start() {
            Cut::BelowAll | Cut::AboveAll => f.write_str("(..")?,
            Cut::Before(key) => write!(f, "[{key}")?,
            Cut::After(key) => write!(f, "({key}")?,
        }
        match self.end() {
            Cut::BelowAll | Cut::AboveAll => f.write_str(", ..)"),
            Cut::Before(key) => write!(f, ", {key})"),
            Cut::After(key) => write!(f, ", {key}]"),
        }
    }
}

impl<K: Display, C: Cell + Display> Display for KeyListing<K, C> {
    /// `drink: {1.1: tea} knowing <1:1>, covering 1.1`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key(), self.cell())?;
        if let Claim::Context(known) = self.claim() {
            write!(f, " knowing {known}")?;
        }
        for (i, dot) in self.covered().iter().enumerate() {
            let before = if i == 0 { ", covering" } else { "," };
            write!(f, "{before} {dot}")?;
        }
        Ok(())
    }
}

impl<K: Ord + Display, C: Cell + Display> Display for IntervalListing<K, C> {
    /// `[a, b): {a: {1.1: tea}} knowing <1:1>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.interval())?;
        entries(f, self.cells().iter().map(|(key, cell)| (key, cell)))?;
        write!(f, " knowing {}", self.known())
    }
}

impl<K: Ord + Display, C: Cell + Display> Display for Listing<K, C> {
    /// That of the listing of a key, or of an interval.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(listing) => Display::fmt(listing, f),
            Self::Interval(listing) => Display::fmt(listing, f),
        }
    }
}

impl Display for OwnerView {
    /// `{0: 1 < 11, 1: 5}`: the incarnations at each position, the current one last.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        let mut before = None;
        for (position, replica) in self.incarnations() {
            match before {
                Some(same) if same == position => write!(f, " < {replica}")?,
                Some(_) => write!(f, ", {position}: {replica}")?,
                None => write!(f, "{position}: {replica}")?,
            }
            before = Some(position);
        }
        f.write_str("}")
    }
}

impl Display for Promise {
    /// `above @300 after 2`: all events after the second have timestamps above 300.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "above {} after {}", self.time, self.counter)
    }
}

impl Display for Promises {
    /// `{11: above @300 after 2}`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        entries(f, self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Budget, IdentityReused, LwwEntry, MapReplica, MvCell, ReplicaId, Timestamp};

    #[test]
    fn maps_and_listings_read_well() -> Result<(), IdentityReused> {
        let mut a = MapReplica::<&str, MvCell<&str>>::new(ReplicaId(1));
        let mut b = MapReplica::<&str, MvCell<&str>>::new(ReplicaId(2));
        let tea = a.write("drink", |cell, dot| cell.write(dot, "tea"));
        let _lost = b.write("drink", |cell, dot| cell.write(dot, "milk"));
        let coffee = b.write("drink", |cell, dot| cell.write(dot, "coffee"));
        assert_eq!(
            coffee.listing.to_string(),
            "drink: {2.2: coffee} knowing <2:2>, covering 2.2"
        );
        a.join(&coffee.listing)?;
        let map = "{drink: {1.1: tea, 2.2: coffee}} <1:1, 2:0+2> and 1 exception";
        assert_eq!(a.map().to_string(), map);
        b.join(&tea.listing)?;
        let map = "{drink: {1.1: tea, 2.2: coffee}} <1:1, 2:2>";
        assert_eq!(b.map().to_string(), map);
        assert_eq!(b.to_string(), format!("2: {map}"));
        let budget = Budget {
            events: 9,
            bytes: 9,
        };
        let chunk = a.transfer_chunk(&Cut::BelowAll, budget, |_, _| 1);
        let listings: Vec<String> = chunk.listings.iter().map(Listing::to_string).collect();
        assert_eq!(
            listings,
            [
                "(.., drink): {} knowing <1:1, 2:0+2>",
                "[drink, drink]: {drink: {1.1: tea, 2.2: coffee}} knowing <1:1, 2:2>",
                "(drink, ..): {} knowing <1:1, 2:0+2>",
            ]
        );
        Ok(())
    }

    #[test]
    fn closed_writers_read_well() -> Result<(), IdentityReused> {
        let mut replica = MapReplica::<&str, MvCell<&str>>::new(ReplicaId(1));
        assert_eq!(replica.closed().to_string(), "{} leaving <>");
        let mut dead = MapReplica::<&str, MvCell<&str>>::new(ReplicaId(7));
        replica.join(&dead.write("x", |cell, dot| cell.write(dot, "y")).listing)?;
        replica.close(ReplicaId(7));
        assert_eq!(replica.closed().to_string(), "{7} leaving <7:1>");
        Ok(())
    }

    #[test]
    fn cells_with_times_read_well() {
        let mut a = MapReplica::<&str, LwwCell<u8>>::new(ReplicaId(1));
        let mut write = |key, time, value| {
            let timestamp = Timestamp(time);
            a.write(key, |cell: &mut LwwCell<u8>, dot| {
                cell.write(LwwEntry {
                    dot,
                    timestamp,
                    value,
                });
            })
        };
        let first = write("x", 5, Some(7));
        assert_eq!(first.listing.to_string(), "x: 7@5, covering 1.1");
        let _second = write("y", 6, None);
        assert_eq!(a.map().to_string(), "{x: 7@5, y: deleted@6} <1:2>");
        assert_eq!(LwwCell::<u8>::default().to_string(), "absent");
    }

    #[test]
    fn views_and_promises_read_well() {
        let (mut view, mut promises) = (OwnerView::default(), Promises::default());
        assert_eq!(
            (view.to_string(), promises.to_string()),
            ("{}".into(), "{}".into())
        );
        for (position, replica) in [(0, 1), (0, 11), (1, 5)] {
            view.record(position, ReplicaId(replica));
        }
        assert_eq!(view.to_string(), "{0: 1 < 11, 1: 5}");
        let (time, counter) = (Timestamp(300), 2);
        promises.record(ReplicaId(11), Promise { time, counter });
        assert_eq!(promises.to_string(), "{11: above @300 after 2}");
    }
}
