//! A world of its own for each test: a network, mounts and processes that nobody else sees.
//!
//! The test starts itself again inside new namespaces. When that process ends, by whatever cause, the kernel
//! ends every node in it and takes the network down, so nothing is ever left behind. No rights are needed
//! where the system lets users make namespaces.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

/// Set in the process that runs inside.
const INSIDE: &str = "REPLICAD_FAULTS_INSIDE";

/// Set where a test that cannot run has to fail: `tests/faults` does.
const REQUIRED: &str = "REPLICAD_FAULTS_REQUIRED";

/// Nodes of two tests at once would only be slow.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a world needs, as one line of shell.
const PROBE: &str = "mount -t tmpfs tmpfs /run && ip link add probe type bridge && \
                     iptables -A INPUT -m statistic --mode random --probability 0.5 -j DROP && \
                     nsenter --version";

/// Runs a test in a world of its own; `test` is its full name. Where that cannot be made the test says so,
/// past the capture of the test harness, and is skipped.
pub(crate) fn isolated(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        build();
        return body();
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let namespaces = match namespaces() {
        Ok(namespaces) => namespaces,
        Err(cause) => {
            let mut out = std::io::stderr();
            let told = writeln!(out, "\n!! SKIPPED {test}: no namespaces here: {cause}\n");
            told.expect("standard error");
            assert!(
                std::env::var_os(REQUIRED).is_none(),
                "{test} cannot run here: {cause}"
            );
            return;
        }
    };
    let program = std::env::current_exe().expect("the path of this test");
    let status = Command::new("unshare")
        .args(namespaces)
        .arg(program)
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status();
    assert!(
        status.expect("unshare runs").success(),
        "{test} failed; what it said is above"
    );
}

/// The arguments of `unshare` with which this user can make a world.
fn namespaces() -> Result<&'static [&'static str], String> {
    const AS_ROOT: &[&str] = &["-nmpf", "--kill-child", "--mount-proc"];
    const AS_USER: &[&str] = &["-Unmpf", "--map-root-user", "--kill-child", "--mount-proc"];
    let mut causes = String::new();
    for arguments in [AS_ROOT, AS_USER] {
        let mut command = Command::new("unshare");
        let tried = command.args(arguments).args(["sh", "-c", PROBE]).output();
        match tried {
            Ok(output) if output.status.success() => return Ok(arguments),
            Ok(output) => causes += &String::from_utf8_lossy(&output.stderr),
            Err(error) => causes += &error.to_string(),
        }
    }
    Err(causes)
}

/// The network inside: a bridge, with the clients at its side.
fn build() {
    run("mount -t tmpfs tmpfs /run");
    run("mkdir -p /run/netns");
    run("ip link set lo up");
    run("ip link add br0 type bridge");
    run("ip addr add 10.77.0.1/24 dev br0");
    run("ip link set br0 up");
}

/// Runs a program with words for arguments.
///
/// # Panics
/// If it does not succeed.
pub(crate) fn run(line: &str) {
    let output = output(line);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {complaint}");
}

/// Runs a program and returns what came of it.
pub(crate) fn output(line: &str) -> Output {
    let mut words = line.split_whitespace();
    let program = words.next().expect("a program");
    let output = Command::new(program).args(words).output();
    output.unwrap_or_else(|error| panic!("{line}: {error}"))
}
