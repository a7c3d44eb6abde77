//! The public interface of `crdt` is written down in `crates/crdt/public-api.txt`: a change to it shows in
//! the diff of the change. `UPDATE_API=1 cargo test -p system-tests --test public_api` writes it anew.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds rustdoc's description of the crate in a directory of its own, so that a build that is under
/// way is not waited for.
fn rustdoc_json(root: &Path) -> PathBuf {
    let target = root.join("target/public-api");
    let status = Command::new(env!("CARGO"))
        .current_dir(root)
        // The description is unstable; this makes a stable compiler write it.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", &target)
        .args([
            "rustdoc",
            "--quiet",
            "-p",
            "crdt",
            "--lib",
            "--all-features",
            "--",
        ])
        .args([
            "-Z",
            "unstable-options",
            "--output-format",
            "json",
            "--cap-lints",
            "allow",
        ])
        .status();
    assert!(status.expect("cargo runs").success(), "rustdoc fails");
    target.join("doc/crdt.json")
}

#[test]
fn a_change_of_the_public_interface_is_written_down() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let json = rustdoc_json(&root);
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build();
    let api = match api {
        Ok(api) => api.to_string(),
        Err(error) => {
            // Each compiler writes its own version of the description.
            // Said past the capture of the test harness, so that it is seen.
            let mut out = std::io::stderr();
            let told = writeln!(
                out,
                "\n!! SKIPPED: the public interface of crdt is not compared: this compiler's description cannot be \
                 read: {error}\n"
            );
            told.expect("standard error takes text");
            return;
        }
    };
    let snapshot = root.join("crates/crdt/public-api.txt");
    if std::env::var_os("UPDATE_API").is_some() {
        std::fs::write(&snapshot, &api).expect("the snapshot can be written");
    }
    let held = std::fs::read_to_string(&snapshot).expect("the snapshot can be read");
    let differing = api.lines().filter(|line| !held.contains(line)).count();
    assert!(
        api == held,
        "the public interface has changed ({differing} new lines): look at the difference that \
         `UPDATE_API=1 cargo test -p system-tests --test public_api` makes, and commit it"
    );
}
