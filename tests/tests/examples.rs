//! The examples end in assertions: each is run, as `cargo run --example` would.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// Where cargo has put an example: beside the tests. Built here if only this test was.
fn example(package: &str, name: &str) -> PathBuf {
    let test = env::current_exe().expect("the program of this test");
    let mut path = test
        .ancestors()
        .nth(2)
        .expect("a target directory")
        .join("examples");
    path.push(format!("{name}{}", env::consts::EXE_SUFFIX));
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "-p", package, "--example", name])
            .status();
        assert!(built.expect("cargo runs").success(), "{name} is not built");
    }
    path
}

fn run(package: &str, names: &[&str]) {
    for name in names {
        let run = Command::new(example(package, name)).output();
        let run = run.unwrap_or_else(|error| panic!("{name}: {error}"));
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{name}: {said}");
    }
}

#[test]
fn the_examples_of_crdt_hold() {
    run("crdt", &["shopping_cart", "offline_document", "presence"]);
}

#[test]
fn the_examples_of_replica_hold() {
    let systems = ["majority", "timestamped", "causal", "siblings", "gossip"];
    run("replica", &systems);
    run("replica", &["documents", "own_transport"]);
}
