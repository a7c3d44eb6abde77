//! The flags that choose and change settings, for every subcommand that needs them.

use clap::Args;
use std::path::PathBuf;

use super::error::{SettingsError, SettingsErrors, Source};
use super::read::Reader;
use super::settings::Settings;

/// Which settings a node is started with.
#[derive(Debug, Clone, Default, Args)]
pub struct ConfigArgs {
    /// File with the settings; `replicad config` prints one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Changes one setting, whatever the file and the environment say. May be given more than once.
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
    /// The number of this node: node.id.
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Directory of this node's store: node.data_dir.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where clients connect: listen.clients.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen_clients: Option<String>,
    /// Where the other nodes connect: listen.peers.
    #[arg(long, value_name = "HOST:PORT")]
    pub listen_peers: Option<String>,
}

impl ConfigArgs {
    /// Reads the file, the environment of this process, and the flags. Says only whether each value is allowed;
    /// whether they fit together and make a node is said by [`Settings::check`].
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load(&self) -> Result<Settings, SettingsErrors> {
        let variables = std::env::vars_os();
        self.load_with(variables.map(|(name, value)| {
            let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
            (text(name), text(value))
        }))
    }

    /// The same with another environment.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn load_with(
        &self,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Settings, SettingsErrors> {
        let mut reader = Reader::default();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path).map_err(|cause| SettingsError::File {
                path: path.clone(),
                cause: cause.to_string(),
            })?;
            reader.file(path, &text);
        }
        reader.environment(environment);
        let named = [
            ("--node-id", "node.id", &self.node_id),
            ("--data-dir", "node.data_dir", &self.data_dir),
            ("--listen-clients", "listen.clients", &self.listen_clients),
            ("--listen-peers", "listen.peers", &self.listen_peers),
        ];
        for (flag, key, text) in named {
            if let Some(text) = text {
                reader.text(Source::Flag(flag.into()), key, text);
            }
        }
        for flag in &self.set {
            reader.set(flag);
        }
        reader.finish()
    }
}
