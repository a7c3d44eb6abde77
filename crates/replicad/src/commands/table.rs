//! Every command with what clients may ask about it. The one place that says which commands exist.

use bytes::Bytes;

use super::{Session, Started, admin, connection, keyspace, server, strings};

/// Which words of a command are keys, counted with its name as word 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    /// The first key, 0 if the command takes none.
    pub(super) first: usize,
    /// The last key; -1 if the words up to the last one may be keys.
    pub(super) last: i64,
    /// Distance between keys.
    pub(super) step: usize,
}

/// One command.
pub(super) struct Spec {
    /// Its name in lower case.
    pub(super) name: &'static str,
    /// Words it takes, its name included; `-n` means at least `n`.
    pub(super) arity: i64,
    /// Flags as Redis names them.
    pub(super) flags: &'static [&'static str],
    /// Which words are keys.
    pub(super) keys: Keys,
    /// The group that Redis documents it in.
    pub(super) group: &'static str,
    /// What it does.
    pub(super) summary: &'static str,
    /// Starts it with the words behind its name.
    pub(super) start: fn(&mut Session, &[Bytes]) -> Started,
}

impl Spec {
    /// Whether the command may have that many words.
    pub(super) fn accepts(&self, words: usize) -> bool {
        let words = i64::try_from(words).unwrap_or(i64::MAX);
        if self.arity < 0 {
            words >= -self.arity
        } else {
            words == self.arity
        }
    }

    /// Whether that word is a key.
    pub(super) fn is_key(&self, index: usize) -> bool {
        let Keys { first, last, step } = self.keys;
        first > 0
            && index >= first
            && (last < 0 || i64::try_from(index).is_ok_and(|index| index <= last))
            && (index - first).is_multiple_of(step)
    }
}

/// Looks a command up, whatever the case of its name.
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    COMMANDS
        .iter()
        .find(|spec| name.eq_ignore_ascii_case(spec.name.as_bytes()))
}

const NONE: Keys = Keys {
    first: 0,
    last: 0,
    step: 0,
};
const ONE: Keys = Keys {
    first: 1,
    last: 1,
    step: 1,
};
const ALL: Keys = Keys {
    first: 1,
    last: -1,
    step: 1,
};
const PAIRS: Keys = Keys {
    first: 1,
    last: -1,
    step: 2,
};

/// The commands, the most frequent first.
pub(super) static COMMANDS: &[Spec] = &[
    Spec {
        name: "get",
        arity: 2,
        flags: &["readonly", "fast"],
        keys: ONE,
        group: "string",
        summary: "The value of a key, as a quorum of nodes has it.",
        start: strings::get,
    },
    Spec {
        name: "set",
        arity: -3,
        flags: &["write"],
        keys: ONE,
        group: "string",
        summary: "Writes a value to a quorum of nodes. Takes no options.",
        start: strings::set,
    },
    Spec {
        name: "del",
        arity: -2,
        flags: &["write"],
        keys: ALL,
        group: "generic",
        summary: "Deletes keys and counts those that a quorum read showed.",
        start: strings::del,
    },
    Spec {
        name: "exists",
        arity: -2,
        flags: &["readonly", "fast"],
        keys: ALL,
        group: "generic",
        summary: "Counts the keys that a quorum read shows.",
        start: strings::exists,
    },
    Spec {
        name: "mget",
        arity: -2,
        flags: &["readonly", "fast"],
        keys: ALL,
        group: "string",
        summary: "The values of several keys, each read by itself.",
        start: strings::mget,
    },
    Spec {
        name: "mset",
        arity: -3,
        flags: &["write"],
        keys: PAIRS,
        group: "string",
        summary: "Writes several values, each by itself: not atomic.",
        start: strings::mset,
    },
    Spec {
        name: "scan",
        arity: -2,
        flags: &["readonly"],
        keys: NONE,
        group: "generic",
        summary: "Iterates over the keys of the node asked, in key order.",
        start: keyspace::scan,
    },
    Spec {
        name: "dbsize",
        arity: 1,
        flags: &["readonly", "fast"],
        keys: NONE,
        group: "server",
        summary: "Counts the keys of the node asked.",
        start: keyspace::dbsize,
    },
    Spec {
        name: "ping",
        arity: -1,
        flags: &["fast"],
        keys: NONE,
        group: "connection",
        summary: "Answers PONG or its argument.",
        start: connection::ping,
    },
    Spec {
        name: "echo",
        arity: 2,
        flags: &["fast"],
        keys: NONE,
        group: "connection",
        summary: "Answers its argument.",
        start: connection::echo,
    },
    Spec {
        name: "hello",
        arity: -1,
        flags: &["noscript", "fast"],
        keys: NONE,
        group: "connection",
        summary: "Chooses version 2 or 3 of the protocol.",
        start: connection::hello,
    },
    Spec {
        name: "select",
        arity: 2,
        flags: &["fast"],
        keys: NONE,
        group: "connection",
        summary: "Chooses database 0, the only one.",
        start: connection::select,
    },
    Spec {
        name: "client",
        arity: -2,
        flags: &["noscript"],
        keys: NONE,
        group: "connection",
        summary: "SETINFO, SETNAME, GETNAME and ID of the connection.",
        start: connection::client,
    },
    Spec {
        name: "reset",
        arity: 1,
        flags: &["noscript", "fast"],
        keys: NONE,
        group: "connection",
        summary: "Forgets what the connection has negotiated.",
        start: connection::reset,
    },
    Spec {
        name: "quit",
        arity: -1,
        flags: &["noscript", "fast"],
        keys: NONE,
        group: "connection",
        summary: "Closes the connection once all replies are sent.",
        start: connection::quit,
    },
    Spec {
        name: "info",
        arity: -1,
        flags: &["readonly"],
        keys: NONE,
        group: "server",
        summary: "What the node says about itself.",
        start: server::info,
    },
    Spec {
        name: "command",
        arity: -1,
        flags: &["readonly"],
        keys: NONE,
        group: "server",
        summary: "The commands: all, or COUNT, INFO and DOCS.",
        start: server::command,
    },
    Spec {
        name: "config",
        arity: -2,
        flags: &["admin", "noscript"],
        keys: NONE,
        group: "server",
        summary: "GET of the settings that clients ask for.",
        start: server::config,
    },
    Spec {
        name: "replicad",
        arity: -2,
        flags: &["admin", "noscript"],
        keys: NONE,
        group: "server",
        summary: "STATUS, FAIL and RECOVER of the nodes of the cluster.",
        start: admin::replicad,
    },
];
