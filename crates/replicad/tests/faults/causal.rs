//! Systems B and C, over a network: what the store promises with processes in place of threads.

use redis::{Cmd, Value, cmd};
use std::time::Duration;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, PATIENCE, Plan, connect, until};
use crate::raw::{Answer, Raw, runtime};
use crate::talk::{Shown, delete, get, put};

/// The first value that a node shows.
fn value(cluster: &Cluster, node: u32, key: &str, level: &str) -> Option<String> {
    let answer: Value = cluster.ask(node, &get(key, level)).expect("an answer");
    let shown = Shown::read(answer).expect("an answer of R.GET");
    shown.values.into_iter().next()
}

fn session(words: &[&str]) -> Cmd {
    let mut command = cmd("R.SESSION");
    command.arg(words);
    command
}

/// B8: every process is killed at once, and all that was acknowledged is there when they are back.
pub(crate) fn data_survives_restarts() {
    let plan = Plan {
        store: "conflict = \"caller\"".into(),
        ..Plan::patient()
    };
    let mut cluster = Cluster::begun(plan);
    for n in 0..200_u64 {
        let mut write = cmd("R.PUT");
        write.arg(format!("k{n}")).arg(format!("v{n}"));
        write.arg("TIMESTAMP").arg(n + 10);
        let took_effect: i64 = cluster.ask(n as u32 % 3 + 1, &write).expect("a quorum");
        assert_eq!(took_effect, 1);
    }
    let mut deletion = cmd("R.DEL");
    deletion.arg("k7").arg("TIMESTAMP").arg(1_000);
    assert_eq!(cluster.ask::<i64>(1, &deletion).expect("a quorum"), 1);
    for _ in 0..2 {
        for node in cluster.nodes() {
            cluster.kill(node);
        }
        for node in cluster.nodes() {
            cluster.start(node);
        }
        cluster.until_up();
        for n in 0..200 {
            let expected = (n != 7).then(|| format!("v{n}"));
            assert_eq!(
                value(&cluster, n % 3 + 1, &format!("k{n}"), "QUORUM"),
                expected
            );
        }
        // An older write of the caller is still older.
        let mut older = cmd("R.PUT");
        older.arg("k7").arg("late").arg("TIMESTAMP").arg(999);
        assert_eq!(cluster.ask::<i64>(2, &older).expect("a quorum"), 0);
    }
    cluster.until_equal();
    cluster.check_health();
}

/// C1, C6, C7: five processes share the keys, each key on three of them; any node takes puts, gets and
/// deletes of any key, over TCP.
pub(crate) fn keys_are_partitioned_over_processes() {
    const KEYS: u32 = 300;
    let plan = Plan {
        nodes: 5,
        owners: Some(3),
        ..Plan::patient()
    };
    let mut cluster = Cluster::begun(plan);
    for n in 0..KEYS {
        let write = put(&format!("k{n}"), &n.to_string(), "QUORUM");
        assert_eq!(cluster.ask::<i64>(n % 5 + 1, &write).expect("a quorum"), 1);
    }
    for n in 0..KEYS {
        let read = value(&cluster, (n + 2) % 5 + 1, &format!("k{n}"), "QUORUM");
        assert_eq!(read, Some(n.to_string()));
    }
    let held = |cluster: &Cluster| {
        let sizes = cluster
            .nodes()
            .map(|node| cluster.ask::<u32>(node, &cmd("DBSIZE")).expect("an answer"));
        sizes.collect::<Vec<u32>>()
    };
    until("each key is on three nodes", || {
        held(&cluster).iter().sum::<u32>() == 3 * KEYS
    });
    let sizes = held(&cluster);
    assert!(
        sizes.iter().all(|size| (1..KEYS).contains(size)),
        "{sizes:?}"
    );
    for n in 0..KEYS {
        let deletion = delete(&format!("k{n}"), "QUORUM");
        assert_eq!(
            cluster
                .ask::<i64>((n + 1) % 5 + 1, &deletion)
                .expect("a quorum"),
            1
        );
        assert_eq!(value(&cluster, n % 5 + 1, &format!("k{n}"), "QUORUM"), None);
    }
    until("no node holds a key", || {
        held(&cluster).iter().sum::<u32>() == 0
    });
    cluster.check_health();
}

/// C2, C7: a session's position goes to another client at another process, which shows nothing older, however
/// it is cut off; and it shows the write once it can.
pub(crate) fn a_token_goes_from_process_to_process() {
    let mut cluster = Cluster::begun(Plan::patient());
    cluster
        .ask::<i64>(1, &put("k", "old", "ALL"))
        .expect("all of them");
    for other in [2, 3] {
        cluster.cut(1, other);
        cluster.cut(other, 1);
    }
    let mut first = connect(1).expect("the node serves");
    session(&["ON"]).exec(&mut first).expect("a session");
    put("k", "new", "ONE").exec(&mut first).expect("one node");
    let token: String = session(&["TOKEN"]).query(&mut first).expect("a token");
    let mut second = connect(2).expect("the node serves");
    session(&["TOKEN", &token])
        .exec(&mut second)
        .expect("its token");
    let mut read = get("k", "ONE");
    read.arg("TIMEOUT").arg(300);
    let refused = read
        .query::<Value>(&mut second)
        .expect_err("it has not got there");
    assert_eq!(refused.code(), Some("TRYAGAIN"), "{refused}");
    // Without a session the older value is shown.
    assert_eq!(value(&cluster, 2, "k", "ONE"), Some("old".into()));
    cluster.heal();
    until("the write has come", || {
        let answer = read.query::<Value>(&mut second);
        let Ok(shown) = answer.and_then(Shown::read) else {
            return false;
        };
        assert_eq!(shown.values, ["new"], "what the session has not seen");
        true
    });
    cluster.until_equal();
    cluster.check_health();
}

/// C4: with processes gone, reads and writes of a single owner go on; a majority's go on while there is one.
pub(crate) fn requests_go_on_without_some_processes() {
    let mut cluster = Cluster::begun(Plan::patient());
    cluster
        .ask::<i64>(1, &put("k", "1", "QUORUM"))
        .expect("a quorum");
    cluster.kill(3);
    cluster
        .ask::<i64>(2, &put("k", "2", "QUORUM"))
        .expect("two of three");
    assert_eq!(value(&cluster, 1, "k", "QUORUM"), Some("2".into()));
    cluster.kill(2);
    cluster.ask::<i64>(1, &put("k", "3", "ONE")).expect("one");
    assert_eq!(value(&cluster, 1, "k", "ONE"), Some("3".into()));
    let refused = cluster
        .ask::<Value>(1, &get("k", "QUORUM"))
        .expect_err("one of three");
    assert_eq!(refused.code(), Some("NOREPLICAS"), "{refused}");
    cluster.start(2);
    cluster.start(3);
    cluster.until_up();
    cluster.until_equal();
    assert_eq!(value(&cluster, 3, "k", "QUORUM"), Some("3".into()));
    cluster.check_health();
}

/// C3: the last writer wins, although its node's clock is half a minute behind that of the one before.
pub(crate) fn the_last_writer_wins_whatever_the_clocks_say() {
    let plan = Plan {
        has_clocks: true,
        ..Plan::patient()
    };
    let mut cluster = Cluster::begun(plan);
    cluster.set_clock(1, 30);
    cluster.set_clock(2, -30);
    for n in 0..20 {
        let (first, last) = (format!("first{n}"), format!("last{n}"));
        cluster
            .ask::<i64>(1, &put("k", &first, "QUORUM"))
            .expect("a quorum");
        cluster
            .ask::<i64>(2, &put("k", &last, "QUORUM"))
            .expect("a quorum");
        for node in cluster.nodes() {
            assert_eq!(value(&cluster, node, "k", "QUORUM").as_ref(), Some(&last));
        }
        cluster
            .ask::<i64>(2, &delete("k", "QUORUM"))
            .expect("a quorum");
        assert_eq!(value(&cluster, 3, "k", "QUORUM"), None);
    }
    cluster.until_equal();
    cluster.check_health();
}

/// C5: values of 1 MiB, larger ones refused with the limit, and 1,000 clients at once.
pub(crate) fn large_values_and_a_thousand_clients() {
    const CLIENTS: usize = 1_000;
    const MIB: usize = 1 << 20;
    let mut cluster = Cluster::begun(Plan::patient());
    runtime().block_on(async {
        let mut client = Raw::connect(1).await.expect("the node takes it");
        let refused = client.ask(&[b"SET", b"k", &vec![b'x'; MIB + 1]]).await;
        let refused = refused.expect("an answer");
        let expected = "-ERR value of 1048577 bytes is over the limit of 1048576";
        assert_eq!(refused, Answer::Line(expected.into()));
        let pong = client.ask(&[b"PING"]).await.expect("the connection stays");
        assert_eq!(pong, Answer::Line("+PONG".into()));
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            clients.spawn(async move {
                let length = if n % 20 == 0 { MIB } else { 1_000 };
                let (key, value) = (format!("k{n}"), vec![b'a' + (n % 26) as u8; length]);
                let node = n as u32 % 3 + 1;
                let mut writer = Raw::connect(node).await.expect("the node takes it");
                let mut reader = Raw::connect(node % 3 + 1).await.expect("the node takes it");
                let set = writer.ask(&[b"SET", key.as_bytes(), &value]).await;
                assert_eq!(set.expect("an answer"), Answer::ok());
                let got = reader.ask(&[b"GET", key.as_bytes()]).await;
                assert!(
                    got.expect("an answer") == Answer::Bulk(Some(value)),
                    "{key}"
                );
            });
        }
        let all = tokio::time::timeout(PATIENCE + Duration::from_secs(30), clients.join_all());
        all.await.expect("every client is answered");
    });
    cluster.until_equal();
    cluster.check_health();
}
