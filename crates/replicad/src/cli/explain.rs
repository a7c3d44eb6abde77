//! `replicad explain`: what a node knows of a key.

use clap::Args;

use super::{CliError, Target, print_json};
use crate::client::Value;

#[derive(Debug, Args)]
pub(super) struct ExplainOptions {
    /// The key.
    key: String,
    /// Print JSON: the key, and the lines as they are without it.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

#[expect(
    clippy::print_stdout,
    reason = "what is known is the output of the subcommand"
)]
pub(super) async fn explain(options: &ExplainOptions) -> Result<(), CliError> {
    let mut client = options.target.connect().await?;
    let key = options.key.as_bytes();
    let reply = client.call(&[b"R.EXPLAIN", key]).await?;
    let Value::Bytes(text) = &reply else {
        return Err(reply.unexpected("R.EXPLAIN").into());
    };
    let text = String::from_utf8_lossy(text);
    if options.json {
        let lines: Vec<&str> = text.lines().collect();
        return print_json(&serde_json::json!({ "key": options.key, "lines": lines }));
    }
    println!("{}", text.trim_end());
    Ok(())
}
