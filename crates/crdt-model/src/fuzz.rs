//! The bodies of the fuzz targets: ordinary functions, so that a stable test replays their corpora.
//!
//! A body that returns has found nothing; it panics on what it finds.

mod causal_decoded;
mod causal_script;
mod decoding;
mod envelope;
mod join_decoded;
mod laws;
mod map_script;
mod plain_decoded;

pub use causal_decoded::causal_decoded;
pub use causal_script::causal_script;
pub use envelope::envelope;
pub use join_decoded::join_decoded;
pub use laws::laws;
pub use map_script::map_script;
pub use plain_decoded::plain_decoded;

use decoding::take;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// States decoded from one input, at most: enough for every law.
const MAX_STATES: usize = 3;

/// The states that the bytes start with, at most [`MAX_STATES`], and the bytes behind them.
fn states_of<T: DeserializeOwned>(mut bytes: &[u8]) -> (Vec<T>, &[u8]) {
    let mut states = Vec::new();
    while states.len() < MAX_STATES {
        let Some((state, rest)) = take(bytes) else {
            break;
        };
        states.push(state);
        bytes = rest;
    }
    (states, bytes)
}

fn round_trip<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = postcard::to_stdvec(value).expect("values encode");
    let decoded: T = postcard::from_bytes(&bytes)
        .unwrap_or_else(|e| panic!("{e}: an encoded value is refused: {value:?}"));
    assert_eq!(*value, decoded, "round trip");
}

/// The same in text, where dots and replicas are written out.
fn text_round_trip<T>(value: &T)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let text = serde_json::to_string(value).expect("values encode");
    let decoded: T = serde_json::from_str(&text)
        .unwrap_or_else(|e| panic!("{e}: an encoded value is refused: {text}"));
    assert_eq!(*value, decoded, "round trip of {text}");
}

/// All orders of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    (0..n).fold(vec![Vec::new()], |orders, next| {
        let insert = |order: &Vec<usize>, at: usize| {
            let mut longer = order.clone();
            longer.insert(at, next);
            longer
        };
        orders
            .iter()
            .flat_map(|order| (0..=order.len()).map(move |at| insert(order, at)))
            .collect()
    })
}
