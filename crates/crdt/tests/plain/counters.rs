//! Counters.

use super::*;
use crdt::{GCounter, PnCounter};

proptest! {
    #[test]
    fn grow_only_counters_obey_the_laws(s in script(), p in picks()) {
        obeys::<GCounter>(&s, &p, |counter, replica, by, _| {
            counter.increment(replica, by.into()).expect("small counts")
        })?;
    }

    #[test]
    fn counters_up_and_down_obey_the_laws(s in script(), p in picks()) {
        obeys::<PnCounter>(&s, &p, |counter, replica, by, up| match up % 2 {
            0 => counter.increment(replica, by.into()).expect("small counts"),
            _ => counter.decrement(replica, by.into()).expect("small counts"),
        })?;
    }

    /// Every operation counts once, whatever was delivered twice or in which order.
    #[test]
    fn the_value_is_the_sum_of_all_operations(
        ops in prop::collection::vec((0_u64..3, any::<i16>()), 0..30),
    ) {
        let mut replicas = vec![PnCounter::default(); 3];
        for &(at, by) in &ops {
            let (counter, size) = (&mut replicas[at as usize], by.unsigned_abs().into());
            let _delta = match by < 0 {
                true => counter.decrement(ReplicaId(at), size),
                false => counter.increment(ReplicaId(at), size),
            }
            .expect("small counts");
        }
        let around = replicas.iter().chain(replicas.iter().rev());
        let all = around.fold(PnCounter::default(), |all, one| all.joined(one));
        let sum: i128 = ops.iter().map(|&(_, by)| i128::from(by)).sum();
        prop_assert_eq!(all.value(), sum);
    }

    #[test]
    fn arbitrary_bytes_are_harmless(input in prop::collection::vec(0_u8..6, 0..24)) {
        harmless::<GCounter>(&input)?;
        harmless::<PnCounter>(&input)?;
    }
}

#[test]
fn golden_bytes_and_text() {
    let mut counter = PnCounter::default();
    let _delta = counter.increment(ReplicaId(3), 1).expect("small counts");
    let _delta = counter.decrement(ReplicaId(1), 300).expect("small counts");
    assert_eq!(bytes(&counter), [1, 3, 1, 1, 1, 0xac, 2]);
    assert_eq!(
        serde_json::to_string(&counter).expect("values encode"),
        r#"{"increments":[[3,1]],"decrements":[[1,300]]}"#
    );
    assert_eq!(counter.to_string(), "-299 (+1 <3:1>, -300 <1:300>)");
}
