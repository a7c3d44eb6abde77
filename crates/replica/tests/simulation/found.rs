//! What seeds have found, reduced to a few steps.

use replica::sim::{Schedule, Step, System};
use replica::{Config, NodeId};

fn schedule(seed: u64, node: Config, steps: Vec<(u64, Step)>) -> Schedule {
    let mut schedule = Schedule::new(System::Majority, seed, node);
    schedule.mixes = true;
    schedule.steps = steps;
    schedule
}

fn write(node: u32, key: &'static str, value: Option<&'static str>) -> Step {
    Step::Write {
        node: NodeId(node),
        key: key.into(),
        value: value.map(Into::into),
    }
}

/// Three nodes. A write at level `All` waits for a node that is down, and a later one of the same node at `Quorum`
/// is acknowledged.
fn waits_for_a_node_that_is_down() -> Schedule {
    let mut node = Config::new(NodeId(1), 3);
    node.audit_interval_ms = 1000;
    node.restart_patience_ms = u64::MAX;
    let mut schedule = schedule(
        1041,
        node,
        vec![
            (402, write(2, "d", Some("v4"))),
            (766, write(3, "d", Some("v2"))),
            (1020, Step::Fail(NodeId(1))),
            (1069, write(2, "d", Some("same"))),
            (1090, Step::Recover(NodeId(1))),
            (1189, write(3, "c", Some("same"))),
            (1224, Step::Run { ms: 5 }),
            (1381, write(3, "d", Some("v4"))),
        ],
    );
    schedule.network.loss = 0.05;
    schedule
}

/// The same with five nodes and messages that come late.
fn waits_for_late_messages() -> Schedule {
    let mut node = Config::new(NodeId(1), 5);
    node.audit_interval_ms = 1000;
    node.restart_patience_ms = u64::MAX;
    let one = |node, value: &'static str| Step::WriteOne {
        node: NodeId(node),
        key: "a".into(),
        value: Some(value.into()),
    };
    let read = Step::Read {
        node: NodeId(1),
        key: "a".into(),
    };
    let mut schedule = schedule(
        210,
        node,
        vec![
            (4522, write(4, "a", None)),
            (7624, one(2, "v2")),
            (10888, write(4, "a", Some("same"))),
            (10935, Step::Run { ms: 40 }),
            (11072, write(2, "a", Some("v2"))),
            (11111, Step::Run { ms: 40 }),
            (11500, read),
        ],
    );
    schedule.network.straggler = 0.1;
    schedule
}

/// Found that what was acknowledged was minted again, above what was acknowledged since, for an earlier write of the
/// same node that waits for more owners.
#[test]
fn a_write_that_was_acknowledged_is_not_minted_again() {
    for schedule in [waits_for_a_node_that_is_down(), waits_for_late_messages()] {
        let report = schedule.run();
        assert!(report.violations.is_empty(), "{report}");
    }
}
