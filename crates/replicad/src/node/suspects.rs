//! Peers that are connected and yet silent: stopped, or cut off without a word.
//!
//! The transport gives a connection up when nothing has been heard of it for long, and says so. Until then a failure
//! detector of `replica` judges from all that arrives, heartbeats included, how likely the silence is. Requests go
//! around a suspect; nothing else follows, so a suspicion that is wrong costs a detour. Peers that have nothing to say
//! to each other exchange heartbeats all the same, and are not suspected.

use replica::NodeId;
use replica::liveness::{FailureDetector, PhiAccrual};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often silences are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Most time that counts between two looks, in milliseconds. What is more this node itself was stopped, or had no
/// processor: nobody is suspected for that.
const MAX_STEP_MS: u64 = 200;

/// Who is connected, and who of these is silent for longer than is likely.
#[derive(Debug)]
pub(super) struct Suspects {
    /// Without one nobody is suspected.
    detector: Option<PhiAccrual>,
    connected: BTreeSet<NodeId>,
    suspected: BTreeSet<NodeId>,
    /// How long this node has run, in milliseconds.
    awake_ms: u64,
    /// When it last looked, on a clock that also counts while it is stopped.
    looked_ms: Option<u64>,
}

impl Suspects {
    pub(super) const fn new(detector: Option<PhiAccrual>) -> Self {
        Self {
            detector,
            connected: BTreeSet::new(),
            suspected: BTreeSet::new(),
            awake_ms: 0,
            looked_ms: None,
        }
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.suspected.contains(&node)
    }

    /// A peer is connected, or is not any more. True if it was suspected: a new connection is a new start, and of
    /// one that has none the transport has said all there is to say.
    pub(super) fn note_connected(&mut self, node: NodeId, is_connected: bool) -> bool {
        if let Some(detector) = &mut self.detector {
            detector.forget(node);
            if is_connected {
                detector.heard_from(node, self.awake_ms);
            }
        }
        match is_connected {
            true => self.connected.insert(node),
            false => self.connected.remove(&node),
        };
        self.suspected.remove(&node)
    }

    /// Something of a peer has arrived. True if it was suspected until now.
    pub(super) fn note_heard(&mut self, node: NodeId) -> bool {
        if let Some(detector) = &mut self.detector {
            detector.heard_from(node, self.awake_ms);
        }
        self.suspected.remove(&node)
    }

    /// Looks who is silent at `now_ms`; those that are suspected from now on.
    pub(super) fn look(&mut self, now_ms: u64) -> Vec<NodeId> {
        let looked_ms = self.looked_ms.replace(now_ms).unwrap_or(now_ms);
        self.awake_ms += now_ms.saturating_sub(looked_ms).min(MAX_STEP_MS);
        let Some(detector) = &self.detector else {
            return Vec::new();
        };
        let is_silent = |node: &&NodeId| !detector.is_available(**node, self.awake_ms);
        let silent = self.connected.iter().filter(is_silent);
        let new: Vec<NodeId> = silent
            .filter(|node| !self.suspected.contains(*node))
            .copied()
            .collect();
        self.suspected.extend(&new);
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replica::liveness::PhiConfig;

    const PEER: NodeId = NodeId(2);

    fn suspects() -> Suspects {
        let detector = PhiAccrual::new(PhiConfig::default()).expect("the defaults work");
        Suspects::new(Some(detector))
    }

    /// Looks in each interval until `until_ms`, hearing of the peer each time or not; who came under suspicion.
    fn pass(suspects: &mut Suspects, from_ms: u64, until_ms: u64, is_heard: bool) -> Vec<NodeId> {
        let mut new = Vec::new();
        for now_ms in (from_ms..until_ms).step_by(100) {
            new.extend(suspects.look(now_ms));
            if is_heard {
                assert!(!suspects.note_heard(PEER));
            }
        }
        new
    }

    #[test]
    fn who_is_connected_and_silent_is_suspected_until_it_is_heard_from() {
        let mut suspects = suspects();
        assert!(!suspects.note_connected(PEER, true));
        assert_eq!(pass(&mut suspects, 0, 5_000, true), []);
        assert_eq!(
            pass(&mut suspects, 5_000, 10_000, false),
            [PEER],
            "and said once"
        );
        assert!(suspects.contains(PEER));
        assert!(suspects.note_heard(PEER), "at the first sign of life");
        assert!(!suspects.contains(PEER) && !suspects.note_heard(PEER));
    }

    #[test]
    fn who_has_never_been_heard_after_it_was_connected_is_suspected_too() {
        let mut suspects = suspects();
        suspects.note_connected(PEER, true);
        assert_eq!(pass(&mut suspects, 0, 10_000, false), [PEER]);
    }

    #[test]
    fn of_who_is_not_connected_nothing_is_said() {
        let mut suspects = suspects();
        assert_eq!(pass(&mut suspects, 0, 1_000, true), []);
        assert_eq!(pass(&mut suspects, 1_000, 10_000, false), []);
        suspects.note_connected(PEER, true);
        assert_eq!(pass(&mut suspects, 10_000, 20_000, false), [PEER]);
        assert!(
            suspects.note_connected(PEER, false),
            "the transport knows better"
        );
        assert_eq!(pass(&mut suspects, 20_000, 30_000, false), []);
    }

    #[test]
    fn the_time_in_which_this_node_was_stopped_is_nobodys_silence() {
        let mut suspects = suspects();
        suspects.note_connected(PEER, true);
        pass(&mut suspects, 0, 5_000, true);
        assert_eq!(suspects.look(600_000), [], "ten minutes later");
        assert_eq!(suspects.look(600_100), []);
        // A clock that steps back says nothing either.
        assert_eq!(suspects.look(0), []);
        assert_eq!(pass(&mut suspects, 100, 10_000, false), [PEER]);
    }

    #[test]
    fn without_a_detector_nobody_is_suspected() {
        let mut suspects = Suspects::new(None);
        suspects.note_connected(PEER, true);
        assert_eq!(pass(&mut suspects, 0, 60_000, false), []);
    }
}
