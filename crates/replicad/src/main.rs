//! The `replicad` program; see [`replicad::cli`].

use mimalloc::MiMalloc;
use std::process::ExitCode;

/// Requests are many small allocations, freed by other tasks than those that made them.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    replicad::cli::main()
}
