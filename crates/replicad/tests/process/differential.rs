//! A cluster answers as Redis does.

#[path = "../common/differential.rs"]
mod compared;

use crate::common::Process;
use compared::{Redis, Resp, compare, seeds};
use std::net::{Ipv4Addr, SocketAddr};

/// Commands to compare; a longer run sets the variable.
fn commands() -> usize {
    let text = std::env::var("REPLICAD_DIFFERENTIAL_COMMANDS");
    text.map_or(2_000, |text| text.parse().expect("a number of commands"))
}

#[test]
fn a_cluster_answers_as_redis_does() {
    let Some(redis) = Redis::start() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    let ours = SocketAddr::from((Ipv4Addr::LOCALHOST, process.port));
    for seed in seeds(&[1]) {
        for resp in [Resp::Two, Resp::Three] {
            compare(ours, redis.address, resp, seed, commands());
        }
    }
}
