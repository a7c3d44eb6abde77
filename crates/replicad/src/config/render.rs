//! The commented file with every setting.

use std::fmt::Write as _;

use super::table::{Kind, SECTIONS, SETTINGS, Setting};

const HEAD: &str = "\
# Settings of one node of replicad, with their defaults. A line that begins with `#` and a key shows a setting
# that has no default.
#
# The environment variable REPLICAD_SECTION__KEY comes before this file, and the flag
# `--set section.key=value` before both: REPLICAD_LIMITS__MAX_KEY_BYTES=1000, --set limits.max_key_bytes=1000.
# `replicad config --check FILE` says what is wrong with a file, and what its choices give up.
";

/// The file that `replicad config` prints: every setting with its meaning, its unit and range, and its default.
/// It is valid, and means the defaults.
pub fn default_file() -> String {
    let mut file = HEAD.to_owned();
    for (section, meaning) in SECTIONS {
        let _infallible = write!(file, "\n# {meaning}\n[{section}]\n");
        let in_section = |setting: &&Setting| {
            setting
                .key
                .strip_prefix(section)
                .is_some_and(|rest| rest.starts_with('.'))
        };
        for setting in SETTINGS.iter().filter(in_section) {
            render(setting, &setting.key[section.len() + 1..], &mut file);
        }
    }
    file
}

fn render(setting: &Setting, name: &str, file: &mut String) {
    file.push('\n');
    for line in setting.meaning.lines() {
        let _infallible = writeln!(file, "# {line}");
    }
    let range = match setting.kind {
        Kind::Boolean | Kind::Nodes | Kind::Path | Kind::Address => None,
        _ => Some(setting.kind.allowed()),
    };
    if let Some(range) = range {
        let (first, rest) = range.split_at(1);
        let _infallible = writeln!(file, "# {}{rest}.", first.to_uppercase());
    }
    let entry = format!("{name} = {}", setting.value);
    for line in entry.lines() {
        let comment = if setting.has_default { "" } else { "# " };
        let _infallible = writeln!(file, "{comment}{line}");
    }
}
