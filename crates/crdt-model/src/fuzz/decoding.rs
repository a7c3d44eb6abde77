//! Decoding that may take no more memory than its input justifies.

use serde::de::DeserializeOwned;

/// Bytes of heap that may be held at once for each byte of input: nested objects take a few bytes each, and some
/// hundred in memory. Of the corpora none takes more than 300 beyond what is allowed always.
const HEAP_PER_BYTE: u64 = 1_000;
/// Bytes of heap that may be held whatever the input: the first chunk of a map, with room for several entries.
const HEAP_ALWAYS: u64 = 16 << 10;

/// What `decode` makes of `bytes`.
///
/// # Panics
/// If more heap was held at once than so many bytes justify. (Nobody touches what is only reserved: the
/// system gives even what a hostile length asks for, and the count is looked at afterwards.)
pub(super) fn bounded<'a, T>(bytes: &'a [u8], decode: impl FnOnce(&'a [u8]) -> T) -> T {
    let mut decoded = None;
    let heap = allocation_counter::measure(|| decoded = Some(decode(bytes)));
    let limit = HEAP_ALWAYS + HEAP_PER_BYTE * bytes.len() as u64;
    assert!(
        heap.bytes_max <= limit,
        "decoding {} bytes took {} bytes of heap, more than {limit}",
        bytes.len(),
        heap.bytes_max
    );
    decoded.expect("it was decoded")
}

/// The value that the bytes start with, and the bytes behind it; none if they start with no such value.
///
/// # Panics
/// As [`bounded`].
pub(super) fn take<T: DeserializeOwned>(bytes: &[u8]) -> Option<(T, &[u8])> {
    bounded(bytes, |bytes| postcard::take_from_bytes(bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes ten bytes and reserves so much.
    fn reserve(bytes: u64) {
        let capacity = usize::try_from(bytes).expect("a size");
        let reserved = bounded(&[0; 10], |_| Vec::<u8>::with_capacity(capacity));
        assert!(reserved.is_empty());
    }

    #[test]
    fn as_much_as_the_input_justifies_may_be_reserved() {
        reserve(HEAP_ALWAYS + 10 * HEAP_PER_BYTE);
    }

    #[test]
    #[should_panic(expected = "decoding 10 bytes took")]
    fn what_an_announced_length_asks_for_is_found_out() {
        reserve(HEAP_ALWAYS + 10 * HEAP_PER_BYTE + 1);
    }
}
