//! Replays the committed corpora of the fuzz targets through the same functions, without a nightly.

use std::path::Path;

fn replay(target: &str, body: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let mut inputs = 0;
    for entry in std::fs::read_dir(&corpus).expect("the corpus is committed") {
        let path = entry.expect("a directory entry").path();
        let input = std::fs::read(&path).expect("an input of the corpus");
        let result = std::panic::catch_unwind(|| body(&input));
        assert!(result.is_ok(), "the body panicked on {}", path.display());
        inputs += 1;
    }
    assert!(inputs > 20, "only {inputs} inputs in {}", corpus.display());
}

/// What is admitted of a client's bytes does not depend on how they arrive.
#[test]
fn the_corpus_of_client_finds_nothing() {
    replay("client", replicad::fuzzing::client);
}

/// Commands of a client each get one reply, of the version that was agreed on.
#[test]
fn the_corpus_of_commands_finds_nothing() {
    replay("commands", replicad::fuzzing::commands);
}

/// Frames of a peer are refused, or come back as they went and harm nobody.
#[test]
fn the_corpus_of_peer_finds_nothing() {
    replay("peer", replicad::fuzzing::peer);
}
