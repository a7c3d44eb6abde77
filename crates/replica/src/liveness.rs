//! Who seems to be there: a hint that steers requests.
//!
//! Safety never depends on it. A node that is wrongly thought to be down costs a detour, one that is wrongly
//! thought to be up costs a wait: quorums are counted from answers alone. A driver tells a detector of
//! whatever it hears, and the [`Node`](crate::Node) of changes, with
//! [`handle_suspected`](crate::Node::handle_suspected), which goes around a node and gives nothing up. What the driver
//! knows for certain, such as a connection that is closed, it says at once, with
//! [`handle_reachable`](crate::Node::handle_reachable).
//!
//! `replicad` feeds a [`PhiAccrual`] from all that arrives on its connections. The
//! [`Cluster`](crate::Cluster) has no need of one, as it knows who is up, and the simulator gives hints at random,
//! which are worse than any detector's.
//!
//! Detectors are pure: time is an argument, in milliseconds since some fixed moment. It should not decrease; if
//! it does nothing breaks, and what is said of a node may be late by the size of the step.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use crate::{MAX_NODES, NodeId};

/// Judges from what was heard, and when, who can be reached.
pub trait FailureDetector: fmt::Debug + Send {
    /// A sign of life: anything that the node itself has sent.
    fn heard_from(&mut self, node: NodeId, now_ms: u64);

    /// Whether requests should go to the node. One that was never heard from is available: a hint must not
    /// keep a cluster from starting.
    fn is_available(&self, node: NodeId, now_ms: u64) -> bool;

    /// Forgets a node, as if it was never heard from. A driver calls it when the node is known to have
    /// started anew, or tries a node that was silent for long.
    fn forget(&mut self, node: NodeId);
}

/// Thinks that every node can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AlwaysReachable;

impl FailureDetector for AlwaysReachable {
    fn heard_from(&mut self, _: NodeId, _: u64) {}

    fn is_available(&self, _: NodeId, _: u64) -> bool {
        true
    }

    fn forget(&mut self, _: NodeId) {}
}

/// Says what it was told to say, whatever is heard: for tests, and for operators.
///
/// ```
/// use replica::NodeId;
/// use replica::liveness::{FailureDetector as _, Scripted};
///
/// let detector = Scripted::default().down(NodeId(2), 100).up(NodeId(2), 300);
/// let at = |now_ms| detector.is_available(NodeId(2), now_ms);
/// assert_eq!([at(99), at(100), at(299), at(300)], [true, false, false, true]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scripted {
    /// What holds from each moment on.
    changes: BTreeMap<(NodeId, u64), bool>,
}

impl Scripted {
    /// Not available from `from_ms` on.
    #[must_use]
    pub fn down(mut self, node: NodeId, from_ms: u64) -> Self {
        self.changes.insert((node, from_ms), false);
        self
    }

    /// Available from `from_ms` on.
    #[must_use]
    pub fn up(mut self, node: NodeId, from_ms: u64) -> Self {
        self.changes.insert((node, from_ms), true);
        self
    }
}

impl FailureDetector for Scripted {
    fn heard_from(&mut self, _: NodeId, _: u64) {}

    fn is_available(&self, node: NodeId, now_ms: u64) -> bool {
        let mut past = self.changes.range((node, 0)..=(node, now_ms));
        past.next_back().is_none_or(|(_, is_up)| *is_up)
    }

    fn forget(&mut self, _: NodeId) {}
}

/// Parameters of [`PhiAccrual`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PhiConfig {
    /// A node is available below this level. At level 1 one time in ten a node that is there is thought to be
    /// gone, at level 2 one in a hundred, and so on, as far as silences are as regular as they were. The
    /// default is 8.
    pub threshold: f64,
    /// How many intervals are remembered for each node. The default is 100.
    pub window: usize,
    /// The least standard deviation, in milliseconds: heartbeats that have been very regular must not make a
    /// small delay look like a failure. The default is 50.
    pub min_deviation_ms: u64,
    /// A silence that is always forgiven, added to the mean, in milliseconds: for pauses that the window
    /// may not have seen yet. The default is 500.
    pub acceptable_pause_ms: u64,
    /// The interval that is assumed until one was seen, in milliseconds. The default is 500, the interval of
    /// synchronisation.
    pub expected_interval_ms: u64,
    /// Signs of life that come sooner after the last counted one are no new interval, in milliseconds: a
    /// burst of messages must not make a quiet spell look like a failure. The default is 20.
    pub min_interval_ms: u64,
}

impl Default for PhiConfig {
    fn default() -> Self {
        Self {
            threshold: 8.0,
            window: 100,
            min_deviation_ms: 50,
            acceptable_pause_ms: 500,
            expected_interval_ms: 500,
            min_interval_ms: 20,
        }
    }
}

/// Parameters that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PhiConfigError(&'static str);

/// Longest window, in intervals.
const MAX_WINDOW: usize = 10_000;

/// Longest interval that is remembered, in milliseconds: an hour. Sums of squares stay within 64 bits.
const MAX_INTERVAL_MS: u64 = 3_600_000;

/// The φ accrual failure detector: how unlikely is a silence as long as this one?
///
/// For each node it remembers the last intervals between signs of life. If these are normally distributed, a
/// silence of `t` lasts longer than `t` with some probability `p`, and the level of suspicion is
/// `φ(t) = -log10(p)`: it rises steadily, and the threshold is the caller's choice. An interval that was as
/// long as a failure is not remembered, or the next failure would be noticed late.
///
/// **Cost.** Constant time for each call but for the look-up of the node; memory for `window` intervals of
/// each node that was heard from.
///
/// **Not for** deciding who is a member, or who leads: two nodes may think differently of a third.
///
/// Source: Hayashibara, Défago, Yared and Katayama, *The φ accrual failure detector*, 2004, section 4. The
/// tail of the normal distribution is approximated by a logistic function (Bowling et al., *A logistic
/// approximation to the cumulative normal distribution*, 2009), which is a little impatient far out: it reaches
/// level 8 at 5.24 standard deviations instead of 5.61.
///
/// ```
/// use replica::NodeId;
/// use replica::liveness::{FailureDetector as _, PhiAccrual, PhiConfig};
///
/// let mut detector = PhiAccrual::new(PhiConfig::default())?;
/// for beat in 0..20 {
///     detector.heard_from(NodeId(2), 500 * beat);
/// }
/// assert!(detector.is_available(NodeId(2), 10_000));
/// assert!(!detector.is_available(NodeId(2), 20_000));
/// # Ok::<(), replica::liveness::PhiConfigError>(())
/// ```
#[derive(Debug, Clone)]
pub struct PhiAccrual {
    config: PhiConfig,
    nodes: BTreeMap<NodeId, Beats>,
}

impl PhiAccrual {
    /// A detector that has heard from nobody.
    ///
    /// # Errors
    /// If a parameter cannot work.
    pub fn new(config: PhiConfig) -> Result<Self, PhiConfigError> {
        if !(config.threshold.is_finite() && config.threshold > 0.0) {
            return Err(PhiConfigError("the threshold must be a positive number"));
        }
        if !(1..=MAX_WINDOW).contains(&config.window) {
            return Err(PhiConfigError("the window must be 1 to 10000 intervals"));
        }
        if config.min_deviation_ms == 0 {
            return Err(PhiConfigError("the least deviation must not be zero"));
        }
        let nodes = BTreeMap::new();
        Ok(Self { config, nodes })
    }

    /// The level of suspicion, from 0; `None` if the node was never heard from.
    pub fn phi(&self, node: NodeId, now_ms: u64) -> Option<f64> {
        let beats = self.nodes.get(&node)?;
        Some(beats.phi(&self.config, now_ms))
    }
}

impl FailureDetector for PhiAccrual {
    fn heard_from(&mut self, node: NodeId, now_ms: u64) {
        if node.0 > MAX_NODES {
            return;
        }
        let config = self.config;
        self.nodes
            .entry(node)
            .and_modify(|beats| beats.beat(&config, now_ms))
            .or_insert_with(|| Beats::new(now_ms));
    }

    fn is_available(&self, node: NodeId, now_ms: u64) -> bool {
        let phi = self.phi(node, now_ms);
        phi.is_none_or(|phi| phi < self.config.threshold)
    }

    fn forget(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }
}

/// What was heard of one node.
#[derive(Debug, Clone)]
struct Beats {
    last_ms: u64,
    /// When the last interval ended.
    counted_ms: u64,
    intervals: VecDeque<u64>,
    sum: u64,
    sum_of_squares: u64,
}

impl Beats {
    const fn new(now_ms: u64) -> Self {
        Self {
            last_ms: now_ms,
            counted_ms: now_ms,
            intervals: VecDeque::new(),
            sum: 0,
            sum_of_squares: 0,
        }
    }

    fn beat(&mut self, config: &PhiConfig, now_ms: u64) {
        let interval = now_ms.checked_sub(self.counted_ms);
        if interval.is_some_and(|interval| interval < config.min_interval_ms) {
            self.last_ms = now_ms;
            return;
        }
        // After an outage, or a step of the clock, the next interval starts here.
        let was_available = self.phi(config, now_ms) < config.threshold;
        if let Some(interval) = interval.filter(|_| was_available) {
            self.count(config, interval);
        }
        (self.last_ms, self.counted_ms) = (now_ms, now_ms);
    }

    fn count(&mut self, config: &PhiConfig, interval: u64) {
        let interval = interval.min(MAX_INTERVAL_MS);
        self.intervals.push_back(interval);
        self.sum += interval;
        self.sum_of_squares += interval * interval;
        if self.intervals.len() > config.window {
            let oldest = self.intervals.pop_front().unwrap_or_default();
            self.sum -= oldest;
            self.sum_of_squares -= oldest * oldest;
        }
    }

    fn phi(&self, config: &PhiConfig, now_ms: u64) -> f64 {
        let (mean, deviation) = self.distribution(config);
        let silence = now_ms.saturating_sub(self.last_ms) as f64;
        let y = (silence - mean - config.acceptable_pause_ms as f64) / deviation;
        // The probability of a longer silence is e / (1 + e); far out, 1 + e is 1.
        let exponent = -y * (1.5976 + 0.070566 * y * y);
        if exponent > 0.0 {
            // The same, without an overflow where e is large.
            (1.0 + (-exponent).exp()).log10()
        } else {
            (exponent.exp().ln_1p() - exponent) / std::f64::consts::LN_10
        }
    }

    /// Mean and standard deviation of the intervals.
    fn distribution(&self, config: &PhiConfig) -> (f64, f64) {
        let least = config.min_deviation_ms as f64;
        if self.intervals.is_empty() {
            let expected = config.expected_interval_ms as f64;
            return (expected, least.max(expected / 4.0));
        }
        let count = self.intervals.len() as f64;
        let mean = self.sum as f64 / count;
        let variance = (self.sum_of_squares as f64 / count - mean * mean).max(0.0);
        (mean, variance.sqrt().max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt as _, SeedableRng as _};

    const NODE: NodeId = NodeId(2);

    fn detector() -> PhiAccrual {
        PhiAccrual::new(PhiConfig::default()).expect("the defaults work")
    }

    /// A detector that has heard a beat at the end of each interval, and the moment of the last one.
    fn after(intervals: impl IntoIterator<Item = u64>) -> (PhiAccrual, u64) {
        let (mut detector, mut now_ms) = (detector(), 1_000);
        detector.heard_from(NODE, now_ms);
        for interval in intervals {
            now_ms += interval;
            detector.heard_from(NODE, now_ms);
        }
        (detector, now_ms)
    }

    /// How long after its last beat a node is thought to be gone, in milliseconds.
    fn patience(detector: &PhiAccrual, last_ms: u64) -> u64 {
        let is_gone = |silence: &u64| !detector.is_available(NODE, last_ms + silence);
        (0..1_000_000).find(is_gone).expect("silence is noticed")
    }

    fn jitter(seed: u64, beats: usize, range: std::ops::Range<u64>) -> Vec<u64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..beats)
            .map(|_| rng.random_range(range.clone()))
            .collect()
    }

    #[test]
    fn regular_heartbeats_are_available_and_their_end_is_noticed_soon() {
        let (detector, last_ms) = after([500; 200]);
        assert!(detector.is_available(NODE, last_ms + 500));
        // Mean and forgiven pause are 1000; level 8 is 5.24 deviations of 50 away.
        assert_eq!(patience(&detector, last_ms), 1_262);
    }

    #[test]
    fn jitter_makes_it_patient() {
        let regular = after([500; 100]);
        let jittery = after(jitter(1, 100, 10..990));
        let (regular, jittery) = (
            patience(&regular.0, regular.1),
            patience(&jittery.0, jittery.1),
        );
        assert!(jittery > regular + 500, "{jittery} against {regular}");
    }

    #[test]
    fn jittery_heartbeats_are_never_suspected() {
        for seed in 0..20 {
            let (mut detector, mut now_ms) = after(jitter(seed, 50, 100..900));
            for interval in jitter(100 + seed, 500, 100..900) {
                now_ms += interval;
                assert!(
                    detector.is_available(NODE, now_ms),
                    "seed {seed} at {now_ms}"
                );
                detector.heard_from(NODE, now_ms);
            }
        }
    }

    #[test]
    fn suspicion_rises_with_silence_and_falls_at_a_sign_of_life() {
        let (mut detector, last_ms) = after(jitter(3, 100, 400..600));
        let at = |detector: &PhiAccrual, silence| {
            detector.phi(NODE, last_ms + silence).expect("heard from")
        };
        let levels: Vec<f64> = (0..200).map(|n| at(&detector, 50 * n)).collect();
        assert!(
            levels.windows(2).all(|pair| pair[0] <= pair[1]),
            "{levels:?}"
        );
        assert!(levels[0] < 0.001 && levels[199] > 1_000.0, "{levels:?}");
        assert!(levels.iter().all(|level| level.is_finite()));
        detector.heard_from(NODE, last_ms + 10_000);
        assert!(detector.is_available(NODE, last_ms + 10_500));
    }

    #[test]
    fn levels_are_those_of_the_normal_distribution() {
        let config = PhiConfig {
            acceptable_pause_ms: 0,
            min_deviation_ms: 100,
            ..PhiConfig::default()
        };
        let mut detector = PhiAccrual::new(config).expect("it works");
        (0..50).for_each(|n| detector.heard_from(NODE, 1_000 * n));
        // One-sided tails of the normal distribution at 0, 1, 2, 3 and 4 deviations.
        let tails = [0.5, 0.158_655, 0.022_750, 0.001_350, 0.000_031_7];
        for (deviations, tail) in (0..).zip(tails) {
            let phi = detector.phi(NODE, 49_000 + 1_000 + 100 * deviations);
            let (phi, exact) = (phi.expect("heard from"), -f64::log10(tail));
            assert!(
                (phi / exact - 1.0).abs() < 0.06,
                "{deviations}: {phi} instead of {exact}"
            );
        }
    }

    #[test]
    fn an_outage_does_not_blunt_it() {
        let (mut detector, mut now_ms) = after([500; 50]);
        let before = patience(&detector, now_ms);
        now_ms += 600_000;
        for _ in 0..10 {
            detector.heard_from(NODE, now_ms);
            now_ms += 500;
        }
        assert_eq!(patience(&detector, now_ms - 500), before);
    }

    #[test]
    fn the_window_is_bounded_and_old_intervals_leave_it() {
        let slow_then_fast = [vec![900; 100], vec![300; 100]].concat();
        let (detector, last_ms) = after(slow_then_fast);
        let (fresh, fresh_ms) = after([300; 100]);
        assert_eq!(detector.nodes[&NODE].intervals.len(), 100);
        assert_eq!(patience(&detector, last_ms), patience(&fresh, fresh_ms));
    }

    #[test]
    fn bursts_are_no_intervals() {
        let burst = [vec![480], vec![1; 19]].concat();
        let (detector, last_ms) = after(burst.repeat(50));
        let (regular, regular_ms) = after([500; 50]);
        let (burst, regular) = (patience(&detector, last_ms), patience(&regular, regular_ms));
        assert!(burst.abs_diff(regular) < 50, "{burst} against {regular}");
    }

    #[test]
    fn who_was_never_heard_from_or_is_forgotten_is_available() {
        let (mut detector, last_ms) = after([500; 10]);
        assert!(detector.is_available(NodeId(3), u64::MAX));
        assert_eq!(detector.phi(NodeId(3), 0), None);
        assert!(!detector.is_available(NODE, last_ms + 60_000));
        detector.forget(NODE);
        assert!(detector.is_available(NODE, last_ms + 60_000));
        detector.heard_from(NodeId(u32::MAX), 1);
        assert_eq!(detector.nodes.len(), 0, "no such node");
        let (once, at_ms) = after([]);
        assert!(once.is_available(NODE, at_ms + 1_000) && !once.is_available(NODE, at_ms + 10_000));
    }

    #[test]
    fn a_clock_that_steps_back_does_no_harm() {
        let (mut detector, last_ms) = after([500; 50]);
        let before = patience(&detector, last_ms);
        assert!(detector.is_available(NODE, 0));
        detector.heard_from(NODE, 10);
        assert!(detector.is_available(NODE, 10) && !detector.is_available(NODE, last_ms));
        (1..50).for_each(|n| detector.heard_from(NODE, 10 + 500 * n));
        assert_eq!(patience(&detector, 10 + 500 * 49), before);
        for now_ms in [u64::MAX, 0, u64::MAX, 1] {
            detector.heard_from(NODE, now_ms);
            assert!(
                detector
                    .phi(NODE, u64::MAX)
                    .is_some_and(|phi| !phi.is_nan())
            );
            assert!(detector.phi(NODE, 0).is_some_and(|phi| !phi.is_nan()));
        }
    }

    #[test]
    fn the_others_say_what_they_are_told() {
        let mut detectors: [Box<dyn FailureDetector>; 2] = [
            Box::new(AlwaysReachable),
            Box::new(Scripted::default().down(NodeId(1), 5).up(NodeId(1), 9)),
        ];
        let seen = detectors.each_mut().map(|detector| {
            detector.heard_from(NodeId(1), 6);
            detector.forget(NodeId(1));
            [4, 5, 8, 9].map(|now_ms| detector.is_available(NodeId(1), now_ms))
        });
        assert_eq!(seen, [[true; 4], [true, false, false, true]]);
        assert!(
            detectors[1].is_available(NodeId(2), 7),
            "of another node nothing was said"
        );
    }

    #[test]
    fn parameters_that_cannot_work_are_refused() {
        let with = |change: fn(&mut PhiConfig)| {
            let mut config = PhiConfig::default();
            change(&mut config);
            PhiAccrual::new(config).is_err()
        };
        assert!(with(|c| c.threshold = 0.0) && with(|c| c.threshold = f64::NAN));
        assert!(with(|c| c.window = 0) && with(|c| c.window = MAX_WINDOW + 1));
        assert!(with(|c| c.min_deviation_ms = 0));
        assert!(!with(|c| c.acceptable_pause_ms = u64::MAX));
    }
}
