//! The listings of an answer on the wire: in runs, so that most entries travel as key and cell alone.
//!
//! Nearly every listing of an answer says of one key that its live events, and no others, are newly covered,
//! and nothing that its cell does not prove. A run of these names the form once.

use bytes::Bytes;
use crdt::{Cell, Claim, KeyListing, Listing};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::StoreListing;

/// Listings that follow each other and have one form.
#[derive(Serialize, Deserialize)]
enum Run<E, L> {
    /// Cells that prove themselves, each with its key; their live events are what is covered.
    Entries(Vec<E>),
    /// Any others.
    Listings(Vec<L>),
}

/// The key and the cell of a listing that says nothing else.
fn as_entry<C: Cell>(listing: &StoreListing<C>) -> Option<(&Bytes, &C)> {
    let Listing::Key(listing) = listing else {
        return None;
    };
    let covers_live = listing.covered().iter().copied().eq(listing.cell().dots());
    let is_entry = *listing.claim() == Claim::Itself && covers_live;
    is_entry.then(|| (listing.key(), listing.cell()))
}

pub(super) fn serialize<C, S>(
    listings: &[StoreListing<C>],
    serializer: S,
) -> Result<S::Ok, S::Error>
where
    C: Cell + Serialize,
    S: Serializer,
{
    let mut runs: Vec<Run<(&Bytes, &C), &StoreListing<C>>> = Vec::new();
    for listing in listings {
        match (as_entry(listing), runs.last_mut()) {
            (Some(entry), Some(Run::Entries(run))) => run.push(entry),
            (Some(entry), _) => runs.push(Run::Entries(vec![entry])),
            (None, Some(Run::Listings(run))) => run.push(listing),
            (None, _) => runs.push(Run::Listings(vec![listing])),
        }
    }
    runs.serialize(serializer)
}

pub(super) fn deserialize<'de, C, D>(deserializer: D) -> Result<Vec<StoreListing<C>>, D::Error>
where
    C: Cell + Deserialize<'de>,
    D: Deserializer<'de>,
{
    let runs: Vec<Run<(Bytes, C), StoreListing<C>>> = Deserialize::deserialize(deserializer)?;
    let mut listings = Vec::new();
    for run in runs {
        match run {
            Run::Listings(run) => listings.extend(run),
            Run::Entries(run) => {
                for (key, cell) in run {
                    let live: Vec<_> = cell.dots().collect();
                    let listing = KeyListing::new(key, cell, Claim::Itself, live);
                    listings.push(Listing::Key(listing.map_err(D::Error::custom)?));
                }
            }
        }
    }
    Ok(listings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{Dot, Interval, LwwCell, MvCell, ReplicaId, Timestamp};
    use std::sync::Arc;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(bound = "C: Cell + Serialize + serde::de::DeserializeOwned")]
    struct Answer<C: Cell>(#[serde(with = "super")] Vec<StoreListing<C>>);

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId(1 << 40), counter)
    }

    fn listing(counter: u64, covered: &[u64]) -> StoreListing {
        let key = Bytes::from(format!("key {counter}"));
        let cell = LwwCell::entry(dot(counter), Timestamp(counter), Some(key.clone()));
        let covered = covered.iter().map(|c| dot(*c));
        Listing::Key(KeyListing::new(key, cell, Claim::Itself, covered).expect("valid"))
    }

    #[test]
    fn listings_of_all_forms_come_back_in_order() {
        let known = Arc::new((1..=9).map(dot).collect());
        let everything = crdt::IntervalListing::new(Interval::all(), Vec::new(), known);
        let answer = Answer(vec![
            listing(1, &[1]),
            listing(2, &[2]),
            listing(3, &[]),
            listing(4, &[3, 4]),
            Listing::Interval(everything.expect("valid")),
            listing(5, &[5]),
        ]);
        let bytes = postcard::to_stdvec(&answer).expect("listings serialise");
        assert_eq!(postcard::from_bytes::<Answer<_>>(&bytes), Ok(answer));
    }

    #[test]
    fn an_entry_costs_its_key_and_its_cell() {
        let listings: Vec<StoreListing> = (1..=100).map(|n| listing(n, &[n])).collect();
        let entries: Vec<_> = listings.iter().filter_map(as_entry).collect();
        let bare = postcard::to_stdvec(&entries).expect("entries serialise");
        let answer = postcard::to_stdvec(&Answer(listings.clone())).expect("listings serialise");
        assert_eq!(answer.len(), bare.len() + 2, "one number of runs, one form");
    }

    #[test]
    fn cells_that_prove_nothing_are_refused_as_entries() {
        let mut cell = MvCell::default();
        cell.write(dot(1), Bytes::from("a"));
        let entries: Vec<Run<_, ()>> = vec![Run::Entries(vec![(Bytes::from("key"), cell)])];
        let bytes = postcard::to_stdvec(&entries).expect("entries serialise");
        assert!(postcard::from_bytes::<Answer<MvCell<Bytes>>>(&bytes).is_err());
        let zero: Vec<Run<_, ()>> = vec![Run::Entries(vec![(
            Bytes::from("key"),
            LwwCell::entry(dot(0), Timestamp(1), Some(Bytes::new())),
        )])];
        let bytes = postcard::to_stdvec(&zero).expect("entries serialise");
        assert!(postcard::from_bytes::<Answer<LwwCell<Bytes>>>(&bytes).is_err());
    }
}
