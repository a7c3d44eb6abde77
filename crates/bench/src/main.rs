//! Ours beside the crates of others: `cargo bench-peers types|store|server [--quick] [--json] [--only <part of a name>]`.

mod alloc;
mod data;
mod measure;
mod peers;
mod report;
mod row;
mod rows;
mod server;
mod store;

use pico_args::Arguments;
use std::process::ExitCode;

use crate::report::{Options, Report};

const USAGE: &str = "\
Runs the data types or the store beside the crates of others, in this process; or our server beside others.

usage: cargo bench-peers types|store|server [--quick] [--json] [--only <part of a row's name>]

  --quick   fewer repetitions, nothing of 1,000,000 elements; done in a minute or two
  --json    one object per row, and a last one with the number of rows
  --only    the rows whose name has this part
";

fn main() -> ExitCode {
    match run(Arguments::from_env()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<(), Box<dyn std::error::Error>> {
    if arguments.contains(["-h", "--help"]) {
        print!("{USAGE}");
        return Ok(());
    }
    let command = arguments.subcommand()?;
    let options = Options {
        quick: arguments.contains("--quick"),
        json: arguments.contains("--json"),
        only: arguments.opt_value_from_str("--only")?,
    };
    let rest = arguments.finish();
    if !rest.is_empty() {
        return Err(format!("unknown arguments: {rest:?}").into());
    }
    let rows = match command.as_deref() {
        Some("types") => rows::types,
        Some("store") => store::rows,
        Some("server") => server::rows,
        Some(other) => return Err(format!("unknown command: {other}").into()),
        None => return Err("a command is missing".into()),
    };
    let mut report = Report::new(options);
    rows(&mut report);
    report.finish();
    Ok(())
}
