//! From texts to settings: defaults, then the file, then the environment, then flags.

use serde::Deserialize as _;
use std::collections::BTreeMap;
use std::path::Path;
use toml::{Table, Value};

use super::error::{SettingsError, SettingsErrors, Source};
use super::settings::Settings;
use super::table::{self, Kind, NODE_KEYS, SETTINGS};

/// Beginning of the names of environment variables.
const PREFIX: &str = "REPLICAD_";
/// Longest value in an error.
const SHOWN_CHARS: usize = 100;

/// Collects values, the stronger after the weaker, and everything that is wrong with them.
#[derive(Default)]
pub(super) struct Reader {
    values: BTreeMap<&'static str, Value>,
    errors: Vec<SettingsError>,
}

impl Reader {
    /// Takes what a file says.
    pub(super) fn file(&mut self, path: &Path, text: &str) {
        let source = Source::File(path.to_owned());
        match text.parse::<Table>() {
            Ok(table) => self.table(&source, "", table),
            Err(error) => {
                let before = error.span().map_or(0, |span| span.start).min(text.len());
                let line = 1 + text.as_bytes()[..before]
                    .iter()
                    .filter(|c| **c == b'\n')
                    .count();
                self.errors.push(SettingsError::Syntax {
                    source_: source,
                    line,
                    cause: error.message().to_owned(),
                });
            }
        }
    }

    /// Takes the variables of the environment that begin with `REPLICAD_` and have a double underscore.
    pub(super) fn environment(&mut self, variables: impl Iterator<Item = (String, String)>) {
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            if !rest.contains("__") {
                continue;
            }
            let key = rest.to_ascii_lowercase().replace("__", ".");
            self.text(Source::Environment(name), &key, &text);
        }
    }

    /// Takes the value of a flag `--set`.
    pub(super) fn set(&mut self, flag: &str) {
        match flag.split_once('=') {
            Some((key, text)) => {
                let source = Source::Flag(format!("--set {}", key.trim()));
                self.text(source, key.trim(), text.trim());
            }
            // Not shown: it may be a secret whose key was forgotten.
            None => self.errors.push(SettingsError::Set("...".into())),
        }
    }

    /// Takes a text that means the value of `key`.
    pub(super) fn text(&mut self, source: Source, key: &str, text: &str) {
        match table::find(key) {
            Some(setting) => self.value(&source, setting.key, setting.kind.parse(text)),
            None => self.unknown(source, key),
        }
    }

    /// The settings, or all that is wrong.
    pub(super) fn finish(self) -> Result<Settings, SettingsErrors> {
        if !self.errors.is_empty() {
            return Err(SettingsErrors(self.errors));
        }
        let mut root = Table::new();
        for (section, _) in table::SECTIONS {
            root.insert(section.into(), Value::Table(Table::new()));
        }
        let defaults = SETTINGS.iter().filter(|setting| setting.has_default);
        for setting in defaults.filter(|setting| !self.values.contains_key(setting.key)) {
            let document: Result<Table, _> = format!("value = {}", setting.value).parse();
            let value = document.ok().and_then(|mut table| table.remove("value"));
            if let Some(value) = value {
                insert(&mut root, setting.key, value);
            }
        }
        for (key, value) in self.values {
            insert(&mut root, key, value);
        }
        Settings::deserialize(root)
            .map_err(|error| SettingsError::Internal(error.message().to_owned()).into())
    }

    /// Goes through a table whose keys begin with `prefix`.
    fn table(&mut self, source: &Source, prefix: &str, table: Table) {
        for (name, value) in table {
            let key = match prefix {
                "" => name,
                _ => format!("{prefix}.{name}"),
            };
            match (table::find(&key), value) {
                (Some(setting), value) => self.value(source, setting.key, value),
                (None, Value::Table(table)) if !table.is_empty() => self.table(source, &key, table),
                (None, Value::Table(_)) if is_section(&key) => {}
                (None, _) => self.unknown(source.clone(), &key),
            }
        }
    }

    fn value(&mut self, source: &Source, key: &'static str, value: Value) {
        let Some(setting) = table::find(key) else {
            return;
        };
        if !setting.kind.accepts(&value) {
            let shown = match setting.kind {
                Kind::Hash => "something else (not shown)".into(),
                _ => shown(&value),
            };
            self.wrong(source, key.into(), shown, setting.kind.allowed());
            return;
        }
        if let (Kind::Nodes, Value::Array(entries)) = (&setting.kind, &value) {
            let errors = self.errors.len();
            for (number, entry) in entries.iter().enumerate() {
                self.node(source, number, entry);
            }
            if self.errors.len() > errors {
                return;
            }
        }
        self.values.insert(key, value);
    }

    /// Checks an entry of the list of nodes.
    fn node(&mut self, source: &Source, number: usize, entry: &Value) {
        let at = format!("cluster.nodes[{number}]");
        let Value::Table(fields) = entry else {
            self.wrong(source, at, shown(entry), Kind::Nodes.allowed());
            return;
        };
        for (name, value) in fields {
            let key = format!("{at}.{name}");
            let kind = match name.as_str() {
                "id" => Kind::Integer(1, table::MAX_NODES, ""),
                "address" | "client" => Kind::Address,
                _ => {
                    let nearest = table::nearest(name, NODE_KEYS.into_iter());
                    self.errors.push(SettingsError::UnknownKey {
                        source_: source.clone(),
                        key,
                        nearest: nearest.map(|name| format!("{at}.{name}")),
                    });
                    continue;
                }
            };
            if !kind.accepts(value) {
                self.wrong(source, key, shown(value), kind.allowed());
            }
        }
        for needed in ["id", "address"] {
            if !fields.contains_key(needed) {
                let allowed = format!("{{ id = .., address = .. }}, and {needed} is not there");
                self.wrong(source, at.clone(), shown(entry), allowed);
            }
        }
    }

    fn wrong(&mut self, source: &Source, key: String, value: String, allowed: String) {
        self.errors.push(SettingsError::Value {
            source_: source.clone(),
            key,
            value,
            allowed,
        });
    }

    fn unknown(&mut self, source_: Source, key: &str) {
        self.errors.push(SettingsError::UnknownKey {
            source_,
            key: shortened(&key.escape_debug().to_string()),
            nearest: table::nearest(key, SETTINGS.iter().map(|setting| setting.key)),
        });
    }
}

/// Puts a value at a key with dots.
fn insert(root: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            root.insert(key.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner = root
                .entry(section)
                .or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn is_section(key: &str) -> bool {
    SETTINGS.iter().any(|setting| {
        setting
            .key
            .strip_prefix(key)
            .is_some_and(|rest| rest.starts_with('.'))
    })
}

/// A value as it looks in the file, shortened.
fn shown(value: &Value) -> String {
    shortened(&value.to_string().replace('\n', " "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
