//! Schedules as text: what is printed compiles, and says all that a seed has drawn.

use replica::sim::{Campaign, Schedule, Step, System, record_seed, shrink};
use replica::storage::CommitFault;
use replica::{ClockKind, Config, Gossip, NodeId};

/// The text that [`printed`] is: what a shrunk schedule prints is compiled here, and run.
mod printed {
    include!("printed.rs");

    pub(super) fn schedule() -> Schedule {
        majority_7()
    }
}

#[test]
fn what_is_printed_is_a_test_that_compiles_and_does_what_the_schedule_does() {
    let mut node = Config::new(NodeId(1), 5);
    node.clock = ClockKind::Hybrid { drift_bound_ms: 50 };
    (node.durable, node.sync_interval_ms) = (true, 50);
    let mut schedule = Schedule::new(System::Majority, 7, node);
    schedule.network.loss = 0.05;
    schedule.mixes = true;
    let write = |node, key: &'static str, value: Option<&'static str>| Step::Write {
        node: NodeId(node),
        key: key.into(),
        value: value.map(Into::into),
    };
    let steps = [
        Step::Cut {
            from: NodeId(1),
            to: NodeId(2),
        },
        Step::Part {
            one: vec![NodeId(1)],
            other: vec![NodeId(3), NodeId(4)],
        },
        Step::Run { ms: 400 },
        Step::Heal,
        write(1, "a", Some("v")),
        Step::Skew {
            node: NodeId(2),
            ms: -300,
        },
        Step::Hint {
            node: NodeId(1),
            other: NodeId(5),
            reachable: false,
        },
        Step::Run { ms: 400 },
        Step::Image(NodeId(2)),
        Step::FailCommit {
            node: NodeId(3),
            fault: CommitFault::Prefix(1),
        },
        write(2, "b", None),
        Step::WriteNamed {
            node: NodeId(3),
            key: "a".into(),
            value: Some("n1".into()),
            name: 1,
        },
        Step::Retry {
            node: NodeId(1),
            name: 1,
        },
        Step::WriteOne {
            node: NodeId(4),
            key: "c".into(),
            value: Some("w".into()),
        },
        Step::Run { ms: 40 },
        Step::Fail(NodeId(5)),
        Step::Recover(NodeId(5)),
        Step::Restart(NodeId(3)),
        Step::Run { ms: 400 },
        Step::RollBack(NodeId(2)),
        Step::Read {
            node: NodeId(1),
            key: "a".into(),
        },
        Step::Pause(NodeId(4)),
        Step::FreezeClock(NodeId(1)),
        Step::Run { ms: 400 },
        Step::Resume(NodeId(4)),
        Step::ThawClock(NodeId(1)),
        Step::RaiseHorizon {
            node: NodeId(2),
            time: 9,
        },
        Step::Fail(NodeId(4)),
        Step::LoseTail(NodeId(4)),
        Step::Calm,
    ];
    schedule.steps = (0..).map(|i| i * 1_000).zip(steps).collect();
    assert_eq!(schedule.to_string(), include_str!("printed.rs"));
    assert_eq!(schedule, printed::schedule());
    let small = shrink(&schedule, 2_000, |report| report.disk_faults.rollbacks > 0);
    let small = small.expect("a disk is rolled back");
    assert!(small.steps.len() <= 2, "{small}");
}

/// Reads back what is printed of everything but the steps, whose text is compiled above.
fn read_back(printed: &str, schedule: &Schedule) -> Schedule {
    let mut node = Config::new(NodeId(1), schedule.node.nodes);
    let mut read = Schedule::new(schedule.system, schedule.seed, node.clone());
    for line in printed.lines().take_while(|line| !line.contains("steps")) {
        let Some((name, value)) = line.trim().trim_end_matches(';').split_once(" = ") else {
            continue;
        };
        if let Some(name) = name.strip_prefix("node.") {
            set(&mut node, name, value);
        } else if let Some(name) = name.strip_prefix("schedule.") {
            set_of_run(&mut read, name, value);
        }
    }
    read.node = node;
    read.steps.clone_from(&schedule.steps);
    read
}

fn set(node: &mut Config, name: &str, value: &str) {
    let number = || value.parse::<u64>().expect("a number");
    let inner = |start: &str, end: &str| {
        let inner = value.strip_prefix(start).and_then(|v| v.strip_suffix(end));
        inner.and_then(|v| v.parse::<u64>().ok())
    };
    match name {
        "replication_factor" => node.replication_factor = number() as u32,
        "write_quorum" => node.write_quorum = number() as u32,
        "read_quorum" => node.read_quorum = number() as u32,
        "partitions" => node.partitions = number() as u32,
        "request_timeout_ms" => node.request_timeout_ms = number(),
        "resend_ms" => node.resend_ms = number(),
        "sync_interval_ms" => node.sync_interval_ms = number(),
        "audit_interval_ms" => node.audit_interval_ms = number(),
        "restart_patience_ms" => node.restart_patience_ms = number(),
        "operation_memory" => node.operation_memory = number() as usize,
        "chunk_keys" => node.chunk_keys = number() as usize,
        "max_log_events" => node.max_log_events = number() as usize,
        "max_exceptions" => node.max_exceptions = number() as usize,
        "max_exception_bytes" => node.max_exception_bytes = number() as usize,
        "durable" => node.durable = value == "true",
        "clock" if value == "ClockKind::Caller" => node.clock = ClockKind::Caller,
        "clock" => {
            let bound = inner("ClockKind::Hybrid { drift_bound_ms: ", " }");
            let drift_bound_ms = bound.expect("a drift bound");
            node.clock = ClockKind::Hybrid { drift_bound_ms };
        }
        "gossip" => {
            let fanout = inner("Some(Gossip { fanout: ", ", peers: vec![] })");
            let (fanout, peers) = (fanout.expect("a fanout") as u32, Vec::new());
            node.gossip = Some(Gossip { fanout, peers });
        }
        _ => panic!("a seed draws {name} = {value}, which this test cannot read"),
    }
}

fn set_of_run(schedule: &mut Schedule, name: &str, value: &str) {
    let share = || value.parse::<f64>().expect("a number");
    match name {
        "network.loss" => schedule.network.loss = share(),
        "network.duplication" => schedule.network.duplication = share(),
        "network.straggler" => schedule.network.straggler = share(),
        "network.min_latency_ms" => schedule.network.min_latency_ms = share() as u64,
        "network.max_latency_ms" => schedule.network.max_latency_ms = share() as u64,
        "mixes" => schedule.mixes = value == "true",
        _ => panic!("a seed draws {name} = {value}, which this test cannot read"),
    }
}

#[test]
fn a_printed_schedule_says_all_that_its_seed_has_drawn() {
    for system in System::ALL {
        let campaign = Campaign {
            system,
            actions: 40,
            ..Campaign::default()
        };
        let seeds = if system == System::Gossip { 4 } else { 25 };
        for seed in 1_000..1_000 + seeds {
            let (report, schedule) = record_seed(seed, &campaign);
            let schedule = schedule.expect("a run of single steps");
            let printed = schedule.to_string();
            let read = read_back(&printed, &schedule);
            assert_eq!(read, schedule, "{printed}");
            let again = read.run().trace_hash;
            assert_eq!(again, report.trace_hash, "{printed}");
        }
    }
}

/// A field that no seed draws is printed too: whoever writes a schedule may set it.
#[test]
fn every_field_of_a_configuration_is_printed() {
    let mut node = Config::new(NodeId(1), 3);
    let usual = Schedule::new(System::Majority, 1, node.clone()).to_string();
    let lines = |text: &str| text.lines().filter(|l| l.contains("node.")).count();
    assert_eq!(lines(&usual), 0, "{usual}");
    (node.max_key_bytes, node.max_value_bytes) = (1, 2);
    (node.max_token_lead, node.max_pending) = (3, 4);
    (node.max_kept_answers, node.chunk_bytes) = (5, 6);
    let printed = Schedule::new(System::Majority, 1, node).to_string();
    assert_eq!(lines(&printed), 6, "{printed}");
}
