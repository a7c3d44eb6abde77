//! How others find out what one of two sets lacks: a rateless table, and comparing ranges.

use cpu_time::ThreadTime;
use negentropy::{Id, Negentropy, NegentropyStorageVector};
use riblt::{CodedSymbol, RatelessIBLT, Symbol, UnmanagedRatelessIBLT};

use super::nodes::encoded;
use crate::data::element;
use crate::measure::Sample;

/// Size of a hash that stands for a key.
pub const HASH_BYTES: usize = 8;

/// Bytes of an id in negentropy.
const ID_BYTES: usize = 32;

/// The hash of a key, as an element of the sets that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct KeyHash(u64);

impl Symbol for KeyHash {
    const BYTE_ARRAY_LENGTH: usize = HASH_BYTES;

    fn encode_to_bytes(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn decode_from_bytes(bytes: &Vec<u8>) -> Self {
        Self(bytes[..HASH_BYTES].try_into().map_or(0, u64::from_le_bytes))
    }
}

/// A set of hashes as a rateless table, with as many coded symbols as a set needs that lacks some of them.
pub struct Coded {
    elements: Vec<KeyHash>,
    symbols: Vec<CodedSymbol<KeyHash>>,
}

impl Coded {
    pub fn new(n: usize, missing: usize) -> Self {
        let elements: Vec<KeyHash> = (0..n + missing).map(|i| KeyHash(element(i))).collect();
        let mut ahead = RatelessIBLT::new(elements.clone());
        let mut behind = RatelessIBLT::new(elements[..n].to_vec());
        let mut count = missing;
        loop {
            ahead.extend_coded_symbols(count - 1);
            let symbols = ahead.coded_symbols[..count].to_vec();
            let sent = UnmanagedRatelessIBLT {
                coded_symbols: symbols.clone(),
            };
            let mut difference = behind.collapse(&sent);
            let found = difference.peel_all_symbols().len();
            if found == missing && difference.is_empty() {
                return Self { elements, symbols };
            }
            count += missing.div_ceil(20);
        }
    }

    pub fn bytes(&self) -> f64 {
        self.symbols.iter().map(encoded).sum::<usize>() as f64
    }

    pub fn timed_encode(&self, missing: usize) -> Sample {
        let elements = self.elements.clone();
        let start = ThreadTime::now();
        let mut table = RatelessIBLT::new(elements);
        table.extend_coded_symbols(self.symbols.len() - 1);
        let elapsed = start.elapsed();
        assert!(table.coded_symbols.len() >= self.symbols.len());
        Sample {
            nanos: elapsed.as_nanos() as f64 / missing as f64,
            fingerprint: missing as u64,
        }
    }
}

/// What the two sides of negentropy send until the one behind knows which of the other's keys it lacks. Keys are in no
/// order, as hashes are: times of writing, which it takes too, would have put what is missing in one place.
pub fn negentropy_bytes(n: usize, missing: usize) -> usize {
    let sealed = |count: usize| {
        let mut storage = NegentropyStorageVector::with_capacity(count);
        for i in 0..count {
            let id = Id::from_byte_array(id_of(i));
            storage.insert(0, id).expect("a storage that is not sealed");
        }
        storage.seal().expect("a storage that is not sealed");
        storage
    };
    let (behind, ahead) = (sealed(n), sealed(n + missing));
    let mut asking = Negentropy::borrowed(&behind, 0).expect("no limit");
    let mut answering = Negentropy::borrowed(&ahead, 0).expect("no limit");
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut question = Some(asking.initiate().expect("the first question"));
    let mut bytes = 0;
    while let Some(asked) = question {
        let answer = answering.reconcile(&asked).expect("a valid question");
        bytes += asked.len() + answer.len();
        let next = asking.reconcile_with_ids(&answer, &mut have, &mut need);
        question = next.expect("a valid answer");
    }
    assert!(have.is_empty() && need.len() == missing);
    bytes
}

fn id_of(i: usize) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    for (part, bytes) in id.chunks_exact_mut(HASH_BYTES).enumerate() {
        let hash = element(i).rotate_left(16 * part as u32);
        bytes.copy_from_slice(&hash.to_be_bytes());
    }
    id
}
