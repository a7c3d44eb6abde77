//! What is measured: our nodes, and the servers beside them, each on free ports and in a directory of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

use super::control::until;
use super::process::Process;
use super::wire::Wire;
use crate::row::Side;

/// How long servers may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the peers are installed on Debian.
const INSTALL: &str = "sudo apt-get install redis-server etcd-server";

/// Processes that are one system.
#[derive(Debug)]
pub struct System {
    pub side: Side,
    pub wire: Wire,
    /// Where clients connect.
    pub addresses: Vec<SocketAddr>,
    pub processes: Vec<Process>,
    directory: TempDir,
    program: PathBuf,
}

/// Builds our program and says where it is. `REPLICAD_PROGRAM` names another one, which is not built.
///
/// # Errors
/// If it cannot be built.
pub fn program() -> Result<PathBuf, String> {
    if let Some(program) = std::env::var_os("REPLICAD_PROGRAM") {
        return Ok(program.into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .current_dir(&root)
        .args(["build", "--release", "--quiet", "-p", "replicad"]);
    let built = build
        .status()
        .map_err(|error| format!("cargo does not run: {error}"))?;
    if !built.success() {
        return Err("replicad cannot be built".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let program = target
        .unwrap_or_else(|| root.join("target"))
        .join("release/replicad");
    program
        .canonicalize()
        .map_err(|error| format!("{}: {error}", program.display()))
}

impl System {
    /// Three nodes of ours that serve. `sync` is what the file of the configuration says in `[storage]`.
    ///
    /// # Errors
    /// If they do not come to serve.
    pub fn ours(program: &Path, sync: &str) -> Result<Self, String> {
        let directory = directory()?;
        let ports = ports(6)?;
        let (clients, peers) = ports.split_at(3);
        let nodes: Vec<String> = (0..3)
            .map(|i| {
                format!(
                    "{{ id = {}, address = \"{}\", client = \"{}\" }}",
                    i + 1,
                    peers[i],
                    clients[i]
                )
            })
            .collect();
        for i in 0..3 {
            let text = format!(
                "[node]\nid = {}\ndata_dir = {:?}\n[cluster]\nnodes = [{}]\n\
                 [listen]\nclients = \"{}\"\npeers = \"{}\"\n\
                 [storage]\n{sync}\nreserve_bytes = 0\n[log]\nlevel = \"error\"\n",
                i + 1,
                directory.path().join(format!("data-{i}")),
                nodes.join(", "),
                clients[i],
                peers[i],
            );
            let file = directory.path().join(format!("node-{i}.toml"));
            std::fs::write(file, text).map_err(|error| error.to_string())?;
        }
        let mut system = Self {
            side: Side::Ours,
            wire: Wire::Resp,
            addresses: clients.to_vec(),
            processes: Vec::new(),
            directory,
            program: program.to_owned(),
        };
        for i in 0..3 {
            let process = system.node(i)?;
            system.processes.push(process);
            until(clients[i], &["PING"], "PONG", PATIENCE)?;
        }
        let port = clients[0].port().to_string();
        let word = Command::new(program)
            .args(["bootstrap", "--port", &port])
            .output();
        let word = word.map_err(|error| error.to_string())?;
        if !word.status.success() {
            return Err(format!(
                "bootstrap: {}",
                String::from_utf8_lossy(&word.stderr)
            ));
        }
        for i in 0..3 {
            system.until_up(i)?;
        }
        Ok(system)
    }

    /// Starts one node of ours.
    fn node(&self, i: usize) -> Result<Process, String> {
        let config = self.directory.path().join(format!("node-{i}.toml"));
        let mut start = Command::new(&self.program);
        start.arg("start").arg("--config").arg(config);
        Process::start(&mut start).map_err(|error| error.to_string())
    }

    /// Starts a node of ours again.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn restart(&mut self, i: usize) -> Result<(), String> {
        self.processes[i] = self.node(i)?;
        Ok(())
    }

    /// Waits until a node of ours answers a read that needs a quorum, and gives the time that took.
    ///
    /// # Errors
    /// If it does not.
    pub fn until_up(&self, i: usize) -> Result<Duration, String> {
        let address = self.addresses[i];
        let up = until(address, &["INFO"], "state:up", PATIENCE)?;
        Ok(up + until(address, &["GET", "nothing"], "$-1", PATIENCE)?)
    }

    /// Removes what a node of ours has stored.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn lose_data(&self, i: usize) -> Result<(), String> {
        let data = self.directory.path().join(format!("data-{i}"));
        std::fs::remove_dir_all(data).map_err(|error| error.to_string())
    }

    /// One redis-server; none if it is not installed.
    pub fn redis(syncs: bool) -> Option<Self> {
        let part = if syncs {
            "alone, appendfsync always"
        } else {
            "alone, in memory"
        };
        or_message(part, Self::redis_servers(part, 1, syncs))
    }

    /// One redis-server with two replicas, and clients that wait for one of them after each write.
    pub fn redis_replicated() -> Option<Self> {
        let part = "3 processes, SET and WAIT 1, in memory";
        or_message(part, Self::redis_servers(part, 3, false))
    }

    fn redis_servers(part: &'static str, count: usize, syncs: bool) -> Result<Self, String> {
        let (directory, addresses) = (directory()?, ports(count)?);
        let mut processes = Vec::new();
        for (i, address) in addresses.iter().enumerate() {
            let data = directory.path().join(i.to_string());
            std::fs::create_dir(&data).map_err(|error| error.to_string())?;
            let mut start = Command::new("redis-server");
            start.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
            start
                .args(["--save", "", "--maxclients", "2000", "--dir"])
                .arg(&data);
            start.args(["--repl-diskless-sync-delay", "0"]);
            match syncs {
                true => start.args(["--appendonly", "yes", "--appendfsync", "always"]),
                false => start.args(["--appendonly", "no"]),
            };
            if i > 0 {
                start.args(["--replicaof", "127.0.0.1", &addresses[0].port().to_string()]);
            }
            processes.push(Process::start(&mut start).map_err(|error| error.to_string())?);
            until(*address, &["PING"], "PONG", PATIENCE)?;
        }
        for address in &addresses[1..] {
            until(
                *address,
                &["INFO", "replication"],
                "master_link_status:up",
                PATIENCE,
            )?;
        }
        let version = version("redis-server", "v=")?;
        Ok(Self {
            side: Side::System(format!("redis-server {version}, {part}")),
            wire: if count > 1 {
                Wire::RespWait
            } else {
                Wire::Resp
            },
            addresses: addresses[..1].to_vec(),
            processes,
            directory,
            program: PathBuf::new(),
        })
    }

    /// Three nodes of etcd; none if it is not installed.
    pub fn etcd() -> Option<Self> {
        or_message("etcd", Self::etcd_nodes())
    }

    fn etcd_nodes() -> Result<Self, String> {
        let (directory, ports) = (directory()?, ports(6)?);
        let (clients, peers) = ports.split_at(3);
        let all: Vec<String> = (0..3)
            .map(|i| format!("n{i}=http://{}", peers[i]))
            .collect();
        let mut processes = Vec::new();
        for i in 0..3 {
            let (client, peer) = (
                format!("http://{}", clients[i]),
                format!("http://{}", peers[i]),
            );
            let mut start = Command::new("etcd");
            start.args([
                "--name",
                &format!("n{i}"),
                "--initial-cluster",
                &all.join(","),
            ]);
            start.args([
                "--listen-client-urls",
                &client,
                "--advertise-client-urls",
                &client,
            ]);
            start.args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ]);
            start
                .arg("--data-dir")
                .arg(directory.path().join(i.to_string()));
            processes.push(Process::start(&mut start).map_err(|error| error.to_string())?);
        }
        let version = version("etcd", "etcd Version: ")?;
        let system = Self {
            side: Side::System(format!("etcd {version}, 3 nodes, JSON gateway")),
            wire: Wire::EtcdJson,
            addresses: clients.to_vec(),
            processes,
            directory,
            program: PathBuf::new(),
        };
        super::throughput::until_it_writes(&system, PATIENCE)?;
        Ok(system)
    }

    /// Processor time of all processes so far.
    pub fn cpu(&self) -> Duration {
        self.processes.iter().map(Process::cpu).sum()
    }
}

/// Leaves out what cannot be started, and says so.
fn or_message(what: &str, started: Result<System, String>) -> Option<System> {
    started
        .map_err(|error| eprintln!("left out: {what}: {error}; to install it: {INSTALL}"))
        .ok()
}

fn directory() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|error| error.to_string())
}

/// Free addresses on loopback. All are held until all are known, so that they differ.
fn ports(count: usize) -> Result<Vec<SocketAddr>, String> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listeners: Result<Vec<TcpListener>, _> = (0..count).map(bind).collect();
    let addresses: Result<Vec<SocketAddr>, _> =
        listeners.and_then(|all| all.iter().map(TcpListener::local_addr).collect());
    addresses.map_err(|error| error.to_string())
}

/// The version that a program says it has.
fn version(program: &str, before: &str) -> Result<String, String> {
    let said = Command::new(program).arg("--version").output();
    let said = said.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let rest = text.split(before).nth(1).unwrap_or("?");
    Ok(rest.split_whitespace().next().unwrap_or("?").to_owned())
}
