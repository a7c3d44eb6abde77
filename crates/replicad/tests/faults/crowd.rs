//! Thousands of connections to one node, and clients that hold still in the worst moment.

use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, PATIENCE, Plan};
use crate::raw::{Answer, Raw, command, runtime};

/// Connections that say nothing.
const IDLE: usize = 5_000;

/// Connections that ask one thing after the other.
const BUSY: usize = 1_000;

/// What each busy client asks.
const REQUESTS: usize = 10;

/// Clients that misbehave, of each kind.
const ROGUES: usize = 20;

/// 5,000 connections are idle and 1,000 busy on one node, while some clients never read, read slowly or send
/// half a command: every busy client gets every answer.
pub(crate) fn busy_clients_get_all_answers() {
    let plan = Plan {
        limits: "max_connections = 7000".into(),
        ..Plan::patient()
    };
    let mut cluster = Cluster::begun(plan);
    runtime().block_on(async {
        let before = cluster.resident_kib(1);
        let mut idle = Vec::with_capacity(IDLE);
        for _ in 0..IDLE {
            idle.push(Raw::connect(1).await.expect("the node takes it"));
        }
        // The last of them has been accepted once it is answered.
        let last = idle.last_mut().expect("there are some");
        assert_eq!(
            last.ask(&[b"PING"]).await.expect("an answer"),
            Answer::Line("+PONG".into())
        );
        let with_idle = cluster.resident_kib(1);
        println!(
            "{IDLE} idle connections take {} KiB",
            with_idle.saturating_sub(before)
        );
        report("busy alone", busy("alone").await);
        let rogues = rogues().await;
        report("busy beside rogues", busy("beside").await);
        // They are still there, and so is the quiet crowd.
        let first = &mut idle[0];
        assert_eq!(
            first.ask(&[b"PING"]).await.expect("an answer"),
            Answer::Line("+PONG".into())
        );
        drop(rogues);
    });
    println!("the node has {} KiB at the end", cluster.resident_kib(1));
    cluster.check_health();
    cluster.until_equal();
}

/// Clients that keep a node waiting. They live as long as what is returned.
async fn rogues() -> (Vec<Raw>, JoinSet<()>) {
    let (mut rogues, mut slow) = (Vec::new(), JoinSet::new());
    let value = vec![b'x'; 256 << 10];
    for n in 0..ROGUES {
        // One never reads what it has asked for.
        let mut deaf = Raw::connect(1).await.expect("the node takes it");
        let key = format!("deaf{n}");
        let set = deaf.ask(&[b"SET", key.as_bytes(), &value]).await;
        assert_eq!(set.expect("an answer"), Answer::ok());
        let get = command(&[b"GET", key.as_bytes()]);
        for _ in 0..100 {
            // The node takes no more when its bounds are reached.
            let sent = tokio::time::timeout(Duration::from_millis(5), deaf.send(&get));
            if sent.await.is_err() {
                break;
            }
        }
        rogues.push(deaf);
        // One reads some bytes now and then.
        let mut sluggish = Raw::connect(1).await.expect("the node takes it");
        sluggish.send(&get).await.expect("it is taken");
        slow.spawn(async move {
            let mut some = [0; 100];
            while sluggish
                .stream
                .get_mut()
                .read(&mut some)
                .await
                .is_ok_and(|n| n > 0)
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        // One sends half a command, and half a large one.
        for words in [
            [b"SET".as_slice(), b"half", b"v"],
            [b"SET".as_slice(), b"half", value.as_slice()],
        ] {
            let mut half = Raw::connect(1).await.expect("the node takes it");
            let bytes = command(&words);
            half.send(&bytes[..bytes.len() / 2])
                .await
                .expect("it is taken");
            rogues.push(half);
        }
    }
    (rogues, slow)
}

/// Runs the busy clients and returns how long each request took.
async fn busy(name: &'static str) -> Vec<Duration> {
    let mut clients = JoinSet::new();
    for n in 0..BUSY {
        clients.spawn(async move {
            let mut client = Raw::connect(1).await.expect("the node takes it");
            let key = format!("{name}{n}");
            let mut times = Vec::with_capacity(REQUESTS);
            for round in 0..REQUESTS {
                let value = format!("{n}-{round}");
                let started = Instant::now();
                let words = [b"SET".as_slice(), key.as_bytes(), value.as_bytes()];
                let set = client.ask(&words).await;
                assert_eq!(set.expect("an answer"), Answer::ok());
                times.push(started.elapsed());
                let got = client.ask(&[b"GET", key.as_bytes()]).await;
                assert_eq!(
                    got.expect("an answer"),
                    Answer::Bulk(Some(value.into_bytes()))
                );
            }
            times
        });
    }
    let all = tokio::time::timeout(PATIENCE, clients.join_all()).await;
    all.expect("every client is answered").concat()
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 1000];
    println!(
        "{what}: {} writes, p50 {:?}, p99 {:?}, p99.9 {:?}",
        times.len(),
        at(500),
        at(990),
        at(999)
    );
}
