//! What one replica shows of its state, so that another can tell what it lacks.

use core::cmp::Ordering;
use core::fmt;

use crate::{CausalContext, Difference, Lattice};

/// The live dots and the context of a [`Causal`](crate::Causal) state, without its values.
///
/// The context alone is not enough: a removal mints no dot, so two replicas with the same context may
/// hold different live events.
///
/// **Order and join.** Those of the state: a dot that is live on one side stays if it is live on the other
/// too, or not seen there.
///
/// **Invariants.** Live dots are in the context.
///
/// **Cost.** One range for each run of consecutive live dots and each run of consecutive seen ones.
///
/// **Not for** telling what has the same dots and other values: correct replicas never make such states, and
/// [`join_checked`](crate::Causal::join_checked) finds them.
///
/// Source: Almeida, Shoker, Baquero, *Delta State Replicated Data Types*, 2018, section 7, for the order; to
/// answer a digest instead of a context is our own.
///
/// ```
/// use crdt::{AddWinsSet, CausalReplica, ObjectId, ReplicaId};
///
/// let mut a = CausalReplica::<AddWinsSet<&str>>::new(ObjectId(1), ReplicaId(1));
/// let mut b = CausalReplica::<AddWinsSet<&str>>::new(ObjectId(1), ReplicaId(2));
/// b.join(&a.change(|set| set.extend(["milk", "tea"])))?;
/// let _lost = a.change(|set| set.remove("milk"));
/// // A removal mints no dot: the contexts are equal, and the digests are not.
/// let (here, there) = (a.state().digest(), b.state().digest());
/// assert_eq!(here.context(), there.context());
/// assert!(here > there);
/// b.join(&a.state().delta_since(&there))?;
/// assert_eq!(a.state(), b.state());
/// # Ok::<(), crdt::IdentityReused>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Digest {
    live: CausalContext,
    context: CausalContext,
}

impl Digest {
    pub(crate) const fn new(live: CausalContext, context: CausalContext) -> Self {
        Self { live, context }
    }

    /// The dots that are live.
    pub const fn live(&self) -> &CausalContext {
        &self.live
    }

    /// The dots that have been seen.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }
}

impl Lattice for Digest {
    fn join(&mut self, other: &Self) -> bool {
        let mut live = self.live.intersection(&other.live);
        live.join(&self.live.difference(&other.context));
        live.join(&other.live.difference(&self.context));
        let changed = live != self.live;
        self.live = live;
        self.context.join(&other.context) | changed
    }
}

impl Difference for Digest {
    fn difference(&self, other: &Self) -> Self {
        let obsolete = self.context.difference(&self.live);
        let mut context = self.context.difference(&other.context);
        context.join(&obsolete.intersection(&other.live));
        let live = self.live.difference(&other.context);
        Self { live, context }
    }
}

impl PartialOrd for Digest {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        // Nothing that is obsolete below is live above.
        let below = |a: &Self, b: &Self| {
            b.context.includes(&a.context) && a.live.includes(&b.live.intersection(&a.context))
        };
        crate::laws::order_of_inclusion(below(self, other), below(other, self))
    }
}

impl fmt::Display for Digest {
    /// `<1:0+3> of <1:3>`: what is live of what has been seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.live, self.context)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Digest;
    use crate::{CausalContext, InvalidBytes};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer};

    impl<'de> Deserialize<'de> for Digest {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            #[derive(Deserialize)]
            struct Wire {
                live: CausalContext,
                context: CausalContext,
            }
            let Wire { live, context } = Wire::deserialize(deserializer)?;
            if !context.includes(&live) {
                return Err(D::Error::custom(InvalidBytes::LiveDotUnknown));
            }
            Ok(Self { live, context })
        }
    }
}
