#[path = "../../tests/common/differential.rs"]
mod differential;
mod hostile;
mod redis;
mod secured;

use super::*;
use crate::client::{Client, ClientError, Value};
use crate::fake::Fake;
use crate::limits::Limits;
use crate::store::{Operation, StoreRequest};
use bytes::Bytes;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A served fake node.
struct Served {
    fake: Arc<Fake>,
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Served {
    async fn new(limits: Limits) -> Self {
        Self::guarded(limits, Access::default()).await
    }

    async fn guarded(limits: Limits, access: Access) -> Self {
        let fake = Arc::new(Fake::new(limits));
        let listener = bind(0).await.expect("some port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(serve(
            listener,
            Arc::clone(&fake) as Arc<dyn Backend>,
            access,
            stopped,
        ));
        Self {
            fake,
            address,
            stop,
            task,
        }
    }

    async fn client(&self) -> Client {
        Client::connect_to(&self.address.to_string())
            .await
            .expect("the server listens")
    }

    async fn raw(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("the server listens")
    }

    /// Everything the server answers to these bytes, the connection then half closed.
    async fn talk(&self, bytes: &[u8]) -> String {
        let mut stream = self.raw().await;
        stream.write_all(bytes).await.expect("sent");
        stream.shutdown().await.expect("half closed");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    time::timeout(Duration::from_secs(30), future)
        .await
        .expect("done in time")
}

/// Waits for a condition that another task brings about.
async fn until(mut holds: impl FnMut() -> bool) {
    within(async {
        while !holds() {
            time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

fn text(value: &'static str) -> Value {
    Value::Bytes(Bytes::from_static(value.as_bytes()))
}

#[tokio::test]
async fn a_pipeline_is_answered_in_order() {
    let served = Served::new(Limits::default()).await;
    let mut client = served.client().await;
    for round in 0..1000 {
        let value = round.to_string();
        client.queue(&[b"SET", b"a", value.as_bytes()]);
        client.queue(&[b"GET", b"a"]);
        client.queue(&[b"DEL", b"a"]);
        client.queue(&[b"GET", b"a"]);
    }
    for round in 0..1000 {
        assert_eq!(client.receive().await.unwrap(), text("OK"));
        assert_eq!(
            client.receive().await.unwrap(),
            Value::Bytes(round.to_string().into())
        );
        assert_eq!(client.receive().await.unwrap(), Value::Integer(1));
        assert_eq!(client.receive().await.unwrap(), Value::Null);
    }
}

#[tokio::test]
async fn commands_overlap_and_those_behind_a_deletion_wait_for_it() {
    let served = Served::new(Limits::default()).await;
    served.fake.state().holding = true;
    let mut client = served.client().await;
    let commands: [&[&[u8]]; 4] = [
        &[b"SET", b"a", b"1"],
        &[b"GET", b"b"],
        &[b"DEL", b"a"],
        &[b"SET", b"a", b"2"],
    ];
    for words in commands {
        client.queue(words);
    }
    let replies = tokio::spawn(async move {
        let mut replies = Vec::new();
        for _ in 0..4 {
            replies.push(client.receive().await.unwrap());
        }
        replies
    });
    until(|| served.fake.state().submitted.len() == 5).await;
    time::sleep(Duration::from_millis(20)).await;
    assert_eq!(
        served.fake.state().submitted.len(),
        5,
        "the second SET waits"
    );
    until(|| {
        served.fake.release();
        replies.is_finished()
    })
    .await;
    assert_eq!(
        replies.await.unwrap(),
        [text("OK"), Value::Null, Value::Integer(1), text("OK")]
    );
    let put = |value| Operation::put(Bytes::from_static(value));
    let request = |(key, operation)| StoreRequest::new(Bytes::from_static(key), operation);
    assert_eq!(
        served.fake.state().submitted,
        [
            (&b"a"[..], put(b"1")),
            (b"b", Operation::Get),
            (b"b", Operation::Look),
            (b"a", Operation::Get),
            (b"a", Operation::Look),
            (b"a", Operation::delete()),
            (b"a", put(b"2"))
        ]
        .map(request)
    );
}

#[tokio::test]
async fn what_would_be_seen_too_early_or_too_late_waits() {
    // How many requests the first command makes, and the second one, which has to wait for it.
    let pairs: [(&str, usize, &str); 6] = [
        ("STRLEN a", 2, "SET a 1"),
        ("EXISTS a", 2, "DEL a"),
        ("SET a 1", 1, "SADD a m"),
        ("INCR a", 1, "SADD a m"),
        ("SADD a m", 1, "SET a 1"),
        ("SET a 1", 1, "SMEMBERS a"),
    ];
    for (first, requests, second) in pairs {
        let served = Served::new(Limits::default()).await;
        served.fake.state().holding = true;
        let bytes = format!("{first}\r\n{second}\r\n");
        let mut stream = served.raw().await;
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        until(|| served.fake.state().submitted.len() >= requests).await;
        time::sleep(Duration::from_millis(20)).await;
        let submitted = served.fake.state().submitted.len();
        assert_eq!(submitted, requests, "{second} waits for {first}");
        let replies = tokio::spawn(async move {
            stream.shutdown().await.expect("half closed");
            let mut replies = String::new();
            stream.read_to_string(&mut replies).await.expect("answered");
            replies
        });
        until(|| {
            served.fake.release();
            replies.is_finished()
        })
        .await;
        let replies = replies.await.expect("no panic");
        assert_eq!(replies.lines().count(), 2, "{first}, {second}: {replies}");
    }
}

#[tokio::test]
async fn replies_go_out_while_later_ones_are_awaited() {
    let served = Served::new(Limits::default()).await;
    served.fake.state().holding = true;
    let mut client = served.client().await;
    client.queue(&[b"PING"]);
    client.queue(&[b"GET", b"a"]);
    assert_eq!(within(client.receive()).await.unwrap(), text("PONG"));
}

#[tokio::test]
async fn an_oversized_value_leaves_the_connection_usable() {
    let limits = Limits {
        max_value_bytes: 100_000,
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    let mut client = served.client().await;
    let value = vec![b'v'; 100_000];
    let over = [&value[..], b"v"].concat();
    client.queue(&[b"SET", b"a", &over]);
    client.queue(&[b"SET", b"a", &value]);
    client.queue(&[b"GET", b"a"]);
    assert_eq!(
        client.receive().await.unwrap(),
        Value::Error("value of 100001 bytes is over the limit of 100000".into())
    );
    assert_eq!(client.receive().await.unwrap(), text("OK"));
    assert_eq!(client.receive().await.unwrap(), Value::Bytes(value.into()));
}

#[tokio::test]
async fn garbage_is_answered_and_ends_the_connection() {
    let served = Served::new(Limits::default()).await;
    for (bytes, answer) in [
        (
            "PING\r\n$5\r\nPING\r\n",
            "+PONG\r\n-ERR Protocol error: expected '*', got '$'\r\n",
        ),
        (
            "*1\r\n*1\r\n",
            "-ERR Protocol error: expected '$', got '*'\r\n",
        ),
        ("*2\r\n$3\r\nGET", ""),
        ("QUIT\r\nPING\r\n", "+OK\r\n"),
        (
            "FOO\r\nPING\r\n",
            "-ERR unknown command 'FOO', with args beginning with:\r\n+PONG\r\n",
        ),
    ] {
        assert_eq!(
            within(served.talk(bytes.as_bytes())).await,
            answer,
            "{bytes}"
        );
    }
    let nested = "*1\r\n".repeat(1000);
    let answer = within(served.talk(nested.as_bytes())).await;
    assert!(answer.starts_with("-ERR Protocol error"));
}

#[tokio::test]
async fn hello_changes_the_replies_behind_it() {
    let served = Served::new(Limits::default()).await;
    let answer = within(served.talk(b"GET a\r\nHELLO 3\r\nGET a\r\nRESET\r\nGET a\r\n")).await;
    assert!(answer.starts_with("$-1\r\n%7\r\n"), "{answer}");
    assert!(answer.ends_with("_\r\n+RESET\r\n$-1\r\n"), "{answer}");
}

#[tokio::test]
async fn a_stream_in_single_bytes_is_understood() {
    let served = Served::new(Limits::default()).await;
    let mut stream = served.raw().await;
    stream.set_nodelay(true).unwrap();
    for byte in b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nv\r\nvv\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 5];
    within(stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    assert_eq!(served.fake.state().values[&b"k"[..]], &b"v\r\nvv"[..]);
}

#[tokio::test]
async fn a_client_that_never_reads_is_not_read_and_hurts_nobody() {
    let limits = Limits {
        max_pipeline: 16,
        output_buffer_bytes: 1000,
        max_pipeline_bytes: 10_000,
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    let value = Bytes::from(vec![b'v'; 1024 * 1024]);
    served.fake.state().values.insert(Bytes::from("big"), value);
    let mut greedy = served.raw().await;
    let flood = b"GET big\r\n".repeat(100_000);
    let sent = time::timeout(Duration::from_millis(500), greedy.write_all(&flood)).await;
    let submitted = served.fake.state().submitted.len();
    assert!(submitted < 1000, "{submitted} commands were started");
    drop(sent);
    let mut other = served.client().await;
    assert_eq!(within(other.call(&[b"PING"])).await.unwrap(), text("PONG"));
}

#[tokio::test]
async fn long_commands_of_all_connections_wait_for_each_other_and_short_ones_do_not() {
    let limits = Limits {
        max_long_bytes: 150_000,
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    served.fake.state().holding = true;
    let submitted = || served.fake.state().submitted.len();
    let set = |value: &str| {
        let bytes = value.len();
        format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${bytes}\r\n{value}\r\n")
    };
    let long = set(&"v".repeat(100_000));
    let (mut first, mut second) = (served.raw().await, served.raw().await);
    first.write_all(long.as_bytes()).await.unwrap();
    until(|| submitted() == 1).await;
    second.write_all(long.as_bytes()).await.unwrap();
    let mut short = served.raw().await;
    short.write_all(set("short").as_bytes()).await.unwrap();
    until(|| submitted() == 2).await;
    let operation = served.fake.state().submitted[1].operation.clone();
    assert_eq!(operation, Operation::put(Bytes::from("short")));
    assert!(served.fake.release(), "the first long one is answered");
    until(|| submitted() == 3).await;
    while served.fake.release() {}
    for stream in [&mut first, &mut second, &mut short] {
        let mut answer = [0; 5];
        within(stream.read_exact(&mut answer)).await.unwrap();
        assert_eq!(&answer, b"+OK\r\n");
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_told_so() {
    let limits = Limits {
        max_connections: 2,
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    let mut first = served.client().await;
    let mut second = served.client().await;
    first.call(&[b"PING"]).await.unwrap();
    second.call(&[b"PING"]).await.unwrap();
    let mut answer = String::new();
    within(served.raw().await.read_to_string(&mut answer))
        .await
        .unwrap();
    assert_eq!(
        answer,
        "-ERR max number of clients reached: the limit is 2\r\n"
    );
    drop(first);
    within(async {
        loop {
            let mut third = served.client().await;
            if third.call(&[b"PING"]).await.is_ok() {
                break;
            }
        }
    })
    .await;
    second.call(&[b"PING"]).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_answers_what_was_started_and_closes() {
    let served = Served::new(Limits::default()).await;
    served.fake.state().holding = true;
    let mut client = served.client().await;
    let mut idle = served.client().await;
    client.queue(&[b"SET", b"a", b"1"]);
    let waiting = tokio::spawn(async move {
        let first = client.receive().await;
        (first, client.receive().await)
    });
    until(|| served.fake.state().submitted.len() == 1).await;
    served.stop.send(true).unwrap();
    assert!(matches!(
        within(idle.receive()).await,
        Err(ClientError::Lost { .. })
    ));
    assert!(!served.task.is_finished(), "a command is in flight");
    served.fake.release();
    let (first, second) = within(waiting).await.unwrap();
    assert_eq!(first.unwrap(), text("OK"));
    assert!(second.is_err());
    within(served.task).await.unwrap();
    let refused = Client::connect_to(&served.address.to_string())
        .await
        .expect_err("nothing listens");
    assert!(
        refused.to_string().contains("is `replicad` running?"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let served = Served::new(Limits::default()).await;
    let error = bind(served.address.port())
        .await
        .expect_err("the port is in use");
    let expected = format!("cannot listen on 127.0.0.1:{}", served.address.port());
    assert!(error.to_string().starts_with(&expected), "{error}");
}
