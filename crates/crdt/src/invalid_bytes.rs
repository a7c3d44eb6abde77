//! Why bytes were refused.

/// Decoded data that no replica can have produced. The sender, or the medium, is at fault; nothing
/// was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBytes {
    /// A list that must be strictly ascending is not.
    #[error("{0}: not in strictly ascending order")]
    Unsorted(&'static str),
    /// A counter of zero: counters start at 1.
    #[error("a counter of zero names no event")]
    ZeroCounter,
    /// Counters beyond `u64::MAX`.
    #[error("a counter is too large")]
    CounterOverflow,
    /// A part that must hold something is empty.
    #[error("{0}: empty")]
    Empty(&'static str),
    /// A cell holds a dot that its sender's knowledge does not.
    #[error("a live dot lies outside the knowledge it came with")]
    LiveDotUnknown,
    /// A covered dot lies outside the knowledge that the listing claims.
    #[error("a covered dot lies outside the knowledge it came with")]
    CoveredDotUnknown,
    /// The log of a replica names a dot that lies outside its knowledge.
    #[error("the log names a dot that lies outside the knowledge")]
    LoggedDotUnknown,
    /// The same dot is live in two places.
    #[error("the same dot is live twice")]
    DotTwice,
    /// A last-writer-wins cell with more than one entry.
    #[error("a last-writer-wins cell holds more than one entry")]
    Unresolved,
    /// A cell lies outside the interval that lists it.
    #[error("a listed key lies outside its interval")]
    KeyOutside,
    /// An interval that ends before it starts.
    #[error("an interval is empty or reversed")]
    EmptyInterval,
    /// A listing without knowledge whose cell cannot stand for itself.
    #[error("a listing names no knowledge, and its cell does not prove itself")]
    Unproven,
    /// A part that another part of the same state replaces.
    #[error("{0}: obsolete where it stands")]
    Obsolete(&'static str),
    /// Something that can be there once is there twice.
    #[error("{0}: twice")]
    Twice(&'static str),
    /// News without a growth of knowledge.
    #[error("events are new, but knowledge has not grown")]
    NoGrowth,
    /// Events that are left of a writer that is not among the closed ones.
    #[error("something is left of a writer that is not closed")]
    NotClosed,
    /// Exceptions that the base already covers, or that are not in normal form.
    #[error("exceptions are not in normal form")]
    Exceptions,
}
