//! The end of a run: the cluster settles, goes on, and all that it has promised is judged.

use super::{Player, keys};
use crate::sim::network::Network;
use crate::sim::oracle::Simulated;
use crate::sim::report::{NamedWrites, Report};
use crate::sim::schedule::Schedule;
use crate::sim::simulation::Round;
use crate::sim::workload::Workload;
use crate::{Counters, NodeId, RequestError};

impl<P: Simulated, W: Workload<P>> Player<P, W> {
    /// Asks once more for all writes with a name that were not answered well, each through another node.
    fn ask_for_what_is_open(&mut self) {
        let nodes = self.schedule.node.nodes;
        for name in self.open_names() {
            let node = NodeId(1 + name % nodes);
            if let Some(names) = self.workload.names() {
                names.retry(&mut self.simulation, node, name);
            }
        }
        self.wait_for_answers();
    }

    /// What is wrong with the writes that have a name. Each of them is known to have happened or not by now,
    /// unless a node has lost its data, or is too far behind another's clock to write.
    fn judge_names(&mut self, tally: &mut NamedWrites) -> Vec<String> {
        let counters = self.simulation.counters().into_iter();
        let has_lost_data = counters.map(|c| c.incarnations).any(|count| count > 0);
        let Some(names) = self.workload.names() else {
            return Vec::new();
        };
        let mut found = names.check(&self.simulation);
        *tally = names.tally();
        let failures = names.failures();
        self.workload.close(&mut self.simulation);
        for (name, error) in failures {
            tally.undecided += 1;
            let is_behind = matches!(
                error,
                RequestError::TimestampAhead { .. } | RequestError::ClockExhausted { .. }
            );
            if !has_lost_data && !is_behind {
                found.push(format!(
                    "write {name} fails although all nodes are up with their data: {error}"
                ));
            }
        }
        found
    }

    /// Ends all faults.
    fn end_faults(&mut self) {
        self.simulation.network = Network::default();
        self.simulation.heal_disks();
        self.simulation.heal_clocks();
        while let Some(down) = self.down.first() {
            self.bring_back(down.node, true);
        }
        for (node, other) in std::mem::take(&mut self.misled) {
            self.simulation.hint(node, other, true);
        }
    }

    /// What is to be known of a cluster that has not converged.
    fn not_converged(&self) -> Vec<String> {
        let limit_s = self.schedule.settle_ms / 1000;
        let mut found = vec![format!(
            "the healed cluster has not converged within {limit_s} s"
        )];
        let nodes = self.simulation.node_ids().take(7);
        for node in nodes.filter_map(|node| self.simulation.node(node)) {
            found.extend(node.partitions().map(|(_, p)| format!("{:?}", p.status())));
        }
        found
    }

    /// Ends all faults, lets the cluster settle and go on, and judges the run.
    pub(in crate::sim) fn finish(mut self, setting: String) -> (Report, Schedule) {
        self.end_faults();
        let settle_ms = self.schedule.settle_ms;
        let (rounds, mut converged) = self.simulation.run_rounds(settle_ms);
        self.check_rolled_back();
        self.workload.poll(&mut self.simulation);
        let mut found = Vec::new();
        if converged {
            self.ask_for_what_is_open();
            converged = self.simulation.run_rounds(settle_ms).1;
        }
        let (mut named, mut live_rounds) = (NamedWrites::default(), 0);
        if converged {
            live_rounds = self.check_liveness();
            found.extend(self.judge_names(&mut named));
            self.simulation.check_all();
            self.simulation.check_final();
            let keys = keys(self.schedule.node.nodes);
            found.extend(self.workload.check(&mut self.simulation, &keys));
        } else {
            found.extend(self.not_converged());
        }
        let converged = converged.then_some(live_rounds);
        let report = self.report(setting, found, named, (rounds, converged));
        (report, self.schedule)
    }

    fn report(
        &self,
        setting: String,
        mut found: Vec<String>,
        named: NamedWrites,
        (rounds, live_rounds): (Vec<Round>, Option<usize>),
    ) -> Report {
        let simulation = &self.simulation;
        let counters = simulation.counters().into_iter();
        let counters = counters.fold(Counters::default(), Counters::plus);
        if counters.audits_failed > 0 {
            // No disk changes an entry here.
            let failed = counters.audits_failed;
            found.push(format!("I3: {failed} audits have failed"));
        }
        let violations = [simulation.violations(), &self.violations, &found].concat();
        let (succeeded, asked) = self.workload.tally(simulation);
        let mut course = self.course;
        course.held = simulation.held_inputs();
        Report {
            seed: self.schedule.seed,
            setting,
            violations,
            counters,
            disk_faults: self.disk_faults,
            named,
            course,
            lags: simulation.lags().to_vec(),
            succeeded: (succeeded, asked),
            refused: asked - succeeded,
            unjudged: self.workload.unjudged(),
            nodes: simulation.config().nodes,
            converged: live_rounds.is_some(),
            converge_ms: rounds.len() as u64 * simulation.config().sync_interval_ms,
            live_rounds: live_rounds.unwrap_or(0),
            rounds,
            messages: simulation.messages(),
            bytes: simulation.bytes(),
            trace_hash: simulation.trace_hash(),
            system: self.schedule.system,
        }
    }
}
