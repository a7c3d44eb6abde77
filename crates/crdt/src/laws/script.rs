//! Scripts: what happens to the replicas of a type, as data.

use alloc::vec::Vec;
use core::fmt;

/// One step of a [`Script`]. Replicas and deltas are counted from 0, modulo how many there are; the two
/// numbers of a change mean what [`Subject::op`](crate::laws::Subject::op) makes of them. So any numbers
/// are a step, and any part of a script is a script: failures shrink.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Step {
    /// A replica makes a change.
    Change {
        /// Where.
        at: u8,
        /// Which kind of operation.
        what: u8,
        /// Which element, key or value.
        which: u8,
    },
    /// A replica joins the whole state of another.
    Join {
        /// The sender.
        from: u8,
        /// The receiver.
        to: u8,
    },
    /// The delta of any change made so far arrives somewhere, in whatever order, perhaps again.
    Deliver {
        /// Which change.
        delta: u8,
        /// The receiver.
        to: u8,
    },
}

impl Step {
    /// A replica makes a change.
    pub const fn change(at: u8, what: u8, which: u8) -> Self {
        Self::Change { at, what, which }
    }

    /// The whole state of one replica arrives at another.
    pub const fn join(from: u8, to: u8) -> Self {
        Self::Join { from, to }
    }

    /// The delta of one change arrives at a replica.
    pub const fn deliver(delta: u8, to: u8) -> Self {
        Self::Deliver { delta, to }
    }
}

impl fmt::Display for Step {
    /// Rust that makes the step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Change { at, what, which } => write!(f, "Step::change({at}, {what}, {which})"),
            Self::Join { from, to } => write!(f, "Step::join({from}, {to})"),
            Self::Deliver { delta, to } => write!(f, "Step::deliver({delta}, {to})"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What happens to a few replicas of a type. Loss needs no step: what is not delivered is lost.
///
/// It prints, also by `Debug`, as the Rust that makes it, so a failure that has been shrunk can be
/// pasted into a test.
///
/// ```
/// use crdt::laws::{Script, Step};
///
/// let script = Script::new(3, [Step::change(0, 1, 2), Step::join(0, 1)]);
/// let printed = "Script::new(3, [\n    Step::change(0, 1, 2),\n    Step::join(0, 1),\n])";
/// assert_eq!(script.to_string(), printed);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Script {
    /// Number of replicas: 2 to 5, and any other number modulo 4.
    pub replicas: u8,
    /// What happens, in this order. Changes behind the 128th are left out.
    pub steps: Vec<Step>,
}

impl Script {
    /// A script of these steps.
    pub fn new(replicas: u8, steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            replicas,
            steps: steps.into_iter().collect(),
        }
    }

    /// Number of replicas: 2 to 5.
    pub const fn replica_count(&self) -> usize {
        2 + (self.replicas as usize + 2) % 4
    }
}

impl fmt::Display for Script {
    /// Rust that makes the script.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Script::new({}, [", self.replica_count())?;
        for step in &self.steps {
            writeln!(f, "    {step},")?;
        }
        f.write_str("])")
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script that failed once can be kept as a file.
    #[cfg(feature = "serde")]
    #[test]
    fn scripts_are_kept_as_text_and_as_bytes() {
        let steps = [Step::change(0, 1, 2), Step::join(0, 1), Step::deliver(0, 2)];
        let script = Script::new(3, steps);
        let text = serde_json::to_string(&script).expect("scripts encode");
        let first = r#"{"replicas":3,"steps":[{"Change":{"at":0,"what":1,"which":2}},"#;
        assert!(text.starts_with(first), "{text}");
        assert_eq!(
            serde_json::from_str::<Script>(&text).ok(),
            Some(script.clone())
        );
        let bytes = postcard::to_stdvec(&script).expect("scripts encode");
        assert_eq!(postcard::from_bytes::<Script>(&bytes), Ok(script));
    }

    #[test]
    fn any_number_of_replicas_is_two_to_five() {
        let counts: Vec<usize> = (0..=6)
            .map(|n| Script::new(n, []).replica_count())
            .collect();
        assert_eq!(counts, [4, 5, 2, 3, 4, 5, 2]);
        assert_eq!(Script::new(u8::MAX, []).replica_count(), 3);
    }
}
