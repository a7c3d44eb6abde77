//! The options of the R. commands, and how what they carry is written.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use crdt::Timestamp;
use replica::{Floor, Level};

use super::{is, number, quoted};
use crate::resp::reply::Reply;

/// Bytes of a context as text; no node gives a longer one.
const MAX_CONTEXT_BYTES: usize = 1 << 20;

/// One kind of option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The caller's timestamp.
    Timestamp,
    /// What the client has read.
    Context,
    /// How many owners must agree.
    Level,
    /// How long it may take.
    Timeout,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "TIMESTAMP",
            Self::Context => "CONTEXT",
            Self::Level => "LEVEL",
            Self::Timeout => "TIMEOUT",
        }
    }
}

/// The options of a command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Options {
    pub(super) timestamp: Option<Timestamp>,
    pub(super) context: Option<Floor>,
    pub(super) level: Option<Level>,
    pub(super) timeout_ms: Option<u64>,
}

impl Options {
    /// Reads pairs of a name and a value, of which these kinds are taken. A later one replaces an earlier.
    pub(super) fn parse(words: &[Bytes], kinds: &[Kind]) -> Result<Self, Reply> {
        let mut options = Self::default();
        let (pairs, rest) = words.as_chunks::<2>();
        if let [lone] = rest {
            return Err(syntax(lone, kinds));
        }
        for [name, value] in pairs {
            let mut known = kinds.iter().filter(|kind| is(name, kind.name()));
            match known.next().ok_or_else(|| syntax(name, kinds))? {
                Kind::Timestamp => options.timestamp = Some(timestamp(value)?),
                Kind::Context => options.context = Some(context(value)?),
                Kind::Level => options.level = Some(level(value)?),
                Kind::Timeout => options.timeout_ms = Some(timeout(value)?),
            }
        }
        Ok(options)
    }
}

fn syntax(word: &[u8], kinds: &[Kind]) -> Reply {
    let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
    let (word, names) = (quoted(word), names.join(", "));
    Reply::error(format!(
        "syntax error at '{word}': the options, each with a value, are {names}"
    ))
}

fn timestamp(word: &[u8]) -> Result<Timestamp, Reply> {
    let time = number(word).ok_or_else(|| Reply::error("TIMESTAMP is not a number of 64 bits"))?;
    Ok(Timestamp(time))
}

fn timeout(word: &[u8]) -> Result<u64, Reply> {
    number(word)
        .filter(|ms| *ms > 0)
        .ok_or_else(|| Reply::error("TIMEOUT is not a positive number of milliseconds"))
}

/// A level by its name.
pub(super) fn level(word: &[u8]) -> Result<Level, Reply> {
    LEVELS
        .iter()
        .find(|(name, _)| is(word, name))
        .map(|(_, level)| *level)
        .ok_or_else(|| Reply::error("the levels are ONE, QUORUM, ALL and LINEARIZABLE"))
}

/// The name of a level.
pub(super) fn level_name(level: Level) -> &'static str {
    let mut names = LEVELS.iter().filter(|(_, known)| *known == level);
    names.next().map_or("unknown", |(name, _)| name)
}

const LEVELS: [(&str, Level); 4] = [
    ("ONE", Level::One),
    ("QUORUM", Level::Quorum),
    ("ALL", Level::All),
    ("LINEARIZABLE", Level::Linearizable),
];

/// What a read has seen, as text for a client to hand back: URL-safe base64.
pub(super) fn context_text(seen: &Floor) -> Result<String, Reply> {
    let bytes = postcard::to_stdvec(seen).map_err(Reply::error)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn context(text: &[u8]) -> Result<Floor, Reply> {
    let invalid = || Reply::error("CONTEXT is not what R.GET has answered as `context`");
    if text.len() > MAX_CONTEXT_BYTES {
        return Err(invalid());
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
    match postcard::take_from_bytes(&bytes) {
        Ok((seen, [])) => Ok(seen),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::{Dot, ReplicaId};
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<Bytes> {
        let words = line.split_whitespace();
        words
            .map(|word| Bytes::copy_from_slice(word.as_bytes()))
            .collect()
    }

    const ALL: [Kind; 4] = [Kind::Timestamp, Kind::Context, Kind::Level, Kind::Timeout];

    #[test]
    fn options_are_read_in_any_order_and_case() {
        let options = Options::parse(&words("timeout 5 Level all TIMESTAMP 7"), &ALL);
        let expected = Options {
            timestamp: Some(Timestamp(7)),
            context: None,
            level: Some(Level::All),
            timeout_ms: Some(5),
        };
        assert_eq!(options, Ok(expected));
        assert_eq!(Options::parse(&[], &ALL), Ok(Options::default()));
    }

    #[test]
    fn what_is_no_option_is_refused_with_those_that_are() {
        let kinds = [Kind::Level, Kind::Timeout];
        for line in ["TIMESTAMP 7", "LEVEL", "x y", "LEVEL ONE TIMEOUT"] {
            let Err(Reply::Error(message)) = Options::parse(&words(line), &kinds) else {
                panic!("{line} is taken")
            };
            assert!(message.ends_with("are LEVEL, TIMEOUT"), "{message}");
        }
        for line in [
            "LEVEL two",
            "TIMEOUT 0",
            "TIMESTAMP -1",
            "CONTEXT AAAA",
            "CONTEXT !",
        ] {
            assert!(Options::parse(&words(line), &ALL).is_err(), "{line}");
        }
    }

    #[test]
    fn levels_have_names() {
        for (name, known) in LEVELS {
            assert_eq!(level(name.to_lowercase().as_bytes()), Ok(known));
            assert_eq!(level_name(known), name);
        }
    }

    #[test]
    fn contexts_go_through_text() {
        let seen = Floor {
            context: [1, 2, 9]
                .map(|n| Dot::new(ReplicaId(3), n))
                .into_iter()
                .collect(),
            time: Timestamp(17),
        };
        let text = context_text(&seen).expect("it is written");
        assert!(
            text.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
        assert_eq!(context(text.as_bytes()), Ok(seen));
        assert!(context(format!("{text}AAAA").as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn hostile_contexts_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let text = URL_SAFE_NO_PAD.encode(&bytes);
            if let Ok(seen) = context(text.as_bytes()) {
                let again = context_text(&seen).expect("it is written");
                prop_assert_eq!(context(again.as_bytes()), Ok(seen));
            }
            let _refused_or_read = context(&bytes);
        }
    }
}
