//! The load generator: one thread, any number of connections, the same for every system.

use bytes::BytesMut;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{self, Instant};

use super::wire::{Replies, Wire, Work, command, key};

/// How long a request may take before the run is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What clients do.
#[derive(Debug, Clone)]
pub struct Load {
    pub connections: usize,
    /// Requests that are sent together and answered before the next are sent.
    pub together: usize,
    pub work: Work,
    /// Keys to choose from, without order.
    pub keys: u64,
    pub value_bytes: usize,
    /// Time before anything is counted, and time that is.
    pub warm_up: Duration,
    pub counted: Duration,
    /// One request of each client in this time, whatever the answers take; as fast as answers come if none.
    pub period: Option<Duration>,
    /// Commands that each connection begins with.
    pub prelude: &'static [&'static [&'static str]],
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub operations: u64,
    pub errors: u64,
    pub seconds: f64,
    /// Microseconds from the sending of requests to the last of their answers, ascending.
    pub latencies: Vec<u32>,
}

impl Outcome {
    pub fn per_second(&self) -> f64 {
        self.operations as f64 / self.seconds
    }

    /// Milliseconds within which this part of the requests was answered.
    pub fn within(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let index = (last as f64 * part).round() as usize;
        self.latencies
            .get(index)
            .map_or(f64::NAN, |us| f64::from(*us) / 1e3)
    }
}

/// Runs loads beside each other against servers; the connections of each are spread over its addresses. `during`
/// runs in a thread of its own from the moment when all are connected.
///
/// # Errors
/// If a server cannot be reached, ends a connection, or does not answer.
pub fn run(
    loads: &[(&[SocketAddr], Wire, &Load)],
    during: impl FnOnce() + Send,
) -> Result<Vec<Outcome>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        LocalSet::new().block_on(&runtime, async {
            let mut clients = JoinSet::new();
            let mut ready = Vec::new();
            for (which, (addresses, wire, load)) in loads.iter().enumerate() {
                let value: Rc<[u8]> = vec![b'v'; load.value_bytes].into();
                for number in 0..load.connections {
                    let address = addresses[number % addresses.len()];
                    let client = Client::connect(address, *wire, load, number as u64, &value);
                    ready.push((which, client.await?));
                }
            }
            let start = Instant::now();
            for (which, client) in ready {
                clients.spawn_local(async move { (which, client.run(start).await) });
            }
            scope.spawn(during);
            let mut outcomes = vec![Outcome::default(); loads.len()];
            while let Some(ended) = clients.join_next().await {
                let (which, outcome) = ended.map_err(|error| error.to_string())?;
                let outcome = outcome?;
                let sum = &mut outcomes[which];
                sum.operations += outcome.operations;
                sum.errors += outcome.errors;
                sum.latencies.extend(outcome.latencies);
            }
            for (outcome, (_, _, load)) in outcomes.iter_mut().zip(loads) {
                outcome.seconds = load.counted.as_secs_f64();
                outcome.latencies.sort_unstable();
            }
            Ok(outcomes)
        })
    })
}

/// Writes every key once.
///
/// # Errors
/// As [`run`]; and if a write was refused.
pub fn fill(
    address: SocketAddr,
    keys: std::ops::Range<u64>,
    value_bytes: usize,
) -> Result<(), String> {
    use std::io::{Read as _, Write as _};
    const TOGETHER: u64 = 256;
    let value = vec![b'v'; value_bytes];
    let fail = |error: std::io::Error| format!("loading keys into {address}: {error}");
    let mut stream = std::net::TcpStream::connect(address).map_err(fail)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(fail)?;
    let (mut replies, mut buffer, mut chunk) =
        (Replies::default(), BytesMut::new(), vec![0; 1 << 16]);
    let (mut next, mut answered) = (keys.start, keys.start);
    while answered < keys.end {
        let mut out = Vec::new();
        while next < keys.end && next < answered + 8 * TOGETHER {
            let _none = Wire::Resp.request(&mut out, true, &key(next), &value);
            next += 1;
        }
        stream.write_all(&out).map_err(fail)?;
        let count = stream.read(&mut chunk).map_err(fail)?;
        buffer.extend_from_slice(&chunk[..count]);
        answered += replies.take(Wire::Resp, &mut buffer) as u64;
        if count == 0 || replies.errors > 0 {
            return Err(format!("loading keys into {address}: refused"));
        }
    }
    Ok(())
}

/// One connection.
struct Client {
    stream: TcpStream,
    wire: Wire,
    load: Load,
    value: Rc<[u8]>,
    random: u64,
    number: u64,
    replies: Replies,
    received: BytesMut,
    out: Vec<u8>,
}

impl Client {
    async fn connect(
        address: SocketAddr,
        wire: Wire,
        load: &Load,
        number: u64,
        value: &Rc<[u8]>,
    ) -> Result<Self, String> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| format!("{address}: {error}"))?;
        stream
            .set_nodelay(true)
            .map_err(|error| error.to_string())?;
        let mut client = Self {
            stream,
            wire,
            load: load.clone(),
            value: Rc::clone(value),
            random: (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            number,
            replies: Replies::default(),
            received: BytesMut::with_capacity(1 << 14),
            out: Vec::new(),
        };
        for words in load.prelude {
            client.out.extend_from_slice(&command(words));
        }
        client.exchange(load.prelude.len(), false).await?;
        match client.replies.errors {
            0 => Ok(client),
            _ => Err(format!("{address} refuses {:?}", load.prelude)),
        }
    }

    async fn run(mut self, start: Instant) -> Result<Outcome, String> {
        let begin = start + self.load.warm_up;
        let end = begin + self.load.counted;
        let mut outcome = Outcome::default();
        let mut due = self.load.period.map(|period| {
            start + period.mul_f64(self.number as f64 / self.load.connections as f64)
        });
        loop {
            if let (Some(at), Some(period)) = (&mut due, self.load.period) {
                time::sleep_until(*at).await;
                *at += period;
            }
            // The time of a request that had to wait for the one before it starts when it was due.
            let sent = match (due, self.load.period) {
                (Some(at), Some(period)) => at - period,
                _ => Instant::now(),
            };
            if sent >= end {
                return Ok(outcome);
            }
            let errors = self.replies.errors;
            self.request().await?;
            let now = Instant::now();
            if now >= begin && now < end {
                outcome.operations += self.load.together as u64;
                outcome.errors += self.replies.errors - errors;
                let us = (now - sent).as_micros();
                outcome
                    .latencies
                    .push(u32::try_from(us).unwrap_or(u32::MAX));
            }
        }
    }

    /// Sends requests and awaits their answers.
    async fn request(&mut self) -> Result<(), String> {
        let (mut replies, mut sends_value) = (0, false);
        for _ in 0..self.load.together {
            let random = self.random();
            let is_put = match self.load.work {
                Work::Put => true,
                Work::Get => false,
                Work::Both => random >> 63 == 0,
            };
            let key = key(random % self.load.keys);
            sends_value = self.wire.request(&mut self.out, is_put, &key, &self.value);
            replies += self.wire.replies(is_put);
        }
        assert!(
            !sends_value || self.load.together == 1,
            "long values go one at a time"
        );
        self.exchange(replies, sends_value).await
    }

    /// Writes what is in the buffer and takes so many replies.
    async fn exchange(&mut self, replies: usize, sends_value: bool) -> Result<(), String> {
        let exchanged = async {
            self.stream.write_all(&self.out).await?;
            if sends_value {
                self.stream.write_all(&self.value).await?;
                self.stream.write_all(b"\r\n").await?;
            }
            self.out.clear();
            let mut ended = 0;
            while ended < replies {
                if self.stream.read_buf(&mut self.received).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                ended += self.replies.take(self.wire, &mut self.received);
            }
            Ok::<_, std::io::Error>(())
        };
        match time::timeout(PATIENCE, exchanged).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("a connection was lost: {error}")),
            Err(_) => Err(format!("no answer within {PATIENCE:?}")),
        }
    }

    /// The next of a sequence without order.
    const fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}
