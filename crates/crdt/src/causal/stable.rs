//! Causal stability: when a mark may go because nobody can act without having seen it any more.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use core::cmp::Ordering;
use core::fmt;

use crate::text::list;
use crate::{CausalContext, Difference, Digest, Lattice, ReplicaId};

/// What a replica had when it said so, and its word that every later change has seen at least that.
///
/// Made by [`CausalReplica::report`](crate::CausalReplica::report) alone, which makes the handle keep the
/// word. Store the handle's [`Frontier`] before the report leaves the machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[must_use = "a report must reach those who purge"]
pub struct Report {
    member: ReplicaId,
    digest: Digest,
}

impl Report {
    pub(crate) const fn new(member: ReplicaId, digest: Digest) -> Self {
        Self { member, digest }
    }

    /// Who reports.
    pub const fn member(&self) -> ReplicaId {
        self.member
    }

    /// What it had.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// What every writer of one object has reported: from it follows what is stable.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | two reports of one member | what the member had after both |
/// | reports of two members | both |
/// | a report of one who is no member | it becomes one |
///
/// **What a certificate proves.** Let every writer of the object be a member, and let replica p get a
/// certificate: p holds all that the reports hold, their removals included. Take any part of the store,
/// such as one element of a set, whose events that are live at p (call them L) all lie in every report.
///
/// 1. A change made before its author's report is in that report, hence at p. As L is live at p, it has
///    made nothing of L obsolete; and what else it minted in this part is obsolete at p, or it would be
///    in L.
/// 2. A change made after its author's report has seen all of L: the author had L when it reported, and
///    has given its word. It makes all of L obsolete if it touches this part at all.
///
/// So at every replica, now and later, either no event of L is obsolete, or all are. If L shows a reader the
/// same as nothing does, as a live remove and the adds it beats do, then p may drop all of L (known,
/// not live): nobody's visible value changes, and every join of purged and unpurged states converges. The
/// remove alone must not go, the adds would come back; nor may adds that some member has not seen, or whose
/// removal has not arrived here: one may still come to light without the remove that beats it.
///
/// **Order and join.** Member by member, that of the [`Digest`]; the members are united, which can
/// only delay a purge. To take a member out, when it will never write again, make a new value.
///
/// **Invariants.** None.
///
/// **Cost.** One digest for each member. A certificate is linear in the ranges of all of them.
///
/// **Not for** objects that read-modify-write over long-lived read contexts: after a report a context
/// that was read before is refused. Nor for groups whose writers are not known. One value serves one
/// object.
///
/// Source: Baquero, Almeida, Shoker, *Making Operation-based CRDTs Operation-based*, 2014, section 5 (causal
/// stability), for states and with removals that mint no event.
///
/// ```
/// use crdt::{CausalReplica, NotStable, ObjectId, RemoveWinsSet, ReplicaId, Stability};
///
/// let mut a = CausalReplica::<RemoveWinsSet<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<RemoveWinsSet<&str>>::new(ObjectId(1), ReplicaId(2));
/// // B adds what a removes at the same time.
/// let (removed, added) = (a.change(|set| set.remove("eve")), b.change(|set| set.add("eve")));
/// let mut stability = Stability::new([ReplicaId(1), ReplicaId(2)]);
/// stability.report(&a.report());
/// assert_eq!(a.purge(&stability).unwrap_err(), NotStable::NotReported { member: ReplicaId(2) });
/// a.join(&added)?;
/// b.join(&removed)?;
/// for replica in [&mut a, &mut b] {
///     stability.report(&replica.report());
/// }
/// let purged = a.purge(&stability).expect("all have reported, and all of it is here");
/// assert_eq!((a.contains("eve"), a.tombstone_count()), (false, 0));
/// b.join(&purged)?;
/// assert_eq!(a.state(), b.state());
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Stability {
    reports: BTreeMap<ReplicaId, Digest>,
}

/// Proof that everyone has seen certain events and acts on it: see [`Stability`].
///
/// It holds for the replica whose digest it was made from, and for nobody else, so it can be neither
/// stored nor sent.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what is stable may be purged"]
pub struct Stable {
    context: CausalContext,
}

/// Why nothing is certified yet. Nobody's fault; nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotStable {
    /// There is no member, so nobody's reports would count.
    #[error("no members are named")]
    NoMembers,
    /// A member has not reported any event yet.
    #[error("member {member} has not reported any event")]
    NotReported {
        /// The member.
        member: ReplicaId,
    },
    /// A member had events, or had made events obsolete, of which this replica has not heard; join its
    /// state first.
    #[error("what member {member} reported has not arrived here")]
    NotHere {
        /// The member.
        member: ReplicaId,
    },
}

/// What a handle must not forget: what it has promised, and what it has purged.
///
/// Small; store it with the state, and give it to
/// [`CausalReplica::restore_with_frontier`](crate::CausalReplica::restore_with_frontier).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Frontier {
    pub(crate) reported: CausalContext,
    pub(crate) purged: CausalContext,
}

/// A peer lacks events that were stable when this replica purged, so it is no member that kept its data:
/// its changes may have been made without having seen what was purged. Nothing was changed.
///
/// Throw its state away, start again from the state of a member, and write under a new identity that
/// is a member.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer lacks {missing}, which every member had: start again from a member's state")]
pub struct BehindFrontier {
    /// The events.
    pub missing: Box<CausalContext>,
}

impl Stability {
    /// Nothing reported yet, by these writers: all that can ever write the object.
    pub fn new(members: impl IntoIterator<Item = ReplicaId>) -> Self {
        let members = members.into_iter().map(|id| (id, Digest::default()));
        Self {
            reports: members.collect(),
        }
    }

    /// Notes what a member reported; true if that is news. Reports may arrive late, twice and in any
    /// order. The delta is the report: who gets it notes it likewise.
    pub fn report(&mut self, report: &Report) -> bool {
        let is_new = !self.reports.contains_key(&report.member);
        let noted = self.reports.entry(report.member).or_default();
        noted.join(&report.digest) | is_new
    }

    /// Whose reports count, ascending.
    pub fn members(&self) -> impl ExactSizeIterator<Item = ReplicaId> + '_ {
        self.reports.keys().copied()
    }

    /// What is stable, for the replica that shows `own`.
    /// [`CausalReplica::purge`](crate::CausalReplica::purge) asks this for itself.
    ///
    /// # Errors
    /// [`NotStable`], if a member has not reported, or its report has not arrived here.
    pub fn certificate(&self, own: &Digest) -> Result<Stable, NotStable> {
        let mut stable: Option<CausalContext> = None;
        for (&member, report) in &self.reports {
            if report.context().is_empty() {
                return Err(NotStable::NotReported { member });
            }
            if !matches!(
                report.partial_cmp(own),
                Some(Ordering::Less | Ordering::Equal)
            ) {
                return Err(NotStable::NotHere { member });
            }
            stable = Some(match stable {
                Some(stable) => stable.intersection(report.context()),
                None => report.context().clone(),
            });
        }
        let context = stable.ok_or(NotStable::NoMembers)?;
        Ok(Stable { context })
    }
}

impl Stable {
    /// The events that all members have seen.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }
}

impl Frontier {
    /// What later changes of this handle have seen at least.
    pub const fn reported(&self) -> &CausalContext {
        &self.reported
    }

    /// What was stable when this handle purged: a peer must have seen it.
    pub const fn purged(&self) -> &CausalContext {
        &self.purged
    }
}

impl Lattice for Stability {
    fn join(&mut self, other: &Self) -> bool {
        let mut grew = false;
        for (member, theirs) in &other.reports {
            grew |= !self.reports.contains_key(member);
            grew |= self.reports.entry(*member).or_default().join(theirs);
        }
        grew
    }
}

impl Difference for Stability {
    fn difference(&self, other: &Self) -> Self {
        let news = self.reports.iter().filter_map(|(member, mine)| {
            let news = match other.reports.get(member) {
                Some(theirs) if mine <= theirs => return None,
                Some(theirs) => mine.difference(theirs),
                None => mine.clone(),
            };
            Some((*member, news))
        });
        Self {
            reports: news.collect(),
        }
    }
}

impl PartialOrd for Stability {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let below = |a: &Self, b: &Self| {
            let mut reports = a.reports.iter();
            reports.all(|(member, mine)| b.reports.get(member).is_some_and(|theirs| mine <= theirs))
        };
        crate::laws::order_of_inclusion(below(self, other), below(other, self))
    }
}

impl fmt::Display for Report {
    /// `1: <1:0+3> of <1:3>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.member, self.digest)
    }
}

impl fmt::Display for Stability {
    /// `{1: <1:0+3> of <1:3>, 2: <> of <>}`: nothing reported by member 2 yet.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reports = self.reports.iter();
        let shown = reports.map(|(member, digest)| format!("{member}: {digest}"));
        list(f, "{", shown, "}")
    }
}

impl fmt::Display for Frontier {
    /// `reported <1:3>, purged <1:2>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reported {}, purged {}", self.reported, self.purged)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Stability;
    use crate::{Digest, InvalidBytes, ReplicaId};
    use alloc::vec::Vec;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for Stability {
        /// A list of (member, digest), by member.
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_seq(&self.reports)
        }
    }

    impl<'de> Deserialize<'de> for Stability {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let reports: Vec<(ReplicaId, Digest)> = Deserialize::deserialize(deserializer)?;
            if reports.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
                return Err(D::Error::custom(InvalidBytes::Unsorted("members")));
            }
            let reports = reports.into_iter().collect();
            Ok(Self { reports })
        }
    }
}
