//! A process that is measured: its processor time, its memory, and its end.

use std::io;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Ticks in a second of the times in `/proc`. Linux shows them in this unit on all machines.
const TICKS: u64 = 100;

/// A child process, killed when it is dropped.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Starts it without input; what it prints is dropped.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let silent = command.stdin(Stdio::null()).stdout(Stdio::null());
        silent.stderr(Stdio::null()).spawn().map(Self)
    }

    /// Processor time of all its threads so far.
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(self.file("stat")).unwrap_or_default();
        // The name of the program, in brackets, may hold spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }

    /// Bytes of memory that it has in use.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(self.file("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or_default() * 1024
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _status = self.0.wait();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> io::Result<()> {
        let id = self.0.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        self.0.wait().map(drop)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
