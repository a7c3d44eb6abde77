//! How do I spread state over very many nodes that do not know each other?
//!
//! Every node holds everything and answers from its own copy. It compares itself with a few random peers
//! from time to time, and that is all.
//!
//! ```text
//! cargo run -p replica --example gossip
//! ```

use replica::{GossipStore, MultiValue, NodeId};
use std::error::Error;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    // Sixty nodes, and each gossips with five others. Writes are done once the node asked has them.
    let store = GossipStore::new(60, 5)?;
    store.node(1).put("leader", "node one")?;
    store.node(60).put("weather", "rain")?;
    store.cluster().wait_until_settled(PATIENCE)?;
    for node in 1..=60 {
        let leader = store.node(node).get("leader")?;
        assert_eq!(leader.as_deref(), Some(&b"node one"[..]));
    }

    // Each half goes on alone, and reads what it has. Afterwards the later write has won everywhere; on
    // equal times it is the smaller value. Times are counters: node 1 has counted one write more.
    let (left, right): (Vec<NodeId>, Vec<NodeId>) =
        (1..=60).map(NodeId).partition(|node| node.0 <= 30);
    store.cluster().partition(&left, &right);
    store.node(60).put("weather", "snow")?;
    store.node(1).put("weather", "fog")?;
    store.node(1).put("weather", "sun")?;
    let there = store.node(60).get("weather")?;
    assert_eq!(there.as_deref(), Some(&b"snow"[..]));
    store.cluster().heal();
    store.cluster().wait_until_settled(PATIENCE)?;
    for node in [1, 17, 44, 60] {
        let weather = store.node(node).get("weather")?;
        assert_eq!(weather.as_deref(), Some(&b"sun"[..]));
    }

    // A node that lost everything joins again as a new writer, and gets it back from whom it meets.
    store.cluster().fail(NodeId(9));
    store.node(1).delete("leader")?;
    store.cluster().recover(NodeId(9))?;
    store.cluster().wait_until_settled(PATIENCE)?;
    assert_eq!(store.node(9).get("leader")?, None);
    assert_eq!(store.node(9).get("weather")?.as_deref(), Some(&b"sun"[..]));

    // Where no write may be lost, concurrent values stay side by side until a write has seen them.
    let store = GossipStore::<MultiValue>::with_policy(20, 3)?;
    let (one, other): (Vec<NodeId>, Vec<NodeId>) =
        (1..=20).map(NodeId).partition(|node| node.0 % 2 == 0);
    store.cluster().partition(&one, &other);
    store.node(1).put("colour", "red")?;
    store.node(2).put("colour", "blue")?;
    store.cluster().heal();
    store.cluster().wait_until_settled(PATIENCE)?;
    assert_eq!(store.node(13).get("colour")?.len(), 2);
    store.node(13).put("colour", "purple")?;
    store.cluster().wait_until_settled(PATIENCE)?;
    assert_eq!(store.node(20).get("colour")?, ["purple"]);
    Ok(())
}
