//! `replicad password`: the hash of a password, for the configuration.

use std::io::{BufRead, IsTerminal};

use super::CliError;
use crate::password;

/// Bytes that are read of a line; no password is as long.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Reads a password from the first line of standard input and prints its hash.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the hash is what the subcommand is for"
)]
pub(super) fn password() -> Result<(), CliError> {
    let input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!("type the password and Enter; it is shown on the screen");
    }
    println!("{}", hash_line(input)?);
    Ok(())
}

fn hash_line(input: impl BufRead) -> Result<String, CliError> {
    let mut line = Vec::new();
    let read = input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
    read.map_err(|cause| CliError::File {
        action: "read",
        path: "standard input".into(),
        cause,
    })?;
    let end = line.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r'));
    let password = &line[..end.map_or(0, |last| last + 1)];
    password::hash(password).map_err(|error| CliError::Other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::Password;
    use bytes::Bytes;

    #[tokio::test]
    async fn the_first_line_without_its_end_is_the_password() {
        let hash = hash_line(&b"se cret\r\nmore\n"[..]).expect("a password");
        let password = Password::from_hash(&hash).expect("a hash");
        assert!(password.matches(Bytes::from("se cret")).await);
    }

    #[test]
    fn an_empty_line_is_refused() {
        for input in [&b""[..], b"\n", b"\r\n"] {
            let error = hash_line(input).expect_err("no password");
            assert_eq!(error.to_string(), "the password is empty");
        }
    }
}
