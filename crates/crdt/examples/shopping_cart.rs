//! A shopping cart on two devices: quantities that add up, and removals that take away only what they
//! have seen. Run with `cargo run -p crdt --example shopping_cart`.

use crdt::{
    CausalReplica, IdentityReused, Lattice as _, ObjectId, OrMap, ReplicaId, ResettableCounter,
};

/// Product name to quantity.
type Cart = OrMap<String, ResettableCounter>;

fn put(cart: &mut CausalReplica<Cart>, product: &str, quantity: i64) -> crdt::Causal<Cart> {
    cart.change(|cart| cart.update(product.to_string(), |count| count.add(quantity)))
}

fn quantity(cart: &CausalReplica<Cart>, product: &str) -> i128 {
    cart.get(product).map_or(0, ResettableCounter::value)
}

fn main() -> Result<(), IdentityReused> {
    let object = ObjectId(1);
    let mut phone = CausalReplica::<Cart>::new(object, ReplicaId(1));
    let mut laptop = CausalReplica::<Cart>::new(object, ReplicaId(2));

    // Both know of two bottles of milk and one bread.
    laptop.join(&put(&mut phone, "milk", 2))?;
    laptop.join(&put(&mut phone, "bread", 1))?;

    // Without a connection: the phone takes the milk out, the laptop asks for one bottle more.
    let out = phone.change(|cart| cart.remove("milk"));
    let more = put(&mut laptop, "milk", 1);
    assert_eq!(
        (quantity(&phone, "milk"), quantity(&laptop, "milk")),
        (0, 3)
    );

    // The laptop also makes up its mind about the bread: it replaces the quantity by three.
    let three = laptop.change(|cart| {
        cart.update("bread".to_string(), |count| {
            count.reset();
            count.add(3);
        });
    });

    // Deltas arrive in any order, and twice.
    for delta in [&three, &more, &three] {
        phone.join(delta)?;
    }
    laptop.join(&out)?;

    // The removal had seen two bottles; the third is a wish that it had not seen.
    assert_eq!(quantity(&phone, "milk"), 1);
    assert_eq!(quantity(&phone, "bread"), 3);
    assert_eq!(phone.state(), laptop.state());

    // A tablet that starts from nothing asks for what it lacks, by showing what it has.
    let mut tablet = CausalReplica::<Cart>::new(object, ReplicaId(3));
    let missing = phone.state().delta_since(&tablet.state().digest());
    assert!(tablet.join(&missing)?, "the tablet has grown");
    assert_eq!(tablet.state(), phone.state());
    assert_eq!(
        phone.state().delta_since(&tablet.state().digest()),
        crdt::Causal::default(),
        "nothing is missing any more"
    );
    assert!(!tablet.state().clone().joined(phone.state()).is_empty());
    Ok(())
}
