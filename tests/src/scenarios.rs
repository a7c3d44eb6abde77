//! Scenarios that are played on every driver: threads and the simulator by the tests of this crate, processes
//! in networks of their own by `replicad`'s test `faults`. Those of systems A, B, C and E are here; those of D,
//! whose nodes know nothing of quorums, are in [`siblings`](crate::siblings). The nodes of E know nothing of each
//! other, and are not run as processes.

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

/// B5, B10, of three nodes: a node that lost its data comes back with what was acknowledged, nothing deleted returns
/// with it, and a write that is older than what was acknowledged meanwhile is ignored.
pub fn timestamps_and_a_failure() -> Vec<Step> {
    vec![
        put_at(1, "a", "x", 10, Expect::Effect(true)),
        put_at(2, "b", "y", 10, Expect::Effect(true)),
        Step::Fail(3),
        Step::Ask(1, Request::DeleteAt("a", 11), Expect::Effect(true)),
        put_at(2, "b", "old", 9, Expect::Effect(false)),
        put_at(2, "c", "z", 5, Expect::Effect(true)),
        Step::Ask(3, Request::Get("a"), Expect::NodeFailed),
        Step::Recover(3),
        Step::Fail(1),
        absent(3, "a"),
        get(3, "b", "y"),
        get(2, "c", "z"),
        put_at(3, "a", "late", 10, Expect::Effect(false)),
        put_at(3, "c", "w", 6, Expect::Effect(true)),
        Step::Recover(1),
        Step::Settle,
        deleted("a", 11),
        holds("b", "y", 10),
        holds("c", "w", 6),
    ]
}

/// B10, of five nodes: where the network is parted and the nodes know it, the side without a majority refuses before
/// anything is written; where they do not, its write may take effect, and does so by its timestamp.
pub fn timestamps_on_two_sides() -> Vec<Step> {
    vec![
        put_at(1, "k", "before", 1, Expect::Effect(true)),
        Step::Settle,
        Step::Partition(vec![1, 2], vec![3, 4, 5]),
        put_at(1, "k", "minority", 30, no_majority(2, 3, false)),
        put_at(3, "k", "majority", 20, Expect::Effect(true)),
        get(4, "k", "majority"),
        Step::Ask(2, Request::Get("k"), no_majority(2, 3, false)),
        Step::Heal,
        Step::Settle,
        holds("k", "majority", 20),
        Step::CutOff(1),
        put_at(1, "k", "unheard", 40, no_majority(1, 3, true)),
        put_at(2, "k", "heard", 35, Expect::Effect(true)),
        Step::Heal,
        Step::Settle,
        holds("k", "unheard", 40),
    ]
}

/// B2, of four nodes of which two acknowledge a write and three answer a read: two may be silent, and what the other
/// two have acknowledged is read through those.
pub fn timestamps_of_half_the_nodes() -> Vec<Step> {
    vec![
        Step::CutOff(3),
        Step::CutOff(4),
        put_at(1, "k", "v", 5, Expect::Effect(true)),
        Step::Ask(2, Request::Get("k"), no_majority(2, 3, false)),
        Step::Heal,
        Step::CutOff(1),
        get(3, "k", "v"),
        get(4, "k", "v"),
        Step::Heal,
        Step::Settle,
        holds("k", "v", 5),
    ]
}

/// B10, of three nodes: behind a horizon tombstones are forgotten and older writes refused, by a node that has come
/// back without its data too, so that nothing deleted returns.
pub fn timestamps_behind_a_horizon() -> Vec<Step> {
    let below = || Expect::BelowHorizon(50);
    vec![
        put_at(1, "k", "v", 10, Expect::Effect(true)),
        Step::Ask(2, Request::DeleteAt("k", 20), Expect::Effect(true)),
        put_at(3, "k", "late", 15, Expect::Effect(false)),
        Step::Settle,
        deleted("k", 20),
        Step::RaiseHorizon(50),
        Step::Settle,
        Step::Holds("k", Held::default()),
        put_at(2, "k", "late", 15, below()),
        put_at(1, "k", "late", 50, below()),
        Step::Fail(3),
        Step::Recover(3),
        put_at(3, "k", "late", 15, below()),
        absent(3, "k"),
        put_at(3, "k", "new", 51, Expect::Effect(true)),
        get(1, "k", "new"),
        Step::Settle,
        holds("k", "new", 51),
    ]
}

fn put_at(node: u32, key: &'static str, value: &'static str, time: u64, expect: Expect) -> Step {
    Step::Ask(node, Request::PutAt(key, value, time), expect)
}

/// A deletion held everywhere, made at this time.
fn deleted(key: &'static str, time: u64) -> Step {
    let held = Held {
        value: None,
        time: Some(time),
    };
    Step::Holds(key, held)
}

/// E1, E2, E3, E6, of nodes that gossip: a request is answered by the node asked from what it holds; what was written
/// anywhere is everywhere once all is quiet, whoever was cut off or has lost its data meanwhile. Each request is that
/// of a client of its own, which has seen nothing.
pub fn gossip() -> Vec<Vec<Step>> {
    vec![
        gossip_resolves_by_time(),
        gossip_reaches_who_was_cut_off(),
        gossip_brings_back_what_was_lost(),
    ]
}

/// E1: at equal times the smaller value wins, otherwise the later one; a delete is a write.
fn gossip_resolves_by_time() -> Vec<Step> {
    let write = |client, node, request| in_session(client, node, request, Expect::Done);
    let mut steps: Vec<Step> = (1..=6).map(Step::CutOff).collect();
    steps.extend([
        write("a", 1, Request::Put("tie", "b")),
        write("b", 2, Request::Put("tie", "a")),
        write("c", 3, Request::Put("other", "x")),
        write("d", 3, Request::Put("later", "z")),
        write("e", 4, Request::Put("later", "a")),
        in_session("f", 5, Request::Get("tie"), Expect::Found(None)),
        in_session("g", 1, Request::Get("tie"), Expect::Found(Some("b"))),
        Step::Heal,
        Step::Settle,
        holds("tie", "a", 1),
        holds("later", "z", 2),
        write("h", 5, Request::Delete("later")),
        in_session("i", 5, Request::Get("later"), Expect::Found(None)),
        Step::Settle,
        deleted("later", 3),
    ]);
    steps
}

/// E3: a node that hears nothing for a while serves what it has, and misses nothing in the end.
fn gossip_reaches_who_was_cut_off() -> Vec<Step> {
    let write = |client, node, request| in_session(client, node, request, Expect::Done);
    vec![
        write("a", 1, Request::Put("k", "1")),
        Step::Settle,
        Step::CutOff(6),
        write("b", 2, Request::Put("k", "2")),
        write("c", 6, Request::Put("l", "alone")),
        in_session("d", 6, Request::Get("k"), Expect::Found(Some("1"))),
        Step::Heal,
        Step::Settle,
        holds("k", "2", 2),
        holds("l", "alone", 2),
    ]
}

/// E2: a node that has lost its data writes under another name at once, and gets the rest back.
fn gossip_brings_back_what_was_lost() -> Vec<Step> {
    let write = |client, node, request| in_session(client, node, request, Expect::Done);
    vec![
        write("a", 4, Request::Put("k", "1")),
        write("b", 1, Request::Put("l", "2")),
        Step::Settle,
        Step::Fail(4),
        in_session("c", 4, Request::Get("k"), Expect::NodeFailed),
        write("d", 2, Request::Delete("l")),
        Step::Recover(4),
        write("e", 4, Request::Put("m", "3")),
        Step::Settle,
        holds("k", "1", 1),
        in_session("f", 4, Request::Get("l"), Expect::Found(None)),
        in_session("g", 6, Request::Get("m"), Expect::Found(Some("3"))),
    ]
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
