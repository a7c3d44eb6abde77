//! Makes a run that fails smaller, as long as it fails.

use super::network::Network;
use super::report::Report;
use super::schedule::{Schedule, Step};
use crate::{Config, NodeId};

/// Reduces a schedule to a small one on which `fails` still says so: fewer steps, fewer nodes, fewer keys, a
/// calmer network, the default configuration, shorter times. Runs at most `max_runs` schedules. `None` if
/// the schedule does not fail to begin with.
///
/// What is left is small, not smallest: no single step can be left out, unless the runs were used up before.
///
/// ```
/// use replica::sim::{Campaign, record_seed, shrink};
///
/// let (_, schedule) = record_seed(3, &Campaign::default());
/// let schedule = schedule.expect("a run of single steps");
/// // Not a failure, but something to look for.
/// let small = shrink(&schedule, 500, |report| report.succeeded.0 > 1);
/// let small = small.expect("many operations succeed");
/// assert!(small.steps.len() <= 4, "{small}");
/// assert!(small.run().succeeded.0 > 1);
/// ```
pub fn shrink(
    schedule: &Schedule,
    max_runs: usize,
    fails: impl FnMut(&Report) -> bool,
) -> Option<Schedule> {
    let mut shrinker = Shrinker {
        best: schedule.clone(),
        runs_left: max_runs,
        fails,
    };
    if !shrinker.accepts(schedule.clone()) {
        return None;
    }
    // Each pass may make room for those before it.
    while shrinker.pass() {}
    Some(shrinker.best)
}

/// The smallest failing schedule so far.
struct Shrinker<F> {
    best: Schedule,
    runs_left: usize,
    fails: F,
}

impl<F: FnMut(&Report) -> bool> Shrinker<F> {
    /// Whether a candidate still fails; then it is the best.
    fn accepts(&mut self, candidate: Schedule) -> bool {
        if self.runs_left == 0 || candidate.node.validate().is_err() {
            return false;
        }
        self.runs_left -= 1;
        let has_failed = (self.fails)(&candidate.run());
        if has_failed {
            self.best = candidate;
        }
        has_failed
    }

    /// Tries a change of the best; false if it changes nothing.
    fn try_change(&mut self, change: impl FnOnce(&mut Schedule)) -> bool {
        let mut candidate = self.best.clone();
        change(&mut candidate);
        candidate != self.best && self.accepts(candidate)
    }

    /// Tries everything once; whether anything helped.
    fn pass(&mut self) -> bool {
        let steps = self.drop_steps();
        let nodes = self.drop_nodes();
        let network = self.calm_network();
        let config = self.plain_config();
        let rest = self.shorten();
        steps || nodes || network || config || rest
    }

    /// Leaves out runs of steps, long ones first.
    fn drop_steps(&mut self) -> bool {
        let before = self.best.steps.len();
        let mut length = before;
        while length > 0 {
            let mut start = 0;
            while start < self.best.steps.len() {
                let end = (start + length).min(self.best.steps.len());
                let is_dropped = self.try_change(|schedule| {
                    schedule.steps.drain(start..end);
                });
                if !is_dropped {
                    start = end;
                }
            }
            length /= 2;
        }
        self.best.steps.len() < before
    }

    /// Takes the cluster down to fewer nodes: without what happens at the others, or with that at those
    /// that are left.
    fn drop_nodes(&mut self) -> bool {
        [3, 5, 7, 15].into_iter().any(|nodes| {
            if nodes >= self.best.node.nodes {
                return false;
            }
            self.try_change(|schedule| {
                resize(&mut schedule.node, nodes);
                schedule
                    .steps
                    .retain_mut(|(_, step)| keep_nodes(step, |node| node.0 <= nodes));
            }) || self.try_change(|schedule| {
                resize(&mut schedule.node, nodes);
                for (_, step) in &mut schedule.steps {
                    map_nodes(step, |node| NodeId((node.0 - 1) % nodes + 1));
                }
            })
        })
    }

    fn calm_network(&mut self) -> bool {
        let usual = Network::default();
        let changes: [fn(&mut Network, &Network); 4] = [
            |network, usual| network.loss = usual.loss,
            |network, usual| network.duplication = usual.duplication,
            |network, usual| network.straggler = usual.straggler,
            |network, usual| network.max_latency_ms = usual.max_latency_ms,
        ];
        let mut has_helped = false;
        for change in changes {
            has_helped |= self.try_change(|schedule| change(&mut schedule.network, &usual));
        }
        has_helped
    }

    fn plain_config(&mut self) -> bool {
        let changes: [fn(&mut Config, &Config); 10] = [
            |config, usual| config.clock = usual.clock,
            |config, usual| config.durable = usual.durable,
            |config, usual| config.partitions = usual.partitions,
            |config, usual| config.request_timeout_ms = usual.request_timeout_ms,
            |config, usual| config.resend_ms = usual.resend_ms,
            |config, usual| config.sync_interval_ms = usual.sync_interval_ms,
            |config, usual| config.chunk_keys = usual.chunk_keys,
            |config, usual| config.max_log_events = usual.max_log_events,
            |config, usual| config.operation_memory = usual.operation_memory,
            |config, usual| config.max_exceptions = usual.max_exceptions,
        ];
        let takes_time = self.best.node.clock == crate::ClockKind::Caller;
        let mut has_helped = self.try_change(|schedule| schedule.mixes = false);
        // The caller's timestamps are part of what the system is.
        for change in changes.into_iter().skip(usize::from(takes_time)) {
            has_helped |= self.try_change(|schedule| {
                let usual = Config::new(NodeId(1), schedule.node.nodes);
                change(&mut schedule.node, &usual);
            });
        }
        has_helped
    }

    /// One key, and less time.
    fn shorten(&mut self) -> bool {
        let mut has_helped = self.try_change(|schedule| {
            for (_, step) in &mut schedule.steps {
                if let Step::Write { key, .. }
                | Step::WriteOne { key, .. }
                | Step::WriteNamed { key, .. }
                | Step::Read { key, .. } = step
                {
                    *key = "a".into();
                }
            }
        });
        for at in 0..self.best.steps.len() {
            for shorter in [1, 5, 40] {
                has_helped |= self.try_change(|schedule| match &mut schedule.steps[at].1 {
                    Step::Run { ms } if *ms > shorter => *ms = shorter,
                    _ => {}
                });
            }
        }
        has_helped
    }
}

/// Makes the configuration one for fewer nodes, with the quorums that go with it.
fn resize(config: &mut Config, nodes: u32) {
    let owned_by_all = config.replication_factor == config.nodes;
    let owners = match owned_by_all {
        true => nodes,
        false => config.replication_factor.min(nodes),
    };
    config.nodes = nodes;
    if owners != config.replication_factor {
        *config = config.clone().with_owners(owners);
    }
}

/// Takes nodes out of a step; false if nothing of it is left.
fn keep_nodes(step: &mut Step, is_kept: impl Fn(NodeId) -> bool) -> bool {
    match step {
        Step::Part { one, other } => {
            one.retain(|node| is_kept(*node));
            other.retain(|node| is_kept(*node));
            !one.is_empty() && !other.is_empty()
        }
        Step::Cut { from: a, to: b }
        | Step::Hint {
            node: a, other: b, ..
        } => is_kept(*a) && is_kept(*b),
        Step::Write { node, .. }
        | Step::WriteOne { node, .. }
        | Step::WriteNamed { node, .. }
        | Step::Retry { node, .. }
        | Step::Read { node, .. }
        | Step::FailCommit { node, .. }
        | Step::Skew { node, .. }
        | Step::RaiseHorizon { node, .. }
        | Step::Fail(node)
        | Step::Restart(node)
        | Step::Recover(node)
        | Step::LoseTail(node)
        | Step::Image(node)
        | Step::Pause(node)
        | Step::Resume(node)
        | Step::FreezeClock(node)
        | Step::ThawClock(node)
        | Step::RollBack(node) => is_kept(*node),
        Step::Heal | Step::Calm | Step::Run { .. } => true,
    }
}

/// Puts other nodes into a step.
fn map_nodes(step: &mut Step, to: impl Fn(NodeId) -> NodeId) {
    match step {
        Step::Part { one, other } => {
            for node in one.iter_mut().chain(other.iter_mut()) {
                *node = to(*node);
            }
            one.sort();
            one.dedup();
            other.sort();
            other.dedup();
            // Nobody is parted from itself.
            other.retain(|node| !one.contains(node));
        }
        Step::Cut { from: a, to: b }
        | Step::Hint {
            node: a, other: b, ..
        } => {
            (*a, *b) = (to(*a), to(*b));
        }
        Step::Write { node, .. }
        | Step::WriteOne { node, .. }
        | Step::WriteNamed { node, .. }
        | Step::Retry { node, .. }
        | Step::Read { node, .. }
        | Step::FailCommit { node, .. }
        | Step::Skew { node, .. }
        | Step::RaiseHorizon { node, .. }
        | Step::Fail(node)
        | Step::Restart(node)
        | Step::Recover(node)
        | Step::LoseTail(node)
        | Step::Image(node)
        | Step::Pause(node)
        | Step::Resume(node)
        | Step::FreezeClock(node)
        | Step::ThawClock(node)
        | Step::RollBack(node) => *node = to(*node),
        Step::Heal | Step::Calm | Step::Run { .. } => {}
    }
}
