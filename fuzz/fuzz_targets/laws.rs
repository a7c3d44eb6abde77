#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| crdt_model::laws(bytes));
