//! Files of rows: a name, and bytes in hexadecimal.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A name and its bytes.
pub(crate) type Row = (String, Vec<u8>);

/// Where a golden file is.
pub(crate) fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/files");
    folder.join(name)
}

/// Whether the files are to be written and not compared.
pub(crate) fn is_updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// Compares rows with those of a file, or writes them there.
pub(crate) fn check(file: &str, rows: &[Row]) {
    let names: BTreeSet<&str> = rows.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names.len(), rows.len(), "two rows of {file} have one name");
    let lines = rows
        .iter()
        .map(|(name, bytes)| format!("{name} {}", hex(bytes)));
    check_lines(file, &lines.collect::<Vec<_>>());
}

/// The same with text.
pub(crate) fn check_lines(file: &str, lines: &[String]) {
    let path = path(file);
    if is_updating() {
        let text = lines.iter().fold(String::new(), |text, l| text + l + "\n");
        return fs::write(path, text).expect("the golden file is written");
    }
    let text = fs::read_to_string(&path).expect("the golden file is there");
    let golden: Vec<&str> = text.lines().collect();
    for (i, line) in lines.iter().enumerate() {
        let expected = golden.get(i).copied().unwrap_or_default();
        assert_eq!(
            line,
            expected,
            "row {} of {file} (now first, then the golden one): is it meant, and has it a version of its own?",
            i + 1
        );
    }
    assert_eq!(golden.len(), lines.len(), "rows of {file} are gone");
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("text takes text");
        text
    })
}

/// The bytes again.
pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16).expect("a hexadecimal digit") as u8)
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text}");
    digits.chunks(2).map(|two| two[0] << 4 | two[1]).collect()
}
