//! Reads the source as text and fails on what the design and the house style forbid: a call against the direction of the
//! layers, SQL that one engine does not know, a file without a head.

mod files;
mod layers;
mod migrations;
mod sql;

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A source file without its unit tests.
struct Source {
    /// Relative to the crate.
    path: String,
    /// The first folder or file under `src/`.
    module: String,
    text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below a folder of the repository: path and text.
pub fn rust_files(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let shown = path.strip_prefix(root()).unwrap().display().to_string().replace('\\', "/");
                found.push((shown, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(found.len() > 3, "the sources are where this test looks for them");
    found
}

fn sources() -> Vec<Source> {
    let files = rust_files("src");
    // Files that only tests compile: `#[cfg(test)] mod name;` beside them.
    let of_tests: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            let folder = path.rsplit_once('/').unwrap().0;
            let declared =
                text.split("#[cfg(test)]\nmod ").skip(1).filter_map(|rest| rest.lines().next()?.strip_suffix(';'));
            declared.map(move |name| format!("{folder}/{name}.rs"))
        })
        .collect();
    let module = |path: &str| path["src/".len()..].split(['/', '.']).next().unwrap().to_owned();
    files
        .into_iter()
        .filter(|(path, _)| !of_tests.contains(path))
        .map(|(path, text)| {
            let code = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
            Source { module: module(&path), path, text: code }
        })
        .collect()
}

/// Fails with all findings at once.
fn none(rule: &str, findings: &[String]) {
    let list = findings.iter().fold(String::new(), |mut list, finding| {
        write!(list, "\n  {finding}").unwrap();
        list
    });
    assert!(findings.is_empty(), "{rule}:{list}");
}

/// Code lines with their numbers; comment lines left out.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// String literals of a file, `concat!`s and line continuations joined, with the line that they begin on.
pub fn literals(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let bytes = text.as_bytes();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'\n' => line += 1,
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                while at + 1 < bytes.len() && bytes[at + 1] != b'\n' {
                    at += 1;
                }
            }
            b'\'' if bytes.get(at + 2) == Some(&b'\'') => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\\') => at += 3,
            b'"' => {
                let (start, begin) = (line, at + 1);
                at += 1;
                while bytes[at] != b'"' {
                    if bytes[at] == b'\\' {
                        at += 1;
                    }
                    if bytes[at] == b'\n' {
                        line += 1;
                    }
                    at += 1;
                }
                let literal: Vec<&str> = text[begin..at].split("\\\n").map(str::trim_start).collect();
                found.push((start, literal.concat()));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

#[test]
fn the_reader_of_literals_sees_every_form() {
    assert_eq!(
        literals("// \"no\"\nf(\"SELECT a \\\n    FROM b\", '\"', \"c\\\"d\")"),
        [(2, "SELECT a FROM b".to_owned()), (3, "c\\\"d".to_owned())]
    );
    assert!(Path::new(&root()).join("Cargo.toml").exists());
}
