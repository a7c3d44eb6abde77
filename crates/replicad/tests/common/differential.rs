//! The same commands to `redis-server` and to a node of ours: the replies are the same.
//!
//! Left out on purpose, because we differ and say so in docs/commands.md: an increment of what `SET` has
//! written, an increment by zero, sums beyond 64 bits, expiry and conditions.

use bytes::BytesMut;
use redis_protocol::resp2::{decode::decode_bytes_mut, types::BytesFrame};
use std::collections::BTreeSet;
use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

/// A client that sees the replies as they are spelled.
struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let input = BytesMut::new();
        Self { stream, input }
    }

    fn ask(&mut self, words: &[String]) -> BytesFrame {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(command.as_bytes()).expect("sent");
        loop {
            let reply = decode_bytes_mut(&mut self.input).expect("a reply");
            if let Some((frame, _, _)) = reply {
                return frame;
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).expect("answered");
            assert!(
                read > 0,
                "the server has closed the connection at {words:?}"
            );
            self.input.extend_from_slice(&piece[..read]);
        }
    }

    /// Every key of a type.
    fn scan(&mut self, of_type: &str) -> BTreeSet<String> {
        let mut keys = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            let words = ["SCAN", &cursor, "COUNT", "7", "TYPE", of_type].map(str::to_owned);
            let BytesFrame::Array(page) = self.ask(&words) else {
                panic!("SCAN answers a page")
            };
            let [next, BytesFrame::Array(found)] = &page[..] else {
                panic!("a page is a cursor and keys: {page:?}")
            };
            keys.extend(found.iter().map(text));
            cursor = text(next);
            if cursor == "0" {
                return keys;
            }
        }
    }
}

fn text(frame: &BytesFrame) -> String {
    match frame {
        BytesFrame::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => panic!("not a string: {other:?}"),
    }
}

/// A reply, of an error only its first word, of a set without the order of its members.
fn comparable(words: &[String], reply: BytesFrame) -> BytesFrame {
    match reply {
        BytesFrame::Error(message) => {
            let code = message.split(' ').next().unwrap_or_default();
            BytesFrame::Error(code.to_owned().into())
        }
        BytesFrame::Array(mut items) if words[0] == "SMEMBERS" => {
            items.sort_by_key(text);
            BytesFrame::Array(items)
        }
        other => other,
    }
}

/// Numbers that a seed decides (splitmix64).
struct Random(u64);

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
        format!("{}{}", self.pick(kinds), self.below(5))
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
        _ => {}
    }
    // Now and then a word too few or too many.
    match random.below(60) {
        0 if words.len() > 1 => drop(words.pop()),
        1 if !["SADD", "SREM", "SET", "INCR", "DECR"].contains(&words[0].as_str()) => {
            words.push("v1".into());
        }
        _ => {}
    }
    words
}

/// Sends as many commands as asked for, drawn from the seed, to both, and compares the replies.
pub(crate) fn compare(ours: SocketAddr, theirs: SocketAddr, seed: u64, commands: usize) {
    let (mut ours, mut theirs) = (Client::connect(ours), Client::connect(theirs));
    let mut random = Random(seed);
    let mut answered = BTreeSet::new();
    for number in 0..commands {
        let words = command(&mut random);
        if let [name, key] = &words[..]
            && ["INCR", "DECR"].contains(&name.as_str())
            && key.starts_with('s')
        {
            let type_of = theirs.ask(&["TYPE".to_owned(), key.clone()]);
            if type_of != BytesFrame::SimpleString("set".into()) {
                continue;
            }
        }
        let expected = comparable(&words, theirs.ask(&words));
        let reply = comparable(&words, ours.ask(&words));
        assert_eq!(
            reply, expected,
            "command {number} of seed {seed}: {words:?} (ours first, then that of Redis)"
        );
        let is_error = matches!(reply, BytesFrame::Error(_));
        answered.insert((words[0].clone(), is_error));
    }
    for of_type in ["string", "set", "list"] {
        assert_eq!(
            ours.scan(of_type),
            theirs.scan(of_type),
            "keys of type {of_type}, seed {seed}"
        );
    }
    if commands >= 2_000 {
        assert!(
            answered.len() > 40,
            "too few kinds of replies were seen: {answered:?}"
        );
    }
}
