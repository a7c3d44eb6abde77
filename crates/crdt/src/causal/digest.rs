//! What one replica shows of its state, so that another can tell what it lacks.

use crate::CausalContext;

/// The live dots and the context of a [`Causal`](crate::Causal) state, without its values.
///
/// The context alone is not enough: a removal mints no dot, so two replicas with the same context may
/// hold different live events.
///
/// **Cost.** One range for each run of consecutive live dots and each run of consecutive seen ones.
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
