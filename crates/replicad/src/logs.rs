//! What a process writes to standard error.
//!
//! Nothing that is logged holds a value or a password. A key is shown as `shown` gives it.

use std::fmt;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use crate::config::{Log, LogFormat, LogLevel};
use crate::panics::log_panics;

/// Bytes of a key that are shown.
const SHOWN_BYTES: usize = 32;

/// Starts logging, panics included, for the rest of the life of the process. Does nothing if somebody logs already.
pub fn install(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let builder = SubscriberBuilder::default()
        .with_max_level(level)
        .with_writer(std::io::stderr);
    let installed = match log.format {
        LogFormat::Text => tracing::subscriber::set_global_default(builder.finish()),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true);
            tracing::subscriber::set_global_default(builder.finish())
        }
    };
    log_panics();
    // Somebody else has said what to do with events, and that stands.
    let _logs_already = installed;
}

/// A key as it is logged: escaped, and cut after some bytes.
pub(crate) fn shown(key: &[u8]) -> impl fmt::Display {
    struct Shown<'k>(&'k [u8]);
    impl fmt::Display for Shown<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let cut = self.0.len().min(SHOWN_BYTES);
            write!(f, "{}", self.0[..cut].escape_ascii())?;
            match self.0.len() - cut {
                0 => Ok(()),
                more => write!(f, "... and {more} bytes"),
            }
        }
    }
    Shown(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_escaped_and_cut() {
        assert_eq!(shown(b"sky\n").to_string(), "sky\\n");
        let long = [b'x'; 100];
        let text = shown(&long).to_string();
        assert_eq!(text, format!("{}... and 68 bytes", "x".repeat(32)));
    }
}
