//! Scenarios that are played on every driver: threads and the simulator by the tests of this crate, processes
//! in networks of their own by `replicad`'s test `faults`. Those of systems A, B and C are here; the nodes of
//! system D know nothing of quorums, and those of E nothing of each other, and neither is run as processes.

use crate::scenario::{Expect, Held, Request, Step, absent, delete, get, holds, put};

/// There is no majority.
pub fn no_majority(acknowledged: usize, needed: usize, may_take_effect: bool) -> Expect {
    Expect::NoMajority {
        acknowledged,
        needed,
        may_take_effect,
    }
}

/// A write, and what must come of it.
pub fn ask_put(node: u32, key: &'static str, value: &'static str, expect: Expect) -> Step {
    Step::Ask(node, Request::Put(key, value), expect)
}

/// A2: every node has its own copy of everything.
pub fn copies(nodes: u32) -> Vec<Step> {
    vec![
        put(1, "a", "1"),
        put(nodes, "b", "2"),
        delete(2, "b"),
        Step::Settle,
        holds("a", "1", 1),
    ]
}

/// A3, of five nodes: a write without a majority says how many acknowledged and how many had to.
pub fn without_a_majority() -> Vec<Step> {
    vec![
        Step::CutOff(3),
        Step::CutOff(4),
        Step::CutOff(5),
        ask_put(1, "k", "v", no_majority(2, 3, true)),
        ask_put(3, "l", "w", no_majority(1, 3, true)),
        Step::Heal,
        Step::Settle,
        get(5, "k", "v"),
        get(1, "l", "w"),
        Step::Partition(vec![1, 2], vec![3, 4, 5]),
        ask_put(1, "k", "x", no_majority(2, 3, false)),
        put(3, "k", "y"),
        Step::Heal,
        Step::Settle,
        get(1, "k", "y"),
    ]
}

/// A4, of three nodes: at equal times the smaller value wins, whichever was acknowledged.
pub fn equal_times(alone: &'static str, acknowledged: &'static str) -> Vec<Step> {
    vec![
        Step::CutOff(1),
        ask_put(1, "k", alone, no_majority(1, 2, true)),
        put(2, "k", acknowledged),
        Step::Heal,
        Step::Settle,
        holds("k", "x", 1),
        get(1, "k", "x"),
        get(2, "k", "x"),
        get(3, "k", "x"),
    ]
}

/// A4, of three nodes: the higher time wins whatever the value.
pub fn higher_times() -> Vec<Step> {
    vec![
        Step::CutOff(1),
        ask_put(1, "k", "a", no_majority(1, 2, true)),
        put(2, "other", "x"),
        put(3, "k", "z"),
        Step::Heal,
        Step::Settle,
        holds("k", "z", 2),
        put(1, "k", "zz"),
        Step::Settle,
        holds("k", "zz", 3),
    ]
}

/// A4, of three nodes: a later write through a lagging node wins.
pub fn lagging_write() -> Vec<Step> {
    vec![
        Step::CutOff(3),
        put(1, "k", "b"),
        Step::Heal,
        put(3, "k", "z"),
        get(1, "k", "z"),
        get(2, "k", "z"),
        get(3, "k", "z"),
    ]
}

/// A4, of three nodes: so does a delete.
pub fn lagging_delete() -> Vec<Step> {
    vec![
        Step::CutOff(3),
        put(1, "k", "b"),
        put(1, "k", "c"),
        Step::Heal,
        delete(3, "k"),
        absent(1, "k"),
        absent(2, "k"),
        absent(3, "k"),
        put(2, "k", "d"),
        get(3, "k", "d"),
    ]
}

/// A4, of three nodes: a node that lags far behind joins what it reads, and repairs those that lag.
pub fn lagging_read() -> Vec<Step> {
    let mut steps = vec![Step::CutOff(3)];
    steps.extend(["1", "2", "3", "4"].map(|value| put(1, "k", value)));
    steps.extend([Step::Heal, get(3, "k", "4")]);
    let held = Held {
        value: Some("4".into()),
        time: Some(4),
    };
    steps.push(Step::Holds("k", held));
    steps
}

/// A5: operations go on while a majority is up, and fail cleanly with one node less.
pub fn failures(nodes: u32) -> Vec<Step> {
    let majority = nodes / 2 + 1;
    let (left, needed) = (majority as usize - 1, majority as usize);
    let mut steps = vec![put(1, "a", "1"), put(2, "b", "2"), put(nodes, "c", "3")];
    steps.extend((majority + 1..=nodes).map(Step::Fail));
    steps.extend([put(1, "a", "4"), delete(2, "b")]);
    for node in 1..=majority {
        steps.extend([get(node, "a", "4"), absent(node, "b"), get(node, "c", "3")]);
    }
    let none = || no_majority(left, needed, false);
    steps.extend([
        Step::Fail(majority),
        ask_put(1, "c", "5", none()),
        Step::Ask(1, Request::Delete("c"), none()),
        Step::Ask(1, Request::Get("c"), none()),
        Step::Ask(nodes, Request::Get("c"), Expect::NodeFailed),
        Step::RecoverRefused(nodes),
        Step::RecoverAcceptingLoss(nodes),
        put(nodes, "d", "6"),
    ]);
    steps.extend((majority..nodes).map(Step::Recover));
    steps.push(Step::Settle);
    for node in 1..=nodes {
        steps.extend([get(node, "a", "4"), absent(node, "b"), get(node, "c", "3")]);
    }
    // A second loss of data by the same node.
    steps.extend([Step::Fail(nodes), put(1, "e", "7"), Step::Recover(nodes)]);
    steps.extend([get(nodes, "e", "7"), put(nodes, "e", "8"), get(1, "e", "8")]);
    steps
}

/// A6: a node that answers nothing holds up nobody.
pub fn silent_node(nodes: u32) -> Vec<Step> {
    let rounds = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    let mut steps = vec![Step::CutOff(nodes)];
    for value in rounds {
        steps.extend([put(1, "k", value), get(2, "k", value)]);
        steps.extend([delete(2, "l"), absent(1, "l")]);
    }
    steps
}

/// A9: the worked scenario, of three nodes.
pub fn worked() -> Vec<Step> {
    let (a, b, c) = (1, 2, 3);
    let concurrent = vec![
        (a, Request::Put("key1", "value1")),
        (b, Request::Put("key1", "value2")),
    ];
    let winner = || Expect::OneOf(vec!["value1", "value2"]);
    let mut steps = vec![Step::Concurrent(concurrent), Step::Settle];
    steps.extend([a, b, c].map(|node| Step::Ask(node, Request::Get("key1"), winner())));
    steps.extend([
        Step::Fail(c),
        put(a, "key2", "value3"),
        Step::Ask(c, Request::Get("key2"), Expect::NodeFailed),
        Step::Recover(c),
        Step::Ask(c, Request::Get("key1"), winner()),
        get(c, "key2", "value3"),
        Step::Settle,
    ]);
    steps
}

/// B2, B3, B4, B10, of three nodes: the highest timestamp wins whatever the order; a value wins a tie against a
/// deletion, and of two values the smaller one.
pub fn timestamps() -> Vec<Vec<Step>> {
    type Write = (u32, Option<&'static str>, u64, bool);
    let scenarios: [(&[Write], Option<&'static str>); 7] = [
        (
            &[(1, Some("new"), 20, true), (2, Some("old"), 10, false)],
            Some("new"),
        ),
        (
            &[(1, Some("old"), 10, true), (2, Some("new"), 20, true)],
            Some("new"),
        ),
        (&[(1, Some("v"), 20, true), (2, None, 20, false)], Some("v")),
        (&[(1, None, 20, true), (2, Some("v"), 20, true)], Some("v")),
        (
            &[
                (1, Some("v"), 20, true),
                (2, None, 21, true),
                (3, Some("w"), 20, false),
            ],
            None,
        ),
        (
            &[
                (1, Some("b"), 5, true),
                (2, Some("a"), 5, true),
                (3, Some("c"), 5, false),
            ],
            Some("a"),
        ),
        (
            &[
                (1, None, u64::MAX, true),
                (2, Some("v"), 0, false),
                (3, Some("w"), u64::MAX, true),
            ],
            Some("w"),
        ),
    ];
    let steps = |(writes, expected): (&[Write], Option<&'static str>)| {
        let written = writes.iter().map(|(node, value, time, has_effect)| {
            let request = match value {
                Some(value) => Request::PutAt("k", value, *time),
                None => Request::DeleteAt("k", *time),
            };
            Step::Ask(*node, request, Expect::Effect(*has_effect))
        });
        let read = |node| Step::Ask(node, Request::Get("k"), Expect::Found(expected));
        let read = (1..=3).map(read);
        let mut steps: Vec<Step> = written.chain(read).collect();
        let latest = writes.iter().map(|(_, _, time, _)| *time).max();
        let held = Held {
            value: expected.map(str::to_owned),
            time: latest,
        };
        steps.extend([Step::Settle, Step::Holds("k", held)]);
        steps
    };
    scenarios.into_iter().map(steps).collect()
}

/// What sessions are promised, each of three nodes that compare what they know often.
pub fn sessions() -> Vec<Vec<Step>> {
    vec![
        a_session_reads_its_writes(),
        a_session_is_handed_over(),
        a_session_writes_in_order(),
    ]
}

fn in_session(session: &'static str, node: u32, request: Request, expect: Expect) -> Step {
    Step::AskIn(session, node, request, expect)
}

/// C2, of three nodes: what a session has written it sees through any node, or is told that it cannot; who has no
/// part in it is shown what there is.
fn a_session_reads_its_writes() -> Vec<Step> {
    let found = |value| Expect::Found(Some(value));
    vec![
        put(1, "x", "0"),
        Step::Settle,
        Step::CutOff(3),
        in_session("ann", 1, Request::Put("x", "1"), Expect::Done),
        in_session("ann", 3, Request::Get("x"), Expect::Unmet),
        in_session("bob", 3, Request::Get("x"), found("0")),
        Step::Heal,
        in_session("ann", 3, Request::Get("x"), found("1")),
        in_session("ann", 2, Request::Delete("x"), Expect::Done),
        in_session("ann", 1, Request::Get("x"), Expect::Found(None)),
    ]
}

/// C2, C7, of three nodes: a session goes on where another has handed over, and reads never go back.
fn a_session_is_handed_over() -> Vec<Step> {
    let found = |value| Expect::Found(Some(value));
    vec![
        put(1, "x", "0"),
        Step::Settle,
        Step::CutOff(2),
        in_session("ann", 2, Request::Put("x", "1"), Expect::Done),
        Step::HandOver("ann", "bob"),
        in_session("bob", 1, Request::Get("x"), Expect::Unmet),
        in_session("eve", 1, Request::Get("x"), found("0")),
        Step::Heal,
        in_session("bob", 1, Request::Get("x"), found("1")),
        // What bob has read, carl reads too, wherever he asks.
        Step::HandOver("bob", "carl"),
        in_session("carl", 3, Request::Get("x"), found("1")),
    ]
}

/// C3, of three nodes: a session's later write wins over its earlier ones and over what it has read, through a node
/// that has heard of neither.
fn a_session_writes_in_order() -> Vec<Step> {
    let found = |value| Expect::Found(Some(value));
    vec![
        Step::CutOff(3),
        in_session("ann", 1, Request::Put("x", "a"), Expect::Done),
        in_session("ann", 1, Request::Put("x", "b"), Expect::Done),
        in_session("ann", 1, Request::Put("x", "c"), Expect::Done),
        in_session("ann", 3, Request::Put("x", "z"), Expect::Done),
        Step::Heal,
        Step::Settle,
        in_session("bob", 2, Request::Get("x"), found("z")),
        in_session("bob", 2, Request::Put("x", "zz"), Expect::Done),
        Step::Settle,
        in_session("eve", 3, Request::Get("x"), found("zz")),
    ]
}
