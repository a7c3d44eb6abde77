//! A flag in which a concurrent enable wins over a disable.

use core::fmt;

use crate::{Cell, Dot, DotSet, DotStore, Edit, InvalidBytes, Knows, Timestamp};

/// A flag in which a concurrent enable wins over a disable. Disabled at first; no tombstones.
///
/// | concurrent operations | outcome |
/// |---|---|
/// | enable and enable | enabled |
/// | enable and disable | enabled: the disable had not seen the enable |
/// | disable and disable | disabled |
///
/// **Order and join.** That of the [`DotStore`]: the flag stays enabled while any enable is live.
///
/// **Invariants.** Those of [`DotSet`].
///
/// **Cost.** A join is linear in the live enables, of which there is one for each replica that enabled
/// concurrently; a disabled flag holds nothing.
///
/// **Not for** switches that must be off once anyone has switched them off: use
/// [`DisableWinsFlag`](crate::DisableWinsFlag).
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7.3.
///
/// ```
/// use crdt::{CausalReplica, EnableWinsFlag, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<EnableWinsFlag>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<EnableWinsFlag>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|flag| flag.enable()))?;
/// let (off, on) = (a.change(|flag| flag.disable()), b.change(|flag| flag.enable()));
/// a.join(&on)?;
/// b.join(&off)?;
/// assert_eq!(a.state(), b.state());
/// assert!(a.is_enabled(), "the disable had not seen the second enable");
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct EnableWinsFlag {
    enables: DotSet,
}

impl EnableWinsFlag {
    /// Whether an enable is live.
    pub fn is_enabled(&self) -> bool {
        !self.enables.is_empty()
    }
}

impl Edit<'_, EnableWinsFlag> {
    /// Enables the flag. One that is enabled gets a new enable, which a concurrent disable does not
    /// take away.
    pub fn enable(&mut self) {
        self.inner().replace();
    }

    /// Makes obsolete the enables that the author has seen.
    pub fn disable(&mut self) {
        self.inner().clear();
    }

    const fn inner(&mut self) -> Edit<'_, DotSet> {
        let (flag, delta, events) = self.parts();
        Edit::new(&mut flag.enables, &mut delta.enables, events)
    }
}

impl DotStore for EnableWinsFlag {
    fn is_bottom(&self) -> bool {
        self.enables.is_bottom()
    }

    fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.enables.dots()
    }

    fn is_live(&self, dot: Dot) -> bool {
        self.enables.is_live(dot)
    }

    fn join(&mut self, mine: &impl Knows, other: &Self, theirs: &impl Knows) -> bool {
        self.enables.join(mine, &other.enables, theirs)
    }

    fn unknown_to(&self, known: &impl Knows) -> Self {
        Self {
            enables: self.enables.unknown_to(known),
        }
    }

    fn conflict(&self, other: &Self) -> Option<Dot> {
        self.enables.conflict(&other.enables)
    }

    fn heap_bytes(&self) -> usize {
        self.enables.heap_bytes()
    }
}

impl Cell for EnableWinsFlag {
    const PROVES_ITSELF: bool = false;

    fn is_visible(&self) -> bool {
        self.is_enabled()
    }

    fn tombstone(&self) -> Option<Timestamp> {
        None
    }

    fn validate(&self) -> Result<(), InvalidBytes> {
        self.enables.validate()
    }
}

impl fmt::Display for EnableWinsFlag {
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

    type Op = fn(&mut Edit<'_, EnableWinsFlag>);

    /// Two operations that have not seen each other, on a flag that is enabled.
    fn concurrently(ops: [Op; 2]) -> Result<[Causal<EnableWinsFlag>; 2], IdentityReused> {
        let [mut a, mut b] =
            [1, 2].map(|id| CausalReplica::<EnableWinsFlag>::new(ObjectId(1), ReplicaId(id)));
        b.join(&a.change(|flag| flag.enable()))?;
        let (by_a, by_b) = (a.change(ops[0]), b.change(ops[1]));
        a.join(&by_b)?;
        b.join(&by_a)?;
        Ok([a.state().clone(), b.state().clone()])
    }

    #[test]
    fn every_row_of_the_outcome_table_holds() -> Result<(), IdentityReused> {
        let (enable, disable): (Op, Op) = (|flag| flag.enable(), |flag| flag.disable());
        for (ops, enabled) in [
            ([enable, enable], true),
            ([enable, disable], true),
            ([disable, enable], true),
            ([disable, disable], false),
        ] {
            let [a, b] = concurrently(ops)?;
            assert_eq!(a, b);
            assert_eq!(a.is_enabled(), enabled, "{a}");
        }
        Ok(())
    }

    #[test]
    fn a_disabled_flag_holds_nothing() {
        let mut flag = CausalReplica::<EnableWinsFlag>::new(ObjectId(1), ReplicaId(1));
        assert_eq!(flag.to_string(), "1@1 disabled <>");
        let _ = flag.change(|flag| flag.enable());
        assert_eq!(flag.to_string(), "1@1 enabled <1:1>");
        let _ = flag.change(|flag| flag.disable());
        assert!(flag.is_bottom());
    }

    #[test]
    fn a_flag_with_a_counter_zero_is_not_valid() {
        let enables = DotSet::from_iter([Dot::new(ReplicaId(1), 0)]);
        let flag = EnableWinsFlag { enables };
        assert_eq!(flag.validate(), Err(InvalidBytes::ZeroCounter));
    }
}
