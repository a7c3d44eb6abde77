//! The rows of "Server": three processes of ours beside redis-server and etcd on loopback, under the same load.

mod control;
mod large;
mod load;
mod outage;
mod process;
mod systems;
mod throughput;
mod transport;
mod wire;

use crate::report::Report;

/// Runs all rows. What cannot be started is left out, with a message.
pub fn rows(report: &mut Report) {
    let program = match systems::program() {
        Ok(program) => program,
        Err(error) => return eprintln!("no rows of the server: {error}"),
    };
    throughput::in_memory(report, &program);
    throughput::durable(report, &program);
    large::rows(report, &program);
    outage::rows(report, &program);
    transport::rows(report);
}
