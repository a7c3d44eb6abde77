//! Stand-in to be replaced: says that no node is linked in.

use crate::cli::RunOptions;

/// The cluster could not be run.
#[derive(Debug, thiserror::Error)]
#[error("no node is linked in")]
pub struct RunError;

/// Runs a cluster until it is told to stop.
///
/// # Errors
///
/// Always.
#[expect(clippy::needless_pass_by_value, reason = "stand-in")]
pub fn run(options: RunOptions) -> Result<(), RunError> {
    let _ = options.limits();
    Err(RunError)
}
