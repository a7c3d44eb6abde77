//! Every public type can be sent to and shared between threads where its parts can: checked by
//! compiling.

use crdt::*;

const fn shared<T: Send + Sync>() {}

/// A new type is a line here.
#[test]
fn every_type_is_send_and_sync() {
    type Key = String;
    type Mv = MvCell<String>;
    type Set = AddWinsSet<String>;
    type Object = Causal<Set>;

    shared::<(ReplicaId, Dot, DotRange, ObjectId, Timestamp)>();
    shared::<(VersionVector, CausalContext, Digest, Known<'static>)>();
    shared::<(LamportClock, HybridClock)>();
    shared::<(DotSet, DotFun<String>, OrMap<Key, Set>, Set)>();
    shared::<(Mv, LwwCell<String>, LwwEntry<String>)>();
    shared::<(Object, CausalReplica<Set>, ReadContext<Set>, Events)>();
    shared::<(Edit<'static, Set>, MergeReport<Key>, MemoryUse)>();
    shared::<(CausalMap<Key, Mv>, MapReplica<Key, Mv>, Knowledge<Key>)>();
    shared::<(Cut<Key>, Interval<Key>, EventLog<Key>, Joined<Key>, Change)>();
    shared::<(
        Listing<Key, Mv>,
        KeyListing<Key, Mv>,
        IntervalListing<Key, Mv>,
    )>();
    shared::<(
        Claim,
        Budget,
        Delta<Key, Mv>,
        TransferChunk<Key, Mv>,
        Written<Key, Mv>,
    )>();
    shared::<(OwnerView, Promise, Promises, Horizon, HeldBack, Closed)>();
    shared::<(DeltaBuffer<Object>, Packet<Object>, Gap)>();
    shared::<(Received<'static, Object>, Accepted<'static, Object>)>();
    shared::<(RemoveWinsSet<Key>, Siblings<Key>, ResettableCounter)>();
    shared::<(EnableWinsFlag, DisableWinsFlag, Causal<(Mv, Set)>)>();
    shared::<(LwwMap<Key, Key>, LwwSet<Key>, LwwRegister<Key>)>();
    shared::<(MvRegister<Key>, Version<Key>, GCounter, PnCounter)>();
    shared::<(GSet<Key>, TwoPhaseSet<Key>, Max<Key>, Min<Key>)>();
    shared::<(Pair<GCounter, GCounter>, LexicographicPair<u8, GCounter>)>();
    shared::<(MapOf<Key, GCounter>, SharedHybridClock)>();
    shared::<(Stability, Stable, Report, Frontier)>();
}

#[test]
fn every_error_is_send_and_sync_and_an_error() {
    const fn error<T: std::error::Error + Send + Sync + 'static>() {}

    error::<InvalidBytes>();
    error::<ClockError>();
    error::<SlotTooLarge>();
    error::<Truncated>();
    error::<IdentityReused>();
    error::<ReadContextError>();
    error::<DotConflict>();
    error::<JoinError>();
    error::<AcknowledgeError>();
    error::<ReceiveError<IdentityReused>>();
    error::<EnvelopeError>();
    error::<laws::LawViolation>();
    error::<Behind>();
    error::<BehindFrontier>();
    error::<CounterOverflow>();
    error::<NotStable>();
    error::<PutError>();
    error::<TooManySiblings>();
}
