//! A `replicad` process of a test: started on free ports, killed at the end.

use replicad::client::{Client, Value};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a process may take for anything; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running cluster.
pub(crate) struct Process {
    child: Child,
    pub(crate) port: u16,
}

/// The program, with its subcommand line.
pub(crate) fn replicad(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replicad"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    replicad(arguments).output().expect("the program runs")
}

/// What a run printed to standard error.
pub(crate) fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The first of three neighbouring ports that are free now.
pub(crate) fn free_ports() -> u16 {
    for _ in 0..1_000 {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if port < 65_000 && (port..port + 3).all(is_free) {
            return port;
        }
    }
    panic!("no three neighbouring ports are free");
}

impl Process {
    /// Starts a cluster in `data_dir` and waits until every node serves.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_on(data_dir, free_ports())
    }

    pub(crate) fn start_on(data_dir: &Path, port: u16) -> Self {
        let directory = data_dir.to_str().expect("a path in UTF-8");
        let child = replicad(&["--data-dir", directory, "--port", &port.to_string()])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program starts");
        let process = Self { child, port };
        for node in 1..=3 {
            process.wait_until(|| process.is_up(node));
        }
        process
    }

    /// Asks a node and returns its answer, a refusal included.
    pub(crate) fn ask(&self, node: u16, words: &[&[u8]]) -> Value {
        self.try_ask(node, words).expect("the node answers")
    }

    fn try_ask(&self, node: u16, words: &[&[u8]]) -> Option<Value> {
        runtime().block_on(async {
            let mut client = Client::connect(self.port + node - 1).await.ok()?;
            client.queue(words);
            client.receive().await.ok()
        })
    }

    /// Whether a node serves.
    pub(crate) fn is_up(&self, node: u16) -> bool {
        matches!(self.try_ask(node, &[b"DBSIZE"]), Some(Value::Integer(_)))
    }

    /// Waits for something to become true.
    pub(crate) fn wait_until(&self, mut is_true: impl FnMut() -> bool) {
        let start = Instant::now();
        while !is_true() {
            assert!(
                start.elapsed() < PATIENCE,
                "it has not become true within {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills the process at once, as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process is killed");
        self.child.wait().expect("the process ends");
    }

    /// Asks the process to stop and waits until it has.
    pub(crate) fn stop(mut self) {
        let id = self.child.id().to_string();
        let told = Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .expect("kill runs");
        assert!(told.success());
        assert!(self.child.wait().expect("the process ends").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
