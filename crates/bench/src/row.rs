//! One line of the report: ours, the peers, the floors, the target, and whether it is met.

use serde_json::{Map, Value, json};
use std::cmp::Ordering;

/// What a figure counts. Less is better, but for what is done per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanoseconds,
    Microseconds,
    Milliseconds,
    Bytes,
    Allocations,
    Percent,
    Rounds,
    Seconds,
    /// What is done in a second: more is better.
    PerSecond,
    /// How many times as much as another figure of ours.
    Times,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Microseconds => "us",
            Self::Milliseconds => "ms",
            Self::Bytes => "B",
            Self::Allocations => "allocations",
            Self::Percent => "%",
            Self::Rounds => "rounds",
            Self::Seconds => "s",
            Self::PerSecond => "/s",
            Self::Times => "times",
        }
    }

    const fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }

    /// The better ones first.
    fn order(self, one: &f64, other: &f64) -> Ordering {
        match self.more_is_better() {
            true => other.total_cmp(one),
            false => one.total_cmp(other),
        }
    }

    pub fn of_nanos(self, nanos: f64) -> f64 {
        match self {
            Self::Microseconds => nanos / 1e3,
            Self::Milliseconds => nanos / 1e6,
            _ => nanos,
        }
    }
}

/// Whose figure it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Side {
    Ours,
    /// A crate, by its name in `Cargo.lock`, and which part of it.
    Peer(&'static str, &'static str),
    /// A server that runs beside ours, with its version and how it is set up.
    System(String),
    /// A system that cannot run here, with a figure that was measured elsewhere: it is shown, and no ratio is
    /// taken of it.
    Recorded(&'static str),
    /// What the machine allows: a plain structure without the guarantees.
    Floor(&'static str),
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Target {
    /// At most this figure.
    AtMost(f64),
    /// At least this figure.
    AtLeast(f64),
    /// At least this many times the figure of the best peer in the same run.
    AtLeastBest(f64),
    /// This many times less than a peer in the same run, the best of them if it has several parts.
    TimesLess(f64, &'static str),
    /// This many times less than the best peer in the same run.
    TimesLessThanBest(f64),
    /// At most this many times what a peer takes in the same run.
    AtMostTimes(f64, &'static str),
    /// At most this many times the floor in the same run.
    AtMostTimesFloor(f64),
}

#[derive(Debug, Clone)]
pub struct Row {
    pub name: String,
    pub unit: Unit,
    ours: Option<f64>,
    peers: Vec<(&'static str, String, f64)>,
    recorded: Vec<(&'static str, f64)>,
    floors: Vec<(&'static str, f64)>,
    targets: Vec<Target>,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: Unit) -> Self {
        Self {
            name: name.into(),
            unit,
            ours: None,
            peers: Vec::new(),
            recorded: Vec::new(),
            floors: Vec::new(),
            targets: Vec::new(),
        }
    }

    pub fn target(mut self, target: Target) -> Self {
        self.targets.push(target);
        self
    }

    pub fn with(mut self, side: Side, figure: f64) -> Self {
        self.put(side, figure);
        self
    }

    pub fn put(&mut self, side: Side, figure: f64) {
        match side {
            Side::Ours => self.ours = Some(figure),
            Side::Peer(name, part) => {
                let label = format!("{name} {} {part}", version_of(name));
                self.peers.push((name, label.trim_end().into(), figure));
            }
            Side::System(label) => self.peers.push(("", label, figure)),
            Side::Recorded(name) => self.recorded.push((name, figure)),
            Side::Floor(name) => self.floors.push((name, figure)),
        }
    }

    /// The figure to reach, the hardest of several; none if the row has no target, or its peer did not run.
    pub fn target_figure(&self) -> Option<f64> {
        let figures = self.targets.iter().filter_map(|target| match *target {
            Target::AtMost(figure) | Target::AtLeast(figure) => Some(figure),
            Target::AtLeastBest(times) => Some(self.best(None)? * times),
            Target::TimesLess(times, name) => Some(self.best(Some(name))? / times),
            Target::TimesLessThanBest(times) => Some(self.best(None)? / times),
            Target::AtMostTimes(times, name) => Some(self.best(Some(name))? * times),
            Target::AtMostTimesFloor(times) => Some(self.best_floor()? * times),
        });
        figures.min_by(|one, other| self.unit.order(one, other))
    }

    /// Whether the target is reached; none if there is no target.
    pub fn met(&self) -> Option<bool> {
        let target = self.target_figure()?;
        Some(
            self.ours
                .is_some_and(|ours| self.unit.order(&ours, &target).is_le()),
        )
    }

    fn best(&self, name: Option<&str>) -> Option<f64> {
        let named = self.peers.iter().filter(|p| name.is_none_or(|n| n == p.0));
        let figures = named.map(|p| p.2);
        figures.min_by(|one, other| self.unit.order(one, other))
    }

    fn best_floor(&self) -> Option<f64> {
        self.floors.iter().map(|f| f.1).min_by(f64::total_cmp)
    }

    /// Ours and the floor, if both are there.
    pub fn ours_and_floor(&self) -> Option<(f64, f64)> {
        Some((self.ours?, self.best_floor()?))
    }

    /// How many times better ours is than the best peer.
    fn ratio(&self) -> Option<f64> {
        let ours = self.ours.filter(|ours| *ours > 0.0)?;
        let best = self.best(None)?;
        Some(if self.unit.more_is_better() {
            ours / best
        } else {
            best / ours
        })
    }

    pub fn json(&self) -> Value {
        let measured = self
            .peers
            .iter()
            .map(|(_, label, figure)| (label.clone(), rounded(*figure)));
        let recorded = self
            .recorded
            .iter()
            .map(|(name, figure)| (format!("{name} (recorded)"), rounded(*figure)));
        let peers: Map<String, Value> = measured.chain(recorded).collect();
        json!({
            "row": self.name,
            "ours": self.ours.map(rounded),
            "unit": self.unit.name(),
            "peers": peers,
            "floor": self.best_floor().map(rounded),
            "target": self.target_figure().map(rounded),
            "met": self.met(),
        })
    }

    /// The lines of the table; the last cell says where the target comes from.
    pub fn text(&self) -> String {
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        let number = |figure: Option<f64>| figure.map_or("-".into(), short);
        let ratio = self
            .ratio()
            .map_or("-".into(), |r| format!("{}x", short(r)));
        let mut text = format!(
            "{:<72} {:>9} {:<4} floor {:>8}  best peer/ours {:>7}  target {:>8} {met}",
            self.name,
            number(self.ours),
            self.unit.name(),
            number(self.best_floor()),
            ratio,
            number(self.target_figure()),
        );
        let mut notes: Vec<String> = Vec::new();
        notes.extend(self.peers.iter().map(|p| format!("{} {}", p.1, short(p.2))));
        notes.extend(
            self.recorded
                .iter()
                .map(|r| format!("recorded, {}: {}", r.0, short(r.1))),
        );
        notes.extend(
            self.floors
                .iter()
                .map(|f| format!("floor, {}: {}", f.0, short(f.1))),
        );
        notes.extend(self.targets.iter().map(|t| self.reason(*t)));
        for note in notes {
            text.push_str("\n    ");
            text.push_str(&note);
        }
        text
    }

    fn reason(&self, target: Target) -> String {
        match target {
            Target::AtMost(figure) => format!("target <= {} {}", short(figure), self.unit.name()),
            Target::AtLeast(figure) => format!("target >= {} {}", short(figure), self.unit.name()),
            Target::AtLeastBest(times) => {
                let figure = self.best(None).map_or("-".into(), |b| short(b * times));
                format!(
                    "target >= {times}x the best peer: {figure} {}",
                    self.unit.name()
                )
            }
            Target::TimesLess(times, name) => {
                let figure = self
                    .best(Some(name))
                    .map_or("-".into(), |b| short(b / times));
                format!("target >= {times}x {name}: {figure} {}", self.unit.name())
            }
            Target::TimesLessThanBest(times) => {
                let figure = self.best(None).map_or("-".into(), |b| short(b / times));
                format!(
                    "target >= {times}x the best peer: {figure} {}",
                    self.unit.name()
                )
            }
            Target::AtMostTimes(times, name) => {
                let figure = self
                    .best(Some(name))
                    .map_or("-".into(), |b| short(b * times));
                format!("target <= {times}x {name}: {figure} {}", self.unit.name())
            }
            Target::AtMostTimesFloor(times) => {
                let figure = self.best_floor().map_or("-".into(), |b| short(b * times));
                format!(
                    "target <= {times}x the floor: {figure} {}",
                    self.unit.name()
                )
            }
        }
    }
}

/// Three digits.
fn short(figure: f64) -> String {
    let magnitude = if figure == 0.0 {
        0
    } else {
        figure.abs().log10().floor() as i32
    };
    let decimals = (2 - magnitude).clamp(0, 4) as usize;
    format!("{figure:.decimals$}")
}

fn rounded(figure: f64) -> Value {
    json!((figure * 1e4).round() / 1e4)
}

/// The version of a crate as `Cargo.lock` says; of several, the one this package asks for.
fn version_of(name: &str) -> String {
    let lock = include_str!("../Cargo.lock");
    let wanted = include_str!("../Cargo.toml")
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .strip_prefix(" = \"")?
                .split('"')
                .next()
        })
        .unwrap_or_default();
    let heading = format!("name = \"{name}\"\nversion = \"");
    let versions = lock.split(&heading).skip(1);
    versions
        .filter_map(|rest| rest.split('"').next())
        .find(|version| version.starts_with(wanted))
        .unwrap_or("?")
        .into()
}
