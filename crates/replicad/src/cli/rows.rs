//! The rows of a file, read one at a time whatever the length of the file or of its lines.

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead};
use std::path::Path;

use super::tsv;

/// How rows are written in a file that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum RowFormat {
    /// Two columns separated by a tab; further columns are ignored. Fields may be quoted as in CSV.
    Tsv,
    /// One JSON object per line with the fields `key` and `value`, or `key_base64` and
    /// `value_base64`.
    Jsonl,
    /// Every line is a key, and its number in the file the value.
    Lines,
}

impl RowFormat {
    /// The format that the ending of a file's name stands for.
    pub(super) fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "tsv" | "tab" => Some(Self::Tsv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "txt" | "lines" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// A row, or what was found in its place.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The number of its first line, from 1.
    pub(super) line: u64,
    /// Bytes of the file up to and with this row.
    pub(super) end: u64,
    /// Its key and value, or why it is bad.
    pub(super) content: Result<(Vec<u8>, Vec<u8>), String>,
}

/// A line without its line end, or `Err` with the number of bytes that were kept of one that is too
/// long.
struct Line {
    number: u64,
    end: u64,
    text: Result<Vec<u8>, usize>,
}

/// Reads rows. Blank lines are passed over and counted as lines.
pub(super) struct Rows<R> {
    input: R,
    format: RowFormat,
    max_line_bytes: usize,
    lines: u64,
    bytes: u64,
    /// Lines that were read ahead for a quoted field that did not end.
    again: VecDeque<Line>,
}

impl<R: BufRead> Rows<R> {
    /// The rows of `input`. A row of more than `max_line_bytes` is bad.
    pub(super) fn new(input: R, format: RowFormat, max_line_bytes: usize) -> Self {
        Self {
            input,
            format,
            max_line_bytes,
            lines: 0,
            bytes: 0,
            again: VecDeque::new(),
        }
    }

    /// The next row; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// If the input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        while let Some(line) = self.line()? {
            let Line { number, end, text } = line;
            let content = match text {
                Err(limit) => Err(format!("the line is over the limit of {limit} bytes")),
                Ok(text) if text.is_empty() || text == b"\r" => continue,
                Ok(text) => match self.format {
                    RowFormat::Lines => Ok((text, number.to_string().into_bytes())),
                    RowFormat::Jsonl => json_row(&text),
                    RowFormat::Tsv => return self.tsv_row(number, end, &text).map(Some),
                },
            };
            return Ok(Some(Row {
                line: number,
                end,
                content,
            }));
        }
        Ok(None)
    }

    /// Parses a row that starts with this line and may go on in the next ones. If a quote is never
    /// closed only the first line is bad, and the others are rows of their own.
    fn tsv_row(&mut self, number: u64, end: u64, first: &[u8]) -> io::Result<Row> {
        let mut parser = tsv::Parser::default();
        let mut parsed = parser.line(first);
        let mut size = first.len();
        let mut taken: VecDeque<Line> = VecDeque::new();
        let reason = loop {
            match parsed {
                tsv::Parsed::Row(key, value) => {
                    let end = taken.back().map_or(end, |line| line.end);
                    return Ok(Row {
                        line: number,
                        end,
                        content: Ok((key, value)),
                    });
                }
                tsv::Parsed::Bad(reason) => break reason,
                tsv::Parsed::Open => {}
            }
            let unclosed = "a field starts with a quote that is not closed";
            let Some(line) = self.line()? else {
                break unclosed.into();
            };
            size += line.text.as_ref().map_or(self.max_line_bytes, Vec::len) + 1;
            if size > self.max_line_bytes {
                taken.push_back(line);
                break format!("{unclosed} within {} bytes", self.max_line_bytes);
            }
            parsed = parser.line(line.text.as_deref().unwrap_or_default());
            taken.push_back(line);
        };
        taken.append(&mut self.again);
        self.again = taken;
        Ok(Row {
            line: number,
            end,
            content: Err(reason),
        })
    }

    /// The next line. A line that is too long is read to its end and not kept. The carriage return of
    /// a TSV line is kept, as it may be part of a quoted field.
    fn line(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut text = Vec::new();
        let mut too_long = false;
        let mut started = false;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            started = true;
            let found = chunk.iter().position(|&byte| byte == b'\n');
            let content = &chunk[..found.unwrap_or(chunk.len())];
            too_long |= text.len() + content.len() > self.max_line_bytes;
            if !too_long {
                text.extend_from_slice(content);
            }
            let used = found.map_or(chunk.len(), |end| end + 1);
            self.input.consume(used);
            self.bytes += used as u64;
            if found.is_some() {
                break;
            }
        }
        if !started {
            return Ok(None);
        }
        self.lines += 1;
        if self.lines == 1 && text.starts_with(BYTE_ORDER_MARK) {
            text.drain(..BYTE_ORDER_MARK.len());
        }
        if self.format != RowFormat::Tsv && text.last() == Some(&b'\r') {
            text.pop();
        }
        let text = if too_long {
            Err(self.max_line_bytes)
        } else {
            Ok(text)
        };
        Ok(Some(Line {
            number: self.lines,
            end: self.bytes,
            text,
        }))
    }
}

/// Some programs start a UTF-8 file with it; it is no part of the first key.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[derive(Deserialize)]
struct JsonRow<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key_base64: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value_base64: Option<Cow<'a, str>>,
}

fn json_row(text: &[u8]) -> Result<(Vec<u8>, Vec<u8>), String> {
    if !text.trim_ascii_start().starts_with(b"{") {
        return Err("this is not a JSON object".into());
    }
    let row: JsonRow<'_> = serde_json::from_slice(text).map_err(|error| {
        // The library counts lines too, but sees only this one.
        let message = error.to_string();
        let message = message
            .rsplit_once(" at line ")
            .map_or(&*message, |(reason, _)| reason);
        format!("{message} at column {}", error.column())
    })?;
    Ok((
        json_field("key", row.key, row.key_base64)?,
        json_field("value", row.value, row.value_base64)?,
    ))
}

fn json_field(
    name: &str,
    text: Option<Cow<'_, str>>,
    base64: Option<Cow<'_, str>>,
) -> Result<Vec<u8>, String> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_owned().into_bytes()),
        (None, Some(encoded)) => STANDARD
            .decode(encoded.as_bytes())
            .map_err(|error| format!("field `{name}_base64` is not base64: {error}")),
        (None, None) => Err(format!("there is no field `{name}` (or `{name}_base64`)")),
        (Some(_), Some(_)) => Err(format!("there are both `{name}` and `{name}_base64`")),
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
