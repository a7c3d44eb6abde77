//! Rows of two columns separated by a tab.
//!
//! A field that starts with a quote is quoted as in CSV: it may hold tabs, line ends and doubled
//! quotes, and ends at a quote that is followed by a tab or the end of the line. Any other quote is an
//! ordinary character. A row whose quotes could be read in two ways is bad instead of guessed at,
//! which is why the reading is not left to the `csv` crate; it does the writing.
//!
//! `base64:` before a field says that its bytes follow in base64. It is written where a field is not
//! UTF-8, itself starts with that word, or starts with a byte order mark, which would be lost at the
//! start of a file.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::borrow::Cow;
use std::io;

const MARKER: &str = "base64:";

/// A key and its value.
type Pair = (Vec<u8>, Vec<u8>);

/// What a line, with those before it, turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    /// The end of a row: its key and value.
    Row(Vec<u8>, Vec<u8>),
    /// A quoted field goes on in the next line.
    Open,
    /// Not a row, and why.
    Bad(String),
}

/// Parses one row, line by line. Each line is looked at once.
#[derive(Debug, Default)]
pub(super) struct Parser {
    key: Option<Vec<u8>>,
    /// What there is so far of a quoted field that goes on in the next line.
    open: Option<Vec<u8>>,
}

impl Parser {
    /// Takes the next line of the row, without its line feed. Only after [`Parsed::Open`] there is
    /// another.
    pub(super) fn line(&mut self, line: &[u8]) -> Parsed {
        match self.fields(line) {
            Ok(Some((key, value))) => Parsed::Row(key, value),
            Ok(None) => Parsed::Open,
            Err(reason) => Parsed::Bad(reason),
        }
    }

    fn fields(&mut self, line: &[u8]) -> Result<Option<Pair>, String> {
        let mut rest = line;
        loop {
            let what = if self.key.is_none() { "key" } else { "value" };
            let field = match (self.open.take(), rest.strip_prefix(b"\"")) {
                (Some(mut content), _) => {
                    content.push(b'\n');
                    quoted(content, rest, what)?
                }
                (None, Some(text)) => quoted(Vec::new(), text, what)?,
                (None, None) => plain(rest),
            };
            match (field, self.key.take()) {
                (Field::Open(content), key) => {
                    self.key = key;
                    self.open = Some(content);
                    return Ok(None);
                }
                (Field::Ended(value, _), Some(key)) => {
                    return Ok(Some((decode(key, "key")?, decode(value, "value")?)));
                }
                (Field::Ended(key, Some(after)), None) => {
                    self.key = Some(key);
                    rest = after;
                }
                (Field::Ended(_, None), None) => {
                    return Err("there is no tab, so there is no value".into());
                }
            }
        }
    }
}

enum Field<'a> {
    /// Its content, and what follows its tab; `None` at the end of the line.
    Ended(Vec<u8>, Option<&'a [u8]>),
    /// Its content so far.
    Open(Vec<u8>),
}

/// A field that does not start with a quote.
fn plain(text: &[u8]) -> Field<'_> {
    match text.iter().position(|&byte| byte == b'\t') {
        Some(end) => Field::Ended(text[..end].to_vec(), Some(&text[end + 1..])),
        None => Field::Ended(text.strip_suffix(b"\r").unwrap_or(text).to_vec(), None),
    }
}

/// The rest of a quoted field that holds `content` so far.
fn quoted<'a>(mut content: Vec<u8>, mut text: &'a [u8], what: &str) -> Result<Field<'a>, String> {
    loop {
        let Some(quote) = text.iter().position(|&byte| byte == b'"') else {
            content.extend_from_slice(text);
            return Ok(Field::Open(content));
        };
        content.extend_from_slice(&text[..quote]);
        match &text[quote + 1..] {
            [] | [b'\r'] => return Ok(Field::Ended(content, None)),
            [b'\t', rest @ ..] => return Ok(Field::Ended(content, Some(rest))),
            [b'"', rest @ ..] => {
                content.push(b'"');
                text = rest;
            }
            _ => {
                return Err(format!(
                    "the {what} starts with a quote that ends inside it"
                ));
            }
        }
    }
}

fn decode(field: Vec<u8>, what: &str) -> Result<Vec<u8>, String> {
    match field.strip_prefix(MARKER.as_bytes()) {
        None => Ok(field),
        Some(encoded) => STANDARD
            .decode(encoded)
            .map_err(|error| format!("the {what} is marked as base64 and is not: {error}")),
    }
}

/// Writes rows that [`Parser`] reads back.
pub(super) fn writer<W: io::Write>(output: W) -> csv::Writer<W> {
    csv::WriterBuilder::new()
        .delimiter(b'\t')
        .has_headers(false)
        .from_writer(output)
}

/// How a field is written.
pub(super) fn encode(field: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(field) {
        Ok(text) if !text.starts_with(MARKER) && !text.starts_with('\u{feff}') => {
            Cow::Borrowed(field)
        }
        _ => Cow::Owned(format!("{MARKER}{}", STANDARD.encode(field)).into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(row: &[u8]) -> Parsed {
        let mut parser = Parser::default();
        let mut parsed = Parsed::Open;
        for line in row.split(|&byte| byte == b'\n') {
            assert_eq!(parsed, Parsed::Open, "a row ends with its last line");
            parsed = parser.line(line);
        }
        parsed
    }

    fn row(key: &str, value: &str) -> Parsed {
        Parsed::Row(key.into(), value.into())
    }

    #[test]
    fn the_first_two_columns_are_the_row() {
        assert_eq!(parse(b"a\tb"), row("a", "b"));
        assert_eq!(parse(b"a\tb\tc\t\"d"), row("a", "b"));
        assert_eq!(parse(b"a\t"), row("a", ""));
        assert_eq!(parse(b"\tb"), row("", "b"));
    }

    #[test]
    fn quotes_inside_a_field_are_characters() {
        assert_eq!(
            parse(b"5\" disk\tsaid \"no\""),
            row("5\" disk", "said \"no\"")
        );
    }

    #[test]
    fn quoted_fields_hold_tabs_quotes_and_line_ends() {
        assert_eq!(parse(b"\"a\tb\"\t\"c\"\"d\""), row("a\tb", "c\"d"));
        assert_eq!(parse(b"\"a\r\nb\"\tc\r"), row("a\r\nb", "c"));
        assert_eq!(parse(b"\"\n\n\"\t\"\"\"\n\"\"\"\r"), row("\n\n", "\"\n\""));
        assert_eq!(parse(b"\"\"\t\"\"\tmore"), row("", ""));
    }

    #[test]
    fn ambiguous_rows_are_bad() {
        assert_eq!(parse(b"a\t\"b"), Parsed::Open);
        assert_eq!(
            parse(b"a\t\"b\"c"),
            Parsed::Bad("the value starts with a quote that ends inside it".into())
        );
        assert_eq!(
            parse(b"a"),
            Parsed::Bad("there is no tab, so there is no value".into())
        );
    }

    #[test]
    fn marked_fields_are_decoded() {
        assert_eq!(
            parse(b"base64:AAE=\tb"),
            Parsed::Row(vec![0, 1], b"b".to_vec())
        );
        assert!(matches!(parse(b"base64:!\tb"), Parsed::Bad(_)));
        assert_eq!(encode(b"base64"), Cow::Borrowed(b"base64"));
        assert_eq!(encode(b"base64:"), Cow::Borrowed(b"base64:YmFzZTY0Og=="));
    }
}
