//! A data directory that an earlier program has left behind: the present one opens it with the same contents.
//!
//! It is kept as text: of each file the lines that are not zero, those that follow each other and are the same once, with
//! how often. `UPDATE_GOLDEN=1` makes one only where there is
//! none: what earlier versions have written cannot be written again.

use replicad::client::Value;
use std::fs;
use std::path::Path;

use super::common::Process;
use super::files::{from_hex, hex, is_updating, path};

/// Bytes of a file that are one line.
const LINE: usize = 32;

/// What is done at each of the nodes, in turn.
const WRITES: &[&[&str]] = &[
    &["SET", "tea", "black"],
    &["SET", "tea", "green"],
    &["SET", "gone", "with the wind"],
    &["DEL", "gone"],
    &["SET", "empty", ""],
    &["INCRBY", "count", "41"],
    &["INCRBY", "count", "1"],
    &["SADD", "set", "a", "b", "c"],
    &["SREM", "set", "b"],
    &["SADD", "dropped", "a"],
    &["DEL", "dropped"],
];

/// What every node answers then.
fn expected() -> Vec<(Vec<&'static str>, Value)> {
    let text = |value: &str| Value::Bytes(bytes::Bytes::copy_from_slice(value.as_bytes()));
    vec![
        (vec!["GET", "tea"], text("green")),
        (vec!["GET", "gone"], Value::Null),
        (vec!["GET", "empty"], text("")),
        (vec!["GET", "count"], text("42")),
        (vec!["SISMEMBER", "set", "a"], Value::Integer(1)),
        (vec!["SISMEMBER", "set", "b"], Value::Integer(0)),
        (vec!["SCARD", "set"], Value::Integer(2)),
        (vec!["TYPE", "dropped"], text("none")),
        (vec!["DBSIZE"], Value::Integer(4)),
    ]
}

fn ask(process: &Process, node: u16, words: &[&str]) -> Value {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    process.ask(node, &words)
}

/// A directory as text: each file with its length, and its bytes where they are not zero.
fn packed(directory: &Path) -> String {
    let mut text = String::new();
    let mut folders = vec![directory.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("a directory");
        let mut paths: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(directory).expect("a file below it");
            let bytes = fs::read(&path).expect("a file");
            text += &format!("file {} {}\n", name.display(), bytes.len());
            let lines: Vec<&[u8]> = bytes.chunks(LINE).collect();
            let mut at = 0;
            for same in lines.chunk_by(|a, b| a == b) {
                if same[0].iter().any(|byte| *byte != 0) {
                    text += &format!("{at} {} {}\n", same.len(), hex(same[0]));
                }
                at += same.concat().len();
            }
        }
    }
    text
}

fn unpack(text: &str, directory: &Path) {
    let mut file: Option<(std::path::PathBuf, Vec<u8>)> = None;
    let write = |file: Option<(std::path::PathBuf, Vec<u8>)>| {
        if let Some((path, bytes)) = file {
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("written");
        }
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["file", name, length] => {
                write(file.take());
                let length = length.parse().expect("a length");
                file = Some((directory.join(name), vec![0; length]));
            }
            [at, times, line] => {
                let at: usize = at.parse().expect("a place");
                let bytes = from_hex(line).repeat(times.parse().expect("a number"));
                let (_, into) = file.as_mut().expect("a file comes first");
                into[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            _ => panic!("not a line of a packed directory: {line}"),
        }
    }
    write(file);
}

fn make() -> String {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let process = Process::start(directory.path());
    for (i, words) in WRITES.iter().enumerate() {
        let reply = ask(&process, (i % 3) as u16 + 1, words);
        assert!(!matches!(reply, Value::Error(_)), "{words:?}: {reply:?}");
    }
    process.stop();
    packed(directory.path())
}

#[test]
fn the_data_of_earlier_versions_is_opened_with_the_same_contents() {
    let golden = path("data-1.txt");
    if is_updating() && !golden.exists() {
        fs::write(&golden, make()).expect("the golden file is written");
    }
    let text = fs::read_to_string(golden).expect("the golden file is there");
    assert!(text.len() < 100_000, "{} bytes", text.len());
    let directory = tempfile::tempdir().expect("a temporary directory");
    unpack(&text, directory.path());
    assert_eq!(
        packed(directory.path()),
        text,
        "it is unpacked as it was packed"
    );
    let process = Process::start(directory.path());
    for node in 1..=3 {
        for (words, value) in expected() {
            assert_eq!(
                ask(&process, node, &words),
                value,
                "{words:?} at node {node}"
            );
        }
    }
    // It is not only read: what is written now is there at the next start.
    ask(&process, 2, &["INCR", "count"]);
    process.stop();
    let process = Process::start(directory.path());
    let text = Value::Bytes(bytes::Bytes::from_static(b"43"));
    assert_eq!(ask(&process, 1, &["GET", "count"]), text);
}
