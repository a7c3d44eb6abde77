//! How do I store values that merge by themselves: carts, counters, tags, in one document?
//!
//! A value is any causal type of the `crdt` crate. What clients may do to it is an enum of yours. Both
//! sides of a cut network go on editing; when it is mended, every edit is there.
//!
//! ```text
//! cargo run -p replica --example documents
//! ```

use crdt::{AddWinsSet, Edit, OrMap, ResettableCounter};
use replica::{CausalValue, CausalWrite, Cluster, Command, Level, NodeId, Request, RequestError};
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::time::Duration;

/// A shopping list: quantities that add up, by shop and product, and tags.
type List = (
    OrMap<String, OrMap<String, ResettableCounter>>,
    AddWinsSet<String>,
);

/// What clients may do to a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
enum Change {
    Buy(String, String, i64),
    Drop(String, String),
    Tag(String),
    Untag(String),
}

impl CausalWrite for Change {
    type Store = List;

    fn apply(&self, list: &mut Edit<'_, List>) -> bool {
        match self {
            Self::Buy(shop, product, more) => list.first().update(shop.clone(), |products| {
                products.update(product.clone(), |quantity| quantity.add(*more));
            }),
            Self::Drop(shop, product) => list
                .first()
                .update(shop.clone(), |products| products.remove(product)),
            Self::Tag(tag) => list.second().add(tag.clone()),
            Self::Untag(tag) => list.second().remove(tag),
        }
        true
    }

    fn size(&self) -> usize {
        match self {
            Self::Buy(shop, product, _) | Self::Drop(shop, product) => shop.len() + product.len(),
            Self::Tag(tag) | Self::Untag(tag) => tag.len(),
        }
    }
}

type Store = Cluster<CausalValue<Change>>;

fn change(store: &Store, node: u32, change: Change) -> Result<(), RequestError> {
    let write = Command::write("week".into(), change);
    let request = Request::new(write, Level::One);
    store.node(NodeId(node)).execute(request).map(|_| ())
}

fn main() -> Result<(), Box<dyn Error>> {
    let store: Store = Cluster::builder(3).build_for()?;
    let buy = |product: &str, more| Change::Buy("market".into(), product.into(), more);
    change(&store, 1, buy("milk", 2))?;
    change(&store, 1, Change::Tag("urgent".into()))?;
    store.wait_until_settled(Duration::from_secs(10))?;

    // The network is cut. One side drops the milk and the tag, which it has seen; the other buys one
    // bottle more, tags again, and finds something new.
    store.partition(&[NodeId(1)], &[NodeId(2), NodeId(3)]);
    change(&store, 1, Change::Drop("market".into(), "milk".into()))?;
    change(&store, 1, Change::Untag("urgent".into()))?;
    change(&store, 2, buy("milk", 1))?;
    change(&store, 2, Change::Tag("urgent".into()))?;
    change(&store, 3, buy("bread", 3))?;
    store.heal();
    store.wait_until_settled(Duration::from_secs(10))?;

    for node in store.nodes() {
        let (shops, tags) = node.cell_local(b"week")?.ok_or("the list is there")?;
        let market = shops.get("market").ok_or("and so is the market")?;
        let quantity = |product| market.get(product).map_or(0, ResettableCounter::value);
        assert_eq!(quantity("milk"), 1, "the drop had seen two of the three");
        assert_eq!(quantity("bread"), 3);
        assert!(tags.contains("urgent"), "it was added again meanwhile");
    }
    Ok(())
}
