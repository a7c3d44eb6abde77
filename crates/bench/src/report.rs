//! Which rows run, with how much effort, and what becomes of them.

use serde_json::json;
use std::time::Duration;

use crate::measure::{Contest, Effort};
use crate::row::Row;

/// What was asked for on the command line.
#[derive(Debug, Clone)]
pub struct Options {
    pub quick: bool,
    pub json: bool,
    /// Part of the name of the rows to run.
    pub only: Option<String>,
}

/// Prints each row when it is there, and the sum at the end.
#[derive(Debug)]
pub struct Report {
    pub options: Options,
    rows: usize,
    targets: usize,
    met: usize,
}

impl Report {
    pub fn new(options: Options) -> Self {
        Self {
            options,
            rows: 0,
            targets: 0,
            met: 0,
        }
    }

    /// Whether a row is to run.
    pub fn wants(&self, name: &str) -> bool {
        self.options
            .only
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    }

    /// The contest of a row.
    pub fn contest<'a>(&self, row: Row) -> Contest<'a> {
        let effort = if self.options.quick {
            Effort {
                repetitions: 7,
                least: 0,
                enough: Duration::from_millis(200),
            }
        } else {
            Effort {
                repetitions: 21,
                least: 3,
                enough: Duration::from_secs(3),
            }
        };
        Contest::new(row, effort)
    }

    pub fn add(&mut self, row: &Row) {
        self.rows += 1;
        self.targets += usize::from(row.met().is_some());
        self.met += usize::from(row.met() == Some(true));
        if self.options.json {
            println!("{}", row.json());
        } else {
            println!("{}", row.text());
        }
    }

    pub fn finish(&self) {
        if self.options.json {
            println!(
                "{}",
                json!({ "rows": self.rows, "targets": self.targets, "met": self.met })
            );
        } else {
            println!(
                "\n{} rows, {} with a target, {} met",
                self.rows, self.targets, self.met
            );
        }
    }
}
