//! Operations of clients, recorded.

use bytes::Bytes;
use crdt::{CausalContext, Dot, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, Write};

use super::shown;
use crate::NodeId;
use crate::sim::Action;

/// A client that calls one after another, with or without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// The number of an operation in its history, from 0 in the order of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub u64);

/// Which write of a last-writer-wins key it was. No two writes have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// When it was written.
    pub timestamp: Timestamp,
    /// Its event.
    pub dot: Dot,
}

/// One value of a multi-value key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sibling {
    /// The event that wrote it.
    pub dot: Dot,
    /// The value.
    #[serde(with = "text")]
    pub value: Bytes,
}

/// What an operation does, and what came of it. The results count once the operation is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Call {
    /// A write.
    Write {
        /// The new value, or `None` for a delete.
        #[serde(with = "text::option", default)]
        value: Option<Bytes>,
        /// Under which version it took effect at last, as the store said.
        #[serde(default)]
        version: Option<Version>,
    },
    /// A read.
    Read {
        /// The value, or `None` if there is none.
        #[serde(with = "text::option", default)]
        value: Option<Bytes>,
        /// The version that it saw; that of a delete if the store remembers it.
        #[serde(default)]
        version: Option<Version>,
    },
    /// A write of a multi-value key: it replaces what its writer had seen of the key.
    WriteSibling {
        /// The new value, or `None` for a delete.
        #[serde(with = "text::option", default)]
        value: Option<Bytes>,
        /// The events that the writer had seen.
        #[serde(default)]
        seen: CausalContext,
        /// Its event, if the store said it.
        #[serde(default)]
        dot: Option<Dot>,
    },
    /// A read of a multi-value key.
    ReadSiblings {
        /// All values.
        siblings: Vec<Sibling>,
    },
}

/// One operation of a client on one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Who called.
    pub session: SessionId,
    /// The node that was asked, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// The key.
    #[serde(with = "text")]
    pub key: Bytes,
    /// When it was invoked.
    pub invoked: u64,
    /// When it succeeded; `None` if it has not, or failed with its effect unknown.
    #[serde(default)]
    pub completed: Option<u64>,
    /// What it did.
    pub call: Call,
}

/// A session goes on where another one stood: it has got its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandOver {
    /// Whose token it is.
    pub from: SessionId,
    /// When the token was made: what `from` had completed by then is in it.
    pub given: u64,
    /// Who takes it.
    pub to: SessionId,
    /// When it was taken: what `to` invokes from then on has it.
    pub taken: u64,
}

/// What a node shows for a multi-value key after all is quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinalState {
    /// The node.
    pub node: NodeId,
    /// The key.
    #[serde(with = "text")]
    pub key: Bytes,
    /// All values.
    pub siblings: Vec<Sibling>,
}

/// A line of a history.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Operation(Operation),
    HandOver(HandOver),
    Final(FinalState),
}

/// A recorded history.
///
/// As JSON lines it is one object per line, in any order: `{"operation": ..}`, `{"hand_over": ..}` or
/// `{"final": ..}` with the fields of [`Operation`], [`HandOver`] and [`FinalState`]. Keys and values are
/// text; bytes that are not printable ASCII, and `\`, are written as Rust escapes them in byte strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    operations: BTreeMap<OperationId, Operation>,
    hand_overs: Vec<HandOver>,
    finals: Vec<FinalState>,
    next: u64,
}

/// A history that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("line {line} of the history: {cause}")]
pub struct HistoryError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub cause: String,
}

/// An operation of a history, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its number.
    pub id: OperationId,
    /// The operation.
    pub operation: Box<Operation>,
}

impl Witness {
    pub(super) fn new(id: OperationId, operation: &Operation) -> Self {
        let operation = Box::new(operation.clone());
        Self { id, operation }
    }
}

impl History {
    /// The operations, in the order of recording.
    pub fn operations(&self) -> impl Iterator<Item = (OperationId, &Operation)> {
        self.operations
            .iter()
            .map(|(id, operation)| (*id, operation))
    }

    /// The tokens that were handed over.
    pub fn hand_overs(&self) -> &[HandOver] {
        &self.hand_overs
    }

    /// What nodes showed at the end.
    pub fn finals(&self) -> &[FinalState] {
        &self.finals
    }

    /// An operation as errors name it.
    pub fn witness(&self, id: OperationId) -> Option<Witness> {
        let operation = self.operations.get(&id)?;
        Some(Witness::new(id, operation))
    }

    /// Adds an operation.
    ///
    /// # Panics
    /// If it was completed before it was invoked.
    pub fn push(&mut self, operation: Operation) -> OperationId {
        let (invoked, completed) = (operation.invoked, operation.completed);
        assert!(
            completed.is_none_or(|at| at >= invoked),
            "invoked at {invoked} and completed at {completed:?}"
        );
        let id = OperationId(self.next);
        self.next += 1;
        self.operations.insert(id, operation);
        id
    }

    /// Records that an operation starts. Its outcome is unknown until it is
    /// [completed](Self::complete); a read that never is says nothing.
    pub fn invoke(
        &mut self,
        session: SessionId,
        node: Option<NodeId>,
        key: impl Into<Bytes>,
        call: Call,
        at: u64,
    ) -> OperationId {
        self.push(Operation {
            session,
            node,
            key: key.into(),
            invoked: at,
            completed: None,
            call,
        })
    }

    /// Records that an operation has succeeded. `call` is the same call with its results.
    ///
    /// # Panics
    /// If there is no such operation, or it starts later.
    pub fn complete(&mut self, id: OperationId, at: u64, call: Call) {
        let operation = self.operations.get_mut(&id);
        let operation = operation.unwrap_or_else(|| panic!("{id} was never invoked"));
        let invoked = operation.invoked;
        assert!(
            invoked <= at,
            "{id}: invoked at {invoked} and completed at {at}"
        );
        (operation.completed, operation.call) = (Some(at), call);
    }

    /// Removes an operation that certainly had no effect, now or later.
    pub fn cancel(&mut self, id: OperationId) {
        self.operations.remove(&id);
    }

    /// Records that a token has changed hands.
    pub fn hand_over(&mut self, hand_over: HandOver) {
        self.hand_overs.push(hand_over);
    }

    /// Records what a node shows after all is quiet.
    pub fn push_final(&mut self, state: FinalState) {
        self.finals.push(state);
    }

    /// Adds another recorder's part. Its operations get numbers after those that are here.
    pub fn extend(&mut self, other: Self) {
        for operation in other.operations.into_values() {
            self.push(operation);
        }
        self.hand_overs.extend(other.hand_overs);
        self.finals.extend(other.finals);
    }

    /// Writes the history as JSON lines.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json_lines(&self, mut out: impl Write) -> io::Result<()> {
        let operations = self.operations.values().cloned().map(Line::Operation);
        let hand_overs = self.hand_overs.iter().copied().map(Line::HandOver);
        let finals = self.finals.iter().cloned().map(Line::Final);
        for line in operations.chain(hand_overs).chain(finals) {
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Reads a history from JSON lines. Empty lines are passed over.
    ///
    /// # Errors
    /// If a line cannot be read, is not part of a history, or says that an operation was completed before it
    /// was invoked.
    pub fn read_json_lines(input: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (i, line) in input.lines().enumerate() {
            let wrong = |cause: String| HistoryError { line: i + 1, cause };
            let line = line.map_err(|error| wrong(error.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            match serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))? {
                Line::Operation(operation) => {
                    if operation.completed.is_some_and(|at| at < operation.invoked) {
                        return Err(wrong("completed before it was invoked".to_owned()));
                    }
                    history.push(operation);
                }
                Line::HandOver(hand_over) => history.hand_over(hand_over),
                Line::Final(state) => history.push_final(state),
            }
        }
        Ok(history)
    }
}

impl From<&crate::sim::History> for History {
    /// Each operation in a session of its own, and without versions, which the simulator does not record.
    fn from(simulated: &crate::sim::History) -> Self {
        let mut history = Self::default();
        for (session, operation) in (0..).zip(simulated.operations()) {
            let version = None;
            let call = match operation.action.clone() {
                Action::Write(value) => Call::Write { value, version },
                Action::Read(value) => Call::Read { value, version },
            };
            history.push(Operation {
                session: SessionId(session),
                node: Some(operation.node),
                key: operation.key.clone(),
                invoked: operation.invoked,
                completed: operation.completed,
                call,
            });
        }
        history
    }
}

/// Bytes as text that JSON can carry and people can read.
mod text {
    use bytes::Bytes;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&bytes.escape_ascii())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(from)?;
        unescape(&text).ok_or_else(|| D::Error::custom(format!("bad escape in {text:?}")))
    }

    fn unescape(text: &str) -> Option<Bytes> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if *first != b'\\' {
                bytes.push(*first);
                continue;
            }
            let (escape, after) = rest.split_first()?;
            rest = after;
            bytes.push(match escape {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'\\' | b'"' | b'\'' => *escape,
                b'x' => {
                    let (digits, after) = rest.split_at_checked(2)?;
                    rest = after;
                    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
                }
                _ => return None,
            });
        }
        Some(bytes.into())
    }

    pub(super) mod option {
        use bytes::Bytes;
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[derive(Serialize, Deserialize)]
        #[serde(transparent)]
        struct Text(#[serde(with = "super")] Bytes);

        pub(in super::super) fn serialize<S: Serializer>(
            value: &Option<Bytes>,
            to: S,
        ) -> Result<S::Ok, S::Error> {
            value.clone().map(Text).serialize(to)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
            from: D,
        ) -> Result<Option<Bytes>, D::Error> {
            Ok(Option::<Text>::deserialize(from)?.map(|text| text.0))
        }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "session {}", self.0)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "operation {}", self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.timestamp, self.dot)
    }
}

impl fmt::Display for Sibling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", shown(Some(&self.value)), self.dot)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.session)?;
        if let Some(node) = self.node {
            write!(f, " through {node}")?;
        }
        let key = self.key.escape_ascii();
        match &self.call {
            Call::Write { value: None, .. } => write!(f, " deleted {key}")?,
            Call::Write { value, .. } => write!(f, " wrote {key} = {}", shown(value.as_ref()))?,
            Call::Read { value, .. } => write!(f, " read {key} = {}", shown(value.as_ref()))?,
            Call::WriteSibling { value, seen, dot } => {
                match value {
                    Some(value) => write!(f, " wrote {key} = {}", shown(Some(value)))?,
                    None => write!(f, " deleted {key}")?,
                }
                if let Some(dot) = dot {
                    write!(f, " by {dot}")?;
                }
                write!(f, " having seen {seen}")?;
            }
            Call::ReadSiblings { siblings } => {
                write!(f, " read {key} = ")?;
                show_siblings(f, siblings)?;
            }
        }
        if let Call::Write { version, .. } | Call::Read { version, .. } = &self.call
            && let Some(version) = version
        {
            write!(f, " {version}")?;
        }
        match self.completed {
            Some(completed) => write!(f, " at {}..{completed}", self.invoked),
            None => write!(f, " at {}.. with unknown outcome", self.invoked),
        }
    }
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} shows {} = ", self.node, self.key.escape_ascii())?;
        show_siblings(f, &self.siblings)?;
        write!(f, " at the end")
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.operation, self.id)
    }
}

fn show_siblings(f: &mut fmt::Formatter<'_>, siblings: &[Sibling]) -> fmt::Result {
    write!(f, "{{")?;
    for (i, sibling) in siblings.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write!(f, "{comma}{sibling}")?;
    }
    write!(f, "}}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt::ReplicaId;

    fn dot(counter: u64) -> Dot {
        Dot::new(ReplicaId(3), counter)
    }

    /// A history with every kind of entry.
    fn all_kinds() -> History {
        let mut history = History::default();
        let version = Some(Version {
            timestamp: Timestamp(7),
            dot: dot(1),
        });
        let value = Some(Bytes::from_static(b"blue \\ \"\x00\xff\n"));
        let calls = [
            Call::Write {
                value: value.clone(),
                version,
            },
            Call::Write {
                value: None,
                version: None,
            },
            Call::Read { value, version },
            Call::WriteSibling {
                value: Some("v".into()),
                seen: [dot(1), dot(4)].into_iter().collect(),
                dot: Some(dot(5)),
            },
            Call::ReadSiblings {
                siblings: vec![Sibling {
                    dot: dot(5),
                    value: "v".into(),
                }],
            },
        ];
        for (i, call) in (1..).zip(calls) {
            let node = (i % 2 == 0).then_some(NodeId(2));
            let id = history.invoke(SessionId(i), node, "k\u{e9}y", call.clone(), 10 * i);
            if i != 2 {
                history.complete(id, 10 * i + 5, call);
            }
        }
        history.hand_over(HandOver {
            from: SessionId(1),
            given: 4,
            to: SessionId(2),
            taken: 6,
        });
        history.push_final(FinalState {
            node: NodeId(1),
            key: "key".into(),
            siblings: Vec::new(),
        });
        history
    }

    fn to_text(history: &History) -> String {
        let mut bytes = Vec::new();
        history.write_json_lines(&mut bytes).expect("memory");
        String::from_utf8(bytes).expect("JSON is text")
    }

    #[test]
    fn json_lines_are_read_back_as_they_were_in_any_order() {
        let history = all_kinds();
        let text = to_text(&history);
        assert_eq!(text.lines().count(), 7);
        let read = History::read_json_lines(text.as_bytes()).expect("it is readable");
        assert_eq!(read, history);
        let reversed: Vec<&str> = text.lines().rev().collect();
        let read = History::read_json_lines(reversed.join("\n\n").as_bytes());
        assert_eq!(read.expect("it is readable").operations().count(), 5);
    }

    #[test]
    fn another_program_can_write_the_lines() {
        let lines = r#"
            {"operation": {"session": 1, "key": "k", "invoked": 3, "call": {"write": {"value": "a\\x00"}}}}
            {"operation": {"session": 2, "node": 3, "key": "k", "invoked": 4, "completed": 5,
                           "call": {"read": {"value": null}}}}
            {"hand_over": {"from": 1, "given": 4, "to": 2, "taken": 5}}"#;
        let lines = lines.replace("5,\n", "5,");
        let history = History::read_json_lines(lines.as_bytes()).expect("it is readable");
        let shown: Vec<String> = history.operations().map(|(_, op)| op.to_string()).collect();
        assert_eq!(
            shown,
            [
                "session 1 wrote k = \"a\\x00\" at 3.. with unknown outcome",
                "session 2 through node 3 read k = absent at 4..5",
            ]
        );
        assert_eq!(history.hand_overs().len(), 1);
    }

    #[test]
    fn lines_that_are_no_history_are_errors_that_name_the_line() {
        let bad = [
            "{}",
            "nonsense",
            r#"{"operation": {"session": 1, "key": "\\q", "invoked": 3, "call": {"read": {}}}}"#,
            r#"{"operation": {"session": 1, "key": "\\x0", "invoked": 3, "call": {"read": {}}}}"#,
            r#"{"operation": {"session": 1, "key": "k", "invoked": 3, "completed": 2, "call": {"read": {}}}}"#,
        ];
        for bad in bad {
            let error = History::read_json_lines(format!("\n{bad}\n").as_bytes());
            assert_eq!(error.expect_err("it is refused").line, 2, "{bad}");
        }
    }

    #[test]
    fn operations_read_well_and_can_be_taken_back() {
        let mut history = all_kinds();
        let shown: Vec<String> = (0..5)
            .filter_map(|id| history.witness(OperationId(id)))
            .map(|witness| witness.to_string())
            .collect();
        assert_eq!(
            shown,
            [
                r#"session 1 wrote k\xc3\xa9y = "blue \\ \"\x00\xff\n" @7 by 3.1 at 10..15 (operation 0)"#,
                r"session 2 through node 2 deleted k\xc3\xa9y at 20.. with unknown outcome (operation 1)",
                r#"session 3 read k\xc3\xa9y = "blue \\ \"\x00\xff\n" @7 by 3.1 at 30..35 (operation 2)"#,
                r#"session 4 through node 2 wrote k\xc3\xa9y = "v" by 3.5 having seen <3:1+4> at 40..45 (operation 3)"#,
                r#"session 5 read k\xc3\xa9y = {"v" by 3.5} at 50..55 (operation 4)"#,
            ]
        );
        history.cancel(OperationId(1));
        assert_eq!(history.witness(OperationId(1)), None);
        let count = history.operations().count();
        history.extend(all_kinds());
        assert_eq!(history.operations().count(), count + 5);
    }
}
