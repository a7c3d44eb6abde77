//! A worked example: a type of one's own, put to the laws of `crdt`, once with a planted bug.

use arbitrary::{Arbitrary as _, Unstructured};
use crdt::laws::{Choice, History, Script, Subject, check_script};
use crdt::{Difference, Lattice, ReplicaId, VersionVector};
use std::cmp::{Ordering, Reverse};
use std::collections::BTreeMap;

/// The best result of each player over all machines of an arcade, and how many games each machine has
/// seen: a map of the type's own beside a vector of the library.
///
/// With `PLANTED`, join keeps its own result where another machine has one of equal score. That looks
/// harmless, and every machine then shows its own for ever.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HighScores<const PLANTED: bool> {
    best: BTreeMap<u8, GameResult>,
    games: VersionVector,
}

/// A score, and the machine's label of the game that reached it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GameResult {
    /// The higher one wins.
    pub score: u8,
    /// At equal scores the smaller one wins.
    pub label: u8,
}

impl GameResult {
    /// The order of results is total: no two different results are equally good.
    fn beats(&self, other: &Self) -> bool {
        (self.score, Reverse(self.label)) > (other.score, Reverse(other.label))
    }
}

impl<const PLANTED: bool> HighScores<PLANTED> {
    /// Notes a game that was played on `machine`. The delta holds the new count of this machine's games,
    /// and the result if it is the player's best.
    #[must_use = "the delta is what other machines join"]
    pub fn play(&mut self, machine: ReplicaId, player: u8, result: GameResult) -> Self {
        let dot = self.games.increment(machine);
        let mut delta = Self {
            best: BTreeMap::new(),
            games: [(machine, dot.counter)].into_iter().collect(),
        };
        if self.best.get(&player).is_none_or(|held| result.beats(held)) {
            self.best.insert(player, result);
            delta.best.insert(player, result);
        }
        delta
    }

    /// The best result of each player.
    pub fn best(&self) -> &BTreeMap<u8, GameResult> {
        &self.best
    }

    fn lacks(&self, player: u8, result: &GameResult) -> bool {
        self.best.get(&player).is_none_or(|held| match PLANTED {
            true => result.score > held.score,
            false => result.beats(held),
        })
    }
}

impl<const PLANTED: bool> Lattice for HighScores<PLANTED> {
    fn join(&mut self, other: &Self) -> bool {
        let news = other.difference(self);
        let grew = !news.best.is_empty();
        self.best.extend(news.best);
        self.games.join(&other.games) | grew
    }
}

impl<const PLANTED: bool> Difference for HighScores<PLANTED> {
    fn difference(&self, other: &Self) -> Self {
        let best = self.best.iter().map(|(player, result)| (*player, *result));
        Self {
            best: best
                .filter(|(player, result)| other.lacks(*player, result))
                .collect(),
            games: self.games.difference(&other.games),
        }
    }
}

impl<const PLANTED: bool> PartialOrd for HighScores<PLANTED> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let below = |a: &Self, b: &Self| a.difference(b) == Self::default();
        match (below(self, other), below(other, self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

/// One machine: all that the laws need to know is how to make it, change it and read it, and what it
/// should show.
#[derive(Debug)]
pub struct Machine<const PLANTED: bool> {
    id: ReplicaId,
    scores: HighScores<PLANTED>,
}

impl<const PLANTED: bool> Subject for Machine<PLANTED> {
    type State = HighScores<PLANTED>;
    type Op = (u8, GameResult);
    type Value = (BTreeMap<u8, GameResult>, u64);

    fn new(id: ReplicaId) -> Self {
        let scores = HighScores::default();
        Self { id, scores }
    }

    fn state(&self) -> &Self::State {
        &self.scores
    }

    fn join(&mut self, other: &Self::State) -> bool {
        self.scores.join(other)
    }

    /// Few players and few scores, so that they meet.
    fn op(Choice { what, which, .. }: Choice) -> Self::Op {
        let (player, score, label) = (what % 2, what / 2 % 3, which % 4);
        (player, GameResult { score, label })
    }

    fn apply(&mut self, &(player, result): &Self::Op) -> Self::State {
        self.scores.play(self.id, player, result)
    }

    fn value(state: &Self::State) -> Self::Value {
        let games = state.games.iter().map(|(_, games)| games);
        (state.best.clone(), games.sum())
    }

    /// Every visible event is a game; the best of each player is a maximum over them.
    fn expected(history: &History<'_, Self::Op>) -> Self::Value {
        let games = || history.events().map(|event| event.op);
        let order = |result: &GameResult| (result.score, Reverse(result.label));
        let players = games().map(|(player, _)| player);
        let best = players.filter_map(|player| {
            let results = games().filter(|game| game.0 == player);
            let result = results.map(|(_, result)| result).max_by_key(order)?;
            Some((player, result))
        });
        (best.collect(), games().count() as u64)
    }
}

/// The body of the fuzz target `own_type`: the type as it should be.
///
/// # Panics
/// If a law does not hold, with the script that shows it.
pub fn own_type(bytes: &[u8]) {
    play::<false>(bytes);
}

/// The body of the fuzz target `own_type_planted`: the type with its bug.
///
/// # Panics
/// If a law does not hold, with the script that shows it.
pub fn own_type_planted(bytes: &[u8]) {
    play::<true>(bytes);
}

fn play<const PLANTED: bool>(bytes: &[u8]) {
    let Ok(script) = Script::arbitrary(&mut Unstructured::new(bytes)) else {
        return;
    };
    if let Err(violation) = check_script::<Machine<PLANTED>>(&script) {
        panic!("{violation}");
    }
}
