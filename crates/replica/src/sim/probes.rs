//! The rare paths of runs: which there are, and which a system can take.

use super::report::{Course, DiskFaults, NamedWrites, Report};
use super::system::System;
use crate::Counters;

/// How often the rare paths of some runs were taken. A campaign that has not taken one of them has not
/// shown anything of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probes {
    counters: Counters,
    disks: DiskFaults,
    named: NamedWrites,
    course: Course,
}

impl Probes {
    /// Adds those of one more run.
    pub fn note(&mut self, report: &Report) {
        self.counters = self.counters.plus(report.counters);
        self.disks = self.disks.plus(report.disk_faults);
        self.named = self.named.plus(report.named);
        self.course = self.course.plus(report.course);
    }

    /// Each path, in words, with how often it was taken.
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let mut all = of_nodes(self.counters);
        all.extend(of_disks(self.disks));
        all.extend(of_names(self.named));
        all.extend(of_course(self.course));
        all
    }

    /// Those that a system can take and that were not taken, but for what is damage, which must never be.
    pub fn missing(&self, system: System) -> Vec<&'static str> {
        let missing = self.all().into_iter();
        let missing = missing.filter(|(path, times)| *times == 0 && applies(system, path));
        missing.map(|(path, _)| path).collect()
    }
}

fn of_nodes(counters: Counters) -> Vec<(&'static str, u64)> {
    let Counters {
        writes_minted_again,
        superseded_answers,
        read_repairs,
        fenced_messages,
        truncated_answers,
        cut_answers,
        transfer_chunks,
        tombstones_purged,
        incarnations,
        exceptions_left,
        write_backs,
        probes_differed,
        incarnations_retired,
        incarnations_closed,
        audits_passed,
        audits_failed,
        damages_given_up,
        acknowledgements_dropped,
        operations_found,
        operations_asked_about,
        operations_begun,
        returns_confirmed,
        returns_unconfirmed,
        session_waits,
        messages_sent_again,
    } = counters;
    vec![
        ("writes minted again", writes_minted_again),
        ("superseded answers", superseded_answers),
        ("read repairs", read_repairs),
        ("fenced messages", fenced_messages),
        ("truncated answers", truncated_answers),
        ("cut answers", cut_answers),
        ("transfer chunks", transfer_chunks),
        ("tombstones purged", tombstones_purged),
        ("incarnations", incarnations),
        ("exceptions left", exceptions_left),
        ("write backs", write_backs),
        ("gossip that differed", probes_differed),
        ("incarnations retired", incarnations_retired),
        ("incarnations closed", incarnations_closed),
        ("audits passed", audits_passed),
        ("audits failed", audits_failed),
        ("damages given up", damages_given_up),
        ("acknowledgements dropped", acknowledgements_dropped),
        ("retries that find the write", operations_found),
        ("retries that ask for the write", operations_asked_about),
        ("retries that begin the write", operations_begun),
        ("returns confirmed", returns_confirmed),
        ("returns unconfirmed", returns_unconfirmed),
        ("session waits", session_waits),
        ("messages sent again", messages_sent_again),
    ]
}

fn of_disks(disks: DiskFaults) -> Vec<(&'static str, u64)> {
    let DiskFaults {
        failed_commits,
        torn_stores_refused,
        lost_tails,
        rollbacks,
        rollbacks_under_way,
        rollbacks_noticed,
    } = disks;
    vec![
        ("failed commits", failed_commits),
        ("torn stores refused", torn_stores_refused),
        ("lost tails", lost_tails),
        ("disks rolled back", rollbacks),
        ("disks rolled back under way", rollbacks_under_way),
        ("disks rolled back and noticed", rollbacks_noticed),
    ]
}

fn of_names(named: NamedWrites) -> Vec<(&'static str, u64)> {
    let NamedWrites {
        begun,
        retries,
        answered_elsewhere,
        unknown,
        forgotten,
        undecided,
    } = named;
    vec![
        ("named writes", begun),
        ("named writes asked for again", retries),
        ("retries answered elsewhere", answered_elsewhere),
        ("retries of unknown outcome", unknown),
        ("names forgotten", forgotten),
        ("named writes undecided", undecided),
    ]
}

fn of_course(course: Course) -> Vec<(&'static str, u64)> {
    let Course {
        pauses,
        held,
        frozen_clocks,
        recoveries_while_cut,
        horizons_raised,
        live_requests,
        live_retries,
    } = course;
    vec![
        ("pauses", pauses),
        ("inputs held by a pause", held),
        ("frozen clocks", frozen_clocks),
        ("recoveries while cut", recoveries_while_cut),
        ("horizons raised", horizons_raised),
        ("requests that had to succeed", live_requests),
        ("the same, made again", live_retries),
    ]
}

/// Whether runs of a system can take a path.
fn applies(system: System, path: &str) -> bool {
    match path {
        // No disk of the simulator changes an entry, and nobody stops waiting for what a return needs.
        "audits failed" | "damages given up" | "returns unconfirmed" => false,
        // Only clients of C have sessions; those of D write above what they have read.
        "session waits" => matches!(system, System::Causal | System::Siblings),
        // Only level `Linearizable` writes back, which the callers' timestamps, sessions, siblings and gossip
        // do not use; system A uses it at the end of each run.
        "write backs" => matches!(system, System::Majority | System::Linearizable),
        // Only the callers' timestamps need one.
        "horizons raised" => system == System::Timestamped,
        // A write is minted again only where nodes give it a time and it may be repeated; siblings never lose to
        // each other, and a linearizable write happens once.
        "writes minted again" => matches!(system, System::Majority | System::Causal),
        "superseded answers" => !matches!(system, System::Siblings | System::Gossip),
        // Whoever gossips does without all that needs to know the owners.
        "gossip that differed" => system == System::Gossip,
        // Nodes that gossip serve as soon as they come back.
        "recoveries while cut" => system != System::Gossip,
        "fenced messages"
        | "incarnations retired"
        | "incarnations closed"
        | "audits passed"
        | "acknowledgements dropped"
        | "read repairs"
        | "returns confirmed"
        | "disks rolled back"
        | "disks rolled back under way"
        | "disks rolled back and noticed"
        | "messages sent again"
        | "named writes"
        | "named writes asked for again"
        | "retries answered elsewhere"
        | "retries of unknown outcome"
        | "names forgotten"
        | "named writes undecided"
        | "retries that find the write"
        | "retries that ask for the write"
        | "retries that begin the write" => match system {
            System::Gossip => false,
            // A write whose name was forgotten is two writes of one value, which are hard to put in order.
            System::Linearizable => path != "names forgotten",
            _ => true,
        },
        // A torn commit of siblings might show less than its node knows; and what deletes them leaves no tombstone.
        "torn stores refused" | "tombstones purged" => {
            !matches!(system, System::Siblings | System::Gossip)
        }
        // All nodes of D own all keys, and no clock has a part in it.
        "the same, made again" => system != System::Siblings,
        _ => true,
    }
}
