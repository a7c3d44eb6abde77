//! Our transport between two nodes beside plain blocking TCP, both in this process on loopback.

use bytes::Bytes;
use replica::NodeId;
use replicad::transport::{Handler, Transport, TransportOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::report::Report;
use crate::row::{Row, Side, Target, Unit};

const MESSAGE_BYTES: usize = 64;
/// Messages under way at most, so that no queue is full.
const WINDOW: u64 = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);

pub fn rows(report: &mut Report) {
    let round_trip = "transport: round trip of 64 B";
    let stream = "transport: small messages one after the other";
    if !report.wants(round_trip) && !report.wants(stream) {
        return;
    }
    let (trips, messages) = match report.options.quick {
        true => (5_000, 1_000_000),
        false => (30_000, 5_000_000),
    };
    let measured = pair().and_then(|pair| {
        let mut rounds: [Vec<f64>; 3] = Default::default();
        for _ in 0..3 {
            rounds[0].push(pair.round_trip(trips)?);
            rounds[1].push(blocking_round_trip(trips).map_err(|error| error.to_string())?);
            rounds[2].push(pair.stream(messages)?);
        }
        Ok(rounds.map(|mut round| crate::measure::median(&mut round)))
    });
    let [ours, floor, rate] = match measured {
        Ok(medians) => medians,
        Err(error) => return eprintln!("left out: rows of the transport: {error}"),
    };
    report.add(
        &Row::new(round_trip, Unit::Microseconds)
            .with(Side::Ours, ours)
            .with(Side::Floor("blocking TCP"), floor)
            .target(Target::AtMostTimesFloor(1.2)),
    );
    report.add(
        &Row::new(stream, Unit::PerSecond)
            .with(Side::Ours, rate)
            .target(Target::AtLeast(1_500_000.0)),
    );
}

/// A node that tells a thread of each message, or sends it back.
#[derive(Default)]
struct Node {
    back: OnceLock<Arc<Transport>>,
    received: AtomicU64,
    told: OnceLock<SyncSender<()>>,
}

impl Handler for Node {
    fn message(&self, from: NodeId, frame: Bytes) {
        self.received.fetch_add(1, Relaxed);
        if frame[0] == 1 {
            return;
        }
        match (self.told.get(), self.back.get()) {
            // Whoever waits has one message under way.
            (Some(told), _) => drop(told.try_send(())),
            (None, Some(back)) => back.send(from, Bytes::copy_from_slice(&frame)),
            (None, None) => {}
        }
    }

    fn reachable(&self, _: NodeId, _: bool) {}
}

/// Two nodes that are connected, each with threads of its own.
struct Pair {
    first: Arc<Transport>,
    told: Receiver<()>,
    second: Arc<Node>,
    _runtimes: [tokio::runtime::Runtime; 2],
}

fn pair() -> Result<Pair, String> {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder
            .enable_all()
            .build()
            .map_err(|error| error.to_string())
    };
    let runtimes = [runtime()?, runtime()?];
    let (sender, told) = sync_channel(1);
    let nodes = [Arc::new(Node::default()), Arc::new(Node::default())];
    let _new = nodes[0].told.set(sender);
    let listeners = [listener()?, listener()?];
    let addresses = [address(&listeners[0])?, address(&listeners[1])?];
    let mut transports = Vec::new();
    for (i, listener) in listeners.into_iter().enumerate() {
        let other = (NodeId(2 - i as u32), addresses[1 - i].clone());
        let options = TransportOptions::new(NodeId(1 + i as u32), "bench", "", vec![other]);
        let started = runtimes[i].block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener);
            let listener = listener.map_err(|error| error.to_string())?;
            let handler: Arc<dyn Handler> = Arc::clone(&nodes[i]) as Arc<dyn Handler>;
            Transport::start_on(listener, options, handler).map_err(|error| error.to_string())
        });
        transports.push(Arc::new(started?));
    }
    let _new = nodes[1].back.set(Arc::clone(&transports[1]));
    let start = Instant::now();
    while !(transports[0].is_reachable(NodeId(2)) && transports[1].is_reachable(NodeId(1))) {
        if start.elapsed() > PATIENCE {
            return Err("the nodes do not connect".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Pair {
        first: Arc::clone(&transports[0]),
        told,
        second: Arc::clone(&nodes[1]),
        _runtimes: runtimes,
    })
}

fn listener() -> Result<TcpListener, String> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|error| error.to_string())?;
    listener
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    Ok(listener)
}

fn address(listener: &TcpListener) -> Result<String, String> {
    listener
        .local_addr()
        .map(|address| address.to_string())
        .map_err(|error| error.to_string())
}

impl Pair {
    /// Microseconds.
    fn round_trip(&self, trips: u32) -> Result<f64, String> {
        let message = Bytes::from(vec![0; MESSAGE_BYTES]);
        let start = Instant::now();
        for _ in 0..trips {
            self.first.send(NodeId(2), message.clone());
            self.told
                .recv_timeout(PATIENCE)
                .map_err(|error| error.to_string())?;
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(trips))
    }

    /// Messages per second.
    fn stream(&self, messages: u64) -> Result<f64, String> {
        let message = Bytes::from(vec![1; MESSAGE_BYTES]);
        let begun = self.second.received.load(Relaxed);
        let received = || self.second.received.load(Relaxed) - begun;
        let start = Instant::now();
        let mut sent = 0;
        while received() < messages {
            while sent < messages && sent - received() < WINDOW {
                self.first.send(NodeId(2), message.clone());
                sent += 1;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!(
                    "{} of {messages} messages have arrived",
                    received()
                ));
            }
            std::thread::yield_now();
        }
        Ok(messages as f64 / start.elapsed().as_secs_f64())
    }
}

/// Microseconds.
fn blocking_round_trip(trips: u32) -> std::io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut first = TcpStream::connect(listener.local_addr()?)?;
    let (mut second, _) = listener.accept()?;
    first.set_nodelay(true)?;
    second.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let mut message = [0; MESSAGE_BYTES];
        for _ in 0..trips {
            second.read_exact(&mut message)?;
            second.write_all(&message)?;
        }
        Ok(())
    });
    let mut message = [0; MESSAGE_BYTES];
    let start = Instant::now();
    for _ in 0..trips {
        first.write_all(&message)?;
        first.read_exact(&mut message)?;
    }
    let time = start.elapsed();
    echo.join().map_err(|_| std::io::ErrorKind::Other)??;
    Ok(time.as_secs_f64() * 1e6 / f64::from(trips))
}
