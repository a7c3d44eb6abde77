//! How failures of the node are spelled in the protocol.

use replica::RequestError;
use tokio::sync::oneshot::error::RecvError;

use crate::resp::reply::Reply;
use crate::store::StoreAnswer;

/// The error reply to a failed request. Clients act on its first word:
///
/// | first word | cause | what to do |
/// |---|---|---|
/// | `NOREPLICAS` | no majority answered; the text says if a write may still take effect | repeat later |
/// | `NODEFAILED` | the node asked has failed or was stopped | ask another node |
/// | `LOADING` | the node asked is catching up; clients know this code and repeat | repeat, or ask another node |
/// | `STORAGEFAILED` | the disk under the node asked failed | ask another node |
/// | `NOROOM` | the disk under the node asked is nearly full; it still answers reads | ask another node |
/// | `TRYAGAIN` | too many requests are pending | repeat later |
/// | `ERR` | the request itself is at fault, such as a value over its limit | change it |
pub(super) fn request_error(error: &RequestError) -> Reply {
    let code = match error {
        RequestError::NoMajority { .. } | RequestError::Unreachable { .. } => "NOREPLICAS",
        RequestError::NodeFailed(_) => "NODEFAILED",
        RequestError::Recovering { .. } => "LOADING",
        RequestError::StorageFailed { .. } => "STORAGEFAILED",
        RequestError::NoRoom { .. } => "NOROOM",
        RequestError::Overloaded { .. } => "TRYAGAIN",
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
