//! The same commands to `redis-server` and to a node of ours: the replies are the same.
//!
//! Left out on purpose, because we differ and say so in docs/commands.md: an increment of what `SET` has
//! written, an increment by zero, sums beyond 64 bits, expiry and conditions.

use bytes::{Buf as _, BytesMut};
use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// The two forms of replies, each with what decodes it.
mod resp2 {
    pub(super) use redis_protocol::resp2::{decode::decode, types::OwnedFrame};
}
mod resp3 {
    pub(super) use redis_protocol::resp3::{decode::complete::decode, types::OwnedFrame};
}

/// How long a server may take to start, and for a reply; far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A `redis-server` of a test, killed at the end.
pub(crate) struct Redis {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Redis {
    /// Starts one; `None`, with a message, if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = probe.local_addr().expect("an address");
        drop(probe);
        let port = address.port().to_string();
        let options = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let mut command = Command::new("redis-server");
        command
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                // Past the capture of the test harness, so that it is seen.
                let mut out = std::io::stderr();
                let told = writeln!(
                    out,
                    "\n!! SKIPPED: nothing is compared with Redis, as `redis-server` does not start ({error}); \
                     install it: apt-get install redis-server\n"
                );
                told.expect("standard error takes text");
                return None;
            }
        };
        let redis = Self { child, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(start.elapsed() < PATIENCE, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(redis)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Which form replies have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resp {
    Two,
    Three,
}

/// A reply as it is spelled, but of an error only its first word, and of a set no order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Reply {
    Status(Vec<u8>),
    Error(String),
    Text(Vec<u8>),
    Integer(i64),
    Null,
    List(Vec<Reply>),
    Set(BTreeSet<Reply>),
    /// Whatever else, as it shows itself.
    Other(String),
}

impl Reply {
    fn error(message: &str) -> Self {
        Self::Error(message.split(' ').next().unwrap_or_default().to_owned())
    }

    fn of_two(frame: resp2::OwnedFrame) -> Self {
        use resp2::OwnedFrame as Frame;
        match frame {
            Frame::SimpleString(text) => Self::Status(text),
            Frame::Error(message) => Self::error(&message),
            Frame::Integer(number) => Self::Integer(number),
            Frame::BulkString(text) => Self::Text(text),
            Frame::Array(items) => Self::List(items.into_iter().map(Self::of_two).collect()),
            Frame::Null => Self::Null,
        }
    }

    fn of_three(frame: resp3::OwnedFrame) -> Self {
        use resp3::OwnedFrame as Frame;
        match frame {
            Frame::SimpleString { data, .. } => Self::Status(data),
            Frame::SimpleError { data, .. } => Self::error(&data),
            Frame::Number { data, .. } => Self::Integer(data),
            Frame::BlobString { data, .. } => Self::Text(data),
            Frame::Array { data, .. } => Self::List(data.into_iter().map(Self::of_three).collect()),
            Frame::Set { data, .. } => Self::Set(data.into_iter().map(Self::of_three).collect()),
            Frame::Null => Self::Null,
            other => Self::Other(format!("{other:?}")),
        }
    }

    /// The same where the order of members means nothing: `SMEMBERS` in RESP2.
    fn comparable(self, words: &[String]) -> Self {
        match self {
            Self::List(items) if words[0] == "SMEMBERS" => Self::Set(items.into_iter().collect()),
            other => other,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("not a string: {other:?}"),
        }
    }
}

/// A client that sees the replies as they are spelled.
struct Client {
    stream: TcpStream,
    resp: Resp,
    input: BytesMut,
}

impl Client {
    fn connect(address: SocketAddr, resp: Resp) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("an option");
        let input = BytesMut::new();
        let mut client = Self {
            stream,
            resp,
            input,
        };
        if resp == Resp::Three {
            // What each says of itself differs.
            let greeted = client.ask(&["HELLO", "3"].map(str::to_owned));
            assert!(
                matches!(&greeted, Reply::Other(map) if map.contains("Map")),
                "{greeted:?}"
            );
        }
        client
    }

    fn send(&mut self, commands: &[Vec<String>]) {
        let mut bytes = String::new();
        for words in commands {
            bytes += &format!("*{}\r\n", words.len());
            for word in words {
                bytes += &format!("${}\r\n{word}\r\n", word.len());
            }
        }
        self.stream.write_all(bytes.as_bytes()).expect("sent");
    }

    fn receive(&mut self, to: &[String]) -> Reply {
        loop {
            let read = match self.resp {
                Resp::Two => resp2::decode(&self.input)
                    .map(|read| read.map(|(frame, length)| (Reply::of_two(frame), length))),
                Resp::Three => resp3::decode(&self.input)
                    .map(|read| read.map(|(frame, length)| (Reply::of_three(frame), length))),
            };
            if let Some((reply, length)) = read.expect("a reply") {
                self.input.advance(length);
                return reply.comparable(to);
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).expect("answered");
            assert!(read > 0, "the server has closed the connection at {to:?}");
            self.input.extend_from_slice(&piece[..read]);
        }
    }

    fn ask(&mut self, words: &[String]) -> Reply {
        self.send(&[words.to_vec()]);
        self.receive(words)
    }

    /// Every key of a type.
    fn scan(&mut self, of_type: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let words = ["SCAN", &cursor, "COUNT", "7", "TYPE", of_type].map(str::to_owned);
            let Reply::List(page) = self.ask(&words) else {
                panic!("SCAN answers a page")
            };
            let [next, Reply::List(found)] = &page[..] else {
                panic!("a page is a cursor and keys: {page:?}")
            };
            keys.extend(found.iter().map(Reply::text));
            cursor = next.text();
            if cursor == "0" {
                return keys;
            }
        }
    }
}

/// Numbers that a seed decides (splitmix64), and the end of all keys: those of another run are not touched.
struct Random(u64, String);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }

    fn pick(&mut self, words: &[&str]) -> String {
        let at = self.below(words.len() as u64) as usize;
        words[at].to_owned()
    }

    /// One of five keys of a kind: `v` for strings, `s` for sets and strings, `n` for counters.
    fn key(&mut self, kinds: &[&str]) -> String {
        format!("{}{}{}", self.pick(kinds), self.below(5), self.1)
    }

    fn value(&mut self) -> String {
        let length = self.below(40) as usize;
        "vx \r\n é".chars().cycle().take(length).collect::<String>() + &self.below(100).to_string()
    }
}

const ANY: &[&str] = &["v", "s", "n"];

/// A command with arguments that sometimes do not fit.
fn command(random: &mut Random) -> Vec<String> {
    let name = random.pick(&[
        "GET",
        "GET",
        "SET",
        "SET",
        "MGET",
        "MSET",
        "STRLEN",
        "DEL",
        "UNLINK",
        "EXISTS",
        "TOUCH",
        "TYPE",
        "INCR",
        "DECR",
        "INCRBY",
        "DECRBY",
        "SADD",
        "SADD",
        "SADD",
        "SREM",
        "SMEMBERS",
        "SISMEMBER",
        "SMISMEMBER",
        "SCARD",
        "PING",
        "ECHO",
        "SELECT",
        "CLIENT",
        "NONSENSE",
    ]);
    let many = 1 + random.below(4);
    let mut words = vec![name.clone()];
    match name.as_str() {
        "GET" | "STRLEN" | "TYPE" | "SCARD" | "SMEMBERS" => words.push(random.key(ANY)),
        "SET" => words.extend([random.key(&["v", "s"]), random.value()]),
        "MSET" => words.extend((0..many).flat_map(|_| [random.key(&["v", "s"]), random.value()])),
        "MGET" | "DEL" | "UNLINK" | "EXISTS" | "TOUCH" => {
            words.extend((0..many).map(|_| random.key(ANY)));
        }
        "INCR" | "DECR" => words.push(random.key(&["n", "s"])),
        "INCRBY" | "DECRBY" => {
            let by = random.pick(&[
                "1",
                "-1",
                "17",
                "-100000",
                "x",
                "1.5",
                "",
                "99999999999999999999",
            ]);
            words.extend([random.key(&["n"]), by]);
        }
        "SADD" | "SREM" | "SMISMEMBER" => {
            words.push(random.key(&["s", "s", "s", "v", "n"]));
            words.extend((0..many).map(|_| random.below(12).to_string()));
        }
        "SISMEMBER" => words.extend([random.key(ANY), random.below(12).to_string()]),
        "ECHO" => words.push(random.value()),
        "SELECT" => words.push(random.pick(&["0", "0", "x"])),
        "CLIENT" => match random.below(3) {
            0 => words.extend(["SETNAME".to_owned(), random.pick(&["ada", "ben", "a b"])]),
            _ => words.push("GETNAME".to_owned()),
        },
        _ => {}
    }
    // Now and then a word too few or too many.
    match random.below(60) {
        0 if words.len() > 1 => drop(words.pop()),
        1 if !["SADD", "SREM", "SET", "INCR", "DECR"].contains(&words[0].as_str()) => {
            words.push(format!("v1{}", random.1));
        }
        _ => {}
    }
    words
}

/// The most commands that are sent before their replies are read.
const PIPELINE: u64 = 24;

/// The seeds of a test: the fixed ones, and one that nobody has chosen, or the one that
/// `REPLICAD_DIFFERENTIAL_SEED` asks for.
pub(crate) fn seeds(fixed: &[u64]) -> Vec<u64> {
    if let Ok(text) = std::env::var("REPLICAD_DIFFERENTIAL_SEED") {
        return vec![
            text.parse()
                .expect("REPLICAD_DIFFERENTIAL_SEED is a number"),
        ];
    }
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let random = u64::from(since.subsec_nanos()) << 16 ^ since.as_secs();
    let seeds: Vec<u64> = fixed.iter().copied().chain([random]).collect();
    println!(
        "compared with Redis from the seeds {seeds:?}; REPLICAD_DIFFERENTIAL_SEED repeats one"
    );
    seeds
}

/// Whether a command can be compared behind those of its pipeline: an increment of what `SET` has written cannot, and
/// of a key that may be a string or a set it has to be known which it is.
fn is_compared(words: &[String], before: &[Vec<String>], theirs: &mut Client) -> bool {
    let [name, key] = words else { return true };
    if !["INCR", "DECR"].contains(&name.as_str()) || !key.starts_with('s') {
        return true;
    }
    let is_touched = before.iter().any(|words| words.contains(key));
    let type_of = ["TYPE".to_owned(), key.clone()];
    !is_touched && theirs.ask(&type_of) == Reply::Status(b"set".to_vec())
}

/// Sends as many commands as asked for, drawn from the seed, to both, in pipelines of random length, and compares the
/// replies.
pub(crate) fn compare(
    ours: SocketAddr,
    theirs: SocketAddr,
    resp: Resp,
    seed: u64,
    commands: usize,
) {
    let mut clients = [ours, theirs].map(|address| Client::connect(address, resp));
    let mut random = Random(seed, format!(":{resp:?}:{seed}"));
    let mut answered = BTreeSet::new();
    let mut number = 0;
    while number < commands {
        let length = 1 + random.below(PIPELINE);
        let mut pipeline: Vec<Vec<String>> = Vec::new();
        for _ in 0..length {
            let words = command(&mut random);
            if is_compared(&words, &pipeline, &mut clients[1]) {
                pipeline.push(words);
            }
        }
        clients.iter_mut().for_each(|client| client.send(&pipeline));
        for words in &pipeline {
            let [reply, expected] = clients.each_mut().map(|client| client.receive(words));
            assert_eq!(
                reply, expected,
                "command {number} of seed {seed} with RESP {resp:?}: {words:?} (ours first, then that of Redis), in the \
                 pipeline {pipeline:?}; REPLICAD_DIFFERENTIAL_SEED={seed} repeats it"
            );
            answered.insert((words[0].clone(), matches!(reply, Reply::Error(_))));
            number += 1;
        }
    }
    for of_type in ["string", "set", "list"] {
        let [ours, theirs] = clients.each_mut().map(|client| client.scan(of_type));
        assert_eq!(
            ours, theirs,
            "keys of type {of_type}, seed {seed} with RESP {resp:?}"
        );
    }
    if commands >= 2_000 {
        assert!(
            answered.len() > 40,
            "too few kinds of replies were seen: {answered:?}"
        );
    }
}
