//! The handle that changes a causal object.

use alloc::boxed::Box;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use crate::causal::edit::{Edit, Events};
use crate::{
    BehindFrontier, Causal, CausalContext, Digest, DotStore, Frontier, JoinError, Lattice,
    NotStable, ReplicaId, Report, Stability,
};

/// Which replicated object a handle or a read context belongs to: chosen by the application, the same
/// at every replica of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct ObjectId(pub u64);

/// One replica of a causal object, and the only way to change it: dots are minted here.
///
/// The handle belongs to one incarnation of one writer. It is not `Clone`, since two handles of one
/// identity would give one dot to two events, and not serialisable for the same reason: store the state and
/// [`restore`](Self::restore) it.
///
/// ```compile_fail
/// use crdt::{AddWinsSet, CausalReplica, ObjectId, ReplicaId};
/// let replica = CausalReplica::<AddWinsSet<u8>>::new(ObjectId(1), ReplicaId(1));
/// let twin: CausalReplica<AddWinsSet<u8>> = replica.clone();
/// ```
#[derive(Debug)]
pub struct CausalReplica<S> {
    object: ObjectId,
    id: ReplicaId,
    /// Number of dots minted.
    minted: u64,
    state: Causal<S>,
    frontier: Frontier,
}

/// What a read has seen, for a write that comes later: an overwrite or removal makes obsolete only what
/// its author has read.
///
/// It belongs to one object and one type. Used on another object it is refused:
///
/// ```
/// use crdt::{CausalReplica, MvCell, ObjectId, ReadContextError, ReplicaId};
/// let name = CausalReplica::<MvCell<u8>>::new(ObjectId(1), ReplicaId(1));
/// let mut title = CausalReplica::<MvCell<u8>>::new(ObjectId(2), ReplicaId(1));
/// let (read, here) = (ObjectId(1), ObjectId(2));
/// let refused = title.change_seen(&name.read_context(), |title| title.set(7));
/// assert_eq!(refused, Err(ReadContextError::WrongObject { read, here }));
/// let of_title = title.read_context();
/// assert!(title.change_seen(&of_title, |title| title.set(7)).is_ok());
/// ```
///
/// On an object of another type it does not compile. The same with a set in place of the name:
///
/// ```compile_fail,E0308
/// use crdt::{AddWinsSet, CausalReplica, MvCell, ObjectId, ReplicaId};
/// let tags = CausalReplica::<AddWinsSet<u8>>::new(ObjectId(1), ReplicaId(1));
/// let mut title = CausalReplica::<MvCell<u8>>::new(ObjectId(2), ReplicaId(1));
/// let refused = title.change_seen(&tags.read_context(), |title| title.set(7));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound(serialize = "", deserialize = "")))]
#[must_use = "a later overwrite needs the context of the read"]
pub struct ReadContext<S> {
    object: ObjectId,
    context: CausalContext,
    #[cfg_attr(feature = "serde", serde(skip))]
    store: PhantomData<fn() -> S>,
}

/// Why a write with a read context was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadContextError {
    /// The context was read from another object: the caller's mistake.
    #[error("the context was read from object {}, this is object {}", .read.0, .here.0)]
    WrongObject {
        /// The object that was read.
        read: ObjectId,
        /// The object that was to be written.
        here: ObjectId,
    },
    /// The context lacks events that this replica has reported, so that others count on every later
    /// change having seen them; read again.
    #[error("the context has not seen {unseen}, which was reported since; read again")]
    TooOld {
        /// The events.
        unseen: Box<CausalContext>,
    },
    /// The context names events that have not arrived here; fetch them first.
    #[error("the context has seen {missing}, which has not arrived here")]
    NotYetHere {
        /// The events.
        missing: Box<CausalContext>,
    },
}

/// A state names more events of this handle's identity than the handle has minted: another writer uses
/// the identity, or this replica has lost a part of its state. Nothing was joined.
///
/// Go on under a new identity: [`CausalReplica::into_incarnation`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("replica {replica} has minted {minted} events, but event {counter} of it was seen")]
pub struct IdentityReused {
    /// The identity.
    pub replica: ReplicaId,
    /// Number of events that this handle has minted.
    pub minted: u64,
    /// The largest counter seen.
    pub counter: u64,
}

impl IdentityReused {
    /// Refuses an event of an identity beyond those that its handle has minted.
    pub(crate) const fn check(replica: ReplicaId, minted: u64, counter: u64) -> Result<(), Self> {
        if counter <= minted {
            return Ok(());
        }
        Err(Self {
            replica,
            minted,
            counter,
        })
    }
}

impl<S: DotStore> CausalReplica<S> {
    /// An empty replica of `object` that writes as `id`, an identity that has never written.
    pub fn new(object: ObjectId, id: ReplicaId) -> Self {
        Self::restore(object, id, Causal::default())
    }

    /// A replica that goes on from a stored state. The state must hold every event that `id` has
    /// ever minted; if it may not, take a new identity.
    ///
    /// If the replica has ever [reported](Self::report) or [purged](Self::purge), use
    /// [`restore_with_frontier`](Self::restore_with_frontier).
    pub fn restore(object: ObjectId, id: ReplicaId, state: Causal<S>) -> Self {
        Self::restore_with_frontier(object, id, state, Frontier::default())
    }

    /// A replica that goes on from a stored state and the [`frontier`](Self::frontier) stored with it. What
    /// it has reported must be in the state: store first, then report.
    pub fn restore_with_frontier(
        object: ObjectId,
        id: ReplicaId,
        state: Causal<S>,
        frontier: Frontier,
    ) -> Self {
        Self {
            object,
            id,
            minted: state.context().last_counter(id),
            state,
            frontier,
        }
    }

    /// The same replica under a new identity, after [`IdentityReused`].
    #[must_use = "the old handle is used up"]
    pub fn into_incarnation(self, id: ReplicaId) -> Self {
        Self::restore_with_frontier(self.object, id, self.state, self.frontier)
    }

    /// Who writes here.
    pub const fn id(&self) -> ReplicaId {
        self.id
    }

    /// Which object this is a replica of.
    pub const fn object(&self) -> ObjectId {
        self.object
    }

    /// The state; its store is also reached by dereferencing.
    pub const fn state(&self) -> &Causal<S> {
        &self.state
    }

    /// What a reader of the present state has seen, for [`change_seen`](Self::change_seen).
    pub fn read_context(&self) -> ReadContext<S> {
        ReadContext {
            object: self.object,
            context: self.state.context.clone(),
            store: PhantomData,
        }
    }

    /// Changes the object, having seen all that is here. Returns the delta.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Edit<'_, S>) -> R) -> Causal<S> {
        self.apply(None, change)
    }

    /// Changes the object as an author who has seen what `seen` says: what is overwritten or removed is
    /// only that. Returns the delta.
    ///
    /// # Errors
    /// [`ReadContextError`], if the context is of another object, ahead of this replica, or older than
    /// what this replica has [reported](Self::report).
    pub fn change_seen<R>(
        &mut self,
        seen: &ReadContext<S>,
        change: impl FnOnce(&mut Edit<'_, S>) -> R,
    ) -> Result<Causal<S>, ReadContextError> {
        if seen.object != self.object {
            let (read, here) = (seen.object, self.object);
            return Err(ReadContextError::WrongObject { read, here });
        }
        let missing = seen.context.difference(&self.state.context);
        if !missing.is_empty() {
            let missing = Box::new(missing);
            return Err(ReadContextError::NotYetHere { missing });
        }
        let unseen = self.frontier.reported.difference(&seen.context);
        if !unseen.is_empty() {
            let unseen = Box::new(unseen);
            return Err(ReadContextError::TooOld { unseen });
        }
        Ok(self.apply(Some(seen.context.clone()), change))
    }

    fn apply<R>(
        &mut self,
        seen: Option<CausalContext>,
        change: impl FnOnce(&mut Edit<'_, S>) -> R,
    ) -> Causal<S> {
        let mut events = Events::new(self.id, self.minted, seen);
        let mut delta = Causal::<S>::default();
        change(&mut Edit::new(
            &mut self.state.store,
            &mut delta.store,
            &mut events,
        ));
        self.minted = events.last();
        events.note_in(&mut delta.context, &mut self.state.context);
        delta
    }

    /// Joins a state or a delta; true if this replica grew.
    ///
    /// A delta does not show what its author had seen. Where replicas purge, join full states by
    /// [`join_state`](Self::join_state), and let a peer pass [`check_peer`](Self::check_peer) before its first
    /// delta is joined.
    ///
    /// # Errors
    /// [`IdentityReused`], if `other` names events of this identity that were not minted here.
    pub fn join(&mut self, other: &Causal<S>) -> Result<bool, IdentityReused> {
        self.check_identity(other)?;
        Ok(self.state.join(other))
    }

    /// Joins the full state of a peer, which unlike a delta shows all that the peer has seen; true if this
    /// replica grew.
    ///
    /// # Errors
    /// [`JoinError::BehindFrontier`] as in [`check_peer`](Self::check_peer), and
    /// [`JoinError::IdentityReused`] as in [`join`](Self::join). Nothing was changed.
    pub fn join_state(&mut self, state: &Causal<S>) -> Result<bool, JoinError> {
        self.check_identity(state)?;
        self.check_peer(state.context())?;
        Ok(self.state.join(state))
    }

    /// Joins a state or a delta unless it holds a dot with another value than here, or in another place.
    /// Looks at every event of both sides, where [`join`](Self::join) looks at contexts first.
    ///
    /// # Errors
    /// [`JoinError::IdentityReused`] as in [`join`](Self::join), and [`JoinError::DotConflict`].
    pub fn join_checked(&mut self, other: &Causal<S>) -> Result<bool, JoinError> {
        self.check_identity(other)?;
        Ok(self.state.join_checked(other)?)
    }

    /// Joins a state or a delta and returns what of it was new, which is what is worth forwarding.
    ///
    /// # Errors
    /// [`IdentityReused`], if `other` names events of this identity that were not minted here.
    pub fn join_news(&mut self, other: &Causal<S>) -> Result<Causal<S>, IdentityReused> {
        self.check_identity(other)?;
        Ok(crate::Difference::join_news(&mut self.state, other))
    }

    /// Says what is here, for those who purge, and gives this replica's word that every later change has
    /// seen it: [`change_seen`](Self::change_seen) refuses older read contexts from now on.
    pub fn report(&mut self) -> Report {
        let digest = self.state.digest();
        self.frontier.reported.join(digest.context());
        Report::new(self.id, digest)
    }

    /// Drops what no reader sees and nobody can act without having seen. Returns the delta; its context names
    /// the events that went. No visible value changes, here or anywhere: [`Stability`] has the proof.
    ///
    /// Where this replica is a member, note its own [`report`](Self::report) first: an old one counts
    /// like any other.
    ///
    /// # Errors
    /// [`NotStable`], if a member has not reported, or its report has not arrived here. Nothing was
    /// changed.
    pub fn purge(&mut self, stability: &Stability) -> Result<Causal<S>, NotStable> {
        let stable = stability.certificate(&self.state.digest())?;
        let context = self.state.store.purge(&stable);
        self.frontier.purged.join(stable.context());
        let store = S::default();
        Ok(Causal { store, context })
    }

    /// What was promised and purged here: to be stored with the state.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// What a peer that showed `digest` lacks.
    ///
    /// # Errors
    /// [`BehindFrontier`] as in [`check_peer`](Self::check_peer).
    pub fn answer(&self, digest: &Digest) -> Result<Causal<S>, BehindFrontier> {
        self.check_peer(digest.context())?;
        Ok(self.state.delta_since(digest))
    }

    /// Whether a peer that has seen `context`, and no more, may take part: its state and its deltas may be joined
    /// here, and it may be answered. It is enough to ask once for each run of the peer, as what it has
    /// seen only grows.
    ///
    /// # Errors
    /// [`BehindFrontier`], if the peer lacks what every member had when this replica purged: then it must
    /// start again from a member's state.
    pub fn check_peer(&self, context: &CausalContext) -> Result<(), BehindFrontier> {
        let missing = self.frontier.purged.difference(context);
        if missing.is_empty() {
            return Ok(());
        }
        let missing = Box::new(missing);
        Err(BehindFrontier { missing })
    }

    pub(super) const fn state_mut(&mut self) -> &mut Causal<S> {
        &mut self.state
    }

    pub(super) fn check_identity(&self, other: &Causal<S>) -> Result<(), IdentityReused> {
        let counter = other.context.last_counter(self.id);
        IdentityReused::check(self.id, self.minted, counter)
    }
}

impl<S> ReadContext<S> {
    /// The context of one who has read nothing of `object`: writes with it overwrite nothing.
    pub fn blind(object: ObjectId) -> Self {
        Self {
            object,
            context: CausalContext::default(),
            store: PhantomData,
        }
    }

    /// Which object was read.
    pub const fn object(&self) -> ObjectId {
        self.object
    }

    /// The events that were seen.
    pub const fn context(&self) -> &CausalContext {
        &self.context
    }
}

impl<S> Deref for CausalReplica<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> fmt::Display for ReadContext<S> {
    /// `<1:3> of object 7`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of object {}", self.context, self.object.0)
    }
}

impl fmt::Display for ObjectId {
    /// The number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<S: fmt::Display> fmt::Display for CausalReplica<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} {}", self.id, self.object.0, self.state)
    }
}
