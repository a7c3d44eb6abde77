//! The systems that are simulated.

/// Which system is simulated: the letters are those of `docs/systems.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum System {
    /// A: the majority store.
    #[default]
    Majority,
    /// B: the caller's timestamps, `K` of `N` nodes.
    Timestamped,
    /// C: partitions and sessions.
    Causal,
    /// D: concurrent values, on the protocol that repairs loss.
    Siblings,
    /// E: gossip.
    Gossip,
    /// L: the linearizable level.
    Linearizable,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Majority,
        Self::Timestamped,
        Self::Causal,
        Self::Siblings,
        Self::Gossip,
        Self::Linearizable,
    ];

    /// Its letter.
    pub const fn letter(self) -> char {
        match self {
            Self::Majority => 'A',
            Self::Timestamped => 'B',
            Self::Causal => 'C',
            Self::Siblings => 'D',
            Self::Gossip => 'E',
            Self::Linearizable => 'L',
        }
    }

    /// The system of a letter.
    pub fn of_letter(letter: char) -> Option<Self> {
        let letter = letter.to_ascii_uppercase();
        Self::ALL.into_iter().find(|s| s.letter() == letter)
    }
}
