//! A replicated store that speaks the Redis protocol.
//!
//! [`server`] speaks the protocol on one port per node, for anything that implements
//! [`backend::Backend`]; [`node`] is what does: the nodes with their stores. [`client`] speaks it from
//! the other side, for the subcommands of [`cli`].

pub mod backend;
pub mod certificates;
pub mod cli;
pub mod client;
mod commands;
pub mod config;
mod connection;
#[cfg(test)]
mod fake;
pub mod fuzzing;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod node;
mod panics;
pub mod password;
pub mod policies;
mod resp;
pub mod run;
pub mod server;
pub mod start;
pub mod storage;
pub mod store;
pub mod terms;
pub mod transport;
pub mod verification;
