//! What the tests that cross the crates share.

pub mod scenario;
pub mod scenarios;
pub mod siblings;

/// The examples of the README, compiled and run as documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
