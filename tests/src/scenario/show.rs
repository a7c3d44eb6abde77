//! Steps as a person reads them.

use std::fmt;

use super::{Expect, Request, Step};

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ask(node, request, expect) => write!(f, "{request} through {node}: {expect}"),
            Self::AskIn(session, node, request, expect) => {
                write!(f, "{session}: {request} through {node}: {expect}")
            }
            Self::HandOver(from, to) => write!(f, "{from} hands over to {to}"),
            Self::Concurrent(writes) => {
                f.write_str("at the same time")?;
                for (node, request) in writes {
                    write!(f, "; {request} through {node}")?;
                }
                Ok(())
            }
            Self::Fail(node) => write!(f, "{node} fails"),
            Self::Recover(node) => write!(f, "{node} recovers"),
            Self::RecoverRefused(node) => write!(f, "{node} cannot be recovered"),
            Self::RecoverAcceptingLoss(node) => write!(f, "{node} recovers, accepting loss"),
            Self::Partition(one, other) => write!(f, "{one:?} and {other:?} are parted"),
            Self::CutOff(node) => write!(f, "{node} is cut off, and nobody knows"),
            Self::Heal => f.write_str("the network is mended"),
            Self::Settle => f.write_str("everything comes to rest"),
            Self::RaiseHorizon(time) => write!(f, "the horizon is raised to {time}"),
            Self::Holds(key, held) => write!(f, "all hold {held:?} under {key}"),
        }
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(key, value) => write!(f, "put {key}={value}"),
            Self::Delete(key) => write!(f, "delete {key}"),
            Self::PutAt(key, value, time) => write!(f, "put {key}={value} at {time}"),
            Self::DeleteAt(key, time) => write!(f, "delete {key} at {time}"),
            Self::Get(key) => write!(f, "get {key}"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Effect(true) => f.write_str("done, with effect"),
            Self::Effect(false) => f.write_str("done, without effect"),
            Self::Unmet => f.write_str("the session is ahead"),
            Self::Found(value) => write!(f, "found {value:?}"),
            Self::OneOf(values) => write!(f, "found one of {values:?}"),
            Self::NoMajority {
                acknowledged,
                needed,
                may_take_effect,
            } => {
                let effect = if *may_take_effect { "may" } else { "will not" };
                write!(
                    f,
                    "no majority ({acknowledged} of {needed}), {effect} take effect"
                )
            }
            Self::NodeFailed => f.write_str("the node has failed"),
            Self::BelowHorizon(time) => write!(f, "refused, not above the horizon {time}"),
        }
    }
}
