//! A flag in which a concurrent disable wins over an enable.

use core::fmt;

use crate::causal::RemoveWins;
use crate::{CausalContext, Cell, Dot, DotStore, Edit, InvalidBytes, Knows, Stable, Timestamp};

/// A flag in which a concurrent disable wins over an enable. Disabled at first.
///
/// Enables and disables are kept until a later operation has seen them. The flag is enabled while an
/// enable is live and no disable is.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | enable and enable | enabled |
/// | enable and disable | disabled: the enable had not seen the disable |
/// | disable and disable | disabled |
///
/// **Order and join.** That of the [`DotStore`].
///
/// **Invariants.** No dot is both an enable and a disable.
///
/// **Cost.** A join is linear in the live events: at most one for each replica that changed the flag
/// concurrently. A disabled flag keeps its last disable as a tombstone, one dot; it may go once it is
/// stable ([`CausalReplica::purge`](crate::CausalReplica::purge)).
///
/// **Not for** flags of which very many are disabled and none is ever purged: use
/// [`EnableWinsFlag`](crate::EnableWinsFlag), which leaves nothing behind.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.3.
///
/// ```
/// use crdt::{CausalReplica, DisableWinsFlag, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<DisableWinsFlag>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<DisableWinsFlag>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|flag| flag.enable()))?;
/// let (off, on) = (a.change(|flag| flag.disable()), b.change(|flag| flag.enable()));
/// a.join(&on)?;
/// b.join(&off)?;
/// assert_eq!(a.state(), b.state());
/// assert!(!a.is_enabled(), "the enable had not seen the disable");
/// b.join(&a.change(|flag| flag.enable()))?;
/// assert!(b.is_enabled(), "this one had");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct DisableWinsFlag {
    marks: RemoveWins,
}

impl DisableWinsFlag {
    /// Whether an enable is live and no disable is.
    pub fn is_enabled(&self) -> bool {
        self.marks.is_present()
    }
}

impl Edit<'_, DisableWinsFlag> {
    /// Enables the flag, unless a disable that the author has not seen is live.
    pub fn enable(&mut self) {
        self.inner().add();
    }

    /// Disables the flag.
    pub fn disable(&mut self) {
        self.inner().remove();
    }

    const fn inner(&mut self) -> Edit<'_, RemoveWins> {
        let (flag, delta, events) = self.parts();
        Edit::new(&mut flag.marks, &mut delta.marks, events)
    }
}

impl DotStore for DisableWinsFlag {
    fn is_bottom(&self) -> bool {
        self.marks.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.marks.dots()
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.marks.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.marks.join(mine, &other.marks, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            marks: self.marks.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        self.marks.conflict(&other.marks)
    }

    fn purge(&mut self, stable: &Stable) -> CausalContext {
        self.marks.purge(stable)
    }

    fn mark_count(&self) -> usize {
        self.marks.mark_count()
    }

    fn heap_bytes(&self) -> usize {
        self.marks.heap_bytes()
    }
}

impl Cell for DisableWinsFlag {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        self.is_enabled()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.marks.validate()
    }
}

impl fmt::Display for DisableWinsFlag {
    /// `enabled` or `disabled`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_enabled() {
            "enabled"
        } else {
            "disabled"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Causal, CausalReplica, IdentityReused, ObjectId, ReplicaId};

    type Op = fn(&mut Edit<'_, DisableWinsFlag>);
    const ENABLE: Op = |flag| flag.enable();
    const DISABLE: Op = |flag| flag.disable();

    /// Two operations that have not seen each other, on a flag that both have seen after `start`.
    fn concurrently(start: Op, ops: [Op; 2]) -> Result<Causal<DisableWinsFlag>, IdentityReused> {
        let [mut a, mut b] =
            [1, 2].map(|id| CausalReplica::<DisableWinsFlag>::new(ObjectId(1), ReplicaId(id)));
        b.join(&a.change(start))?;
        let (by_a, by_b) = (a.change(ops[0]), b.change(ops[1]));
        a.join(&by_b)?;
        b.join(&by_a)?;
        assert_eq!(a.state(), b.state());
        Ok(a.state().clone())
    }

    #[test]
    fn every_row_of_the_outcome_table_holds() -> Result<(), IdentityReused> {
        for start in [ENABLE, DISABLE] {
            for (ops, enabled) in [
                ([ENABLE, ENABLE], true),
                ([ENABLE, DISABLE], false),
                ([DISABLE, ENABLE], false),
                ([DISABLE, DISABLE], false),
            ] {
                let flag = concurrently(start, ops)?;
                assert_eq!(flag.is_enabled(), enabled, "{flag}");
            }
        }
        Ok(())
    }

    #[test]
    fn an_operation_leaves_one_event_and_only_what_its_author_has_not_seen() {
        let mut flag = CausalReplica::<DisableWinsFlag>::new(ObjectId(1), ReplicaId(1));
        assert!(!flag.is_enabled(), "disabled at first");
        let read = flag.read_context();
        let _ = flag.change(DISABLE);
        let late = flag
            .change_seen(&read, ENABLE)
            .expect("this object's context");
        assert!(!flag.is_enabled(), "this enable had not seen the disable");
        assert_eq!((flag.dots().count(), late.context().event_count()), (2, 1));
        let _ = flag.change(ENABLE);
        assert!(flag.is_enabled());
        assert_eq!(flag.dots().count(), 1);
    }

    #[test]
    fn an_enable_and_a_disable_under_one_dot_are_a_conflict() {
        let [on, off] = [ENABLE, DISABLE].map(|op| {
            let mut flag = CausalReplica::<DisableWinsFlag>::new(ObjectId(1), ReplicaId(1));
            let _ = flag.change(op);
            flag
        });
        let dot = Some(Dot::new(ReplicaId(1), 1));
        assert_eq!((on.conflict(&off), off.conflict(&on)), (dot, dot));
        assert_eq!(on.conflict(&on), None);
        let shown = (on.to_string(), off.to_string());
        assert_eq!(
            shown,
            ("1@1 enabled <1:1>".into(), "1@1 disabled <1:1>".into())
        );
    }
}
