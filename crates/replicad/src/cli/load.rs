//! `replicad load`: writes the rows of a file, many at a time.

use clap::Args;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use tokio::sync::mpsc;

use super::rows::{Row, RowFormat, Rows};
use super::{CliError, Target};
use crate::client::{Client, Value};

/// Rows that are sent and not answered. Enough to fill the nodes' group commits.
const WINDOW_ROWS: usize = 512;
/// Bytes that are queued and not sent.
const WINDOW_BYTES: usize = 8 * 1024 * 1024;
/// Rows read ahead of those that are sent. Each may be as long as the longest line.
const ROWS_AHEAD: usize = 64;
/// Rows that were not loaded and are named; the others are counted.
const REPORTS: u64 = 20;
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug, Args)]
pub(super) struct LoadOptions {
    /// The file, or - for standard input.
    file: PathBuf,
    /// How the rows are written; by the ending of the file's name if not given.
    #[arg(long, value_enum)]
    format: Option<RowFormat>,
    /// Longest row accepted, in bytes as written in the file.
    #[arg(long, default_value_t = 16 * 1024 * 1024)]
    max_line_bytes: usize,
    #[command(flatten)]
    target: Target,
}

/// What became of the rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    /// Rows that were acknowledged.
    pub(super) loaded: u64,
    /// Rows that could not be read.
    pub(super) bad: u64,
    /// Rows that the cluster refused.
    pub(super) refused: u64,
    /// Bytes of the keys and values that were acknowledged.
    pub(super) bytes: u64,
}

#[expect(
    clippy::print_stdout,
    reason = "the summary is the output of the subcommand"
)]
pub(super) async fn load(options: &LoadOptions) -> Result<ExitCode, CliError> {
    let (input, length) = open(&options.file)?;
    let Some(format) = options.format.or_else(|| RowFormat::of_path(&options.file)) else {
        return Err(CliError::Other(format!(
            "cannot tell the format of {} from its name; say --format tsv, jsonl or lines",
            options.file.display()
        )));
    };
    let client = options.target.connect().await?;
    let rows = Rows::new(input, format, options.max_line_bytes);
    let report = Report::new(&options.file, length);
    let started = Instant::now();
    let (summary, outcome) = load_rows(client, rows, report).await;
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", summary.line(seconds));
    outcome?;
    let complete = summary.bad == 0 && summary.refused == 0;
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The input, and its length if it is known.
fn open(path: &Path) -> Result<(Box<dyn BufRead + Send>, Option<u64>), CliError> {
    if path.as_os_str() == "-" {
        return Ok((
            Box::new(BufReader::with_capacity(READ_BYTES, io::stdin())),
            None,
        ));
    }
    let error = |cause| CliError::File {
        action: "read",
        path: path.display().to_string(),
        cause,
    };
    let file = File::open(path).map_err(error)?;
    let metadata = file.metadata().map_err(error)?;
    let length = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(BufReader::with_capacity(READ_BYTES, file)), length))
}

/// Writes every row and returns what became of them, also if the connection or the file broke on the
/// way.
pub(super) async fn load_rows(
    client: Client,
    rows: Rows<impl BufRead + Send + 'static>,
    report: Report,
) -> (Summary, Result<(), CliError>) {
    let path = report.path.clone();
    let (sender, receiver) = mpsc::channel(ROWS_AHEAD);
    let mut loading = Loading {
        client,
        report,
        summary: Summary::default(),
        in_flight: VecDeque::new(),
    };
    // A file, or a program at the other end of a pipe, may be slow; replies are received meanwhile.
    let reader = tokio::task::spawn_blocking(move || read_rows(rows, &sender));
    let mut result = loading.run(receiver).await;
    if result.is_ok() {
        result = match reader.await {
            Ok(read) => read.map_err(|cause| CliError::File {
                action: "read",
                path,
                cause,
            }),
            Err(error) => Err(CliError::Other(error.to_string())),
        };
    }
    loading.report.finish();
    (loading.summary, result)
}

fn read_rows(mut rows: Rows<impl BufRead>, sender: &mpsc::Sender<Row>) -> io::Result<()> {
    while let Some(row) = rows.next()? {
        if sender.blocking_send(row).is_err() {
            break;
        }
    }
    Ok(())
}

struct Loading {
    client: Client,
    report: Report,
    summary: Summary,
    /// Line and size of the rows that are sent and not answered.
    in_flight: VecDeque<(u64, u64)>,
}

impl Loading {
    async fn run(&mut self, mut rows: mpsc::Receiver<Row>) -> Result<(), CliError> {
        let mut more = true;
        while more || !self.in_flight.is_empty() {
            let room =
                self.in_flight.len() < WINDOW_ROWS && self.client.unsent_bytes() < WINDOW_BYTES;
            tokio::select! {
                biased;
                row = rows.recv(), if more && room => match row {
                    Some(row) => self.send(row),
                    None => more = false,
                },
                reply = self.client.receive(), if !self.in_flight.is_empty() => self.answer(reply?),
            }
        }
        Ok(())
    }

    fn send(&mut self, row: Row) {
        self.report.advance(row.end);
        match row.content {
            Ok((key, value)) => {
                self.client.queue(&[b"SET", &key, &value]);
                self.in_flight
                    .push_back((row.line, (key.len() + value.len()) as u64));
            }
            Err(reason) => {
                self.summary.bad += 1;
                self.report.row(row.line, reason);
            }
        }
    }

    fn answer(&mut self, reply: Value) {
        let Some((line, size)) = self.in_flight.pop_front() else {
            return;
        };
        match reply {
            Value::Error(message) => {
                self.summary.refused += 1;
                self.report.row(line, format_args!("refused: {message}"));
            }
            _ => {
                self.summary.loaded += 1;
                self.summary.bytes += size;
            }
        }
    }
}

impl Summary {
    fn line(&self, seconds: f64) -> String {
        let Self {
            loaded,
            bad,
            refused,
            bytes,
        } = self;
        let rate = if seconds > 0.0 {
            *loaded as f64 / seconds
        } else {
            0.0
        };
        format!(
            "{loaded} rows loaded, {bad} bad, {refused} refused; {bytes} bytes in {seconds:.2} s \
             ({rate:.0} rows/s)"
        )
    }
}

/// Tells the user how it goes, on standard error: a progress bar if that is a terminal, and the rows
/// that were not loaded.
pub(super) struct Report {
    path: String,
    bar: ProgressBar,
    rows: u64,
}

impl Report {
    fn new(path: &Path, length: Option<u64>) -> Self {
        let bar = match length {
            _ if !io::stderr().is_terminal() => ProgressBar::hidden(),
            Some(length) => ProgressBar::new(length).with_style(
                ProgressStyle::with_template("{wide_bar} {bytes} of {total_bytes}, {eta} left")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            ),
            None => ProgressBar::new_spinner(),
        };
        Self {
            path: path.display().to_string(),
            bar,
            rows: 0,
        }
    }

    fn advance(&self, bytes: u64) {
        self.bar.set_position(bytes);
        if self.bar.length().is_none() {
            self.bar.set_message(HumanBytes(bytes).to_string());
        }
    }

    #[expect(clippy::print_stderr, reason = "bad rows are reported to the user")]
    fn row(&mut self, line: u64, reason: impl Display) {
        self.rows += 1;
        if self.rows <= REPORTS {
            let path = &self.path;
            self.bar.suspend(|| eprintln!("{path}:{line}: {reason}"));
        }
    }

    #[expect(clippy::print_stderr, reason = "bad rows are reported to the user")]
    fn finish(&self) {
        self.bar.finish_and_clear();
        if self.rows > REPORTS {
            eprintln!(
                "{}: {} more rows were not loaded",
                self.path,
                self.rows - REPORTS
            );
        }
    }

    /// A report that goes nowhere but for its counts.
    #[cfg(test)]
    pub(super) fn hidden() -> Self {
        Self {
            path: "test".into(),
            bar: ProgressBar::hidden(),
            rows: 0,
        }
    }
}
