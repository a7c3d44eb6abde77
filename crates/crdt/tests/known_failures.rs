//! Cases on which other libraries fail, each by its name.

/// Replica and version counters.
mod clocks {
    use crdt::{Lattice, MvRegister, PnCounter, ReplicaId, VersionVector};

    /// A counter that keeps the net value of each replica, or joins it by its sign, reads 1.
    #[test]
    fn two_decrements_read_minus_2_then_one_increment_reads_minus_1() {
        let mut replicas = vec![PnCounter::default(); 3];
        for i in [0, 1] {
            let delta = replicas[i].decrement(ReplicaId(i as u64), 1);
            replicas[2].join(&delta.expect("a small count"));
        }
        assert_eq!(replicas[2].value(), -2);
        let delta = replicas[2].increment(ReplicaId(2), 1);
        assert_eq!(replicas[2].value(), -1);
        let both = replicas[0].clone().joined(&replicas[1]);
        assert_eq!(both.joined(&delta.expect("a small count")).value(), -1);
    }
    fn clock(counters: [u64; 3]) -> VersionVector {
        let counters = (0..).zip(counters);
        counters
            .map(|(replica, counter)| (ReplicaId(replica), counter))
            .collect()
    }

    /// System D: one counter of a node counts its writes to all keys, and what a write has seen is only
    /// what its key holds. A node-wide clock in its place would dominate writes that were never seen.
    #[test]
    fn system_d_a_later_write_to_another_key_hides_nothing() {
        let (mut x, mut y) = (MvRegister::default(), MvRegister::default());
        let _delta = y.write_at(clock([0, 2, 0]), "y of node 1");
        // Node 0 writes x, its first update. It has seen no version of x.
        let mut seen = x.clock();
        assert_eq!(seen.increment(ReplicaId(0)).counter, 1);
        assert_eq!(seen, clock([1, 0, 0]));
        let local = x.write_at(seen, "x of node 0");
        // Only now the write of x arrives that node 1 made before that of y.
        let _delta = x.write_at(clock([0, 1, 0]), "x of node 1");
        let both = ["x of node 0", "x of node 1"];
        assert_eq!(x.values().copied().collect::<Vec<_>>(), both);
        // The other way round at node 1: the same two versions.
        let mut other = MvRegister::default();
        let _delta = other.write_at(clock([0, 1, 0]), "x of node 1");
        other.join(&local);
        assert_eq!(other, x);
    }
}

/// Last-writer-wins order.
mod timestamps {
    use crdt::{Lattice, LwwRegister, Timestamp};

    #[test]
    fn equal_timestamps_with_different_values_end_the_same_everywhere() {
        let (mut left, mut right) = (LwwRegister::default(), LwwRegister::default());
        let a = left.write(Timestamp(5), "a");
        let b = right.write(Timestamp(5), "b");
        left.join(&b);
        right.join(&a);
        assert_eq!((left.value(), right.value()), (Some(&"a"), Some(&"a")));
    }

    #[test]
    fn a_local_write_with_an_equal_timestamp_and_a_losing_value_is_never_visible() {
        let mut register = LwwRegister::default();
        let first = register.write(Timestamp(5), "a");
        let second = register.write(Timestamp(5), "b");
        assert_eq!(register.value(), Some(&"a"));
        assert_eq!(second, LwwRegister::default(), "nor does it travel");
        assert_eq!(second.joined(&first), register);
    }
}
