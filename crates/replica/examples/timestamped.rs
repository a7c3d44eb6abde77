//! How do I build a store whose callers bring the versions: sensor readings, rows of another database?
//!
//! The highest timestamp wins, in whatever order writes arrive. Each key is on three of five nodes.
//!
//! ```text
//! cargo run -p replica --example timestamped
//! ```

#![expect(
    clippy::disallowed_types,
    reason = "a caller that makes timestamps reads the clock"
)]

use crdt::HybridClock;
use replica::{Outcome, TimestampedStore};
use std::error::Error;
use std::time::SystemTime;

fn main() -> Result<(), Box<dyn Error>> {
    let store = TimestampedStore::new(5, Some(3))?;
    let node = |number| store.node(number);

    // Out of order: the older reading is taken note of and changes nothing.
    assert!(node(1).put("cellar", "12 degrees", 200));
    assert!(node(2).put("cellar", "11 degrees", 100));
    assert_eq!(node(3).get("cellar").as_deref(), Some("12 degrees"));
    let outcome = node(4).try_put("cellar", "9 degrees", 50)?;
    let Outcome::Written { took_effect, .. } = outcome else {
        unreachable!("a write is answered as one");
    };
    assert!(!took_effect, "acknowledged, as something newer is held");

    // A deletion hides what is older than itself, also what arrives later; a tie does not delete.
    assert!(node(5).delete("cellar", 200));
    assert_eq!(node(1).get("cellar").as_deref(), Some("12 degrees"));
    assert!(node(5).delete("cellar", 300));
    assert!(node(1).put("cellar", "late", 299));
    assert_eq!(node(2).get("cellar"), None);

    // While one owner of the key is down the others go on; it comes back empty and catches up.
    let placement = store.cluster().placement();
    let owners = placement.owners(placement.partition_of(b"cellar"));
    store.cluster().fail(owners[0]);
    let up = owners[1].0;
    assert!(node(up).put("cellar", "13 degrees", 400));
    assert_eq!(node(up).get("cellar").as_deref(), Some("13 degrees"));
    store.cluster().recover(owners[0])?;

    // Callers without versions of their own take them from a hybrid clock: unique for each slot, rising,
    // close to physical time, and at most a minute ahead of it.
    let mut clock = HybridClock::new(1, 60_000)?;
    let unix_ms = SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as u64;
    let first = clock.tick(unix_ms)?;
    let second = clock.tick(unix_ms - 1_000)?;
    assert!(first < second, "though the physical clock went back");
    assert!(node(up).put("cellar", "14 degrees", second.0));

    // Tombstones stay for ever, unless the operator says that nothing older will be written.
    store.raise_horizon(second.0);
    assert!(node(up).try_put("cellar", "ancient", 500).is_err());
    assert_eq!(node(up).get("cellar").as_deref(), Some("14 degrees"));
    Ok(())
}
