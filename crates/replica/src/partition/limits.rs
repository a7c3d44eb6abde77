//! What is refused before anything is done about it.

use super::{Partition, Phase};
use crate::{ClockKind, Command, Level, Policy, Request, RequestError};

impl<P: Policy> Partition<P> {
    pub(super) fn check_serves(&self) -> Result<(), RequestError> {
        match &self.phase {
            Phase::Ready => Ok(()),
            Phase::Recovering(recovery) => Err(RequestError::Recovering {
                node: self.config.node,
                reconciled: recovery.covered(self.replica.knowledge()),
                needed: self.sources_needed(),
            }),
            Phase::StorageFailed(error) => Err(RequestError::StorageFailed {
                node: self.config.node,
                cause: error.to_string(),
            }),
        }
    }

    pub(super) fn check_limits(&self, request: &Request<P::Write>) -> Result<(), RequestError> {
        let (size, limit) = (request.command.key().len(), self.config.max_key_bytes);
        if size > limit {
            return Err(RequestError::KeyTooLarge { size, limit });
        }
        if let Command::Write { write, .. } = &request.command {
            let (size, limit) = (P::size(write), self.config.max_value_bytes);
            if size > limit {
                return Err(RequestError::ValueTooLarge { size, limit });
            }
            if request.operation.is_some() && !self.operations.is_kept() {
                return Err(RequestError::OperationsForgotten);
            }
            let given = P::timestamp_of(write);
            self.check_timestamp(given)?;
            let session = request.floor.time;
            if let Some(timestamp) = given.filter(|timestamp| *timestamp < session) {
                return Err(RequestError::TimestampBelowSession { timestamp, session });
            }
        }
        if self.config.clock == ClockKind::Lamport {
            let last = self.clock.last();
            let lead = request.floor.time.0.saturating_sub(last.0);
            let limit = self.config.max_token_lead;
            if lead > limit {
                return Err(RequestError::TokenAhead { lead, limit });
            }
        }
        if self.config.gossip.is_some() && request.level != Level::One {
            let level = request.level;
            return Err(RequestError::GossipsOnly { level });
        }
        if request.level == Level::Linearizable && self.config.clock == ClockKind::Caller {
            return Err(RequestError::TimestampsAreNotMoments);
        }
        let (k, w, r) = (
            self.config.replication_factor,
            self.config.write_quorum,
            self.config.read_quorum,
        );
        if request.level == Level::Linearizable && (r + w <= k || 2 * w <= k) {
            return Err(RequestError::LevelNotOffered { k, w, r });
        }
        let (pending, limit) = (
            self.writes.len() + self.reads.len(),
            self.config.max_pending,
        );
        if pending >= limit {
            return Err(RequestError::Overloaded { pending, limit });
        }
        Ok(())
    }

    /// Writes bring a timestamp exactly where the store takes them.
    pub(super) fn check_timestamp(
        &self,
        given: Option<crdt::Timestamp>,
    ) -> Result<(), RequestError> {
        match (self.config.clock, given) {
            (ClockKind::Caller, None) => Err(RequestError::TimestampNeeded),
            (ClockKind::Caller, Some(timestamp)) => {
                let horizon = self.clock.last();
                // A horizon of zero is one that was never set.
                if timestamp <= horizon && horizon > crdt::Timestamp::default() {
                    return Err(RequestError::TimestampBelowHorizon { timestamp, horizon });
                }
                Ok(())
            }
            (_, Some(_)) => Err(RequestError::TimestampNotTaken),
            (_, None) => Ok(()),
        }
    }
}

/// A timestamp that is not too far ahead, or the error that a client sees.
pub(super) fn clock_error(error: crdt::ClockError) -> RequestError {
    match error {
        crdt::ClockError::Ahead { ahead_ms, bound_ms } => {
            let may_take_effect = false;
            RequestError::TimestampAhead {
                ahead_ms,
                bound_ms,
                may_take_effect,
            }
        }
        _ => RequestError::ClockExhausted {
            may_take_effect: false,
        },
    }
}
