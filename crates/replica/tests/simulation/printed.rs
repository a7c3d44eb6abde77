use replica::sim::{Schedule, Step, System};
use replica::storage::CommitFault;
use replica::{ClockKind, Config, NodeId};

fn majority_7() -> Schedule {
    let mut node = Config::new(NodeId(1), 5);
    node.sync_interval_ms = 50;
    node.durable = true;
    node.clock = ClockKind::Hybrid { drift_bound_ms: 50 };
    let mut schedule = Schedule::new(System::Majority, 7, node);
    schedule.network.loss = 0.05;
    schedule.mixes = true;
    schedule.steps = vec![
        (0, Step::Cut { from: NodeId(1), to: NodeId(2) }),
        (1000, Step::Part { one: vec![NodeId(1)], other: vec![NodeId(3), NodeId(4)] }),
        (2000, Step::Run { ms: 400 }),
        (3000, Step::Heal),
        (4000, Step::Write { node: NodeId(1), key: "a".into(), value: Some("v".into()) }),
        (5000, Step::Skew { node: NodeId(2), ms: -300 }),
        (6000, Step::Hint { node: NodeId(1), other: NodeId(5), reachable: false }),
        (7000, Step::Run { ms: 400 }),
        (8000, Step::Image(NodeId(2))),
        (9000, Step::FailCommit { node: NodeId(3), fault: CommitFault::Prefix(1) }),
        (10000, Step::Write { node: NodeId(2), key: "b".into(), value: None }),
        (11000, Step::WriteNamed { node: NodeId(3), key: "a".into(), value: Some("n1".into()), name: 1 }),
        (12000, Step::Retry { node: NodeId(1), name: 1 }),
        (13000, Step::WriteOne { node: NodeId(4), key: "c".into(), value: Some("w".into()) }),
        (14000, Step::Run { ms: 40 }),
        (15000, Step::Fail(NodeId(5))),
        (16000, Step::Recover(NodeId(5))),
        (17000, Step::Restart(NodeId(3))),
        (18000, Step::Run { ms: 400 }),
        (19000, Step::RollBack(NodeId(2))),
        (20000, Step::Read { node: NodeId(1), key: "a".into() }),
        (21000, Step::Pause(NodeId(4))),
        (22000, Step::FreezeClock(NodeId(1))),
        (23000, Step::Run { ms: 400 }),
        (24000, Step::Resume(NodeId(4))),
        (25000, Step::ThawClock(NodeId(1))),
        (26000, Step::RaiseHorizon { node: NodeId(2), time: 9 }),
        (27000, Step::Fail(NodeId(4))),
        (28000, Step::LoseTail(NodeId(4))),
        (29000, Step::Calm),
    ];
    schedule
}

#[test]
fn majority_7_breaks_no_promise() {
    let report = majority_7().run();
    assert!(report.violations.is_empty(), "{report}");
}
