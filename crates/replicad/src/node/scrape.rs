//! The figures of a node of a network, as they are at one moment.

use replica::{Counters, Node, NodeId};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time;

use super::network::Network;
use super::spaces::Spaces;
use crate::backend::NodeState;
use crate::metrics::{Figures, Labels};
use crate::policies::{StorePolicy, StringPolicy};
use crate::storage::{DAMAGED_STORES, Room};
use crate::store::Space;
use crate::transport::{Counters as Connections, LaneCounters, PeerCounters, Transport};

/// How long the actor may take to say how it is. Its figures are left out then.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the actor says of one space.
#[derive(Debug, Clone, Copy, Default)]
struct SpaceFigures {
    entries: usize,
    tombstones: usize,
    log_events: usize,
    exceptions: usize,
    pending: usize,
    forwards_sent_again: u64,
    counters: Counters,
}

/// What the actor says.
#[derive(Debug)]
struct Held {
    keys: usize,
    spaces: [(Space, SpaceFigures); 2],
    lacks: BTreeMap<NodeId, u64>,
}

/// All figures of a node, as text.
pub(super) async fn scrape<S: StringPolicy>(network: &Network<S>) -> String {
    let mut figures = Figures::new();
    let state = network.state();
    let states = [
        NodeState::Up,
        NodeState::Recovering,
        NodeState::Failed,
        NodeState::Waiting,
    ];
    figures.gauges(
        "node_state",
        "1 for what the node is doing, 0 for the rest",
        states.map(|of| (label("state", &of.as_str()), u64::from(of == state))),
    );
    figures.gauge(
        "uptime_seconds",
        "Seconds since the process was started",
        network.started.elapsed().as_secs(),
    );
    figures.counter(
        "invalid_messages",
        "Frames from other nodes that were no messages",
        network.invalid_messages(),
    );
    network.metrics.show(&mut figures);
    if let Some(mailbox) = network.mailbox() {
        let held = time::timeout(PATIENCE, mailbox.inspect(held)).await;
        if let Ok(Ok(held)) = held {
            show_held(&mut figures, &held);
        }
    }
    if let Some(transport) = network.transport() {
        show_transport(&mut figures, transport);
        figures.gauges(
            "peer_suspected",
            "1 if the peer is connected and silent, so that requests go around it",
            network.peers().map(|peer| {
                let suspected = u64::from(network.suspects(peer));
                (label("peer", &peer.0), suspected)
            }),
        );
    }
    show_store(&mut figures, network);
    figures.encode()
}

fn label(name: &'static str, value: &impl ToString) -> Labels {
    vec![(name, value.to_string())]
}

fn held<S: StringPolicy>(spaces: &Spaces<S>) -> Held {
    let mut lacks = BTreeMap::new();
    let strings = of_space(&spaces.strings, &mut lacks);
    let types = of_space(&spaces.types, &mut lacks);
    Held {
        keys: spaces.key_count(),
        spaces: [(Space::Strings, strings), (Space::Types, types)],
        lacks,
    }
}

fn of_space<P: StorePolicy>(node: &Node<P>, lacks: &mut BTreeMap<NodeId, u64>) -> SpaceFigures {
    let mut figures = SpaceFigures {
        forwards_sent_again: node.forwards_sent_again(),
        ..SpaceFigures::default()
    };
    for (_, partition) in node.partitions() {
        let status = partition.status();
        figures.entries += status.entries;
        figures.tombstones += status.tombstones;
        figures.log_events += status.log_events;
        figures.exceptions += status.exceptions;
        figures.pending += status.pending;
        figures.counters = figures.counters.plus(status.counters);
        for (peer, events) in status.lacks {
            let sum = lacks.entry(peer).or_default();
            *sum = sum.saturating_add(events);
        }
    }
    figures
}

fn show_held(figures: &mut Figures, held: &Held) {
    figures.gauge(
        "keys",
        "Keys that hold something; one in both spaces counts twice",
        held.keys as u64,
    );
    let mut gauge = |name, help, of: fn(&SpaceFigures) -> usize| {
        let spaces = held.spaces.iter();
        let values = spaces.map(|(space, held)| (label("space", &space), of(held) as u64));
        figures.gauges(name, help, values);
    };
    gauge("entries", "Keys kept, tombstones included", |h| h.entries);
    gauge(
        "tombstones",
        "Keys of which only the deletion is kept",
        |h| h.tombstones,
    );
    gauge("log_events", "Events that the logs can name", |h| {
        h.log_events
    });
    gauge(
        "exceptions",
        "Intervals of keys of which more is known than of the rest",
        |h| h.exceptions,
    );
    gauge(
        "requests_pending",
        "Requests in progress in the node",
        |h| h.pending,
    );
    figures.gauges(
        "lacks_events",
        "Events that a peer has shown to know and this node lacks",
        held.lacks
            .iter()
            .map(|(peer, events)| (label("peer", &peer.0), *events)),
    );
    for (name, help, of) in PROTOCOL {
        let spaces = held.spaces.iter();
        let values = spaces.map(|(space, held)| (label("space", &space), of(&held.counters)));
        figures.counters(name, help, values);
    }
    let spaces = held.spaces.iter();
    figures.counters(
        "protocol_forwards_sent_again",
        "Forwarded requests that were sent again, since no answer had come in time",
        spaces.map(|(space, held)| (label("space", &space), held.forwards_sent_again)),
    );
}

type ProtocolCounter = (&'static str, &'static str, fn(&Counters) -> u64);

const PROTOCOL: [ProtocolCounter; 22] = [
    (
        "protocol_writes_minted_again",
        "Writes made again because something else had won",
        |c| c.writes_minted_again,
    ),
    (
        "protocol_superseded_answers",
        "Writes answered as superseded by a later one",
        |c| c.superseded_answers,
    ),
    (
        "protocol_read_repairs",
        "Replicas repaired after a read",
        |c| c.read_repairs,
    ),
    (
        "protocol_fenced_messages",
        "Messages refused because a later incarnation took the sender's place",
        |c| c.fenced_messages,
    ),
    (
        "protocol_truncated_answers",
        "Synchronisations that the log could not answer",
        |c| c.truncated_answers,
    ),
    (
        "protocol_cut_answers",
        "Synchronisations cut by their limit and continued",
        |c| c.cut_answers,
    ),
    (
        "protocol_transfer_chunks",
        "Chunks of full transfers joined",
        |c| c.transfer_chunks,
    ),
    ("protocol_tombstones_purged", "Tombstones forgotten", |c| {
        c.tombstones_purged
    }),
    (
        "protocol_incarnations",
        "Times that a partition took a new incarnation",
        |c| c.incarnations,
    ),
    (
        "protocol_exceptions_left",
        "Messages that left an exception behind",
        |c| c.exceptions_left,
    ),
    (
        "protocol_write_backs",
        "Linearizable reads that were written back",
        |c| c.write_backs,
    ),
    (
        "protocol_probes_differed",
        "Comparisons that found a peer with other knowledge",
        |c| c.probes_differed,
    ),
    (
        "protocol_incarnations_retired",
        "Times that dead incarnations were retired",
        |c| c.incarnations_retired,
    ),
    (
        "protocol_incarnations_closed",
        "Dead incarnations closed",
        |c| c.incarnations_closed,
    ),
    (
        "protocol_audits_passed",
        "Audits in which a peer that knows the same held the same",
        |c| c.audits_passed,
    ),
    (
        "protocol_audits_failed",
        "Audits in which a peer that knows the same held something else",
        |c| c.audits_failed,
    ),
    (
        "protocol_damages_given_up",
        "Times that a partition was fetched anew because most owners held something else",
        |c| c.damages_given_up,
    ),
    (
        "protocol_acknowledgements_dropped",
        "Acknowledgements dropped because their sender has lost its data since",
        |c| c.acknowledgements_dropped,
    ),
    (
        "protocol_session_waits",
        "Requests that came before what their session has seen",
        |c| c.session_waits,
    ),
    (
        "protocol_messages_sent_again",
        "Messages of requests that were sent again, since no answer had come in time",
        |c| c.messages_sent_again,
    ),
    (
        "protocol_returns_confirmed",
        "Times that a partition came back with its data and others confirmed it",
        |c| c.returns_confirmed,
    ),
    (
        "protocol_returns_unconfirmed",
        "Times that a partition came back with its data and did not wait for others any longer",
        |c| c.returns_unconfirmed,
    ),
];

fn show_transport(figures: &mut Figures, transport: &Transport) {
    let all = transport.counters();
    type Of = fn(&Connections) -> &std::sync::atomic::AtomicU64;
    let counters: [(&str, &str, Of); 4] = [
        (
            "peer_connections_accepted",
            "Connections that peers or others opened",
            |c| &c.accepted,
        ),
        (
            "peer_connections_crowded",
            "Connections closed because too many were in their handshake",
            |c| &c.crowded,
        ),
        (
            "peer_connections_refused",
            "Connections refused in the handshake, or that did not finish it",
            |c| &c.refused,
        ),
        (
            "peer_dropped_unknown",
            "Messages for nodes that are no peers",
            |c| &c.dropped_unknown,
        ),
    ];
    for (name, help, of) in counters {
        figures.counter(name, help, of(all).load(Relaxed));
    }
    figures.gauges(
        "peer_reachable",
        "1 if messages to the peer are sent, 0 if they are dropped",
        transport.peers().map(|(peer, _)| {
            let reachable = u64::from(transport.is_reachable(peer));
            (label("peer", &peer.0), reachable)
        }),
    );
    type OfPeer = fn(&PeerCounters) -> u64;
    let counters: [(&str, &str, OfPeer); 3] = [
        (
            "peer_received_frames",
            "Frames that came from the peer",
            |c| c.frames_received.load(Relaxed),
        ),
        ("peer_received_bytes", "Their bytes", |c| {
            c.bytes_received.load(Relaxed)
        }),
        (
            "peer_dropped_length",
            "Messages to the peer that were empty or too long",
            |c| c.dropped_length.load(Relaxed),
        ),
    ];
    for (name, help, of) in counters {
        let peers = transport.peers();
        figures.counters(name, help, peers.map(|(n, c)| (label("peer", &n.0), of(c))));
    }
    show_lanes(figures, transport);
}

fn show_lanes(figures: &mut Figures, transport: &Transport) {
    let lanes = || {
        transport.peers().flat_map(|(peer, counters)| {
            let of = move |lane: &str| vec![("peer", peer.0.to_string()), ("lane", lane.into())];
            [
                (of("small"), &counters.small),
                (of("large"), &counters.large),
            ]
        })
    };
    type Of = fn(&LaneCounters) -> u64;
    let counters: [(&str, &str, Of); 6] = [
        ("peer_sent_frames", "Frames handed to the system", |c| {
            c.frames_sent.load(Relaxed)
        }),
        ("peer_sent_bytes", "Their bytes", |c| {
            c.bytes_sent.load(Relaxed)
        }),
        (
            "peer_dropped_full",
            "Frames that found the queue full",
            |c| c.dropped_full.load(Relaxed),
        ),
        (
            "peer_dropped_down",
            "Frames that found no connection, or were lost when it broke",
            |c| c.dropped_down.load(Relaxed),
        ),
        ("peer_connects", "Connections made to the peer", |c| {
            c.connects.load(Relaxed)
        }),
        (
            "peer_connect_failures",
            "Attempts that failed and connections that broke",
            |c| c.failures.load(Relaxed),
        ),
    ];
    for (name, help, of) in counters {
        figures.counters(name, help, lanes().map(|(labels, c)| (labels, of(c))));
    }
    let gauges: [(&str, &str, Of); 2] = [
        (
            "peer_queued_frames",
            "Frames that wait or are written",
            |c| c.queued_frames.load(Relaxed) as u64,
        ),
        ("peer_queued_bytes", "Their bytes", |c| {
            c.queued_bytes.load(Relaxed) as u64
        }),
    ];
    for (name, help, of) in gauges {
        figures.gauges(name, help, lanes().map(|(labels, c)| (labels, of(c))));
    }
}

fn show_store<S: StringPolicy>(figures: &mut Figures, network: &Network<S>) {
    figures.gauge(
        "storage_quarantined_stores",
        "Damaged stores that were put aside in the data directory",
        quarantined(&network.options.data_dir),
    );
    let Some(store) = network.store() else {
        return;
    };
    store.metrics().show(figures);
    if let Some(free) = store.free_bytes() {
        figures.gauge(
            "storage_free_bytes",
            "Bytes that are free on the file system of the store",
            free,
        );
    }
    if let Ok(bytes) = store.file_bytes() {
        figures.gauge(
            "storage_file_bytes",
            "Bytes of the file of the store",
            bytes,
        );
    }
    figures.gauge(
        "storage_writes_refused",
        "1 while writes are refused because the disk is nearly full",
        u64::from(matches!(store.has_room(), Room::Low { .. })),
    );
}

fn quarantined(data_dir: &Path) -> u64 {
    let aside = (1..=DAMAGED_STORES).map(|n| data_dir.join(format!("store.damaged-{n}")));
    aside.filter(|path| path.exists()).count() as u64
}
