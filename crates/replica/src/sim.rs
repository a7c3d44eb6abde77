//! A deterministic simulator: the protocol of every node in one thread, in virtual time, under faults
//! drawn from one seed.
//!
//! The same seed gives the same run, to the last message. After every step the invariants I1 to I5 are
//! checked at the node that moved; afterwards the history of operations is checked for writes that
//! were acknowledged and lost, and for deleted values that came back. Once all faults have ended every node must
//! answer new requests, at every level, and all must know the same again within a bound: a cluster that does nothing
//! keeps every promise but this one.
//!
//! ```
//! use replica::sim::{Campaign, run_seed};
//!
//! let report = run_seed(7, &Campaign::default());
//! assert_eq!(report.violations, Vec::<String>::new());
//! ```

mod campaign;
mod history;
mod mints;
mod network;
mod oracle;
mod player;
mod probes;
mod report;
mod schedule;
mod shrink;
mod simulation;
mod swarm;
mod system;
mod workload;

pub use campaign::{Campaign, record_seed, run_seed};
pub use history::{Action, History, Operation};
pub use network::Network;
pub use oracle::{CausalOracle, LwwOracle, Oracle, Simulated};
pub use probes::Probes;
pub use report::{Course, DiskFaults, NamedWrites, Report};
pub use schedule::{Schedule, Step};
pub use shrink::shrink;
pub use simulation::{Disk, Lag, Round, SimConfig, Simulation, Ticket};
pub use system::System;
