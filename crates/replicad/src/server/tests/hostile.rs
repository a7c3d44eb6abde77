//! Clients that are slow, silent, greedy or talk nonsense, and what the others notice of them.

use super::*;
use bytes::BytesMut;
use proptest::prelude::*;
use tokio::io::DuplexStream;

/// Limits that make a still connection end soon.
fn impatient() -> Limits {
    Limits {
        stall_timeout: Duration::from_millis(50),
        ..Limits::default()
    }
}

async fn ends(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    // A connection that is cut off may be reset.
    let _reset = within(stream.read_to_string(&mut answer)).await;
    answer
}

#[tokio::test]
async fn half_a_command_is_not_waited_for_forever() {
    let served = Served::new(impatient()).await;
    let mut other = served.client().await;
    for half in ["*2\r\n$3\r\nGET\r\n$100\r\nabc", "*1000\r\n", "PIN"] {
        let mut stream = served.raw().await;
        stream.write_all(half.as_bytes()).await.expect("sent");
        assert_eq!(ends(&mut stream).await, "", "{half}");
        assert_eq!(within(other.call(&[b"PING"])).await.unwrap(), text("PONG"));
    }
}

#[tokio::test]
async fn a_connection_at_rest_stays_unless_it_is_limited() {
    let served = Served::new(impatient()).await;
    let mut client = served.client().await;
    time::sleep(Duration::from_millis(200)).await;
    assert_eq!(within(client.call(&[b"PING"])).await.unwrap(), text("PONG"));

    let limits = Limits {
        idle_timeout: Some(Duration::from_millis(50)),
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    let mut stream = served.raw().await;
    stream.write_all(b"PING\r\n").await.expect("sent");
    assert_eq!(ends(&mut stream).await, "+PONG\r\n");
}

#[tokio::test]
async fn a_client_that_waits_for_its_answer_is_not_idle() {
    let limits = Limits {
        idle_timeout: Some(Duration::from_millis(20)),
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    served.fake.state().holding = true;
    let mut stream = served.raw().await;
    stream.write_all(b"SET a 1\r\n").await.expect("sent");
    until(|| served.fake.state().held.len() == 1).await;
    time::sleep(Duration::from_millis(200)).await;
    assert!(served.fake.release(), "the connection is there");
    assert_eq!(ends(&mut stream).await, "+OK\r\n");
}

#[tokio::test]
async fn a_client_that_never_reads_is_cut_off_and_gives_its_memory_back() {
    let limits = Limits {
        output_buffer_bytes: 1000,
        max_pipeline_bytes: 10_000,
        max_connections: 2,
        ..impatient()
    };
    let served = Served::new(limits).await;
    let value = Bytes::from(vec![b'v'; 1024 * 1024]);
    served.fake.state().values.insert("big".into(), value);
    let mut greedy = served.raw().await;
    let mut other = served.client().await;
    other.call(&[b"PING"]).await.expect("there is room for two");
    let flood = b"GET big\r\n".repeat(100_000);
    let cut = within(async {
        // Fails when the server has closed the connection.
        while greedy.write_all(&flood).await.is_ok() {}
    });
    cut.await;
    within(async { while served.client().await.call(&[b"PING"]).await.is_err() {} }).await;
    assert_eq!(within(other.call(&[b"PING"])).await.unwrap(), text("PONG"));
}

#[tokio::test]
async fn one_address_has_a_limit_of_its_own() {
    let limits = Limits {
        max_connections_per_address: 1,
        ..Limits::default()
    };
    let served = Served::new(limits).await;
    let mut first = served.client().await;
    first.call(&[b"PING"]).await.expect("the first is served");
    let refused = "-ERR max number of clients of one address reached: the limit is 1\r\n";
    assert_eq!(ends(&mut served.raw().await).await, refused);
    let connect = |from: [u8; 4]| async move {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket
            .bind((IpAddr::from(from), 0).into())
            .expect("a loopback address");
        socket
            .connect(served.address)
            .await
            .expect("the server listens")
    };
    let mut elsewhere = connect([127, 0, 0, 2]).await;
    elsewhere
        .write_all(b"PING\r\nQUIT\r\n")
        .await
        .expect("sent");
    assert_eq!(ends(&mut elsewhere).await, "+PONG\r\n+OK\r\n");
}

/// A connection in memory to a fake node, served until its end.
fn in_memory() -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let fake = Arc::new(Fake::new(Limits {
        max_value_bytes: 100,
        max_key_bytes: 20,
        ..Limits::default()
    }));
    let shared = Arc::new(Shared::new(fake as Arc<dyn Backend>, None));
    let (client, server) = tokio::io::duplex(64);
    let task = tokio::spawn(async move {
        let (reader, writer) = tokio::io::split(server);
        // The sender lives as long as the connection.
        let (_stop, shutdown) = watch::channel(false);
        connection::run(reader, writer, shared, shutdown).await
    });
    (client, task)
}

/// Everything that is answered to these pieces, sent one by one.
async fn converse(pieces: Vec<Vec<u8>>) -> Vec<u8> {
    let (client, task) = in_memory();
    let (mut reader, mut writer) = tokio::io::split(client);
    let sending = async move {
        for piece in pieces {
            // The server may have closed the connection over what came before.
            if writer.write_all(&piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _closed = writer.shutdown().await;
    };
    let mut answers = Vec::new();
    let (_, read) = within(async { tokio::join!(sending, reader.read_to_end(&mut answers)) }).await;
    read.expect("the connection ends in order");
    let _lost = within(task).await.expect("the connection does not panic");
    answers
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// How many whole replies there are, and whether that is all.
fn replies(answers: &[u8]) -> (usize, bool) {
    let mut rest = BytesMut::from(answers);
    let mut count = 0;
    loop {
        match redis_protocol::resp2::decode::decode_bytes_mut(&mut rest) {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, rest.is_empty()),
            Err(error) => panic!("not a reply: {error}"),
        }
    }
}

/// A command, or something like one.
fn command() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let names = crate::commands::names();
    let word = prop_oneof![
        4 => proptest::sample::select(vec!["a", "b", "1", "-7", "TYPE", "COUNT", "ONE", "ON", "0", "LEVEL"])
            .prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..120),
    ];
    let name = prop_oneof![
        9 => proptest::sample::select(names).prop_map(|name| name.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..10),
    ];
    let words = proptest::collection::vec(word, 0..6);
    (name, words).prop_map(|(name, words)| [vec![name], words].concat())
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for word in command {
        bytes.extend(format!("${}\r\n", word.len()).into_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// What changes the connection itself, or tells the time, the process or a random cursor.
fn is_steady(command: &[Vec<u8>]) -> bool {
    let unsteady = [
        "QUIT",
        "HELLO",
        "INFO",
        "SCAN",
        "R.EXPLAIN",
        "R.SESSION",
        "REPLICAD",
    ];
    !unsteady
        .iter()
        .any(|name| command[0].eq_ignore_ascii_case(name.as_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered_once_however_the_stream_is_cut(
        commands in proptest::collection::vec(command(), 0..12),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..30),
    ) {
        let commands: Vec<_> = commands.into_iter().filter(|command| is_steady(command)).collect();
        let stream: Vec<u8> = commands.iter().flat_map(|command| encode(command)).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| stream[cut[0]..cut[1]].to_vec()).collect();
        let runtime = runtime();
        let whole = runtime.block_on(converse(vec![stream]));
        prop_assert_eq!(replies(&whole), (commands.len(), true));
        let cut = runtime.block_on(converse(pieces));
        prop_assert_eq!(&cut, &whole);
    }

    #[test]
    fn noise_ends_a_connection_in_order(
        commands in proptest::collection::vec(command(), 0..3),
        noise in proptest::collection::vec(
            prop_oneof![any::<u8>(), proptest::sample::select(b"*$:\r\n0123456789 ".to_vec())],
            0..200,
        ),
    ) {
        let mut pieces: Vec<_> = commands.iter().map(|command| encode(command)).collect();
        pieces.push(noise);
        let answers = runtime().block_on(converse(pieces));
        // HELLO 3 may have changed the spelling.
        if !answers.contains(&b'%') && !answers.contains(&b'_') && !answers.contains(&b'~') {
            let (_, is_whole) = replies(&answers);
            prop_assert!(is_whole, "the last reply is cut");
        }
    }
}
