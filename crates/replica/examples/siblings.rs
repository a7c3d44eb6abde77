//! How do I build a store that loses no concurrent write, over messages and in a format of my own?
//!
//! Each node has a vector clock. Versions that have not seen each other stay side by side, and a write
//! that has read them replaces them. Messages may be late, repeated and out of order.
//!
//! ```text
//! cargo run -p replica --example siblings
//! ```

use replica::codec::Json;
use replica::siblings::{Node, UpdateError};

fn values(node: &Node<Json>, key: &str) -> Vec<String> {
    let versions = node.versions(key).into_iter();
    versions
        .map(|(value, _)| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

fn main() -> Result<(), UpdateError> {
    let nodes: [Node<Json>; 3] = [0, 1, 2].map(|id| Node::new(id, 3));
    let [phone, laptop, tablet] = &nodes;

    // Two devices write the same cart without having heard of each other.
    phone.put("cart".into(), b"tea".to_vec())?;
    laptop.put("cart".into(), b"coffee".to_vec())?;
    let (tea, coffee) = (phone.take_messages(), laptop.take_messages());
    assert!(std::str::from_utf8(&tea[0]).is_ok_and(|json| json.contains("vector_clock")));

    // Each message goes to the other nodes: in any order, and here twice.
    for message in coffee.iter().chain(&tea).chain(&coffee) {
        for node in &nodes {
            node.deliver(message.clone())?;
        }
    }
    for node in &nodes {
        assert!(node.process_messages().refused.is_empty());
        assert_eq!(values(node, "cart"), ["tea", "coffee"], "both are kept");
    }
    let clocks: Vec<Vec<usize>> = tablet.get("cart").into_iter().map(|(_, c)| c).collect();
    assert_eq!(clocks, [[1, 0, 0], [0, 1, 0]], "neither has seen the other");

    // The application merges what it reads; its write has seen both, and replaces both.
    let merged = values(tablet, "cart").join(" and ");
    tablet.put("cart".into(), merged.into_bytes())?;
    for message in tablet.take_messages() {
        phone.deliver(message.clone())?;
        laptop.deliver(message)?;
    }
    for node in [phone, laptop] {
        assert_eq!(node.process_messages().applied, 1);
        let versions = node.get("cart");
        assert_eq!(versions, [(b"tea and coffee".to_vec(), vec![1, 1, 1])]);
    }

    // A late copy of what was replaced is dropped, and what is no update is refused and changes nothing.
    phone.deliver(coffee[0].clone())?;
    phone.deliver(b"{}".to_vec())?;
    let processed = phone.process_messages();
    assert_eq!((processed.superfluous, processed.refused.len()), (1, 1));
    assert_eq!(values(phone, "cart"), ["tea and coffee"]);
    Ok(())
}
