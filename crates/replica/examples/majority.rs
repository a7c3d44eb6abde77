//! How do I build a store that survives the loss of a node, for strings, inside my program?
//!
//! Three nodes hold everything, and a majority has the last word: the store is written to while a node is
//! down, the node comes back empty and catches up, and a node that is cut off says so.
//!
//! ```text
//! cargo run -p replica --example majority
//! ```

use replica::{MajorityError, MajorityStore};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let store = MajorityStore::new(3)?;
    let (a, b, c) = (store.node(1), store.node(2), store.node(3));

    // A write that starts after another was acknowledged wins over it, through any node.
    a.insert("colour", "red")?;
    b.insert("colour", "blue")?;
    assert_eq!(c.get("colour")?.as_deref(), Some("blue"));

    // Two of three nodes are a majority: work goes on. The failed node is never served from.
    store.fail(3);
    for number in 0..1_000 {
        a.insert(&format!("key {number}"), "written while a node was down")?;
    }
    b.delete("colour")?;
    assert!(matches!(c.get("colour"), Err(MajorityError::NodeFailed(_))));

    // It comes back empty, under a new identity, and serves once it knows what the others know.
    store.recover(3)?;
    store.wait_until_up(3, Duration::from_secs(10))?;
    assert_eq!(
        c.get("key 999")?.as_deref(),
        Some("written while a node was down")
    );
    assert_eq!(c.get("colour")?, None, "what was deleted stays deleted");

    // A node that is cut off from the majority fails instead of serving what may be stale.
    store.partition(&[1], &[2, 3]);
    assert!(a.insert("colour", "green").is_err() && a.get("colour").is_err());
    b.insert("colour", "white")?;
    store.heal();
    assert_eq!(a.get("colour")?.as_deref(), Some("white"));
    Ok(())
}
