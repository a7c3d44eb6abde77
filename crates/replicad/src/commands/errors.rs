//! How failures of the node are spelled in the protocol.

use replica::RequestError;
use tokio::sync::oneshot::error::RecvError;

use crate::resp::reply::Reply;
use crate::store::StoreAnswer;

/// The error reply to a failed request. Clients act on its first word:
///
/// | first word | cause | what to do |
/// |---|---|---|
/// | `NOREPLICAS` | no majority can be reached; the text says if a write may still take effect | repeat later |
/// | `DEADLINE` | the time for the request is over; the text says if a write may still take effect | repeat |
/// | `NODEFAILED` | the node asked has failed or was stopped | ask another node |
/// | `LOADING` | the node asked is catching up; clients know this code and repeat | repeat, or ask another node |
/// | `STORAGEFAILED` | the disk under the node asked failed | ask another node |
/// | `NOROOM` | the disk under the node asked is nearly full; it still answers reads | ask another node |
/// | `TRYAGAIN` | too many requests are pending, or the owners reached lack what the session has seen | repeat later |
/// | `WRONGTYPE` | the key holds something that the command does not work on | use another command, or `DEL` the key |
/// | `SIBLINGS` | the key holds several concurrent values and the command answers one | `R.GET`, then `R.SET` |
/// | `SESSIONFULL` | what the session has seen takes too much room | `R.SESSION ON` |
/// | `SESSIONLOST` | the session has seen writes that were lost with the nodes that held them | `R.SESSION ON` |
/// | `CLOCKAHEAD` | the key's time is too far ahead of the node's clock to write above it | repeat later; look at clocks |
/// | `ERR` | the request itself is at fault, such as a value over its limit | change it |
pub(super) fn request_error(error: &RequestError) -> Reply {
    let code = match error {
        RequestError::NoMajority { .. } | RequestError::Unreachable { .. } => "NOREPLICAS",
        RequestError::Deadline { .. } => "DEADLINE",
        RequestError::NodeFailed(_) => "NODEFAILED",
        RequestError::Recovering { .. } => "LOADING",
        RequestError::StorageFailed { .. } => "STORAGEFAILED",
        RequestError::NoRoom { .. } => "NOROOM",
        RequestError::Overloaded { .. }
        | RequestError::TooMuchWaiting { .. }
        | RequestError::SessionUnmet { .. } => "TRYAGAIN",
        RequestError::SessionLost { .. } => "SESSIONLOST",
        RequestError::TimestampAhead { .. } | RequestError::ClockExhausted { .. } => "CLOCKAHEAD",
        _ => "ERR",
    };
    Reply::Error(format!("{code} {error}"))
}

/// The answer that arrived, or the error reply.
pub(super) fn answer(
    arrived: Result<Result<StoreAnswer, RequestError>, RecvError>,
) -> Result<StoreAnswer, Reply> {
    match arrived {
        Ok(result) => result.map_err(|error| request_error(&error)),
        Err(_) => Err(Reply::Error(
            "NODEFAILED the node stopped before it answered; a write may still take effect".into(),
        )),
    }
}

/// The reply to a command that does not work on what the key holds.
pub(super) fn wrong_type(what: &str) -> Reply {
    Reply::Error(format!(
        "WRONGTYPE Operation against a key holding the wrong kind of value: it is {what}"
    ))
}

/// The reply to a command that answers one value, of a key that has several.
pub(super) fn siblings(count: usize) -> Reply {
    Reply::Error(format!(
        "SIBLINGS the key holds {count} concurrent values: R.GET shows them, and R.SET with its context \
         replaces them"
    ))
}

/// An error reply that says how far a command with several keys got.
pub(super) fn partly(error: Reply, verb: &str, done: usize, total: usize) -> Reply {
    match error {
        Reply::Error(message) => Reply::Error(format!("{message} ({done} of {total} keys {verb})")),
        other => other,
    }
}
