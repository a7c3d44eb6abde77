//! `replicad config`: prints the settings, or checks a file.

use clap::Args;
use std::path::PathBuf;

use super::CliError;
use crate::config::{ConfigArgs, default_file};

#[derive(Debug, Args)]
pub(super) struct ConfigOptions {
    /// Check this file, with the environment and the changes of --set, and say what its choices give up.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// A change of one setting, as for `replicad start`.
    #[arg(long, value_name = "SECTION.KEY=VALUE", requires = "check")]
    set: Vec<String>,
}

#[expect(
    clippy::print_stdout,
    reason = "the settings are the output of the subcommand"
)]
pub(super) fn config(options: &ConfigOptions) -> Result<(), CliError> {
    let Some(path) = &options.check else {
        print!("{}", default_file());
        return Ok(());
    };
    let arguments = ConfigArgs {
        config: Some(path.clone()),
        set: options.set.clone(),
        ..ConfigArgs::default()
    };
    let wrong = |errors: crate::config::SettingsErrors| CliError::Other(errors.to_string());
    let settings = arguments.load().map_err(wrong)?;
    settings.check().map_err(wrong)?;
    let unusable = |error: crate::transport::tls::TlsError| CliError::Other(error.to_string());
    settings.transport().map_err(unusable)?;
    settings.client_tls().map_err(unusable)?;
    println!("{} is valid", path.display());
    for sentence in settings.gives_up() {
        println!("- {sentence}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_checked_with_the_changes_that_are_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("node.toml");
        std::fs::write(&path, default_file()).expect("written");
        let check = |set: &[&str]| {
            config(&ConfigOptions {
                check: Some(path.clone()),
                set: set.iter().copied().map(str::to_owned).collect(),
            })
        };
        let error = check(&[]).expect_err("it names no nodes").to_string();
        assert!(error.contains("node.id is not set"), "{error}");
        let nodes =
            r#"cluster.nodes=[{id=1,address="a:1"},{id=2,address="b:1"},{id=3,address="c:1"}]"#;
        check(&["node.id=1", nodes]).expect("it is valid");
        let missing = [
            "tls.peers.ca=/no/ca",
            "tls.peers.cert=/no/cert",
            "tls.peers.key=/no/key",
        ];
        let all: Vec<&str> = ["node.id=1", nodes].into_iter().chain(missing).collect();
        let error = check(&all)
            .expect_err("there is no certificate")
            .to_string();
        assert!(error.contains("/no/cert"), "{error}");
    }
}
