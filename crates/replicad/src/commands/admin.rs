//! The cluster: the REPLICAD family, which `replicad status` and `replicad node` speak.
//!
//! | command | reply |
//! |---|---|
//! | `REPLICAD STATUS` | a [`ClusterStatus`](crate::backend::ClusterStatus) as JSON |
//! | `REPLICAD VERIFY [STORES]` | a [`ClusterVerification`](crate::verification::ClusterVerification) as JSON |
//! | `REPLICAD SNAPSHOT path` | a [`SnapshotReport`](crate::storage::SnapshotReport) as JSON, once it is made |
//! | `REPLICAD BOOTSTRAP` | the id of the new cluster, once this node has begun |
//! | `REPLICAD FAIL n` | `OK` once node n is down |
//! | `REPLICAD RECOVER n [ACCEPT-LOSS]` | `OK` once node n has come back empty and is catching up |
//! | `REPLICAD HELP` | these lines |

use bytes::Bytes;
use replica::NodeId;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

use super::table::{ADMIN, Keys, Spec, command};
use super::{Session, Started, is, number, quoted, unknown_subcommand, wrong_arity};
use crate::backend::AdminError;
use crate::resp::reply::Reply;

pub(super) static COMMANDS: &[Spec] = &[command(
    "REPLICAD STATUS|VERIFY|SNAPSHOT|BOOTSTRAP|FAIL|RECOVER|HELP [argument ...]",
    -2,
    ADMIN,
    Keys::NONE,
    "server",
    "Shows, compares and copies the nodes of the cluster, takes them down and brings them back.",
    replicad,
)];

const HELP: &[&str] = &[
    "REPLICAD STATUS",
    "    What every node holds and lacks, as JSON.",
    "REPLICAD VERIFY [STORES]",
    "    Compares what the nodes hold, as JSON. STORES has each read its whole store too.",
    "REPLICAD SNAPSHOT <path>",
    "    Copies the store of this node to a new directory on its machine.",
    "REPLICAD BOOTSTRAP",
    "    Begins a new cluster with all of its nodes, none of which holds data. Answers its id.",
    "REPLICAD FAIL <node>",
    "    Takes a node down. It loses its data.",
    "REPLICAD RECOVER <node> [ACCEPT-LOSS]",
    "    Brings a failed node back, empty, to catch up with the others. ACCEPT-LOSS gives up what only",
    "    nodes that are gone have acknowledged.",
    "REPLICAD HELP",
    "    Prints this help.",
];

fn replicad(session: &mut Session, arguments: &[Bytes]) -> Started {
    let (subcommand, rest) = (&arguments[0], &arguments[1..]);
    if is(subcommand, "status") {
        return if rest.is_empty() {
            status(session)
        } else {
            wrong_arity("replicad|status").into()
        };
    }
    if is(subcommand, "verify") {
        return match rest {
            [] => verify(session, false),
            [option] if is(option, "stores") => verify(session, true),
            _ => wrong_arity("replicad|verify").into(),
        };
    }
    if is(subcommand, "snapshot") {
        return match rest {
            [path] => snapshot(session, path),
            _ => wrong_arity("replicad|snapshot").into(),
        };
    }
    if is(subcommand, "bootstrap") {
        return match rest {
            [] => bootstrap(session),
            _ => wrong_arity("replicad|bootstrap").into(),
        };
    }
    if is(subcommand, "fail") {
        return match rest {
            [node] => fail(session, node),
            _ => wrong_arity("replicad|fail").into(),
        };
    }
    if is(subcommand, "recover") {
        return match rest {
            [node] => recover(session, node, false),
            [node, option] if is(option, "accept-loss") => recover(session, node, true),
            [_, option] => {
                Reply::error(format!("unknown option '{}' of RECOVER", quoted(option))).into()
            }
            _ => wrong_arity("replicad|recover").into(),
        };
    }
    if is(subcommand, "help") {
        return Reply::Array(HELP.iter().map(|line| Reply::Simple(line)).collect()).into();
    }
    unknown_subcommand("REPLICAD", subcommand).into()
}

fn status(session: &Session) -> Started {
    let shared = Arc::clone(&session.shared);
    Started::held(async move { json(shared.backend.status().await) })
}

fn verify(session: &Session, stores: bool) -> Started {
    let shared = Arc::clone(&session.shared);
    Started::held(async move { json(shared.backend.verify(stores).await) })
}

fn snapshot(session: &Session, path: &Bytes) -> Started {
    let Ok(path) = std::str::from_utf8(path) else {
        return Reply::error("the path of a snapshot is text in UTF-8").into();
    };
    let (shared, path) = (Arc::clone(&session.shared), PathBuf::from(path));
    Started::held(async move { json(shared.backend.snapshot(path).await) })
}

fn json(answer: Result<impl Serialize, AdminError>) -> Started {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return Reply::error(error).into(),
    };
    match serde_json::to_string(&answer) {
        Ok(json) => Reply::text(json).into(),
        Err(error) => Reply::error(error).into(),
    }
}

fn bootstrap(session: &Session) -> Started {
    let shared = Arc::clone(&session.shared);
    Started::held(async move {
        match shared.backend.bootstrap().await {
            Ok(cluster) => Reply::text(cluster).into(),
            Err(error) => Reply::error(error).into(),
        }
    })
}

fn fail(session: &Session, node: &Bytes) -> Started {
    let Some(node) = node_id(node) else {
        return not_a_node(node).into();
    };
    let shared = Arc::clone(&session.shared);
    Started::held(async move { done(shared.backend.fail(node).await) })
}

fn recover(session: &Session, node: &Bytes, accept_loss: bool) -> Started {
    let Some(node) = node_id(node) else {
        return not_a_node(node).into();
    };
    let shared = Arc::clone(&session.shared);
    Started::held(async move { done(shared.backend.recover(node, accept_loss).await) })
}

fn node_id(word: &[u8]) -> Option<NodeId> {
    number(word)
        .and_then(|number| u32::try_from(number).ok())
        .map(NodeId)
}

fn not_a_node(word: &[u8]) -> Reply {
    Reply::error(format!("'{}' is not the number of a node", quoted(word)))
}

fn done(result: Result<(), AdminError>) -> Started {
    match result {
        Ok(()) => Reply::OK.into(),
        Err(error) => Reply::error(error).into(),
    }
}
