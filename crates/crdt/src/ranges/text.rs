//! Ranges as people read them: `"1-17"`, and a lone counter as its number.

use core::fmt;

use serde::de::{Error as _, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Range, Ranges};
use crate::InvalidBytes;

impl Serialize for Range {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.first == self.last {
            true => serializer.serialize_u64(self.first),
            false => serializer.collect_str(&format_args!("{}-{}", self.first, self.last)),
        }
    }
}

/// One range in a format that people read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Readable {
    /// Counters `first..=last`, whatever they are.
    Counters { first: u64, last: u64 },
    /// As in compact formats: what was written before ranges were made readable.
    GapAndLength(u64, u64),
}

impl Ranges {
    /// Takes ranges as they were read.
    pub(crate) fn from_readable(list: &[Readable]) -> Result<Self, InvalidBytes> {
        let mut ranges = Self::default();
        for readable in list {
            match *readable {
                Readable::GapAndLength(gap, length) => ranges.push_coded(gap, length)?,
                Readable::Counters { first: 0, .. } => return Err(InvalidBytes::ZeroCounter),
                Readable::Counters { first, last } if last < first => {
                    return Err(InvalidBytes::Empty("a range of counters"));
                }
                Readable::Counters { first, .. }
                    if !ranges.is_empty() && first <= ranges.last().saturating_add(1) =>
                {
                    return Err(InvalidBytes::Unsorted("ranges that overlap or touch"));
                }
                Readable::Counters { first, last } => ranges.0.push(Range { first, last }),
            }
        }
        Ok(ranges)
    }
}

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadableVisitor)
    }
}

struct ReadableVisitor;

impl<'de> Visitor<'de> for ReadableVisitor {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a counter such as 4, or a range of counters such as \"1-17\"")
    }

    fn visit_u64<E: serde::de::Error>(self, counter: u64) -> Result<Readable, E> {
        let (first, last) = (counter, counter);
        Ok(Readable::Counters { first, last })
    }

    fn visit_i64<E: serde::de::Error>(self, counter: i64) -> Result<Readable, E> {
        let unsigned = u64::try_from(counter);
        let unsigned = unsigned.map_err(|_| E::invalid_value(Unexpected::Signed(counter), &self));
        self.visit_u64(unsigned?)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Readable, E> {
        let ends = text.split_once('-').and_then(|(first, last)| {
            let first = first.parse().ok()?;
            Some((first, last.parse().ok()?))
        });
        let invalid = || E::invalid_value(Unexpected::Str(text), &self);
        let (first, last) = ends.ok_or_else(invalid)?;
        Ok(Readable::Counters { first, last })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Readable, A::Error> {
        let gap = pair.next_element()?;
        let length = pair.next_element()?;
        match (gap, length) {
            (Some(gap), Some(length)) => Ok(Readable::GapAndLength(gap, length)),
            _ => Err(A::Error::invalid_length(1, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Ranges, String> {
        let list: Vec<Readable> = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Ranges::from_readable(&list).map_err(|e| e.to_string())
    }

    fn ranges(list: &[(u64, u64)]) -> Ranges {
        let mut ranges = Ranges::default();
        for &(first, last) in list {
            ranges.insert(Range::new(first, last));
        }
        ranges
    }

    #[test]
    fn ranges_are_written_as_they_are_spoken_of() {
        let all = ranges(&[(1, 3), (5, 5), (9, u64::MAX)]);
        let json = serde_json::to_string(all.as_slice()).expect("ranges encode");
        assert_eq!(json, r#"["1-3",5,"9-18446744073709551615"]"#);
        assert_eq!(read(&json), Ok(all));
        assert_eq!(read("[]"), Ok(Ranges::default()));
    }

    #[test]
    fn pairs_of_gap_and_length_are_still_read() {
        assert_eq!(read("[[0,2],[1,0]]"), Ok(ranges(&[(1, 3), (5, 5)])));
        assert_eq!(read(r#"["1-3",[1,0]]"#), Ok(ranges(&[(1, 3), (5, 5)])));
    }

    #[test]
    fn what_is_no_sorted_list_of_ranges_is_refused() {
        for (json, why) in [
            ("[0]", "zero"),
            (r#"["0-3"]"#, "zero"),
            (r#"["3-2"]"#, "empty"),
            ("[5,4]", "touch"),
            ("[4,5]", "touch"),
            (r#"["1-3","2-4"]"#, "touch"),
            (r#"["1-3","4-5"]"#, "touch"),
            (r#"["1-18446744073709551615",1]"#, "touch"),
            (r#"["1-18446744073709551616"]"#, "such as"),
            (r#"["1"]"#, "such as"),
            (r#"["-1-3"]"#, "such as"),
            (r#"["1-3-5"]"#, "such as"),
            ("[-1]", "such as"),
            ("[1.5]", "such as"),
            ("[null]", "such as"),
            ("[[1]]", "such as"),
            ("[[0,1,2]]", "trailing"),
            ("[[18446744073709551615,0]]", "too large"),
            ("[[0,2],[0,2]]", "touch"),
        ] {
            let error = read(json).expect_err(json);
            assert!(error.contains(why), "{json} is refused for: {error}");
        }
    }
}
