//! What a session may rely on in a last-writer-wins store.
//!
//! The four guarantees of Terry et al., *Session guarantees for weakly consistent replicated data* (1994),
//! judged by the order of versions, and what follows when sessions read from each other:
//!
//! | guarantee | in one session, or one that was handed over |
//! |---|---|
//! | [read your writes](Guarantee::ReadYourWrites) | a read of a key returns the session's last completed write of it, or a later version |
//! | [monotonic reads](Guarantee::MonotonicReads) | it returns what an earlier read returned, or a later version |
//! | [monotonic writes](Guarantee::MonotonicWrites) | a write wins over the session's earlier writes of the key |
//! | [writes follow reads](Guarantee::WritesFollowReads) | a write wins over what the session has read of the key |
//! | [causality](Guarantee::Causality) | who has read a write has seen all that its session had read and written before it, of any key |
//!
//! Only [`Call::Write`] and [`Call::Read`] count. Versions compare in the order of last-writer-wins: by
//! timestamp, then value, then event. A key is absent at first. A read that returns neither value nor version
//! is judged as the latest delete that may have happened, as the store may have forgotten which it was.
//!
//! A write that was minted again has the version under which it was answered; a read may have seen it under
//! an earlier one. A write of unknown outcome binds its session to nothing, and may be read at any time.

use bytes::Bytes;
use crdt::LwwEntry;
use std::collections::BTreeMap;
use std::fmt;

use super::{Call, HandOver, History, Operation, OperationId, SessionId, Violations, Witness};

/// What a session may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guarantee {
    /// Reads see the session's own writes.
    ReadYourWrites,
    /// Reads never go back.
    MonotonicReads,
    /// Writes win over the session's earlier writes.
    MonotonicWrites,
    /// Writes win over what the session has read.
    WritesFollowReads,
    /// What was seen brings with it all that its writer had seen.
    Causality,
}

impl Guarantee {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::ReadYourWrites,
        Self::MonotonicReads,
        Self::MonotonicWrites,
        Self::WritesFollowReads,
        Self::Causality,
    ];
}

/// What a history shows that must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// A guarantee was broken.
    Broken {
        /// Which.
        guarantee: Guarantee,
        /// What the session had to see, or to win over.
        earlier: Witness,
        /// What did not.
        later: Witness,
    },
    /// A read returned what nobody had begun to write.
    NeverWritten {
        /// The read.
        read: Witness,
    },
    /// Two writes have one version.
    SameVersion {
        /// One.
        first: Witness,
        /// The other.
        second: Witness,
    },
}

/// Checks all guarantees.
///
/// # Errors
/// Everything that must not be.
pub fn check(history: &History) -> Result<(), Violations<Violation>> {
    check_only(history, &Guarantee::ALL)
}

/// Checks some guarantees; reads of what nobody wrote are always wrong.
///
/// # Errors
/// Everything that must not be.
pub fn check_only(
    history: &History,
    guarantees: &[Guarantee],
) -> Result<(), Violations<Violation>> {
    let mut checker = Checker::new(history);
    for moment in moments(history) {
        checker.pass(moment);
    }
    checker.found.retain(|violation| match violation {
        Violation::Broken { guarantee, .. } => guarantees.contains(guarantee),
        _ => true,
    });
    Violations::none_in(checker.found)
}

type Entry = LwwEntry<Bytes>;

/// Something that happens.
#[derive(Debug, Clone, Copy)]
enum Moment<'a> {
    Completed(OperationId, &'a Operation),
    Given(usize, &'a HandOver),
    Taken(usize, &'a HandOver),
    Invoked(OperationId, &'a Operation),
}

/// All that happens, in order. At equal times a session's completions come before its next invocations.
fn moments(history: &History) -> impl Iterator<Item = Moment<'_>> {
    let mut moments = Vec::new();
    for (id, operation) in history.operations() {
        moments.push((
            (operation.invoked, 3, id.0, 0),
            Moment::Invoked(id, operation),
        ));
        if let Some(completed) = operation.completed {
            let place = match completed > operation.invoked {
                true => (completed, 0, id.0, 1),
                false => (completed, 3, id.0, 1),
            };
            moments.push((place, Moment::Completed(id, operation)));
        }
    }
    for (i, hand_over) in history.hand_overs().iter().enumerate() {
        moments.push((
            (hand_over.given, 1, i as u64, 0),
            Moment::Given(i, hand_over),
        ));
        moments.push((
            (hand_over.taken, 2, i as u64, 0),
            Moment::Taken(i, hand_over),
        ));
    }
    moments.sort_by_key(|(place, _)| *place);
    moments.into_iter().map(|(_, moment)| moment)
}

/// How a session has come to know a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Wrote,
    Read,
    /// What it has read had seen it.
    Inherited,
}

/// What a session has seen: of each key and source the latest version, and the operation that showed it.
/// Cloning is cheap, as every operation keeps the knowledge with which it was invoked.
#[derive(Debug, Clone, Default)]
struct Knowledge {
    latest: im::OrdMap<(Bytes, Source), (Entry, OperationId)>,
}

impl Knowledge {
    fn note(&mut self, key: &Bytes, source: Source, entry: &Entry, shown_by: OperationId) {
        let at = (key.clone(), source);
        let known = self.latest.get(&at);
        if known.is_none_or(|(known, _)| entry.wins_over(known)) {
            self.latest.insert(at, (entry.clone(), shown_by));
        }
    }

    fn take_over(&mut self, other: &Self) {
        for ((key, source), (entry, shown_by)) in &other.latest {
            self.note(key, *source, entry, *shown_by);
        }
    }

    fn inherit(&mut self, other: &Self) {
        for ((key, _), (entry, shown_by)) in &other.latest {
            self.note(key, Source::Inherited, entry, *shown_by);
        }
    }

    fn of<'a>(&'a self, key: &Bytes) -> impl Iterator<Item = (Source, &'a Entry, OperationId)> {
        let sources = [Source::Wrote, Source::Read, Source::Inherited];
        sources
            .map(|source| (key.clone(), source))
            .into_iter()
            .filter_map(|at| {
                let (entry, shown_by) = self.latest.get(&at)?;
                Some((at.1, entry, *shown_by))
            })
    }
}

struct Checker<'a> {
    history: &'a History,
    writes: BTreeMap<&'a Bytes, Vec<(OperationId, &'a Operation)>>,
    sessions: BTreeMap<SessionId, Knowledge>,
    /// What its session knew when an operation was invoked.
    before: BTreeMap<OperationId, Knowledge>,
    tokens: BTreeMap<usize, Knowledge>,
    found: Vec<Violation>,
}

impl<'a> Checker<'a> {
    fn new(history: &'a History) -> Self {
        let mut writes: BTreeMap<&Bytes, Vec<(OperationId, &Operation)>> = BTreeMap::new();
        for (id, operation) in history.operations() {
            if matches!(operation.call, Call::Write { .. }) {
                writes
                    .entry(&operation.key)
                    .or_default()
                    .push((id, operation));
            }
        }
        let mut checker = Self {
            history,
            writes,
            sessions: BTreeMap::new(),
            before: BTreeMap::new(),
            tokens: BTreeMap::new(),
            found: Vec::new(),
        };
        checker.check_versions();
        checker
    }

    /// No two writes have one version.
    fn check_versions(&mut self) {
        let mut seen = BTreeMap::new();
        for (id, operation) in self.writes.values().flatten() {
            let Some(entry) = entry_of(operation) else {
                continue;
            };
            if let Some(first) = seen.insert((entry.timestamp, entry.dot), *id) {
                let (first, second) = (self.witness(first), self.witness(*id));
                self.found.push(Violation::SameVersion { first, second });
            }
        }
    }

    fn pass(&mut self, moment: Moment<'a>) {
        match moment {
            Moment::Invoked(id, operation) => {
                let known = self.sessions.entry(operation.session).or_default();
                self.before.insert(id, known.clone());
            }
            Moment::Completed(id, operation) => match &operation.call {
                Call::Write { .. } => self.write_completed(id, operation),
                Call::Read { .. } => self.read_completed(id, operation),
                _ => {}
            },
            Moment::Given(token, hand_over) => {
                let known = self.sessions.entry(hand_over.from).or_default();
                self.tokens.insert(token, known.clone());
            }
            Moment::Taken(token, hand_over) => {
                let known = self.sessions.entry(hand_over.to).or_default();
                if let Some(token) = self.tokens.get(&token) {
                    known.take_over(token);
                }
            }
        }
    }

    fn write_completed(&mut self, id: OperationId, write: &Operation) {
        let Some(entry) = entry_of(write) else {
            return;
        };
        self.demand(id, write, |earlier| entry.wins_over(earlier));
        let known = self.sessions.entry(write.session).or_default();
        known.note(&write.key, Source::Wrote, &entry, id);
    }

    fn read_completed(&mut self, id: OperationId, read: &Operation) {
        let Call::Read { value, version } = &read.call else {
            return;
        };
        let Some(entry) = entry_of(read) else {
            match value.is_none() && version.is_none() {
                true => self.absent_read(id, read),
                // A value without its version says no more than that somebody wrote it.
                false => drop(self.sources_or_violation(id, read, None)),
            }
            return;
        };
        let sources = self.sources_or_violation(id, read, Some(&entry));
        if sources.is_empty() {
            return;
        }
        self.demand(id, read, |earlier| !earlier.wins_over(&entry));
        let known = self.sessions.entry(read.session).or_default();
        known.note(&read.key, Source::Read, &entry, id);
        // With several writes that it may have been, nothing is certain of what came before.
        if let [source] = sources[..]
            && let Some(before) = self.before.get(&source)
        {
            known.inherit(before);
        }
    }

    fn sources_or_violation(
        &mut self,
        id: OperationId,
        read: &Operation,
        entry: Option<&Entry>,
    ) -> Vec<OperationId> {
        let sources = self.sources(read, entry);
        if sources.is_empty() {
            let read = self.witness(id);
            self.found.push(Violation::NeverWritten { read });
        }
        sources
    }

    /// The writes that a read may have seen: the one with its version, or else those of its value that may
    /// have had that version before they were minted again.
    fn sources(&self, read: &Operation, entry: Option<&Entry>) -> Vec<OperationId> {
        let Call::Read { value, .. } = &read.call else {
            return Vec::new();
        };
        let started = |write: &Operation| read.completed.is_some_and(|at| write.invoked <= at);
        let candidates = self.writes.get(&read.key).into_iter().flatten();
        let candidates = candidates.filter(|(_, write)| started(write));
        let mut same_value = Vec::new();
        for (id, write) in candidates {
            let written = entry_of(write);
            let (Some(entry), Some(written)) = (entry, written) else {
                if matches!(&write.call, Call::Write { value: v, .. } if v == value) {
                    same_value.push(*id);
                }
                continue;
            };
            if written.dot == entry.dot && written.timestamp == entry.timestamp {
                return Vec::from_iter((written.value == entry.value).then_some(*id));
            }
            if written.value == entry.value && written.wins_over(entry) {
                same_value.push(*id);
            }
        }
        same_value
    }

    /// A read of nothing: right if some delete may have been later than all that the session knew.
    fn absent_read(&mut self, id: OperationId, read: &Operation) {
        let deletes: Vec<Option<Entry>> = self
            .writes
            .get(&read.key)
            .into_iter()
            .flatten()
            .filter(|(_, write)| matches!(write.call, Call::Write { value: None, .. }))
            .filter(|(_, write)| read.completed.is_some_and(|at| write.invoked <= at))
            .map(|(_, write)| entry_of(write))
            .collect();
        self.demand(id, read, |earlier| {
            let is_later = |delete: &Option<Entry>| {
                delete
                    .as_ref()
                    .is_none_or(|delete| !earlier.wins_over(delete))
            };
            deletes.iter().any(is_later)
        });
    }

    /// Demands something of every version of the key that the session knew when it invoked the operation.
    fn demand(&mut self, id: OperationId, operation: &Operation, holds: impl Fn(&Entry) -> bool) {
        let Some(known) = self.before.get(&id) else {
            return;
        };
        let known: Vec<(Source, &Entry, OperationId)> = known.of(&operation.key).collect();
        // What was inherited adds nothing to something later that the session itself has seen.
        let is_implied = |source, entry: &Entry| {
            let covers = |own: &Entry| !entry.wins_over(own);
            let mut own = known.iter().filter(|(s, ..)| *s != Source::Inherited);
            source == Source::Inherited && own.any(|(_, own, _)| covers(own))
        };
        let broken: Vec<(Source, OperationId)> = known
            .iter()
            .filter(|(source, entry, _)| !holds(entry) && !is_implied(*source, entry))
            .map(|(source, _, shown_by)| (*source, *shown_by))
            .collect();
        let is_write = matches!(operation.call, Call::Write { .. });
        for (source, shown_by) in broken {
            let guarantee = match (source, is_write) {
                (Source::Wrote, true) => Guarantee::MonotonicWrites,
                (Source::Wrote, false) => Guarantee::ReadYourWrites,
                (Source::Read, true) => Guarantee::WritesFollowReads,
                (Source::Read, false) => Guarantee::MonotonicReads,
                (Source::Inherited, _) => Guarantee::Causality,
            };
            let (earlier, later) = (self.witness(shown_by), self.witness(id));
            self.found.push(Violation::Broken {
                guarantee,
                earlier,
                later,
            });
        }
    }

    fn witness(&self, id: OperationId) -> Witness {
        self.history.witness(id).expect("it came from the history")
    }
}

/// The version of a completed write, or that a read saw, in the order of last-writer-wins.
fn entry_of(operation: &Operation) -> Option<Entry> {
    let (Call::Write { value, version } | Call::Read { value, version }) = &operation.call else {
        return None;
    };
    let version = version.filter(|_| operation.completed.is_some())?;
    Some(Entry {
        dot: version.dot,
        timestamp: version.timestamp,
        value: value.clone(),
    })
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
            Self::Causality => "causality",
        })
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken {
                guarantee,
                earlier,
                later,
            } => write!(f, "{guarantee}: {later} although before it {earlier}"),
            Self::NeverWritten { read } => write!(f, "nobody had written what {read}"),
            Self::SameVersion { first, second } => {
                write!(f, "two writes have one version: {first}, and {second}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
