//! The workloads, the same for ours and every peer.

/// Elements of the rows of "Data types".
pub const N: usize = 100_000;
/// Writers of a set or map.
const WRITERS: u64 = 3;

/// A bijection of the numbers that leaves no order (splitmix64).
pub const fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The element with this number: 64 bits without order, no two equal.
pub const fn element(number: usize) -> u64 {
    mix(number as u64)
}

/// What shows whether two collections are equal: the sum of the mixed elements.
pub fn fingerprint(elements: impl Iterator<Item = u64>) -> u64 {
    elements.fold(0, |sum, element| sum.wrapping_add(mix(element)))
}

/// The same for a map.
pub fn fingerprint_pairs(pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
    fingerprint(pairs.map(|(key, value)| mix(key) ^ value))
}

/// An add, by its writer; the counters of a writer are in order of its adds.
pub type Add = (u64, u64);

/// How the two states of a merge differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    Identical,
    OneNewer,
    HalfOverlap,
    Disjoint,
    OtherRemovedHalf,
}

impl Difference {
    pub const ALL: [Self; 5] = [
        Self::Identical,
        Self::OneNewer,
        Self::HalfOverlap,
        Self::Disjoint,
        Self::OtherRemovedHalf,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical state",
            Self::OneNewer => "one newer",
            Self::HalfOverlap => "half overlap",
            Self::Disjoint => "disjoint",
            Self::OtherRemovedHalf => "other removed half",
        }
    }
}

/// Two states: what was added in each, and what the right one removed after that.
#[derive(Debug, Clone)]
pub struct SetPair {
    pub left: Vec<Add>,
    pub right: Vec<Add>,
    pub removed_right: Vec<u64>,
}

/// Adds of elements with the numbers from `first`, by three writers in turn from writer `writer` on.
pub fn adds(first: usize, count: usize, writer: u64) -> Vec<Add> {
    let numbers = first..first + count;
    numbers
        .map(|i| (writer + i as u64 % WRITERS, element(i)))
        .collect()
}

/// Two states of `n` elements.
pub fn set_pair(difference: Difference, n: usize) -> SetPair {
    let (left, mut right) = (adds(0, n, 1), adds(0, n, 1));
    let removed_right = Vec::new();
    let pair = |left, right| SetPair {
        left,
        right,
        removed_right,
    };
    match difference {
        Difference::Identical => pair(left, right),
        Difference::OneNewer => {
            right.push((1, element(n)));
            pair(left, right)
        }
        Difference::HalfOverlap => {
            let half = n / 2;
            let by = |writer| move |i| (writer, element(i));
            let left = adds(0, half, 1).into_iter().chain((half..n).map(by(1)));
            let right = adds(0, half, 1).into_iter().chain((n..n + half).map(by(2)));
            pair(left.collect(), right.collect())
        }
        Difference::Disjoint => pair(left, adds(n, n, 1 + WRITERS)),
        Difference::OtherRemovedHalf => SetPair {
            removed_right: right.iter().step_by(2).map(|add| add.1).collect(),
            left,
            right,
        },
    }
}

/// An entry of a last-writer-wins map.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    pub key: u64,
    pub timestamp: u64,
}

impl Written {
    /// The value follows from the key and the time, so that peers without values can be checked too.
    pub const fn value(self) -> u64 {
        mix(self.key ^ mix(self.timestamp))
    }
}

/// How the two maps of a merge differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LwwDifference {
    Identical,
    OneNewer,
    HalfNewer,
    HalfOverlap,
    Disjoint,
}

impl LwwDifference {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identical => "identical",
            Self::OneNewer => "one newer",
            Self::HalfNewer => "half newer",
            Self::HalfOverlap => "half overlap",
            Self::Disjoint => "disjoint",
        }
    }
}

/// Two maps of `n` entries, in the order of their timestamps.
pub fn lww_pair(difference: LwwDifference, n: usize) -> (Vec<Written>, Vec<Written>) {
    let entry = |i: usize, timestamp: usize| Written {
        key: element(i),
        timestamp: timestamp as u64 + 1,
    };
    let from = |first: usize| (first..first + n).map(|i| entry(i, i)).collect();
    let right = match difference {
        LwwDifference::Identical => from(0),
        LwwDifference::OneNewer => {
            let old = (0..n).map(|i| entry(i, i));
            old.chain([entry(n, n)]).collect()
        }
        LwwDifference::HalfNewer => {
            let old = (0..n).step_by(2).map(|i| entry(i, i));
            let new = (1..n).step_by(2).map(|i| entry(i, n + i));
            old.chain(new).collect()
        }
        LwwDifference::HalfOverlap => from(n / 2),
        LwwDifference::Disjoint => from(n),
    };
    (from(0), right)
}

/// Keys of documents, without order.
pub fn document_keys(first: usize, count: usize) -> Vec<String> {
    let numbers = first..first + count;
    numbers
        .map(|i| format!("key:{:016x}", element(i)))
        .collect()
}
