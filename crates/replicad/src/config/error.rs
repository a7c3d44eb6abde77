//! What can be wrong with settings.

use replica::ConfigError;
use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The file.
    File(PathBuf),
    /// The environment variable of this name.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read {path}: {cause}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// The file is not TOML. The offending line is not shown: it may hold a secret.
    #[error("{source_}: line {line}: {cause}")]
    Syntax {
        /// The file.
        source_: Source,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
    /// A key that does not exist.
    #[error("{source_}: there is no setting {key}{}", did_you_mean(nearest.as_ref()))]
    UnknownKey {
        /// Where it stands.
        source_: Source,
        /// The key.
        key: String,
        /// The key that exists and looks most like it.
        nearest: Option<String>,
    },
    /// A value that is not allowed.
    #[error("{source_}: {key} is {value}: it must be {allowed}")]
    Value {
        /// Where it stands.
        source_: Source,
        /// The key.
        key: String,
        /// The value, shortened; never that of a secret.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A flag `--set` without an equals sign.
    #[error("--set {0}: it takes the form --set section.key=value")]
    Set(String),
    /// A setting without a default that is not there.
    #[error("{key} is not set: it must be {allowed}")]
    Missing {
        /// The key.
        key: &'static str,
        /// What is allowed.
        allowed: String,
    },
    /// The numbers of the nodes are not 1 to their number.
    #[error(
        "cluster.nodes: the ids are {ids:?}: with {count} nodes they must be 1 to {count}, each once"
    )]
    NodeIds {
        /// The ids, sorted.
        ids: Vec<u32>,
        /// How many nodes there are.
        count: usize,
    },
    /// Two settings that exclude each other.
    #[error("{first} and {second} cannot both be set: the first chooses the second")]
    Both {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A setting that needs another.
    #[error("{key} is set and {needs} is not: the first needs the second")]
    Half {
        /// The setting that is there.
        key: &'static str,
        /// The one that is not.
        needs: &'static str,
    },
    /// A port that others can reach, without TLS.
    #[error(
        "{key} is {address}, which others can reach, without TLS: set {certificates}, or \
         listen.insecure = true if the network is to be trusted"
    )]
    Insecure {
        /// The setting.
        key: &'static str,
        /// Its value.
        address: String,
        /// What would make it secure.
        certificates: &'static str,
    },
    /// A setting that must be larger than others allow.
    #[error("{key} is {value}: it must be at least {least}, {because}")]
    TooSmall {
        /// The setting.
        key: &'static str,
        /// Its value.
        value: u64,
        /// The least.
        least: u64,
        /// Which settings make it so.
        because: &'static str,
    },
    /// The protocol cannot work with these numbers.
    #[error("store: {0}")]
    Store(#[from] ConfigError),
    /// What was read is not what the table of settings says: a defect of this program.
    #[error("the settings cannot be understood: {0}")]
    Internal(String),
}

/// Everything that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsErrors(pub Vec<SettingsError>);

impl fmt::Display for SettingsErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl From<SettingsError> for SettingsErrors {
    fn from(error: SettingsError) -> Self {
        Self(vec![error])
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

fn did_you_mean(nearest: Option<&String>) -> String {
    nearest.map_or_else(String::new, |key| format!("; did you mean {key}?"))
}
