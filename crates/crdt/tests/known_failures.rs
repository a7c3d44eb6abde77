//! Cases on which other libraries fail, each by its name.

/// Replica and version counters.
mod clocks {
    use crdt::{Lattice, PnCounter, ReplicaId};

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
}
