//! What `docs/design.md` says of the code is there, and nothing of the code is missing from it.

use std::path::Path;

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect("a file of the repository")
}

/// The variants of an enum, by its source.
fn variants(source: &str, start: &str) -> Vec<String> {
    let body = source.split_once(start).expect("the enum is there").1;
    let body = body.split_once("\n}\n").expect("it ends").0;
    let is_variant =
        |line: &&str| line.starts_with("    ") && line[4..].starts_with(char::is_uppercase);
    let name = |line: &str| {
        line.trim()
            .chars()
            .take_while(|c| c.is_alphanumeric())
            .collect()
    };
    body.lines().filter(is_variant).map(name).collect()
}

/// C8: the table of messages names every message that nodes send.
#[test]
fn every_message_is_in_the_design() {
    let design = read("docs/design.md");
    let partitions = variants(&read("crates/replica/src/message.rs"), "pub enum Message<");
    let nodes = variants(&read("crates/replica/src/node.rs"), "pub enum NodeMessage<");
    assert!(
        partitions.len() >= 15 && nodes.len() >= 4,
        "{partitions:?} {nodes:?}"
    );
    for name in partitions.iter().chain(&nodes) {
        assert!(
            design.contains(&format!("`{name}")),
            "{name} is not in docs/design.md"
        );
    }
}
