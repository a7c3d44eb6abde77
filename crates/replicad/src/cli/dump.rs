//! `replicad dump`: writes the strings that one node lists, in a form that `replicad load` reads. Counters and
//! sets have no such form and are left out.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::Args;
use serde::Serialize;
use std::io::{self, BufWriter, Write};

use super::{CliError, Format, Target, tsv};
use crate::client::{Client, Value};
use crate::logs::shown;

/// Keys asked for at a time.
const PAGE_KEYS: &[u8] = b"256";

#[derive(Debug, Args)]
pub(super) struct DumpOptions {
    /// How the rows are written.
    #[arg(long, value_enum, default_value = "tsv")]
    format: Format,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn dump(options: &DumpOptions) -> Result<(), CliError> {
    let client = options.target.connect().await?;
    let output = BufWriter::new(io::stdout().lock());
    match dump_rows(client, options.format, output).await {
        // The program at the other end of the pipe has seen enough.
        Err(CliError::File { cause, .. }) if cause.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes every string that the node lists with the value that a quorum has. A key that is deleted on
/// the way is left out, and so is a counter, which SCAN lists as a string: loaded again it would be none.
/// Holds one page of keys and one value at a time.
pub(super) async fn dump_rows(
    mut client: Client,
    format: Format,
    output: impl Write,
) -> Result<(), CliError> {
    let mut rows = RowWriter::new(format, output);
    let mut cursor = Bytes::from_static(b"0");
    loop {
        let page = client
            .call(&[b"SCAN", &cursor, b"COUNT", PAGE_KEYS, b"TYPE", b"string"])
            .await?;
        let Some((next, keys)) = scan_page(&page) else {
            return Err(page.unexpected("SCAN").into());
        };
        for key in &keys {
            client.queue(&[b"R.GET", key]);
        }
        for key in &keys {
            let reply = client.receive().await?.accepted()?;
            match values(&reply).ok_or_else(|| reply.unexpected("R.GET"))? {
                [] => {}
                [Value::Bytes(value)] => rows.write(key, value).map_err(cannot_write)?,
                several => return Err(undecided(key, several.len())),
            }
        }
        if &next[..] == b"0" {
            return rows.finish().map_err(cannot_write);
        }
        cursor = next;
    }
}

/// The values in a reply to R.GET.
fn values(reply: &Value) -> Option<&[Value]> {
    let Value::Array(fields) = reply else {
        return None;
    };
    let mut pairs = fields.chunks_exact(2);
    let named = |pair: &&[Value]| matches!(&pair[0], Value::Bytes(name) if name == "values");
    match &pairs.find(named)?[1] {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

fn undecided(key: &[u8], values: usize) -> CliError {
    CliError::Other(format!(
        "the key '{}' holds {values} concurrent values, and a row has one: decide with R.GET and R.SET, then \
         dump again",
        shown(key)
    ))
}

fn cannot_write(cause: io::Error) -> CliError {
    CliError::File {
        action: "write to",
        path: "standard output".into(),
        cause,
    }
}

/// The cursor and keys of a reply to SCAN.
fn scan_page(reply: &Value) -> Option<(Bytes, Vec<Bytes>)> {
    let Value::Array(parts) = reply else {
        return None;
    };
    let [Value::Bytes(cursor), Value::Array(keys)] = &parts[..] else {
        return None;
    };
    let keys = keys.iter().map(|key| match key {
        Value::Bytes(key) => Some(key.clone()),
        _ => None,
    });
    Some((cursor.clone(), keys.collect::<Option<_>>()?))
}

enum RowWriter<W: Write> {
    Tsv(Box<csv::Writer<W>>),
    Jsonl(W),
}

impl<W: Write> RowWriter<W> {
    fn new(format: Format, output: W) -> Self {
        match format {
            Format::Tsv => Self::Tsv(Box::new(tsv::writer(output))),
            Format::Jsonl => Self::Jsonl(output),
        }
    }

    fn write(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        match self {
            Self::Tsv(writer) => {
                let written = writer.write_record([tsv::encode(key), tsv::encode(value)]);
                written.map_err(|error| match error.into_kind() {
                    csv::ErrorKind::Io(cause) => cause,
                    other => io::Error::other(format!("{other:?}")),
                })
            }
            Self::Jsonl(output) => {
                serde_json::to_writer(&mut *output, &JsonRow::new(key, value))?;
                output.write_all(b"\n")
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Tsv(mut writer) => writer.flush(),
            Self::Jsonl(mut output) => output.flush(),
        }
    }
}

#[derive(Default, Serialize)]
struct JsonRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
}

impl<'a> JsonRow<'a> {
    fn new(key: &'a [u8], value: &'a [u8]) -> Self {
        let (key, key_base64) = text_or_base64(key);
        let (value, value_base64) = text_or_base64(value);
        Self {
            key,
            key_base64,
            value,
            value_base64,
        }
    }
}

fn text_or_base64(bytes: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}
