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

/// Decoded states of any origin join without a panic, in any order, and keep I1.
#[test]
fn the_corpus_of_join_decoded_finds_nothing() {
    replay("join_decoded", crdt_model::join_decoded);
}

/// Scripts that the fuzzer found agree with the model after every step.
#[test]
fn the_corpus_of_map_script_finds_nothing() {
    replay("map_script", crdt_model::map_script);
}

/// Scripts that the fuzzer found break no law of any type.
#[test]
fn the_corpus_of_laws_finds_nothing() {
    replay("laws", crdt_model::laws);
}

/// Scripts that the fuzzer found for the law kit break no law of a sound type.
#[test]
fn the_corpus_of_own_type_finds_nothing() {
    replay("own_type", crdt_model::own_type);
}

/// Causal objects of any origin keep I1, come back as they went, and obey the laws where they agree.
#[test]
fn the_corpus_of_causal_decoded_finds_nothing() {
    replay("causal_decoded", crdt_model::causal_decoded);
}

/// Lattices of any origin obey the laws.
#[test]
fn the_corpus_of_plain_decoded_finds_nothing() {
    replay("plain_decoded", crdt_model::plain_decoded);
}

/// Causal objects show what a model shows that keeps every change.
#[test]
fn the_corpus_of_causal_script_finds_nothing() {
    replay("causal_script", crdt_model::causal_script);
}

/// Envelopes and packets of any origin are refused, or come back as they went.
#[test]
fn the_corpus_of_envelope_finds_nothing() {
    replay("envelope", crdt_model::envelope);
}
