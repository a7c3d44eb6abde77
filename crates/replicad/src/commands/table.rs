//! What clients may ask about a command, and the groups in which commands are looked up. The commands
//! themselves are listed in the file of their group.

use bytes::Bytes;

use super::{
    Session, Started, admin, auth, connection, counters, extensions, keys, keyspace, server, sets,
    strings,
};

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

impl Keys {
    /// No key.
    pub(super) const NONE: Self = Self::new(0, 0, 0);
    /// The first argument.
    pub(super) const ONE: Self = Self::new(1, 1, 1);
    /// Every argument.
    pub(super) const ALL: Self = Self::new(1, -1, 1);
    /// Every other argument, beginning with the first.
    pub(super) const PAIRS: Self = Self::new(1, -1, 2);

    const fn new(first: usize, last: i64, step: usize) -> Self {
        Self { first, last, step }
    }
}

/// The flags of a command, as Redis names them.
pub(super) type Flags = &'static [&'static str];

/// It reads what one key holds.
pub(super) const READ: Flags = &["readonly", "fast"];
/// It reads more.
pub(super) const READ_MUCH: Flags = &["readonly"];
/// It changes keys.
pub(super) const WRITE: Flags = &["write"];
/// It is about the connection.
pub(super) const TALK: Flags = &["noscript", "fast"];
/// The same, and open to clients that have not named the password.
pub(super) const OPEN: Flags = &["noscript", "fast", "no_auth"];
/// It is about the cluster or its settings.
pub(super) const ADMIN: Flags = &["admin", "noscript"];

/// One command.
pub(super) struct Spec {
    /// Its name in upper case.
    pub(super) name: &'static str,
    /// How it is written: its name and arguments.
    pub(super) syntax: &'static str,
    /// Words it takes, its name included; `-n` means at least `n`.
    pub(super) arity: i64,
    /// Flags as Redis names them.
    pub(super) flags: Flags,
    /// Which words are keys.
    pub(super) keys: Keys,
    /// The group that Redis documents it in.
    pub(super) group: &'static str,
    /// What it does.
    pub(super) summary: &'static str,
    /// Starts it with the words behind its name.
    pub(super) start: fn(&mut Session, &[Bytes]) -> Started,
}

/// A command; its name is the first word of the syntax.
pub(super) const fn command(
    syntax: &'static str,
    arity: i64,
    flags: Flags,
    keys: Keys,
    group: &'static str,
    summary: &'static str,
    start: fn(&mut Session, &[Bytes]) -> Started,
) -> Spec {
    Spec {
        name: first_word(syntax),
        syntax,
        arity,
        flags,
        keys,
        group,
        summary,
        start,
    }
}

const fn first_word(text: &'static str) -> &'static str {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end] != b' ' {
        end += 1;
    }
    text.split_at(end).0
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

    /// Whether it changes keys.
    pub(super) fn is_write(&self) -> bool {
        self.flags.contains(&"write")
    }

    /// Whether clients may send it before they have named the password.
    pub(super) fn is_open(&self) -> bool {
        self.flags.contains(&"no_auth")
    }
}

/// The commands by group, the most frequent first.
static GROUPS: &[&[Spec]] = &[
    strings::COMMANDS,
    keys::COMMANDS,
    counters::COMMANDS,
    sets::COMMANDS,
    extensions::COMMANDS,
    keyspace::COMMANDS,
    connection::COMMANDS,
    auth::COMMANDS,
    server::COMMANDS,
    admin::COMMANDS,
];

/// Every command.
pub(super) fn all() -> impl Iterator<Item = &'static Spec> {
    GROUPS.iter().copied().flatten()
}

/// Numbers of commands: those of [`all`] in order, and one for all that are unknown.
pub(crate) fn numbers() -> usize {
    all().count() + 1
}

/// The number of a command, whatever the case of its name.
pub(crate) fn number_of(name: &[u8]) -> usize {
    let is_it = |spec: &Spec| name.eq_ignore_ascii_case(spec.name.as_bytes());
    all().position(is_it).unwrap_or_else(|| all().count())
}

/// The name of the command with a number.
pub(crate) fn name_of(number: usize) -> &'static str {
    all().nth(number).map_or("UNKNOWN", |spec| spec.name)
}

/// Looks a command up, whatever the case of its name.
pub(super) fn find(name: &[u8]) -> Option<&'static Spec> {
    all().find(|spec| name.eq_ignore_ascii_case(spec.name.as_bytes()))
}
