//! What a client has seen, and what it may ask not to fall behind.

use crdt::{CausalContext, Lattice as _, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{Command, Floor, Level, Outcome, PartitionId, Placement, Request};

/// Which guarantees a session asks for. All four by default.
///
/// | guarantee | what it promises |
/// |---|---|
/// | read your writes | a read sees the session's own writes, or later ones |
/// | monotonic reads | a read sees what the session's earlier reads saw, or later writes |
/// | monotonic writes | a write wins over the session's earlier writes |
/// | writes follow reads | a write wins over what the session has read |
///
/// Source: Terry et al., *Session Guarantees for Weakly Consistent Replicated Data*, 1994.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Guarantees {
    /// A read sees the session's own writes, or later ones.
    pub read_your_writes: bool,
    /// A read sees what the session's earlier reads saw, or later writes.
    pub monotonic_reads: bool,
    /// A write wins over the session's earlier writes.
    pub monotonic_writes: bool,
    /// A write wins over what the session has read.
    pub writes_follow_reads: bool,
}

impl Default for Guarantees {
    fn default() -> Self {
        Self {
            read_your_writes: true,
            monotonic_reads: true,
            monotonic_writes: true,
            writes_follow_reads: true,
        }
    }
}

impl Guarantees {
    /// No guarantee at all.
    pub const NONE: Self = Self {
        read_your_writes: false,
        monotonic_reads: false,
        monotonic_writes: false,
        writes_follow_reads: false,
    };
}

/// The position of a session: what it has read and written, in each partition it has touched.
///
/// A token serialises, and may be handed to another client, which then asks for no less than the
/// first one had seen: causality goes with it, across keys and people. Nodes only test against it.
///
/// **Size.** Two times, and the events that the session has seen and that not every owner is known to have: a
/// few ranges for each partition in which there are such events, one for each incarnation of an owner and for each gap.
/// [`Session::note`] drops what every owner has ([`Outcome::stable`]), [`prune`](Self::prune) what it is told to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Token {
    /// The latest time that was read, in any partition.
    read: Timestamp,
    /// The latest time that was written, in any partition.
    written: Timestamp,
    /// Where nothing is left to be asked for there is no entry.
    partitions: BTreeMap<PartitionId, Position>,
}

/// What a session has seen of one partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
struct Position {
    read: CausalContext,
    written: CausalContext,
}

/// A token that does not fit its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the session's token has {ranges} ranges, the limit is {limit}: prune it, or start a new session"
)]
pub struct TokenTooLarge {
    /// Ranges of events in the token.
    pub ranges: usize,
    /// The limit.
    pub limit: usize,
}

/// Bytes that are not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// More bytes than any token of this limit takes.
    #[error("a token of {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Size in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not the binary form of a token.
    #[error("not a session token: {0}")]
    Malformed(String),
}

impl Token {
    /// The most bytes that [`from_bytes`](Self::from_bytes) reads.
    pub const MAX_BYTES: usize = 1 << 20;

    /// The binary form. Equal tokens have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("tokens serialise into memory")
    }

    /// Reads the binary form back.
    ///
    /// # Errors
    /// If it is too large, or not a token.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidToken> {
        if bytes.len() > Self::MAX_BYTES {
            let (bytes, limit) = (bytes.len(), Self::MAX_BYTES);
            return Err(InvalidToken::TooLarge { bytes, limit });
        }
        let malformed = |error: &dyn std::fmt::Display| InvalidToken::Malformed(error.to_string());
        match postcard::take_from_bytes(bytes) {
            Ok((token, [])) => Ok(token),
            Ok((_, rest)) => Err(malformed(&format!("{} bytes too many", rest.len()))),
            Err(error) => Err(malformed(&error)),
        }
    }

    /// Takes over what another session has seen.
    pub fn join(&mut self, other: &Self) {
        self.read = self.read.max(other.read);
        self.written = self.written.max(other.written);
        for (partition, theirs) in &other.partitions {
            let mine = self.partitions.entry(*partition).or_default();
            mine.read.join(&theirs.read);
            mine.written.join(&theirs.written);
        }
    }

    /// Stops asking for these events of a partition: because every owner has them, as [`Outcome::stable`] and
    /// [`Status::stable`](crate::Status::stable) say, or because they are lost for good and the session goes on without them, as
    /// after [`RequestError::SessionLost`](crate::RequestError::SessionLost). Times stay, since a later write must still come
    /// above them.
    ///
    /// Of any other events the session may be shown a state that it has left behind.
    pub fn prune(&mut self, partition: PartitionId, events: &CausalContext) {
        let Some(position) = self.partitions.get_mut(&partition) else {
            return;
        };
        for seen in [&mut position.read, &mut position.written] {
            if !seen.is_empty() {
                *seen = seen.difference(events);
            }
        }
        if position.read.is_empty() && position.written.is_empty() {
            self.partitions.remove(&partition);
        }
    }

    /// The partitions of which it asks for events, ascending.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> + '_ {
        self.partitions.keys().copied()
    }

    /// Ranges of events in the token.
    pub fn range_count(&self) -> usize {
        let contexts = self.partitions.values();
        contexts
            .map(|position| position.read.range_count() + position.written.range_count())
            .sum()
    }
}

/// A client's session with a store: it makes requests that ask for no less than it has seen, and takes
/// note of what the answers have.
///
/// It is a value on the client's side and works with any driver.
///
/// ```
/// use replica::{Cluster, Command, Guarantees, Level, NodeId, Session};
///
/// let cluster = Cluster::new(3)?;
/// let mut session = Session::new(cluster.placement(), Guarantees::default());
/// let put = session.request(Command::put("k".into(), "v".into()), Level::One);
/// session.note(b"k", &cluster.node(NodeId(1)).execute(put)?)?;
/// // Through any other node: it answers once it has seen the write.
/// let get = session.request(Command::get("k".into()), Level::One);
/// let read = cluster.node(NodeId(3)).execute(get)?;
/// assert_eq!(read.value(), Some(&"v".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Session {
    placement: Placement,
    guarantees: Guarantees,
    token: Token,
    max_ranges: usize,
}

impl Session {
    /// How many ranges of events a token may have, unless another limit is set.
    pub const MAX_RANGES: usize = 16_384;

    /// A session that has seen nothing.
    pub fn new(placement: Placement, guarantees: Guarantees) -> Self {
        Self::resume(placement, guarantees, Token::default())
    }

    /// A session that goes on from a token: its own, or one that another client has handed over.
    pub const fn resume(placement: Placement, guarantees: Guarantees, token: Token) -> Self {
        Self {
            placement,
            guarantees,
            token,
            max_ranges: Self::MAX_RANGES,
        }
    }

    /// The same with another limit on the ranges of its token.
    #[must_use]
    pub const fn with_max_ranges(mut self, max_ranges: usize) -> Self {
        self.max_ranges = max_ranges;
        self
    }

    /// What it has seen.
    pub const fn token(&self) -> &Token {
        &self.token
    }

    /// What it has seen, to be changed: joined with another token, or pruned.
    pub const fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }

    /// A request that asks for no less than the session has seen.
    pub fn request<W>(&self, command: Command<W>, level: Level) -> Request<W> {
        let floor = match command.is_write() {
            true => self.floor_of_writes(command.key()),
            false => self.floor_of_reads(command.key()),
        };
        Request::new(command, level).after(floor)
    }

    /// What a read of a key must not fall behind: events of the key's partition.
    pub fn floor_of_reads(&self, key: &[u8]) -> Floor {
        let chosen = self.guarantees;
        Floor {
            context: self.seen_of(key, chosen.monotonic_reads, chosen.read_your_writes),
            time: Timestamp::default(),
        }
    }

    /// What a write of a key must come after. The events come from the key's partition, the time from all
    /// of them: timestamps respect causality across partitions too.
    pub fn floor_of_writes(&self, key: &[u8]) -> Floor {
        let (chosen, token) = (self.guarantees, &self.token);
        let times = [
            (chosen.writes_follow_reads, token.read),
            (chosen.monotonic_writes, token.written),
        ];
        let wanted = times.into_iter().filter(|(is_wanted, _)| *is_wanted);
        Floor {
            context: self.seen_of(key, chosen.writes_follow_reads, chosen.monotonic_writes),
            time: wanted.map(|(_, time)| time).max().unwrap_or_default(),
        }
    }

    /// What was read and what was written of the key's partition, as far as it is wanted.
    fn seen_of(&self, key: &[u8], read: bool, written: bool) -> CausalContext {
        let mut context = CausalContext::default();
        let partition = self.placement.partition_of(key);
        if let Some(position) = self.token.partitions.get(&partition) {
            let wanted = [(read, &position.read), (written, &position.written)];
            for (_, seen) in wanted.into_iter().filter(|(is_wanted, _)| *is_wanted) {
                context.join(seen);
            }
        }
        context
    }

    /// Takes note of the answer to an operation on a key, and drops from the token what every owner has.
    ///
    /// # Errors
    /// If the token has outgrown its limit. The session has taken note all the same, and the operation has succeeded.
    pub fn note<C>(&mut self, key: &[u8], outcome: &Outcome<C>) -> Result<(), TokenTooLarge> {
        let is_write = matches!(outcome, Outcome::Written { .. });
        self.note_seen(key, outcome.seen(), outcome.stable(), is_write)
    }

    /// Takes note of what an operation on a key has seen, and of what is stable in its partition, where a driver hands out
    /// no more of its outcome.
    ///
    /// # Errors
    /// If the token has outgrown its limit. The session has taken note all the same, and the operation has succeeded.
    pub fn note_seen(
        &mut self,
        key: &[u8],
        seen: &Floor,
        stable: &CausalContext,
        is_write: bool,
    ) -> Result<(), TokenTooLarge> {
        let partition = self.placement.partition_of(key);
        let position = self.token.partitions.entry(partition).or_default();
        let (context, time) = match is_write {
            true => (&mut position.written, &mut self.token.written),
            false => (&mut position.read, &mut self.token.read),
        };
        context.join(&seen.context);
        *time = seen.time.max(*time);
        self.token.prune(partition, stable);
        self.check_size()
    }

    /// Whether the token is within its limit. Asked before an operation this keeps it from growing any further;
    /// after one that has succeeded it is too late to say no.
    ///
    /// # Errors
    /// If it is not.
    pub fn check_size(&self) -> Result<(), TokenTooLarge> {
        let (ranges, limit) = (self.token.range_count(), self.max_ranges);
        match ranges > limit {
            true => Err(TokenTooLarge { ranges, limit }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use crdt::{Dot, ReplicaId};
    use std::sync::Arc;

    fn seen(counter: u64) -> Floor {
        Floor {
            context: [Dot::new(ReplicaId(1), counter)].into_iter().collect(),
            time: Timestamp(counter),
        }
    }

    fn written(counter: u64) -> Outcome {
        Outcome::Written {
            timestamp: Timestamp(counter),
            event: None,
            seen: seen(counter),
            stable: Arc::default(),
            took_effect: true,
            acknowledged: 1,
            met: Default::default(),
        }
    }

    fn read(counter: u64) -> Outcome {
        Outcome::Read {
            cell: Default::default(),
            seen: seen(counter),
            stable: Arc::default(),
            owners: 1,
            met: Default::default(),
        }
    }

    #[test]
    fn each_guarantee_asks_for_its_own_part() {
        let placement = Placement::new(3, 3, 1);
        let floor = |guarantees: Guarantees, command: Command| {
            let mut session = Session::new(placement, guarantees);
            session.note(b"k", &read(1)).expect("small");
            session.note(b"k", &written(5)).expect("small");
            session.request(command, Level::One).floor
        };
        let (get, put) = (
            || Command::get(Bytes::from_static(b"k")),
            || Command::put(Bytes::from_static(b"k"), Bytes::new()),
        );
        let none = Guarantees::NONE;
        assert!(floor(none, get()).is_bottom() && floor(none, put()).is_bottom());
        let only = |set: fn(&mut Guarantees)| {
            let mut guarantees = Guarantees::NONE;
            set(&mut guarantees);
            guarantees
        };
        let (ryw, mr) = (
            only(|g| g.read_your_writes = true),
            only(|g| g.monotonic_reads = true),
        );
        let (mw, wfr) = (
            only(|g| g.monotonic_writes = true),
            only(|g| g.writes_follow_reads = true),
        );
        // A read asks for events and for no time.
        let events = |counter| Floor {
            context: seen(counter).context,
            ..Floor::default()
        };
        assert_eq!(
            (floor(ryw, get()), floor(mr, get())),
            (events(5), events(1))
        );
        assert_eq!((floor(mw, put()), floor(wfr, put())), (seen(5), seen(1)));
        assert!(floor(ryw, put()).is_bottom() && floor(mw, get()).is_bottom());
    }

    #[test]
    fn a_token_takes_over_what_another_has_seen() {
        let placement = Placement::new(3, 3, 1);
        let mut mine = Session::new(placement, Guarantees::default());
        let mut theirs = mine.clone();
        mine.note(b"k", &read(1)).expect("small");
        theirs.note(b"k", &written(4)).expect("small");
        mine.token_mut().join(theirs.token());
        let get = Command::<crate::LwwWrite>::get(Bytes::from_static(b"k"));
        let mut both = seen(1);
        both.join(&seen(4));
        assert_eq!(mine.floor_of_writes(b"k"), both);
        assert_eq!(mine.request(get, Level::One).floor.context, both.context);
        assert_eq!(mine.token().range_count(), 2);
        assert_eq!(Token::default().range_count(), 0);
    }

    #[test]
    fn the_largest_token_is_looked_at_and_bytes_after_it_are_refused() {
        let bytes = vec![0; Token::MAX_BYTES];
        assert!(matches!(
            Token::from_bytes(&bytes),
            Err(InvalidToken::Malformed(_))
        ));
        assert_eq!(Token::from_bytes(&[0, 0, 0]), Ok(Token::default()));
    }

    #[test]
    fn times_carry_over_to_other_partitions_and_events_do_not() {
        let placement = Placement::new(3, 3, 64);
        let mut session = Session::new(placement, Guarantees::default());
        session.note(b"a", &read(7)).expect("small");
        assert_ne!(placement.partition_of(b"a"), placement.partition_of(b"b"));
        let put = Command::put(Bytes::from_static(b"b"), Bytes::new());
        let floor = session.request(put, Level::One).floor;
        assert_eq!((floor.time, floor.context.is_empty()), (Timestamp(7), true));
    }

    #[test]
    fn tokens_go_through_bytes_are_pruned_and_bounded() {
        let placement = Placement::new(3, 3, 1);
        let mut session = Session::new(placement, Guarantees::default()).with_max_ranges(2);
        assert_eq!(session.note(b"k", &written(1)), Ok(()));
        assert_eq!(session.note(b"k", &written(3)), Ok(()));
        let (ranges, limit) = (3, 2);
        let too_large = Err(TokenTooLarge { ranges, limit });
        assert_eq!(session.note(b"k", &written(5)), too_large);
        let bytes = session.token().to_bytes();
        assert_eq!(Token::from_bytes(&bytes).as_ref(), Ok(session.token()));
        assert!(Token::from_bytes(&bytes[1..]).is_err());
        assert!(matches!(
            Token::from_bytes(&vec![0; Token::MAX_BYTES + 1]),
            Err(InvalidToken::TooLarge { .. })
        ));
        session.token_mut().prune(PartitionId(0), &seen(3).context);
        assert_eq!(session.token().range_count(), 2);
        assert_eq!(session.check_size(), Ok(()));
        assert_eq!(session.floor_of_writes(b"k").time, Timestamp(5));
    }

    #[test]
    fn what_every_owner_has_leaves_the_token_and_its_time_stays() {
        let placement = Placement::new(3, 3, 1);
        let mut session = Session::new(placement, Guarantees::default());
        session.note(b"k", &read(1)).expect("small");
        session.note(b"k", &written(5)).expect("small");
        let mut read = read(7);
        let Outcome::Read { stable, .. } = &mut read else {
            unreachable!("a read");
        };
        let mut both = seen(1).context;
        both.join(&seen(7).context);
        *stable = Arc::new(both);
        session.note(b"k", &read).expect("small");
        assert_eq!(session.floor_of_reads(b"k").context, seen(5).context);
        assert_eq!(session.token().partitions().count(), 1);
        session.token_mut().prune(PartitionId(0), &seen(5).context);
        assert_eq!(session.token().partitions().count(), 0, "nothing is left");
        let floor = session.floor_of_writes(b"k");
        assert_eq!((floor.time, floor.context.is_empty()), (Timestamp(7), true));
        assert!(session.floor_of_reads(b"k").is_bottom());
    }

    #[test]
    fn events_are_pruned_in_their_own_partition() {
        let placement = Placement::new(3, 3, 64);
        let [a, b] = [&b"a"[..], b"b"].map(|key| placement.partition_of(key));
        assert_ne!(a, b);
        let mut session = Session::new(placement, Guarantees::default());
        session.note(b"a", &read(7)).expect("small");
        session
            .note_seen(b"b", &seen(9), &seen(7).context, true)
            .expect("small");
        assert_eq!(session.floor_of_reads(b"a").context, seen(7).context);
        session.token_mut().prune(b, &seen(9).context);
        assert_eq!(session.token().partitions().collect::<Vec<_>>(), [a]);
    }
}
