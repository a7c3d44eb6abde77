//! Who is online, and who must not be disturbed: flags on several servers, replicated by deltas.
//! Run with `cargo run -p crdt --example presence`.

use crdt::{
    CausalReplica, DisableWinsFlag, EnableWinsFlag, IdentityReused, ObjectId, OrMap, ReplicaId,
};

/// A person is online while one of their devices says so.
type Online = OrMap<String, EnableWinsFlag>;
/// Notifications are on unless any device has turned them off.
type Notify = OrMap<String, DisableWinsFlag>;

fn main() -> Result<(), IdentityReused> {
    let mut paris = CausalReplica::<Online>::new(ObjectId(1), ReplicaId(1));
    let mut tokyo = CausalReplica::<Online>::new(ObjectId(1), ReplicaId(2));
    let is_online = |server: &CausalReplica<Online>, person: &str| {
        server.get(person).is_some_and(EnableWinsFlag::is_enabled)
    };

    // Ada is online at her desk, through Paris.
    tokyo.join(&paris.change(|all| all.update("ada".into(), |flag| flag.enable())))?;
    assert!(is_online(&tokyo, "ada"));

    // Her desk logs off in Paris while her phone logs on in Tokyo.
    let off = paris.change(|all| all.update("ada".into(), |flag| flag.disable()));
    let on = tokyo.change(|all| all.update("ada".into(), |flag| flag.enable()));
    paris.join(&on)?;
    tokyo.join(&off)?;
    assert!(
        is_online(&paris, "ada"),
        "the log-off had not seen the phone"
    );
    assert_eq!(paris.state(), tokyo.state());

    // The other flag falls the other way.
    let mut a = CausalReplica::<Notify>::new(ObjectId(2), ReplicaId(1));
    let mut b = CausalReplica::<Notify>::new(ObjectId(2), ReplicaId(2));
    let on = a.change(|all| all.update("ada".into(), |flag| flag.enable()));
    let off = b.change(|all| all.update("ada".into(), |flag| flag.disable()));
    a.join(&off)?;
    b.join(&on)?;
    assert_eq!(a.state(), b.state());
    assert!(
        !a.get("ada").is_some_and(DisableWinsFlag::is_enabled),
        "do not disturb"
    );

    // Once she turns it on having seen both, it is on.
    b.join(&a.change(|all| all.update("ada".into(), |flag| flag.enable())))?;
    assert!(b.get("ada").is_some_and(DisableWinsFlag::is_enabled));
    Ok(())
}
