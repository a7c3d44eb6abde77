//! The rows of "Store", one file for each group.

mod convergence;
mod gossip;
mod growth;
mod local;
mod modes;
mod nodes;
mod puts;
mod reconciliation;
mod recovery;
mod simulator;
mod sync;

use bytes::Bytes;
use replica::Cluster;

use crate::data::element;
use crate::report::Report;
use crate::row::Side;

pub fn rows(report: &mut Report) {
    local::rows(report);
    puts::rows(report);
    modes::rows(report);
    sync::rows(report);
    convergence::rows(report);
    recovery::rows(report);
    gossip::rows(report);
    simulator::rows(report);
    if !report.options.quick {
        growth::rows(report);
    }
}

const OURS: Side = Side::Ours;

/// Keys of the rows whose number of keys is not in their name.
const KEYS: usize = 100_000;

/// Partitions of a cluster that several threads use: each has locks of its own.
const PARTITIONS: u32 = 64;

/// A cluster of three nodes with so many owners of each key.
fn cluster(owners: u32) -> Cluster {
    let configured = Cluster::builder(3).configure(|config| {
        *config = config.clone().with_owners(owners);
        config.partitions = PARTITIONS;
    });
    configured.build().expect("a valid configuration")
}

/// A key of 16 bytes, without order.
fn key(number: usize) -> Bytes {
    Bytes::from(format!("{:016x}", element(number)))
}

/// Keys of 16 bytes, without order. Each is cloned once, after which a clone allocates nothing.
fn keys(numbers: std::ops::Range<usize>) -> Vec<Bytes> {
    let keys: Vec<Bytes> = numbers.map(key).collect();
    drop(keys.clone());
    keys
}

/// A value of so many bytes.
fn value(bytes: usize) -> Bytes {
    let value = Bytes::from(vec![7; bytes]);
    drop(value.clone());
    value
}
