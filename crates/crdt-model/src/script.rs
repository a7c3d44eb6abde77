//! Scripts: what happens in a world, as data.

use crate::kind::{KEYS, Key, Value};

/// One step. Replicas, keys and messages are chosen modulo how many there are, so that any part of a
/// script is a script: failures shrink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// A local write, or a delete; its listing is sent to all others.
    Write {
        /// The writer.
        at: u8,
        /// Index of the key.
        key: u8,
        /// The value; `None` deletes.
        value: Option<Value>,
        /// How far the writer's clock leaps forward before.
        leap: u8,
        /// Bit for each receiver: its copy is lost.
        lost: u8,
    },
    /// Any message in flight arrives.
    Deliver {
        /// Index of the message.
        message: u16,
        /// It will arrive once more, at some time.
        again: bool,
        /// Bit for each of its listings (modulo 8): it arrives. A promise counts only if all do.
        parts: u8,
        /// Its listings are joined from the last to the first.
        reversed: bool,
    },
    /// Shows the knowledge of one replica to another, which will answer what is missing.
    Ask {
        /// Who asks.
        by: u8,
        /// Who answers.
        of: u8,
    },
    /// One key is listed by one replica for another.
    Repair {
        /// The receiver.
        at: u8,
        /// The sender.
        from: u8,
        /// Index of the key.
        key: u8,
        /// The listing is sent rather than joined at once.
        late: bool,
        /// The latest event of the key is covered, as for a write that is sent again.
        covering: bool,
    },
    /// Tombstones are forgotten, as far as the promises allow.
    Purge {
        /// Where.
        at: u8,
    },
    /// The log forgets the names of some events.
    Trim {
        /// Where.
        at: u8,
        /// Bit for each event (counter modulo 8) that goes.
        mask: u8,
    },
    /// The next chunk of a transfer, which begins if none is under way.
    Chunk {
        /// The receiver.
        at: u8,
        /// The sender; another one each time will do.
        from: u8,
        /// The chunk is sent rather than joined at once: it arrives in some later transfer.
        late: bool,
    },
    /// A replica goes on under another identity, with the state it has.
    Rename {
        /// Which.
        at: u8,
    },
}

/// The world that a script is played in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setup {
    /// Number of replicas, modulo 3: two to four.
    pub replicas: u8,
    /// Events or keys in an answer or a chunk.
    pub budget: u8,
    /// Whether messages advance the receiver's clock; otherwise clocks lag and writes can lose.
    pub clocks_travel: bool,
    /// Whether everything that travels is encoded and decoded.
    pub encoded: bool,
}

/// A world and what happens in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The world.
    pub setup: Setup,
    /// What happens.
    pub ops: Vec<Op>,
}

/// Bytes that encode one operation.
const OP_BYTES: usize = 4;
/// Operations of a script made from bytes, at most: what keeps one fuzz input under a few milliseconds.
const MAX_OPS: usize = 256;

impl Op {
    /// The key with this index.
    #[must_use]
    pub fn key(index: u8) -> Key {
        KEYS[usize::from(index) % KEYS.len()]
    }

    fn from_bytes([kind, a, b, c]: [u8; OP_BYTES]) -> Self {
        match kind % 16 {
            0..=3 => Self::Write {
                at: a,
                key: b,
                value: (!b.is_multiple_of(5)).then_some(b / 64),
                leap: a / 64,
                lost: c,
            },
            4..=7 => Self::Deliver {
                message: u16::from(a),
                again: b.is_multiple_of(4),
                parts: c,
                reversed: b >= 128,
            },
            8..=9 => Self::Ask { by: a, of: b },
            10 => Self::Repair {
                at: a,
                from: b,
                key: c,
                late: c >= 128,
                covering: c & 64 != 0,
            },
            11 => Self::Purge { at: a },
            12 => Self::Trim { at: a, mask: b },
            13..=14 => Self::Chunk {
                at: a,
                from: b,
                late: c >= 192,
            },
            _ if b < 32 => Self::Rename { at: a },
            _ => Self::Ask { by: a, of: b },
        }
    }
}

impl Script {
    /// A script from any bytes: one for the setup, then four for each operation.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (&first, rest) = bytes.split_first().unwrap_or((&0, &[]));
        let setup = Setup {
            replicas: first % 3,
            budget: [1, 1, 2, 100][usize::from(first / 4 % 4)],
            clocks_travel: first & 16 == 0,
            encoded: first & 96 == 0,
        };
        let ops = rest.chunks(OP_BYTES).take(MAX_OPS).map(|chunk| {
            let mut op = [0; OP_BYTES];
            op[..chunk.len()].copy_from_slice(chunk);
            Op::from_bytes(op)
        });
        Self {
            setup,
            ops: ops.collect(),
        }
    }
}
