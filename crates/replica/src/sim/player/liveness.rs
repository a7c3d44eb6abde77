//! Whether a cluster works again after all faults: what is safe because it does nothing is of no use.

use bytes::Bytes;

use super::{Player, keys};
use crate::sim::oracle::Simulated;
use crate::sim::workload::{Operation, Trial, Workload};
use crate::{Level, NodeId, RequestError};

/// Rounds within which all nodes must know the same again after new writes on a network without faults. Most
/// need one or two; the rest is for nodes that compare themselves with one peer in each round, and learn last of
/// what was written first.
const MAX_ROUNDS: u64 = 40;

/// How often a request is made until it must have succeeded: there are two reasons to make it again.
const MAX_ATTEMPTS: usize = 3;

/// Nodes through which new writes and reads are made at most, evenly spread: of a thousand writers each comparison
/// would have to tell, and learning of their writes would take longer than all that was before.
const MAX_NODES: usize = 100;

/// A trial that has failed, and what was said of it, if anything.
type Failed = (Trial, Option<RequestError>);

impl<P: Simulated, W: Workload<P>> Player<P, W> {
    /// Makes a new write and a new read through each node, or through a hundred of more, at each level that the system
    /// offers. All must succeed, a few after they were made again, and all nodes must know the same again soon after.
    /// Returns after how many rounds they do.
    pub(super) fn check_liveness(&mut self) -> usize {
        let all = self.simulation.node_ids();
        let step = (self.schedule.node.nodes as usize).div_ceil(MAX_NODES);
        let nodes: Vec<NodeId> = all.step_by(step).collect();
        let keys = keys(self.schedule.node.nodes);
        for level in self.workload.levels() {
            for group in nodes.chunks(keys.len()) {
                let writes = |node: NodeId| Operation::Put(Bytes::from(format!("live{}", node.0)));
                self.try_all(group, &keys, *level, writes);
                self.try_all(group, &keys, *level, |_| Operation::Get);
            }
        }
        let limit_ms = MAX_ROUNDS * self.simulation.config().sync_interval_ms;
        let (rounds, converged) = self.simulation.run_rounds(limit_ms);
        if !converged {
            self.violation(&format!(
                "not live: nodes do not know the same {MAX_ROUNDS} rounds after new writes"
            ));
        }
        rounds.len()
    }

    /// Makes an operation through each of some nodes, each with a key of its own.
    fn try_all(
        &mut self,
        nodes: &[NodeId],
        keys: &[Bytes],
        level: Level,
        operation: impl Fn(NodeId) -> Operation,
    ) {
        let trials = nodes.iter().zip(keys).enumerate();
        let trials = trials.map(|(client, (node, key))| Trial {
            client,
            node: *node,
            key: key.clone(),
            operation: operation(*node),
            level,
        });
        let trials: Vec<Trial> = trials.collect();
        self.course.live_requests += trials.len() as u64;
        let mut failed = self.try_once(trials);
        for _ in 1..MAX_ATTEMPTS {
            if !self.may_succeed_now(&failed) {
                break;
            }
            self.course.live_retries += failed.len() as u64;
            failed = self.try_once(failed.into_iter().map(|(trial, _)| trial).collect());
        }
        for (trial, error) in failed {
            let kind = match trial.operation {
                Operation::Get => "read",
                _ => "write",
            };
            let why = error.map_or("it is not answered".into(), |error| error.to_string());
            let Trial { node, .. } = trial;
            self.violation(&format!(
                "not live: a {kind} through {node} at level {level:?}: {why}"
            ));
        }
    }

    /// Whether all that has failed is to be asked for once more, and waits until it can succeed. Physical clocks are
    /// right by now, but a key may have a time of when one was ahead. And a write that is forwarded to an owner
    /// that has started anew since it was last asked is not carried out: the former life of the owner might have
    /// done so. The answer says that its outcome is open.
    fn may_succeed_now(&mut self, failed: &[Failed]) -> bool {
        let mut ahead_ms = 0;
        for (_, error) in failed {
            match error {
                Some(RequestError::TimestampAhead { ahead_ms: by, .. }) => {
                    ahead_ms = ahead_ms.max(*by);
                }
                Some(RequestError::Unreachable {
                    may_take_effect: true,
                    ..
                }) => {}
                _ => return false,
            }
        }
        if ahead_ms > 0 {
            self.simulation.run_for(ahead_ms + 1);
        }
        !failed.is_empty()
    }

    /// Makes operations; returns those that have failed, with what was said of them.
    fn try_once(&mut self, trials: Vec<Trial>) -> Vec<Failed> {
        self.simulation.watch_answers();
        for trial in &trials {
            self.workload.try_at(&mut self.simulation, trial.clone());
        }
        self.wait_for_answers();
        let answers = self.simulation.take_watched();
        let mut failed = Vec::new();
        for trial in trials {
            let answer = answers.iter().find(|(node, _)| *node == trial.node);
            match answer.map(|(_, result)| result) {
                Some(Ok(())) => {}
                Some(Err(error)) => failed.push((trial, Some(error.clone()))),
                None => failed.push((trial, None)),
            }
        }
        failed
    }

    /// Runs until all requests are answered, or past every deadline.
    pub(super) fn wait_for_answers(&mut self) {
        let limit_ms = self.simulation.config().request_timeout_ms + 1;
        self.run_until(limit_ms, |player| player.simulation.is_idle());
        self.workload.poll(&mut self.simulation);
    }
}
