//! The Redis protocol: which bytes are let in, and how replies go out.
//!
//! Parsing and encoding belong to the `redis-protocol` crate. It recurses on nested arrays and parses
//! a partial frame from its beginning each time more of it arrives, so [`admit`] stands before it and
//! hands over only whole, flat, bounded commands.

pub(crate) mod admit;
pub(crate) mod reply;
