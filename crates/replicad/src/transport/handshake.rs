//! The first frame each way: who speaks, which version, of which cluster.
//!
//! Whoever dials sends [`Hello`], the other an [`Answer`]. Both are encoded with postcard and begin with eight
//! bytes of magic and the range of versions, which stays so in all versions; then two nodes that have no
//! version in common can say so. A later version may append fields to either and ignores what follows
//! those it knows.

use replica::NodeId;
use serde::{Deserialize, Serialize};
use std::fmt;

use super::Shared;
use super::error::LinkError;
use crate::storage::ClusterId;
use crate::terms::{StoreTerms, TermsDifference};

/// The versions of the wire protocol that this program speaks: of the messages, and of all below them.
pub const VERSIONS: Versions = Versions { min: 1, max: 2 };

/// Longest frame of a handshake.
pub(super) const MAX_BYTES: usize = 1024;

/// Longest reason that is sent or believed, in bytes.
const MAX_REASON_BYTES: usize = 512;

const MAGIC: [u8; 8] = *b"replicad";

/// A range of versions, both ends included. Nodes that have some in common speak the latest of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The earliest.
    pub min: u16,
    /// The latest.
    pub max: u16,
}

/// Which of the two connections to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// For short frames.
    Small,
    /// For long ones.
    Large,
}

/// What every first frame begins with, in all versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Prefix {
    magic: [u8; 8],
    versions: Versions,
}

/// What the node that dials says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The number of the node that speaks.
    pub(super) node: NodeId,
    /// The node that it believes to have dialled.
    pub(super) to: NodeId,
    pub(super) lane: Lane,
    pub(super) cluster_name: String,
    pub(super) cluster: Option<ClusterId>,
    /// Random, of each connection; the answer repeats it.
    pub(super) nonce: u64,
    /// Random, of each process.
    pub(super) process: u64,
    /// What it says of its store.
    pub(super) terms: Option<StoreTerms>,
}

/// What the other says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Welcome(Welcome),
    /// The reason, for people.
    Refused(String),
}

/// The connection stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) node: NodeId,
    pub(super) cluster: Option<ClusterId>,
    pub(super) nonce: u64,
}

/// Why a connection is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this node speaks versions {ours} of the protocol, you speak {theirs}")]
    Version { ours: Versions, theirs: Versions },
    #[error("you say that you are {0}, and your certificate does not")]
    Certificate(NodeId),
    #[error("you say that you are {0}, and that is this node: two processes have one id")]
    OwnId(NodeId),
    #[error("you say that you are {0}, which is not in this node's list of nodes")]
    UnknownNode(NodeId),
    #[error("this is {is}, and you look for {wanted}: an address in a list of nodes is wrong")]
    WrongNode { is: NodeId, wanted: NodeId },
    #[error("this node belongs to the cluster named {ours:?}, you to {theirs:?}")]
    ClusterName { ours: String, theirs: String },
    #[error("this node belongs to the cluster with the id {ours}, you to {theirs}")]
    Cluster { ours: ClusterId, theirs: ClusterId },
    #[error("the nodes of a cluster have to agree on their store, and {0}")]
    Terms(#[from] TermsDifference),
}

impl Hello {
    pub(super) fn encode(&self, versions: Versions) -> Vec<u8> {
        encode(versions, self)
    }

    /// Reads a frame, or refuses its version.
    pub(super) fn decode(bytes: &[u8], ours: Versions) -> Result<Self, LinkError> {
        let (theirs, rest) = decode_prefix(bytes)?;
        if ours.common(theirs).is_none() {
            return Err(Refusal::Version { ours, theirs }.into());
        }
        let (hello, _later) = postcard::take_from_bytes(rest)
            .map_err(|_| LinkError::Malformed("its greeting cannot be read"))?;
        Ok(hello)
    }

    /// Checks all but version and certificate.
    pub(super) fn check(&self, shared: &Shared) -> Result<(), Refusal> {
        let options = &shared.options;
        if self.node == options.node {
            return Err(Refusal::OwnId(self.node));
        }
        if !shared.peers.contains_key(&self.node) {
            return Err(Refusal::UnknownNode(self.node));
        }
        if self.to != options.node {
            let (is, wanted) = (options.node, self.to);
            return Err(Refusal::WrongNode { is, wanted });
        }
        if self.cluster_name != options.cluster_name {
            return Err(Refusal::ClusterName {
                ours: options.cluster_name.clone(),
                theirs: self.cluster_name.clone(),
            });
        }
        if let (Some(ours), Some(theirs)) = (&options.terms, &self.terms) {
            ours.check_peer(theirs)?;
        }
        same_cluster(*shared.cluster.borrow(), self.cluster)
    }
}

impl Answer {
    pub(super) fn encode(&self, versions: Versions) -> Vec<u8> {
        encode(versions, self)
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        Self::Refused(shortened(&refusal.to_string()))
    }

    /// Reads a frame: the welcome, and the version that both speak. A reason can be read whatever version the other
    /// speaks.
    pub(super) fn decode(bytes: &[u8], ours: Versions) -> Result<(Welcome, u16), LinkError> {
        let (theirs, rest) = decode_prefix(bytes)?;
        let (answer, _later): (Self, _) = postcard::take_from_bytes(rest)
            .map_err(|_| LinkError::Malformed("its answer cannot be read"))?;
        match (answer, ours.common(theirs)) {
            (Self::Refused(reason), _) => Err(LinkError::RefusedByPeer(printable(&reason))),
            (Self::Welcome(_), None) => Err(Refusal::Version { ours, theirs }.into()),
            (Self::Welcome(welcome), Some(version)) => Ok((welcome, version)),
        }
    }
}

impl Welcome {
    /// Checks that the answer is that of `to`, to this greeting.
    pub(super) fn check(&self, to: NodeId, hello: &Hello) -> Result<(), LinkError> {
        if self.nonce != hello.nonce {
            return Err(LinkError::Malformed(
                "its answer belongs to another greeting",
            ));
        }
        if self.node != to {
            let (is, wanted) = (self.node, to);
            return Err(Refusal::WrongNode { is, wanted }.into());
        }
        Ok(same_cluster(hello.cluster, self.cluster)?)
    }
}

/// Two nodes that know which cluster they belong to must agree.
pub(super) const fn same_cluster(
    ours: Option<ClusterId>,
    theirs: Option<ClusterId>,
) -> Result<(), Refusal> {
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.0 != theirs.0 => Err(Refusal::Cluster { ours, theirs }),
        _ => Ok(()),
    }
}

fn encode(versions: Versions, message: &impl Serialize) -> Vec<u8> {
    let magic = MAGIC;
    postcard::to_stdvec(&(Prefix { magic, versions }, message))
        .expect("a message of numbers and text has an encoding")
}

fn decode_prefix(bytes: &[u8]) -> Result<(Versions, &[u8]), LinkError> {
    match postcard::take_from_bytes::<Prefix>(bytes) {
        Ok((prefix, rest)) if prefix.magic == MAGIC => Ok((prefix.versions, rest)),
        _ => Err(LinkError::Malformed("it does not begin with `replicad`")),
    }
}

/// At most [`MAX_REASON_BYTES`] of a text.
fn shortened(text: &str) -> String {
    let fits = |(start, c): &(usize, char)| start + c.len_utf8() <= MAX_REASON_BYTES;
    let kept = text.char_indices().take_while(fits);
    kept.map(|(_, c)| c).collect()
}

/// What a peer says, fit for a line of a log.
fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '?' } else { c };
    shortened(text).chars().map(shown).collect()
}

impl Versions {
    /// The latest version that both speak.
    pub fn common(self, other: Self) -> Option<u16> {
        let latest = self.max.min(other.max);
        (latest >= self.min.max(other.min)).then_some(latest)
    }
}

impl Lane {
    /// Both lanes.
    pub const ALL: [Self; 2] = [Self::Small, Self::Large];
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ConflictPolicy;

    fn hello() -> Hello {
        Hello {
            node: NodeId(3),
            to: NodeId(1),
            lane: Lane::Large,
            cluster_name: "demo".into(),
            cluster: Some(ClusterId(0x1234)),
            nonce: 5,
            process: 300,
            terms: Some(StoreTerms {
                conflict: ConflictPolicy::Caller,
                nodes: 3,
                replication_factor: 3,
                partitions: 16,
                write_quorum: 2,
                read_quorum: 200,
            }),
        }
    }

    #[test]
    fn the_bytes_of_a_handshake_are_frozen() {
        let greeting: &[u8] = b"replicad\x01\x02\x03\x01\x01\x04demo\x01\xb4\x24\x05\xac\x02";
        let terms: &[u8] = b"\x01\x02\x03\x03\x10\x02\xc8\x01";
        assert_eq!(hello().encode(VERSIONS), [greeting, terms].concat());
        let welcome = Answer::Welcome(Welcome {
            node: NodeId(1),
            cluster: None,
            nonce: 5,
        });
        assert_eq!(
            welcome.encode(VERSIONS),
            b"replicad\x01\x02\x00\x01\x00\x05"
        );
        let refused = Answer::Refused("no".into());
        assert_eq!(refused.encode(VERSIONS), b"replicad\x01\x02\x01\x02no");
    }

    #[test]
    fn fields_of_a_later_version_are_ignored() {
        let later = Versions { min: 1, max: 3 };
        let mut bytes = hello().encode(later);
        bytes.extend_from_slice(b"more");
        assert_eq!(Hello::decode(&bytes, VERSIONS).ok(), Some(hello()));
    }

    #[test]
    fn another_version_is_refused_whatever_follows_it() {
        let theirs = Versions { min: 3, max: 4 };
        let prefix = Prefix {
            magic: MAGIC,
            versions: theirs,
        };
        let mut bytes = postcard::to_stdvec(&prefix).expect("numbers");
        bytes.extend_from_slice(&[0xff; 40]);
        let error = Hello::decode(&bytes, VERSIONS).expect_err("no common version");
        let text = "this node speaks versions 1 to 2 of the protocol, you speak 3 to 4";
        assert_eq!(error.to_string(), format!("refused: {text}"));
        let answer = Answer::Refused(text.into()).encode(VERSIONS);
        let error = Answer::decode(&answer, theirs).expect_err("refused");
        assert_eq!(error.to_string(), format!("the peer refused: {text}"));
    }

    #[test]
    fn bytes_that_are_no_handshake_are_errors() {
        let good = hello().encode(VERSIONS);
        for end in 0..good.len() {
            assert!(Hello::decode(&good[..end], VERSIONS).is_err());
        }
        assert!(Hello::decode(b"*1\r\n$4\r\nPING\r\n", VERSIONS).is_err());
        let evil = Answer::Refused("a\nb\u{1b}[2J".repeat(200)).encode(VERSIONS);
        let error = Answer::decode(&evil, VERSIONS)
            .expect_err("refused")
            .to_string();
        assert!(
            !error.contains('\n') && !error.contains('\u{1b}'),
            "{error}"
        );
        assert!(error.len() < 4 * MAX_REASON_BYTES);
    }

    #[test]
    fn the_latest_common_version_is_spoken() {
        let versions = |min, max| Versions { min, max };
        assert_eq!(versions(1, 3).common(versions(2, 5)), Some(3));
        assert_eq!(versions(2, 5).common(versions(1, 3)), Some(3));
        assert_eq!(versions(1, 1).common(versions(2, 3)), None);
        assert_eq!(versions(4, 4).common(versions(2, 3)), None);
    }
}
