//! What a replica of a map tells others of one key.

use alloc::sync::Arc;
use core::fmt::Debug;
use core::hash::Hash;

use crate::map::knowledge::Known;
use crate::map::listing::{Claim, KeyListing, Listing};
use crate::map::map_replica::MapReplica;
use crate::{CausalContext, Cell, Dot};

impl<K: Ord + Clone + Debug + Hash, C: Cell> MapReplica<K, C> {
    /// The listing of one key as it stands, for read repair and write-back.
    pub fn list_key(&self, key: K) -> Listing<K, C> {
        self.listing(key, [], |known| Arc::new(self.events_of(known)))
    }

    /// The listing of one key with all that is known of it, even where the cell would speak for itself:
    /// what a reader needs that asks what this replica has seen, not only what it shows.
    pub fn list_known(&self, key: K) -> Listing<K, C> {
        let cell = self.map.get(&key).cloned().unwrap_or_default();
        let claim = Claim::Context(Arc::new(self.events_of_key(&key)));
        let listing = KeyListing::new(key, cell, claim, []);
        Listing::Key(listing.expect("a listing of a valid map is valid"))
    }

    /// The listing of one key as it stands, which also tells of an event of that key known here: for a
    /// write whose first listing may have been lost.
    ///
    /// # Panics
    /// If the event is not known for the key.
    pub fn list_written(&self, key: K, dot: Dot) -> Listing<K, C> {
        self.listing(key, [dot], |known| Arc::new(self.events_of(known)))
    }

    /// The listing of one key; `claim` builds the context where the cell does not prove itself.
    fn listing(
        &self,
        key: K,
        covered: impl IntoIterator<Item = Dot>,
        claim: impl FnOnce(Known<'_>) -> Arc<CausalContext>,
    ) -> Listing<K, C> {
        let cell = self.map.get(&key).cloned().unwrap_or_default();
        self.list(key, cell, covered, claim)
    }

    /// The listing of one key that holds `cell`.
    pub(super) fn list(
        &self,
        key: K,
        cell: C,
        covered: impl IntoIterator<Item = Dot>,
        claim: impl FnOnce(Known<'_>) -> Arc<CausalContext>,
    ) -> Listing<K, C> {
        let claim = match C::PROVES_ITSELF && !cell.is_bottom() {
            true => Claim::Itself,
            false => Claim::Context(claim(self.knowledge().of_key(&key))),
        };
        let listing = KeyListing::new(key, cell, claim, covered);
        Listing::Key(listing.expect("a listing of a valid map is valid"))
    }
}
