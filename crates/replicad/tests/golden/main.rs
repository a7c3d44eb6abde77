//! Golden files: the bytes that nodes send each other, that clients keep, and that lie on the disk.
//!
//! A change of any of them is a break for whoever runs two versions beside each other, or has data: it needs a
//! version of its own (`transport::VERSIONS`, the `FORMAT` of a store) and, for data, a way to read the old form. What is
//! new is a new row. `UPDATE_GOLDEN=1 cargo test -p replicad --test golden` writes the files, and the difference in
//! the history is the decision.

#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "other tests do more with a process")]
mod common;

mod disk;
mod files;
mod old_data;
mod tokens;
mod values;
mod wire;
