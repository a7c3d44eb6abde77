//! The `replicad` program; see [`replicad::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    replicad::cli::main()
}
