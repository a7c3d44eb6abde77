//! The plain lattices: small states to build larger ones from.

mod extremes;
mod lexicographic;
mod map_of;
mod option;
mod pair;
mod set_union;

pub use extremes::{Max, Min};
pub use lexicographic::LexicographicPair;
pub use map_of::MapOf;
pub use pair::Pair;
pub use set_union::SetUnion;
