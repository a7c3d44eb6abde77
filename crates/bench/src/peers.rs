//! Ours, the peers and the floors, each with the same few verbs, so that the rows read alike.

pub mod crdts;
pub mod floors;
pub mod lww;
pub mod ours;
