//! A replicated store inside this process: it is written to while a node is down, and the node comes
//! back empty and catches up.
//!
//! ```text
//! cargo run --release -p replica --example embedded
//! ```

#![expect(clippy::disallowed_macros, reason = "an example prints")]

use replica::{MajorityError, MajorityStore};
use std::error::Error;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let store = MajorityStore::new(3)?;
    let (a, b, c) = (store.node(1), store.node(2), store.node(3));

    a.insert("colour", "red")?;
    b.insert("colour", "blue")?;
    println!("through {}: colour is {:?}", c.id(), c.get("colour")?);

    store.fail(3);
    for number in 0..10_000 {
        a.insert(&format!("key {number}"), "written while a node was down")?;
    }
    match c.get("colour") {
        Err(MajorityError::NodeFailed(node)) => println!("{node} has failed, as it should"),
        other => println!("unexpected: {other:?}"),
    }

    store.recover(3)?;
    store.wait_until_up(3, Duration::from_secs(10))?;
    let entries = store.cluster().status(c.id()).map_or(0, |s| s.entries);
    println!("{} is back with {entries} keys", c.id());

    store.partition(&[1], &[2, 3]);
    if let Err(error) = a.insert("colour", "green") {
        println!("through {}, cut off: {error}", a.id());
    }
    b.insert("colour", "white")?;
    store.heal();
    println!("healed: colour is {:?}", a.get("colour")?);
    Ok(())
}
